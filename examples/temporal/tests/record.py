"""What a real server says of executions in every state that its words have, kept for the tests of the translation.

`python tests/record.py`, here, starts a server, plays every story anew and writes `tests/recorded/STORY.json`. No such
file is changed by hand. Only stack traces are left out: they hold the paths of the machine.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from flowbridge.backend import StartRequest
from flowbridge.model import ExecutionLook, TaskLook
from flowbridge_temporal.backend import TemporalBackend
from lab import PAUSES, QUEUE, SECONDS, Hand, serving

FOLDER = Path(__file__).parent / "recorded"


class Stage:
    """A server with its worker, and a backend that looks at it."""

    def __init__(self, address: str, hand: Hand) -> None:
        self.hand = hand
        self.backend = TemporalBackend("temporal", {"address": address, "task_queue": QUEUE})
        self.call = self.backend._server.call

    def start(self, id: str, kind: str, **input: Any) -> None:
        """Start a workflow."""
        self.backend.start(StartRequest(id, kind, input))

    def until(self, id: str, is_so: Callable[[ExecutionLook], bool]) -> None:
        """Wait for what must become true of an execution."""
        self.wait(lambda: any(one.ref.id == id and is_so(one) for one in self.backend.observe([id]).get(id, ())))

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait for what must become true."""
        deadline = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < deadline, "it never became so"
            time.sleep(0.02)

    def at(self, id: str, task: str, is_so: Callable[[TaskLook], bool] = lambda task: task.raw == "STARTED") -> None:
        """Wait for what must become true of a task: that it runs, as a rule."""
        self.until(id, lambda look: any(one.name == task and is_so(one) for one in look.tasks))

    def ends(self, id: str) -> None:
        """Wait for the end."""
        self.until(id, lambda look: look.ended is not None)


def running(stage: Stage, id: str) -> None:
    """A chain at its second task, with an input and a result."""
    stage.start(id, "chain.main", n=7)
    stage.at(id, "a")
    stage.hand.open(id, "a", result={"of": "a"})
    stage.at(id, "b")


def paused(stage: Stage, id: str) -> None:
    """Paused while an activity runs."""
    running(stage, id)
    stage.backend.pause(id)


def paused_between(stage: Stage, id: str) -> None:
    """Paused, and the activity has ended since."""
    paused(stage, id)
    stage.hand.open(id, "b")


def resumed(stage: Stage, id: str) -> None:
    """And resumed."""
    paused_between(stage, id)
    stage.backend.resume(id, "")
    stage.at(id, "c")


def completed(stage: Stage, id: str) -> None:
    """To its end."""
    resumed(stage, id)
    stage.hand.open(id, "c", result=["c", 1])
    stage.ends(id)


def failed(stage: Stage, id: str) -> None:
    """By its first activity."""
    stage.start(id, "chain.main")
    stage.at(id, "a")
    stage.hand.open(id, "a", "no room left")
    stage.ends(id)


def canceling(stage: Stage, id: str) -> None:
    """The workflow's code knows of the cancel, and waits for its activity."""
    running(stage, id)
    stage.backend.cancel(id)


def canceled(stage: Stage, id: str) -> None:
    """And the activity has ended."""
    canceling(stage, id)
    stage.hand.open(id, "b")
    stage.ends(id)


def canceled_carelessly(stage: Stage, id: str) -> None:
    """A workflow whose code does not wait."""
    stage.start(id, "Careless", args=["x", 2])
    stage.at(id, "gate")
    stage.backend.cancel(id)
    stage.ends(id)


def canceled_under_a_pause(stage: Stage, id: str) -> None:
    """The cancel lifts the pause."""
    paused_between(stage, id)
    stage.backend.cancel(id)
    stage.ends(id)


def terminated(stage: Stage, id: str) -> None:
    """By the server's own verb."""
    running(stage, id)
    stage.call("terminate_workflow_execution", workflow_execution={"workflow_id": id}, reason="for the record")


def timed_out(stage: Stage, id: str) -> None:
    """By the server's clock."""
    stage.call(
        "start_workflow_execution",
        workflow_id=id,
        workflow_type={"name": "chain.main"},
        task_queue={"name": QUEUE},
        workflow_run_timeout={"seconds": 1},
    )
    stage.ends(id)


def continued_as_new(stage: Stage, id: str) -> None:
    """The second run of an id."""
    stage.start(id, "Again", n=1)
    stage.at(id, "n0", lambda task: task.finished is not None)
    stage.ends(id)


def tried_again(stage: Stage, id: str) -> None:
    """An activity that waits for its second attempt."""
    stage.start(id, "delayed.main")
    stage.at(id, "a")
    stage.hand.open(id, "a")
    stage.at(id, "d", lambda task: task.raw == "SCHEDULED" and task.starts == 1)


def held_back(stage: Stage, id: str) -> None:
    """Paused meanwhile: the second attempt waits for the resume."""
    tried_again(stage, id)
    stage.backend.pause(id)


def tried_again_under_a_pause(stage: Stage, id: str) -> None:
    """Paused while it runs: an attempt that fails then is followed by another."""
    tried_again(stage, id)
    stage.at(id, "d")
    stage.backend.pause(id)
    stage.hand.open(id, "d", "once more")


def activity_paused(stage: Stage, id: str) -> None:
    """An activity paused by the server's own verb, before its second attempt."""
    tried_again(stage, id)
    stage.call("pause_activity", execution={"workflow_id": id}, id="d")


def activity_pausing(stage: Stage, id: str) -> None:
    """The same while it runs."""
    running(stage, id)
    stage.call("pause_activity", execution={"workflow_id": id}, id="b")


def nested(stage: Stage, id: str) -> None:
    """Children and grandchildren."""
    stage.start(id, "nested.main")
    stage.at(f"{id}/left/inner", "deep")
    stage.at(f"{id}/left", "peer")
    stage.at(id, "right")


def _child(stage: Stage, id: str) -> str:
    stage.start(id, "only.main")
    stage.at(f"{id}/one", "c")
    return f"{id}/one"


def child_completed(stage: Stage, id: str) -> None:
    """A child, and the task after it."""
    child = _child(stage, id)
    stage.hand.open(child, "c")
    stage.at(child, "d")
    stage.hand.open(child, "d")
    stage.at(id, "next")


def child_failed(stage: Stage, id: str) -> None:
    """And its parent with it."""
    stage.hand.open(_child(stage, id), "c", "no room left")
    stage.ends(id)


def child_canceled(stage: Stage, id: str) -> None:
    """The parent fails for that, and counts as canceled."""
    child = _child(stage, id)
    stage.backend.cancel(child)
    stage.hand.open(child, "c")
    stage.ends(id)


def child_terminated(stage: Stage, id: str) -> None:
    """The same by the server's own verb."""
    execution = {"workflow_id": _child(stage, id)}
    stage.call("terminate_workflow_execution", workflow_execution=execution, reason="for the record")
    stage.ends(id)


def child_clashes(stage: Stage, id: str) -> None:
    """A child that could not be started, and one whose id nobody chose."""
    stage.start(id, "Clash")
    stage.at(id, "only.leaf", lambda task: task.starts == 1)


def reset(stage: Stage, id: str) -> None:
    """Reset to before its second activity failed: the result of the first one is gone as well."""
    stage.start(id, "fork.main")
    for task, error in (("a", ""), ("b", "no room left")):
        stage.at(id, task)
        stage.hand.open(id, task, error)
        stage.at(id, task, lambda task: task.finished is not None)
    stage.ends(id)
    stage.call(
        "reset_workflow_execution",
        workflow_execution={"workflow_id": id},
        workflow_task_finish_event_id=4,
        request_id=id,
        reason="again",
    )
    stage.at(id, "a")


STORIES = [
    running, paused, paused_between, resumed, completed, failed, canceling, canceled, canceled_carelessly,
    canceled_under_a_pause, terminated, timed_out, continued_as_new, tried_again, held_back, tried_again_under_a_pause,
    activity_paused, activity_pausing, nested, child_completed, child_failed, child_canceled, child_terminated,
    child_clashes, reset,
]  # fmt: skip


def _without_traces(said: Any) -> Any:
    if isinstance(said, dict):
        return {name: _without_traces(value) for name, value in said.items() if name != "stackTrace"}
    return [_without_traces(one) for one in said] if isinstance(said, list) else said


def _taken(stage: Stage, look: ExecutionLook) -> dict[str, Any]:
    """An execution as the server tells of it."""
    described = stage.call("describe_workflow_execution", execution={"workflow_id": look.ref.id})
    execution = described.workflow_execution_info.execution
    history = stage.call("get_workflow_execution_history", execution=execution).history
    parts = {"described": MessageToDict(described), "history": MessageToDict(history)}
    return {"parent": look.parent.id if look.parent else None, **_without_traces(parts)}


def main() -> None:
    """Play and record all stories."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), *PAUSES) as address:
        stage = Stage(address, Hand(address))
        try:
            for story in STORIES:
                story(stage, story.__name__)
                tree = stage.backend.observe([story.__name__])[story.__name__]
                text = json.dumps([_taken(stage, look) for look in tree], indent=1)
                (FOLDER / f"{story.__name__}.json").write_text(f"{text}\n", encoding="utf-8")
        finally:
            stage.backend.close()
            stage.hand.close()


if __name__ == "__main__":
    main()

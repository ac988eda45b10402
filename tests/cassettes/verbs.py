"""The verbs as a user has them, whole: each through a bridge with nothing in its ledger yet."""

from __future__ import annotations

import pytest

from cassettes.calls import forgotten, quiet, slipped
from cassettes.stage import BOOK, Hands, Stage
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, NotFound, Rejected
from flowbridge.ledger.executions import Filter
from flowbridge.model import Record, Status


def statuses(bridge: Bridge, id: str) -> list[str]:
    """A fresh look at a whole tree: the status of each execution, the root first."""
    return [str(node.record.status) for node in bridge.get(id).snapshot.nodes]


def run(stage: Stage, bridge: Bridge, workflow: str, *gates: str) -> Record:
    """Run a workflow that the engine knows; somebody ends gates of it, `name` or `name=STATE`."""
    record = bridge.run(f"tape.{workflow}", backend="prod")
    for gate in gates:
        stage.end(record.ref.id, *gate.split("="))
    return record


def verb_run(stage: Stage) -> None:
    with stage.bridge() as bridge:
        book = Definition(BOOK.replace("name: tape", "name: brought"), "book.yaml")
        record = bridge.run(book, {"who": "all"}, workflow="brought.main")
        assert statuses(bridge, record.id) == ["running", "running"]
        stage.end(record.ref.id, "subtask1")
        assert bridge.wait(record.id).record.status is Status.SUCCEEDED
        assert bridge.read(record.id).output == {"said": "all"}


def verb_run_of_an_unknown_workflow(stage: Stage) -> None:
    with stage.bridge() as bridge:
        with pytest.raises(NotFound, match=r"tape\.nothing"):
            bridge.run("tape.nothing", backend="prod")
        assert not bridge.list(Filter())


def verb_pause(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main")
        outcome = bridge.pause(record.id)
        assert (outcome.done, outcome.status) == (True, Status.PAUSING)
        stage.end(record.ref.id, "subtask1")
        assert statuses(bridge, record.id)[0] == "paused"
        with pytest.raises(Rejected, match="paused"):
            bridge.pause(record.id)


def verb_pause_of_a_child(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main")
        child = bridge.get(record.id).snapshot.nodes[1].record
        assert bridge.pause(child.id).done
        assert statuses(bridge, record.id) == ["pausing", "pausing"]


def verb_resume(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main")
        bridge.pause(record.id)
        stage.end(record.ref.id, "subtask1")
        stage.behind(Hands.new_second)
        assert statuses(bridge, record.id)[0] == "paused"
        assert bridge.resume(record.id).done
        assert statuses(bridge, record.id) == ["succeeded", "succeeded"]


def verb_resume_that_would_go_up(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main")
        bridge.pause(record.id)
        stage.end(record.ref.id, "subtask1")
        child = bridge.get(record.id).snapshot.nodes[1].record
        with pytest.raises(Rejected):
            bridge.resume(child.id)
        assert statuses(bridge, record.id)[0] == "paused"


def verb_cancel(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main")
        outcome = bridge.cancel(record.id)
        assert (outcome.done, outcome.status) == (True, Status.CANCELING)
        stage.end(record.ref.id, "subtask1")
        assert statuses(bridge, record.id) == ["canceled", "canceled"]
        with pytest.raises(Rejected, match="canceled"):
            bridge.cancel(record.id)


def verb_rerun(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main", "subtask1=ERROR")
        assert statuses(bridge, record.id) == ["errored", "errored"]
        again = bridge.rerun(record.id, RerunRequest(input={"who": "others"}))
        assert again.execution != record.id
        engine_id = bridge.find(again.execution).ref.id
        stage.end(engine_id, "subtask1")
        assert bridge.wait(again.execution).record.status is Status.SUCCEEDED
        assert bridge.read(again.execution).output == {"said": "others"}


def verb_rerun_task_of_a_child(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main", "subtask1=ERROR")
        again = bridge.rerun(record.id, RerunRequest(tasks=("task1.subtask1",)))
        assert again.done
        assert bridge.find(again.execution).ref == record.ref
        stage.end(record.ref.id, "subtask1")
        assert statuses(bridge, again.execution) == ["succeeded", "succeeded"]


def verb_rerun_task_that_is_a_parent(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main", "subtask1=ERROR")
        again = bridge.rerun(record.id, RerunRequest(tasks=("task1",)))
        stage.end(record.ref.id, "subtask1")
        assert statuses(bridge, again.execution) == ["succeeded", "errored", "succeeded"]


def verb_rerun_failed_items(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "items", "a", "b=ERROR", "c=ERROR")
        again = bridge.rerun(record.id, RerunRequest(tasks=("each",), no_reset=("each",)))
        assert again.done
        stage.end(record.ref.id, "b")
        stage.end(record.ref.id, "c")
        assert statuses(bridge, again.execution) == ["succeeded"]
        (task,) = bridge.read(again.execution).tasks
        assert [item.result for item in task.items or ()] == [{"of": "a"}, {"of": "b"}, {"of": "c"}]


def verb_rerun_failed_items_that_the_engine_would_break(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "items", "a", "b=ERROR", "c")
        with pytest.raises(Rejected, match="X6"):
            bridge.rerun(record.id, RerunRequest(tasks=("each",), no_reset=("each",)))
        assert statuses(bridge, record.id) == ["errored"]


def verb_rerun_of_a_task_not_errored(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "main", "subtask1=ERROR")
        with pytest.raises(Rejected, match="nothing"):
            bridge.rerun(record.id, RerunRequest(tasks=("task1", "nothing")))


def verb_skip(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        record = run(stage, bridge, "skippable", "first=ERROR")
        outcome = bridge.skip(record.id, ["first"])
        assert outcome.done
        assert statuses(bridge, outcome.execution) == ["succeeded"]


def verb_pause_before_a_join(stage: Stage) -> None:
    id = stage.started("trouble.fork")
    with stage.bridge() as bridge:
        record = bridge.find(f"prod:{id}")
        (warning,) = bridge.pause(record.id).plan.warnings
        assert "join both may wait for good" in warning


def verb_recover_of_what_hangs(stage: Stage) -> None:
    id = slipped(stage)
    with stage.bridge() as bridge, quiet():
        record = bridge.find(f"prod:{id}")
        (look,) = bridge.recover(record.id, end_hung=True)
        assert look.record.status is Status.SUCCEEDED


def verb_recover_of_what_never_ran(stage: Stage) -> None:
    id = forgotten(stage)
    with stage.bridge() as bridge, quiet():
        record = bridge.find(f"prod:{id}")
        with pytest.raises(EngineRefused, match="would lose both and what comes behind"):
            bridge.recover(record.id, end_hung=True)
        assert bridge.cancel(record.id).status is Status.CANCELED


def verb_list(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with stage.bridge() as bridge:
        ended, open_one = run(stage, bridge, "main", "subtask1"), run(stage, bridge, "skippable")
        found = {record.id: record.status for record in bridge.list(Filter())}
        assert found == {ended.id: Status.SUCCEEDED, open_one.id: Status.RUNNING}
        assert [record.id for record in bridge.list(Filter(status=("running",)))] == [open_one.id]


def verb_adopt(stage: Stage) -> None:
    id = stage.started("main")
    with stage.bridge() as bridge:
        record = bridge.find(f"prod:{id}")
        assert statuses(bridge, record.id) == ["running", "running"]
        assert bridge.pause(record.id).done


def verb_adopt_of_an_unknown_one(stage: Stage) -> None:
    with stage.bridge() as bridge, pytest.raises(NotFound, match="prod has no execution"):
        bridge.find("prod:00000000-0000-4000-8000-000000000000")


VERBS = {name: scenario for name, scenario in list(globals().items()) if name.startswith("verb_")}

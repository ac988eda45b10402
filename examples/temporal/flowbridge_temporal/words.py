"""What a Temporal server tells of an execution, in the words of flowbridge. Nothing here talks to a server."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse as Described

from flowbridge.model import EngineState, ExecutionLook, ParentLink, Ref, TaskLook, TaskStatus

#: The server's words for an execution.
STATES = {
    "RUNNING": EngineState.RUNNING,
    "PAUSED": EngineState.PAUSED,
    "COMPLETED": EngineState.SUCCEEDED,
    "FAILED": EngineState.ERRORED,
    "TIMED_OUT": EngineState.ERRORED,
    "CANCELED": EngineState.CANCELED,
    "TERMINATED": EngineState.CANCELED,
    "CONTINUED_AS_NEW": EngineState.RUNNING,  # the run that follows has the same id
}
#: Its words for the end of an activity or of a child.
ENDS = {word: TaskStatus(STATES[word]) for word in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED")}
#: Its words for an activity that has not ended: the status, whether it is active, whether its attempt has begun.
PENDING = {
    "SCHEDULED": (TaskStatus.RUNNING, True, False),
    "STARTED": (TaskStatus.RUNNING, True, True),
    "CANCEL_REQUESTED": (TaskStatus.CANCELING, True, True),
    "PAUSED": (TaskStatus.PAUSED, False, False),
    "PAUSE_REQUESTED": (TaskStatus.PAUSING, True, True),
}
_EVENT = re.compile(r"EVENT_TYPE_((?:START_CHILD_|CHILD_)?WORKFLOW_EXECUTION|ACTIVITY_TASK)_(\w+)")
_NO_NAME = re.compile(r"\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # an id that an SDK made up
_NAMED = {"binary/null": None}


class History:
    """One run of a workflow as its events tell it; each task under the number of the event that began it."""

    def __init__(self, id: str, run: str) -> None:
        self.id, self.run, self.root = id, run, ""
        self.tasks: dict[int, TaskLook] = {}
        self.activities: dict[int, str] = {}
        self.children: dict[str, int] = {}
        self.results: dict[str, Payloads] = {}
        self.word, self.turned, self.at, self.canceling = "RUNNING", 0, 0.0, False
        self.input, self.output, self.failure = Payloads(), Payloads(), Failure()

    def read(self, events: Iterable[HistoryEvent]) -> None:
        """Take in events in their order; one that tells nothing of states and tasks is passed over."""
        for event in events:
            kind = EventType.Name(event.event_type) if event.event_type in EventType.values() else ""
            if match := _EVENT.fullmatch(kind):
                what, at = getattr(event, event.WhichOneof("attributes") or ""), event.event_time.ToNanoseconds() / 1e9
                if match[1] == "WORKFLOW_EXECUTION":
                    self._turn(match[2], event.event_id, at, what)
                elif match[2] in ("SCHEDULED", "INITIATED"):
                    self._begin(event.event_id, at, what)
                else:
                    self._go_on(match[2], at, what)

    def _turn(self, word: str, number: int, at: float, what: Any) -> None:
        if word == "STARTED":
            self.input, self.root = what.input, what.root_workflow_execution.workflow_id
        elif word in STATES or word == "UNPAUSED":
            self.word = word if word in STATES else "RUNNING"
        elif word == "CANCEL_REQUESTED":
            self.canceling = True
        else:  # a signal, an update: the state is the same
            return
        self.turned, self.at = number, at
        self.output = what.result if word == "COMPLETED" else self.output
        self.failure = what.failure if word == "FAILED" else self.failure

    def _begin(self, number: int, at: float, what: Any) -> None:
        if hasattr(what, "activity_id"):
            self.activities[number] = what.activity_id
            kind, name = what.activity_type.name, "" if _NO_NAME.fullmatch(what.activity_id) else what.activity_id
        else:
            kind, name = what.workflow_type.name, what.workflow_id.partition(f"{self.id}/")[2]
        task = TaskLook(f"{self.run}.{number}", name or kind, TaskStatus.RUNNING, "SCHEDULED", active=True, started=at)
        self.tasks[number] = replace(task, running=(f"{task.name}: {kind}",))

    def _go_on(self, word: str, at: float, what: Any) -> None:
        number = int(getattr(what, "scheduled_event_id", 0) or getattr(what, "initiated_event_id", 0))
        task = self.tasks.get(number)
        if task and word == "STARTED":
            self.tasks[number] = replace(task, raw=word, starts=getattr(what, "attempt", 1), active=False, running=())
            if number not in self.activities:
                self.children[what.workflow_execution.workflow_id] = number
        elif task and word in ENDS:
            failure = getattr(what, "failure", Failure())
            status = TaskStatus.CANCELED if by_cancel(failure) else ENDS[word]
            error = (said(failure) or word.lower().replace("_", " ")) if status is TaskStatus.ERRORED else ""
            task = replace(task, status=status, raw=word, active=False, running=(), error=error, finished=at)
            self.tasks[number], self.results[task.id] = task, getattr(what, "result", Payloads())


def look(backend: str, described: Described, history: History, parent: ParentLink | None = None) -> ExecutionLook:
    """One execution: states and tasks from its history, what is under way from its description."""
    info, raw = described.workflow_execution_info, history.word
    pending = {one.activity_id: one for one in described.pending_activities}
    tasks = [_now(history, number, pending) for number in history.tasks]
    state = EngineState.CANCELED if by_cancel(history.failure) else STATES[raw]  # its child was canceled (C5)
    if history.canceling and raw == "RUNNING":  # the workflow's code was told so, and is at work until it ends
        state, raw, code = EngineState.CANCELED, "RUNNING, cancel requested", f"{history.run}.code"
        tasks.append(TaskLook(code, "(workflow code)", TaskStatus.RUNNING, active=True, running=("cleaning up",)))
    begun, ended = (time.ToNanoseconds() / 1e9 for time in (info.start_time, info.close_time))
    revision = f"{history.run}.{history.turned}"
    seen = ExecutionLook(Ref(backend, history.id), state, raw, revision, info.type.name, parent, tuple(tasks))
    return replace(seen, error=said(history.failure), created=begun, ended=ended or None)


def _now(history: History, number: int, pending: Mapping[str, Any]) -> TaskLook:
    task, one = history.tasks[number], pending.get(history.activities.get(number, ""))
    if task.finished is not None:
        return task
    task = replace(task, starts=max(task.starts, one.attempt if one else 0))
    if STATES[history.word] not in (EngineState.RUNNING, EngineState.PAUSED):  # ended without it
        return replace(task, status=TaskStatus.CANCELED, raw="LEFT BEHIND", active=False, running=())
    if one is None:
        return task
    word = PendingActivityState.Name(one.state).removeprefix("PENDING_ACTIVITY_STATE_")
    status, active, begun = PENDING[word]
    if word == "SCHEDULED":  # a pause holds what waits, but not what has failed under it: that is tried again
        held = history.word == "PAUSED" and one.last_attempt_complete_time.ToNanoseconds() / 1e9 < history.at
        status, active = TaskStatus.WAITING if held or one.attempt > 1 else status, not held
    task = replace(task, status=status, raw=word, active=active, running=task.running if begun else ())
    return replace(task, starts=one.attempt - (not begun), error=said(one.last_failure))


def _chain(failure: Failure) -> list[Failure]:
    return [failure, *(_chain(failure.cause) if failure.HasField("cause") else [])]


def said(failure: Failure) -> str:
    """The messages of a failure and of its causes."""
    return ": ".join(dict.fromkeys(one.message for one in _chain(failure) if one.message))


def by_cancel(failure: Failure) -> bool:
    """Whether something failed for no other reason than that a child was canceled or terminated."""
    *above, last = [one.WhichOneof("failure_info") or "" for one in _chain(failure)]
    return last.startswith(("canceled_", "terminated_")) and all(one.startswith("child_workflow_") for one in above)


def values(payloads: Payloads) -> list[Any]:
    """What payloads hold: JSON is read; anything else, encrypted or binary, is only named."""
    found = [(one.metadata.get("encoding", b"").decode(), one.data) for one in payloads.payloads]
    return [json.loads(data) if kind.startswith("json/") else _NAMED.get(kind, f"({kind})") for kind, data in found]


def payloads(input: Mapping[str, Any]) -> Payloads:
    """The arguments of a workflow: the input is the only one; a list `args`, where that is all, is several."""
    given = list(input["args"]) if set(input) == {"args"} else [input] if input else []
    data = [json.dumps(one).encode() for one in given]
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=one) for one in data])


def input_of(given: list[Any]) -> dict[str, Any]:
    """The input of which `payloads` makes these arguments."""
    one = given[0] if len(given) == 1 and isinstance(given[0], dict) else {}
    return one if one and set(one) != {"args"} else {"args": given} if given else {}

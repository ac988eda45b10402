"""Histories of a real server, recorded by `record.py`, and what they become. No server is needed here."""

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType, PendingActivityState, WorkflowExecutionStatus
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from flowbridge.model import EngineState, ExecutionLook, ParentLink, TaskStatus
from flowbridge_temporal import words
from record import FOLDER, STORIES

ADAPTER = Path(words.__file__).parent


def history(story: str, place: int = 0) -> tuple[words.History, DescribeWorkflowExecutionResponse]:
    one = json.loads((FOLDER / f"{story}.json").read_text())[place]
    described = ParseDict(one["described"], DescribeWorkflowExecutionResponse())
    execution = described.workflow_execution_info.execution
    read = words.History(execution.workflow_id, execution.run_id)
    read.read(ParseDict(one["history"], History()).events)
    return read, described


def look(story: str, place: int = 0) -> ExecutionLook:
    read, described = history(story, place)
    return words.look("temporal", described, read)


#: Each execution: its state and word, then of each task the name, the word, whether it is active, how often it began.
WHAT_THEY_ARE = {
    "running": ["running RUNNING", "a COMPLETED no 1", "b STARTED active 1"],
    "paused": ["paused PAUSED", "a COMPLETED no 1", "b STARTED active 1"],
    "paused_between": ["paused PAUSED", "a COMPLETED no 1", "b COMPLETED no 1"],
    "resumed": ["running RUNNING", "a COMPLETED no 1", "b COMPLETED no 1", "c STARTED active 1"],
    "completed": ["succeeded COMPLETED", "a COMPLETED no 1", "b COMPLETED no 1", "c COMPLETED no 1"],
    "failed": ["errored FAILED", "a FAILED no 1"],
    "canceling": [
        "canceled RUNNING, cancel requested",
        "a COMPLETED no 1",
        "b STARTED active 1",
        "(workflow code)  active 0",
    ],
    "canceled": ["canceled CANCELED", "a COMPLETED no 1", "b COMPLETED no 1"],
    "canceled_carelessly": ["canceled CANCELED", "gate LEFT BEHIND no 1"],
    "canceled_under_a_pause": ["canceled CANCELED", "a COMPLETED no 1", "b COMPLETED no 1"],
    "terminated": ["canceled TERMINATED", "a COMPLETED no 1", "b LEFT BEHIND no 1"],
    "timed_out": ["errored TIMED_OUT", "a LEFT BEHIND no 1"],
    "continued_as_new": ["succeeded COMPLETED", "n0 COMPLETED no 1"],
    "tried_again": ["running RUNNING", "a COMPLETED no 1", "d SCHEDULED active 1"],
    "held_back": ["paused PAUSED", "a COMPLETED no 1", "d SCHEDULED no 1"],
    "tried_again_under_a_pause": ["paused PAUSED", "a COMPLETED no 1", "d SCHEDULED active 2"],
    "activity_paused": ["running RUNNING", "a COMPLETED no 1", "d PAUSED no 1"],
    "activity_pausing": ["running RUNNING", "a COMPLETED no 1", "b PAUSE_REQUESTED active 1"],
    "nested": ["running RUNNING", "left STARTED no 1", "right STARTED active 1"],
    "child_completed": ["running RUNNING", "one COMPLETED no 1", "next STARTED active 1"],
    "child_failed": ["errored FAILED", "one FAILED no 1"],
    "child_canceled": ["canceled FAILED", "one CANCELED no 1"],
    "child_terminated": ["canceled FAILED", "one TERMINATED no 1"],
    "child_clashes": ["running RUNNING", "only.leaf FAILED no 0", "only.leaf STARTED no 1"],
    "reset": ["running RUNNING", "a STARTED active 1", "b STARTED active 1"],
}


def told(seen: ExecutionLook) -> list[str]:
    tasks = [f"{one.name} {one.raw} {'active' if one.active else 'no'} {one.starts}" for one in seen.tasks]
    return [f"{seen.state} {seen.raw}", *tasks]


@pytest.mark.parametrize("story", WHAT_THEY_ARE)
def test_each_recorded_execution_becomes_what_it_is(story: str) -> None:
    assert told(look(story)) == WHAT_THEY_ARE[story]


def test_every_story_is_recorded_and_told() -> None:
    names = {story.__name__ for story in STORIES}
    assert names == set(WHAT_THEY_ARE) == {file.stem for file in FOLDER.glob("*.json")}


@pytest.mark.parametrize(
    ("kind", "first", "table"),
    [
        (WorkflowExecutionStatus, "WORKFLOW_EXECUTION_STATUS_", words.STATES),
        (PendingActivityState, "PENDING_ACTIVITY_STATE_", words.PENDING),
    ],
)
def test_every_word_of_the_server_is_translated(kind: object, first: str, table: dict[str, object]) -> None:
    names = {name.removeprefix(first) for name in kind.keys()}  # type: ignore[attr-defined]  # noqa: SIM118
    assert names - {"UNSPECIFIED"} == set(table)


def test_every_event_that_ends_a_task_is_known() -> None:
    of_tasks = ("EVENT_TYPE_ACTIVITY_TASK_", "EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_", "EVENT_TYPE_START_CHILD_")
    told = {name.rpartition("_TASK_")[2].rpartition("_EXECUTION_")[2] for name in EventType.keys() if name.startswith(of_tasks)}  # noqa: E501, SIM118  # fmt: skip
    assert told == set(words.ENDS) | {"SCHEDULED", "INITIATED", "STARTED", "CANCEL_REQUESTED"}


def test_an_event_of_a_later_server_is_passed_over() -> None:
    read, described = history("running")
    read.read([HistoryEvent(event_id=99, event_type=9999)])  # type: ignore[arg-type]
    assert words.look("temporal", described, read) == look("running")


def test_O4_the_revision_changes_with_a_pause_and_a_resume_and_with_nothing_else() -> None:
    chain = [look(story).revision.partition(".")[2] for story in ("running", "paused", "paused_between", "resumed")]
    assert chain[0] != chain[1] == chain[2] != chain[3]


def test_C5_a_workflow_that_failed_for_its_canceled_child_is_canceled() -> None:
    assert look("child_canceled").state is EngineState.CANCELED
    assert look("child_terminated").state is EngineState.CANCELED
    assert look("child_failed").state is EngineState.ERRORED


def test_an_error_is_told_with_its_cause() -> None:
    assert look("failed").error == "Activity task failed: no room left"
    assert [task.error for task in look("failed").tasks] == ["no room left"]
    assert [task.error for task in look("tried_again").tasks][1] == "the first attempt always fails"


def test_what_runs_is_told_in_words_and_what_waits_is_not() -> None:
    assert [task.running for task in look("running").tasks] == [(), ("b: gate",)]
    assert [task.running for task in look("tried_again").tasks] == [(), ()]


def test_S2_a_delayed_activity_is_waiting() -> None:
    assert [look(story).tasks[1].status for story in ("tried_again", "held_back")] == [TaskStatus.WAITING] * 2


def test_a_child_is_linked_to_the_task_that_started_it() -> None:
    parent, _ = history("nested")
    assert {child: parent.tasks[number].name for child, number in parent.children.items()} == {"nested/left": "left"}
    read, described = history("nested", 1)
    link = ParentLink("nested", parent.tasks[5].id)
    assert words.look("temporal", described, read, link).parent == link
    assert read.root == "nested"


def test_times_are_seconds_since_the_epoch_in_the_order_of_what_happened() -> None:
    seen = look("completed")
    first, last = seen.tasks[0], seen.tasks[-1]
    times = [seen.created, first.started, first.finished, last.started, last.finished, seen.ended]
    assert times == sorted(time or 0.0 for time in times)
    assert look("running").ended is None


def test_results_and_inputs_are_read() -> None:
    read, _ = history("completed")
    assert words.input_of(words.values(read.input)) == {"n": 7}
    assert words.values(read.output) == [{"steps": ["a", "b", "c"]}]
    assert [words.values(result) for result in read.results.values()] == [[{"of": "a"}], [None], [["c", 1]]]


@pytest.mark.parametrize(
    ("input", "arguments"),
    [
        ({}, []),
        ({"n": 1}, [{"n": 1}]),
        ({"args": []}, []),
        ({"args": [{}]}, [{}]),
        ({"args": ["x", 2]}, ["x", 2]),
        ({"args": [{"args": [1]}]}, [{"args": [1]}]),
        ({"args": [1], "n": 2}, [{"args": [1], "n": 2}]),
    ],
)
def test_an_input_becomes_arguments_and_those_the_same_input(input: dict[str, object], arguments: list[object]) -> None:
    assert words.values(words.payloads(input)) == arguments
    assert words.input_of(arguments) == ({} if not arguments else input)


def test_what_is_no_json_is_only_named() -> None:
    payloads = [
        Payload(metadata={"encoding": b"binary/encrypted"}, data=b"secret"),
        Payload(metadata={"encoding": b"binary/null"}),
        Payload(metadata={"encoding": b"json/protobuf"}, data=b'{"a": 1}'),
    ]
    assert words.values(Payloads(payloads=payloads)) == ["(binary/encrypted)", None, {"a": 1}]


def test_the_adapter_has_less_than_400_lines() -> None:
    assert sum(file.read_text().count("\n") for file in ADAPTER.glob("*.py")) < 400

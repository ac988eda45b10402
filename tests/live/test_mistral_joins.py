"""What Mistral leaves hung, and what is left of it: by a join that ran during a pause (P5), by items run again (X6)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import EngineRefused
from flowbridge.law.tables import TERMINAL
from flowbridge.model import EngineState, Record, Status, TaskStatus, Verb
from flowbridge_mistral import observe
from flowbridge_mistral.backend import MistralBackend
from live.mistral_lab import WORKBOOK, Lab, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture
def lab(mistral_url: str) -> Iterator[Lab]:
    backend = MistralBackend("prod", {"url": mistral_url})
    backend.deploy(Definition(WORKBOOK))
    yield Lab(backend)
    backend.close()


@pytest.fixture
def flow(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.setattr(observe, "QUIET_SECONDS", 3.0)
    with Bridge(Config(ledger=tmp_path / "ledger.db", actor="ada"), backends=[lab.backend]) as bridge:
        yield bridge


def forgotten(flow: Bridge, lab: Lab) -> str:
    """A workflow all of whose tasks ended under a pause, and behind them a join; it was resumed since."""
    engine_id = lab.start("joined")
    id = flow.find(f"prod:{engine_id}").id
    lab.gates(engine_id, "a", "b")
    (warning,) = flow.pause(id).plan.warnings
    assert warning.endswith(
        "join j may wait for good after the resume, if all tasks before it end under the pause (P5)"
    )
    for gate in ("a", "b"):
        lab.end(engine_id, gate)
        until(lambda: lab.task(engine_id, gate).status is TaskStatus.SUCCEEDED)  # noqa: B023
    flow.wait(id, timeout=60)
    (warning,) = flow.resume(id, timeout=60).plan.warnings
    assert warning.endswith("because all tasks before it ended under the pause (P5)")
    return id


def slipped(flow: Bridge, lab: Lab, last: TaskStatus = TaskStatus.SUCCEEDED) -> str:
    """A workflow whose join ran during a pause, and ended so; it was resumed since."""
    engine_id = lab.start("joined")
    lab.end(engine_id, "a")
    id = flow.find(f"prod:{engine_id}").id
    (warning,) = flow.plan(Verb.PAUSE, id).warnings
    assert ": j may start under the pause" in warning
    flow.pause(id)
    lab.end(engine_id, "b")
    lab.end(engine_id, "j", last)
    until(lambda: lab.task(engine_id, "j").status is last)
    flow.wait(id, timeout=60)
    flow.resume(id, timeout=60)
    return id


def waiting_for_good(flow: Bridge, lab: Lab, last: TaskStatus = TaskStatus.SUCCEEDED) -> str:
    """The same, whose join waits again. Now and then, once in 30 times, the engine starts the join anew instead."""
    for _ in range(5):
        id = slipped(flow, lab, last)
        if _comes_to(flow, lab, id) == "hung":
            return id
    raise AssertionError("the engine started the join anew five times in a row")


def _comes_to(flow: Bridge, lab: Lab, id: str) -> str:
    """Whether the join waits for good or runs once more, which it may after it was seen to wait for a moment."""
    engine_id = flow.find(id).ref.id

    def comes_to() -> str:
        if lab.task(engine_id, "j").raw == "RUNNING":
            return "started anew"
        return "hung" if flow.get(id).record.hung else ""

    return until(comes_to)


def test_P5_a_workflow_hung_by_its_join_is_found_and_ended_by_recover_with_its_output(flow: Bridge, lab: Lab) -> None:
    id = waiting_for_good(flow, lab)
    (found,) = until(lambda: [node for node in flow.get(id).snapshot.nodes if node.hung])
    assert "join j ran during a pause" in found.hung
    assert [look.record.id for look in flow.recover()] == [id]
    assert flow.get(id).record.status is Status.RUNNING, "recover without leave writes nothing"
    (look,) = flow.recover(id, end_hung=True)
    assert look.record.status is Status.SUCCEEDED
    assert lab.root(look.record.ref.id).state is EngineState.SUCCEEDED


def test_X6_a_workflow_hung_by_an_accepted_rerun_is_shown_as_hung_and_left_to_a_cancel(flow: Bridge, lab: Lab) -> None:
    # Of two that end at once the engine mostly counts both, which is more than it waits for; else it is done.
    again = (accepted_again(flow, lab) for _ in range(8))
    found = next(record for record in again if record.status is not Status.SUCCEEDED)
    id, engine_id = found.id, found.ref.id
    assert "task t ran more items than it has" in found.hung
    with pytest.raises(EngineRefused, match="would lose t and what comes behind"):
        flow.recover(id, end_hung=True)
    with pytest.raises(EngineRefused, match="its engine never ended t; nothing was written"):
        lab.backend.end_hung(engine_id)
    assert lab.root(engine_id).state is EngineState.RUNNING
    assert flow.cancel(id, timeout=60).status is Status.CANCELED


def test_X6_a_workflow_hung_by_items_that_are_sub_workflows_is_shown_as_hung_too(flow: Bridge, lab: Lab) -> None:
    """Of two that end at once the engine counts one, and is done, or both, which is more than it waits for."""
    for id in [many_again(flow, lab) for _ in range(4)]:
        record = come_to_rest(flow, id)
        if record.status is Status.SUCCEEDED:
            continue
        assert "task t ran more items than it has" in record.hung
        assert flow.cancel(id, timeout=60).status is Status.CANCELED


def accepted_again(flow: Bridge, lab: Lab) -> Record:
    """A partial re-run of items of which one runs again although it had succeeded, once it has ended or hangs."""
    engine_id, _ = lab.errored_items(TaskStatus.SUCCEEDED, TaskStatus.ERRORED, TaskStatus.SUCCEEDED)
    id = flow.rerun(flow.find(f"prod:{engine_id}").id, RerunRequest(("t",), ("t",)), accept={"X6"}).execution
    lab.gates(engine_id, "1", "2")
    lab.end(engine_id, "1")
    lab.end(engine_id, "2")
    return come_to_rest(flow, id)


def many_again(flow: Bridge, lab: Lab) -> str:
    """A partial re-run of items that are sub-workflows, of which one runs again although it had succeeded."""
    engine_id = lab.start("many")
    for place, status in enumerate([TaskStatus.SUCCEEDED, TaskStatus.ERRORED, TaskStatus.SUCCEEDED]):
        lab.end(engine_id, str(place), status)
    lab.reaches(engine_id, EngineState.ERRORED)
    id = flow.rerun(flow.find(f"prod:{engine_id}").id, RerunRequest(("t",), ("t",)), accept={"X6"}).execution
    lab.gates(engine_id, "1", "2")
    lab.end(engine_id, "1")
    lab.end(engine_id, "2")
    return id


def come_to_rest(flow: Bridge, id: str) -> Record:
    """An execution that has ended, or hangs."""

    def rests() -> Record | None:
        record = flow.get(id).record
        return record if record.hung or record.status in TERMINAL else None

    record = until(rests)
    assert record is not None
    return record


def test_P5_a_sound_workflow_is_not_hung_and_cannot_be_ended_so(flow: Bridge, lab: Lab) -> None:
    engine_id = lab.start("joined")
    lab.end(engine_id, "a")
    with pytest.raises(EngineRefused, match="not hung"):
        lab.backend.end_hung(engine_id)
    assert flow.recover(flow.find(f"prod:{engine_id}").id, end_hung=True)[0].record.status is Status.RUNNING


def test_P5_a_join_whose_tasks_all_ended_under_a_pause_is_shown_as_hung_and_left_to_a_cancel_and_a_rerun(
    flow: Bridge, lab: Lab
) -> None:
    id = forgotten(flow, lab)
    (found,) = until(lambda: [node for node in flow.get(id).snapshot.nodes if node.hung])
    assert "join j waits though all before it is over" in found.hung
    assert found.unended == ("j",)
    with pytest.raises(EngineRefused, match="would lose j and what comes behind"):
        flow.recover(id, end_hung=True)
    with pytest.raises(EngineRefused, match="j never ran; nothing was written"):
        lab.backend.end_hung(found.record.ref.id)
    assert flow.get(id).record.status is Status.RUNNING
    assert flow.cancel(id, timeout=60).status is Status.CANCELED
    again = flow.rerun(id).execution
    for gate in ("a", "b", "j"):
        lab.end(flow.find(again).ref.id, gate)
    assert flow.wait(again, timeout=60).record.status is Status.SUCCEEDED


def test_P5_a_join_that_somebody_resumed_before_its_last_task_ended_merely_waits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "QUIET_SECONDS", 0.0)
    engine_id = lab.start("joined")
    lab.gates(engine_id, "a", "b")
    lab.backend.pause(engine_id)
    lab.end(engine_id, "a")
    until(lambda: lab.task(engine_id, "a").status is TaskStatus.SUCCEEDED)
    lab.backend.resume(engine_id, "")
    until(lambda: lab.task(engine_id, "j").raw == "WAITING")
    assert lab.root(engine_id).hung == ""
    lab.end(engine_id, "b")
    lab.end(engine_id, "j")
    lab.reaches(engine_id, EngineState.SUCCEEDED)


def test_P5_a_join_whose_last_task_is_delayed_merely_waits(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "QUIET_SECONDS", 0.0)
    engine_id = lab.start("late")
    lab.end(engine_id, "a")
    until(lambda: lab.task(engine_id, "j").raw == "WAITING")
    until(lambda: lab.task(engine_id, "d").raw == "DELAYED")
    assert lab.root(engine_id).hung == ""
    lab.backend.cancel(engine_id)


def test_P5_what_hung_is_not_ended_as_succeeded_where_one_of_its_tasks_failed(flow: Bridge, lab: Lab) -> None:
    id = waiting_for_good(flow, lab, TaskStatus.ERRORED)
    until(lambda: [node for node in flow.get(id).snapshot.nodes if node.hung])
    with pytest.raises(EngineRefused, match="j failed, and whether that was handled cannot be told"):
        flow.recover(id, end_hung=True)
    assert flow.get(id).record.status is Status.RUNNING
    assert flow.cancel(id, timeout=60).status is Status.CANCELED

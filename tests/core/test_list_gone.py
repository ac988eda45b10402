"""What is gone or hung is told by a list, and not taken for what runs (S7)."""

from __future__ import annotations

import pytest

from core.kit import Desk, current, one, told
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, NotFound, Rejected
from flowbridge.ledger.executions import GONE, Filter
from flowbridge.model import EngineState, Status, TaskStatus, Verb
from flowbridge.treeviews import tree_view
from flowbridge.views import execution_view


def test_S7_what_is_gone_does_not_run_and_is_found_as_gone(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    other = one(desk, id="e9")
    desk.engine.forget("e0")
    assert [each.id for each in flow.list(Filter(status=("running",)))] == [other.id]
    assert [each.id for each in flow.list(Filter(status=(GONE,)))] == [record.id]
    assert {each.id for each in flow.list(Filter(status=(GONE, "running")))} == {record.id, other.id}
    assert {(each.id, each.gone) for each in flow.list(Filter())} == {(record.id, True), (other.id, False)}


def test_S7_what_had_ended_before_it_was_gone_is_still_found_by_how_it_ended(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.has["e0"].tasks = []
    desk.engine.has["e0"].go(EngineState.ERRORED)
    flow.get(record.id)
    desk.engine.forget("e0")
    flow.get(record.id)
    assert [(each.id, each.gone) for each in flow.list(Filter(status=("errored",)))] == [(record.id, True)]


def test_a_hung_execution_is_told_by_a_list_until_it_goes_on(flow: Bridge, desk: Desk) -> None:
    record = one(desk, TaskStatus.SUCCEEDED)
    desk.engine.has["e0"].hung = "a join slipped"
    (listed,) = flow.list(Filter())
    assert execution_view(listed)["hung"] == "a join slipped"
    assert "recover" in execution_view(listed)["possible"]
    desk.engine.glances = True  # its engine calls it running all the time
    desk.engine.has["e0"].hung = ""
    (listed,) = flow.list(Filter())
    assert (execution_view(listed)["hung"], listed.id) == (None, record.id)
    assert "recover" not in execution_view(listed)["possible"]


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.SKIP])
@pytest.mark.parametrize("is_ours", [True, False])
def test_S7_a_refusal_for_what_is_gone_advises_a_re_run_only_where_its_input_is_known(
    flow: Bridge, desk: Desk, verb: Verb, is_ours: bool
) -> None:
    id = flow.run("flow", backend="fake").id if is_ours else one(desk).id
    desk.engine.has.clear()
    with pytest.raises(Rejected) as refused:
        flow.operate(verb, id, request=RerunRequest(("t0",)))
    assert (refused.value.rule, refused.value.reason, refused.value.execution) == ("S7", "gone", id)
    said = "re-run from the beginning" if is_ours else "does not know its input. Nothing can be done with it; start"
    assert said in refused.value.message
    assert ("re-run" in refused.value.message) is is_ours
    if not is_ours:
        with pytest.raises(NotFound):
            flow.rerun(id)


@pytest.mark.parametrize(
    ("left", "named"),
    [
        (TaskStatus.SUCCEEDED, "pause, cancel, recover."),
        (TaskStatus.WAITING, "pause, cancel."),
        (TaskStatus.RUNNING, "pause, cancel."),
        (TaskStatus.ERRORED, "pause, cancel."),
    ],
)
def test_what_is_possible_for_a_hung_execution_names_recover_where_that_ends_it(
    flow: Bridge, desk: Desk, left: TaskStatus, named: str
) -> None:
    record = one(desk, TaskStatus.SUCCEEDED, left)
    desk.engine.has["e0"].set("t1", starts=int(left is not TaskStatus.WAITING), active=False)
    desk.engine.has["e0"].hung = "a join slipped"
    with pytest.raises(Rejected, match=f"Possible now: {named}$"):
        flow.resume("fake:e0")
    offers = "recover" in named
    assert ("recover" in tree_view(flow.get(record.id).snapshot)["possible"]) is offers
    if offers:
        assert flow.recover(record.id, end_hung=True)[0].record.status is Status.SUCCEEDED
    else:
        with pytest.raises(EngineRefused, match=f"`flowbridge cancel {record.id}`.*`flowbridge re-run {record.id}`"):
            flow.recover(record.id, end_hung=True)
        assert desk.engine.sent() == []


def test_what_has_ended_is_held_no_more_and_recover_tells_that_a_pause_was_late(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.ignores = {"pause"}
    flow.pause(record.id, timeout=0)
    desk.engine.has["e0"].tasks = []
    desk.engine.has["e0"].go(EngineState.SUCCEEDED)
    finished: list[str] = []
    flow.recover(record.id, finished=lambda operation: finished.append(operation.outcome))
    assert finished == [f"done; {record.id} ended first: succeeded"]
    view = execution_view(current(flow, "e0"))
    assert (view["held"], view["held_by"]) == (False, None)


def test_O7_what_is_already_so_is_written_down_as_that_where_it_is_asked_for(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    flow.pause(record.id)
    with pytest.raises(Rejected):
        flow.pause(record.id, already_ok=True)
    assert told(flow)[-1].doc["state"] == "already so"
    with pytest.raises(Rejected):
        flow.pause(record.id)
    assert told(flow)[-1].doc["state"] == "rejected"

"""What is accepted against a rule is shown before, told after, and nobody else's doing (O1, O8, O9)."""

from __future__ import annotations

import pytest

from core.kit import Desk, current, told
from flowbridge.bridge import Bridge
from flowbridge.capabilities import PartialRerun, ResumeUp
from flowbridge.checks import RerunRequest
from flowbridge.errors import InvalidInput, Rejected
from flowbridge.model import EngineState, Status, TaskStatus, Verb, Want
from support.fakes import FakeEngine, task


def three_levels(desk: Desk) -> Bridge:
    """A paused root, its child and its grandchild, on an engine that resumes upwards."""
    desk.engine = FakeEngine(resume_up=ResumeUp.LAST_PAUSED)
    flow = desk.open()
    desk.engine.add("e0", task("sub", TaskStatus.PAUSED, active=False), workflow="top")
    desk.engine.add("e1", task("sub", TaskStatus.PAUSED, of="e1", active=False), parent="e0", workflow="middle")
    desk.engine.add("e2", parent="e1")
    flow.pause("fake:e0")

    def up(called: str) -> None:
        if desk.engine.count()["resume"] and desk.engine.has["e2"].state is EngineState.RUNNING:
            for id in ("e0", "e1"):
                if desk.engine.has[id].state is EngineState.PAUSED:
                    desk.engine.has[id].go(EngineState.RUNNING)

    desk.engine.before = up
    return flow


def test_R4_the_refusal_names_every_ancestor_that_would_be_resumed(desk: Desk) -> None:
    flow = three_levels(desk)
    with pytest.raises(Rejected, match=r"\(middle\) and execution .* \(top\) above it as well") as caught:
        flow.resume("fake:e2")
    assert "Resume one of them" in caught.value.message


def test_O1_the_plan_shows_the_ancestors_that_an_accepted_resume_takes_along(desk: Desk) -> None:
    flow = three_levels(desk)
    plan = flow.plan(Verb.RESUME, "fake:e2", accept=["R4"])
    assert [(line.action, line.by) for line in plan.lines] == [
        ("resume", "engine"),
        ("resume", "engine"),
        ("resume", "bridge"),
    ]
    assert "(accepted R4)" in plan.lines[0].reason
    assert [step.record for step in plan.steps] == [current(flow, "e2").id]
    assert len(plan.warnings) == 2
    assert "(top) is resumed as well, by its engine, unless what is below ends first" in plan.warnings[1]


def test_O6_what_an_accepted_resume_takes_along_is_not_told_as_done_from_outside(desk: Desk) -> None:
    flow = three_levels(desk)
    outcome = flow.resume("fake:e2", accept=["R4"])
    assert outcome.done
    assert len(outcome.plan.warnings) == 2
    look = flow.get("fake:e0")
    assert {node.record.status for node in look.snapshot.nodes} == {Status.RUNNING}
    assert {node.record.want for node in look.snapshot.nodes} == {Want.RUN}
    assert "resumed_outside" not in [entry.kind for entry in flow.history()]
    (asked,) = [entry.doc for entry in told(flow) if entry.doc.get("verb") == "resume"]
    assert asked["accept"] == ["R4"]
    assert asked["along"] == [current(flow, "e1").id, current(flow, "e0").id]


def test_O12_a_resume_from_outside_after_the_next_operation_is_told_as_such(desk: Desk) -> None:
    flow = three_levels(desk)
    flow.resume("fake:e2", accept=["R4"])
    flow.get("fake:e0")
    desk.engine.before = lambda called: None
    flow.pause("fake:e0")
    desk.engine.has["e0"].go(EngineState.RUNNING)
    flow.get("fake:e0")
    assert [entry.kind for entry in flow.history()].count("resumed_outside") == 1


def test_O8_an_accepted_partial_re_run_says_what_may_happen(desk: Desk) -> None:
    desk.engine = FakeEngine(partial_rerun=PartialRerun.LAST_FAILED)
    flow = desk.open()
    desk.engine.add("e0", task("all", TaskStatus.ERRORED, items=3), state=EngineState.ERRORED)
    request = RerunRequest(("all",), ("all",))
    with pytest.raises(Rejected, match="X6"):
        flow.plan(Verb.RERUN, "fake:e0", request=request)
    (warning,) = flow.plan(Verb.RERUN, "fake:e0", request=request, accept=["X6"]).warnings
    assert "may run items again that had succeeded, and may hang (accepted X6)" in warning
    outcome = flow.rerun("fake:e0", request, accept=["X6"])
    assert outcome.plan.warnings == (warning,)


@pytest.mark.parametrize("accept", [["Z9"], ["X6", "Z9"], ["x6"], ["P1"], [""], "X6"], ids=str)
@pytest.mark.parametrize("verb", Verb)
def test_O8_what_nobody_is_refused_for_cannot_be_accepted(desk: Desk, verb: Verb, accept: list[str]) -> None:
    flow = three_levels(desk)
    before = len(flow.history())
    for asked in (flow.plan, flow.operate):
        with pytest.raises(InvalidInput, match=r"is no rule that can be accepted; there are: R4, X6 \(O8\)"):
            asked(verb, "fake:e2", accept=accept)
    assert len(flow.history()) == before
    assert desk.engine.count()["resume"] == 0

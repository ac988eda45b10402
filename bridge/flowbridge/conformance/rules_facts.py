"""What a backend declares of its engine, held against the engine itself, with no bridge between.

A fact that is declared and not seen fails; so does one that is seen and not declared.
"""

from __future__ import annotations

import pytest

from flowbridge.capabilities import Cascade, JoinUnderPause, PartialRerun, ResumeUp
from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_asked
from flowbridge.errors import FlowbridgeError
from flowbridge.model import EngineState, Status, TaskRerun, Verb


def test_P2_the_engine_pauses_downwards_as_declared(lab: Lab) -> None:
    lab.needs(Verb.PAUSE)
    id = lab.start(shapes.NESTED)
    mid, low = lab.child(id, "left").id, lab.child(id, "left", "inner").id
    lab.gate(mid, "peer")
    lab.gate(low, "deep")
    lab.harness.backend.pause(lab.ref(id).id)
    lab.engine_reaches(id, EngineState.PAUSED)
    if Cascade.PAUSE_DOWN in lab.facts.cascades:
        lab.engine_reaches(mid, EngineState.PAUSED)
        lab.engine_reaches(low, EngineState.PAUSED)
    else:
        lab.release(low, "deep")
        lab.engine_reaches(low, EngineState.SUCCEEDED)  # what is paused does not end


def test_P3_the_engine_pauses_upwards_as_declared(lab: Lab) -> None:
    lab.needs(Verb.PAUSE)
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.gate(one, "c")
    lab.gate(two, "c")
    lab.harness.backend.pause(lab.ref(two).id)
    lab.engine_reaches(two, EngineState.PAUSED)
    if Cascade.PAUSE_UP in lab.facts.cascades:
        lab.engine_reaches(id, EngineState.PAUSED)
    else:
        lab.release(one, "c")
        lab.release(one, "d")
        lab.gate(id, "next")  # what is paused starts nothing


def test_R2_the_engine_resumes_downwards_as_declared(lab: Lab) -> None:
    lab.needs(Verb.PAUSE, Verb.RESUME)
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    look = lab.pause_settled(id, one, two)
    lab.harness.backend.resume(look.record.ref.id, look.record.revision)
    lab.engine_reaches(id, EngineState.RUNNING)
    if Cascade.RESUME_DOWN in lab.facts.cascades:
        lab.gate(one, "d")
        lab.gate(two, "d")
    else:
        lab.meanwhile(shapes.CHAIN)
        assert lab.state(one) is lab.state(two) is EngineState.PAUSED


def test_C3_the_engine_cancels_downwards_as_declared(lab: Lab) -> None:
    lab.needs(Verb.CANCEL)
    id = lab.start(shapes.NESTED)
    mid, low = lab.child(id, "left").id, lab.child(id, "left", "inner").id
    lab.gate(mid, "peer")
    lab.gate(low, "deep")
    lab.harness.backend.cancel(lab.ref(id).id)
    lab.engine_reaches(id, EngineState.CANCELED)
    if Cascade.CANCEL_DOWN in lab.facts.cascades:
        lab.engine_reaches(mid, EngineState.CANCELED)
        lab.engine_reaches(low, EngineState.CANCELED)
    else:
        lab.release(low, "deep")
        lab.engine_reaches(low, EngineState.SUCCEEDED)


def test_X8_the_engine_re_opens_ancestors_as_declared(lab: Lab) -> None:
    lab.needs(Verb.RERUN)
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one").id
    lab.release(child, "c", ok=False)
    lab.reaches(id, Status.ERRORED)
    own = lab.own(child)
    assert own is not None
    lab.harness.backend.rerun(own.ref.id, [TaskRerun(next(task.id for task in own.tasks if task.name == "c"))])
    lab.gate(child, "c")
    if Cascade.RERUN_UP in lab.facts.cascades:
        lab.engine_reaches(id, EngineState.RUNNING)
    else:
        assert lab.state(id) is EngineState.ERRORED


def test_X6_an_engine_that_is_said_to_run_too_many_items_again_does(lab: Lab) -> None:
    lab.needs(Verb.RERUN)
    if lab.facts.partial_rerun is PartialRerun.YES:
        not_asked("the engine runs only the failed items again")
    id = lab.start(shapes.ITEMS)
    for item in range(3):
        lab.release(id, "t", item=item, ok=item != 0, result={"item": item})
    lab.reaches(id, Status.ERRORED)
    own = lab.own(id)
    assert own is not None
    try:
        lab.harness.backend.rerun(own.ref.id, [TaskRerun(own.tasks[0].id, reset=False)])
    except FlowbridgeError:
        return  # it cannot, and says so
    lab.until(
        lambda: any(lab.gate_now(id, "t", item) for item in (1, 2)),
        "an item that had succeeded to run again: declare partial_rerun YES if it never does",
    )


def test_R4_an_engine_that_is_said_to_resume_upwards_does(lab: Lab) -> None:
    if lab.facts.resume_up is ResumeUp.NEVER:
        not_asked("the engine never resumes upwards")
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one").id
    lab.gate(child, "c")
    lab.pause(id)
    lab.release(child, "c")
    lab.reaches(child, Status.PAUSED)
    lab.reaches(id, Status.PAUSED)
    lab.resume(child, accept=["R4"])
    lab.release(child, "d")
    lab.release(id, "next")
    lab.reaches(id, Status.SUCCEEDED)


def test_P5_a_join_whose_last_task_ends_under_a_pause_waits_for_the_resume(lab: Lab) -> None:
    id = lab.start(shapes.FORK)
    lab.release(id, "a")
    lab.gate(id, "b")
    slips = lab.facts.join_under_pause is JoinUnderPause.MAY_SLIP
    if slips:
        lab.until(lambda: lab.task(id, "j"), "the task j")
    outcome = lab.pause(id)
    lab.release(id, "b")
    if slips:
        assert any("(P5)" in warning for warning in outcome.plan.warnings), "the plan does not name the join"
        lab.gate(id, "j")
        lab.notes.why.append("a join that waits may start under the pause, which the plan says")
        return
    lab.reaches(id, Status.PAUSED)
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate_now(id, "j") is None
    lab.resume(id)
    lab.release(id, "j")
    lab.reaches(id, Status.SUCCEEDED)
    assert lab.starts(id) == {"a": 1, "b": 1, "j": 1}


def test_P5_a_delayed_task_starts_under_a_pause_only_where_that_is_declared(lab: Lab) -> None:
    id = lab.start(shapes.DELAYED)
    lab.release(id, "a")
    lab.until(lambda: lab.task(id, "d"), "the task d")
    outcome = lab.pause(id)
    if lab.facts.delayed_starts_under_pause:
        assert any("(P5, C2)" in warning for warning in outcome.plan.warnings), "the plan does not name the task"
        lab.gate(id, "d")
        lab.notes.why.append("a delayed task starts under the pause, which the plan says")
        return
    lab.reaches(id, Status.PAUSED)
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate_now(id, "d") is None
    lab.resume(id)
    lab.release(id, "d")
    lab.reaches(id, Status.SUCCEEDED)


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.RERUN, Verb.SKIP])
def test_O10_a_verb_that_is_not_declared_does_nothing(lab: Lab, verb: Verb) -> None:
    if verb in lab.facts.verbs:
        not_asked(f"the engine has {verb}")
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    if verb in (Verb.RERUN, Verb.SKIP):
        lab.release(id, "a", ok=False)
        lab.reaches(id, Status.ERRORED)
    if verb is Verb.RESUME and Verb.PAUSE in lab.facts.verbs:
        lab.pause(id)
        lab.release(id, "a")
        lab.reaches(id, Status.PAUSED)
    own = lab.own(id)
    assert own is not None
    task, backend = own.tasks[0].id, lab.harness.backend
    calls = {
        Verb.PAUSE: lambda: backend.pause(own.ref.id),
        Verb.RESUME: lambda: backend.resume(own.ref.id, own.revision),
        Verb.CANCEL: lambda: backend.cancel(own.ref.id),
        Verb.RERUN: lambda: backend.rerun(own.ref.id, [TaskRerun(task)]),
        Verb.SKIP: lambda: backend.skip(own.ref.id, [task]),
    }
    try:
        calls[verb]()
    except (FlowbridgeError, NotImplementedError):
        return
    lab.meanwhile(shapes.CHAIN)
    after = lab.own(id)
    assert after is not None
    same = (after.state, after.tasks) == (own.state, own.tasks)
    assert same, f"{verb} is not declared, and the engine does it: declare it"

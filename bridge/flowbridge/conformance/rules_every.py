"""O: what holds for every operation."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

import pytest

from flowbridge.backend import Definition, Listed, StartRequest
from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_asked, not_possible
from flowbridge.conformance.shapes import Flow, Shape, Step
from flowbridge.errors import Unavailable
from flowbridge.law.decide import Action
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, Ref, Status, Verb
from flowbridge.planning import fingerprint


def test_O1_a_plan_names_every_execution_and_changes_nothing(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one"), lab.child(id, "two")
    lab.gate(one.id, "c")
    lab.gate(two.id, "c")
    before = lab.fingerprint(id)
    plan = lab.bridge.plan(Verb.CANCEL, one.id)
    assert {line.record: line.action for line in plan.lines} == {
        id: Action.LEAVE,
        one.id: Action.CANCEL,
        two.id: Action.LEAVE,
    }
    assert all(line.reason for line in plan.lines if line.action is Action.LEAVE)
    assert lab.fingerprint(id) == before


def test_O2_an_engine_that_does_not_answer_is_neither_obeyed_nor_believed(lab: Lab) -> None:
    backend = lab.harness.unreachable()
    if backend is None:
        local = isinstance(lab.harness.backend, LocalBackend)
        not_possible("the engine runs in a process of ours" if local else "the harness has no engine that is down")
    id = lab.start(shapes.CHAIN)
    engine_id = lab.ref(id).id
    calls: Mapping[str, Callable[[], object]] = {
        "observe": lambda: backend.observe([engine_id]),
        "read": lambda: backend.read(engine_id),
        "cancel": lambda: backend.cancel(engine_id),
        "start": lambda: backend.start(_request(lab, id)),
        "list_executions": lambda: list(backend.list_executions(limit=1)),
        "check": backend.check,
    }
    for name, call in calls.items():
        try:
            answer = call()
        except Unavailable:
            continue
        pytest.fail(f"{name} of an engine that does not answer gave {answer!r}: it has to raise Unavailable")


def test_O3_starting_the_same_id_twice_starts_once(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    gate = lab.gate(id, "a")
    assert lab.harness.backend.start(_request(lab, id)) == lab.ref(id)
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate(id, "a") == gate
    assert lab.starts(id) == {"a": 1}


def test_O3_starting_the_same_id_twice_leaves_nothing_beside_it(lab: Lab) -> None:
    if not isinstance(lab.definition(shapes.CHAIN), Definition):
        not_asked("workflows are not deployed through the bridge")
    once = Flow(f"once_{uuid.uuid4().hex[:8]}", (Step("a"),))  # nobody else starts one of that name
    id = lab.start(Shape("once", (once,)))
    lab.gate(id, "a")
    if isinstance(lab.harness.backend, LocalBackend) and not _listed(lab):
        not_asked("every execution of a local engine is in the ledger already")
    lab.harness.backend.start(_request(lab, id))
    lab.meanwhile(shapes.CHAIN)
    mine = lab.until(lambda: _listed(lab).get(lab.ref(id)), f"{id} to be in the engine's list")
    beside = [one.ref.id for one in _listed(lab).values() if one.workflow == mine.workflow and one.ref != mine.ref]
    assert not beside, f"a start that came twice with the id {lab.ref(id).id} has started these too: {beside}"


def _request(lab: Lab, id: str) -> StartRequest:
    """The start of an execution, as it was sent."""
    from flowbridge.sending import start_request  # noqa: PLC0415  only the rules here start by hand

    request = lab.bridge.ledger.executions.request(id)
    assert request is not None
    return start_request(lab.ref(id).id, request)


def _listed(lab: Lab) -> dict[Ref, Listed]:
    return {one.ref: one for one in lab.harness.backend.list_executions(limit=50)}


def test_O4_a_verb_is_done_when_the_engine_shows_it(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    outcome = lab.pause(id)
    assert outcome.done
    assert outcome.exit_code == 0
    assert lab.look(id).open == ()
    assert lab.state(id) is EngineState.PAUSED


def test_O4_a_resume_that_was_taken_can_be_told_by_the_revision(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    revisions = []
    for task in ("a", "b"):
        lab.gate(id, task)
        lab.pause(id)
        lab.release(id, task)
        revisions.append(lab.reaches(id, Status.PAUSED).record.revision)
        lab.resume(id)
    assert revisions[0] != revisions[1], "an engine that paused again looks as if it had never been resumed"


def test_O6_every_operation_is_kept_with_who_and_why_rejected_ones_too(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id, reason="a look at the disk")
    lab.refused(lambda: lab.pause(id, reason="once more"), "P1")
    kept = [
        (entry.actor, entry.doc["verb"], entry.doc["reason"])
        for entry in lab.bridge.history(id)
        if entry.kind == "operation"
    ]
    actor = lab.bridge.config.actor
    assert kept == [(actor, "start", ""), (actor, "pause", "a look at the disk"), (actor, "pause", "once more")]
    outcomes = [entry.doc["state"] for entry in lab.bridge.history(id) if entry.kind == "outcome"]
    assert outcomes == ["done", "done", "rejected"]


def test_O7_asking_for_what_is_so_has_a_reason_of_its_own(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    assert lab.refused(lambda: lab.resume(id), "R1").reason == "already"


def test_O9_a_confirmed_plan_is_carried_out_only_while_it_still_holds(lab: Lab) -> None:
    id = lab.start(shapes.LATE)
    lab.gate(id, "a")
    shown = fingerprint(lab.bridge.plan(Verb.PAUSE, id))
    lab.release(id, "a")
    child = lab.child(id, "one")
    lab.gate(child.id, "c")
    before = lab.fingerprint(id)
    lab.refused(lambda: lab.pause(id, expect=shown), "O9")
    assert lab.fingerprint(id) == before
    lab.pause(id, expect=fingerprint(lab.bridge.plan(Verb.PAUSE, id)))


def test_O10_repeating_a_verb_never_does_its_opposite(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id)
    lab.refused(lambda: lab.pause(id), "P1")
    assert lab.status(id) is Status.PAUSING


def test_O10_a_verb_touches_no_other_execution(lab: Lab) -> None:
    id, other = lab.start(shapes.CHAIN), lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.gate(other, "a")
    lab.pause(id)
    lab.release(other, "a")
    lab.gate(other, "b")
    lab.cancel(id)
    lab.release(other, "b")
    lab.gate(other, "c")
    assert lab.status(other) is Status.RUNNING


def test_O10_a_call_that_is_repeated_changes_nothing(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id)
    lab.harness.backend.pause(lab.ref(id).id)
    lab.meanwhile(shapes.CHAIN)
    assert lab.state(id) is EngineState.PAUSED
    lab.cancel(id)
    lab.harness.backend.cancel(lab.ref(id).id)
    lab.meanwhile(shapes.CHAIN)
    assert lab.state(id) is EngineState.CANCELED


def test_O11_what_is_said_to_be_canceled_does_not_go_on(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.cancel(id)
    lab.release(id, "a")
    lab.reaches(id, Status.CANCELED)
    lab.meanwhile(shapes.CHAIN)
    assert lab.state(id) is EngineState.CANCELED
    assert set(lab.starts(id)) == {"a"}


def test_O12_a_pause_from_outside_is_adopted_and_never_reverted(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one")
    lab.gate(child.id, "c")
    lab.harness.outside.pause(lab.ref(id).id)
    lab.reaches(id, Status.PAUSING)
    lab.engine_reaches(child.id, EngineState.PAUSED)  # adopting takes a moment, and a child goes on until then
    lab.release(child.id, "c")
    lab.reaches(id, Status.PAUSED)
    assert lab.look(id).record.held_by == "engine"


def test_O12_a_resume_from_outside_lifts_the_hold(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id)
    lab.release(id, "a")
    lab.reaches(id, Status.PAUSED)
    look = lab.look(id)
    lab.harness.outside.resume(look.record.ref.id, look.record.revision)
    lab.reaches(id, Status.RUNNING)
    lab.noticed(id, "resumed_outside")
    lab.release(id, "b")
    lab.release(id, "c")
    lab.reaches(id, Status.SUCCEEDED)


def test_O12_a_cancel_from_outside_is_recorded_as_such(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.harness.outside.cancel(lab.ref(id).id)
    lab.reaches(id, Status.CANCELING)
    lab.release(id, "a")
    lab.reaches(id, Status.CANCELED)
    lab.noticed(id, "canceled_outside")


def test_the_engines_list_names_roots_and_no_children(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one")
    listed = _listed(lab)
    assert child.ref not in listed
    if isinstance(lab.harness.backend, LocalBackend) and not listed:
        return  # every execution of a local engine is in the ledger already
    assert lab.ref(id) in listed
    assert listed[lab.ref(id)].parent is None

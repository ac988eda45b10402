"""O: what holds for every operation."""

from __future__ import annotations

import pytest

from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_possible
from flowbridge.errors import Unavailable
from flowbridge.law.decide import Action
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, Status, Verb
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
    for call in (
        lambda: backend.observe([engine_id]),
        lambda: backend.read(engine_id),
        lambda: backend.cancel(engine_id),
    ):
        with pytest.raises(Unavailable):
            call()


def test_O3_starting_the_same_id_twice_starts_once(lab: Lab) -> None:
    from flowbridge.sending import start_request  # noqa: PLC0415  only this rule starts by hand

    id = lab.start(shapes.CHAIN)
    gate = lab.gate(id, "a")
    request = lab.bridge.ledger.executions.request(id)
    assert request is not None
    ref = lab.ref(id)
    assert lab.harness.backend.start(start_request(ref.id, request)) == ref
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate(id, "a") == gate
    assert lab.starts(id) == {"a": 1}


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
    assert any(entry.kind == "resumed_outside" and entry.actor == "engine" for entry in lab.bridge.history(id))
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
    assert any(entry.kind == "canceled_outside" and entry.actor == "engine" for entry in lab.bridge.history(id))


def test_the_engines_list_names_roots_and_no_children(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one")
    listed = {one.ref: one for one in lab.harness.backend.list_executions(limit=50)}
    assert child.ref not in listed
    if isinstance(lab.harness.backend, LocalBackend) and not listed:
        return  # every execution of a local engine is in the ledger already
    assert lab.ref(id) in listed
    assert listed[lab.ref(id)].parent is None

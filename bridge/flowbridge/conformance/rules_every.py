"""O: what holds for every operation."""

from __future__ import annotations

from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab
from flowbridge.law.decide import Action
from flowbridge.model import Status, Verb
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


def test_O3_starting_the_same_id_twice_starts_once(lab: Lab) -> None:
    from flowbridge.carry import start_request  # noqa: PLC0415  only this rule starts by hand

    id = lab.start(shapes.CHAIN)
    gate = lab.gate(id, "a")
    request = lab.bridge.ledger.executions.request(id)
    assert request is not None
    lab.harness.backend.start(start_request(lab.bridge.find(id).ref.id, request))
    assert lab.gate(id, "a") == gate
    assert len(lab.harness.backend.observe([lab.bridge.find(id).ref.id])) == 1


def test_O4_a_verb_is_done_when_the_engine_shows_it(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    outcome = lab.pause(id)
    assert outcome.done
    assert outcome.exit_code == 0
    assert lab.look(id).open == ()


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


def test_O12_a_pause_from_outside_is_adopted_and_never_reverted(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one")
    lab.gate(child.id, "c")
    lab.harness.backend.pause(lab.bridge.find(id).ref.id)
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
    lab.harness.backend.resume(look.record.ref.id, look.record.revision)
    lab.reaches(id, Status.RUNNING)
    assert any(entry.kind == "resumed_outside" and entry.actor == "engine" for entry in lab.bridge.history(id))
    lab.release(id, "b")
    lab.release(id, "c")
    lab.reaches(id, Status.SUCCEEDED)


def test_O12_a_cancel_from_outside_is_recorded_as_such(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.harness.backend.cancel(lab.bridge.find(id).ref.id)
    lab.reaches(id, Status.CANCELING)
    lab.release(id, "a")
    lab.reaches(id, Status.CANCELED)
    assert any(entry.kind == "canceled_outside" and entry.actor == "engine" for entry in lab.bridge.history(id))

"""Pause, resume and cancel, over every status and every want in a tree."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from flowbridge.capabilities import Capabilities, Cascade, ResumeUp
from flowbridge.errors import Rejected, Unavailable
from flowbridge.law.fold import settle
from flowbridge.law.tables import ALLOWED, ALREADY, TERMINAL, possible
from flowbridge.law.verbs import Effect, apply, check_cancel, check_pause, check_resume
from flowbridge.model import EngineState, Snapshot, Status, TaskStatus, Verb, Want
from support.snapshots import FACTS, SHOWN, execution, task, tree

VERBS = ("pause", "resume", "cancel")


def check(verb: str, snapshot: Snapshot, place: int = 0, accept: str = "") -> Effect:
    """The law's check by the verb's name."""
    if verb == "pause":
        return check_pause(snapshot, place)
    if verb == "resume":
        return check_resume(snapshot, place, FACTS, frozenset({accept}))
    return check_cancel(snapshot, place)


def rejection(verb: str, snapshot: Snapshot, place: int = 0) -> Rejected:
    """The rejection of a verb; fails where the law accepts it."""
    with pytest.raises(Rejected) as caught:
        check(verb, snapshot, place)
    return caught.value


@pytest.mark.parametrize(("verb", "status"), list(itertools.product(VERBS, Status)))
def test_P1_R1_C1_a_verb_is_accepted_in_exactly_the_statuses_of_the_table(verb: str, status: Status) -> None:
    snapshot = tree(execution("a", status, workflow="deploy"))
    rule, allowed = ALLOWED[verb]
    if status in allowed:
        assert check(verb, snapshot) == Effect(wants=check(verb, snapshot).wants)
        return
    error = rejection(verb, snapshot)
    already = status in ALREADY[verb]
    assert (error.rule, error.reason, error.execution) == (rule, "already" if already else f"is_{status}", "a")
    assert f"execution a (deploy) is {'already ' if already else ''}{status};" in error.message
    assert error.message.endswith(f"Possible now: {', '.join(possible(status))}.")


@pytest.mark.parametrize(
    ("verb", "status"),
    [("pause", "paused"), ("pause", "pausing"), ("resume", "running"), ("resume", "resuming"), ("cancel", "canceled")],
)
def test_O7_asking_for_what_is_already_so_has_a_reason_of_its_own(verb: str, status: str) -> None:
    assert rejection(verb, tree(execution("a", Status(status)))).reason == "already"


@pytest.mark.parametrize(("verb", "status"), list(itertools.product(VERBS, Status)))
def test_X2_a_superseded_record_rejects_every_verb_and_names_its_successor(verb: str, status: Status) -> None:
    error = rejection(verb, tree(execution("a", status, superseded_by="b2")))
    assert (error.rule, error.reason) == ("X2", "superseded")
    assert "b2" in error.message


@pytest.mark.parametrize(("verb", "status"), list(itertools.product(VERBS, Status)))
def test_S7_a_gone_execution_rejects_every_verb(verb: str, status: Status) -> None:
    error = rejection(verb, tree(execution("a", status, gone=True, state=EngineState.GONE)))
    assert (error.rule, error.reason) == ("S7", "gone")
    assert "re-run from the beginning" in error.message


def test_O2_a_resume_needs_its_engine_a_pause_and_a_cancel_go_ahead() -> None:
    with pytest.raises(Unavailable, match=r"plain does not answer: nothing was done \(O2\)"):
        check("resume", tree(execution("a", Status.PAUSED, reachable=False)))
    running = tree(execution("a", Status.RUNNING, reachable=False))
    assert check("pause", running).wants == {0: Want.HOLD}
    assert check("cancel", running).wants == {0: Want.CANCEL}


@pytest.mark.parametrize("statuses", list(itertools.product(Status, repeat=2)))
def test_P2_P3_a_pause_holds_all_of_the_tree_that_has_not_ended_whoever_it_was_asked_of(
    statuses: tuple[Status, Status],
) -> None:
    nodes = (
        execution("root", Status.RUNNING),
        execution("named", Status.RUNNING, 0),
        execution("peer", statuses[0], 0),
        execution("below", statuses[1], 1),
    )
    for place in (0, 1):
        effect = check("pause", tree(*nodes), place)
        held = apply(tree(*nodes), effect, "me")
        for before, after in zip(nodes, held.nodes, strict=True):
            ended = before.record.status in TERMINAL
            canceled = before.record.want is Want.CANCEL
            assert after.record.want is (before.record.want if ended or canceled else Want.HOLD)


def test_P3_branches_that_had_been_resumed_alone_are_paused_with_the_whole_tree() -> None:
    nodes = (
        execution("root", Status.PAUSED),
        execution("alone", Status.RUNNING, 0),
        execution("too", Status.RUNNING, 0),
    )
    assert check("pause", tree(*nodes), 1).wants == {1: Want.HOLD, 2: Want.HOLD}


def test_P1_a_paused_one_under_which_a_branch_was_resumed_alone_is_rejected_naming_that_branch() -> None:
    nodes = (execution("root", Status.PAUSED), execution("m", Status.PAUSED, 0), execution("alone", Status.RUNNING, 1))
    for place in (0, 1):
        error = rejection("pause", tree(*nodes), place)
        assert (error.rule, error.reason) == ("P1", "branch_resumed")
        assert "execution alone" in error.message


def test_P1_a_branch_that_was_resumed_alone_and_ended_is_no_reason() -> None:
    snapshot = tree(execution("root", Status.PAUSED), execution("done", Status.SUCCEEDED, 0))
    assert rejection("pause", snapshot).reason == "already"


@pytest.mark.parametrize(("verb", "status"), [("pause", Status.PAUSED), ("resume", Status.RUNNING)])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_S6_a_refusal_over_something_abandoned_names_it_and_the_recover_that_goes_on_with_it(
    verb: str, status: Status, count: int
) -> None:
    want = SHOWN[status][0]
    below = [execution(f"b{number}", Status.ABANDONED, 0, want=want, workflow="leaf") for number in range(count)]
    error = rejection(verb, tree(execution("a", status), *below))
    more = ["", " Below it execution b0 (leaf) is abandoned: `flowbridge recover b0` goes on with it (S6)."]
    more.append(more[1].replace("is abandoned", "and 1 more are abandoned"))
    assert error.message.endswith(f"Possible now: {', '.join(possible(status))}.{more[count]}")
    assert error.reason == "already"


def test_P1_a_branch_that_was_resumed_alone_and_is_abandoned_is_not_advised_to_be_paused_at_once() -> None:
    lost, alone = execution("lost", Status.ABANDONED, 0), execution("alone", Status.RUNNING, 0)
    error = rejection("pause", tree(execution("root", Status.PAUSED), lost))
    assert error.reason == "branch_resumed"
    assert "it is abandoned since; `flowbridge recover lost` goes on with it, then pause it" in error.message
    error = rejection("pause", tree(execution("root", Status.PAUSED), lost, alone))
    assert "execution alone under it was resumed on its own: pause that branch" in error.message


def test_P4_a_pause_shows_pausing_at_once() -> None:
    snapshot = tree(execution("a", Status.RUNNING), execution("b", Status.RUNNING, 0))
    settled = settle(apply(snapshot, check("pause", snapshot), "me"), FACTS).snapshot
    assert [node.record.status for node in settled.nodes] == [Status.PAUSING, Status.PAUSING]
    assert settled.nodes[1].record.held_by == "me"


def test_P6_a_child_that_is_not_started_is_held_too_and_a_resume_starts_it() -> None:
    child = execution(
        "b", Status.REQUESTED, 0, state=EngineState.ABSENT, seen=EngineState.ABSENT, native=False, key="k"
    )
    snapshot = tree(execution("a", Status.RUNNING), child)
    held = settle(apply(snapshot, check("pause", snapshot), "me"), FACTS).snapshot
    assert held.nodes[1].record.status is Status.PAUSED
    assert check("resume", held, 1).wants == {1: Want.RUN}


def test_P7_a_pause_of_the_engine_is_lifted_by_a_resume_like_any_other() -> None:
    snapshot = settle(tree(execution("a", Status.RUNNING, state=EngineState.PAUSED, revision="r2")), FACTS).snapshot
    assert check("resume", snapshot).wants == {0: Want.RUN}


def test_P8_a_held_one_with_nothing_left_to_do_can_be_resumed() -> None:
    failed = task("last", TaskStatus.ERRORED)
    assert check("resume", tree(execution("a", Status.PAUSED, tasks=(failed,)))).wants == {0: Want.RUN}


@pytest.mark.parametrize("statuses", list(itertools.product(Status, repeat=2)))
def test_R2_R3_a_resume_lifts_the_holds_below_and_none_above_or_beside(statuses: tuple[Status, Status]) -> None:
    nodes = (
        execution("root", Status.PAUSED),
        execution("named", Status.PAUSED, 0),
        execution("peer", statuses[0], 0),
        execution("below", statuses[1], 1),
        execution("deep", Status.PAUSED, 3),
    )
    held_below = nodes[3].record.want is Want.HOLD
    assert check("resume", tree(*nodes), 1).wants == {1: Want.RUN, 4: Want.RUN, **({3: Want.RUN} if held_below else {})}


def test_R2_a_resume_notes_the_revision_it_was_recorded_at() -> None:
    snapshot = tree(execution("a", Status.PAUSED, revision="r7"), execution("b", Status.PAUSING, 0))
    records = [node.record for node in apply(snapshot, check("resume", snapshot), "me").nodes]
    assert [record.resumed_at for record in records] == ["r7", None]
    assert [record.held_by for record in records] == ["", ""]


@pytest.mark.parametrize("engine", ["plain", "eager"])
def test_R1_not_while_an_ancestor_is_pausing_on_an_engine_that_would_pause_it_again(engine: str) -> None:
    snapshot = tree(
        execution("root", Status.PAUSING, engine=engine, state=EngineState.RUNNING),
        execution("m", Status.PAUSED, 0, engine=engine, tasks=(task("x", TaskStatus.PAUSED),)),
        execution("c", Status.PAUSED, 1, engine=engine, parent_task="t"),
    )
    if engine == "plain":
        assert check("resume", snapshot, 2).wants == {2: Want.RUN}
        return
    error = rejection("resume", snapshot, 2)
    assert (error.rule, error.reason) == ("R1", "ancestor_pausing")
    assert "execution root" in error.message


def test_R1_an_ancestor_across_a_link_does_not_count() -> None:
    snapshot = tree(
        execution("root", Status.PAUSING, engine="eager"),
        execution("c", Status.PAUSED, 0, engine="eager", native=False),
    )
    assert check("resume", snapshot, 1).wants == {1: Want.RUN}


def _branches(*, peer: TaskStatus, link: bool = True, peer_want: Want = Want.HOLD) -> Snapshot:
    tasks = (task("t1", TaskStatus.PAUSED), task("t2", peer))
    shown = Status.PAUSED if peer_want is Want.HOLD else Status.RESUMING
    return tree(
        execution("root", Status.PAUSED, engine="eager", tasks=tasks),
        execution("one", Status.PAUSED, 0, engine="eager", native=link, parent_task="t1"),
        execution("two", shown, 0, engine="eager", want=peer_want, parent_task="t2"),
    )


@pytest.mark.parametrize("peer", sorted(set(TaskStatus) - {TaskStatus.PAUSED}))
def test_R4_refused_where_the_engine_would_resume_the_parent_as_well(peer: TaskStatus) -> None:
    error = rejection("resume", _branches(peer=peer), 1)
    assert (error.rule, error.reason, error.accept) == ("R4", "resume_goes_up", "R4")
    assert error.message.endswith("--accept R4. Set it up otherwise."), "what would keep the rule is told too"


def test_R4_accepted_by_the_user_it_goes_ahead() -> None:
    assert check("resume", _branches(peer=TaskStatus.SUCCEEDED), 1, accept="R4").wants == {1: Want.RUN}


def test_R4_another_paused_task_keeps_the_parent_paused() -> None:
    assert check("resume", _branches(peer=TaskStatus.PAUSED), 1).wants == {1: Want.RUN}


@pytest.mark.parametrize("want", [Want.RUN, Want.CANCEL])
def test_R4_a_paused_task_that_is_about_to_go_on_keeps_nothing_paused(want: Want) -> None:
    assert rejection("resume", _branches(peer=TaskStatus.PAUSED, peer_want=want), 1).rule == "R4"


@pytest.mark.parametrize(("want", "refused"), [(Want.HOLD, False), (Want.RUN, True), (Want.CANCEL, True)])
def test_R4_an_item_beside_it_that_stays_paused_keeps_the_task_and_the_parent_paused(
    want: Want, *, refused: bool
) -> None:
    shown = Status.PAUSED if want is Want.HOLD else Status.RESUMING
    snapshot = tree(
        execution("root", Status.PAUSED, engine="eager", tasks=(task("each", TaskStatus.PAUSED),)),
        execution("one", Status.PAUSED, 0, engine="eager", parent_task="each"),
        execution("two", shown, 0, engine="eager", want=want, parent_task="each"),
    )
    if refused:
        assert rejection("resume", snapshot, 1).rule == "R4"
        return
    assert check("resume", snapshot, 1).wants == {1: Want.RUN}


def test_R4_a_linked_child_is_a_root_at_its_engine_and_resumes_nothing_above() -> None:
    assert check("resume", _branches(peer=TaskStatus.SUCCEEDED, link=False), 1).wants == {1: Want.RUN}


@pytest.mark.parametrize(("mode", "refused"), [(ResumeUp.NEVER, False), (ResumeUp.ALWAYS, True)])
def test_R4_by_the_engines_declared_behaviour(mode: ResumeUp, *, refused: bool) -> None:
    facts = {"eager": Capabilities(frozenset(Verb), frozenset(Cascade), mode)}
    snapshot = _branches(peer=TaskStatus.PAUSED)
    if not refused:
        assert check_resume(snapshot, 1, facts, frozenset()).wants == {1: Want.RUN}
        return
    with pytest.raises(Rejected, match="R4"):
        check_resume(snapshot, 1, facts, frozenset())


@pytest.mark.parametrize("statuses", list(itertools.product(Status, repeat=2)))
def test_C1_C3_a_cancel_takes_what_has_not_ended_below_and_nothing_above_or_beside(
    statuses: tuple[Status, Status],
) -> None:
    nodes = (
        execution("root", Status.RUNNING),
        execution("named", statuses[0], 0),
        execution("below", statuses[1], 1),
        execution("peer", Status.RUNNING, 0),
    )
    snapshot = tree(*nodes)
    over = [status in TERMINAL for status in statuses]
    if all(over) or (over[0] and statuses[1] is Status.CANCELING):
        assert rejection("cancel", snapshot, 1).rule == "C1"
        return
    after = apply(snapshot, check("cancel", snapshot, 1), "me")
    wants = [node.record.want for node in after.nodes]
    assert (wants[0], wants[3]) == (Want.RUN, Want.RUN)
    assert [wants[1 + at] is Want.CANCEL or over[at] for at in range(2)] == [True, True]


def test_C1_an_ended_one_with_descendants_that_are_not_cancels_those() -> None:
    snapshot = tree(execution("a", Status.ERRORED), execution("b", Status.RUNNING, 0))
    assert check("cancel", snapshot).wants == {1: Want.CANCEL}


def test_C3_what_is_born_later_under_one_that_a_childs_cancel_ended_is_canceled_too() -> None:
    snapshot = tree(
        execution("root", Status.RUNNING),
        execution("items", Status.CANCELED, 0, want=Want.RUN),
        execution("item", Status.RUNNING, 1),
    )
    assert check("cancel", snapshot).wants == dict.fromkeys(range(3), Want.CANCEL)


@pytest.mark.parametrize("verb", VERBS)
def test_O10_a_repeated_verb_is_rejected_or_asks_for_nothing_new(verb: str) -> None:
    before = Status.PAUSED if verb == "resume" else Status.RUNNING
    snapshot = tree(execution("a", before), execution("b", before, 0))
    once = settle(apply(snapshot, check(verb, snapshot), "me"), FACTS).snapshot
    if verb == "cancel":
        assert check(verb, once).wants == {}
    else:
        assert rejection(verb, once).reason == "already"


@pytest.mark.parametrize(("verb", "status"), list(itertools.product(VERBS, Status)))
def test_O2_a_check_changes_nothing(verb: str, status: Status) -> None:
    snapshot = tree(execution("a", status), execution("b", status, 0))
    same = tree(execution("a", status), execution("b", status, 0))
    with contextlib.suppress(Rejected):
        check(verb, snapshot)
    assert snapshot == same


def test_a_resume_that_was_not_taken_is_remembered_under_a_new_hold() -> None:
    snapshot = tree(execution("root", Status.RESUMING), execution("alone", Status.RUNNING, 0))
    held = apply(snapshot, check("pause", snapshot, 1), "me")
    assert [node.record.resumed_at for node in held.nodes] == ["r1", None]

"""The checks of pause, resume and cancel, and what each makes the bridge want (P, R, C).

A check either raises `Rejected`, having changed nothing, or gives an `Effect`: plain data that `apply` puts on a
snapshot, for a dry run as for the real thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from flowbridge.capabilities import Cascade, ResumeUp
from flowbridge.errors import Rejected, Unavailable
from flowbridge.law.fold import Facts, resume_under_way
from flowbridge.law.tables import ACTIVE, ALLOWED, ALREADY, TERMINAL, possible
from flowbridge.model import EngineState, Node, Snapshot, Status, TaskRerun, TaskStatus, Want


@dataclass(frozen=True, slots=True)
class Effect:
    """What an accepted verb changes, by places in the snapshot it was checked on.

    `wants` is what is wanted from now on; `reopened` are the executions that get a new record (X2), ancestors
    first; `rerun` and `skip` are the tasks to hand to the engines, by the execution they belong to. `awaited` are the
    linked children that a task which is run again waits for anew: those below it that are re-opened, and those whose
    end is told once more instead of starting them a second time (X6, X7). `along` are the ancestors that the engine by
    itself resumes as well (R4), and `warnings` what it may do against a rule whose refusal was overridden (O8).
    """

    wants: Mapping[int, Want] = field(default_factory=dict)
    reopened: tuple[int, ...] = ()
    rerun: Mapping[int, tuple[TaskRerun, ...]] = field(default_factory=dict)
    skip: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    awaited: frozenset[int] = frozenset()
    along: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def whole(self) -> Mapping[int, Set[str]]:
        """The tasks, by the place of their execution, that run again, or are skipped, with all below them."""
        found = {place: {task for task, reset in again if reset} for place, again in self.rerun.items()}
        for place, ids in self.skip.items():
            found[place] = found.get(place, set()) | set(ids)
        return found


def apply(snapshot: Snapshot, effect: Effect, actor: str) -> Snapshot:
    """The snapshot with an effect's wants on its records. A resume notes the revision it was recorded at."""
    nodes = list(snapshot.nodes)
    for place, want in effect.wants.items():
        node = nodes[place]
        paused = want is Want.RUN and node.state is EngineState.PAUSED
        record = replace(
            node.record,
            want=want,
            held_by=actor if want is Want.HOLD else "",
            resumed_at=node.revision if paused else resume_under_way(node, want),
        )
        nodes[place] = replace(node, record=record)
    for place in effect.awaited:
        nodes[place] = replace(nodes[place], record=replace(nodes[place].record, awaited=True, taken_back=False))
    return Snapshot(tuple(nodes))


def check_pause(snapshot: Snapshot, place: int) -> Effect:
    """P1, P2, P3: a running execution; then the whole tree is held."""
    node = snapshot.nodes[place]
    require(node, "pause")
    alone = [below for below in descendants(snapshot, place) if _resumed_alone(snapshot, below)]
    if node.record.status is Status.PAUSED and alone:
        raise _branch_resumed(node, [snapshot.nodes[below] for below in alone])
    reject_unless_allowed(node, "pause", _abandoned(snapshot, place))
    wants = {
        below: Want.HOLD
        for below, other in enumerate(snapshot.nodes)
        if other.record.want is Want.RUN and not _over(other)
    }
    return Effect(wants=wants)


def check_resume(snapshot: Snapshot, place: int, facts: Facts, accept: frozenset[str]) -> Effect:
    """R1, R2, R4: a paused execution; then it and every held descendant run."""
    node = snapshot.nodes[place]
    require(node, "resume")
    reject_unless_allowed(node, "resume", _abandoned(snapshot, place))
    _reject_while_ancestor_pausing(snapshot, place, facts)
    along = _resumed_along(snapshot, place, facts)
    if along and "R4" not in accept:
        _reject_resume_up(snapshot, place, along, facts)
    wants = {
        below: Want.RUN
        for below in (place, *descendants(snapshot, place))
        if snapshot.nodes[below].record.want is Want.HOLD and not _over(snapshot.nodes[below])
    }
    warnings = tuple(
        f"{describe(snapshot.nodes[above])} is resumed as well, by its engine, unless what is below ends first "
        f"(accepted R4)"
        for above in along
    )
    return Effect(wants=wants, along=along, warnings=warnings)


def check_cancel(snapshot: Snapshot, place: int) -> Effect:
    """C1, C3: anything that has not ended, here or below; then it and every descendant is canceled."""
    node = snapshot.nodes[place]
    require(node, "cancel")
    open_ = [below for below in (place, *descendants(snapshot, place)) if _to_cancel(snapshot.nodes[below])]
    runs = any(snapshot.nodes[below].state is EngineState.RUNNING for below in open_)
    if node.record.status in TERMINAL and not runs and all(_over(snapshot.nodes[below]) for below in open_):
        if node.record.withdrawn:
            raise Rejected(
                f"{describe(node)} is {node.record.status}, and what was to run in it again is taken back already: what"
                f" still arrives is canceled (C1).",
                rule="C1",
                reason="already",
                execution=node.record.id,
            )
        reject_unless_allowed(node, "cancel")
    return Effect(wants=dict.fromkeys(open_, Want.CANCEL))


def require(node: Node, verb: str) -> None:
    """Reject what no verb but a re-run from the beginning may touch: a superseded record (X2), a gone one (S7).

    Raises `Unavailable` where a verb needs an engine that does not answer (O2).
    """
    record = node.record
    if record.superseded_by:
        raise Rejected(
            f"{describe(node)} was superseded by {record.superseded_by} when it was re-run: name that one (X2).",
            rule="X2",
            reason="superseded",
            execution=record.id,
        )
    if record.gone:
        raise Rejected(
            f"{describe(node)} is gone: its engine no longer has it. It can only be re-run from the beginning (S7).",
            rule="S7",
            reason="gone",
            execution=record.id,
        )
    if not node.reachable and verb not in ("pause", "cancel"):
        backend = record.ref.backend
        raise Unavailable(
            f"{verb} of {describe(node)} needs its engine, and {backend} does not answer: nothing was done (O2). "
            f"Do it again when `flowbridge backend check {backend}` says that it answers.",
            instance=backend,
        )


def reject_unless_allowed(node: Node, verb: str, more: str = "") -> None:
    """Reject a verb that the table does not list for the execution's status. `more` is said after that."""
    rule, statuses = ALLOWED[verb]
    status = node.record.status
    if status in statuses:
        return
    already = status in ALREADY.get(verb, ())
    allowed = ", ".join(sorted(statuses))
    hung = ("recover",) if node.endable and status in ACTIVE else ()
    advice = ", ".join((*possible(status), *hung)) or "none"
    raise Rejected(
        f"{describe(node)} is {'already ' if already else ''}{status}; {verb} needs it to be {allowed} ({rule}). "
        f"Possible now: {advice}.{more}",
        rule=rule,
        reason="already" if already else f"is_{status}",
        execution=node.record.id,
    )


def describe(node: Node) -> str:
    """An execution in a sentence: its id, and its workflow where that is known."""
    name = f" ({node.record.workflow})" if node.record.workflow else ""
    return f"execution {node.record.id}{name}"


def descendants(snapshot: Snapshot, place: int) -> list[int]:
    """Places of all descendants of a node, parents before their children."""
    inside = {place}
    found = []
    for below in range(place + 1, len(snapshot.nodes)):
        if snapshot.nodes[below].parent in inside:
            inside.add(below)
            found.append(below)
    return found


def ancestors(snapshot: Snapshot, place: int) -> Iterator[int]:
    """Places of the ancestors of a node, the parent first."""
    above = snapshot.nodes[place].parent
    while above >= 0:
        yield above
        above = snapshot.nodes[above].parent


def _branch_resumed(node: Node, alone: Sequence[Node]) -> Rejected:
    """The refusal of a pause of what is paused, with branches below it that were resumed on their own."""
    branch = next((one for one in alone if one.record.status is not Status.ABANDONED), alone[0])
    advice = "pause that branch, and the whole tree is paused with it"
    if branch.record.status is Status.ABANDONED:
        advice = f"it is abandoned since; `flowbridge recover {branch.record.id}` goes on with it, then pause it (S6)"
    return Rejected(
        f"{describe(node)} is paused, and {describe(branch)} under it was resumed on its own: {advice} (P1).",
        rule="P1",
        reason="branch_resumed",
        execution=node.record.id,
    )


def _abandoned(snapshot: Snapshot, place: int) -> str:
    """What is abandoned below an execution, in a sentence: no pause or resume of that one reaches it (S6)."""
    below = [snapshot.nodes[below] for below in descendants(snapshot, place)]
    lost = [node for node in below if node.record.status is Status.ABANDONED]
    if not lost:
        return ""
    names = f"{describe(lost[0])} and {len(lost) - 1} more are" if lost[1:] else f"{describe(lost[0])} is"
    return f" Below it {names} abandoned: `flowbridge recover {lost[0].record.id}` goes on with it (S6)."


def _over(node: Node) -> bool:
    return node.record.status in TERMINAL or node.record.gone


def _to_cancel(node: Node) -> bool:
    """What has not ended, and what a child's cancel has ended: more may be born under that (C5, P6)."""
    if node.record.want is Want.CANCEL or node.record.gone:
        return False
    if node.state is EngineState.RUNNING:
        return True  # also where it was re-opened just now, and nobody can tell yet for what
    return not _over(node) or node.state is EngineState.CANCELED


def _resumed_alone(snapshot: Snapshot, place: int) -> bool:
    node = snapshot.nodes[place]
    if node.record.want is not Want.RUN or _over(node) or node.parent < 0:
        return False
    return snapshot.nodes[node.parent].record.want is Want.HOLD


def _reject_while_ancestor_pausing(snapshot: Snapshot, place: int, facts: Facts) -> None:
    node = snapshot.nodes[place]
    for above in _native_ancestors(snapshot, place):
        ancestor = snapshot.nodes[above]
        cascades = facts[ancestor.record.ref.backend].cascades
        if ancestor.record.status is Status.PAUSING and Cascade.PAUSE_DOWN in cascades:
            raise Rejected(
                f"{describe(node)} cannot be resumed while {describe(ancestor)} above it is still pausing: its engine "
                f"would pause it again. Wait until that one is paused (R1).",
                rule="R1",
                reason="ancestor_pausing",
                execution=node.record.id,
            )


def _resumed_along(snapshot: Snapshot, place: int, facts: Facts) -> tuple[int, ...]:
    """The ancestors, the parent first, that the engine by itself resumes with an execution."""
    found: list[int] = []
    node = snapshot.nodes[place]
    mode = facts[node.record.ref.backend].resume_up
    while mode is not ResumeUp.NEVER and node.record.native and node.parent >= 0:
        if snapshot.nodes[node.parent].state is not EngineState.PAUSED:
            break
        if mode is ResumeUp.LAST_PAUSED and _another_paused(snapshot, node):
            break
        found.append(node.parent)
        node = snapshot.nodes[node.parent]
    return tuple(found)


def _reject_resume_up(snapshot: Snapshot, place: int, along: tuple[int, ...], facts: Facts) -> None:
    node = snapshot.nodes[place]
    engine = facts[node.record.ref.backend]
    names = [describe(snapshot.nodes[above]) for above in along]
    above = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    parent = "the parent" if not names[1:] else "one of them"
    raise Rejected(
        f"resuming {describe(node)} would resume {above} above it as well: its engine does that when "
        f"nothing else there is paused. A resume never goes up (R4). Resume {parent}, or go ahead with --accept R4."
        f"{engine.remedy and f' {engine.remedy}'}",
        rule="R4",
        reason="resume_goes_up",
        execution=node.record.id,
        accept="R4",
    )


def _another_paused(snapshot: Snapshot, node: Node) -> bool:
    """Whether a task keeps the parent paused, by the engine's own word for its tasks.

    The task of this branch does where another of its items stays paused. One whose paused items are about to be
    resumed or canceled does not: it may no longer be paused when the engine looks.
    """
    paused = [
        other
        for other in snapshot.nodes
        if other.parent == node.parent and other.state is EngineState.PAUSED and other is not node
    ]
    staying = {other.record.parent_task for other in paused if other.record.want is Want.HOLD}
    leaving = {other.record.parent_task for other in (node, *paused)} - staying
    tasks = snapshot.nodes[node.parent].tasks
    return any(task.id not in leaving and task.status is TaskStatus.PAUSED for task in tasks)


def _native_ancestors(snapshot: Snapshot, place: int) -> Iterator[int]:
    node = snapshot.nodes[place]
    while node.parent >= 0 and node.record.native:
        yield node.parent
        node = snapshot.nodes[node.parent]

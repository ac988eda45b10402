"""Finishing what a crash left open, and what an engine will never go on with (O3, S6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from flowbridge.calls import apart
from flowbridge.ending import end_recovery
from flowbridge.errors import EngineError, EngineRefused, FlowbridgeError, InvalidInput, Timeout, Unavailable
from flowbridge.instances import Instances
from flowbridge.law.arrivals import is_re_opened, with_withdrawn
from flowbridge.law.decide import late_call, late_want, may_arrive
from flowbridge.law.tables import TERMINAL
from flowbridge.law.verbs import descendants
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, Node, Record, Snapshot, Status, Verb, Want
from flowbridge.operate import Operator
from flowbridge.outcome import Ask, operation_of, ways
from flowbridge.sync import Pass
from flowbridge.tending import Tender

_POLL_SECONDS = 0.2


class Recovery:
    """Recovers trees for one actor."""

    def __init__(self, ledger: Ledger, instances: Instances, operator: Operator, tender: Tender, actor: str) -> None:
        self._ledger = ledger
        self._instances = instances
        self._operator = operator
        self._tender = tender
        self._actor = actor

    def unfinished(self) -> Sequence[str]:
        """The trees with an open operation, a local run whose process died, something hung, something damaged, or a
        call that may still arrive although what it is about was canceled."""
        filter = Filter(status=tuple(status for status in Status if status not in TERMINAL), limit=-1)
        # `recover` looks at these, and tells what comes of each operation, and of what is not waited for any more.
        open_ = [*self._ledger.operations.open_trees(), *self._ledger.executions.late()]
        unended = [record.tree for record in self._ledger.executions.list(filter) if not record.gone]
        damaged: list[str] = []
        passes = apart(
            lambda trees: self._tender.tend_all(trees, set()),
            [tree for tree in dict.fromkeys(unended) if tree not in open_],
            lambda tree, _: damaged.append(tree),
        )
        broken = [tree for tree, found in passes.items() if any(map(_is_broken, found.snapshot.nodes))]
        return list(dict.fromkeys([*open_, *broken, *damaged]))

    def recover(
        self,
        tree: str,
        assume: str,
        timeout: float,
        *,
        end_hung: bool,
        failed: Callable[[str, FlowbridgeError], object],
        finished: Callable[[Operation], object] | None = None,
        named: Record | None,
    ) -> Pass:
        """A look at the tree once it is recovered.

        What may still arrive of the execution that was `named` is waited for no longer; nor is it below that, where
        nothing else was open in the tree that this finishes.
        `finished` is told each operation that was open, as it now stands, and each recovery for which the end of a task
        was assumed.

        An execution that cannot be taken up keeps nothing else from it: `failed` is told its id and why.

        Raises `EngineRefused` where the start that was open is refused, so that there is no such execution, and where
        what hung cannot be ended without losing tasks; `Timeout` where the tree is in use, or where the end of what
        hung was not seen in time.
        """
        with self._operator.recovering(tree, self._actor, timeout) as alone:
            was_open = bool(self._ledger.operations.open(tree))
            assumed = self._take_up(alone.look, assume, failed)
            ended = [*assumed, *alone.finish()]
            ended += self._wait_no_longer(named, alone.look, failed, alone=was_open) if named else []
            if finished is not None:
                for operation in ended:
                    finished(operation)
            if not self._ledger.executions.tree(tree):
                why = "; ".join(operation.outcome for operation in ended)
                raise EngineRefused(f"there is no such execution, because its start was refused: {why}")
            return self._end_hung(alone.look, timeout) if end_hung else alone.tend()

    def _take_up(
        self, look: Callable[[], Pass], assume: str, failed: Callable[[str, FlowbridgeError], object]
    ) -> list[Operation]:
        """Take up the abandoned local runs of a tree, before what operations left open is finished on them.

        What their engines show afterwards is how each of these ends. Gives those with tasks whose end was assumed.
        """
        asked: list[Operation] = []
        for node, unseen in _abandoned_runs(look().snapshot):
            asking = self._begin(node, assume=assume)
            try:
                engine = self._instances.get(node.record.ref.backend)
                if not isinstance(engine, LocalBackend):
                    raise EngineRefused(f"{engine.name} runs elsewhere now: nobody can take up what was abandoned here")
                engine.recover(node.record.ref.id, assume)
            except (EngineError, InvalidInput) as error:
                self._ledger.operations.end(asking, State.FAILED, error.message, time.time())
                failed(node.record.id, error)
            else:
                # Said of what was done, not of what was about to be: whoever is killed before this has assumed nothing.
                asking = replace(asking, options={**asking.options, "unseen": unseen})
                self._ledger.operations.put(asking)
                asked.append(asking)
        done = self._end_asked(asked, look().snapshot) if asked else []
        for ended in done:
            if ended.state is State.FAILED:
                failed(ended.target, Unavailable(ended.outcome))
        return [ended for ended in done if ended.state is State.DONE and ended.options.get("unseen")]

    def _wait_no_longer(
        self,
        named: Record,
        look: Callable[[], Pass],
        failed: Callable[[str, FlowbridgeError], object],
        *,
        alone: bool,
    ) -> list[Operation]:
        """Give up on calls that were sent, and that a look shows nowhere, of what is canceled: of the one that was
        named, and, but for `alone`, of what is below it."""
        if not any(record.asked for record in self._ledger.executions.tree(named.tree)):
            return []
        ended, found = [], look()
        for node in _meant(found.snapshot, named, alone=alone):
            if not may_arrive(node) or late_want(node.record) is not Want.CANCEL:
                continue  # what is held is sent again at the resume
            name, call = node.record.ref.backend, late_call(node.record)
            if not node.reachable and name in self._instances.names():
                why = f"whether {call} has arrived cannot be told; it is looked for: {found.silent[name]}"
                failed(node.record.id, Unavailable(why))
                continue
            if is_re_opened(node):
                why = f"whether {call} has arrived cannot be told: its engine has just re-opened it; look again"
                failed(node.record.id, Unavailable(why))
                continue
            where = f"at {name}" if node.reachable else f"({name} is not configured any more)"
            why = f"{call} was seen nowhere {where}, and is waited for no longer"
            why += ": should it still arrive, it goes on" if node.record.withdrawn else ""
            with self._ledger.transaction():
                asking = self._begin(node)
                self._ledger.executions.put([with_withdrawn(node.record, ())])
                ended.append(self._ledger.operations.end(asking, State.DONE, why, time.time()))
        return ended

    def _end_hung(self, look: Callable[[], Pass], timeout: float) -> Pass:
        deadline = time.monotonic() + timeout
        asked: dict[str, Operation] = {}
        found = look()
        while hung := [node for node in found.snapshot.nodes if node.endable]:
            told = [node for node in hung if node.record.id not in asked]
            for node in told:
                asked[node.record.id] = self._ended(node)
            if not told and time.monotonic() > deadline:
                self._end_asked(asked.values(), found.snapshot)
                raise Timeout(f"{hung[0].record.ref} was told to end and is still shown as hung after {timeout:g} s")
            if not told:
                time.sleep(_POLL_SECONDS)
            found = look()
        self._end_asked(asked.values(), found.snapshot)
        if lost := next((node for node in found.snapshot.nodes if node.hung), None):
            raise EngineRefused(f"{lost.record.ref} is hung and was left as it is: {not_endable(lost)}")
        return found

    def _ended(self, node: Node) -> Operation:
        """Have an engine end what is hung. What it says against that is how the operation ends."""
        asking = self._begin(node, end_hung=node.hung)
        try:
            self._instances.get(node.record.ref.backend).end_hung(node.record.ref.id)
        except (EngineError, InvalidInput) as error:
            self._ledger.operations.end(asking, State.FAILED, error.message, time.time())
            raise
        return asking

    def _begin(self, node: Node, **what: str) -> Operation:
        """Write down that an execution is about to be recovered (O3). A crash behind this is ended by the next look."""
        ask = Ask(Verb.RECOVER, self._actor, options=what)
        asking = operation_of(node.record, ask)
        with self._ledger.transaction():
            self._ledger.operations.put(asking)
            self._ledger.operations.note(
                asking.tree, asking.target, "recover", asking.actor, asking.at, what, operation=asking.id
            )
        return asking

    def _end_asked(self, asked: Iterable[Operation], snapshot: Snapshot) -> list[Operation]:
        return [end_recovery(self._ledger, asking, snapshot) for asking in asked]


def _meant(snapshot: Snapshot, named: Record, *, alone: bool) -> list[Node]:
    """The execution that was named, and what is below it, but for `alone`."""
    place = next((place for place, node in enumerate(snapshot.nodes) if node.record.id == named.id), -1)
    if place < 0:
        return []
    return [snapshot.nodes[at] for at in (place, *(() if alone else descendants(snapshot, place)))]


def _abandoned_runs(snapshot: Snapshot) -> list[tuple[Node, list[str]]]:
    """The roots of the native trees in which something is abandoned, or ended with nobody to see it; each with the
    tasks whose end nobody saw, by the way to them."""
    roots: list[int] = []
    found: dict[int, list[str]] = {}
    ways_to = ways(snapshot)
    for place, node in enumerate(snapshot.nodes):
        is_root = node.parent < 0 or not node.record.native
        roots.append(place if is_root else roots[node.parent])
        if node.state is EngineState.ABANDONED or node.unknown:
            found.setdefault(roots[place], []).extend(f"{ways_to[place]}.{task}" for task in node.unknown)
    return [(snapshot.nodes[place], found[place]) for place in sorted(found)]


def not_endable(node: Node) -> str:
    """Why a hung execution is not ended as succeeded, and what to do instead; "" where it can be."""
    if node.unended:
        why = f"to end it would lose {', '.join(node.unended)} and what comes behind, which never ended"
    elif node.failed:
        why = f"{', '.join(node.failed)} failed, and whether that was handled cannot be told"
    else:
        return ""
    return (
        f"{why}. Cancel it (`flowbridge cancel {node.record.id}`), and run it again from the beginning (`flowbridge "
        f"re-run {node.record.id}`)"
    )


def _is_broken(node: Node) -> bool:
    return bool(node.hung) or node.state is EngineState.ABANDONED

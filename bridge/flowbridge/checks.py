"""From a verb as the user asks for it to the law's check for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowbridge.errors import InvalidInput, Rejected
from flowbridge.instances import Instances
from flowbridge.law import selection
from flowbridge.law.tables import ACCEPTABLE
from flowbridge.law.verbs import Effect, check_cancel, check_pause, check_resume, describe
from flowbridge.ledger.executions import Executions
from flowbridge.model import Snapshot, Verb
from flowbridge.operate import Check
from flowbridge.sync import Sync


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """What a re-run is to do: from `tasks`, or, where that is None, from the beginning (X1).

    `input` overrides single values of the input, from the beginning only; a value may be a `Written`. An empty `tasks`
    is rejected (O10).
    """

    tasks: tuple[str, ...] | None = None
    no_reset: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)


class Checks:
    """Gives the law's check for a verb, with what it needs from the engines: facts, and the places of items."""

    def __init__(self, instances: Instances, sync: Sync, executions: Executions) -> None:
        self._instances = instances
        self._sync = sync
        self._executions = executions

    def of(self, verb: Verb, request: RerunRequest, accept: frozenset[str]) -> Check:
        """The check to plan or carry out a verb with. It raises `Rejected` or `Unsupported`.

        Raises `InvalidInput` at once where `accept` names what nobody is ever refused for.
        """
        reject_unless_acceptable(accept)

        def check(snapshot: Snapshot, place: int) -> Effect:
            try:
                return self._effect(verb, request, accept, snapshot, place)
            except Rejected as error:
                if error.reason == "gone" and not self._executions.with_request([error.execution]):
                    raise _lost(snapshot, error) from None
                raise

        return check

    def _effect(
        self, verb: Verb, request: RerunRequest, accept: frozenset[str], snapshot: Snapshot, place: int
    ) -> Effect:
        if verb is Verb.PAUSE:
            return check_pause(snapshot, place)
        if verb is Verb.RESUME:
            return check_resume(snapshot, place, self._sync.facts(snapshot), accept)
        if verb is Verb.CANCEL:
            return check_cancel(snapshot, place)
        if verb is Verb.RERUN and request.tasks is None:
            _reject_without_tasks(request)
            return selection.check_rerun_whole(snapshot, place)
        return self._tasks(verb, request, accept, snapshot, place)

    def _tasks(
        self, verb: Verb, request: RerunRequest, accept: frozenset[str], snapshot: Snapshot, place: int
    ) -> Effect:
        facts = self._sync.facts(snapshot)
        if not request.tasks:
            raise Rejected(f"{verb} names no task, so nothing was done (O10)", rule="O10", reason="no_tasks")
        if request.input:
            raise Rejected("a re-run from tasks keeps their original input (X2)", rule="X2", reason="input_override")
        chosen = selection.select(snapshot, place, request.tasks, verb)
        if verb is Verb.SKIP:
            return selection.skip_effect(snapshot, chosen, facts)
        partial = selection.partial(chosen, request.no_reset, request.tasks)
        items = {(choice.place, choice.task.id): self._items(snapshot, choice) for choice in partial}
        warnings = selection.check_partial(snapshot, partial, items, facts, accept)
        return replace(selection.rerun_effect(snapshot, chosen, request.no_reset, facts), warnings=warnings)

    def _items(self, snapshot: Snapshot, choice: selection.Chosen) -> Any:
        ref = snapshot.nodes[choice.place].record.ref
        read = self._instances.get(ref.backend).read(ref.id, [choice.task.id])
        return next((task.items for task in read.tasks if task.id == choice.task.id), None)


def reject_unless_acceptable(accept: Iterable[str]) -> None:
    """Raises `InvalidInput` for a rule whose refusal cannot be overridden (O8): a slip would be taken for consent."""
    wrong = sorted(set(accept).difference(ACCEPTABLE))
    if wrong:
        raise InvalidInput(f"{wrong[0]!r} is no rule that can be accepted; there are: {', '.join(ACCEPTABLE)} (O8)")


def _lost(snapshot: Snapshot, error: Rejected) -> Rejected:
    """The refusal of what is gone and was started by somebody else: its input went with it, so a re-run from the
    beginning would be refused as well (S7)."""
    node = snapshot.nodes[snapshot.place(error.execution)]
    return Rejected(
        f"{describe(node)} is gone: its engine no longer has it, and the ledger does not know its input. Nothing can "
        f"be done with it; start its workflow with `flowbridge run` (S7).",
        rule=error.rule,
        reason=error.reason,
        execution=error.execution,
    )


def _reject_without_tasks(request: RerunRequest) -> None:
    if request.no_reset:
        raise Rejected(
            f"--no-reset names {', '.join(request.no_reset)}, and --tasks names nothing (X6)",
            rule="X6",
            reason="wrong_no_reset",
        )

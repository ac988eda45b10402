"""The facade: every verb and every look, for the command line and for Python users alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from flowbridge import config as configuration
from flowbridge.adoption import Adoption
from flowbridge.backend import Backend, Definition, Listed, Said
from flowbridge.carry import Carrier
from flowbridge.catalog import CatalogEntry
from flowbridge.checks import Checks, RerunRequest
from flowbridge.deadline import in_time_for
from flowbridge.defaults import default_of
from flowbridge.detached import Detached
from flowbridge.drivers import Drivers, starting_drivers
from flowbridge.enginelist import engine_list
from flowbridge.errors import FlowbridgeError, NotFound, Timeout
from flowbridge.instances import Instances
from flowbridge.law.decide import Plan
from flowbridge.law.driving import tells_last_ends
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Entry, Operation
from flowbridge.links import Links
from flowbridge.listing import listed
from flowbridge.looks import Look, place_of, shape
from flowbridge.model import ExecutionRead, Node, Record, Ref, Snapshot, Status, Verb
from flowbridge.observers import Observers
from flowbridge.operate import Operator
from flowbridge.originals import original
from flowbridge.outcome import Ask, Outcome
from flowbridge.plugins import Hooks
from flowbridge.pruning import Pruning
from flowbridge.recovery import Recovery
from flowbridge.runners import Host, Launcher, ProcessLauncher
from flowbridge.sending import Sent
from flowbridge.starting import Starter
from flowbridge.sync import Pass, Sync
from flowbridge.targets import Targets, Wish
from flowbridge.tending import Tender

_SETTLED = TERMINAL | {Status.PAUSED, Status.ABANDONED}
_FIRST_POLL, _LONGEST_POLL = 0.05, 1.0

#: How long a look at what has ended is kept back until the ends of all below it are told.
_TELLING_SECONDS = 5.0


class Bridge:
    """All executions of one ledger, on all configured engines.

    Use it in one thread, as a context manager or with `close`. `backends` adds instances that are not in the
    configuration; `launch` replaces the detached process that drives local runs, `drive` the one that drives a tree
    which links engines.

    Raises `InvalidInput` and `LedgerError` when it is built.
    """

    def __init__(
        self,
        config: configuration.Config | None = None,
        *,
        backends: Iterable[Backend] = (),
        launch: Launcher | None = None,
        drive: Callable[[str], object] | None = None,
        durable: bool = True,
    ) -> None:
        self.config = config or configuration.load()
        self.ledger = Ledger(self.config.ledger, durable=durable)
        self.instances = Instances(self.config, os.environ, extra=backends)
        detached = Detached(configuration.inherited(self.config), Path(self.config.ledger).with_name("runners.log"))
        launcher = launch or ProcessLauncher(self.ledger.leases, detached)
        self.targets = Targets(self.config, self.instances, lambda: self.hooks, self.ledger.vault, self.default_backend)
        host = Host(self.ledger.database, launcher, self.ledger.vault, self.config.catalog, self.instances.patience)
        self.instances.attach(host, self.targets.catalog, self.ledger.id)
        self.drivers = Drivers(self.ledger, drive or starting_drivers(detached if launch is None else None))
        self._observers = Observers(self.ledger, self.config.required_plugins)
        self._sync = Sync(self.ledger, self.instances, Links(self.ledger.id, self.targets.linked))
        carrier = Carrier(self.ledger, self.instances, self._sync)
        self._tender = Tender(self.ledger, self.instances, self._sync, carrier)
        self._operator = Operator(self.ledger, self.instances, self._sync, carrier, lambda: self.hooks)
        self._pruning = Pruning(self.ledger, self.config.actor)
        self._checks = Checks(self.instances, self._sync, self.ledger.executions)
        self._recovery = Recovery(self.ledger, self.instances, self._operator, self._tender, self.config.actor)
        self._adoption = Adoption(self.ledger, self.instances, self._operator, self._tender, self.config.actor)
        self._starter = Starter(self.ledger, self.instances, self.targets, self._operator, self.config.actor)

    def __enter__(self) -> Bridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the ledger and the engines' connections. Local runs go on in their runners."""
        self.instances.close()
        self.ledger.close()

    @property
    def hooks(self) -> Hooks:
        """The hook plugins, loaded when they are first needed."""
        return self._observers.hooks

    # Starting

    def validate(self, definition: Definition, backend: str | None = None) -> tuple[str, ...]:
        """The workflows of a definition, the one to start by default first. Raises `InvalidInput` where it is wrong."""
        return self.targets.checked(definition, backend or "")[2].workflows

    def deployed_text(self, definition: Definition, backend: str | None = None) -> str:
        """What an instance would send to its engine: the definition itself, or with links for what runs elsewhere."""
        return self.instances.get(backend or self.default_backend(definition)).deployed_text(definition)

    def run(  # noqa: PLR0913  (what a run is started with; all but the first two by name)
        self,
        target: Definition | str,
        input: Mapping[str, Any] | None = None,
        *,
        backend: str | None = None,
        workflow: str | None = None,
        env: Mapping[str, Any] | None = None,
        task_name: str = "",
        reason: str = "",
        timeout: float | None = None,
    ) -> Record:
        """Start a workflow: of a definition, or by a name that a catalog or the engine knows. Gives its record.

        `task_name` is the target task of a workflow that runs backwards from one; `timeout` how long the start may
        take, in seconds.

        Raises `InvalidInput` for a definition, a workflow or an input that is wrong: nothing was started. Raises
        `Unavailable` where the engine did not answer; `recover` with the id in the message then finishes the start,
        and never starts it twice (O3). Ctrl-C in between raises `errors.Interrupted` with the id, once there is one.
        """
        wish = Wish(dict(input or {}), backend or "", workflow or "", dict(env or {}), task_name)
        with in_time_for(None if timeout is None else time.monotonic() + timeout), self._telling():
            name, request = self.targets.request(target, wish)
            with self.targets.known_elsewhere(target, wish.backend):
                return self._starter.start(name, request, reason, self._drive)

    def catalog(self, ref: str = "") -> Sequence[CatalogEntry]:
        """What can be started by name: everything, or what has this one name. Raises `NotFound` where nothing has."""
        found = self.hooks.catalog(ref, self.config)
        if ref and not found:
            raise NotFound(f"no catalog knows {ref!r}: {self.targets.missing(ref)}")
        return found

    def default_backend(self, definition: Definition | None = None) -> str:
        """The instance to use where none is named. Raises `InvalidInput` where that is not clear.

        A definition goes to the configured default, unless that says that it is not in its language; else to the one
        local engine that says that it is in its own, or that can tell nothing against it.
        """
        return default_of(self.config.default_backend, self.instances, definition)

    # Verbs

    def pause(self, id: str, **how: Any) -> Outcome:
        """Pause an execution and with it its whole tree (P). `how`: see `operate`."""
        return self.operate(Verb.PAUSE, id, **how)

    def resume(self, id: str, **how: Any) -> Outcome:
        """Resume a paused execution and what is held below it (R). `how`: see `operate`."""
        return self.operate(Verb.RESUME, id, **how)

    def cancel(self, id: str, **how: Any) -> Outcome:
        """Cancel an execution and everything below it (C). `how`: see `operate`."""
        return self.operate(Verb.CANCEL, id, **how)

    def skip(self, id: str, tasks: Sequence[str], **how: Any) -> Outcome:
        """Skip errored tasks of an errored execution (K). `how`: see `operate`."""
        return self.operate(Verb.SKIP, id, request=RerunRequest(tasks=tuple(tasks)), **how)

    def rerun(self, id: str, request: RerunRequest | None = None, **how: Any) -> Outcome:
        """Re-run an execution, from the beginning or from tasks (X). `how`: see `operate`.

        `Outcome.execution` is the id to go on with: a re-run always gives a new one.
        """
        return self.operate(Verb.RERUN, id, request=request, **how)

    def operate(  # noqa: PLR0913  (what a verb is asked for with; all but the first two by name)
        self,
        verb: Verb,
        id: str,
        *,
        request: RerunRequest | None = None,
        accept: Iterable[str] = (),
        reason: str = "",
        timeout: float = 30.0,
        expect: frozenset[tuple[str, str]] | None = None,
        already_ok: bool = False,
    ) -> Outcome:
        """Carry out a verb on one execution.

        `accept` names rules whose refusal is to be overridden, R4 or X6 (O8); `reason` is kept in the history;
        `timeout` is how long all of it may take, in seconds: until the tree is free, until the engines answer and
        show the outcome (the last look may take a second more); `expect` is the fingerprint of a plan that was
        confirmed (O9). With `already_ok` the history calls what is already so by that name; it is raised as
        `Rejected` all the same (O7).

        Raises `InvalidInput`, `Rejected`, `Unsupported`, `NotFound`, `Timeout` with nothing changed, and `Unavailable`
        where a resume, a re-run or a skip needs an engine that is silent (O2). What an engine did not do, or did not
        answer, stands in the outcome.
        """
        asked = request or RerunRequest()
        accepted = frozenset(accept)
        options = {"tasks": list(asked.tasks or ()), "no_reset": list(asked.no_reset), "accept": sorted(accepted)}
        ask = Ask(verb, self.config.actor, reason, timeout, expect, options, already_ok)
        check = self._checks.of(verb, asked, accepted)
        with in_time_for(time.monotonic() + timeout), self._telling():
            record = self.find(id)
            if verb is Verb.RERUN and asked.tasks is None:
                outcome = self._starter.again(record, asked, ask, check)
                self._drive(self.find(outcome.execution))
                return outcome
            outcome = self._operator.operate(record.id, ask, check)
            self._drive(record)
            return outcome

    def _drive(self, record: Record) -> None:
        """Have a tree driven that needs it, as the ledger knows it now."""
        links = bool((self.ledger.executions.request(record.tree) or {}).get("links"))
        self.drivers.ensure(self.known(record.tree), links=links)

    def known(self, tree: str) -> Snapshot:
        """A tree as it was last seen, without asking anybody."""
        return self._sync.known(tree)

    def tend(self, trees: Sequence[str], sent: set[tuple[str, str]]) -> Mapping[str, Pass]:
        """One pass over trees, by their ids: look, write down, do what follows. `sent` is kept from pass to pass.

        It is for who goes on looking: linked children that are done with are not asked for, and a call that failed
        (`Pass.troubled`) is made again a little later each time. `get` asks for all, and tries at once.
        """
        passes = self._tender.tend_all(trees, sent, standing=True)
        self._observers.tell()
        return passes

    def plan(self, verb: Verb, id: str, *, request: RerunRequest | None = None, accept: Iterable[str] = ()) -> Plan:
        """What a verb would do (O1). Nothing is sent, nor written but the record of an execution that `id` adopts.

        Raises what the verb would raise.
        """
        asked = request or RerunRequest()
        check, record = self._checks.of(verb, asked, frozenset(accept)), self.find(id)
        is_anew = verb is Verb.RERUN and asked.tasks is None
        return self._operator.plan(
            record.id, verb, self._starter.check_again(record, asked, check) if is_anew else check
        )

    # Looking

    def find(self, text: str) -> Record:
        """A record by id, unique prefix, `last`, or `INSTANCE:ENGINE-ID`, which is adopted where it is new."""
        if ":" in text:
            instance, _, engine_id = text.partition(":")
            return self.adopt(Ref(instance, engine_id))
        return self.ledger.executions.find(text, self.config.actor)

    def get(self, id: str) -> Look:
        """One execution with its tree, freshly seen. An engine that does not answer is named, not an error.

        Nor is it one where the look cannot be written down: `Ledger.unwritten` then says why.

        One that was superseded is not looked at: `Look.frozen` is its tree as it stood (X2).
        """
        record = self.find(id)
        if record.superseded_by:
            snapshot = Snapshot((Node(record, -1, record.seen, raw=record.raw, error=record.error),))
            return Look(snapshot, 0, frozen=self.ledger.executions.frozen(record.id))
        return self._looked(self._tender.tend(record.tree, set()), record.id)

    def list(self, filter: Filter, *, look: bool = True) -> Sequence[Record]:
        """Records by a filter, newest first. Those that have not ended are looked at first, unless `look` is false.

        `Record.looked` then tells which of them an engine did not show. Where no children are listed, a root that its
        engine still calls what it did is not looked at more closely.
        """
        if not look:
            return self.ledger.executions.list(filter)
        driven = self.ledger.leases.is_driven
        return listed(self.ledger.executions, self.instances, filter, self.look_at, driven)

    def look_at(self, trees: Sequence[str]) -> Mapping[str, Record]:
        """Look closely at several trees; gives the records that their engines showed, by their ids.

        Linked children that are done with are not asked for.
        """
        return {
            node.record.id: node.record
            for found in self._tender.tend_all(trees, set(), standing=True).values()
            for node in found.snapshot.nodes
            if node.reachable and node.record.id not in found.spared
        }

    def list_engine(
        self, backend: str, *, limit: int = 50, state: str | None = None
    ) -> Sequence[tuple[Listed, Record | None]]:
        """The root executions that an engine has, newest first, each with its record: see `engine_list`."""
        return engine_list(self.instances, self.ledger.executions, backend, limit=limit, state=state)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """Input and output of an execution, from its engine, and the results of these tasks (by their ids; None: all).

        An engine may have to be asked for one task after the other: name none where input and output will do. What is
        secret is still sealed.
        """
        record = self.find(id)
        return self.instances.get(record.ref.backend).read(record.ref.id, tasks)

    def definition(self, id: str) -> Definition:
        """The text that an execution was started from, as it was given; of a name, what its engine has under it.

        Raises `NotFound` where nobody keeps one: of a single action, say.
        """
        return original(self.find(id), self.ledger, self.instances)

    def said(self, id: str, task: str, mark: str = "") -> Said:
        """What the action of a task (by the engine's id of it) has written since a mark; see `Backend.said`."""
        record = self.find(id)
        return self.instances.get(record.ref.backend).said(record.ref.id, task, mark)

    def watch(self, id: str, *, deadline: float | None = None, every: float | None = None) -> Iterator[Look]:
        """Look after look at a tree, one whenever something changed. Stop when you have seen enough.

        `deadline`, in monotonic seconds, ends it; without one it goes on for ever. With `every` there is a look at
        least every so many seconds, whether or not something changed. A look at an execution that has ended is kept
        back until the ends of those below it are told to its engine, for a few seconds at most.

        While it runs it also does what follows from holds and cancels (P6).
        """
        record = self.find(id)
        if record.superseded_by:
            yield self.get(record.id)
            return
        for look, changed in self._looks(record, deadline, every or _LONGEST_POLL):
            if changed or every:
                yield look
            if deadline is not None and time.monotonic() >= deadline:
                return

    def wait(self, id: str, *, timeout: float | None = None, until: frozenset[Status] = _SETTLED) -> Look:
        """Watch until the execution is in one of `until`. Raises `Timeout`, and nothing is lost by it.

        One that is superseded already is not waited for; one that is re-run meanwhile is, under its new id.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        record = self.find(id)
        if record.superseded_by:
            return self.get(record.id)
        for look, _ in self._looks(record, deadline):
            if look.record.status in until or look.record.gone:
                return look
            if deadline is not None and time.monotonic() >= deadline:
                raise Timeout(f"execution {look.record.id} is still {look.record.status} after {timeout:g} s")
        raise AssertionError("looks never end")

    def _looks(
        self, record: Record, deadline: float | None, longest: float = _LONGEST_POLL
    ) -> Iterator[tuple[Look, bool]]:
        """Look after look at a tree, for ever, each with whether it differs from the one before.

        One that is under way at `deadline` is given up soon.
        """
        try:
            with self.drivers.driving(record.tree, "a watch", deadline) as keep:
                for look, changed in self._looks_alone(record, deadline, longest):
                    keep()
                    yield look, changed
        finally:
            with in_time_for(deadline), self.ledger.if_possible():
                self._drive(record)

    def _looks_alone(self, record: Record, deadline: float | None, longest: float) -> Iterator[tuple[Look, bool]]:
        sent = Sent()
        last: object = None
        wait = _FIRST_POLL
        kept_until: float | None = None
        while True:
            with in_time_for(deadline):
                look = self._looked(self._tender.tend(record.tree, sent.lately(), standing=True), record.id)
            record = look.record
            if tells_last_ends(look.snapshot):
                # Whoever waits for the end would see tasks that still run under it.
                now = time.monotonic()
                kept_until = kept_until or min(now + _TELLING_SECONDS, deadline or now + _TELLING_SECONDS)
                if now < kept_until:
                    time.sleep(_FIRST_POLL)
                    continue
            else:
                kept_until = None
            with in_time_for(deadline), self.ledger.if_possible():
                self._observers.tell()
            shown = shape(look)
            wait = min(wait * 1.5, longest) if shown == last else _FIRST_POLL
            yield look, shown != last
            last = shown
            time.sleep(wait if deadline is None else min(wait, max(0.0, deadline - time.monotonic())))

    def history(self, id: str | None = None) -> Sequence[Entry]:
        """Who did what, when and why, and what the engines did by themselves: of one tree, or of all (O6)."""
        return self.ledger.operations.history(self.ledger.tree_of(id, self.find) if id else None)

    def changed(self, id: str) -> Mapping[str, float]:
        """When the status of each execution of a tree was last seen to change, in seconds since the epoch."""
        return self.ledger.operations.changed(self.find(id).tree)

    def held_since(self, id: str) -> Mapping[str, float]:
        """Since when each execution of a tree that is held is so without a break, in seconds since the epoch."""
        return self.ledger.operations.held_since(self.find(id).tree)

    # Keeping

    def adopt(self, ref: Ref) -> Record:
        """The record of an execution that somebody else started; its whole native tree is taken in.

        Raises `NotFound` where the engine has no such execution.
        """
        return self._adoption.adopt(ref)

    def recover(
        self,
        id: str | None = None,
        *,
        assume: str = "failed",
        timeout: float = 30.0,
        end_hung: bool = False,
        failed: Callable[[str, FlowbridgeError], object] | None = None,
        finished: Callable[[Operation], object] | None = None,
    ) -> Sequence[Look]:
        """Finish what a crash left open: operations, and local runs whose runner died (O3, S6).

        `assume` says what to take for a leaf whose end nobody saw: "failed", or "rerun" to run it again. `end_hung`
        ends, as succeeded, what its engine will never go on with (`Node.hung`); otherwise that is only shown. Without
        an id every tree with something open or hung is recovered. Gives a look at each tree that was touched, or that
        has something hung in it. `failed` is called with the id of each execution that cannot be taken up, and of each
        tree where no id was given, and the reason; the others go on. Without it the first of a tree that was named is
        raised once that is done, as is what keeps the whole of it from being recovered. `finished` is called with each
        operation that was open, as it now stands, and with each recovery for which the end of a task was assumed.
        """
        missed: list[FlowbridgeError] = []
        tell = failed or (lambda _, error: missed.append(error))
        named = self.find(id) if id else None
        looks = []
        for tree in [named.tree] if named else self._recovery.unfinished():
            try:
                with in_time_for(time.monotonic() + timeout):
                    found = self._recovery.recover(
                        tree, assume, timeout, end_hung=end_hung, failed=tell, finished=finished, named=named
                    )
            except FlowbridgeError as error:
                if id:
                    raise
                tell(tree, error)
                continue
            looks.append(self._looked(found, found.snapshot.nodes[0].record.id))
            self._drive(looks[-1].record)
        self._observers.tell()
        if id and missed:
            raise missed[0]
        return looks

    def prune(self, before: float) -> int:
        """Forget trees that were started before a time (seconds since the epoch) and are over; gives how many.

        Over is a tree all of whose executions have ended or are gone, and that no operation is open on or uses now.
        """
        return sum(self._pruning.forget(record.tree) for record in self.prunable(before))

    def prunable(self, before: float) -> Sequence[Record]:
        """The roots that were started before a time and are over. What below them is not is known by `prune` only."""
        return self._pruning.prunable(before)

    def _looked(self, found: Pass, id: str) -> Look:
        tree = found.snapshot.nodes[0].record.tree
        return Look(
            found.snapshot,
            place_of(found.snapshot, self.ledger.executions.successors(id)),
            found.silent,
            tuple(self.ledger.operations.open(tree)),
            waits_for_driver=self.drivers.waits(found.snapshot),
        )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._observers.tell()

"""Watching: a live tree on a terminal, a line for each change anywhere else. Both on stderr: the data comes after."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from flowbridge.bridge import Bridge
from flowbridge.errors import NotFound, Unavailable
from flowbridge.law.tables import DIED, TERMINAL, possible
from flowbridge.ledger.operations import State
from flowbridge.looks import Look
from flowbridge.model import Status, Verb
from flowbridge_cli.documents import Document, executions, tree_document
from flowbridge_cli.drawing import tree_lines, trouble_line
from flowbridge_cli.output import clean, clock, hung_advice, note
from flowbridge_cli.pluginwarnings import tell_of_failures
from flowbridge_cli.silences import last_seen, unanswered

#: As a shell reports a process that Ctrl-C ended.
INTERRUPTED = 130
TIMED_OUT = 9
_EXIT = {Status.ERRORED: 7, Status.CANCELED: 8}

#: How often what actions write is asked for.
_TAIL_SECONDS = 0.2

Show = Callable[[Document], None]


class Stopped(KeyboardInterrupt):
    """Ctrl-C has ended the watching, and how to go on was said."""


def follow(
    bridge: Bridge,
    id: str,
    *,
    timeout: float | None = None,
    quiet: bool = False,
    also: frozenset[Status] = frozenset(),
    tail: bool = False,
    since: Document | None = None,
) -> tuple[Look, int]:
    """Watch until an execution has ended, is abandoned or gone, or is in one of `also`; gives the look and exit code.

    `tail` prints what its actions write as well, on stderr too. `since` is the tree as it was: only what is no longer
    so is told. An engine that stops answering is told of, and waited for.

    Ctrl-C stops the watching, never the run: raises `Stopped`, and a sentence says how to go on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    last: Look | None = None
    told = Tail(bridge) if tail else None
    silences = _Silences(bridge)
    told_of_start = False
    try:
        with _shown(quiet=quiet, since=since) as show:
            for last in bridge.watch(id, deadline=deadline, every=_TAIL_SECONDS if tail else None):
                silences(last)
                if not told_of_start and (cut := cut_short(bridge, last)):
                    told_of_start = True
                    note(f"{_now()}  {cut}: `flowbridge recover {last.record.id}` goes on with it (O3)")
                document = tree_document(bridge, last)
                if told is not None:
                    told(document)
                show(document)
                if _over(last, also):
                    break
    except KeyboardInterrupt:
        note(farewell(last.record.id, last, cut_short(bridge, last)) if last else farewell(id))
        raise Stopped from None
    finally:
        tell_of_failures(bridge)
    if last is None:
        raise AssertionError("a watch gives a look at least")
    return last, _exit_code(bridge, last, also)


def _over(look: Look, also: frozenset[Status]) -> bool:
    status = look.record.status
    return status in TERMINAL or status is Status.ABANDONED or look.record.gone or status in also


def _exit_code(bridge: Bridge, look: Look, also: frozenset[Status]) -> int:
    record = look.record
    if record.status in TERMINAL:
        return _EXIT.get(record.status, 0)
    if record.gone:
        note(f"execution {record.id} is gone: its engine no longer has it (S7)")
        return NotFound.exit_code
    if record.status is Status.ABANDONED:
        why = record.error if record.error.startswith(DIED) else DIED
        note(f"execution {record.id} is abandoned: {why}. `flowbridge recover {record.id}` goes on (S6)")
        return Unavailable.exit_code
    if record.status in also:
        return 0
    ways = farewell(record.id, look, cut_short(bridge, look))
    if look.silent:
        silent = "; ".join(unanswered(bridge, instance, why) for instance, why in look.silent.items())
        note(f"{silent}; execution {record.id} was {record.status} when it was last seen. {ways}")
        return Unavailable.exit_code
    note(f"execution {record.id} is still {record.status}. {ways}")
    return TIMED_OUT


#: What can be advised for an execution that goes on, by verb.
_ADVICE = ("pause", "resume", "cancel")


def cut_short(bridge: Bridge, look: Look) -> str:
    """That a start never reached its engine, as far as anybody knows, and nobody is at it any more; "" otherwise.

    A watch does not go on with it: that is for whoever asked for it to say.
    """
    root = look.snapshot.nodes[0].record
    start = next((operation for operation in look.open if operation.verb == Verb.START), None)
    if start is None or root.looked or bridge.ledger.leases.holder(f"tree:{root.tree}"):
        return ""
    # Whoever was at it when the tree was looked at has ended it by the time that nobody is any more.
    if bridge.ledger.operations.get(start.id).state is not State.OPEN:
        return ""
    return f"The start by {start.actor} was cut short"


def farewell(id: str, look: Look | None = None, cut: str = "") -> str:
    """How to go on after the watching has ended: what the status, as it was last seen, admits.

    What is just beginning runs by the time that this is read; where its start was `cut` short it does not.
    """
    begins = look is None or (look.record.status is Status.REQUESTED and not cut)
    verbs: Sequence[str] = ("pause", "cancel") if look is None or begins else possible(look.record.status)
    ways = [f"Watch it again: flowbridge watch {id}"]
    ways += [f"{verb} it: flowbridge {verb} {id}" for verb in _ADVICE if verb in verbs]
    if cut:
        return " - ".join([f"{cut}. Go on with it: flowbridge recover {id}", *ways])
    if look is not None and (hung := [node for node in look.snapshot.nodes if node.hung]):
        if any(node.endable for node in hung):
            return " - ".join(["It is hung. See how it could be ended: flowbridge recover " + id, *ways])
        anew = f"Once it is canceled, begin it anew: flowbridge re-run {id}"
        return " - ".join(["It is hung, and can only be canceled. " + ways[0], *ways[1:], anew])
    if look is not None and look.record.status is Status.PAUSED:
        return " - ".join(["It waits for a resume. " + ways[0], *ways[1:]])
    return " - ".join(["The run goes on. " + ways[0], *ways[1:]])


class _Silences:
    """A line when an engine stops answering, and one when it answers again."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._silent: set[str] = set()

    def __call__(self, look: Look) -> None:
        for instance in sorted(look.silent.keys() - self._silent):
            words = unanswered(self._bridge, instance, look.silent[instance])
            seen = last_seen(look, instance)
            note(f"{_now()}  {words}; {f'last seen {clock(seen)}' if seen else 'not seen yet'}")
        for instance in sorted(self._silent - look.silent.keys()):
            note(f"{_now()}  {instance} answers again")
        self._silent = set(look.silent)


@contextmanager
def _shown(*, quiet: bool, since: Document | None) -> Iterator[Show]:
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Lines(since, quiet=quiet)
        return
    from rich.console import Console  # noqa: PLC0415  only on a terminal
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    latest: list[Document] = []

    def drawn() -> Text:
        return Text.from_ansi("\n".join(tree_lines(latest[-1]))) if latest else Text("")

    # Redrawn four times a second from what was seen last, so that the times go on while nothing changes.
    with Live(get_renderable=drawn, console=Console(stderr=True), transient=True):
        yield lambda document: latest.__setitem__(slice(None), [document])


class _Lines:
    """A line for each status that changed, of executions and of tasks."""

    def __init__(self, since: Document | None = None, *, quiet: bool) -> None:
        self._quiet = quiet
        self._seen: dict[str, str] = {}
        self._hung: set[str] = set()
        if since is not None:
            self._seen = {key: thing["status"] for key, thing, _, _ in _things(since)}

    def __call__(self, document: Document) -> None:
        for key, thing, name, execution in () if self._quiet else _things(document):
            if self._seen.get(key) != thing["status"]:
                self._seen[key] = thing["status"]
                note(f"{_now()}  {name}  {thing['status']}{_as_seen(execution)}")
            if thing.get("hung") and key not in self._hung:
                self._hung.add(key)
                advice = f"it cannot go on by itself: {hung_advice(thing, execution['id'])}"
                note(f"{_now()}  {name}  hung: {clean(thing['hung'])}; {advice}")
            self._troubled(thing, key, name)

    def _troubled(self, thing: dict[str, Any], key: str, name: str) -> None:
        """A call that begins to fail is told once; so is one that fails for another reason."""
        trouble = thing.get("trouble")
        key, now = f"trouble/{key}", f"{trouble['call']} {trouble['reason']}" if trouble else ""
        if self._seen.get(key, "") != now:
            self._seen[key] = now
            note(f"{_now()}  {name}  {trouble_line(trouble) if trouble else 'nothing fails any more'}")


def _things(document: Document) -> Iterator[tuple[str, dict[str, Any], str, Document]]:
    """Each execution and task with a key, by which a re-run has it too, and its name; and the execution it is in."""
    for execution in executions(document):
        item = "" if execution["item"] is None else f"[{execution['item']}]"
        name = (clean(execution["workflow"]) or execution["id"]) + item
        key = f"{execution['backend']}:{execution['engine_id']}"
        yield key, execution, name, execution
        for task in execution["tasks"]:
            yield f"{key}/{task['id']}", task, f"{name}.{clean(task['name'])}", execution


def _as_seen(execution: Document) -> str:
    """Of what its engine does not show now: when it was seen."""
    if not execution["stale"]:
        return ""
    seen = execution["observed_at"]
    return f", as last seen {clock(datetime.fromisoformat(seen).timestamp())}" if seen else ", not seen yet"


def _now() -> str:
    return clock(time.time())


class Tail:
    """What actions write, line by line as it comes, with the task before each; of a task that has ended all of it."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._marks: dict[str, str] = {}
        self._over: set[str] = set()

    def __call__(self, document: Document) -> None:
        """Print what is new in a tree."""
        for execution in executions(document):
            for task in execution["tasks"]:
                run = f"{execution['id']}/{task['id']}/{task['started_at']}"
                if task["status"] != "waiting" and run not in self._over:
                    self._tell(execution["id"], task, run)

    def _tell(self, execution: str, task: dict[str, Any], run: str) -> None:
        said = self._bridge.said(execution, task["id"], self._marks.get(run, ""))
        while said.text:
            for line in said.text.splitlines():
                note(f"{clean(task['name'])} | {clean(line)}")
            self._marks[run] = said.mark
            said = self._bridge.said(execution, task["id"], said.mark)
        if not task["active"]:
            self._over.add(run)

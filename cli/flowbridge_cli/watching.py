"""Watching: a live tree on a terminal, a line for each change anywhere else. Both on stderr: the data comes after."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowbridge.bridge import Bridge
from flowbridge.errors import NotFound, Unavailable
from flowbridge.law.tables import DIED, TERMINAL
from flowbridge.looks import Look
from flowbridge.model import Status
from flowbridge_cli.documents import Document, executions, tree_document
from flowbridge_cli.drawing import tree_lines, trouble_line
from flowbridge_cli.output import clean, note
from flowbridge_cli.pluginwarnings import tell_of_failures

#: As a shell reports a process that Ctrl-C ended.
INTERRUPTED = 130
TIMED_OUT = 9
_EXIT = {Status.ERRORED: 7, Status.CANCELED: 8}

#: How often what actions write is asked for.
_TAIL_SECONDS = 0.2

Show = Callable[[Document], None]


def follow(
    bridge: Bridge,
    id: str,
    *,
    timeout: float | None = None,
    quiet: bool = False,
    also: frozenset[Status] = frozenset(),
    tail: bool = False,
) -> tuple[Look, int]:
    """Watch until an execution has ended, is abandoned or gone, or is in one of `also`; gives the look and exit code.

    `tail` prints what its actions write as well, on stderr too.

    Ctrl-C stops the watching, never the run: the code is then 130, and a sentence says how to go on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    last = bridge.get(id)
    told = Tail(bridge) if tail else None
    try:
        with _shown(quiet=quiet) as show:
            for last in bridge.watch(id, deadline=deadline, every=_TAIL_SECONDS if tail else None):
                document = tree_document(bridge, last)
                if told is not None:
                    told(document)
                show(document)
                if _over(last, also):
                    break
    except KeyboardInterrupt:
        note(farewell(last.record.id))
        return last, INTERRUPTED
    finally:
        tell_of_failures(bridge)
    return last, _exit_code(last, also)


def _over(look: Look, also: frozenset[Status]) -> bool:
    status = look.record.status
    return status in TERMINAL or status is Status.ABANDONED or look.record.gone or status in also


def _exit_code(look: Look, also: frozenset[Status]) -> int:
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
    note(f"execution {record.id} is still {record.status}. {farewell(record.id)}")
    return TIMED_OUT


def farewell(id: str) -> str:
    """How to go on after the watching has ended."""
    return (
        f"The run goes on. Watch it again: flowbridge watch {id} - pause it: flowbridge pause {id} - "
        f"cancel it: flowbridge cancel {id}"
    )


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Show]:
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Lines(quiet=quiet)
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

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._seen: dict[str, str] = {}

    def __call__(self, document: Document) -> None:
        for execution in () if self._quiet else executions(document):
            item = "" if execution["item"] is None else f"[{execution['item']}]"
            name = (clean(execution["workflow"]) or execution["id"]) + item
            self._changed(execution, name)
            self._troubled(execution, name)
            for task in execution["tasks"]:
                self._changed(task, f"{name}.{clean(task['name'])}", execution["id"])

    def _changed(self, thing: dict[str, Any], name: str, within: str = "") -> None:
        key = f"{within}/{thing['id']}"
        if self._seen.get(key) != thing["status"]:
            self._seen[key] = thing["status"]
            note(f"{time.strftime('%H:%M:%S')}  {name}  {thing['status']}")

    def _troubled(self, execution: dict[str, Any], name: str) -> None:
        """A call that begins to fail is told once; so is one that fails for another reason."""
        trouble = execution.get("trouble")
        key, now = f"trouble/{execution['id']}", f"{trouble['call']} {trouble['reason']}" if trouble else ""
        if self._seen.get(key, "") != now:
            self._seen[key] = now
            words = trouble_line(trouble) if trouble else "nothing fails any more"
            note(f"{time.strftime('%H:%M:%S')}  {name}  {words}")


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

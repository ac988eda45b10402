"""Watching: a live tree on a terminal, a line for each change anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from flowbridge.bridge import Bridge
from flowbridge.law.tables import TERMINAL
from flowbridge.looks import Look
from flowbridge.model import Status
from flowbridge.views import tree_view
from flowbridge_cli.drawing import tree_lines
from flowbridge_cli.output import emit, note

_EXIT = {Status.SUCCEEDED: 0, Status.ERRORED: 7, Status.CANCELED: 8}
_TIMED_OUT = 9


def follow(bridge: Bridge, id: str, output: str, timeout: float | None = None) -> int:
    """Watch until the execution has ended, is abandoned or gone; gives the exit code. Ctrl-C stops watching."""
    deadline = None if timeout is None else time.monotonic() + timeout
    live = output == "table" and sys.stdout.isatty()
    try:
        with _screen() if live else _plain() as show:
            last = _until_end(bridge, id, deadline, show)
    except KeyboardInterrupt:
        note(_farewell(id))
        return 0
    view = tree_view(last.snapshot, last.place)
    if output != "table":
        emit(view, output)
    elif not live:
        click.echo("\n".join(tree_lines(view)))
    return _exit_code(last, deadline)


def _until_end(bridge: Bridge, id: str, deadline: float | None, show: Show) -> Look:
    for look in bridge.watch(id, deadline=deadline):
        show(look)
        if _over(look):
            return look
    return bridge.get(id)


def _over(look: Look) -> bool:
    return look.record.status in TERMINAL or look.record.status is Status.ABANDONED or look.record.gone


def _exit_code(look: Look, deadline: float | None) -> int:
    if look.record.status is Status.ABANDONED:
        note(f"its runner died; `flowbridge recover {look.record.id}` goes on")
        return _EXIT[Status.ERRORED]
    if not _over(look) and deadline is not None:
        note(f"still {look.record.status}; it goes on. {_farewell(look.record.id)}")
        return _TIMED_OUT
    return _EXIT.get(look.record.status, 0)


class Show:
    """Takes each look. The plain one writes a line on stderr for every status that changed."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def __call__(self, look: Look) -> None:
        """Show one look."""
        for node in look.snapshot.nodes:
            status = str(node.record.status)
            if self._seen.get(node.record.id) != status:
                self._seen[node.record.id] = status
                note(f"{time.strftime('%H:%M:%S')}  {node.record.workflow or node.record.id}  {status}")


class _Live(Show):
    """The live tree."""

    def __init__(self, update: object) -> None:
        super().__init__()
        self._update = update

    def __call__(self, look: Look) -> None:
        from rich.text import Text  # noqa: PLC0415  only on a terminal

        lines = tree_lines(tree_view(look.snapshot, look.place), now=time.time())
        self._update(Text.from_ansi("\n".join(lines)))  # type: ignore[operator]  # rich's Live.update


@contextmanager
def _plain() -> Iterator[Show]:
    yield Show()


@contextmanager
def _screen() -> Iterator[Show]:
    from rich.live import Live  # noqa: PLC0415  only on a terminal

    with Live(auto_refresh=False, transient=False) as live:
        yield _Live(lambda text: live.update(text, refresh=True))


def _farewell(id: str) -> str:
    return (
        f"The run goes on. Watch it again: flowbridge watch {id}; pause it: flowbridge pause {id}; "
        f"cancel it: flowbridge cancel {id}"
    )

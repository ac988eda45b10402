"""`agent`: a service in the foreground that drives every tree of the ledger."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import click

from flowbridge.agent import Agent, Health
from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput
from flowbridge.views import moment
from flowbridge_cli import options
from flowbridge_cli.output import counted, note


@click.command("agent")
@click.option(
    "--interval", type=options.ROUND, default=1.0, show_default=True, metavar="SECONDS", help="Between rounds."
)
@click.option("--health", type=click.Path(path_type=Path), metavar="FILE", help="Write how it fares here, as JSON.")
def agent(interval: float, health: Path | None) -> int:
    """Go over every tree that has not ended, again and again: start what tasks on other engines wait for, tell its end,
    and do what follows from holds and cancels.

    It stays in the foreground until SIGTERM or Ctrl-C; what it has begun it finishes. Killed at any point it loses
    nothing. It tells systemd when it is ready, that it is alive and that it stops, where systemd asks for that.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopper(stop))
    Agent(Bridge, interval=interval).run(stop, _teller(health))
    note("the agent has stopped")
    return 0


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def told(_number: int, _frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            _systemd("STOPPING=1")

    return told


def _teller(file: Path | None) -> Callable[[Health], None]:
    """Says what changed since the last round, and writes the health down."""
    last: list[Health] = []

    def tell(health: Health) -> None:
        before = last[-1] if last else None
        _systemd("WATCHDOG=1" if before else "READY=1")
        if before is None or _gist(before) != _gist(health):
            note(_line(health))
        if file is not None:
            try:
                _write(file, health)
            except InvalidInput as error:
                if before is None:
                    raise
                note(f"warning: {error.message}")
        last[:] = [health]

    return tell


def _gist(health: Health) -> object:
    """What is told again when it is another: of a call that fails not how often it was tried."""
    failing = {(one["execution"], one["call"], one["reason"]) for one in health.failing}
    return health.trees, health.silent, failing, health.stranded, health.problems


def _line(health: Health) -> str:
    trouble = [f"{name}: {why}" for name, why in sorted(health.silent.items())] + list(health.problems)
    if health.failing:
        first = health.failing[0]
        of = "" if len(health.failing) == 1 else f" (the first of {len(health.failing)} calls that fail)"
        trouble.append(f"{first['call']} of {first['execution']} fails: {first['reason']}{of}")
    if health.stranded:
        first = health.stranded[0]
        of = "" if len(health.stranded) == 1 else f" (the first of {len(health.stranded)} that need it)"
        trouble.append(f"{first['execution']}: {first['why']}; `flowbridge recover {first['execution']}` goes on{of}")
    return "; ".join([counted(health.trees, "tree"), *trouble])


def _write(file: Path, health: Health) -> None:
    """Replaced as a whole, so that nobody reads half of it."""
    document = {**asdict(health), "at": moment(health.at), "process": os.getpid()}
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(document) + "\n", encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise InvalidInput(f"--health: {error.strerror}", source=str(file)) from error


def _systemd(word: str) -> None:
    """Tell systemd, where it started this process and wants to be told."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0.0)  # what nobody takes away must not keep the trees waiting
        try:
            channel.sendto(word.encode(), address)
        except OSError as error:
            note(f"systemd was not told: {error.strerror}")

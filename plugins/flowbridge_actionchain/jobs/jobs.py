"""The jobs of one run: from an action to a job, and from a handle back to it."""

from __future__ import annotations

import json
import os
import select
import time
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from flowbridge.errors import EngineRefused, Unavailable
from flowbridge_actionchain.jobs import link
from flowbridge_actionchain.jobs.asking import packed
from flowbridge_actionchain.jobs.model import Job, JobOutcome, RunContext
from flowbridge_actionchain.jobs.plans import Plan, plan
from flowbridge_actionchain.jobs.shapes import PLAIN, TEXT_LIMIT, outcome, plainly_succeeded
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.packs.runnertypes import LEAVES, require_runnable

_POLL = 0.05
_PART = 1 << 20


class Jobs:
    """The jobs of one run, one after the other; their files lie in one folder (made when it is needed). For one thread.

    Jobs are kept by a process of their own, which the first one starts: they go on, are stopped when they take too
    long, and have their end written down, whether or not anybody is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keeper: link.Keeper | None = None
        self._wanted: set[str] = set()
        self._found: dict[str, set[str]] = {}

    def prepare(
        self, action: PackAction, parameters: Mapping[str, Any], context: RunContext, *, early: bool = False
    ) -> Job:
        """A job of a leaf action with all its parameters (see `bind`). Nothing of it runs yet.

        One that is prepared `early`, before its turn has come, may be withdrawn by every process that knows its handle.
        Raises `EngineRefused` for a runner type that is not run here, by name, and for what cannot be run as it
        should be; `Unavailable` where no process can be started.
        """
        require_runnable(action)
        if action.runner_type not in LEAVES:
            raise EngineRefused(f"{action.ref} is a workflow of the type {action.runner_type}, and no job")
        made = plan(action, parameters, context)
        known: dict[str, Any] = {"id": uuid.uuid4().hex, **made.known}
        if "argv" not in made.ask:
            return InstantJob(known, self._folder)
        keeper = self._kept()
        known |= {"keeper": keeper.name, "pid": keeper.pid, "born": keeper.born, "boot": link.boot()}
        if early:
            _permit(link.permit_of(self._folder, known["id"]))
        self._wanted.add(known["id"])
        return KeptJob(known, made, keeper, self._wanted, early=early)

    def find(self, handle: str) -> Job | None:
        """The job of a handle, in whatever process it was started; None where its end cannot be told.

        One whose `begun` is false never ran at all: another may be prepared in its place.
        """
        known = json.loads(handle)
        if "keeper" not in known:
            return InstantJob(known, self._folder)
        job = FoundJob(known, self._folder, self._found)
        return job if job.is_told or not job.begun or job.lives else None

    def close(self) -> None:
        """Give the keeper back. What still runs goes on, and is found again by its handle."""
        if self._keeper is not None:
            self._keeper.close(idle=not self._wanted)
            self._keeper = None

    def _kept(self) -> link.Keeper:
        if self._keeper is not None and not self._keeper.lives:
            self._keeper.close(idle=False)
            self._keeper = None
        if self._keeper is None:
            self._keeper = link.Keeper(self._folder)
        return self._keeper


class _Known:
    """What every job knows of itself: its handle, and where its files are."""

    def __init__(self, known: Mapping[str, Any], folder: Path) -> None:
        self._known, self._folder = known, folder
        self._end: Mapping[str, Any] | None = None

    @cached_property
    def handle(self) -> str:
        return json.dumps(self._known, separators=(",", ":"))

    @property
    def succeeded(self) -> bool:
        return self._end is not None and plainly_succeeded(self._known, self._end)

    def outcome(self) -> JobOutcome | None:
        return None if self._end is None else outcome(self._known, self._end, self._folder)

    def tail(self, bytes: int) -> str:
        texts = [_end_of(self._folder / f"{self._known['id']}.{name}", bytes) for name in ("out", "err")]
        return "".join(texts)[-bytes:]

    def _take_permit(self) -> bool:
        """Whether its permit was there to be removed."""
        try:
            link.permit_of(self._folder, self._known["id"]).unlink()
        except OSError:
            return False
        return True

    def _remove_outputs(self) -> None:
        for name, size in (("out", "stdout"), ("err", "stderr")):
            end = self._end or {}
            if size in end.get("cut", {}) or 0 < end.get(size, 0) <= TEXT_LIMIT:
                (self._folder / f"{self._known['id']}.{name}").unlink(missing_ok=True)


class InstantJob(_Known):
    """A job that is over as soon as it is started, and does nothing outside."""

    begun = False

    def start(self) -> None:
        self._end = {"code": 0}

    def follow(self, other: Job) -> None:
        del other

    def withdraw(self) -> bool:
        return True

    def wait(self, seconds: float) -> bool:
        del seconds
        return True

    def discard(self) -> None:
        return


class KeptJob(_Known):
    """A job of this process's own keeper."""

    def __init__(
        self, known: Mapping[str, Any], made: Plan, keeper: link.Keeper, wanted: set[str], *, early: bool
    ) -> None:
        super().__init__(known, keeper.folder)
        self._ask = {"id": known["id"], **made.ask}
        self._keeper, self._wanted, self._early = keeper, wanted, early
        self._lost: FoundJob | None = None
        self._after: KeptJob | None = None
        self._asked = self._refused = False

    @property
    def begun(self) -> bool:
        is_asked = self._asked or (self._after is not None and self._after.succeeded)
        return is_asked and (self._lost is None or self._lost.begun)

    def start(self) -> None:
        if self._early and not self._take_permit():
            self._refused = True  # somebody else has, and drives the run by now; else its turn comes once more
            return
        self._asked = True
        self._keeper.ask(_packed(self._ask))

    def follow(self, other: Job) -> None:
        if isinstance(other, KeptJob) and other._keeper is self._keeper and other._known["runner"] in PLAIN:
            self._after = other
            self._keeper.ask(_packed({**self._ask, "after": other._known["id"]}))

    def withdraw(self) -> bool:
        return not self._asked and (not self._early or self._take_permit())

    def wait(self, seconds: float) -> bool:
        if self._refused:
            return True
        if self._end is None and self._lost is None:
            try:
                self._end = self._keeper.end(self._known["id"], seconds)
            except EOFError:
                self._lost = FoundJob(self._known, self._folder, {})
        if self._lost is not None and self._lost.wait(seconds):
            self._end = self._lost.end
            return True
        return self._end is not None

    def discard(self) -> None:
        self._remove_outputs()
        self._wanted.discard(self._known["id"])


class FoundJob(_Known):
    """A job that another process started: all that is known of it stands in its keeper's log.

    `found` are those of this run, by their keeper: its log is kept for the last of them.
    """

    def __init__(self, known: Mapping[str, Any], folder: Path, found: dict[str, set[str]]) -> None:
        super().__init__(known, folder)
        self._found = found.setdefault(known["keeper"], set())
        self._look()
        if self.begun:
            self._found.add(known["id"])

    def _look(self) -> None:
        # Asked before the log is read: a keeper that is gone then has written all that it ever will.
        kept = self._same_boot and link.alive(self._known["pid"], self._known["born"])
        noted = link.noted(self._folder, self._known["keeper"], self._known["id"])
        may_begin = link.permit_of(self._folder, self._known["id"]).exists()
        self._is_noted = noted is None or "begun" in noted
        self.begun = kept or (not may_begin and (self._is_noted or not self._same_boot))
        self.end = self._end = (noted or {}).get("end")
        pid, since = (noted or {}).get("pid"), (noted or {}).get("born", "")
        self.lives = kept or (self._same_boot and pid is not None and link.alive(pid, since))

    @property
    def _same_boot(self) -> bool:
        return bool(self._known["boot"] == link.boot())

    @property
    def is_told(self) -> bool:
        """Whether its end stands in the log."""
        return self._end is not None

    def start(self) -> None:
        raise EngineRefused(f"{self._known['action']} was started already")

    def follow(self, other: Job) -> None:
        del other

    def withdraw(self) -> bool:
        if self._take_permit():
            return True
        self._look()
        return not self._is_noted

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.lives and not self.is_told:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # Its keeper is no child of ours, and its log is a file: neither can be waited for everywhere.
            select.select([], [], [], min(left, _POLL))
            self._look()
        return True

    def discard(self) -> None:
        self._remove_outputs()
        self._found.discard(self._known["id"])
        if not self._found:
            link.log_of(self._folder, self._known["keeper"]).unlink(missing_ok=True)


def _permit(path: Path) -> None:
    """Make what a job needs to begin (see `link.permit_of`). Raises `Unavailable`."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise Unavailable(f"{error.filename}: {error.strerror}") from error


def _packed(asked: Mapping[str, Any]) -> bytes:
    try:
        return packed(asked)
    except ValueError:  # something in it is of a type of somebody's own, as a text may be
        return packed(json.loads(json.dumps(asked)))


def _end_of(path: Path, bytes: int) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - bytes))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def written(handle: str, folder: Path, stream: str, since: int) -> bytes | None:
    """What one output ("out" or "err") of a job holds from a place on, a part of it where it is much; None: no file."""
    try:
        with open(folder / f"{json.loads(handle)['id']}.{stream}", "rb") as file:
            file.seek(since)
            return file.read(_PART)
    except OSError:
        return None

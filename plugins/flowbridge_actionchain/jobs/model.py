"""What a job is to whoever runs one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowbridge.model import TaskStatus


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a job knows of the run it belongs to.

    `execution` is the id that the action is told as its execution's. `user` is who acts. `config` is the pack's
    configuration, with its templates rendered; `datastore` is what `st2kv.system` holds. `secrets` are all the values
    that must not be shown or written down, beside those of the action's own secret parameters: whatever was opened from
    the vault in this run, and what the configuration calls secret. `secret_arguments` allows them in the arguments of a
    program, which every user of the machine can see.
    """

    execution: str
    user: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    datastore: Mapping[str, Any] = field(default_factory=dict)
    secrets: Collection[Any] = ()
    secret_arguments: bool = False


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended: `status` is succeeded or errored, `result` is in StackStorm's shape for the runner type.

    `error` is one line, empty where it succeeded. Secrets are masked in both. `timed_out` tells that it took too long.
    """

    status: TaskStatus
    result: Any
    error: str = ""
    timed_out: bool = False


class Job(Protocol):
    """One leaf action. Not safe for several threads."""

    @property
    def handle(self) -> str:
        """JSON text without any secret, to be written down before `start`; `find` finds the job by it."""

    @property
    def begun(self) -> bool:
        """False where it is certain that nothing of it was ever run."""

    def start(self) -> None:
        """Begin. Returns at once."""

    def follow(self, other: Job) -> None:
        """Begin as soon as `other` has plainly succeeded, with nobody in between, where that is possible: `begun` tells
        once `other` is over. Only for one that was prepared early, and that is written down by then."""

    def withdraw(self) -> bool:
        """Whether it is certain that nothing of it was ever run, and that nothing will be, whoever else knows of it."""

    def wait(self, seconds: float) -> bool:
        """Whether it is over; waits at most so long, and returns at once when it ends."""

    @property
    def succeeded(self) -> bool:
        """Whether it is over and it is plain that it succeeded; where that takes a closer look, `outcome` tells."""

    def outcome(self) -> JobOutcome | None:
        """How it ended, once it is over; None where that cannot be told any more."""

    def tail(self, bytes: int) -> str:
        """The end of what it has said so far on stdout and stderr, secrets masked."""

    def discard(self) -> None:
        """Its outcome was written down: forget its files, except output that was too long for the result."""

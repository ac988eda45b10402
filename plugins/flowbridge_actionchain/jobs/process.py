"""The process of one job, as a keeper has it: see `keeper`. Imports `outputs` and little of the standard library."""

from __future__ import annotations

import os
import time

from flowbridge_actionchain.jobs.outputs import Mask, Result, Stream

FEED, RESULTS = 9, 8

#: SIGHUP, SIGINT, SIGPIPE and SIGTERM by the numbers that they have on every system: a job does not ignore what whoever
#: started the keeper ignored, or what Python does.
_FOR_JOBS = (1, 2, 13, 15)

#: Seconds between the polite signal and the other one, and from that to giving up on the output.
GRACE, LEFT_OPEN = 2.0, 1.0

TYPE_CHECKING = False
if TYPE_CHECKING:  # see `keeper`
    from typing import Any

_ENVIRONMENT = dict(os.environb)
_HOME = os.open(".", os.O_RDONLY | os.O_DIRECTORY)


class Job:
    """One process and its session, from what it needs to begin to the end of its output."""

    def __init__(self, asked: dict[str, Any], folder: str) -> None:
        self.id: str = asked["id"]
        self.after: str | None = asked.get("after")
        self.argv: list[str] = asked["argv"]
        self._place: str | None = asked.get("cwd")
        self._environment = _ENVIRONMENT | {os.fsencode(name): os.fsencode(one) for name, one in asked["env"].items()}
        self._seconds: float | None = asked["timeout"]
        self.feeds: dict[int, bytes] = {}
        self._theirs: dict[int, int] = {}
        ours: dict[int, int] = {}
        try:
            for fd in (1, 2, RESULTS) if asked.get("results") else (1, 2):
                ours[fd], self._theirs[fd] = os.pipe()
            for text, fd in ((asked.get("stdin"), 0), (asked.get("feed"), FEED)):
                if text is not None:
                    self._feed(text, fd)
        except BaseException:
            for fd in (*self._theirs.values(), *self.feeds, *ours.values()):
                os.close(fd)
            raise
        self._read_from(ours, asked["secrets"], f"{folder}/{self.id}")
        self.code: int | None = None
        self.timed_out, self.killed, self.noted = False, 0, False

    def begin(self) -> None:
        """Start the process. Raises `OSError` and `ValueError`: nothing has begun then, and it is to be dropped."""
        self.pid = self._started()
        self._let_go()
        self.began = time.monotonic()
        self.due = float("inf") if self._seconds is None else self.began + self._seconds

    def drop(self) -> None:
        """Close all that it has: it will not begin."""
        self._let_go()
        for fd in self.feeds:
            os.close(fd)
        for stream in self.streams:
            stream.close()

    def _let_go(self) -> None:
        """Close what is the process's."""
        for fd in self._theirs.values():
            os.close(fd)
        self._theirs.clear()

    def _read_from(self, pipes: dict[int, int], secrets: list[str], path: str) -> None:
        """Read from these pipes, by the process's descriptor at the other end."""
        self.mask = Mask(secrets)
        self.stdout = Stream(pipes[1], f"{path}.out", self.mask)
        self.stderr = Stream(pipes[2], f"{path}.err", Mask(secrets))
        self.result = Result(pipes[RESULTS], self.mask) if RESULTS in pipes else None
        self.streams = [one for one in (self.stdout, self.stderr, self.result) if one is not None]
        for stream in self.streams:
            os.set_blocking(stream.pipe, False)

    def _feed(self, text: str, fd: int) -> None:
        """A pipe to the process's descriptor, which is fed with a text."""
        self._theirs[fd], write = os.pipe()
        os.set_blocking(write, False)
        self.feeds[write] = text.encode(errors="surrogateescape")

    def _started(self) -> int:
        """The process, started in the place it is to work in; gives its number."""
        actions = [(os.POSIX_SPAWN_DUP2, theirs, fd) for fd, theirs in self._theirs.items()]
        if self._place is not None:
            os.chdir(self._place)
        try:
            return os.posix_spawnp(
                self.argv[0],
                self.argv,
                self._environment,
                file_actions=actions,
                setsid=True,
                setsigdef=_FOR_JOBS,
                setsigmask=[],
            )
        finally:
            if self._place is not None:
                os.fchdir(_HOME)

    def take(self) -> None:
        """Take what it has said already, and close what it has."""
        for stream in [stream for stream in self.streams if not stream.take()]:
            self.close(stream)

    def close(self, stream: Stream) -> None:
        """No more is read from one of its streams."""
        stream.close()
        self.streams.remove(stream)

    def ended(self) -> bool:
        """Whether its process has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def ring(self, now: float) -> None:
        """Its time is over: end it politely, then for good, then give up on output that others hold open."""
        import signal  # noqa: PLC0415  no job needs it to begin

        self.timed_out = True
        if self.killed == 0:
            self.signal(signal.SIGTERM)
            self.due = now + GRACE
        elif self.killed == 1:
            self.signal(signal.SIGKILL)
            self.due = now + LEFT_OPEN
        else:
            self.due = float("inf")
        self.killed += 1

    def signal(self, number: int, *, led: bool = True) -> None:
        """Signal its whole session: its own process group, and those that it made for itself.

        Not `led`: its first process has ended, so only groups that are seen to be left are meant.
        """
        for group in _groups(self.pid) | ({self.pid} if led else set()):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                continue
            except PermissionError:  # it became somebody else by sudo, and so can we
                sudo = ["sudo", "-n", "kill", f"-{number}", "--", f"-{group}"]
                os.waitpid(os.posix_spawnp(sudo[0], sudo, os.environ, setsigmask=[]), 0)

    def clear_away(self) -> None:
        """End what is left of its session, though its first process has ended."""
        import signal  # noqa: PLC0415  no job needs it to begin

        self.signal(signal.SIGKILL, led=False)

    def end(self) -> dict[str, Any]:
        """How it ended, as it stands in the log."""
        end: dict[str, Any] = {"code": self.code}
        for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
            end[name] = stream.kept if stream.cut else stream.size
            if stream.cut:
                end.setdefault("cut", {})[name] = stream.cut
        if self.timed_out:
            end["timed_out"] = True
        try:
            if self.result is not None and (value := self.result.value) is not None:
                end["result"] = value
        except ValueError as error:
            end["error"] = self.mask.once(str(error))
        return end


def _groups(session: int) -> set[int]:
    """The process groups of a session, where the system tells."""
    try:
        processes = [_stat(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return set()
    return {int(fields[2]) for fields in processes if fields and int(fields[3]) == session}


def _stat(pid: int) -> list[bytes]:
    """What the system tells of a process, from its state on; nothing where it is gone or the system does not tell."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return os.read(file, 4096).rpartition(b")")[2].split()
    except OSError:
        return []
    finally:
        os.close(file)


def born(pid: int) -> str:
    """When a process began, in the system's own measure; empty where it is gone or the system does not tell."""
    fields = _stat(pid)
    return "" if not fields or fields[0] in b"ZX" else fields[19].decode()

"""The keeper: a small process that runs jobs, so that they and their outcomes outlive whoever asked for them.

`python -I -S keep.py SOCKET LOG`. It imports `asking`, `outputs` and little of the standard library: starting it costs
little, and so does every process that it starts. What else it needs is imported while a job runs that takes longer.
Jobs come over the socket, and their ends are told over it (see `asking`). What a job says goes to files beside the log,
secrets masked. That it began and how it ended stand in the log, one JSON document a line, before anybody is told. When
the socket is closed no new jobs are taken, and the keeper leaves once the last one has ended.

::

    asked   {"id", "argv", "cwd", "env", "timeout", "secrets", "feed", "stdin", "results"}
    told    {"id", "end": {"code", "timed_out", "error", "stdout", "stderr", "cut", "result"}}

`feed` is text that the process reads on file descriptor 9, `results` whether its result is read from descriptor 8:
neither stands in the process list. `stdout` and `stderr` count bytes; `cut` says of either why the rest of it could not
be kept. Where the disk is full a job goes on without its output, and its end is written down once there is room.
"""

from __future__ import annotations

import fcntl
import os
import select
import time

from flowbridge_actionchain.jobs.asking import packed, unpacked
from flowbridge_actionchain.jobs.outputs import CHUNK, Log, Mask, Result, Stream

FEED, RESULTS = 9, 8

#: The word for a keeper whose starter ignores that children end: so would it, and it could not tell how they did.
DEAF = "deaf"

#: SIGHUP, SIGINT, SIGPIPE and SIGTERM by the numbers that they have on every system: a job does not ignore what whoever
#: started the keeper ignored, or what Python does.
_FOR_JOBS = (1, 2, 13, 15)

#: Seconds between the polite signal and the other one, and from that to giving up on the output.
GRACE, LEFT_OPEN = 2.0, 1.0

#: Seconds that a job runs before all is made ready that only longer ones need: signals are heard, ends are waited for.
READY_AFTER = 0.002

#: Seconds after which it is written down which process a job is; most are over before.
NOTED_AFTER = 0.05

#: Seconds after which it is tried again to write what could not be written.
AGAIN_AFTER = 0.5

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself is imported by checkers only: it costs as much as all the rest
    from collections.abc import Callable
    from typing import Any

_ENVIRONMENT = dict(os.environb)
_HOME = os.open(".", os.O_RDONLY | os.O_DIRECTORY)


class Job:
    """One process and its session, from its start to the end of its output."""

    def __init__(self, asked: dict[str, Any], folder: str) -> None:
        self.id: str = asked["id"]
        self.feeds: dict[int, bytes] = {}
        self._theirs: dict[int, int] = {}
        ours: dict[int, int] = {}
        try:
            for fd in (1, 2, RESULTS) if asked.get("results") else (1, 2):
                ours[fd], self._theirs[fd] = os.pipe()
            for text, fd in ((asked.get("stdin"), 0), (asked.get("feed"), FEED)):
                if text is not None:
                    self._feed(text, fd)
            self.pid = self._started(asked)
        except BaseException:
            for fd in (*self.feeds, *ours.values()):
                os.close(fd)
            raise
        finally:
            for fd in self._theirs.values():
                os.close(fd)
        # What it does not need to begin is made while it runs.
        self.began = time.monotonic()
        self.due = float("inf") if asked["timeout"] is None else self.began + asked["timeout"]
        self.code: int | None = None
        self.timed_out, self.killed, self.noted = False, 0, False
        self._read_from(ours, asked["secrets"], f"{folder}/{self.id}")

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

    def _started(self, asked: dict[str, Any]) -> int:
        """The process, started in the place it is to work in; gives its number."""
        actions = [(os.POSIX_SPAWN_DUP2, theirs, fd) for fd, theirs in self._theirs.items()]
        environment = _ENVIRONMENT | {os.fsencode(name): os.fsencode(one) for name, one in asked["env"].items()}
        argv = asked["argv"]
        if asked.get("cwd") is not None:
            os.chdir(asked["cwd"])
        try:
            return os.posix_spawnp(
                argv[0], argv, environment, file_actions=actions, setsid=True, setsigdef=_FOR_JOBS, setsigmask=[]
            )
        finally:
            if asked.get("cwd") is not None:
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


def _reserve(fd: int) -> None:
    """Hold a number that processes are promised, with nothing behind it."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != fd:
        os.dup2(null, fd, inheritable=False)
        os.close(null)


class Keeper:
    """The loop: what is ready is done, what is due is done, what is over is told."""

    def __init__(self, control: int, log: str) -> None:
        self._control = control
        self._asked = b""
        self._log = Log(log)
        self._folder = os.path.dirname(log)
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._watch(control, select.POLLIN, self._listen)
        self._jobs: dict[str, Job] = {}
        self._open = True
        self._hears = False
        self._minds_children = True

    def _watch(self, fd: int, what: int, call: Callable[[], None]) -> None:
        self._ready[fd] = call
        self._poll.register(fd, what)

    def _forget(self, fd: int) -> None:
        del self._ready[fd]
        self._poll.unregister(fd)

    def make_ready(self) -> None:
        """A child that ends wakes the loop, where that is waited for. Being told to end ends the jobs; a terminal's
        signals are for others.

        Handlers, for what is ignored would be ignored by the jobs too.
        """
        import json  # noqa: F401, PLC0415  it will be wanted, and somebody waits then
        import signal  # noqa: PLC0415  no job needs it to begin

        self._hears = True
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end_jobs())
        self._watch(self._woken, select.POLLIN, self._wake_up)

    def _wake_up(self) -> None:
        os.read(self._woken, 4096)

    def _mind_children(self) -> None:
        """Have the end of a child wake the loop only where its output has ended before: it is looked for then anyway,
        and most children have ended with it."""
        wanted = not all(job.streams for job in self._jobs.values())
        if self._hears and wanted is not self._minds_children:
            import signal  # noqa: PLC0415  no job needs it to begin

            signal.pthread_sigmask(signal.SIG_UNBLOCK if wanted else signal.SIG_BLOCK, {signal.SIGCHLD})
            self._minds_children = wanted

    def _end_jobs(self) -> None:
        import signal  # noqa: PLC0415  no job needs it to begin

        for job in self._jobs.values():
            job.signal(signal.SIGTERM)

    def run(self) -> None:
        """Until the socket is closed, the last job is over, and its end stands in the log."""
        while self._look_after_all():
            self._mind_children()
            for fd, _ in self._poll.poll(self._idle()):
                # What one of them did may have ended another.
                if fd in self._ready:
                    self._ready[fd]()

    def _look_after_all(self) -> bool:
        """Do what is due. False where there is nothing left to wait for."""
        if self._log.problem:
            self._log.write()
        now = time.monotonic()
        if not self._hears and any(now >= job.began + READY_AFTER for job in self._jobs.values()):
            self.make_ready()
        for job in list(self._jobs.values()):
            self._look_after(job, now)
        return bool(self._open or self._jobs or self._log.is_owed)

    def _idle(self) -> float | None:
        """Milliseconds until something is due."""
        now = time.monotonic()
        if not self._hears and self._jobs:
            # Nothing wakes it when a process ends, which the most do right behind their output.
            return READY_AFTER * 1000 if all(job.streams for job in self._jobs.values()) else 0.0
        dues = [job.due if job.noted else job.began + NOTED_AFTER for job in self._jobs.values()]
        if self._log.problem:
            dues.append(now + AGAIN_AFTER)
        due = min(dues, default=float("inf"))
        return None if due == float("inf") else max(0.0, due - now) * 1000 + 1

    def _look_after(self, job: Job, now: float) -> None:
        if job.due <= now:
            job.ring(now)
            if job.killed > 2:
                for stream in list(job.streams):
                    self._close(job, stream)
        if not job.streams and job.ended():
            for fd in list(job.feeds):
                self._unfeed(job, fd)
            del self._jobs[job.id]
            if job.timed_out:
                job.clear_away()
            self._tell(job.id, job.end())
        elif not job.noted and now >= job.began + NOTED_AFTER:
            job.noted = True
            self._log.write(_line({"id": job.id, "pid": job.pid, "born": born(job.pid)}))

    def _listen(self) -> None:
        try:
            data = os.read(self._control, CHUNK)
        except OSError:
            data = b""
        if not data:
            self._give_up()
            return
        asked, self._asked = unpacked(self._asked + data)
        for one in asked:
            self._begin(one)

    def _begin(self, asked: dict[str, Any]) -> None:
        id = asked["id"]
        if not self._log.write(b'{"id":"%s","begun":true}\n' % id.encode()):
            # A job that nobody could find again must not run: whoever comes later would have it run once more.
            self._tell(id, {"code": None, "error": f"its beginning cannot be written down: {self._log.problem}"})
            return
        try:
            job = self._jobs[id] = Job(asked, self._folder)
        except (OSError, ValueError) as error:
            self._tell(id, {"code": None, "error": Mask(asked["secrets"]).once(_words(error))})
            return
        # Many are over when their start comes back: no need to be woken for that.
        job.take()
        for stream in job.streams:
            self._watch(stream.pipe, select.POLLIN, self._taking(job, stream))
        for fd in job.feeds:
            self._watch(fd, select.POLLOUT, self._feeding(job, fd))

    def _taking(self, job: Job, stream: Stream) -> Callable[[], None]:
        def take() -> None:
            if not stream.take():
                self._close(job, stream)
                # A process that ends closes them all: no need to be woken for each.
                for other in [other for other in job.streams if not other.take()]:
                    self._close(job, other)

        return take

    def _close(self, job: Job, stream: Stream) -> None:
        self._forget(stream.pipe)
        job.close(stream)

    def _feeding(self, job: Job, fd: int) -> Callable[[], None]:
        def feed() -> None:
            try:
                job.feeds[fd] = job.feeds[fd][os.write(fd, job.feeds[fd][:CHUNK]) :]
            except BlockingIOError:
                return
            except BrokenPipeError:
                job.feeds[fd] = b""  # it wants to know no more
            if not job.feeds[fd]:
                self._unfeed(job, fd)

        return feed

    def _unfeed(self, job: Job, fd: int) -> None:
        self._forget(fd)
        os.close(fd)
        del job.feeds[fd]

    def _tell(self, id: str, end: dict[str, Any]) -> None:
        """Write down how a job ended, then tell it: whoever hears of it may ask for another at once, and whoever comes
        later must know that it came after this one."""
        self._log.write(_end_line(id, end))
        told = packed({"id": id, "end": end})
        try:
            while self._open and told:
                told = told[os.write(self._control, told) :]
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Nobody is there any more."""
        self._open = False
        self._forget(self._control)


def _end_line(id: str, end: dict[str, Any]) -> bytes:
    """What most ends are is written without the means for all of them, which are imported later."""
    if any(type(one) is not int for one in end.values()):
        return _line({"id": id, "end": end})
    said = ",".join([f'"{name}":{one}' for name, one in end.items()])
    return f'{{"id":"{id}","end":{{{said}}}}}\n'.encode()


def _line(doc: dict[str, Any]) -> bytes:
    import json  # noqa: PLC0415  no job needs it to begin

    return json.dumps(doc, separators=(",", ":")).encode() + b"\n"


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def main(arguments: list[str]) -> None:
    """Keep jobs until nobody asks for any more."""
    given, log = int(arguments[0]), arguments[1]
    control = fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, FEED + 1)
    os.close(given)
    for fd in (FEED, RESULTS):
        _reserve(fd)
    keeper = Keeper(control, log)
    if DEAF in arguments[2:]:
        keeper.make_ready()
    keeper.run()
    os._exit(0)  # nothing is left to be done: whoever waits for it goes on

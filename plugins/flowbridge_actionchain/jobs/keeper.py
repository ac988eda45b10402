"""The keeper: a small process that runs jobs, so that they and their outcomes outlive whoever asked for them.

`python -I -S keep.py SOCKET LOG`. It imports `asking`, `outputs`, `process` and little of the standard library: it
costs little to start, and so does every process that it starts. What else it needs is imported while a job runs that
takes longer. Jobs come over the socket, and their ends are told over it (see `asking`). What a job says goes to files
beside the log, secrets masked. That it began and how it ended stand in the log, one JSON document a line, before
anybody is told. When the socket is closed no new jobs are taken or begun, and the keeper leaves once the last one has
ended.

::

    asked   {"id", "argv", "cwd", "env", "timeout", "secrets", "feed", "stdin", "results", "after"}
    told    {"id", "end": {"code", "timed_out", "error", "stdout", "stderr", "cut", "result"}}

`feed` is text that the process reads on file descriptor 9, `results` whether its result is read from descriptor 8:
neither stands in the process list. `after` is a job on whose success this one begins at once, with nobody in between,
if its permit is still there. `stdout` and `stderr` count bytes; `cut` says of either why the rest of it could not be
kept. Where the disk is full a job goes on without its output, and its end is written down once there is room.
"""

from __future__ import annotations

import fcntl
import os
import select
import time

from flowbridge_actionchain.jobs.asking import packed, unpacked
from flowbridge_actionchain.jobs.outputs import CHUNK, Log, Mask, Stream
from flowbridge_actionchain.jobs.process import FEED, RESULTS, Job, born

#: The word for a keeper whose starter ignores that children end: so would it, and it could not tell how they did.
DEAF = "deaf"

#: The ending of the file that a job which begins after another one must find, and removes (see `link.permit_of`).
PERMIT = "permit"

#: Seconds that a job runs before all is made ready that only longer ones need: signals are heard, ends are waited for.
READY_AFTER = 0.002

#: Seconds after which it is written down which process a job is; most are over before.
NOTED_AFTER = 0.05

#: Seconds after which it is tried again to write what could not be written.
AGAIN_AFTER = 0.5

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself is imported by checkers only: it costs as much as all the rest
    from collections.abc import Callable, Mapping
    from typing import Any

_PLAIN = ("code", "stdout", "stderr")


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
        self._next: dict[str, Job] = {}
        self._last = ""
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
            self._take(one)

    def _take(self, asked: dict[str, Any]) -> None:
        after = asked.get("after")
        if after is not None and after != self._last and after not in self._jobs:
            return  # that one did not end well
        try:
            job = Job(asked, self._folder)
        except (OSError, ValueError) as error:
            self._tell(asked["id"], {"code": None, "error": Mask(asked["secrets"]).once(_words(error))})
            return
        if after in self._jobs:
            self._drop_next(after)  # it was withdrawn, or there would be no other
            self._next[after] = job
        else:
            self._begin(job)

    def _begin(self, job: Job, before: bytes = b"") -> None:
        """Begin a job, and write that down, after what is to be written `before`."""
        if not self._log.write(before + b'{"id":"%s","begun":true}\n' % job.id.encode()):
            # A job that nobody could find again must not run: whoever comes later would have it run once more.
            job.drop()
            self._tell(job.id, {"code": None, "error": f"its beginning cannot be written down: {self._log.problem}"})
            return
        try:
            if job.after is not None:  # written down first: whoever finds no permit finds that it has begun
                os.unlink(f"{self._folder}/{job.id}.{PERMIT}")
            job.begin()
        except (OSError, ValueError) as error:
            job.drop()
            self._tell(job.id, {"code": None, "error": job.mask.once(_words(error))})
            return
        self._jobs[job.id] = job
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
        later must know that it came after this one. What was to follow it has begun by then."""
        line = _end_line(id, end)
        self._last = id if is_plain(end) else ""
        follower = self._next.pop(id, None)
        if follower is not None and self._last:
            self._begin(follower, line)
        else:
            self._log.write(line)
            if follower is not None:
                follower.drop()
        told = packed({"id": id, "end": end})
        try:
            while self._open and told:
                told = told[os.write(self._control, told) :]
        except OSError:
            self._give_up()

    def _drop_next(self, id: str) -> None:
        """Forget what was to begin behind a job."""
        if id in self._next:
            self._next.pop(id).drop()

    def _give_up(self) -> None:
        """Nobody is there any more."""
        self._open = False
        for id in list(self._next):
            self._drop_next(id)
        self._forget(self._control)


def is_plain(end: Mapping[str, Any]) -> bool:
    """Whether it shows without a closer look that a command ended well."""
    return end["code"] == 0 and len(end) == len(_PLAIN) and all(name in end for name in _PLAIN)


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

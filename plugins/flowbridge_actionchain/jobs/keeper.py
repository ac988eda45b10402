"""The keeper: a small process that runs jobs, so that they and their outcomes outlive whoever asked for them.

`python -I -S keeper.py SOCKET LOG`. It knows nothing of flowbridge and imports the standard library only: starting it
costs little, and so does every process that it starts. Jobs come over the socket, one JSON document a line. What a job
says goes to files beside the log, secrets masked; that it began and how it ended stand in the log, and its end is
told over the socket. When the socket is closed it takes no new jobs, and leaves once the last one has ended.

::

    asked   {"id", "argv", "cwd", "env", "timeout", "secrets", "feed", "stdin", "results"}   run this
            {"discard": ID}                                                                  its end was written down
    told    {"id", "end": {"code", "timed_out", "error", "stdout", "stderr", "result"}}

`feed` is text that the process reads on file descriptor 9, `results` whether its result is read from descriptor 8:
neither stands in the process list. `stdout` and `stderr` count bytes.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FEED, RESULTS = 9, 8

#: Bytes of a stream that are kept in its file; of what comes after them only the last are.
FILE_LIMIT = 256 * 1024 * 1024
LAST = 512 * 1024

#: Bytes that a result may have.
RESULT_LIMIT = 4 * 1024 * 1024

#: Seconds between the polite signal and the other one, and from that to giving up on the output.
GRACE, LEFT_OPEN = 2.0, 1.0

_CHUNK = 65536
_STARS = b"********"


class Mask:
    """Replaces secrets in a stream of bytes, also where one comes in two parts."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = sorted((one.encode(errors="surrogateescape") for one in secrets if one), key=len, reverse=True)
        self._held = b""

    def __call__(self, data: bytes, *, last: bool = False) -> bytes:
        """What may be shown now; the beginning of what may become a secret is held back until `last`."""
        if not self._secrets:
            return data
        data = self._held + data
        for secret in self._secrets:
            data = data.replace(secret, _STARS)
        cut = len(data) if last else len(data) - self._beginning(data)
        self._held = data[cut:]
        return data[:cut]

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        longest = min(len(self._secrets[0]) - 1, len(data))
        for length in range(longest, 0, -1):
            end = data[-length:]
            if any(secret.startswith(end) for secret in self._secrets):
                return length
        return 0

    def value(self, value: Any) -> Any:
        """JSON data with the secrets in it masked."""
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, str):
            return self.once(value)
        if value is None or isinstance(value, bool):
            return value
        return shown if (shown := self.once(str(value))) == _STARS.decode() else value

    def once(self, text: str) -> str:
        """A whole text with the secrets in it masked."""
        data = text.encode(errors="surrogateescape")
        for secret in self._secrets:
            data = data.replace(secret, _STARS)
        return data.decode(errors="surrogateescape")


class Stream:
    """One output of a job, on its way from a pipe to a file. The file is made when there is something to keep."""

    def __init__(self, pipe: int, path: str, mask: Mask) -> None:
        self.pipe, self.path = pipe, path
        self.size = 0
        self._mask = mask
        self._file = -1
        self._last = b""

    def take(self) -> bool:
        """Take what is there. False at the end of it."""
        data = os.read(self.pipe, _CHUNK)
        self._keep(self._mask(data, last=not data))
        return bool(data)

    def _keep(self, data: bytes) -> None:
        room = FILE_LIMIT - self.size
        self.size += len(data)
        if room > 0 and data:
            self._write(data[:room])
        if len(data) > max(room, 0):
            self._last = (self._last + data[max(room, 0) :])[-LAST:]

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """No more is read. Twice does no harm."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
            self._keep(self._mask(b"", last=True))
        if self._last:
            self._write(self._last)
            self._last = b""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Result(Stream):
    """The result of a job, kept in memory up to a limit."""

    def __init__(self, pipe: int, mask: Mask) -> None:
        super().__init__(pipe, "", mask)
        self._data = bytearray()

    def take(self) -> bool:
        data = os.read(self.pipe, _CHUNK)
        self.size += len(data)
        if self.size <= RESULT_LIMIT:
            self._data += data
        return bool(data)

    def close(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    @property
    def value(self) -> Any:
        """What came, as JSON data; None where nothing came. Raises `ValueError` where it is none, or too much."""
        if self.size > RESULT_LIMIT:
            raise ValueError(f"its result has {self.size} bytes; at most {RESULT_LIMIT} are kept")
        return self._mask.value(json.loads(self._data)) if self._data else None


class Job:
    """One process and its session, from its start to the end of its output."""

    def __init__(self, asked: dict[str, Any], folder: str) -> None:
        self.id: str = asked["id"]
        self.mask = Mask(asked.get("secrets") or [])
        self.timed_out = False
        self.killed = 0
        self.feeds: dict[int, bytes] = {}
        self.process = self._started(asked)
        out, err = self.process.stdout, self.process.stderr
        assert out is not None  # noqa: S101  (both are pipes)
        assert err is not None  # noqa: S101
        self.stdout = Stream(os.dup(out.fileno()), f"{folder}/{self.id}.out", self.mask)
        self.stderr = Stream(os.dup(err.fileno()), f"{folder}/{self.id}.err", Mask(asked.get("secrets") or []))
        out.close()
        err.close()
        self.due = time.monotonic() + asked["timeout"] if asked.get("timeout") is not None else float("inf")

    def _started(self, asked: dict[str, Any]) -> subprocess.Popen[bytes]:
        passed, mine = [], []
        try:
            stdin: int = subprocess.DEVNULL
            if asked.get("feed") is not None:
                mine.append(self._feed(asked["feed"], FEED))
                passed.append(FEED)
            if asked.get("stdin") is not None:
                stdin = self._feed(asked["stdin"], None)
                mine.append(stdin)
            self.result = None
            if asked.get("results"):
                read, write = os.pipe()
                os.dup2(write, RESULTS)
                mine.append(write)
                passed.append(RESULTS)
                self.result = Result(read, self.mask)
            return subprocess.Popen(
                asked["argv"],
                cwd=asked.get("cwd"),
                env={**os.environ, **(asked.get("env") or {})},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=passed,
            )
        except BaseException:
            for fd in (*self.feeds, *([self.result.pipe] if self.result else [])):
                os.close(fd)
            raise
        finally:
            for fd in mine:
                os.close(fd)
            for fd in passed:
                _reserve(fd)

    def _feed(self, text: str, at: int | None) -> int:
        """A pipe that is fed with a text; gives its reading end."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        self.feeds[write] = text.encode(errors="surrogateescape")
        if at is not None:
            os.dup2(read, at)
        return read

    @property
    def streams(self) -> list[Stream]:
        """Its outputs that are still open."""
        return [one for one in (self.stdout, self.stderr, self.result) if one is not None and one.pipe >= 0]

    @property
    def over(self) -> bool:
        """Whether its process has ended and its output is closed, or nothing more is waited for."""
        return self.process.poll() is not None and not self.streams

    def ring(self, now: float) -> None:
        """Its time is over: end it politely, then for good, then give up on output that others hold open."""
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

    def signal(self, number: int) -> None:
        """Signal its whole session: its own process group, and those that it made for itself."""
        for group in {self.process.pid, *_groups(self.process.pid)}:
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                continue
            except PermissionError:  # it became somebody else by sudo, and so can we
                sudo = ["sudo", "-n", "kill", f"-{number}", "--", f"-{group}"]
                subprocess.run(sudo, check=False, capture_output=True, stdin=subprocess.DEVNULL)

    def end(self) -> dict[str, Any]:
        """How it ended, as it stands in the log."""
        end: dict[str, Any] = {"code": self.process.returncode, "stdout": self.stdout.size, "stderr": self.stderr.size}
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
    found: set[int] = set()
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return found
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.add(int(fields[2]))
    return found


def born(pid: int) -> str:
    """When a process began, in the system's own measure; empty where it is gone or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _reserve(fd: int) -> None:
    """Hold a number that processes are promised, with nothing behind it."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != fd:
        os.dup2(null, fd, inheritable=False)
        os.close(null)


class Keeper:
    """The loop: what is ready is done, what is due is done, what is over is told."""

    def __init__(self, control: socket.socket, log: str) -> None:
        self._control = control
        self._asked = b""
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._path, self._folder = log, os.path.dirname(log)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._listen)
        self._jobs: dict[str, Job] = {}
        self._left: set[str] = set()
        self._open = True
        self._hear_signals()

    def _hear_signals(self) -> None:
        """A child that ends wakes the loop. Being told to end ends the jobs; a terminal's signals are for others.

        Handlers, for what is ignored would be ignored by the jobs too.
        """
        self._woken, self._wake = socket.socketpair()
        os.set_blocking(self._wake.fileno(), False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end_jobs())
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: self._woken.recv(4096))

    def _end_jobs(self) -> None:
        for job in self._jobs.values():
            job.signal(signal.SIGTERM)

    def run(self) -> None:
        """Until the socket is closed and the last job is over."""
        while self._open or self._jobs:
            for key, _ in self._selector.select(self._idle()):
                key.data()
            now = time.monotonic()
            for job in list(self._jobs.values()):
                self._look_after(job, now)
        if not self._left:
            os.unlink(self._path)

    def _idle(self) -> float | None:
        due = min((job.due for job in self._jobs.values()), default=float("inf"))
        return None if due == float("inf") else max(0.0, due - time.monotonic())

    def _look_after(self, job: Job, now: float) -> None:
        if job.due <= now:
            job.ring(now)
            if job.killed > 2:
                for stream in job.streams:
                    self._close(stream)
        if job.over:
            self._tell(job.id, job.end())
            for fd in list(job.feeds):
                self._unfeed(job, fd)
            del self._jobs[job.id]

    def _listen(self) -> None:
        try:
            data = self._control.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(self._control)
            self._open = False
            return
        *lines, self._asked = (self._asked + data).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            if "discard" in asked:
                self._left.discard(asked["discard"])
            else:
                self._begin(asked)

    def _begin(self, asked: dict[str, Any]) -> None:
        id = asked["id"]
        self._left.add(id)
        self._write({"id": id, "begun": True})
        try:
            job = self._jobs[id] = Job(asked, self._folder)
        except (OSError, ValueError) as error:
            self._tell(id, {"code": None, "error": Mask(asked.get("secrets") or []).once(_words(error))})
            return
        self._write({"id": id, "pid": job.process.pid, "born": born(job.process.pid)})
        for stream in job.streams:
            self._selector.register(stream.pipe, selectors.EVENT_READ, self._taking(stream))
        for fd in job.feeds:
            self._selector.register(fd, selectors.EVENT_WRITE, self._feeding(job, fd))

    def _taking(self, stream: Stream) -> Callable[[], None]:
        def take() -> None:
            if not stream.take():
                self._close(stream)

        return take

    def _close(self, stream: Stream) -> None:
        self._selector.unregister(stream.pipe)
        stream.close()

    def _feeding(self, job: Job, fd: int) -> Callable[[], None]:
        def feed() -> None:
            try:
                job.feeds[fd] = job.feeds[fd][os.write(fd, job.feeds[fd][:_CHUNK]) :]
            except BlockingIOError:
                return
            except BrokenPipeError:
                job.feeds[fd] = b""  # it wants to know no more
            if not job.feeds[fd]:
                self._unfeed(job, fd)

        return feed

    def _unfeed(self, job: Job, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)
        del job.feeds[fd]

    def _tell(self, id: str, end: dict[str, Any]) -> None:
        line = self._write({"id": id, "end": end})
        if self._open:
            try:
                self._control.sendall(line)
            except OSError:
                self._open = False

    def _write(self, doc: dict[str, Any]) -> bytes:
        line = json.dumps(doc, separators=(",", ":")).encode() + b"\n"
        os.write(self._log, line)
        return line


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
    Keeper(socket.socket(fileno=control), log).run()


if __name__ == "__main__":
    main(sys.argv[1:])

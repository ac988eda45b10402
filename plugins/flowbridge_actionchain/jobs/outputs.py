"""What a keeper writes: the outputs of jobs with secrets masked, and its log. Imports the standard library only."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # see `keeper`
    from typing import Any

#: Bytes of a stream that are kept in its file; of what comes after them only the last are.
FILE_LIMIT = 256 * 1024 * 1024
LAST = 512 * 1024

#: Bytes that a result may have.
RESULT_LIMIT = 4 * 1024 * 1024

#: Bytes that are read or written at once.
CHUNK = 65536

_STARS = b"********"


class Mask:
    """Replaces secrets in a stream of bytes, also where one comes in two parts."""

    def __init__(self, secrets: list[str]) -> None:
        self._held = b""
        self._secrets = sorted((one.encode(errors="surrogateescape") for one in secrets if one), key=len, reverse=True)
        if self._secrets:
            import re  # noqa: PLC0415  a keeper starts sooner without it

            self._pattern = re.compile(b"|".join(map(re.escape, self._secrets)))

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def __call__(self, data: bytes, *, last: bool = False) -> bytes:
        """What may be shown now; what may become a secret, or part of a longer one, is held back until `last`."""
        if not self._secrets:
            return data
        data = self._held + data
        cut = len(data)
        if not last:
            cut -= self._beginning(data)
            for match in self._pattern.finditer(data):
                if match.start() < cut < match.end():
                    cut = match.start()
        self._held = data[cut:]
        return self._pattern.sub(_STARS, data[:cut])

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        longest = min(len(self._secrets[0]) - 1, len(data))
        for length in range(longest, 0, -1):
            end = data[-length:]
            if any(len(secret) > length and secret.startswith(end) for secret in self._secrets):
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
        if not self._secrets:
            return text
        data = text.encode(errors="surrogateescape")
        return self._pattern.sub(_STARS, data).decode(errors="surrogateescape")


def _read(pipe: int) -> bytes | None:
    """What there is in a pipe: nothing at its end, None where nothing has come yet."""
    try:
        return os.read(pipe, CHUNK)
    except BlockingIOError:
        return None


class Stream:
    """One output of a job, on its way from a pipe to a file. The file is made when there is something to keep.

    `size` counts what came. Where the file cannot be written `cut` says why, and `kept` counts what stands in it: all
    is read to the end all the same, so that the job never waits for anybody.
    """

    def __init__(self, pipe: int, path: str, mask: Mask) -> None:
        self.pipe, self.path = pipe, path
        self.size = self.kept = 0
        self.cut = ""
        self._mask = mask
        self._file = -1
        self._last = b""

    def take(self) -> bool:
        """Take what is there. False at the end of it."""
        data = _read(self.pipe)
        if data:
            self._keep(self._mask(data))
        return data != b""

    def _keep(self, data: bytes) -> None:
        room = FILE_LIMIT - self.size
        self.size += len(data)
        if room > 0 and data:
            self._write(data[:room])
        if len(data) > max(room, 0):
            self._last = (self._last + data[max(room, 0) :])[-LAST:]

    def _write(self, data: bytes) -> None:
        try:
            if self._file < 0:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            while data and not self.cut:
                count = os.write(self._file, data)
                self.kept += count
                data = data[count:]
        except OSError as error:
            self.cut = str(error.strerror)

    def close(self) -> None:
        """No more is read. Twice does no harm."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
            if self._mask.holds:
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
        data = _read(self.pipe)
        if data:
            self.size += len(data)
            if self.size <= RESULT_LIMIT:
                self._data += data
        return data != b""

    def close(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    @property
    def value(self) -> Any:
        """What came, as JSON data; None where nothing came. Raises `ValueError` where it is none, or too much."""
        if self.size > RESULT_LIMIT:
            raise ValueError(f"its result has {self.size} bytes; at most {RESULT_LIMIT} are kept")
        import json  # noqa: PLC0415  a keeper starts sooner without it

        return self._mask.value(json.loads(self._data)) if self._data else None


class Log:
    """What must be known of jobs by whoever comes later. What cannot be written now is written as soon as it can."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._left = b""
        self.problem = ""

    def write(self, line: bytes = b"") -> bool:
        """Write a line after those that are left. False where it, or part of it, is left too; `problem` says why."""
        self._left += line
        self.problem = ""
        try:
            while self._left:
                self._left = self._left[os.write(self._file, self._left) :]
        except OSError as error:
            self.problem = str(error.strerror)
        return not self._left

    @property
    def is_owed(self) -> bool:
        """Whether somebody may want to know what is left: nobody does once the log has been removed."""
        return bool(self._left) and os.fstat(self._file).st_nlink > 0

"""Tapes of the conformance kit: what one of its tests asked a real Mistral, and what that answered, as JSON lines.

A tape is a row of runs, looks and changes by turns. Calls of one run may come in any order, because several are made
side by side; a run begins when the one before it is over. Each answer is given once, or as often as its line says.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from cassettes import tape

FOLDER = tape.FOLDER.with_name("mistral-kit")

#: An address at which nothing listens, in a take as in a replay.
DOWN = "http://down.example.org/v2"

#: What a client reads of the headers of an answer: the engine's clock is one of them.
_KEPT = ("Content-Type", "Date", "Retry-After")


@dataclass
class Line:
    """One request, and its answer, which was the same `times` times."""

    ask: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Any = None
    body: Any = None
    times: int = 1

    @property
    def is_look(self) -> bool:
        """Whether it changes nothing."""
        return self.ask.startswith("GET ")

    @property
    def key(self) -> str:
        """What tells one request from another."""
        return self.ask if self.body is None else f"{self.ask} {json.dumps(self.body, sort_keys=True)}"

    def text(self) -> str:
        """As it stands in a tape."""
        usual = (("body", None), ("times", 1))
        told = {name: value for name, value in vars(self).items() if (name, value) not in usual}
        return json.dumps(told, separators=(",", ":"))


def read(path: Path) -> list[Line]:
    """The lines of a tape. A test that asks nothing has none."""
    if not path.exists():
        return []
    return [Line(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]


def requests_of(lines: Iterable[Line]) -> list[list[str]]:
    """What a tape asks, run by run, without ids, times and an order within a run: comparable with another take."""
    runs = groupby(lines, lambda line: line.is_look)
    return [sorted(tape.blank(line.key) for line in run for _ in range(line.times)) for _, run in runs]


class Wire(BaseAdapter):
    """Where the requests of a test go instead of to the network."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within, no session of the backend knows another way."""
        with mock.patch("flowbridge_mistral.transport.session", self._session):
            yield

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Answer, as an adapter does."""
        url = str(request.url)
        if url.startswith(DOWN):
            raise requests.ConnectionError(f"nothing listens at {DOWN}")
        assert url.startswith(f"{tape.URL}/"), f"a test of the kit asked {url}, which is not the server of the tape"
        line = self.line(request, *_asked(request))
        answer = line.answer if isinstance(line.answer, str) else json.dumps(line.answer)
        raw = urllib3.HTTPResponse(io.BytesIO(answer.encode()), line.headers, status=line.status, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def line(self, request: requests.PreparedRequest, ask: str, body: Any) -> Line:
        """The answer to a request."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.mount("http://", self)
        return session


class Recorder(Wire):
    """Passes requests on to a server. A look waits until `rest` returns: until the server is at rest."""

    def __init__(self, url: str, rest: Callable[[], None], disturb: Callable[[], None]) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self._url = url
        self._rest, self._disturb = rest, disturb
        self._lock = threading.Lock()

    def line(self, request: requests.PreparedRequest, ask: str, body: Any) -> Line:
        """What the server answers. An answer that was given before in the same run is given again, time and all."""
        if request.method == "GET":
            with self._lock:
                self._rest()
        line = self._answered(request, ask, body)
        with self._lock:
            if not line.is_look:
                self._disturb()
            before = self._before(line)
            if before and (before.status, before.answer) == (line.status, line.answer):
                before.times += 1
                return before
            self.lines.append(line)
        return line

    def _before(self, line: Line) -> Line | None:
        """The last look of the same run at the same. What changes something is never taken for another change."""
        run = takewhile(lambda before: before.is_look and line.is_look, reversed(self.lines))
        return next((before for before in run if before.key == line.key), None)

    def _answered(self, request: requests.PreparedRequest, ask: str, body: Any) -> Line:
        url = str(request.url).replace(tape.URL, self._url, 1)
        headers = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
        got = requests.request(str(request.method), url, data=request.body, headers=headers, timeout=60)
        text = got.text.replace(self._url.removesuffix("/v2"), tape.URL.removesuffix("/v2"))
        kept = {name: got.headers[name] for name in _KEPT if name in got.headers}
        return Line(ask, got.status_code, kept, _json(text), body)

    def save(self, path: Path) -> None:
        """Write the tape down."""
        path.unlink(missing_ok=True)
        if self.lines:
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{line.text()}\n" for line in self.lines), encoding="utf-8")


class Player(Wire):
    """Answers from a tape, and nothing that is not in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._runs = [list(run) for _, run in groupby(read(path), lambda line: line.is_look)]
        self._lock = threading.Lock()

    def line(self, request: requests.PreparedRequest, ask: str, body: Any) -> Line:
        """The next answer to a request. Fails, naming the request, where there is none."""
        wanted = Line(ask, body=body)
        with self._lock:
            run = self._runs[0] if self._runs else []
            found = next((line for line in run if line.key == wanted.key), None)
            assert found is not None, f"this was not recorded here:\n  {wanted.key}\n{self._left()}"
            found.times -= 1
            if not found.times:
                run.remove(found)
            if not run:
                self._runs.pop(0)
        return found

    def assert_over(self) -> None:
        """Fails where something that was recorded was not asked for."""
        assert not self._runs, f"the test asked for less than was recorded.\n{self._left()}"

    def _left(self) -> str:
        run = self._runs[0] if self._runs else []
        rows = [f"  {line.key}{f' ({line.times} times)' if line.times > 1 else ''}" for line in run]
        name = self._path.stem.partition(".")[0]
        return "\n".join(
            (
                f"{self._path.name} {'goes on with:' if rows else 'ends here.'}",
                *rows,
                f"If that is meant to change: pytest tests/cassettes/record_kit.py -k {name}",
            )
        )


def _asked(request: requests.PreparedRequest) -> tuple[str, Any]:
    """A request in words, without its address, and its body."""
    parts = urlsplit(str(request.url).removeprefix(tape.URL))
    query = "&".join(f"{name}={quote(value, safe=',:. ')}" for name, value in sorted(parse_qsl(parts.query)))
    body = request.body.decode() if isinstance(request.body, bytes) else request.body
    return f"{request.method} {parts.path}{'?' if query else ''}{query}", None if body is None else _json(body)


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

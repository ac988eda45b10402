"""What the tests of the command line share: one command in this process, and actions that end when a test says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flowbridge.model import EngineState, Record, Ref, Status

#: A bound on every wait; none is ever reached where the code is right.
BOUND = 30.0


@dataclass(frozen=True)
class Said:
    """What one command line printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def row(self) -> dict[str, Any]:
        """The one result of a verb."""
        (row,) = self.data
        return dict(row)


@dataclass
class Gates:
    """A server whose answers wait until the test gives them: `std.http` tasks end when and how the test says."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    _answers: dict[str, int] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _open: bool = False

    def set(self, **answers: int) -> None:
        """Answer these names with these HTTP statuses, now and from now on."""
        with self._changed:
            self._answers |= answers
            self._changed.notify_all()

    def arrived(self, name: str, times: int = 1) -> None:
        """Return when a name was asked for that many times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked[name] >= times, BOUND), f"nobody asked for {name}"

    def answer(self, name: str) -> int:
        """Wait for the test's answer."""
        with self._changed:
            self.asked[name] += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: name in self._answers or self._open, BOUND)
            return self._answers.get(name, 200)

    def release(self) -> None:
        """Let everything through, so that nothing outlives its test."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


@contextmanager
def gate_server() -> Iterator[Gates]:
    """Gates on a port of this machine."""
    gates = Gates()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = gates.answer(self.path.strip("/"))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    gates.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield gates
    finally:
        gates.release()
        server.shutdown()
        thread.join()
        server.server_close()


def interruptible(*words: str, **environment: str) -> subprocess.Popen[str]:
    """One command line as a process that hears Ctrl-C, whoever started the tests.

    Where they run as a shell's background job the interrupt is ignored, by every process below too.
    """
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "flowbridge_cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
    finally:
        signal.signal(signal.SIGINT, ours)


def until(seen: Any, what: str) -> Any:
    """Ask again and again until the answer is true, within the bound; gives the answer."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {what}")


def two_instances(home: Path, monkeypatch: pytest.MonkeyPatch, tree: str, leaf: str) -> Path:
    """A workflow on the instance `first`, and one on `second` that its tasks may run; gives the first one's file."""
    (home / "leaf.yaml").write_text(leaf)
    (home / "tree.yaml").write_text(tree)
    config = {"backends": {"first": {"type": "memory"}, "second": {"type": "memory", "workflows": ["leaf.yaml"]}}}
    (home / "config.yaml").write_text(json.dumps({**config, "default_backend": "first"}))
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
    return home / "tree.yaml"


def seen_ten_minutes_ago(ref: Ref) -> Record:
    """An execution that ran when it was last looked at, under the engine's own id."""
    seen = time.time() - 600
    return Record(
        id=ref.id,
        tree=ref.id,
        ref=ref,
        workflow="release",
        status=Status.RUNNING,
        seen=EngineState.RUNNING,
        raw="RUNNING",
        actor="ada",
        created=seen,
        looked=seen,
    )

"""A ledger, a configuration and a terminal of their own for every test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.clikit import BOUND, Gates, Said, gate_server, until
from flowbridge.bridge import Bridge
from flowbridge.ledger.executions import Filter
from flowbridge_cli.main import run
from support.fake_mistral import FakeMistral
from support.wire import answer, wired

Flowbridge = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with everything; whatever was started in it has ended when the test has."""
    for name in [name for name in os.environ if name.startswith(("FLOWBRIDGE_", "OS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FLOWBRIDGE_ACTOR", "ada")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.delenv("FLOWBRIDGE_CONFIG", raising=False)


@pytest.fixture
def gates(home: Path) -> Iterator[Gates]:
    """Gated actions; at the end all gates are opened and every run is waited for."""
    with gate_server() as opened:
        yield opened
        opened.release()
        until(lambda: _all_still(home), "the end of every run")


def _all_still(home: Path) -> bool:
    """No run moves any more: each has ended, or is paused."""
    if not (home / "ledger.db").exists():
        return True
    with Bridge() as bridge:
        found = bridge.list(Filter(limit=-1))
    return all(record.status in ("paused", "succeeded", "errored", "canceled", "abandoned") for record in found)


@pytest.fixture
def flowbridge(home: Path, capsys: pytest.CaptureFixture[str]) -> Flowbridge:
    """One command line in this process."""
    assert home.exists()

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = run(words)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


@pytest.fixture
def prod(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMistral]:
    """A Mistral `prod` of this process alone, and a configuration that names it."""
    (home / "config.yaml").write_text("backends: {prod: {type: mistral, url: 'http://prod.example.org'}}\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
    # The process of a driver would look for that server in vain, and for good.
    monkeypatch.setattr("flowbridge.bridge.starting_drivers", lambda _: lambda tree: None)
    server = FakeMistral()
    with wired(prod=lambda heard: answer(server, heard)):
        yield server


@pytest.fixture
def process(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """One command line as a process of its own, with nothing on its standard input."""

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flowbridge_cli.main", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=BOUND * 2,
            check=False,
            cwd=home,
        )

    return call

"""Installed as anybody would, beside flowbridge, into an environment that has nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import QUEUE, SECONDS, Hand

HERE = Path(__file__).parents[1]
FLOWBRIDGE = HERE.parents[1]

pytestmark = pytest.mark.timeout(600)  # pip builds and installs


@pytest.fixture(scope="module")
def flowbridge(tmp_path_factory: pytest.TempPathFactory, address: str) -> "Terminal":
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    install = [str(folder / "venv/bin/pip"), "install", "--quiet", str(FLOWBRIDGE), str(HERE)]
    subprocess.run(install, check=True, cwd=folder)
    config = f"backends:\n  prod:\n    type: temporal\n    address: {address}\n    task_queue: {QUEUE}\n"
    (folder / "config.yaml").write_text(config)
    return Terminal(folder)


class Terminal:
    """A terminal with the new environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWBRIDGE", "TEMPORAL"))}
        own = {"FLOWBRIDGE_CONFIG": str(folder / "config.yaml"), "FLOWBRIDGE_LEDGER": str(folder / "ledger.db")}
        self.environment = kept | own

    def __call__(self, *words: str) -> list[str]:
        """What a command prints, by lines with single blanks."""
        command = [str(self.folder / "venv/bin/flowbridge"), *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return [" ".join(line.split()) for line in done.stdout.splitlines()]

    def until(self, text: str, *words: str) -> None:
        """Repeat a command until it prints a text."""
        deadline = time.monotonic() + SECONDS
        while text not in (said := " ".join(self(*words))):
            assert time.monotonic() < deadline, said


def test_it_shows_up_among_the_plugins_and_the_instances(flowbridge: Terminal, address: str) -> None:
    entry = "temporal flowbridge_temporal.backend:TemporalBackend flowbridge-temporal 0.1.0 -"
    assert f"flowbridge.backends {entry}" in flowbridge("plugins")
    assert "prod temporal cancel, pause, resume, start -" in flowbridge("backend", "list")
    (_, checked) = flowbridge("backend", "check", "prod")
    assert checked.startswith("prod yes 1.")
    assert checked.endswith(f"{address}, namespace default")


def test_a_workflow_is_run_paused_resumed_and_canceled_from_the_command_line(flowbridge: Terminal, hand: Hand) -> None:
    (id,) = flowbridge("run", "prod:chain.main", "n=1", "--detach")
    flowbridge.until("* a running (a: gate)", "tree", id)
    assert flowbridge("pause", id)[0] == f"{id} pause pausing"
    hand.open(id, "a")
    flowbridge.until("status paused", "get", id)
    assert flowbridge("resume", id)[0] == f"{id} resume running"
    flowbridge.until("* b running (b: gate)", "tree", id)
    assert flowbridge("cancel", id)[0] == f"{id} cancel canceling"
    hand.open(id, "b")
    flowbridge.until("status canceled", "get", id)
    flowbridge.until(id, "list", "--engine", "--backend", "prod", "--limit", "1000")  # the server lists open ones first

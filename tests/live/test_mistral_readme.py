"""The README's commands for a Mistral, played by somebody who has nothing but its address."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from flowbridge.backend import Definition, StartRequest
from flowbridge_mistral.backend import MistralBackend

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("## With a Mistral")[2].partition("\n## ")[0]
ADDRESS = re.compile(r"export OS_MISTRAL_URL=\S+")
ENGINE_ID = re.compile(r"(?<=mistral:)[0-9a-f-]{36}")

#: What the commands end with that do not end with 0: one host of that release is broken.
CODES = {"run examples/deploy.yaml --workflow release --backend mistral pace=0": 7, "re-run": 7}


def commands() -> list[str]:
    """The words behind `flowbridge`, command by command."""
    lines = [line[2:] for line in SECTION.splitlines() if line.startswith("$ ")]
    assert ADDRESS.fullmatch(lines[0])
    assert all(line.startswith("flowbridge ") for line in lines[1:])
    return [line.partition(" ")[2] for line in lines[1:]]


def test_the_readme_leads_from_a_run_to_a_nested_rerun(mistral_url: str, tmp_path: Path) -> None:
    stranger = _stranger(mistral_url)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OS_MISTRAL_URL": mistral_url,
        "FLOWBRIDGE_ACTOR": "ada",
    }
    said: dict[str, str] = {}
    for words in commands():
        command = [str(Path(sys.executable).with_name("flowbridge")), *shlex.split(ENGINE_ID.sub(stranger, words))]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        wanted = next((code for start, code in CODES.items() if words.startswith(start)), 0)
        assert done.returncode == wanted, (words, done.stdout, done.stderr)
        said[words.split()[0]] = done.stdout
    assert "db1" in said["skip"]
    assert said["resume"].rstrip().endswith("succeeded")
    assert "canceled" in said["cancel"]
    assert "db1 is being repaired" in said["history"]


def _stranger(url: str) -> str:
    """An execution that somebody else started, and that stands still."""
    backend = MistralBackend("stranger", {"url": url})
    backend.deploy(Definition("version: '2.0'\nstands_still:\n  tasks: {t: {pause-before: true, action: std.noop}}\n"))
    id = backend.start(StartRequest(str(uuid.uuid4()), "stands_still")).id
    backend.close()
    return id

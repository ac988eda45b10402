"""The launcher of the live Mistral: an environment is built once, and a server that fails says why."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from live import mistral_server
from live.keystone_server import KEYSTONE
from live.mistral_server import ENVIRONMENT_VARIABLE, REQUIREMENTS, MistralServer, ServerFailed, environment


class Builds:
    """Stands for venv and pip: writes the files that they would, and remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> None:
        self.commands.append(command)
        python = self.folder / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return mistral_server._environment_folder()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Builds:
    made = Builds(cache)
    monkeypatch.setattr(mistral_server, "_run", made)
    return made


def test_an_environment_is_built_on_a_fresh_machine_with_the_requirements_pinned(builds: Builds, cache: Path) -> None:
    assert environment() == cache / "bin" / "python"
    venv, install = builds.commands
    assert venv == [sys.executable, "-m", "venv", "--clear", str(cache)]
    assert install[-len(REQUIREMENTS) :] == list(REQUIREMENTS)
    assert "mistral==23.0.0" in install


def test_an_environment_is_built_once_by_however_many_ask(builds: Builds) -> None:
    threads = [threading.Thread(target=environment) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds.commands) == 2


def test_a_build_that_was_cut_short_is_built_again(builds: Builds, cache: Path) -> None:
    (cache / "bin").mkdir(parents=True)
    (cache / "bin" / "python").touch()
    environment()
    assert len(builds.commands) == 2


def test_an_environment_that_is_named_is_used_as_it_is(
    builds: Builds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "own"))
    python = tmp_path / "own" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert (environment(), builds.commands) == (python, [])


def test_another_engine_has_a_place_and_a_variable_of_its_own(
    builds: Builds, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(KEYSTONE.variable, raising=False)
    builds.folder = mistral_server._environment_folder(KEYSTONE)
    assert environment(KEYSTONE) == builds.folder / "bin" / "python"
    assert builds.commands[1][-len(KEYSTONE.requirements) :] == list(KEYSTONE.requirements)
    assert builds.folder != cache
    monkeypatch.setenv(KEYSTONE.variable, str(tmp_path))
    assert mistral_server._environment_folder(KEYSTONE) == tmp_path


def test_a_build_that_fails_shows_what_the_tool_said() -> None:
    with pytest.raises(ServerFailed, match="no such thing"):
        mistral_server._run([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def test_a_server_that_does_not_come_up_ends_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own" / "bin"
    own.mkdir(parents=True)
    (own / "python").write_text("#!/bin/sh\necho 'no module of that name' >&2\nexit 3\n")
    (own / "python").chmod(0o700)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(own.parent))
    with pytest.raises(ServerFailed, match="no module of that name"), MistralServer(tmp_path):
        pass

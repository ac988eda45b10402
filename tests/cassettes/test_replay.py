"""Every cassette, replayed with the network closed and nobody waiting; and what no cassette may hold."""

from __future__ import annotations

import functools
import inspect
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cassettes import tape
from cassettes.scenarios import SCENARIOS
from cassettes.stage import Stage
from flowbridge.errors import EngineError
from flowbridge_mistral import failures
from flowbridge_mistral.backend import MistralBackend
from support.closed import close_network

CASSETTES = sorted(tape.FOLDER.glob("*.yaml"))


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    close_network(monkeypatch)


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that slept would have looked again, and no take has a second look."""

    def waits(seconds: float) -> NoReturn:
        raise AssertionError(f"a replay wanted to wait for {seconds} s")

    monkeypatch.setattr(time, "sleep", waits)


def test_the_network_is_closed() -> None:
    with pytest.raises(AssertionError, match="reached for the network"):
        MistralBackend("prod", {"url": "http://127.0.0.1:9/v2"}).check()


def test_every_scenario_has_its_cassette_and_every_cassette_its_scenario() -> None:
    assert {path.stem for path in CASSETTES} == set(SCENARIOS)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_replay(name: str, tmp_path: Path) -> None:
    backend = MistralBackend("prod", {"url": tape.URL})
    with tape.replaying(tape.FOLDER / f"{name}.yaml") as cassette:
        SCENARIOS[name](Stage(name, backend, tmp_path))
        assert cassette.all_played
    backend.close()


#: What no scenario shows, and where it is shown instead.
NOT_RECORDED = {
    "implicit": "asks nobody: test_access",
    "recognizes": "asks nobody: test_backend",
    "capabilities": "asks nobody: test_links",
    "said": "a Mistral keeps no output of actions",
    "TooLarge": "a plain Mistral took 1.1 MB; what stands before it may say 413: test_backend, test_failures",
    "Untrusted": "no server of a recording speaks TLS: test_faults_for_real",
    "Kind.UNSENT": "no server says it: test_failures",
    "Kind.LOST": "no server says it: test_failures",
    "Kind.WRONG": "no server says it: test_failures",
    "401": "a plain Mistral asks for no account: test_auth; a real one with a Keystone: test_mistral_keystone",
    "403": "a plain Mistral asks for no account: test_auth; a real one with a Keystone: test_mistral_keystone",
    "413": "as TooLarge",
    "429": "said by what stands before a Mistral: test_client",
    "3xx": "said by what stands before a Mistral: test_failures",
}

CALLS = {name for name in dir(MistralBackend) if not name.startswith("_")} - {"type", "open_options"}
CALLS -= {name for name in CALLS if isinstance(getattr(MistralBackend, name), bool | str | frozenset)}
ERRORS = {cls.__name__ for _, cls in inspect.getmembers(failures, inspect.isclass) if issubclass(cls, EngineError)}
KINDS = {str(kind) for kind in failures.Kind}
STATUSES = {"401", "403", "413", "404", "409", "400", "429", "500", "3xx"}


def test_every_call_and_every_kind_of_error_is_in_a_cassette_or_has_a_reason_not_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    for name in CALLS:
        _spy(monkeypatch, name, seen)
    of_answer = failures.of_answer

    def told(response: Any, *arguments: Any) -> EngineError:
        error = of_answer(response, *arguments)
        seen.update({type(error).__name__, str(response.status_code)})
        return error

    monkeypatch.setattr(failures, "of_answer", told)
    for name in SCENARIOS:
        test_replay(name, tmp_path)
    wanted = CALLS | (ERRORS - {"EngineError"}) | KINDS | STATUSES
    assert wanted - seen == set(NOT_RECORDED)


def _spy(monkeypatch: pytest.MonkeyPatch, name: str, seen: set[str]) -> None:
    """Have a call of the backend tell that it was made."""
    call = inspect.getattr_static(MistralBackend, name)
    if not inspect.isfunction(call):
        return  # a property, or a method of the class: neither asks a server

    @functools.wraps(call)
    def spied(*arguments: Any, **options: Any) -> Any:
        seen.add(name)
        return call(*arguments, **options)

    monkeypatch.setattr(MistralBackend, name, spied)


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_no_cassette_holds_a_secret_or_an_address_of_the_machine_it_was_recorded_on(path: Path) -> None:
    for text in tape.strings(path):
        assert not tape.SECRET.search(text)
        assert not tape.LOOPBACK.search(text)
    assert {call[1].split("/")[1] for call, _, _ in tape.conversation(path)} == {"v2"}


@pytest.mark.parametrize(
    "text",
    [
        "X-Auth-Token: x",
        "Authorization: Basic",
        "password=",
        "http://me:pw@mistral",
        "eyJhbGciOiJIUzI1NiJ9.e",
        tape.TOKEN,
    ],
)
def test_a_secret_would_be_found(text: str) -> None:
    assert tape.SECRET.search(text)


@pytest.mark.parametrize("text", ["http://127.0.0.1/v2", "localhost", "http://[::1]/", "http://mistral:8989/v2"])
def test_an_address_of_this_machine_would_be_found(text: str) -> None:
    assert tape.LOOPBACK.search(text)

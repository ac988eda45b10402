"""The Mistral in memory against the real one: every scenario, the same requests, and answers that agree.

Agree means: the same status code, and of a success every value that the one in memory gives is the real one's. Ids and
times are left out, and so is the order of lists that the real one does not order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cassettes import tape
from cassettes.scenarios import SCENARIOS
from cassettes.stage import Hands, Stage
from flowbridge_mistral.backend import MistralBackend
from support.fake_mistral import FakeMistral
from support.wire import Answer, Heard, answer, wired

#: Scenarios whose answers tell of executions of others, which a fresh server has not.
OF_OTHERS = frozenset({"check", "report", "report_to_an_ended_action", "verb_list"})

#: What the server in memory does not try to say in the same words.
IN_OTHER_WORDS = frozenset({"next", "id", "error", "definition", "state_info", "updated_at"})


class Conversation:
    """A server that remembers what was asked and answered."""

    def __init__(self) -> None:
        self.server = FakeMistral()
        self.calls: list[Any] = []
        self.answers: list[tuple[int, Any]] = []

    def __call__(self, heard: Heard) -> Answer:
        method, path, query, body = heard
        made = answer(self.server, heard)
        self.calls.append((method, f"/v2/{path}", tuple(sorted(query.items())), _parsed(body)))
        self.answers.append((made[0], json.loads(made[2])))
        return made


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_server_in_memory_answers_as_the_real_one_did(name: str, tmp_path: Path) -> None:
    heard = Conversation()
    with wired(mistral=heard, hands=lambda asked: answer(heard.server, asked)):
        backend = MistralBackend("prod", {"url": tape.URL})
        hands = Hands("http://hands.example.org/v2", rest=0)
        SCENARIOS[name](Stage(name, backend, tmp_path, hands))
        backend.close()
        hands.close()
    real = tape.conversation(tape.FOLDER / f"{name}.yaml")
    ours, theirs = tape.Namer(), tape.Namer()
    assert [ours(call) for call in heard.calls] == [theirs(call) for call, _, _ in real]
    for (call, status, body), (given, made) in zip(real, heard.answers, strict=True):
        assert given == status, call
        if status < 300 and name not in OF_OTHERS and not _says_either(call):
            assert _within(_plain(made), _plain(body)) == _plain(made), call


def _says_either(call: Any) -> bool:
    """Whether the real one answers by chance with the state before the call or after it: to the re-run of a task."""
    method, path, *_ = call
    return bool(method == "PUT" and path.startswith("/v2/tasks/"))


def _plain(value: Any) -> Any:
    """A value without ids and times, JSON in strings opened, lists of objects in an order of their own."""
    if isinstance(value, str):
        inner = _parsed(value)
        return _plain(inner) if isinstance(inner, dict | list) else tape.blank(value)
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if key not in IN_OTHER_WORDS}
    if isinstance(value, list):
        parts = [_plain(part) for part in value]
        return sorted(parts, key=_key) if all(isinstance(part, dict) for part in parts) else parts
    return value


def _key(part: Any) -> str:
    words = ("name", "workflow_name", "state", "accepted", "runtime_context", "input")
    index = (part.get("params") or {}).get("index")
    return json.dumps([*(part.get(word) for word in words), index], sort_keys=True)


def _within(made: Any, real: Any) -> Any:
    """Of the real value as much as the made one has."""
    if isinstance(made, dict) and isinstance(real, dict):
        return {key: _within(part, real[key]) for key, part in made.items() if key in real}
    if isinstance(made, list) and isinstance(real, list) and len(made) == len(real):
        return [_within(one, other) for one, other in zip(made, real, strict=True)]
    return real


def _parsed(text: str) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text

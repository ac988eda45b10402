"""What a tape of the kit answers, and how a replay fails that is not the recorded one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from cassettes import tape
from cassettes.kit_tape import DOWN, Line, Player, Recorder, read, requests_of

LOOK, CHANGE = "GET /executions/x", "PUT /executions/x"


def player(folder: Path, *lines: Line) -> Player:
    path = folder / "P1_a_tape.jsonl"
    path.write_text("".join(f"{line.text()}\n" for line in lines), encoding="utf-8")
    return Player(path)


def ask(player: Player, asked: str, body: Any = None) -> Any:
    method, path = asked.split(" ", 1)
    with player.in_use():
        from flowbridge_mistral import transport

        answer = transport.session().request(method, f"{tape.URL}{path}", json=body)
    return answer.status_code, answer.json()


def test_an_answer_is_given_as_often_as_its_line_says(tmp_path: Path) -> None:
    played = player(tmp_path, Line(LOOK, 200, answer={"state": "RUNNING"}, times=2))
    assert [ask(played, LOOK), ask(played, LOOK)] == [(200, {"state": "RUNNING"})] * 2
    played.assert_over()
    with pytest.raises(AssertionError, match=r"not recorded here:\n  GET /executions/x\nP1_a_tape.jsonl ends here"):
        ask(played, LOOK)


def test_calls_of_one_run_come_in_any_order(tmp_path: Path) -> None:
    other = "GET /executions/y?fields=id"
    played = player(tmp_path, Line(LOOK, 200, answer={"id": "x"}), Line(other, 404, answer={"id": "y"}))
    assert [ask(played, other), ask(played, LOOK)] == [(404, {"id": "y"}), (200, {"id": "x"})]
    played.assert_over()


def test_the_answers_to_one_request_come_in_their_order(tmp_path: Path) -> None:
    played = player(tmp_path, *(Line(LOOK, 200, answer={"state": state}) for state in ("PAUSED", "RUNNING")))
    assert [ask(played, LOOK)[1]["state"] for _ in range(2)] == ["PAUSED", "RUNNING"]


def test_a_change_that_comes_before_its_look_or_not_at_all_fails(tmp_path: Path) -> None:
    lines = (Line(LOOK, 200, answer={}), Line(CHANGE, 200, answer={}, body={"state": "PAUSED"}), Line(LOOK, 200))
    with pytest.raises(AssertionError, match=r'PUT /executions/x {"state": "PAUSED"}\nP1.* goes on with:\n  GET /exec'):
        ask(player(tmp_path, *lines), CHANGE, {"state": "PAUSED"})
    played = player(tmp_path, *lines)
    ask(played, LOOK)
    with pytest.raises(
        AssertionError, match=r'goes on with:\n  PUT /executions/x {"state": "PAUSED"}\n.*record_kit.py'
    ):
        ask(played, LOOK)


def test_a_change_with_another_body_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="RUNNING"):
        ask(player(tmp_path, Line(CHANGE, 200, body={"state": "PAUSED"})), CHANGE, {"state": "RUNNING"})


def test_what_was_recorded_and_not_asked_for_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"less than was recorded.*\n.*\n  GET /executions/x \(2 times\)"):
        player(tmp_path, Line(LOOK, 200, times=2)).assert_over()


def test_nothing_but_the_server_of_the_tape_is_asked(tmp_path: Path) -> None:
    with player(tmp_path).in_use():
        from flowbridge_mistral import transport

        session = transport.session()
    with pytest.raises(requests.ConnectionError):
        session.get(f"{DOWN}/executions")
    with pytest.raises(AssertionError, match="not the server of the tape"):
        session.get("http://mistral.example.com/v2/executions")


def test_a_look_that_shows_the_same_as_the_last_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, shown = Recorder("http://127.0.0.1:1/v2", lambda: None, lambda: None), iter(["a", "a", "b", "a", "a"])
    monkeypatch.setattr(
        recorder, "_answered", lambda _, asked, body: Line(asked, 200, {}, {"state": next(shown)}, body)
    )
    for asked in (LOOK, LOOK, LOOK, LOOK, CHANGE):
        recorder.line(requests.Request(asked.split()[0], tape.URL).prepare(), asked, None)
    recorder.save(tmp_path / "tape.jsonl")
    kept = read(tmp_path / "tape.jsonl")
    assert [(line.ask, line.answer["state"], line.times) for line in kept] == [
        (LOOK, "a", 2),
        (LOOK, "b", 1),
        (LOOK, "a", 1),
        (CHANGE, "a", 1),
    ]
    assert requests_of(kept) == [[LOOK] * 4, [CHANGE]]
    assert json.loads(kept[0].text()) == {
        "ask": LOOK,
        "status": 200,
        "headers": {},
        "answer": {"state": "a"},
        "times": 2,
    }

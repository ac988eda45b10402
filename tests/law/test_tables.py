"""The tables of the law have no hole."""

from __future__ import annotations

import pytest

from flowbridge.law.tables import (
    ACTIVE,
    ALLOWED,
    ALREADY,
    ENDED,
    FOLD,
    TASK_ACTIVE,
    TERMINAL,
    TRANSITIONS,
    possible,
)
from flowbridge.model import EngineState, Status, TaskStatus, Want

SHOWN_STATES = [state for state in EngineState if state is not EngineState.GONE]


def test_S1_active_and_terminal_are_what_the_law_lists() -> None:
    assert {"requested", "running", "pausing", "resuming", "canceling"} == ACTIVE
    assert {"canceled", "succeeded", "errored"} == TERMINAL
    assert set(Status) - ACTIVE - TERMINAL == {"paused", "abandoned"}
    assert {"running", "pausing", "canceling"} == TASK_ACTIVE


def test_S1_a_terminal_status_is_what_an_ended_engine_shows() -> None:
    assert {str(state) for state in ENDED} == {str(status) for status in TERMINAL}


def test_S1_tasks_have_the_words_of_the_law() -> None:
    words = "waiting running pausing paused canceling canceled succeeded errored skipped"
    assert {str(status) for status in TaskStatus} == set(words.split())


def test_every_status_has_a_row_and_no_row_leads_to_itself() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert all(row for row in TRANSITIONS.values())
    assert not [status for status, row in TRANSITIONS.items() if status in row]


def test_every_transition_says_why() -> None:
    assert all(reason for row in TRANSITIONS.values() for reason in row.values())


@pytest.mark.parametrize("want", Want)
def test_S3_the_fold_has_a_row_for_every_engine_state(want: Want) -> None:
    assert set(FOLD[want]) == set(SHOWN_STATES)


@pytest.mark.parametrize("want", Want)
def test_S3_an_ended_engine_with_an_active_task_is_never_shown_as_ended(want: Want) -> None:
    for state in ENDED:
        idle, busy = FOLD[want][state]
        assert idle in TERMINAL
        assert busy in ACTIVE


def test_O11_no_row_shows_a_terminal_status_while_the_engine_has_not_ended() -> None:
    shown = {
        (want, state) for want in Want for state in SHOWN_STATES for status in FOLD[want][state] if status in TERMINAL
    }
    never_started = {(Want.CANCEL, EngineState.ABSENT)}
    assert {state for _, state in shown - never_started} == ENDED


def test_S6_an_abandoned_engine_is_never_shown_as_running() -> None:
    for want in Want:
        assert Status.RUNNING not in FOLD[want][EngineState.ABANDONED]


@pytest.mark.parametrize(
    ("verb", "statuses"),
    [
        ("pause", {"running"}),  # P1
        ("resume", {"paused"}),  # R1
        ("cancel", {"requested", "running", "pausing", "paused", "resuming", "canceling", "abandoned"}),  # C1
        ("re-run", {"canceled", "succeeded", "errored", "abandoned"}),  # X1
        ("re-run --tasks", {"errored"}),  # X3
        ("skip", {"errored"}),  # K1
        ("recover", {"abandoned"}),  # S6
    ],
)
def test_each_verb_is_allowed_in_the_statuses_of_its_rule(verb: str, statuses: set[str]) -> None:
    assert {str(status) for status in ALLOWED[verb][1]} == statuses


def test_the_table_of_verbs_has_no_other_row() -> None:
    assert set(ALLOWED) == {"pause", "resume", "cancel", "re-run", "re-run --tasks", "skip", "recover"}
    assert [rule for rule, _ in ALLOWED.values()] == ["P1", "R1", "C1", "X1", "X3", "K1", "S6"]


def test_O7_what_is_already_so_is_never_what_a_verb_is_allowed_in() -> None:
    assert set(ALREADY) == {"pause", "resume", "cancel"}
    for verb, statuses in ALREADY.items():
        assert statuses
        assert not statuses & ALLOWED[verb][1]


@pytest.mark.parametrize("status", Status)
def test_some_verb_is_possible_in_every_status(status: Status) -> None:
    assert possible(status) == tuple(verb for verb, (_, statuses) in ALLOWED.items() if status in statuses)
    assert possible(status)

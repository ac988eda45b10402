"""The tables are complete: every word Mistral has, every word of ours that can be sent."""

from __future__ import annotations

import pytest

from flowbridge.errors import EngineRefused
from flowbridge.model import EngineState, TaskStatus
from flowbridge_mistral import words

#: Every state that Mistral's own documents and API name.
MISTRAL = {"IDLE", "WAITING", "RUNNING", "DELAYED", "PAUSED", "SUCCESS", "CANCELLED", "ERROR", "SKIPPED"}

#: What only a task can be.
TASKS_ONLY = {"WAITING", "DELAYED", "SKIPPED"}


def test_every_state_of_a_task_is_translated() -> None:
    assert set(words.TASK) == MISTRAL


def test_every_state_of_an_execution_is_translated() -> None:
    assert set(words.EXECUTION) == MISTRAL - TASKS_ONLY


def test_each_of_our_states_that_an_engine_can_report_has_one_word() -> None:
    never_reported = {EngineState.ABSENT, EngineState.ABANDONED, EngineState.GONE}
    assert sorted(words.EXECUTION.values()) == sorted(set(EngineState) - never_reported)


def test_every_end_that_can_be_reported_has_a_word() -> None:
    assert set(words.REPORT) == {TaskStatus.SUCCEEDED, TaskStatus.ERRORED, TaskStatus.CANCELED}


def test_what_has_ended_and_what_is_at_work_exclude_each_other() -> None:
    assert words.ENDED | words.AT_WORK | {"PAUSED", "WAITING"} == MISTRAL
    assert not words.ENDED & words.AT_WORK


def test_an_unknown_word_is_refused_and_named() -> None:
    with pytest.raises(EngineRefused, match=r"execution 7 'HALTED'.*CANCELLED, ERROR"):
        words.translate(words.EXECUTION, "HALTED", "execution 7")


@pytest.mark.parametrize(("given", "sent"), [("canceled", "CANCELLED"), ("errored", "ERROR"), ("RUNNING", "RUNNING")])
def test_a_filter_takes_our_words_and_the_engines(given: str, sent: str) -> None:
    assert words.spoken(given) == sent

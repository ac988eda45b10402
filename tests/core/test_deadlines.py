"""How long a verb or a watch may take: what the calls below it are told, and that none of it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from core.kit import Desk, one
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.deadline import left
from flowbridge.errors import EngineRefused, Rejected, Timeout, Unavailable
from flowbridge.model import Status, TaskStatus


def heard(desk: Desk) -> list[tuple[str, float | None]]:
    """Each call from now on, with the seconds that it was given."""
    calls: list[tuple[str, float | None]] = []
    desk.engine.before = lambda name: calls.append((name, left()))
    return calls


def test_every_call_of_a_verb_is_told_how_much_of_its_time_is_left(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    calls = heard(desk)
    flow.pause(record.id, timeout=20)
    assert {name for name, _ in calls} == {"observe", "pause"}
    seconds = [seconds for _, seconds in calls if seconds is not None]
    assert len(seconds) == len(calls)
    assert seconds == sorted(seconds, reverse=True)
    assert 10 < seconds[-1] <= seconds[0] <= 21


def test_a_look_that_nobody_limits_is_not_told_any(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    calls = heard(desk)
    flow.get(record.id)
    assert calls == [("observe", None)]


def test_a_watch_gives_its_looks_until_its_deadline_and_a_wait_until_its_timeout(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    calls = heard(desk)
    next(iter(flow.watch(record.id, deadline=time.monotonic() + 20)))
    with pytest.raises(Timeout):
        flow.wait(record.id, timeout=0)
    first, *rest = [seconds or 0.0 for _, seconds in calls]
    assert 10 < first <= 21
    assert rest
    assert all(0 < seconds <= 1 for seconds in rest)


def test_the_wait_for_the_tree_and_what_was_left_open_take_of_the_same_time(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.silent = {"pause"}
    assert not flow.pause(record.id, timeout=0).done
    calls = heard(desk)
    desk.engine.silent = set()
    with pytest.raises(Rejected, match="pausing"):
        flow.resume(record.id, timeout=20)
    assert all(seconds is not None and seconds <= 21 for _, seconds in calls)
    assert [name for name, _ in calls].count("observe") > 2


def test_a_start_that_is_not_shown_is_told_within_the_time_of_whoever_waits(flow: Bridge, desk: Desk) -> None:
    desk.engine.late = 5  # looks
    with pytest.raises(EngineRefused, match="is not seen yet"):
        flow.run(Definition("flow"), backend="fake", timeout=0)
    assert flow.run(Definition("flow"), backend="fake", timeout=20).status is Status.RUNNING


def test_O4_a_call_that_was_made_and_not_answered_in_time_is_not_told_as_one_that_was_never_made(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk, TaskStatus.SUCCEEDED)
    flow.pause(record.id)
    made: list[str] = []

    def late(name: str) -> None:
        if name == "resume":
            made.append(name)
            raise Unavailable("fake does not answer (it took too long).")
        if made:
            raise Unavailable("fake was not asked: the time for it was over.", unsent=True)

    desk.engine.before = late
    outcome = flow.resume(record.id, timeout=0)
    assert (outcome.exit_code, outcome.not_done) == (5, {record.id: "fake does not answer (it took too long)."})


def out_of_time(*names: str) -> Callable[[str], None]:
    """What a backend says that gives up before it asks."""

    def before(name: str) -> None:
        if name in names:
            raise Unavailable("fake was not asked: the time for it was over.", unasked=True)

    return before


def test_O2_a_start_that_was_sent_is_not_called_unasked_where_there_is_no_time_to_look_for_it(
    flow: Bridge, desk: Desk
) -> None:
    desk.engine.lost, desk.engine.before = {"start"}, out_of_time("observe")
    with pytest.raises(Unavailable, match=r"^fake did not answer in time; the start is written down: ") as caught:
        flow.run("flow", backend="fake", timeout=4)
    assert (caught.value.exit_code, len(desk.engine.has)) == (5, 1)
    assert caught.value.message.endswith(f"{flow.find('last').id}` finishes it, and starts nothing twice")


def test_O2_a_start_that_there_was_no_time_for_has_started_nothing_and_ends_as_what_took_too_long(
    flow: Bridge, desk: Desk
) -> None:
    desk.engine.before = out_of_time("start", "observe")
    with pytest.raises(Timeout, match=r"was not asked: the time for it was over; nothing was started$") as caught:
        flow.run("flow", backend="fake", timeout=4)
    assert (caught.value.exit_code, desk.engine.has) == (9, {})
    desk.engine.before = lambda name: None
    assert flow.recover() == []


def test_O2_a_resume_that_was_sent_is_not_called_unasked_either(flow: Bridge, desk: Desk) -> None:
    record = one(desk, TaskStatus.WAITING)
    flow.pause(record.id)
    desk.engine.lost = {"resume"}
    desk.engine.before = lambda name: out_of_time("observe")(name) if desk.engine.count()["resume"] else None
    outcome = flow.resume(record.id, timeout=0)
    assert (outcome.exit_code, outcome.not_done) == (5, {record.id: "fake did not answer in time"})


def test_O3_what_there_was_no_time_for_stays_written_down_and_is_done_by_the_next_command(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    desk.engine.before = out_of_time("pause")
    outcome = flow.pause(record.id, timeout=0)
    assert (outcome.done, outcome.exit_code) == (False, 5)
    desk.engine.before = lambda name: None
    flow.recover(record.id)
    assert flow.get(record.id).record.status in (Status.PAUSING, Status.PAUSED)

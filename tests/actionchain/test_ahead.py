"""The job of the next task is named in the ledger while the one before it runs, so that it may begin at once.

What comes of it where a verb, a failure, or the death of the process comes in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actionchain.chainkit import FakeJob, World, chain_of, given_to, pack

ACTIONS: dict[str, Any] = {"gate": {"runner_type": "noop", "parameters": {"say": {"type": "string"}}}}
STATIC = chain_of(
    {"name": "a", "ref": "den.gate", "on-success": "b", "on-failure": "rescue"},
    {"name": "b", "ref": "den.gate", "parameters": {"say": "now"}, "on-success": "c"},
    {"name": "c", "ref": "den.gate", "parameters": {"say": "{{ b.said }}"}},
    {"name": "rescue", "ref": "den.gate"},
)


class KilledError(Exception):
    """The process dies here."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, pack(tmp_path, "den", ACTIONS))


def ahead(world: World, task: str = "task/0/1") -> int | None:
    """The number of the job that the ledger names for the task after this one."""
    handle = json.loads(world.rows[task]).get("ahead")
    return json.loads(handle)["number"] if handle else None


def started(world: World) -> list[int]:
    """The numbers of the jobs that were begun, in any process."""
    return [job.number for job in world.stage.started]


def killed_with_b_begun(world: World, monkeypatch: pytest.MonkeyPatch, result: Mapping[str, Any] | None = None) -> None:
    """The process began `b` as soon as `a` was over, and died before it could write down either."""
    world.start(text=STATIC)

    def killed(changes: Mapping[str, str | None]) -> None:
        raise KilledError

    monkeypatch.setattr(world.session, "_flush", killed)
    world.stage.started[0].finish(result)
    with pytest.raises(KilledError):
        world.go()
    assert started(world) == [0, 1]
    world.move_house()
    assert world.statuses() == [("a", "running")]


def test_O3_what_comes_next_is_in_the_ledger_before_it_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start(text=STATIC)
    assert ahead(world) == 1
    seen: list[str] = []
    flush = world._flush

    def flushed(changes: Mapping[str, str | None]) -> None:
        seen.append("written")
        flush(changes)

    monkeypatch.setattr(world.session, "_flush", flushed)
    start = FakeJob.start

    def started(job: FakeJob) -> None:
        seen.append(f"begun {job.number}")
        start(job)

    monkeypatch.setattr(FakeJob, "start", started)
    world.finish({})
    assert seen == ["begun 1", "written"]
    assert world.statuses() == [("a", "succeeded"), ("b", "running")]
    assert ahead(world) is None


def test_P5_a_pause_takes_what_was_made_ready_out_of_the_ledger_and_the_resume_makes_another(world: World) -> None:
    world.start(text=STATIC)
    world.do("pause")
    assert ahead(world) is None
    world.finish({})
    assert (world.state(), started(world)) == ("paused", [0])
    assert 1 in world.stage.discarded
    world.do("resume")
    world.go()
    assert started(world) == [0, 2]


def test_P4_what_had_begun_by_itself_runs_to_its_end_under_a_pause_that_came_later(world: World) -> None:
    world.start(text=STATIC)
    world.stage.started[0].finish({})
    world.do("pause")
    assert world.statuses() == [("a", "succeeded"), ("b", "running")]
    assert started(world) == [0, 1]
    world.finish({"said": "once"})
    assert (world.state(), started(world)) == ("paused", [0, 1])


def test_P5_a_pause_withdraws_what_would_have_begun_by_itself(world: World) -> None:
    world.start(text=STATIC)
    world.do("pause")
    world.stage.started[0].finish({})
    assert started(world) == [0]


def test_S6_what_another_process_handed_over_is_withdrawn_by_the_one_that_drives_the_run_now(world: World) -> None:
    world.start(text=STATIC)
    stopped, world.session = world.session, world.opened()  # it lives on, and knows nothing of that
    world.do("pause")
    world.stage.started[0].finish({})
    world.go()
    assert (world.state(), started(world)) == ("paused", [0])
    stopped.close()


def test_P5_nothing_is_made_ready_while_a_pause_holds(world: World) -> None:
    world.start(text=STATIC)
    world.do("pause")
    world.go()
    assert ahead(world) is None
    world.do("resume")
    world.go()
    assert ahead(world) == 2


def test_C2_after_a_cancel_nothing_of_what_was_made_ready_begins(world: World) -> None:
    world.start(text=STATIC)
    world.do("cancel")
    world.finish({})
    assert (world.state(), started(world)) == ("canceled", [0])


def test_what_was_made_ready_is_forgotten_with_the_commit_that_does_not_need_it(world: World) -> None:
    world.start(text=STATIC)
    assert world.stage.discarded == []
    world.finish({}, ok=False)
    assert ahead(world) is None
    assert set(world.stage.discarded) == {0, 1}


def test_S6_another_process_goes_on_with_what_had_begun_and_does_not_begin_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_with_b_begun(world, monkeypatch)
    world.do("recover", assume="failed")
    world.go()
    assert world.statuses() == [("a", "succeeded"), ("b", "running")]
    world.stage.started[1].finish({"said": "once"})
    world.go()
    assert given_to(world.stage.calls, "den.gate") == [{}, {"say": "now"}, {"say": "once"}]


def test_S6_what_had_begun_is_found_by_a_process_that_carries_out_no_verb(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_with_b_begun(world, monkeypatch)
    world.go()
    assert world.statuses() == [("a", "succeeded"), ("b", "running")]
    assert started(world) == [0, 1]


def test_P4_a_pause_of_a_run_that_had_gone_on_is_pausing_until_that_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_with_b_begun(world, monkeypatch)
    world.do("pause")
    assert world.statuses() == [("a", "succeeded"), ("b", "running")]
    world.stage.started[1].finish({"said": "once"})
    world.move_house()
    world.go()
    assert (world.state(), started(world)) == ("paused", [0, 1])
    assert world.results()["b"] == {"said": "once"}
    world.do("resume")
    world.go()
    assert started(world) == [0, 1, 2]


def test_C2_a_cancel_of_a_run_that_had_gone_on_records_what_that_gives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_with_b_begun(world, monkeypatch)
    world.do("cancel")
    assert world.tasks()["b"].active
    world.stage.started[1].finish({"said": "once"})
    world.go()
    assert (world.state(), world.statuses()) == ("canceled", [("a", "succeeded"), ("b", "succeeded")])


def test_S6_what_may_have_begun_and_cannot_be_told_is_reported_and_begins_no_second_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_with_b_begun(world, monkeypatch)
    world.stage.forgotten.add(1)
    world.go()
    assert (world.look().unknown, world.session.settled, started(world)) == (("b",), True, [0, 1])
    world.do("recover", assume="rerun")
    world.go()
    assert started(world) == [0, 1, 2]


def test_S6_what_was_made_ready_by_a_process_that_died_before_it_began_is_made_ready_anew(world: World) -> None:
    world.start(text=STATIC)
    world.move_house()
    world.stage.started[0].finish({})
    world.go()
    assert started(world) == [0, 2]
    assert world.tasks()["b"].starts == 1


def test_S6_a_process_that_died_while_a_task_ran_leaves_nothing_ready_once_a_pause_was_answered(world: World) -> None:
    world.start(text=STATIC)
    world.move_house()
    world.do("pause")
    assert ahead(world) is None
    world.stage.started[0].finish({})
    world.go()
    assert (world.state(), started(world)) == ("paused", [0])


def test_a_bound_on_the_tasks_holds_for_what_was_made_ready(tmp_path: Path) -> None:
    world = World(tmp_path, pack(tmp_path, "den", ACTIONS), max_steps=1)
    world.start(text=STATIC)
    world.finish({})
    assert (world.state(), started(world), ahead(world)) == ("errored", [0], None)


def test_what_cannot_be_published_begins_nothing(world: World) -> None:
    chain = json.loads(STATIC)
    chain["chain"][0]["publish"] = {"x": "{{ a.nothing.at.all }}"}
    world.start(text=json.dumps(chain))
    assert ahead(world) == 1
    world.finish({})
    assert (world.state(), started(world), ahead(world)) == ("errored", [0], None)


def test_what_follows_is_made_ready_while_an_action_runs_where_nothing_of_it_depends_on_that(world: World) -> None:
    world.start(text=STATIC)
    assert (len(world.stage.jobs), len(world.stage.started)) == (2, 1)
    world.finish({})
    assert [job.number for job in world.stage.started] == [0, 1]
    assert world.stage.started[1].context.execution == f"{world.tasks()['b'].id}.1"
    assert len(world.stage.jobs) == 2  # c names what b gives
    world.finish({"said": "so"})
    assert given_to(world.stage.calls, "den.gate") == [{}, {"say": "now"}, {"say": "so"}]


def test_what_was_made_ready_is_left_where_another_way_is_taken_or_more_is_secret_by_then(world: World) -> None:
    world.start(text=STATIC)
    world.finish({}, ok=False)
    assert [job.number for job in world.stage.started] == [0, 2]
    chain = json.loads(STATIC)
    chain["chain"][0]["publish"] = {"x": 1}  # so that something is to be done between a and b
    again = World(world.folder, *world.packs)
    again.start(text=json.dumps(chain))
    again.session._world.services.learn(["xyzzy"])
    again.finish({})
    assert [job.number for job in again.stage.started] == [0, 2]
    assert again.stage.started[1].context.secrets == ("xyzzy",)


def test_what_was_made_ready_and_is_wrong_is_told_when_its_turn_comes(world: World) -> None:
    world.start(text=chain_of({"name": "a", "ref": "den.gate", "on-success": "b"}, {"name": "b", "ref": "den.nope"}))
    assert world.state() == "running"
    world.finish({})
    assert world.state() == "errored"
    assert "den.nope" in world.output()["error"]

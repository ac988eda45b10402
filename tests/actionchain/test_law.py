"""The law on chains: pause, resume, cancel, re-run, skip and recover, also through chains inside chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actionchain.chainkit import World, chain_of, given_to, pack
from flowbridge.errors import EngineRefused, NotFound
from flowbridge.model import TaskStatus

ACTIONS: dict[str, Any] = {
    "gate": {"runner_type": "noop", "parameters": {"say": {"type": "string"}}},
    "sub": {
        "runner_type": "action-chain",
        "entry_point": "chains/sub.yaml",
        "parameters": {"word": {"type": "string", "default": "none"}},
    },
    "mid": {"runner_type": "action-chain", "entry_point": "chains/mid.yaml"},
}
CHAINS: dict[str, Any] = {
    "sub": {
        "chain": [
            {"name": "s1", "ref": "den.gate", "parameters": {"say": "{{word}}"}, "on-success": "s2"},
            {"name": "s2", "ref": "den.gate", "publish": {"told": "{{ s2.said }}"}},
        ]
    },
    "mid": {"chain": [{"name": "m1", "ref": "den.sub"}]},
}
THREE = chain_of(
    {"name": "a", "ref": "den.gate", "on-success": "b", "publish": {"of_a": "{{ a.said }}"}},
    {
        "name": "b",
        "ref": "den.gate",
        "parameters": {"say": "{{of_a}} {{start}}"},
        "on-success": "c",
        "on-failure": "rescue",
    },
    {"name": "c", "ref": "den.gate", "parameters": {"say": "{{of_a}} {{b.said}}"}},
    {"name": "rescue", "ref": "den.gate"},
    vars={"start": "{{ word }}"},
)
OVER = chain_of(
    {"name": "one", "ref": "den.sub", "parameters": {"word": "{{ word }}"}, "on-success": "next"},
    {"name": "next", "ref": "den.gate", "parameters": {"say": "{{ one.published.told }}"}},
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, pack(tmp_path, "den", ACTIONS, CHAINS))


def test_P5_the_running_task_ends_and_is_published_and_nothing_is_begun(world: World) -> None:
    world.start(text=THREE, word="w")
    world.do("pause")
    assert world.tasks()["a"].active
    world.finish({"said": "A"})
    assert (world.state(), world.statuses()) == ("paused", [("a", "succeeded")])
    assert world.session.settled
    assert len(world.stage.started) == 1


def test_R5_another_process_goes_on_with_the_variables_and_the_results_there_were(world: World) -> None:
    world.start(text=THREE, word="w")
    world.do("pause")
    world.finish({"said": "A"})
    world.move_house()
    world.do("resume")
    world.go()
    world.finish({"said": "B"})
    assert given_to(world.stage.calls, "den.gate")[1:] == [{"say": "A w"}, {"say": "A B"}]
    world.finish({"said": "C"})
    assert world.state() == "succeeded"
    assert world.output()["published"] == {"of_a": "A"}


def test_P8_with_nothing_left_or_a_failed_last_task_it_is_paused_and_the_resume_ends_it(world: World) -> None:
    for ok, end in ((True, "succeeded"), (False, "errored")):
        one = World(world.folder, *world.packs)
        one.start(text=chain_of({"name": "a", "ref": "den.gate"}))
        one.do("pause")
        one.finish({}, ok=ok)
        assert one.state() == "paused"
        one.do("resume")
        one.go()
        assert one.state() == end


def test_P5_a_chain_s_own_error_under_a_hold_ends_it_after_the_resume(world: World) -> None:
    world.start(text=chain_of({"name": "a", "ref": "den.gate", "publish": {"x": "{{ nope }}"}}))
    world.do("pause")
    world.finish({})
    assert world.state() == "paused"
    world.move_house()
    world.do("resume")
    world.go()
    assert world.state() == "errored"
    assert "nope" in world.output()["error"]


def test_a_pause_before_the_first_task_holds_it_all(world: World) -> None:
    world.do("start", definition=THREE, workflow="w", input={"word": "w"})
    world.do("pause")
    world.go()
    assert (world.state(), world.statuses(), world.session.settled) == ("paused", [], True)
    world.do("resume")
    world.go()
    assert world.tasks()["a"].active


def test_a_chain_in_a_chain_is_a_child_execution_and_its_result_the_task_s(world: World) -> None:
    world.start(text=OVER, word="hey")
    child = world.child("one")
    assert (world.look(child).workflow, world.statuses(child)) == ("den.sub", [("s1", "running")])
    world.finish({})
    world.finish({"said": "yo"})
    world.finish({})
    assert given_to(world.stage.calls, "den.gate") == [{"say": "hey"}, {}, {"say": "yo"}]
    assert world.state() == "succeeded"
    (one, _) = world.output()["tasks"]
    assert one["execution_id"] == child
    assert [sub["name"] for sub in one["result"]["tasks"]] == ["s1", "s2"]


def test_P2_P3_a_pause_reaches_the_whole_tree_from_wherever_it_is_asked_for(world: World) -> None:
    for asked in ("root", "child"):
        one = World(world.folder, *world.packs)
        one.start(text=chain_of({"name": "t", "ref": "den.mid"}))
        middle = one.child("t")
        low = one.child("m1", middle)
        one.do("pause", "root" if asked == "root" else low)
        assert [one.state(id) for id in ("root", middle, low)] == ["paused"] * 3
        one.finish({})
        assert one.statuses(low) == [("s1", "succeeded")]
        assert (one.session.settled, one.tasks()["t"].status) == (True, TaskStatus.PAUSED)


def test_R2_a_resume_of_the_root_resumes_what_is_below(world: World) -> None:
    world.start(text=OVER, word="w")
    child = world.child("one")
    world.do("pause")
    world.finish({})
    world.move_house()
    world.do("resume")
    world.go()
    assert (world.state(), world.state(child), world.statuses(child)[-1]) == ("running", "running", ("s2", "running"))
    world.finish({"said": "x"})
    world.finish({})
    assert world.state() == "succeeded"


def test_R3_a_child_resumed_alone_ends_and_its_parent_goes_on_when_it_is_resumed(world: World) -> None:
    world.start(text=OVER, word="w")
    child = world.child("one")
    world.do("pause")
    world.finish({})
    world.do("resume", child)
    world.go()
    world.finish({"said": "x"})
    assert (world.state(child), world.state()) == ("succeeded", "paused")
    assert world.statuses() == [("one", "succeeded")]
    world.move_house()
    world.do("resume")
    world.go()
    assert world.statuses() == [("one", "succeeded"), ("next", "running")]
    assert given_to(world.stage.calls, "den.gate")[-1] == {"say": "x"}


def test_R5_a_chain_resumed_while_its_child_still_runs_waits_for_it_and_starts_it_no_second_time(world: World) -> None:
    world.start(text=OVER, word="w")
    child = world.child("one")
    world.do("pause")
    world.finish({})
    world.do("resume", child)
    world.go()
    world.do("resume")
    world.go()
    world.move_house()
    assert (world.state(), world.statuses()) == ("running", [("one", "running")])
    assert world.child("one") == child
    world.finish({"said": "x"})
    assert world.statuses() == [("one", "succeeded"), ("next", "running")]
    assert len(world.session.look()) == 2


def test_R1_what_is_not_paused_or_has_changed_since_is_not_resumed(world: World) -> None:
    world.start(text=THREE, word="w")
    with pytest.raises(EngineRefused, match="running, not paused"):
        world.do("resume")
    world.do("pause")
    with pytest.raises(EngineRefused, match="has changed since"):
        world.do("resume", revision="0")
    world.do("resume", revision=world.look().revision)


def test_C2_the_running_task_ends_and_nothing_more_is_begun(world: World) -> None:
    world.start(text=THREE, word="w")
    world.do("cancel")
    assert (world.state(), world.tasks()["a"].active) == ("canceled", True)
    world.finish({"said": "A"})
    assert world.statuses() == [("a", "succeeded")]
    assert world.results() == {"a": {"said": "A"}}
    assert world.output()["published"] == {"of_a": "A"}


def test_C3_a_cancel_goes_down_and_C5_a_canceled_child_cancels_its_chain(world: World) -> None:
    world.start(text=OVER, word="w")
    child = world.child("one")
    world.do("cancel")
    assert (world.state(child), world.state()) == ("canceled", "canceled")
    world.finish({})
    assert world.statuses(child) == [("s1", "succeeded")]
    assert world.tasks()["one"].status is TaskStatus.CANCELED


def test_C5_a_child_canceled_alone_takes_no_way_of_its_task_and_its_chain_is_canceled(world: World) -> None:
    world.start(text=OVER, word="w")
    child = world.child("one")
    world.do("cancel", child)
    assert (world.state(child), world.state()) == ("canceled", "running")
    world.finish({})
    assert (world.state(), world.statuses()) == ("canceled", [("one", "canceled")])
    assert len(world.stage.started) == 1


def test_C5_under_a_held_chain_that_waits_for_its_resume(world: World) -> None:
    world.start(text=OVER, word="w")
    child = world.child("one")
    world.do("pause")
    world.finish({})
    world.do("cancel", child)
    world.go()
    assert (world.state(child), world.state()) == ("canceled", "paused")
    world.move_house()
    world.do("resume")
    world.go()
    assert world.state() == "canceled"


def errored(world: World) -> None:
    """THREE, errored in b and in what was to rescue it."""
    world.start(text=THREE, word="w")
    world.finish({"said": "A"})
    world.finish({}, ok=False)
    world.finish({}, ok=False)
    assert world.state() == "errored"


def test_X2_a_re_run_from_the_failed_task_goes_on_behind_it(world: World) -> None:
    world.start(
        text=chain_of(
            {"name": "a", "ref": "den.gate", "on-success": "b", "publish": {"v": "{{a.said}}"}},
            {"name": "b", "ref": "den.gate", "parameters": {"say": "{{v}}"}, "on-success": "c"},
            {"name": "c", "ref": "den.gate"},
        )
    )
    world.finish({"said": "A"})
    world.finish({"failed": True}, ok=False)
    before = world.tasks()["b"]
    world.move_house()
    world.do("rerun", tasks=[[before.id, True]])
    world.go()
    after = world.tasks()["b"]
    assert (after.id, after.starts, after.status) == (before.id, before.starts + 1, TaskStatus.RUNNING)
    assert given_to(world.stage.calls, "den.gate")[1:] == [{"say": "A"}] * 2
    world.finish({})
    world.finish({})
    assert (world.state(), world.look().error) == ("succeeded", "")
    assert [one["name"] for one in world.output()["tasks"]] == ["a", "b", "c"]


def test_X9_a_chain_goes_back_to_the_earliest_task_that_is_named_and_follows_its_definition_from_there(
    world: World,
) -> None:
    errored(world)
    tasks = world.tasks()
    world.do("rerun", tasks=[[tasks["rescue"].id, True], [tasks["b"].id, True]])
    world.go()
    world.finish({"said": "B"})
    assert world.statuses() == [("a", "succeeded"), ("b", "succeeded"), ("c", "running")]
    world.move_house()
    assert world.statuses() == [("a", "succeeded"), ("b", "succeeded"), ("c", "running")]
    assert given_to(world.stage.calls, "den.gate")[-1] == {"say": "A B"}
    world.finish({})
    assert world.state() == "succeeded"
    assert len({task.id for task in (*tasks.values(), *world.look().tasks)}) == 4


def test_X2_a_task_that_could_not_be_begun_can_be_run_again_once_its_cause_is_gone(world: World) -> None:
    world.start(text=chain_of({"name": "a", "ref": "den.late"}))
    assert world.state() == "errored"
    pack(world.folder, "den", {"late": {"runner_type": "noop"}})
    world.move_house()
    mark = world.tasks()["a"].starts
    world.do("rerun", tasks=[[world.tasks()["a"].id, True]])
    world.go()
    assert world.tasks()["a"].starts > mark
    world.finish({})
    assert (world.state(), "error" in world.output()) == ("succeeded", False)


def test_X3_only_errored_tasks_of_an_errored_execution_are_run_again(world: World) -> None:
    world.start(text=THREE, word="w")
    first = world.tasks()["a"].id
    world.do("rerun", tasks=[[first, True]])  # as if it were repeated
    assert world.tasks()["a"].starts == 1
    with pytest.raises(NotFound, match=r"no task root\.9"):
        world.do("rerun", tasks=[["root.9", True]])
    world.finish({"said": "A"})
    with pytest.raises(EngineRefused, match="is succeeded, not errored"):
        world.do("rerun", tasks=[[first, True]])
    world.finish({}, ok=False)
    with pytest.raises(EngineRefused, match="is running, not errored"):
        world.do("rerun", tasks=[[world.tasks()["b"].id, True]])
    world.finish({}, ok=False)
    with pytest.raises(EngineRefused, match="no items"):
        world.do("rerun", tasks=[[world.tasks()["b"].id, False]])
    assert world.state() == "errored"


def nested(world: World) -> tuple[str, str]:
    """A tree of three levels that has errored at the lowest."""
    world.start(
        text=chain_of({"name": "t", "ref": "den.mid", "on-success": "next"}, {"name": "next", "ref": "den.gate"})
    )
    middle = world.child("t")
    low = world.child("m1", middle)
    world.finish({})
    world.finish({}, ok=False)
    assert [world.state(id) for id in ("root", middle, low)] == ["errored"] * 3
    return middle, low


def test_X5_a_task_of_a_child_is_run_again_and_all_above_open_again(world: World) -> None:
    middle, low = nested(world)
    world.move_house()
    world.do("rerun", low, tasks=[[world.tasks(low)["s2"].id, True]])
    world.go()
    assert [world.state(id) for id in ("root", middle, low)] == ["running"] * 3
    world.finish({"said": "x"})
    assert (world.state(low), world.state(middle), world.statuses()) == (
        "succeeded",
        "succeeded",
        [("t", "succeeded"), ("next", "running")],
    )
    assert len(world.session.look()) == 3


def test_X5_a_child_without_a_dot_is_started_anew(world: World) -> None:
    nested(world)
    world.do("rerun", tasks=[[world.tasks()["t"].id, True]])
    world.go()
    world.move_house()
    assert len(world.session.look()) == 5
    again = world.child("m1", world.child("t"))
    assert world.statuses(again) == [("s1", "running")]
    world.finish({})
    world.finish({"said": "x"})
    world.finish({})
    assert world.state() == "succeeded"


def test_X8_a_child_whose_chain_went_on_does_not_open_again(world: World) -> None:
    world.start(
        text=chain_of({"name": "t", "ref": "den.sub", "on-failure": "rescue"}, {"name": "rescue", "ref": "den.gate"})
    )
    child = world.child("t")
    world.finish({}, ok=False)
    with pytest.raises(EngineRefused, match="is running, not errored"):
        world.do("rerun", child, tasks=[[world.tasks(child)["s1"].id, True]])
    world.finish({})
    with pytest.raises(EngineRefused, match="is succeeded, not errored"):
        world.do("rerun", child, tasks=[[world.tasks(child)["s1"].id, True]])
    assert (world.state(), world.state(child)) == ("succeeded", "errored")


def test_K1_a_skipped_task_publishes_nothing_and_its_way_of_success_is_taken(world: World) -> None:
    world.start(
        text=chain_of(
            {"name": "a", "ref": "den.gate", "on-success": "b", "publish": {"v": 1}}, {"name": "b", "ref": "den.gate"}
        )
    )
    world.finish({}, ok=False)
    world.do("skip", tasks=[world.tasks()["a"].id])
    world.go()
    world.move_house()
    assert world.statuses() == [("a", "skipped"), ("b", "running")]
    world.finish({})
    assert (world.state(), world.output()["published"]) == ("succeeded", {})


def test_O3_the_intention_is_written_before_an_action_begins_and_commands_are_done_once(world: World) -> None:
    world.start(text=THREE, word="w")
    assert any('"job"' in (row or "") for key, row in world.flushes[-1].items() if key.startswith("task/"))
    rows = dict(world.rows)
    from flowbridge.local import Command

    world.session.apply(Command("start-1", "start", "root", {}))
    assert dict(world.session.changes()) == {}
    assert rows == world.rows


def test_S6_a_new_process_finds_the_action_under_way_and_waits_for_it(world: World) -> None:
    world.start(text=THREE, word="w")
    world.move_house()
    assert world.look().unknown == ()
    assert not world.session.settled
    world.do("recover", assume="failed")
    world.finish({"said": "A"})
    assert world.statuses() == [("a", "succeeded"), ("b", "running")]
    assert len(world.stage.started) == 2


def test_S6_an_action_whose_end_nobody_saw_is_reported_and_decided_by_the_user(world: World) -> None:
    for assume, end in (("failed", [("a", "errored")]), ("rerun", [("a", "running")])):
        one = World(world.folder, *world.packs)
        one.start(text=THREE, word="w")
        one.stage.forgotten.add(0)
        one.move_house()
        one.go()
        assert (one.look().unknown, one.session.settled, len(one.stage.started)) == (("a",), True, 1)
        one.do("recover", assume=assume)
        one.go()
        assert one.statuses() == end
        assert one.look().unknown == ()


@pytest.mark.parametrize(("assume", "end"), [("failed", [("a", "errored")]), ("rerun", [("a", "running")])])
def test_S6_what_a_recover_says_holds_for_an_action_that_runs_on_and_whose_end_nobody_sees(
    world: World, assume: str, end: list[tuple[str, str]]
) -> None:
    world.start(text=THREE, word="w")
    world.move_house()
    world.do("recover", assume=assume)
    world.go()
    assert world.statuses() == [("a", "running")]
    world.stage.started[0].is_lost = True
    world.go()
    assert (world.statuses(), world.look().unknown) == (end, ())
    assert len(world.stage.started) == (2 if assume == "rerun" else 1)


def test_S6_an_end_that_is_seen_after_a_recover_counts(world: World) -> None:
    world.start(text=THREE, word="w")
    world.move_house()
    world.do("recover", assume="rerun")
    world.finish({"said": "A"})
    world.stage.started[1].is_lost = True
    world.go()
    assert (world.statuses(), world.look().unknown) == ([("a", "succeeded"), ("b", "running")], ("b",))


def test_S6_what_a_recover_said_of_an_action_that_had_not_begun_does_not_hold_when_it_has_its_turn_again(
    world: World,
) -> None:
    world.start(text=THREE, word="w")
    world.move_house()
    world.do("recover", assume="rerun")
    first = world.stage.jobs[0]
    first.begun, first.is_lost = False, True
    world.go()
    world.stage.jobs[1].is_lost = True
    world.go()
    assert (world.look().unknown, len(world.stage.jobs)) == (("a",), 2)


def test_S6_an_action_whose_end_nobody_saw_publishes_nothing_and_fails_in_the_way_of_the_chain(world: World) -> None:
    first = {"name": "a", "ref": "den.gate", "on-failure": "b", "publish": {"x": "{{ a.said }}"}}
    world.start(text=chain_of(first, {"name": "b", "ref": "den.gate"}))
    world.stage.forgotten.add(0)
    world.move_house()
    world.go()
    world.do("recover", assume="failed")
    world.go()
    assert world.statuses() == [("a", "errored"), ("b", "running")]
    assert "Nobody saw" in world.tasks()["a"].error


def test_S6_an_action_that_was_never_begun_has_its_turn_again(world: World) -> None:
    world.start(text=THREE, word="w")
    world.stage.started.clear()
    world.stage.jobs[0].begun = False
    world.move_house()
    assert world.tasks()["a"].active
    world.go()
    assert [job.number for job in world.stage.started] == [1]
    assert world.tasks()["a"].active


def test_a_job_s_files_are_given_up_only_once_its_outcome_is_written(world: World) -> None:
    world.start(text=THREE, word="w")
    assert world.stage.discarded == []
    world.finish({"said": "A"})
    assert world.stage.discarded == [0]
    assert '"said":"A"' in world.rows["task/0/1"]


def test_a_chain_that_calls_itself_without_end_is_stopped(world: World) -> None:
    pack(
        world.folder,
        "den",
        {"self": {"runner_type": "action-chain", "entry_point": "chains/self.yaml"}},
        {"self": {"chain": [{"name": "again", "ref": "den.self"}]}},
    )
    world.start("den.self")
    assert world.state() == "errored"
    assert "more than 64 chains inside each other" in str(world.output())


def test_the_rows_of_a_step_do_not_grow_with_the_chain(world: World) -> None:
    world.stage.plays["den.gate"] = lambda given: {"said": "x" * 50}
    names = [f"t{number}" for number in range(60)]
    world.start(
        text=chain_of(
            *(
                {"name": name, "ref": "den.gate", "publish": {name: f"{{{{{name}.said}}}}"}}
                | ({"on-success": after} if after else {})
                for name, after in zip(names, [*names[1:], ""], strict=True)
            )
        )
    )
    sizes = [sum(len(row or "") for row in flush.values()) for flush in world.flushes if len(flush) <= 4]
    assert len(sizes) >= 55
    assert max(sizes[5:]) < 1.3 * min(sizes[5:])

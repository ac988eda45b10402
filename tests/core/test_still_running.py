"""What an outcome says still runs: by the way to it, and nothing of what is abandoned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from core.kit import Desk, family, one
from flowbridge.bridge import Bridge
from flowbridge.model import EngineState, Status, TaskLook, TaskStatus, Verb
from flowbridge.outcome import running_tasks
from support.fakes import task
from support.snapshots import execution, tree


def test_pause_and_cancel_name_the_tasks_that_still_run(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.has["e0"].set("t0", running=("std.http",))
    assert flow.pause(record.id).running == ("flow.t0 (std.http)",)
    assert flow.cancel(record.id).running == ("flow.t0 (std.http)",)


def test_tasks_that_still_run_in_several_items_are_told_apart(flow: Bridge, desk: Desk) -> None:
    desk.engine.add("e0", task("hosts", items=2))
    for item in range(2):
        desk.engine.add(f"h{item}", task("check", of=f"h{item}"), parent="e0", task="hosts", item=item)
        desk.engine.add(f"c{item}", task("leaf", of=f"c{item}"), parent=f"h{item}", task="check")
    told = flow.pause("fake:e0").running
    assert {f"flow.hosts[{item}].check.leaf" for item in range(2)} <= set(told)
    assert len(set(told)) == len(told)


def test_the_ways_to_what_still_runs_are_gone_in_time_that_grows_with_the_tasks_not_with_their_square() -> None:
    """Each task of the root runs a child of its own."""

    def taken(count: int) -> int:
        tasks = Counted(TaskLook(f"t{at}", f"t{at}", TaskStatus.RUNNING) for at in range(count))
        leaf = TaskLook("leaf", "leaf", TaskStatus.RUNNING, active=True)
        below = [execution(f"c{at}", Status.RUNNING, 0, parent_task=f"t{at}", tasks=(leaf,)) for at in range(count)]
        snapshot = tree(execution("root", Status.RUNNING, tasks=tasks, workflow="flow"), *below)
        Counted.taken = 0
        assert running_tasks(snapshot, Verb.PAUSE)[-1] == f"flow.t{count - 1}.leaf"
        return Counted.taken

    assert taken(200) <= 2 * taken(100)


class Counted(tuple[TaskLook, ...]):
    """Tasks that count how often one of them is taken."""

    __slots__ = ()
    taken: ClassVar[int] = 0

    def __iter__(self) -> Iterator[TaskLook]:
        for each in super().__iter__():
            Counted.taken += 1
            yield each


def test_S6_in_what_is_abandoned_nothing_runs_and_the_outcome_says_which_it_is(flow: Bridge, desk: Desk) -> None:
    root, child, _ = family(desk)
    desk.engine.has["e1"].go(EngineState.ABANDONED)
    desk.engine.has["e0"].set("sub", active=False)
    desk.engine.has["e2"].set("work", active=False)
    outcome = flow.pause(root.id)
    assert (outcome.status, outcome.running, outcome.abandoned) == (Status.PAUSED, (), (child.id,))


# O5

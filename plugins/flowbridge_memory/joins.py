"""Joins: who has arrived, when they come together, whether they still can."""

from __future__ import annotations

from flowbridge_memory.context import merged
from flowbridge_memory.plan import TaskPlan, targets
from flowbridge_memory.state import ENDED, Run, State, Task
from flowbridge_memory.variables import outbound
from flowbridge_memory.world import Job, World


def unreachable(join: Task) -> str:
    """Why a waiting join can never start, in words; "" as long as it may."""
    lost = [name for name in join.plan.inbound if not _may_arrive(join, name)]
    spare = len(join.plan.inbound) - join.plan.need
    if len(lost) <= max(spare, 0):
        return ""
    return f"The join can not come together: no way leads here from {_listed(lost)}."


def missed(task: Task) -> list[Task]:
    """The waiting joins that a task, by the ways it did not take, may have made unreachable."""
    run = task.run
    taken = {name for name, _ in task.way}
    names = dict.fromkeys(
        join
        for target in targets(task.plan)
        if target not in taken
        for join in run.plan.joins_ahead(target)
        if join in run.latest
    )
    return [run.latest[name] for name in names]


def _may_arrive(join: Task, name: str) -> bool:
    if join.arrived is not None and name in join.arrived:
        return True
    inbound = join.run.latest.get(name)
    if inbound is None:
        return _reachable(join.run, join.run.plan.tasks[name])
    return inbound.state not in ENDED or any(target == join.plan.name for target, _ in inbound.way)


def _reachable(run: Run, plan: TaskPlan) -> bool:
    """Whether a task that has not run yet still can: some way from a task that runs, or has taken it, leads there."""
    seen, open_ = {plan.name}, [plan]
    while open_:
        here = open_.pop()
        if not here.inbound:
            return True
        for name in here.inbound:
            task = run.latest.get(name)
            if task is None:
                if name not in seen:
                    seen.add(name)
                    open_.append(run.plan.tasks[name])
            elif task.state not in ENDED or any(target == here.name for target, _ in task.way):
                return True
    return False


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def waits(run: Run, plan: TaskPlan) -> bool:
    """Whether a join is there already and waits, so that who arrives makes no new task."""
    join = run.latest.get(plan.name)
    return join is not None and join.state is State.WAITING


def arrive(world: World, plan: TaskPlan, cause: Task) -> bool:
    """Count `cause` at a join. True where the join still waits, and will need the variables of `cause`."""
    run = cause.run
    join = _join_for(world, run, plan, cause)
    if join is None:
        return False
    arrived = join.arrived = join.arrived or {}
    arrived[cause.plan.name] = cause
    if len(arrived) >= plan.need:
        _come_together(world, join)
        return False
    return True


def _join_for(world: World, run: Run, plan: TaskPlan, cause: Task) -> Task | None:
    """The join that waits for `cause`: the one there is, a new one, or None where it came too late to count."""
    join = run.latest.get(plan.name)
    if join is not None and join.state is State.WAITING:
        return join
    if join is not None and join.consumed is None and join.state is State.ERRORED:
        return _reopened_join(world, join)
    if join is not None and join.consumed is not None and cause.plan.name not in join.consumed:
        join.consumed[cause.plan.name] = None
        world.touch(join)
        return None
    earlier = join.consumed if join is not None and join.consumed is not None else ()
    fresh = Task(run, plan, len(run.tasks) + 1, State.WAITING, created=world.clock.now())
    fresh.arrived = {name: run.latest[name] for name in earlier}
    world.add(fresh)
    run.waiting += 1
    return fresh


def _reopened_join(world: World, join: Task) -> Task:
    """A join that was lost is counted afresh when one of its tasks was run again (X9)."""
    run = join.run
    run.open += 1
    run.waiting += 1
    run.unhandled -= not join.handled
    await_again(world, join)
    return join


def await_again(world: World, join: Task) -> None:
    """Make a join wait, counting who has arrived from what its inbound tasks led to."""
    join.state, join.error, join.handled, join.way, join.pending, join.ended = State.WAITING, "", False, (), (), None
    join.arrived = arrivals(join)
    join.consumed = None
    join.epoch += 1
    world.touch(join)


def arrivals(join: Task) -> dict[str, Task]:
    """The inbound tasks that led to a join and are not held back by a pause."""
    name = join.plan.name
    found: dict[str, Task] = {}
    for source in join.plan.inbound:
        task = join.run.latest.get(source)
        if task is None or not any(target == name for target, _ in task.way):
            continue
        if not any(target == name for target, _, _ in task.pending):
            found[source] = task
    return found


def take_over(join: Task) -> None:
    """Give a join the variables of the tasks that have arrived."""
    join.causes = tuple(sorted((join.arrived or {}).values(), key=_number))
    join.context = merged([outbound(cause) for cause in join.causes])


def _come_together(world: World, join: Task) -> None:
    join.run.waiting -= 1
    take_over(join)
    join.consumed = dict.fromkeys(join.arrived or {})
    join.arrived = None
    join.state = State.IDLE
    world.touch(join)
    world.jobs.append((Job.START, join))


def _number(task: Task) -> int:
    return task.number

"""A tree built from its rows, ready to go on exactly where they end. Nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused, InvalidInput
from flowbridge.model import EngineState
from flowbridge_actionchain.language import Chain, Node, parse
from flowbridge_actionchain.rows import TASK_PLAIN
from flowbridge_actionchain.state import ENDED, RUN_ENDED, Kind, Run, State, Task
from flowbridge_actionchain.world import Ahead, World

Rows = Mapping[str, str]


def load(world: World, rows: Rows) -> None:
    """Fill an empty world from rows. Raises `EngineRefused` where a definition in them cannot be used any more."""
    found = _by_kind(world, rows)
    world.books.extend(Definition(**book) for _, book in sorted(found["book"].items()))
    runs = sorted(found["run"].items())
    for run_place, fields in runs:
        _load_run(world, fields, found["given"].get(run_place, {}))
    for (number, place), fields in sorted(found["task"].items()):
        _load_task(world.runs[number], place, fields)
    for (above,), fields in runs:
        if "parent" in fields:
            _hang(world, world.runs[above], *fields["parent"])
    for run in world.runs:
        _take_up(world, run)
    world.written()


def _by_kind(world: World, rows: Rows) -> dict[str, dict[tuple[int, ...], Any]]:
    found: dict[str, dict[tuple[int, ...], Any]] = {"book": {}, "run": {}, "given": {}, "task": {}}
    for key, text in rows.items():
        kind, _, place = key.partition("/")
        if kind == "command":
            world.commands.add(place)
        else:
            found[kind][tuple(map(int, place.split("/")))] = json.loads(text)
    return found


def _load_run(world: World, fields: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    chain = _chain(world, fields)
    run = Run(len(world.runs), fields["id"], chain, fields.get("ref", ""), fields.get("pack", ""), None, {})
    run.name, run.single, run.book = fields["name"], fields.get("single", False), fields.get("book", -1)
    run.state, run.revision = EngineState(fields["state"]), fields["revision"]
    run.begun, run.created, run.ended = fields["begun"], fields["created"], fields.get("ended")
    run.failure, run.error = fields.get("failure", ""), fields.get("error", "")
    run.notify = fields.get("notify", {})
    run.quiet, run.show_published = tuple(fields.get("quiet", ())), not fields.get("hide", False)
    run.input, run.vars = given.get("input", {}), given.get("vars", {})
    world.runs.append(run)
    world.by_id[run.id] = run


def _chain(world: World, fields: Mapping[str, Any]) -> Chain:
    if "book" not in fields:
        return Chain({fields["name"]: Node(fields["name"], fields["ref"])}, fields["name"], {}, fields["ref"])
    try:
        return parse(world.books[fields["book"]])
    except InvalidInput as error:
        raise EngineRefused(f"The definition of this run cannot be used any more: {error.message}") from error


def _load_task(run: Run, number: int, fields: Mapping[str, Any]) -> None:
    task = Task(run, number, run.chain.nodes[fields["name"]], State(fields["state"]), created=fields["created"])
    for name in TASK_PLAIN:
        if name in fields:
            setattr(task, name, fields[name])
    task.kind, task.result = Kind(task.kind), fields.get("result")
    (run.taken_back if fields.get("taken_back") else run.tasks).append(task)


def _hang(world: World, run: Run, above: int, number: int) -> None:
    parent = world.runs[above]
    task = next(task for task in (*parent.tasks, *parent.taken_back) if task.number == number)
    run.parent = task
    if task.kind is Kind.CHAIN:
        task.child = run  # the latest comes last
    parent.children.append(run)


def _take_up(world: World, run: Run) -> None:
    """Find what is under way, and have the execution looked at where it may go on."""
    last = run.last
    if last is not None and last.state is State.RUNNING and last.kind is Kind.JOB:
        job = world.jobs.find(last.job)
        last.lost = job is None
        if job is not None and job.begun:
            world.job = (last, job)
            if last.ahead:
                world.ahead = Ahead(last, run.chain.nodes.get(last.node.on_success), handle=last.ahead)
        elif job is not None:
            world.unbegun = last
    if run.state not in RUN_ENDED and (last is None or last.state in ENDED or last.state is State.IDLE):
        world.queue.append(run)

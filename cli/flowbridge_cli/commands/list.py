"""`list`: executions, newest first."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from flowbridge.deadline import within
from flowbridge.errors import InvalidInput
from flowbridge_cli import options
from flowbridge_cli.output import emit, note, tell_damaged, tell_unwritten, told_of

if TYPE_CHECKING:
    from flowbridge.config import Config
    from flowbridge.instances import Instances
    from flowbridge.ledger.database import Database
    from flowbridge.ledger.executions import Executions, Filter
    from flowbridge.model import Record, Ref

_ENGINE_STATUSES = ("running", "paused", "succeeded", "errored", "canceled")
_ENDED = frozenset(_ENGINE_STATUSES[2:])
_MOVING = frozenset({"running", "pausing", "resuming", "canceling"})
_ENGINE_COLUMNS = ("ref", "engine_state", "workflow", "created_at", "id")
_COLUMNS = ("id", "status", "workflow", "backend", "actor", "created_at")

#: How long an engine that is down may hold up a list, in seconds: what it has is shown as last seen, with its age.
_AT_A_GLANCE = 3.0

#: The columns of a table that are there only where a row has something to say in them; other formats have more of it.
_MORE = ("seen", "waits_for", "note")


@click.command("list")
@click.option(
    "--status",
    multiple=True,
    callback=options.listed_statuses,
    help="With this status, or `gone`; may be given again.",
)
@click.option("--backend", help="On this backend instance.")
@click.option("--workflow", help="Of this workflow.")
@click.option("--actor", help="Started by this user.")
@click.option("--older-than", callback=options.age, help="Started longer ago than this, such as 90s, 15m, 2h or 3d.")
@click.option("--newer-than", callback=options.age, help="Started less long ago than this.")
@click.option("--children", is_flag=True, help="Children too, not only what was started itself.")
@click.option("--limit", type=click.IntRange(1, options.MANY), default=50, show_default=True, help="How many at most.")
@click.option("--offset", type=click.IntRange(0, options.MANY), default=0, help="How many to pass over.")
@click.option("--engine", is_flag=True, help="What the engine of --backend has itself, whoever started it.")
@click.option("--look/--no-look", default=True, help="Ask the engines about those that have not ended.")
@click.option(
    "--timeout",
    type=options.SECONDS,
    metavar="SECONDS",
    help="How long to wait for an engine that does not answer (3 where nothing is said; with --engine as long as it is "
    "waited for elsewhere). What it has is shown as it was last seen.",
)
@options.output
def list_(
    status: tuple[str, ...],
    backend: str | None,
    workflow: str | None,
    actor: str | None,
    older_than: float | None,
    newer_than: float | None,
    children: bool,
    limit: int,
    offset: int,
    engine: bool,
    look: bool,
    timeout: float | None,
    output: str,
) -> int:
    """List executions, newest first. Those that have not ended are looked at first.

    With --engine the ledger is not asked but the engine of --backend: INSTANCE:ENGINE-ID names an execution to every
    other command, which then takes it in.
    """
    if engine:
        _refuse(workflow=workflow, actor=actor, older_than=older_than, newer_than=newer_than, children=children or None)
        with within(timeout):
            return _list_engine(backend, status, limit, offset, output)
    from flowbridge.ledger.executions import Filter  # noqa: PLC0415  help needs none of these
    from flowbridge.views import moment  # noqa: PLC0415

    began = moment(time.time())
    filter = Filter(status, backend, workflow, actor, not children, older_than, newer_than, limit, offset)
    rows, code = _rows(filter, timeout or _AT_A_GLANCE if look else None)
    for row in rows:
        row["stale"] = _stale(row, began)
        row["seen"] = _age(row["observed_at"]) if row["stale"] else ""
        row["note"] = told_of(row)
        for said in ("abandoned_below", "unanswered", "late", "late_below"):  # in the note
            del row[said]
        row["waits_for"] = "a driver" if row["waits_for_driver"] else ""
    if look and any(row["stale"] for row in rows):
        _tell_stale({row["backend"] for row in rows if row["stale"]})
    if any(row["waits_for_driver"] for row in rows):
        note("what waits for a driver moves on with `flowbridge watch ID` or `flowbridge agent` (O13)")
    if output != "table":
        rows = [{key: value for key, value in row.items() if key not in _MORE} for row in rows]
    emit(rows, output, columns=(*_COLUMNS, *(column for column in _MORE if any(row.get(column) for row in rows))))
    return code


@contextmanager
def _opened() -> Iterator[tuple[Config, Instances, Database]]:
    """What a list needs. Not the facade: it would cost as much as the request."""
    from flowbridge import config as configuration  # noqa: PLC0415  help needs none of these
    from flowbridge.instances import Instances  # noqa: PLC0415
    from flowbridge.ledger.database import Database  # noqa: PLC0415

    config = configuration.load()
    with closing(Instances(config, os.environ)) as instances, closing(Database(config.ledger)) as database:
        yield config, instances, database


def _rows(filter: Filter, patience: float | None) -> tuple[list[dict[str, Any]], int]:
    """What is to be listed, and an exit code other than 0 where something is left out that cannot be read. Without
    `patience` no engine is asked."""
    from flowbridge.ledger.executions import Executions, Filter  # noqa: PLC0415
    from flowbridge.listing import listed  # noqa: PLC0415
    from flowbridge.views import execution_view, take_back_endings, take_back_lost  # noqa: PLC0415

    with _opened() as (config, instances, database):
        executions = Executions(database)
        if filter.backend and not executions.list(Filter(backend=filter.backend, roots=False, limit=1)):
            instances.require(filter.backend)  # what was once there is still listed
        closely = partial(_closely, config)
        asks = patience is not None
        driven = partial(_is_driven, database)
        found = listed(executions, instances, filter, closely, driven, patience) if asks else executions.list(filter)
        rows = [execution_view(record, _parent(executions, record)) for record in found]
        take_back_lost(rows, executions)
        take_back_endings(zip(found, rows, strict=True), executions)
        lost = executions.trees(("abandoned",))
        unanswered, late = _unanswered(database, executions), frozenset(executions.late())
        moving = [one.tree for one in found if not filter.roots or one.status not in _ENDED or one.tree in late]
        undriven = _undriven(database, executions, moving)
    for record, row in zip(found, rows, strict=True):
        row["unanswered"] = record.id in unanswered
        row["late"] = bool(record.withdrawn) or (record.asked and record.status in _ENDED)
        row["late_below"] = record.parent is None and record.tree in late and not row["late"]
        row["waits_for_driver"] = record.tree in undriven
        stands = record.status == "paused" or record.status in _MOVING
        row["abandoned_below"] = record.parent is None and stands and record.tree in lost
    return rows, tell_damaged(executions)


def _unanswered(database: Database, executions: Executions) -> Collection[str]:
    """What was to be started and was never seen at its engine, while nobody is at it any more (O3)."""
    from flowbridge.ledger.executions import Filter  # noqa: PLC0415
    from flowbridge.model import Verb  # noqa: PLC0415

    begun = executions.list(Filter(unfinished=Verb.START, limit=-1))
    unseen = [record for record in begun if not record.looked]
    if not unseen:
        return ()
    from flowbridge.ledger.leases import Leases  # noqa: PLC0415  only where something is unfinished

    leases = Leases(database)
    return {record.id for record in unseen if leases.holder(f"tree:{record.tree}") is None}


def _undriven(database: Database, executions: Executions, trees: Sequence[str]) -> Collection[str]:
    """Those of these trees that wait for a driver, as the ledger knows them. Of one whose root has ended nothing does,
    but for what was canceled and may still arrive: it need not be asked for."""
    trees = list(executions.linking(list(dict.fromkeys(trees))))
    if not trees:
        return ()
    from flowbridge.drivers import undriven  # noqa: PLC0415  only where a tree links engines
    from flowbridge.ledger.leases import Leases  # noqa: PLC0415

    return undriven(executions, Leases(database), trees)


def _is_driven(database: Database, root: Ref) -> bool:
    from flowbridge.ledger.leases import Leases  # noqa: PLC0415  only where a tree links engines

    return Leases(database).is_driven(root)


def _closely(config: Config, trees: Sequence[str]) -> Mapping[str, Record]:
    from flowbridge.bridge import Bridge  # noqa: PLC0415  most lists look at no tree

    with Bridge(config) as bridge:
        found = bridge.look_at(trees)
        tell_unwritten(bridge)
        return found


def _tell_stale(backends: set[str]) -> None:
    with _opened() as (_, instances, _):
        for name in sorted(backends):
            try:
                instances.get(name)
            except InvalidInput as error:
                note(f"{name} cannot be asked: {error.message}; what it has is shown as last seen")
            else:
                note(
                    f"{name} does not answer: what it has is shown as last seen (`flowbridge backend check {name}`; "
                    f"--timeout waits longer)"
                )


def _age(moment: str | None) -> str:
    from flowbridge_cli.drawing import span  # noqa: PLC0415  most lists show no age

    return f"{span(max(0.0, time.time() - datetime.fromisoformat(moment).timestamp()))} ago" if moment else "never"


def _refuse(**filters: object) -> None:
    """What no engine is asked for is not passed over."""
    given = [f"--{name.replace('_', '-')}" for name, value in filters.items() if value is not None]
    if given:
        raise InvalidInput(
            f"--engine does not go with {', '.join(given)}: engines know no such filter. It takes --backend, one "
            "--status, --limit and --offset"
        )


def _list_engine(backend: str | None, status: tuple[str, ...], limit: int, offset: int, output: str) -> int:
    from flowbridge.enginelist import engine_list  # noqa: PLC0415
    from flowbridge.ledger.executions import Executions  # noqa: PLC0415
    from flowbridge.views import moment  # noqa: PLC0415

    if len(status) > 1:
        raise InvalidInput(f"--engine goes with one --status, not {len(status)}: engines are asked for one")
    if wrong := set(status) - set(_ENGINE_STATUSES):
        raise InvalidInput(f"an engine has no status {wrong.pop()!r} to ask for; it has: {', '.join(_ENGINE_STATUSES)}")
    with _opened() as (config, instances, database):
        executions = Executions(database)
        name = backend or config.default_backend
        if not name:
            raise InvalidInput(f"name a backend with --backend; there are: {', '.join(instances.names()) or 'none'}")
        found = engine_list(instances, executions, name, limit=limit + offset, state=status[0] if status else None)
    rows = [
        {
            "ref": str(member.ref),
            "engine_state": member.raw,
            "workflow": member.workflow,
            "created_at": moment(member.created) if member.created else None,
            "id": record.id if record else None,
        }
        for member, record in found[offset:]
    ]
    emit(rows, output, columns=_ENGINE_COLUMNS)
    return 0


def _parent(executions: Executions, record: Record) -> str | None:
    above = executions.current(record.parent) if record.parent else None
    return above.id if above else None


def _stale(row: Mapping[str, Any], began: str | None) -> bool:
    """Whether an execution that may have moved on was not seen by this command."""
    moving = row["status"] not in _ENDED and not row["gone"]
    return moving and (row["observed_at"] or "") < (began or "")

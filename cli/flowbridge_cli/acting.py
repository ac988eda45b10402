"""Carrying out a verb on one execution or on many: a result for each, and one exit code for all."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import FlowbridgeError, InvalidInput, Rejected
from flowbridge.law.decide import Plan
from flowbridge.ledger.executions import Filter
from flowbridge.model import Status, Verb
from flowbridge.operate import Outcome, fingerprint
from flowbridge_cli.output import emit, error_view, note, styled

_AWAITED = {Status.ERRORED: 7, Status.CANCELED: 8}


@dataclass(frozen=True, slots=True)
class How:
    """The options of a verb."""

    output: str = "table"
    dry_run: bool = False
    already_ok: bool = False
    reason: str = ""
    wait: bool = False
    timeout: float = 30.0
    accept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Ids, or a filter; `yes` acts on a filter without asking."""

    ids: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    backend: str | None = None
    workflow: str | None = None
    older_than: float | None = None
    yes: bool = False

    @property
    def filtered(self) -> bool:
        """Whether a filter was given."""
        return bool(self.status or self.backend or self.workflow or self.older_than is not None)


def split(given: Mapping[str, Any]) -> tuple[Selection, How]:
    """The options of a verb, as a command got them, in their two halves."""
    chosen = {name: given[name] for name in ("status", "backend", "workflow", "older_than", "yes") if name in given}
    how = {name: given[name] for name in How.__dataclass_fields__ if name in given}
    return Selection(ids=tuple(given.get("ids", ())), **chosen), How(**{**how, "accept": tuple(how.get("accept", ()))})


@dataclass(slots=True)
class Results:
    """What came of each."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The highest of 1 to 6, else the highest of 7 to 9, else 0."""
        return worst(row["exit_code"] for row in self.rows)


def worst(codes: Iterable[int]) -> int:
    """One exit code for several."""
    found = set(codes) - {0}
    return max((code for code in found if code <= 6), default=max(found, default=0))


def act(verb: Verb, chosen: Selection, how: How, request: RerunRequest | None = None) -> int:
    """Carry out a verb on all that was chosen; gives the exit code."""
    with Bridge() as bridge:
        ids = _chosen(bridge, chosen)
        if how.dry_run:
            return _shown(bridge, verb, ids, how, request)
        plans: Mapping[str, Plan | FlowbridgeError] = {}
        if chosen.filtered and ids:
            plans = {id: _planned(bridge, verb, id, how, request) for id in ids}
            if not _confirmed(verb, plans, chosen):
                return 0
        results = Results()
        for id in ids:
            plan = plans.get(id)
            expect = fingerprint(plan) if isinstance(plan, Plan) else None
            results.rows.append(_one(bridge, verb, id, how, request, expect))
            _say(results.rows[-1], how)
        if how.output != "table":
            emit(results.rows, how.output)
        return results.exit_code


def _chosen(bridge: Bridge, chosen: Selection) -> Sequence[str]:
    if chosen.ids and chosen.filtered:
        raise InvalidInput("give ids or a filter, not both")
    if chosen.ids:
        return tuple(dict.fromkeys(chosen.ids))
    if not chosen.filtered:
        raise InvalidInput("name an execution, or choose by --status, --backend, --workflow or --older-than")
    filter = Filter(chosen.status, chosen.backend, chosen.workflow, before=chosen.older_than, limit=-1)
    found = [record.id for record in bridge.list(filter)]
    if not found:
        note("nothing matches; nothing was done")
    return found


def _planned(bridge: Bridge, verb: Verb, id: str, how: How, request: RerunRequest | None) -> Plan | FlowbridgeError:
    try:
        return bridge.plan(verb, id, request=request, accept=how.accept)
    except FlowbridgeError as error:
        return error


def _confirmed(verb: Verb, plans: Mapping[str, Plan | FlowbridgeError], chosen: Selection) -> bool:
    """Ask before acting on what a filter found. Without a terminal and without --yes: refused."""
    possible = [id for id, plan in plans.items() if isinstance(plan, Plan)]
    note(f"{verb} touches {len(possible)} of {len(plans)} executions:")
    for id, plan in plans.items():
        touched = f"{sum(bool(line.by) for line in plan.lines)} in its tree" if isinstance(plan, Plan) else plan.message
        note(f"  {id}  {touched}")
    if chosen.yes:
        return True
    if not sys.stdin.isatty():
        raise InvalidInput(f"{verb} by a filter asks first, and there is no terminal to ask on; add --yes")
    if click.confirm("Go ahead?", err=True):
        return True
    note("nothing was done")
    return False


def _shown(bridge: Bridge, verb: Verb, ids: Sequence[str], how: How, request: RerunRequest | None) -> int:
    rows: list[dict[str, Any]] = []
    codes = []
    for id in ids:
        plan = _planned(bridge, verb, id, how, request)
        if isinstance(plan, FlowbridgeError):
            note(f"flowbridge: error: {plan.message}")
            rows.append({"target": id, **error_view(plan)})
            codes.append(plan.exit_code)
        else:
            rows += [{"target": id, **_line_view(line)} for line in plan.lines]
            for warning in plan.warnings:
                note(f"warning: {warning}")
    emit(rows, how.output, columns=("record", "workflow", "ref", "status", "action", "by", "reason"))
    return worst(codes)


def _line_view(line: Any) -> dict[str, Any]:
    return {**line._asdict(), "ref": str(line.ref), "status": str(line.status), "action": str(line.action)}


def _one(
    bridge: Bridge,
    verb: Verb,
    id: str,
    how: How,
    request: RerunRequest | None,
    expect: frozenset[tuple[str, str]] | None,
) -> dict[str, Any]:
    try:
        outcome = bridge.operate(
            verb, id, request=request, accept=how.accept, reason=how.reason, timeout=how.timeout, expect=expect
        )
        row = _outcome_view(id, outcome)
        if how.wait and outcome.done:
            _await(bridge, verb, row, how)
    except Rejected as error:
        if how.already_ok and error.reason == "already":
            return {"target": id, "verb": str(verb), "result": "already", "message": error.message, "exit_code": 0}
        return {"target": id, "verb": str(verb), "result": "rejected", **error_view(error)}
    except FlowbridgeError as error:
        return {"target": id, "verb": str(verb), "result": "failed", **error_view(error)}
    return row


def _outcome_view(id: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "target": id,
        "verb": outcome.verb,
        "result": "done" if outcome.done else "not_done",
        "execution": outcome.execution,
        "status": str(outcome.status),
        "running": list(outcome.running),
        "not_done": dict(outcome.not_done),
        "ended_first": dict(outcome.ended_first),
        "warnings": list(outcome.plan.warnings),
        "operation": outcome.operation,
        "exit_code": outcome.exit_code,
    }


def _await(bridge: Bridge, verb: Verb, row: dict[str, Any], how: How) -> None:
    look = bridge.wait(row["execution"], timeout=how.timeout)
    row["status"] = str(look.record.status)
    row["running"] = []
    wanted = {Verb.CANCEL: Status.CANCELED}.get(verb)
    if look.record.status is not wanted:
        row["exit_code"] = _AWAITED.get(look.record.status, 0)


def _say(row: Mapping[str, Any], how: How) -> None:
    """A result for a person. With JSON or YAML the data says it all, and only failures are told beside it."""
    if row["result"] in ("rejected", "failed"):
        note(f"flowbridge: error: {row['message']}")
        return
    if how.output != "table":
        return
    if row["result"] == "already":
        click.echo(f"{row['target']}  already so")
        return
    click.echo(f"{row['execution']}  {row['verb']}  {styled(row['status'])}")
    _say_rest(row)


def _say_rest(row: Mapping[str, Any]) -> None:
    lines: list[str] = [f"still running: {task}" for task in row["running"]]
    lines += [f"{id} ended first: {status}" for id, status in row["ended_first"].items()]
    lines += [f"warning: {warning}" for warning in row["warnings"]]
    for line in lines:
        click.echo(f"  {line}")
    for id, why in row["not_done"].items():
        note(f"  not done: {id}: {why}")

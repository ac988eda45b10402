"""Carrying out a verb on one execution or on many: a result for each, and one exit code for all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.deadline import in_time_for, within
from flowbridge.errors import DamagedRow, FlowbridgeError, InvalidInput, Rejected
from flowbridge.law.decide import Plan
from flowbridge.model import Status, Verb
from flowbridge.outcome import Outcome
from flowbridge.planning import fingerprint
from flowbridge_cli.choosing import Found, Selection, choose
from flowbridge_cli.documents import Document, full_document
from flowbridge_cli.drawing import ending_lines
from flowbridge_cli.opening import opened
from flowbridge_cli.output import clean, counted, emit, error_view, note, short_id, styled
from flowbridge_cli.pluginwarnings import tell_of_plugins
from flowbridge_cli.several import each
from flowbridge_cli.watching import INTERRUPTED, follow

#: How long an engine that did not answer a moment ago may take for a plan, in seconds.
_STILL_SILENT = 1.0

#: Of how many executions a line names each.
_NAMED = 5

#: How long the engines get to show an outcome where --timeout says nothing, in seconds.
_SHOWN_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class How:
    """The options of a verb."""

    output: str = "table"
    dry_run: bool = False
    already_ok: bool = False
    reason: str = ""
    wait: bool = False
    timeout: float | None = None
    accept: tuple[str, ...] = ()


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
    with opened(how.timeout) as (bridge, left):
        how = replace(how, timeout=left)
        found = choose(bridge, verb, chosen)
        if how.dry_run:
            with in_time_for(None if how.timeout is None else time.monotonic() + how.timeout):
                return _shown(bridge, verb, found.ids, how, request)
        plans: dict[str, Plan | FlowbridgeError] = {}
        if chosen.filtered and found.ids:
            plans = dict(
                each(bridge, found.ids, lambda own, one: (one, _planned_soon(own, verb, one, how, request, found)))
            )
            if not _confirmed(verb, plans, chosen, is_anew=_is_anew(verb, request)):
                return 0
        results = Results()
        try:
            _carry_out(bridge, verb, found, plans, how, request, results)
        except KeyboardInterrupt:
            note(
                "interrupted; what is listed was asked for, what was under way may have been, the rest was not touched"
            )
            return INTERRUPTED
        finally:
            if how.output != "table":
                emit(results.rows, how.output)
            tell_of_plugins(bridge)
        damaged = bridge.ledger.executions.damaged
        return worst((results.exit_code, DamagedRow.exit_code if damaged else 0))


def _carry_out(
    bridge: Bridge,
    verb: Verb,
    found: Found,
    plans: Mapping[str, Plan | FlowbridgeError],
    how: How,
    request: RerunRequest | None,
    results: Results,
) -> None:
    """The verb on all, a few at once; then, where that is wanted, the wait for all of them."""
    began = time.monotonic()
    for row in each(
        bridge, found.ids, lambda own, one: _one(own, verb, one, _how(found, one, how), request, plans.get(one))
    ):
        results.rows.append(row)
        # A reader who has gone (`| head`) is no reason to leave the rest undone.
        with suppress(BrokenPipeError):
            _say(row, how)
    for row in results.rows if how.wait else ():
        if row["result"] in ("done", "already"):
            left = None if how.timeout is None else max(0.0, how.timeout - (time.monotonic() - began))
            try:
                _await(bridge, verb, row, how, left)
            except FlowbridgeError as error:
                row.update(error_view(error))
                note(f"flowbridge: error: {error.message}")


def _how(found: Found, id: str, how: How) -> How:
    """What was open, and was done by the look that found it, is no rejection: it is what was asked for."""
    return replace(how, already_ok=True) if id in found.unfinished else how


def _planned_soon(
    bridge: Bridge, verb: Verb, id: str, how: How, request: RerunRequest | None, found: Found
) -> Plan | FlowbridgeError:
    """The plan for one of several. An engine that was just silent is not given its full time once more for each."""
    with within(_STILL_SILENT if id in found.silent else None):
        return _planned(bridge, verb, id, how, request)


def _planned(bridge: Bridge, verb: Verb, id: str, how: How, request: RerunRequest | None) -> Plan | FlowbridgeError:
    try:
        return bridge.plan(verb, id, request=request, accept=how.accept)
    except FlowbridgeError as error:
        return error


def _confirmed(verb: Verb, plans: Mapping[str, Plan | FlowbridgeError], chosen: Selection, *, is_anew: bool) -> bool:
    """Ask before acting on what a filter found. Without a terminal and without --yes: refused."""
    possible = [id for id, plan in plans.items() if isinstance(plan, Plan)]
    note(f"{verb} is possible for {len(possible)} of {counted(len(plans), 'execution')}:")
    for id, plan in plans.items():
        note(f"  {id}  {_touched(plan, is_anew=is_anew)}")
    if chosen.yes or not possible:
        return True
    if not sys.stdin.isatty():
        raise InvalidInput(f"{verb} by a filter asks first, and there is no terminal to ask on; add --yes")
    if click.confirm("Go ahead?", err=True):
        return True
    note("nothing was done")
    return False


def _is_anew(verb: Verb, request: RerunRequest | None) -> bool:
    return verb is Verb.RERUN and not (request and request.tasks)


def _touched(plan: Plan | FlowbridgeError, *, is_anew: bool) -> str:
    if isinstance(plan, FlowbridgeError):
        return f"no: {plan.message}"
    if is_anew:
        return "starts it anew"
    count = sum(bool(line.by) for line in plan.lines)
    touches = f"touches {count} of {len(plan.lines)} in its tree" if count else f"touches nothing: {_reasons(plan)}"
    return f"{_goes_on(plan.goes_on)}: {touches}" if plan.goes_on else touches


def _goes_on(open_: str) -> str:
    """What becomes of the same verb that is open: a cancel is another one, which does what is left of it."""
    return f"{'takes over' if open_.startswith(f'{Verb.CANCEL} ') else 'goes on with'} the {open_}"


def _reasons(plan: Plan) -> str:
    """Why a plan leaves all of a tree alone: of several executions each reason with those that it is said of."""
    said: dict[str, list[str]] = {}
    for line in plan.lines:
        said.setdefault(line.reason, []).append(f"{short_id(line.record)} ({clean(line.workflow) or '-'})")
    if len(plan.lines) == 1:
        return plan.lines[0].reason
    return "; ".join(f"{_some(named)}: {why}" for why, named in said.items())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _shown(bridge: Bridge, verb: Verb, ids: Sequence[str], how: How, request: RerunRequest | None) -> int:
    rows: list[dict[str, Any]] = []
    codes = []
    for id in ids:
        plan = _planned(bridge, verb, id, how, request)
        if isinstance(plan, FlowbridgeError):
            note(f"flowbridge: error: {plan.message}")
            rows.append({"target": id, "verb": str(verb), "result": "rejected", **error_view(plan)})
            codes.append(plan.exit_code)
            continue
        lines = [_line_view(line) for line in plan.lines]
        if _is_anew(verb, request):
            lines = [_anew(bridge, id)]
        rows.append({"target": id, "verb": str(verb), "result": "planned", "plan": lines, "exit_code": 0})
        rows[-1] |= {"warnings": list(plan.warnings), "goes_on_with": plan.goes_on or None}
    if how.output != "table":
        emit(rows, how.output)
    else:
        _show_plans(rows)
    return worst(codes)


def _show_plans(rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [line for row in rows for line in row.get("plan", ())]
    if lines:
        emit(lines, "table", columns=("action", "by", "execution", "workflow", "backend", "status", "reason"))
    for row in rows:
        if row.get("goes_on_with"):
            click.echo(f"{row['target']} {_goes_on(row['goes_on_with'])}")
        for warning in row.get("warnings", ()):
            click.echo(f"warning: {warning}")


def _line_view(line: Any) -> dict[str, Any]:
    return {
        "action": str(line.action),
        "by": line.by or None,
        "execution": line.record,
        "workflow": line.workflow,
        "backend": line.ref.backend,
        "engine_id": line.ref.id,
        "status": str(line.status),
        "reason": line.reason or None,
    }


def _anew(bridge: Bridge, id: str) -> dict[str, Any]:
    """The plan of a re-run from the beginning: the old execution is left as it is (X1)."""
    record = bridge.find(id)
    return {
        "action": "start",
        "by": "bridge",
        "execution": None,
        "workflow": record.workflow,
        "backend": record.ref.backend,
        "engine_id": None,
        "status": None,
        "reason": f"a new execution with the input of {record.id} (X1)",
    }


def _one(
    bridge: Bridge,
    verb: Verb,
    id: str,
    how: How,
    request: RerunRequest | None,
    plan: Plan | FlowbridgeError | None,
) -> dict[str, Any]:
    """A verb on one execution. A plan that was shown is the one carried out; one that was refused stays so (O9)."""
    if isinstance(plan, FlowbridgeError):
        return _failure(verb, id, plan, how)
    expect = fingerprint(plan) if plan is not None else None
    timeout = _SHOWN_WITHIN if how.timeout is None else how.timeout
    try:
        outcome = bridge.operate(
            verb,
            id,
            request=request,
            accept=how.accept,
            reason=how.reason,
            timeout=timeout,
            expect=expect,
            already_ok=how.already_ok,
        )
    except FlowbridgeError as error:
        if isinstance(error, Rejected) and error.reason == "plan_changed":
            _show_new_plan(bridge, verb, id, how, request)
        return _failure(verb, id, error, how)
    return _outcome_view(id, outcome)


def _show_new_plan(bridge: Bridge, verb: Verb, id: str, how: How, request: RerunRequest | None) -> None:
    """What would be touched now (O9), on stderr: what was confirmed was something else."""
    plan = _planned(bridge, verb, id, how, request)
    for line in () if isinstance(plan, FlowbridgeError) else plan.lines:
        note(
            f"  {line.action} {line.record} ({line.workflow}): {line.status}{f', {line.reason}' if line.reason else ''}"
        )


def _failure(verb: Verb, id: str, error: FlowbridgeError, how: How) -> dict[str, Any]:
    row: dict[str, Any] = {"target": id, "verb": str(verb)}
    if not isinstance(error, Rejected):
        return {**row, "result": "failed", **error_view(error)}
    if how.already_ok and error.reason == "already":
        return {**row, "result": "already", "execution": error.execution, "message": error.message, "exit_code": 0}
    return {**row, "result": "rejected", **error_view(error)}


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
        "abandoned": list(outcome.abandoned),
        "warnings": list(outcome.plan.warnings),
        "operation": outcome.operation,
        "exit_code": outcome.exit_code,
    }


def _await(bridge: Bridge, verb: Verb, row: dict[str, Any], how: How, timeout: float | None) -> None:
    """Wait for what a verb leads to: `paused` or the end for a pause, else the end. A cancel that cancels is done."""
    also = frozenset({Status.PAUSED}) if verb is Verb.PAUSE else frozenset()
    since = _before(bridge, row["execution"]) if verb in (Verb.RERUN, Verb.SKIP) else None
    look, code = follow(bridge, row["execution"], timeout=timeout, quiet=how.output != "table", also=also, since=since)
    row |= {"execution": look.record.id, "status": str(look.record.status)}
    wanted = verb is Verb.CANCEL and look.record.status is Status.CANCELED
    row["exit_code"] = 0 if wanted else code
    row["running"] = [] if code == 0 or wanted else row.get("running", [])
    if verb in (Verb.RERUN, Verb.SKIP) and how.output != "table":
        row["document"] = full_document(bridge, look)
    elif verb in (Verb.RERUN, Verb.SKIP):
        click.echo("\n".join(ending_lines(full_document(bridge, look, results=False))))
    elif how.output == "table":
        click.echo(f"{short_id(look.record.id)}  {styled(row['status'])}")


def _before(bridge: Bridge, id: str) -> Document | None:
    """The tree of what an execution took over from, as it stood then; None where it is a new one."""
    before = bridge.find(id).rerun_of
    frozen = bridge.get(before).frozen if before else None
    return dict(frozen) if frozen else None


def _say(row: Mapping[str, Any], how: How) -> None:
    """A result for a person. With JSON or YAML the data says it all, and only failures are told beside it."""
    if row["result"] in ("rejected", "failed"):
        note(f"flowbridge: error: {row['message']}")
        return
    if how.output != "table":
        return
    if row["result"] == "already":
        click.echo(f"{row['execution']}  {row['verb']}  already so")
        return
    click.echo(f"{row['execution']}  {row['verb']}  {styled(row['status'])}")
    _say_rest(row)


def _say_rest(row: Mapping[str, Any]) -> None:
    lines: list[str] = [f"still running: {task}" for task in row["running"]]
    lines += [f"{id} ended first: {status}" for id, status in row["ended_first"].items()]
    lines += [f"warning: {warning}" for warning in row["warnings"]]
    lines += [f"what is abandoned goes on by `flowbridge recover {id}` (S6)" for id in row["abandoned"][:1]]
    for line in lines:
        click.echo(f"  {line}")
    for id, why in row["not_done"].items():
        note(f"  not done: {id}: {why}")

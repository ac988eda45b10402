"""The kit's shapes in the workflow language that the reference engine and a real Mistral share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from flowbridge.conformance.shapes import Flow, Shape, Step

#: How a gate is written where the engine has no action of its own for it: an action that waits to be told.
LINK = {
    "flowbridge_link": {"input": ["target", {"input": {}}, {"item": None}, {"owner": ""}], "base": "std.async_noop"}
}


def workbook(shape: Shape, gate: str, actions: dict[str, Any] | None = None) -> str:
    """A shape as a workbook, named after it so that several can be deployed side by side."""
    book: dict[str, Any] = {"version": "2.0", "name": f"kit_{shape.name}"}
    if actions:
        book["actions"] = actions
    book["workflows"] = {flow.name: _flow(shape, flow, gate, link=bool(actions)) for flow in shape.flows}
    return yaml.safe_dump(book, sort_keys=False)


def flow_of(shape: Shape, flow: Flow, link: Callable[[str], str]) -> dict[str, Any]:
    """One flow of a shape, whose sub-workflows are linked to what `link` calls them."""
    found = _flow(shape, flow, "flowbridge.run", link=False)
    for step in flow.steps:
        task = found["tasks"][step.name]
        if "workflow" in task:
            target = link(task.pop("workflow"))
            task |= {"action": "flowbridge.run", "input": {"target": target, "input": task["input"]}}
    return found


def _flow(shape: Shape, flow: Flow, gate: str, *, link: bool) -> dict[str, Any]:
    tasks = {step.name: _task(shape, flow, step, gate, link=link) for step in flow.steps}
    return {"input": [{"n": 0}], "output": {"n": "<% $.n %>"}, "tasks": tasks}


def _task(shape: Shape, flow: Flow, step: Step, gate: str, *, link: bool) -> dict[str, Any]:
    body: dict[str, Any] = _runs(shape, flow, step, gate, link=link)
    after = [other.name for other in flow.steps if step.name in other.after]
    handlers = [other.name for other in flow.steps if other.on_error_of == step.name]
    if after:
        body |= {"on-success": after, "on-skip": list(after)}
    if handlers:
        body["on-error"] = handlers
    if step.join:
        body["join"] = "all"
    if step.items is not None:
        body["with-items"] = f"i in {list(range(step.items))}"
    if step.at_once is not None:
        body["concurrency"] = step.at_once
    if step.pause_before:
        body["pause-before"] = True
    if step.wait_before:
        body["wait-before"] = step.wait_before
    return body


def _runs(shape: Shape, flow: Flow, step: Step, gate: str, *, link: bool) -> dict[str, Any]:
    item = "<% $.i %>" if step.items is not None else None
    if step.runs == "nothing":
        return {"action": "std.noop"}
    if step.runs == "gate":
        target = f"{flow.name}.{step.name}"
        # Another ledger's, so that nobody here starts anything for it.
        inputs: dict[str, Any] = {"target": target, "owner": "the kit"}
        if link and item:
            inputs["item"] = item
        return {"action": gate, "input": inputs}
    return {"workflow": step.runs, "input": {"n": item or 0}}

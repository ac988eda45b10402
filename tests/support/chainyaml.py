"""The conformance kit's shapes as chains of a pack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowbridge.conformance.shapes import Flow, Shape, Step

PACK = "kit"


def write_pack(folder: Path, shape: Shape) -> str:
    """Write a shape's flows as chains of a pack; gives the name of the one to start. Raises `ValueError` where a chain
    cannot be like that."""
    place = folder / PACK / "actions"
    (place / "chains").mkdir(parents=True, exist_ok=True)
    for flow in shape.flows:
        name = _name(shape, flow.name)
        chain = {"chain": [_task(shape, flow, step) for step in flow.steps]}
        parameters = {"n": {"type": "integer", "default": 0}}
        metadata = {
            "name": name,
            "runner_type": "action-chain",
            "entry_point": f"chains/{name}.yaml",
            "parameters": parameters,
        }
        (place / "chains" / f"{name}.yaml").write_text(json.dumps(chain))
        (place / f"{name}.yaml").write_text(json.dumps(metadata))
    return f"{PACK}.{_name(shape, shape.flows[0].name)}"


def chain_of_flow(shape: Shape, flow: Flow, link: Callable[[str], str]) -> dict[str, Any]:
    """One flow of a shape as a chain, whose sub-workflows are linked to what `link` calls them. Raises `ValueError`."""
    tasks = [_task(shape, flow, step) for step in flow.steps]
    for task, step in zip(tasks, flow.steps, strict=True):
        if step.runs not in ("gate", "nothing"):
            task |= {"ref": "flowbridge.run", "parameters": {"target": link(step.runs), "input": {"n": 0}}}
    return {"chain": tasks}


def _name(shape: Shape, flow: str) -> str:
    return f"{shape.name}_{flow}"


def _task(shape: Shape, flow: Flow, step: Step) -> dict[str, Any]:
    if step.items is not None or step.join or step.pause_before or step.wait_before:
        raise ValueError(
            f"a chain has no such task as {step.name}: it goes over no items, joins nothing and waits for nothing"
        )
    ways = {"on-success": [one.name for one in flow.steps if step.name in one.after]}
    ways["on-failure"] = [one.name for one in flow.steps if one.on_error_of == step.name]
    first = [one.name for one in flow.steps if not one.after and not one.on_error_of]
    if len(first) > 1 or any(len(way) > 1 for way in ways.values()):
        raise ValueError("a chain runs one task after the other, and here several begin at once")
    return {"name": step.name, **_runs(shape, flow, step), **{key: way[0] for key, way in ways.items() if way}}


def _runs(shape: Shape, flow: Flow, step: Step) -> dict[str, Any]:
    if step.runs == "gate":
        # Another ledger's, so that nobody here starts anything for it.
        return {"ref": "flowbridge.run", "parameters": {"target": f"{flow.name}.{step.name}", "owner": "the kit"}}
    return {"ref": "core.noop" if step.runs == "nothing" else f"{PACK}.{_name(shape, step.runs)}"}

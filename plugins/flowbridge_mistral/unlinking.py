"""A definition that the server has, in the words of whoever wrote it: links that were put in are turned back.

Only those that say that this ledger put them there are. A text without any is not touched at all.
"""

from __future__ import annotations

from typing import Any

import yaml

from flowbridge_mistral import nodes
from flowbridge_mistral.linking import INDEX, OF_ITEM, OF_PARENT
from flowbridge_mistral.links import HERE, LINK


def original(text: str, deployer: str) -> str:
    """The text with what `linking` put in for this deployer taken out again."""
    try:
        root = yaml.compose(text, Loader=nodes.Loader)
    except (yaml.YAMLError, RecursionError):
        return text
    if not isinstance(root, yaml.MappingNode):
        return text
    book = f"{nodes.scalar(root, 'name')}." if nodes.get(root, "workflows") is not None else ""
    flows = nodes.get(root, "workflows") if book else root
    if not isinstance(flows, yaml.MappingNode):
        return text
    changed = {name: new for name, flow in nodes.pairs(flows) if (new := _flow(flow, deployer, book)) is not flow}
    if not changed:
        return text
    flows = nodes.changed(flows, changed)
    return nodes.text(nodes.changed(root, {"workflows": flows}) if book else flows)


def _flow(flow: yaml.Node, deployer: str, book: str) -> yaml.Node:
    tasks = nodes.get(flow, "tasks")
    if not isinstance(flow, yaml.MappingNode) or not isinstance(tasks, yaml.MappingNode):
        return flow
    changed = {name: new for name, task in nodes.pairs(tasks) if (new := _task(task, deployer, book)) is not task}
    return nodes.changed(flow, {"tasks": nodes.changed(tasks, changed)}) if changed else flow


def _task(task: yaml.Node, deployer: str, book: str) -> yaml.Node:
    given = nodes.get(task, "input")
    is_ours = bool(deployer) and nodes.scalar(given, "deployed_by") == deployer
    if not isinstance(task, yaml.MappingNode) or nodes.scalar(task, "action") != LINK or not is_ours:
        return task
    inputs: dict[str, Any] = {name: value for name, value in nodes.pairs(given) if name != "deployed_by"}
    new: dict[str, Any] = {}
    if nodes.scalar(given, "item") in OF_ITEM:
        del inputs["item"]
        new["with-items"] = _uncounted(nodes.get(task, "with-items"))
    target = nodes.scalar(given, "target") or ""
    by_name = not any(mark in target for mark in (":", "<%", "{{")) and inputs.keys() <= {"target", "input"}
    if target.startswith(HERE) and nodes.scalar(given, "env") == OF_PARENT:
        new |= {"action": None, "workflow": target.removeprefix(HERE).removeprefix(book), "input": inputs.get("input")}
    elif by_name and target:
        new |= {"action": target, "input": inputs.get("input")}
    else:
        new["input"] = inputs
    return nodes.changed(task, new)


def _uncounted(items: yaml.Node | None) -> yaml.Node | None:
    """The lists of a task without the one that counts them."""
    if not isinstance(items, yaml.SequenceNode):
        return items
    left = [one for one in items.value if not str(one.value).startswith(f"{INDEX} in ")]
    return left[0] if len(left) == 1 else yaml.SequenceNode(items.tag, left, flow_style=items.flow_style)

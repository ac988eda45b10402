"""Before a definition is deployed: its tasks that name work elsewhere become links, which a stock Mistral can run.

A link is a task whose action only waits: what it waits for stands in its inputs, and is for a bridge to start and to
report. What is rewritten says the same as before, expressions untouched; a text without links is not touched at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Never

import yaml

from flowbridge.errors import InvalidInput
from flowbridge_mistral import inline, nodes
from flowbridge_mistral.inline import Call
from flowbridge_mistral.links import HERE, INPUTS, LINK

#: The variable that counts the items of a link.
INDEX = "flowbridge_item"

_INDEX_IN_YAQL = f"<% $.{INDEX} %>"
_INDEX_IN_JINJA = "{{ _." + INDEX + " }}"

#: What counts an item, and what gives the environment of the parent: only links that are put in say so.
OF_ITEM = (_INDEX_IN_YAQL, _INDEX_IN_JINJA)
OF_PARENT = "<% env() %>"

_CLAUSE = re.compile(r"\s*([-\w]+)\s*in\s*(.*)", re.DOTALL)
_YAQL = re.compile(r"<%(.*?)%>")
_JINJA = re.compile(r"\{\{(.*)\}\}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes a link, and what each link says.

    `targets` are names of actions that stand for work elsewhere; `means` tells whether a name would be one. `deployer`
    is the ledger that owns what it deploys, where nobody says otherwise. `subworkflows` tells that calls of
    sub-workflows become links too. `refused` are names of actions that stand for nothing, each with the reason.
    """

    targets: Collection[str] = ()
    means: Callable[[str], bool] = lambda _: False
    deployer: str = ""
    subworkflows: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A task, or an ad-hoc action, of a file: for messages."""

    source: str
    name: str

    def wrong(self, at: yaml.Node, words: str) -> InvalidInput:
        """The error for what stands at a node."""
        mark = at.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        return InvalidInput(f"{self.name}: {words}", source=self.source, line=line, column=column)


def action_names(root: yaml.MappingNode, kind: str) -> set[str]:
    """The actions that a definition names and does not define, the bases of its own included."""
    own = _own_actions(root, kind)
    bases = {action: nodes.scalar(body, "base") for action, body in own.items()}
    called = [*(nodes.scalar(task, "action") for _, task in _tasks(root, kind)), *bases.values()]
    names = {inline.parse(text).name for text in called if text}
    defined = {LINK, *own, *(f"{nodes.scalar(root, 'name')}.{name}" for name in own)}
    return {name for name in names if name not in defined and "<%" not in name and "{{" not in name}


@dataclass
class Linker:
    """Rewrites one definition. `found` tells afterwards whether there are links in it."""

    source: str
    rules: Rules
    found: bool = field(default=False, init=False)
    _book: str = field(default="", init=False)
    _beside: set[str] = field(default_factory=set, init=False)

    def rewrite(self, root: yaml.MappingNode, kind: str) -> yaml.MappingNode:
        """The definition with its links; the same node where nothing is to be changed.

        Raises `InvalidInput` with line and column for what cannot be linked.
        """
        own = _own_actions(root, kind)
        for name, body in own.items():
            self._check_base(Place(self.source, f"action {name}"), body)
        targets = {name for name in self.rules.targets if name not in own}
        flows = nodes.get(root, "workflows") if kind == "workbooks" else root
        self._book = nodes.scalar(root, "name") or "" if kind == "workbooks" else ""
        self._beside = {name for name, _ in nodes.pairs(flows)} if self._book else set()
        new = {name: self._flow(flow, targets) for name, flow in nodes.pairs(flows)}
        changed = _differing(flows, new)
        if not changed or not isinstance(flows, yaml.MappingNode):
            return root
        flows = nodes.changed(flows, changed)
        return nodes.changed(root, {"workflows": flows}) if kind == "workbooks" else flows

    def _flow(self, flow: yaml.Node, targets: Collection[str]) -> yaml.Node:
        tasks = nodes.get(flow, "tasks")
        if not isinstance(tasks, yaml.MappingNode) or not isinstance(flow, yaml.MappingNode):
            return flow
        new = {name: self._task(name, task, targets) for name, task in nodes.pairs(tasks)}
        changed = _differing(tasks, new)
        return nodes.changed(flow, {"tasks": nodes.changed(tasks, changed)}) if changed else flow

    def _task(self, name: str, task: yaml.Node, targets: Collection[str]) -> yaml.Node:
        if not isinstance(task, yaml.MappingNode):
            return task
        link = _Link(Place(self.source, f"task {name}"), task, self.rules.deployer)
        action, flow = nodes.scalar(task, "action"), nodes.scalar(task, "workflow")
        call = inline.parse(action or "")
        if refusal := self.rules.refused.get(call.name):
            link.reject("action", refusal)
        if call.name == LINK:
            made: yaml.Node = link.written_out(call)
        elif call.name in targets:
            made = link.instead_of("action", call, call.name)
        elif flow and (target := self._sub_workflow(inline.parse(flow))):
            made = link.instead_of("workflow", inline.parse(flow), target)
        else:
            link.check(call, self.rules.means)
            return task
        self.found = True
        return made

    def _sub_workflow(self, call: Call) -> str:
        """The target of a link in the place of this call, "" where it stays what it is.

        In a workbook an expression may mean a workflow beside it, or one elsewhere: that is for the engine to find out.
        """
        if not self.rules.subworkflows or (call.by_expression and self._book):
            return ""
        return f"{HERE}{self._book}.{call.name}" if call.name in self._beside else f"{HERE}{call.name}"

    def _check_base(self, place: Place, body: yaml.Node) -> None:
        base = nodes.get(body, "base")
        name = inline.parse(str(base.value)).name if isinstance(base, yaml.ScalarNode) else ""
        if base is not None and (refusal := self.rules.refused.get(name)):
            raise place.wrong(base, refusal)
        if base is not None and (name == LINK or name in self.rules.targets):
            raise place.wrong(base, f"its base {name} runs elsewhere, and only a task can wait for that: name it there")


class _Link:
    """One task that becomes a link."""

    def __init__(self, place: Place, task: yaml.MappingNode, deployer: str) -> None:
        self._place = place
        self._task = task
        self._deployer = deployer

    def check(self, call: Call, means: Callable[[str], bool]) -> None:
        """Raises where an expression may name at run time what cannot be told from what the engine runs itself."""
        name = next((word for word in call.quoted if means(word)), None) if call.by_expression else None
        if name:
            self.reject("action", f"an expression may name {name}, which runs elsewhere: give it to {LINK} as target")

    def written_out(self, call: Call) -> yaml.MappingNode:
        """A task that names the action of links itself. It is not touched where nothing is missing."""
        given = self._given(call, f"write the inputs of {LINK} one by one")
        if given is None:
            return self._task
        inputs = dict(given)
        for name in inputs:
            if name not in INPUTS:
                self.reject("action", f"{LINK} takes no {name}; it takes: {', '.join(INPUTS[:2])}")
        if _is_null(inputs.get("target")):
            self.reject("action", f"{LINK} needs a target: INSTANCE:NAME, or a name in a catalog")
        return self._filled("action", inputs, changed=bool(call.parameters))

    def instead_of(self, word: str, call: Call, target: str) -> yaml.MappingNode:
        """A task that calls something elsewhere, or a sub-workflow that is to run on its own."""
        if word == "action" and (remote := nodes.get(self._task, "target")):
            raise self._place.wrong(remote, f"{call.name} does not run on an executor of this engine: leave out target")
        given = self._given(call, "write its parameters behind input, or give them all by the expression")
        whole = nodes.get(self._task, "input") if given is None else nodes.node(dict(given))
        inputs: dict[str, Any] = {"target": target}
        if given is None or given:
            inputs["input"] = whole
        if word == "workflow":
            inputs["env"] = OF_PARENT
        return self._filled(word, inputs, changed=True)

    def _given(self, call: Call, advice: str) -> list[tuple[str, Any]] | None:
        """What a task gives, by name. None where it gives one expression for all of it."""
        given = nodes.get(self._task, "input")
        if given is None or isinstance(given, yaml.MappingNode):
            return list({**dict(nodes.pairs(given)), **call.parameters}.items())
        if call.parameters or (call.name == LINK and nodes.get(self._task, "with-items") is not None):
            self.reject("input", f"what it is given stands in one expression: {advice}")
        return None

    def _filled(self, word: str, inputs: dict[str, Any], *, changed: bool) -> yaml.MappingNode:
        new: dict[str, Any] = {}
        items = nodes.get(self._task, "with-items")
        if items is not None and "item" not in inputs:
            clauses = self._clauses(items)
            new["with-items"] = [*clauses, f"{INDEX} in {self._range(items, clauses[0])}"]
            inputs["item"] = _INDEX_IN_JINJA if _is_jinja(clauses[0]) else _INDEX_IN_YAQL
        if self._deployer and "deployed_by" not in inputs:
            inputs["deployed_by"] = self._deployer
            changed = True
        if not changed and not new:
            return self._task
        if word == "workflow":
            new |= {"workflow": None, "target": None}
        return nodes.changed(self._task, {**new, "action": LINK, "input": inputs})

    def _clauses(self, items: yaml.Node) -> list[str]:
        parts = items.value if isinstance(items, yaml.SequenceNode) else [items]
        texts = [str(part.value) for part in parts if isinstance(part, yaml.ScalarNode)]
        if not texts:
            self.reject("with-items", "write it as `NAME in LIST`, or as a list of these")
        return texts

    def _range(self, items: yaml.Node, clause: str) -> str:
        """As many numbers as the first list has members, told by the same expression."""
        found = _CLAUSE.match(clause)
        members = found[2].strip() if found else ""
        if yaql := _YAQL.match(members):
            return f"<% range(len({yaql[1].strip()})) %>"
        if jinja := _JINJA.match(members):
            return "{{ range((" + jinja[1].strip() + ") | list | length) | list }}"
        try:
            count = len(json.loads(members[: members.rindex("]") + 1]))
        except (ValueError, TypeError):
            raise self._place.wrong(items, f"how many items there are cannot be told from {clause!r}") from None
        return json.dumps(list(range(count)))

    def reject(self, key: str, words: str) -> Never:
        """Raises the error for what stands under a key of the task."""
        raise self._place.wrong(nodes.get(self._task, key) or self._task, words)


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, yaml.Node) and value.tag == "tag:yaml.org,2002:null")


def _is_jinja(text: str) -> bool:
    return "<%" not in text and "{{" in text


def _own_actions(root: yaml.MappingNode, kind: str) -> dict[str, yaml.Node]:
    """The ad-hoc actions that a workbook defines, by the names that its tasks call them."""
    return dict(nodes.pairs(nodes.get(root, "actions"))) if kind == "workbooks" else {}


def _tasks(root: yaml.MappingNode, kind: str) -> Iterator[tuple[str, yaml.Node]]:
    for _, flow in nodes.pairs(nodes.get(root, "workflows") if kind == "workbooks" else root):
        yield from nodes.pairs(nodes.get(flow, "tasks"))


def _differing(of: yaml.Node | None, new: dict[str, yaml.Node]) -> dict[str, yaml.Node]:
    return {name: new[name] for name, value in nodes.pairs(of) if new[name] is not value}

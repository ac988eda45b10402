"""Small random workflows, valid by construction, the same ones for the same seed.

A workflow grows from its start: a task may lead to tasks behind it only, so there are no loops and every task can be
reached, and a task that several lead to is a join, or runs once for each. What is published depends on the way that
was taken and not on time, and no two branches publish the same name, so the outcome is no race. Where commands end a
workflow early they stand in a chain, where nothing runs beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import yaml

from live.differential import Case

_MOST_TASKS = 5
_CHAIN_ODDS, _DIAMOND_ODDS = 0.3, 0.2


@dataclass
class _Flow:
    """A workflow that is being made. `earlier` are the names published by the tasks that surely ran before one."""

    random: Random
    name: str
    tasks: dict[str, dict[str, Any]]
    sure: dict[str, frozenset[str]]


def random_case(seed: int) -> Case:
    """The workflow of a seed, with the sub-workflow that it may call."""
    random = Random(seed)
    name = f"random_{seed}"
    chain = random.random() < _CHAIN_ODDS
    flow = _Flow(random, name, {}, {})
    names = [f"t{number}" for number in range(1, random.randint(2, _MOST_TASKS) + 1)]
    inbound = _links(flow, names, chain=chain)
    for task in names:
        flow.sure[task] = _surely_before(flow, task, inbound)
        _work(flow, task)
        if len(inbound[task]) > 1:
            _join(flow, task, len(inbound[task]))
    if chain:
        _commands(flow, names)
    elif random.random() < _DIAMOND_ODDS:
        _diamond(flow)
    book = {"version": "2.0", name: _body(flow), f"{name}_child": _child(random)}
    text = yaml.safe_dump(book, sort_keys=False, width=110, allow_unicode=True)
    return Case(name, text, input={"n": random.randint(0, 3), "list": _list(random)})


def _body(flow: _Flow) -> dict[str, Any]:
    body: dict[str, Any] = {
        "input": ["n", {"list": []}],
        "vars": {"v": flow.random.choice([1, "<% $.n + 1 %>", "{{ _.n * 2 }}"])},
    }
    if any("join" in task for task in flow.tasks.values()):
        # What a join knows that did not come together hangs on who arrived first.
        body["output"] = {"n": "<% $.n %>", "v": "{{ _.v }}"}
    return {**body, "tasks": flow.tasks}


def _child(random: Random) -> dict[str, Any]:
    """A sub-workflow that fails for x = 2."""
    ways: Any = random.choice([[{"fail": "<% $.x = 2 %>"}], [{"fail": "{{ _.x == 2 }}"}, "d"]])
    tasks: dict[str, Any] = {"c": {"action": "std.noop", "publish": {"got": "<% $.x %>"}, "on-success": ways}}
    if "d" in ways:
        tasks["d"] = {"action": "std.echo output=<% $.got %>"}
    return {"input": ["x"], "output": {"y": "<% $.x %>"}, "tasks": tasks}


def _list(random: Random) -> list[int]:
    return [random.randint(0, 3) for _ in range(random.randint(0, 3))]


def _links(flow: _Flow, names: list[str], *, chain: bool) -> dict[str, list[str]]:
    """Every task but the starts is led to by one or two tasks before it."""
    random = flow.random
    inbound: dict[str, list[str]] = {name: [] for name in names}
    flow.tasks.update({name: {} for name in names})
    for place, name in enumerate(names[1:], 1):
        if not chain and random.random() < 0.2:
            continue  # another start
        before = [names[place - 1]] if chain else random.sample(names[:place], min(place, random.choice([1, 1, 2, 3])))
        for cause in before:
            _lead(flow, cause, name)
        inbound[name] = before
    return inbound


def _lead(flow: _Flow, cause: str, target: str) -> None:
    random = flow.random
    clause = random.choice(["on-success", "on-success", "on-success", "on-complete", "on-error"])
    way: Any = target
    if random.random() < 0.3:
        way = {target: _condition(random)}
    flow.tasks[cause].setdefault(clause, []).append(way)


def _condition(random: Random) -> str:
    return random.choice(
        [
            "<% $.n > 1 %>",
            "{{ _.n > 1 }}",
            "<% $.v = 2 %>",
            "<% $.list.len() > 1 %>",
            "{{ _.list | length < 2 }}",
            "<% $.n in $.list %>",
            "<% task().state = 'SUCCESS' %>",
        ]
    )


def _surely_before(flow: _Flow, task: str, inbound: dict[str, list[str]]) -> frozenset[str]:
    """The tasks whose end every start of `task` stands behind, as far as one way leads there."""
    causes = inbound[task]
    return frozenset() if len(causes) != 1 else flow.sure[causes[0]] | {causes[0]}


def _work(flow: _Flow, name: str) -> None:
    """What a task does, with its policies."""
    random, task = flow.random, flow.tasks[name]
    kind = random.choice(["noop", "echo", "echo", "fail", "sub", "items", "items_sub"])
    value = _value(flow, name)
    if kind == "noop":
        task["action"] = "std.noop"
    elif kind == "echo":
        task |= {"action": "std.echo", "input": {"output": value}}
    elif kind == "fail":
        task["action"] = "std.fail"
    elif kind == "sub":
        task |= {"workflow": f"{flow.name}_child", "input": {"x": random.choice([1, 2, "<% $.n %>"])}}
    else:
        _items(flow, task, sub=kind == "items_sub")
    _publish(flow, name, echoes=kind == "echo")
    if random.random() < 0.2:
        task["retry"] = {"count": random.randint(1, 2), "delay": 0}
        if random.random() < 0.3:
            task["retry"]["break-on"] = "<% $.n > 1 %>"
    if random.random() < 0.04:
        task[random.choice(["wait-before", "wait-after"])] = 1


def _items(flow: _Flow, task: dict[str, Any], *, sub: bool) -> None:
    random = flow.random
    task["with-items"] = random.choice(["i in <% $.list %>", "i in {{ _.list }}", "i in [1, 2]"])
    if sub:
        task |= {"workflow": f"{flow.name}_child", "input": {"x": "<% $.i %>"}}
    else:
        task |= {
            "action": "std.echo",
            "input": {"output": random.choice(["<% $.i %>", "{{ _.i + 1 }}", "of <% $.i %>"])},
        }
    if random.random() < 0.4:
        task["concurrency"] = random.randint(1, 2)


def _value(flow: _Flow, name: str) -> Any:
    """Something to echo: data, input, vars, or what a task before it published."""
    published = [f"p_{before}" for before in sorted(flow.sure[name]) if "publish" in flow.tasks[before]]
    choices: list[Any] = [5, "text", [1, "<% $.n %>"], {"k": "{{ _.n }}"}, "<% $.v %>", "n is <% $.n %>", None]
    choices += [f"<% $.get({each}, unseen) %>" for each in published]
    return flow.random.choice(choices)


def _publish(flow: _Flow, name: str, *, echoes: bool) -> None:
    random, task = flow.random, flow.tasks[name]
    if random.random() < 0.5:
        task["publish"] = {f"p_{name}": random.choice(["<% task().result %>", 1]) if echoes else "<% $.n %>"}
    if random.random() < 0.3:
        task["publish-on-error"] = {f"e_{name}": "<% task().state %>"}
    ways = task.get("on-success")
    if ways is not None and random.random() < 0.2:
        task["on-success"] = {"publish": {"branch": {f"b_{name}": "<% $.n + 1 %>"}}, "next": ways}


def _join(flow: _Flow, name: str, inbound: int) -> None:
    random, task = flow.random, flow.tasks[name]
    kind = random.choice(["all", "all", "all", "none", inbound])
    if kind != "none":
        task["join"] = kind


def _commands(flow: _Flow, names: list[str]) -> None:
    """In a chain, a command at its end, or before a way that is then not taken."""
    random = flow.random
    name = random.choice(names)
    command = random.choice(["fail", "succeed", "noop"])
    way: Any = random.choice([command, {command: _condition(random)}])
    clauses = [clause for clause in ("on-success", "on-error", "on-complete") if clause in flow.tasks[name]]
    if not clauses:
        flow.tasks[name][random.choice(["on-success", "on-error", "on-complete"])] = [way]
    elif isinstance(ways := flow.tasks[name][clauses[0]], list):
        ways.insert(0, {command: _condition(random)})


def _diamond(flow: _Flow) -> None:
    """Two sides of which one is taken, and a join of one behind them."""
    condition = flow.random.choice(["$.n > 1", "$.list.len() > 1", "$.v = 2"])
    flow.tasks |= {
        "split": {"action": "std.noop", "on-success": [{"l": f"<% {condition} %>"}, {"r": f"<% not ({condition}) %>"}]},
        "l": {"action": "std.noop", "publish": {"side": "left"}, "on-complete": ["meet"]},
        "r": {"action": flow.random.choice(["std.noop", "std.fail"]), "on-complete": ["meet"]},
        "meet": {"join": flow.random.choice(["one", 1]), "action": "std.echo output=<% $.get(side) %>"},
    }

"""What a verb costs on a Mistral: as many requests for a hundred sub-workflows as for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.model import Status, TaskStatus, Verb
from flowbridge_mistral.backend import MistralBackend
from support.fake_mistral import FakeMistral
from support.wire import Answer, Heard, answer, wired

SIZES = (1, 10, 100)


def book(size: int, before: str = "") -> Definition:
    """A root with that many sub-workflows, each with a gate; `before` is a task that each has before its gate."""
    return Definition(
        f"""\
version: '2.0'
name: wide
actions:
  gate: {{input: [name], base: std.async_noop}}
workflows:
  root:
    tasks:
      t: {{with-items: "i in {json.dumps(list(range(size)))}", workflow: child x=<% $.i %>}}
  child:
    input: [x]
    tasks:
      {before}
      c: {{action: gate, input: {{name: <% $.x %>}}}}
"""
    )


class Wide:
    """A root of a given size on a Mistral in memory, adopted, and the requests that reach it."""

    def __init__(self, flow: Bridge, backend: MistralBackend, server: FakeMistral, heard: list[Heard]) -> None:
        self.flow, self.backend, self.server, self.heard = flow, backend, server, heard
        self.id = flow.run("wide.root", backend="prod").id

    def end(self, status: TaskStatus) -> None:
        """End every gate."""
        for action in list(self.server.actions.values()):
            self.backend.report(self.id, action.id, status, {})
        self.flow.get(self.id)

    def cost(self, verb: Verb, *tasks: str) -> list[tuple[str, str]]:
        """The requests of a verb that is done, each by its method and the collection it goes to."""
        self.heard.clear()
        assert self.flow.operate(verb, self.id, request=RerunRequest(tasks) if tasks else None).done
        return [(heard.method, heard.path.partition("/")[0]) for heard in self.heard]


@contextmanager
def wide(size: int, folder: Path, before: str = "", **options: str) -> Iterator[Wide]:
    server, heard = FakeMistral(), list[Heard]()

    def asked(request: Heard) -> Answer:
        heard.append(request)
        return answer(server, request)

    with wired(mistral=asked):
        backend = MistralBackend("prod", {"url": "http://mistral.example.org/v2", **options})
        config = Config(ledger=folder / f"{size}.db", actor="ada")
        with Bridge(config, backends=[backend], drive=lambda _: None, durable=False) as flow:
            backend.deploy(book(size, before))
            yield Wide(flow, backend, server, heard)


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.RERUN])
def test_a_verb_costs_the_same_number_of_requests_whatever_the_size_of_the_tree(verb: Verb, tmp_path: Path) -> None:
    costs = {}
    for size in SIZES:
        with wide(size, tmp_path) as root:
            if verb is Verb.RESUME:
                root.flow.pause(root.id)
                root.end(TaskStatus.SUCCEEDED)
            if verb is Verb.RERUN:
                root.end(TaskStatus.ERRORED)
                costs[size] = root.cost(verb, f"t[{size - 1}].c")
            else:
                costs[size] = root.cost(verb)
    assert costs[1] == costs[10] == costs[100]
    assert sum(method == "PUT" for method, _ in costs[1]) == 1
    assert len(costs[1]) <= 12


def test_O13_a_pass_of_who_goes_on_looking_costs_nothing_for_linked_children_that_are_over(tmp_path: Path) -> None:
    costs, of_a_person = {}, {}
    for size in SIZES[:2]:
        with wide(size + 1, tmp_path, subworkflows="linked") as root:
            tree = root.flow.find(root.id).tree
            root.flow.tend([tree], set())
            gates = [action for action in root.server.actions.values() if action.name == "wide.gate"]
            assert len(gates) == size + 1
            for action in gates[:-1]:
                root.backend.report(root.id, action.id, TaskStatus.SUCCEEDED, {})
            for _ in range(3):
                root.flow.tend([tree], set())
            root.heard.clear()
            found = root.flow.tend([tree], set())[tree]
            costs[size] = len(root.heard)
            assert [node.record.status for node in found.snapshot.nodes].count(Status.SUCCEEDED) == size
            root.heard.clear()
            root.flow.get(root.id)
            of_a_person[size] = len(root.heard)
    assert costs[1] == costs[10]
    assert of_a_person[10] >= costs[10] + 10


RETRIED = "r: {action: std.noop, retry: {count: 1, delay: 0}, on-success: [c]}"


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
def test_a_verb_costs_the_same_also_where_the_engine_builds_no_report_because_of_a_retry(
    verb: Verb, tmp_path: Path
) -> None:
    costs = {}
    for size in SIZES:
        with wide(size, tmp_path, RETRIED) as root:
            shown = [{task.name for task in node.tasks} for node in root.flow.get(root.id).snapshot.nodes]
            assert shown == [{"t"}, *[{"r", "c"}] * size]
            costs[size] = root.cost(verb)
    assert costs[1] == costs[10] == costs[100]
    assert sum(method == "PUT" for method, _ in costs[1]) == 1


def test_a_tree_without_a_report_is_put_together_by_four_requests(tmp_path: Path) -> None:
    with wide(40, tmp_path, RETRIED) as root:
        root.heard.clear()
        root.backend.observe([root.id])
        asked = [heard.path.partition("/")[0] for heard in root.heard]
    report, lists, indexes_and_contexts = asked[0], asked[1:5], asked[5:]
    assert report == "executions"
    assert lists == ["executions", "executions", "tasks", "action_executions"]
    assert indexes_and_contexts == ["executions", "tasks"]


def test_a_read_asks_one_by_one_only_for_tasks_that_may_have_a_result(tmp_path: Path) -> None:
    with wide(3, tmp_path) as root:
        assert reads(root, root.id) == ["executions", "executions/tasks", "tasks", "executions"]
        child = next(node.record.id for node in root.flow.get(root.id).snapshot.nodes if node.parent >= 0)
        assert reads(root, child) == ["executions", "executions/tasks"]
        root.end(TaskStatus.SUCCEEDED)
        assert reads(root, child) == ["executions", "executions/tasks", "tasks"]


def test_where_no_result_is_shown_none_is_asked_for(tmp_path: Path) -> None:
    with wide(3, tmp_path) as root:
        root.end(TaskStatus.SUCCEEDED)
        assert reads(root, root.id, ()) == ["executions"]


def reads(root: Wide, id: str, tasks: tuple[str, ...] | None = None) -> list[str]:
    """What a read asks for, without ids."""
    root.heard.clear()
    root.flow.read(id, tasks)
    return ["/".join(heard.path.partition("?")[0].split("/")[::2]) for heard in root.heard]

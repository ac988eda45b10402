"""Links on a real Mistral: what waits there for work elsewhere, whose it is, and what its results become.

The backend is driven directly: what a bridge would start elsewhere, and report when it has ended, the tests report.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from flowbridge.backend import Definition, StartRequest, Target, TaskRerun
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import InvalidInput
from flowbridge.model import EngineState, ExecutionLook, Node, Status, TaskLook, TaskStatus, WaitingChild
from flowbridge_mistral.backend import MistralBackend
from live.gates import Gate, Gates
from live.mistral_lab import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

S, E, C = TaskStatus.SUCCEEDED, TaskStatus.ERRORED, TaskStatus.CANCELED

BOOK = """
version: '2.0'
name: links
workflows:
  one:
    input: [x: 1]
    output: {r: <% $.r %>}
    tasks:
      a:
        action: core.local cmd="echo <% $.x %>" timeout=10
        publish: {r: <% task().result %>}
  handled:
    output: {r: <% $.r %>}
    tasks:
      a:
        action: core.local
        publish-on-error: {r: <% task().result %>}
        on-error: [noop]
  items:
    input: [l: [a, a, b]]
    output: {r: <% $.r %>}
    tasks:
      t:
        with-items: i in <% $.l %>
        action: examples.chain
        input: {v: <% $.i %>}
        publish: {r: <% task().result %>}
  jinja:
    input: [l: {k: 1, m: 2}]
    tasks:
      t:
        with-items: i in {{ _.l }}
        action: examples.chain
        input: {v: "{{ _.i }}"}
  several:
    input: [l: [x, x]]
    tasks:
      t:
        with-items: ["i in [1, 1]", "j in <% $.l.select($ + '!') %>"]
        action: examples.chain
        input: {v: <% $.i %>, w: <% $.j %>}
  limited:
    tasks:
      t:
        with-items: i in [0, 0, 0]
        concurrency: 2
        action: examples.chain
  named:
    tasks:
      a:
        action: flowbridge.run target=memory:w input=<% dict(a => 1) %>
      b:
        action: flowbridge.run
        input: {target: core.local, owner: somebody}
      c:
        workflow: one
  again:
    tasks:
      a:
        action: core.local
        retry: {count: 1, delay: 1}
      b:
        action: core.local
        timeout: 2
        on-error: [noop]
  joined:
    tasks:
      a: {action: core.local cmd=a, on-success: [j]}
      b: {action: core.local cmd=b, on-success: [j]}
      j: {join: all, action: std.noop}
"""


class Site:
    """One Mistral as one ledger's backend sees it."""

    def __init__(self, backend: MistralBackend) -> None:
        self.backend = backend

    def start(self, workflow: str, owner: str = "", **input: Any) -> str:
        id = str(uuid.uuid4())
        self.backend.start(StartRequest(id, f"links.{workflow}", input, owner=owner))
        return id

    def looks(self, id: str) -> tuple[ExecutionLook, ...]:
        return self.backend.observe([id])[id]

    def root(self, id: str) -> ExecutionLook:
        return self.looks(id)[0]

    def task(self, id: str, name: str) -> TaskLook:
        return next(task for look in self.looks(id) for task in look.tasks if task.name == name)

    def waiting(self, id: str, count: int) -> list[WaitingChild]:
        """The links of a tree that wait, once there are as many."""

        def there() -> list[WaitingChild]:
            found = [link for look in self.looks(id) for link in look.waiting]
            return found if len(found) == count else []

        return until(there)

    def report(self, id: str, link: WaitingChild, status: TaskStatus = S, result: Any = None) -> None:
        self.backend.report(id, link.key, status, result)

    def reaches(self, id: str, state: EngineState) -> ExecutionLook:
        return until(lambda: look if (look := self.root(id)).state is state else None)  # type: ignore[return-value]

    def items(self, id: str) -> Mapping[int, WaitingChild]:
        # In its first moment a task does not tell yet over how many items it goes.
        count = until(lambda: self.task(id, "t").items)
        return {link.item: link for link in self.waiting(id, count or 0) if link.item is not None}


def connected(url: str, owner: str = "deployer", **options: Any) -> MistralBackend:
    backend = MistralBackend("prod", {"url": url, **options})
    backend.resolve = lambda name: Target() if name in ("core.local", "examples.chain") else None
    backend.owner = owner
    return backend


@pytest.fixture(scope="module")
def site(mistral_url: str) -> Iterator[Site]:
    backend = connected(mistral_url)
    backend.deploy(Definition(BOOK, "links.yaml"))
    yield Site(backend)
    backend.close()


def test_a_task_that_names_an_action_of_a_catalog_waits_and_takes_its_result(site: Site) -> None:
    id = site.start("one", x="hello")
    (link,) = site.waiting(id, 1)
    assert (link.target, link.item, link.input) == ("core.local", None, {"cmd": "echo hello", "timeout": 10})
    site.report(id, link, S, {"stdout": "hello", "failed": False})
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.backend.read(id).output == {"r": {"stdout": "hello", "failed": False}}


@pytest.mark.parametrize("result", [None, {}, [1, [2]], "text", 0, {"result": "inner"}])
def test_any_result_comes_as_it_is(site: Site, result: Any) -> None:
    id = site.start("one")
    site.report(id, site.waiting(id, 1)[0], S, result)
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.backend.read(id).output == {"r": result}


@pytest.mark.parametrize(
    ("result", "seen"), [({"failed": True}, {"failed": True}), ("boom", {"result": "boom"}), (None, {"result": None})]
)
def test_an_error_is_the_result_that_the_workflow_sees(site: Site, result: Any, seen: Any) -> None:
    id = site.start("handled")
    site.report(id, site.waiting(id, 1)[0], E, result)
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.backend.read(id).output == {"r": seen}


def test_C5_a_canceled_child_cancels_its_task_and_no_on_error_is_taken(site: Site) -> None:
    id = site.start("handled")
    site.report(id, site.waiting(id, 1)[0], C)
    site.reaches(id, EngineState.CANCELED)
    (task,) = site.backend.read(id).tasks
    assert (task.status, task.result) == (C, None)


def test_a_report_to_a_link_that_has_ended_changes_nothing(site: Site) -> None:
    id = site.start("one")
    (link,) = site.waiting(id, 1)
    site.report(id, link, S, 1)
    site.report(id, link, E, 2)
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.backend.read(id).output == {"r": 1}


@pytest.mark.parametrize(
    ("workflow", "inputs"),
    [
        ("items", [{"v": "a"}, {"v": "a"}, {"v": "b"}]),
        ("jinja", [{"v": "k"}, {"v": "m"}]),
        ("several", [{"v": 1, "w": "x!"}, {"v": 1, "w": "x!"}]),
    ],
)
def test_X6_equal_items_are_told_apart_and_their_results_are_in_their_places(
    site: Site, workflow: str, inputs: list[Any]
) -> None:
    id = site.start(workflow)
    until(lambda: site.root(id).tasks)
    links = site.items(id)
    assert [links[index].input for index in range(len(inputs))] == inputs
    for index in reversed(range(len(inputs))):
        site.report(id, links[index], E if index == 1 else S, {"same": "text"})
    site.reaches(id, EngineState.ERRORED)
    (task,) = site.backend.read(id).tasks
    expected = [(index, E if index == 1 else S, {"same": "text"}, 1) for index in range(len(inputs))]
    assert [(item.index, item.status, item.result, item.attempts) for item in task.items or ()] == expected


def test_X6_items_run_again_and_answered_at_once_keep_their_places(site: Site) -> None:
    id = site.start("items")
    until(lambda: site.root(id).tasks)
    first = site.items(id)
    for index, link in first.items():
        site.report(id, link, E if index == 1 else S, {"try": 1, "of": index})
    site.reaches(id, EngineState.ERRORED)
    site.backend.rerun(id, [TaskRerun(site.task(id, "t").id, reset=True)])
    site.reaches(id, EngineState.RUNNING)
    again = site.items(id)
    assert {link.key for link in again.values()}.isdisjoint(link.key for link in first.values())
    for index, link in again.items():
        site.report(id, link, S, {"try": 2 if index == 1 else 1, "of": index})
    site.reaches(id, EngineState.SUCCEEDED)
    expected = [{"try": 1, "of": 0}, {"try": 2, "of": 1}, {"try": 1, "of": 2}]
    assert site.backend.read(id).output == {"r": expected}
    (task,) = site.backend.read(id).tasks
    assert [(item.index, item.result, item.attempts) for item in task.items or ()] == [
        (index, result, 2) for index, result in enumerate(expected)
    ]


def test_X2_a_linked_task_that_runs_again_waits_anew(site: Site) -> None:
    id = site.start("one")
    (link,) = site.waiting(id, 1)
    site.report(id, link, E, {"first": "try"})
    site.reaches(id, EngineState.ERRORED)
    assert site.root(id).waiting == ()
    site.backend.rerun(id, [TaskRerun(site.task(id, "a").id)])
    (again,) = site.waiting(id, 1)
    assert (again.key != link.key, again.task, again.input) == (True, link.task, link.input)
    site.report(id, again, S, "second")
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.backend.read(id).output == {"r": "second"}


def test_a_link_is_whom_it_names_else_who_started_it_else_who_deployed_it(site: Site) -> None:
    id = site.start("named", owner="starter")
    owners = {link.target: link.owner for link in site.waiting(id, 3) if link.target != "core.local"}
    assert owners == {"memory:w": "starter"}
    child = next(look for look in site.looks(id) if look.workflow == "links.one")
    assert [link.owner for link in child.waiting] == ["starter"]
    assert sorted(link.owner for link in site.root(id).waiting) == ["somebody", "starter"]
    foreign = site.start("named")
    assert sorted(link.owner for link in site.waiting(foreign, 3)) == ["deployer", "deployer", "somebody"]


def test_who_started_it_does_not_show_in_the_environment_of_a_workflow(site: Site) -> None:
    text = "version: '2.0'\nlinks.env: {output: {e: <% env() %>}, tasks: {t: {action: std.noop}}}\n"
    site.backend.deploy(Definition(text))
    id = str(uuid.uuid4())
    site.backend.start(StartRequest(id, "links.env", env={"k": 1}, owner="starter"))
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.backend.read(id).output == {"e": {"k": 1}}


def test_S2_a_task_that_waits_for_a_link_is_not_active_and_shows_nothing_at_work(site: Site) -> None:
    id = site.start("one")
    site.waiting(id, 1)
    (task,) = site.root(id).tasks
    assert (task.status, task.active, task.running, task.starts) == (TaskStatus.RUNNING, False, (), 1)
    site.backend.pause(id)
    look = site.reaches(id, EngineState.PAUSED)
    assert (look.tasks[0].active, len(look.waiting)) == (False, 1)


def test_S2_links_that_have_not_begun_keep_their_task_active(site: Site) -> None:
    id = site.start("limited")
    first, second = site.waiting(id, 2)
    assert {first.item, second.item} == {0, 1}
    assert not site.task(id, "t").active
    site.report(id, first)
    until(lambda: {link.item for link in site.root(id).waiting} == {1, 2})


def test_a_retry_waits_anew_and_a_link_whose_task_timed_out_does_not_wait(site: Site) -> None:
    id = site.start("again")
    links = {link.task: link for link in site.waiting(id, 2)}
    a, b = site.task(id, "a"), site.task(id, "b")
    site.report(id, links[a.id], E, {"first": "try"})
    until(lambda: site.task(id, "b").status is E)
    (retried,) = until(lambda: [link for look in site.looks(id) for link in look.waiting if link.task == a.id])
    assert retried.key != links[a.id].key
    assert [link.task for link in site.root(id).waiting] == [a.id]
    site.report(id, links[b.id], S)
    site.report(id, retried, S)
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.task(id, "b").status is E


def test_P5_a_join_behind_links_stays_still_under_a_pause_while_reports_are_withheld(site: Site) -> None:
    id = site.start("joined")
    links = {link.input["cmd"]: link for link in site.waiting(id, 2)}
    site.report(id, links["a"])
    until(lambda: site.task(id, "a").status is S)
    site.backend.pause(id)
    paused = site.reaches(id, EngineState.PAUSED)
    assert not any(task.active for task in paused.tasks)
    site.backend.resume(id, paused.revision)
    site.reaches(id, EngineState.RUNNING)
    site.report(id, links["b"])
    site.reaches(id, EngineState.SUCCEEDED)
    assert site.task(id, "j").starts == 1


def test_several_that_deploy_links_at_once_do_not_disturb_each_other(mistral_url: str) -> None:
    def deploy(number: int) -> tuple[str, ...]:
        backend = connected(mistral_url)
        text = f"version: '2.0'\nlinks.at_once_{number}: {{tasks: {{t: {{action: core.local}}}}}}\n"
        names = backend.deploy(Definition(text)).workflows
        backend.close()
        return names

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(deploy, range(4))) == [(f"links.at_once_{number}",) for number in range(4)]


def test_a_result_that_is_too_large_for_the_engine_ends_the_workflow_and_says_so(site: Site) -> None:
    id = site.start("handled")
    site.report(id, site.waiting(id, 1)[0], S, "x" * 1_500_000)
    look = site.reaches(id, EngineState.ERRORED)
    assert "size limit exceeded" in look.error
    assert look.waiting == ()


LINKED = """
version: '2.0'
name: rooted
workflows:
  main:
    tasks:
      t:
        workflow: child x=1
        on-success: [after]
      after: {action: std.noop}
  child:
    input: [x]
    output: {x: <% $.x %>, e: <% env() %>}
    tasks:
      c: {action: std.async_noop}
"""


def test_R3_a_linked_sub_workflow_is_a_root_that_is_resumed_alone_on_a_stock_mistral(mistral_url: str) -> None:
    backend = connected(mistral_url, subworkflows="linked")
    backend.deploy(Definition(LINKED))
    site = Site(backend)
    parent = str(uuid.uuid4())
    backend.start(StartRequest(parent, "rooted.main", env={"k": "v"}, owner="ours"))
    (link,) = site.waiting(parent, 1)
    assert (link.target, link.input, link.env) == ("prod:rooted.child", {"x": 1}, {"k": "v"})
    child = str(uuid.uuid4())
    backend.start(StartRequest(child, "rooted.child", link.input, link.env, owner="ours"))
    until(lambda: site.root(child).tasks)
    backend.pause(child)
    backend.pause(parent)
    look = site.reaches(child, EngineState.PAUSED)
    backend.resume(child, look.revision)
    site.reaches(child, EngineState.RUNNING)
    (action,) = backend._client.pages("action_executions", "action_executions", task_execution_id=look.tasks[0].id)
    backend.report(child, action["id"], S, None)
    site.reaches(child, EngineState.SUCCEEDED)
    held = site.root(parent)
    assert (held.state, [task.name for task in held.tasks]) == (EngineState.PAUSED, ["t"])
    backend.resume(parent, held.revision)
    site.reaches(parent, EngineState.RUNNING)
    backend.report(parent, link.key, S, backend.read(child).output)
    site.reaches(parent, EngineState.SUCCEEDED)
    assert backend.read(parent, [link.task]).tasks[0].result == {"x": 1, "e": {"k": "v"}}
    backend.close()


def test_an_action_of_the_engines_own_comes_before_one_of_a_catalog(mistral_url: str) -> None:
    backend = connected(mistral_url)
    backend.resolve = lambda _: Target()
    text = "version: '2.0'\nw: {tasks: {t: {action: std.noop}, u: {action: nobody.knows}}}\n"
    assert backend.deployed_text(Definition(text)).count("flowbridge.run") == 1
    backend.close()


def test_what_the_engine_refuses_in_a_rewritten_text_is_told_with_the_line_of_the_original(site: Site) -> None:
    text = "version: '2.0'\n# a comment\nw:\n  tasks:\n    t: {action: core.local}\n    bad:\n      actin: std.noop\n"
    with pytest.raises(InvalidInput, match="'actin' was unexpected") as caught:
        site.backend.validate(Definition(text, "w.yaml"))
    assert str(caught.value).startswith("w.yaml:6:5: ")


GATED = """
version: '2.0'
name: gated
actions:
  gate: {input: [target], base: std.async_noop}
workflows:
  main:
    output: {r: <% $.r %>}
    tasks:
      each:
        with-items: i in [1, 1, 2]
        workflow: child x=<% $.i %>
        publish: {r: <% task().result %>}
        on-success: [joined]
      beside: {workflow: child x=9, on-success: [joined]}
      joined: {join: all, action: std.noop}
  child:
    input: [x]
    output: {y: <% $.x * 10 %>}
    tasks:
      a: {action: gate target=<% str($.x) %>}
"""


class Played:
    """A run of the workbook above through a bridge, and its gates."""

    def __init__(self, bridge: Bridge, backend: MistralBackend) -> None:
        self.bridge, self._backend, self._gates = bridge, backend, Gates(backend)
        self.id = bridge.run("gated.main", backend="prod").id

    def nodes(self) -> tuple[Node, ...]:
        return self.bridge.get(self.id).snapshot.nodes

    def statuses(self) -> list[str]:
        """The root's status, then those of the items in their order, then that of the child beside them."""
        root, *children = self.nodes()
        order = sorted(children, key=lambda node: (node.record.item is None, node.record.item or 0))
        return [str(node.record.status) for node in (root, *order)]

    def end(self, target: str, status: TaskStatus = S) -> None:
        def gate() -> list[Gate]:
            looks = [self._backend.observe([node.record.ref.id]).get(node.record.ref.id, ()) for node in self.nodes()]
            return [gate for gate in self._gates.of(chain.from_iterable(looks)) if gate.target == target]

        self._gates.end(until(gate)[0].key, status, {})


def test_R3_and_X6_hold_on_a_stock_mistral_where_sub_workflows_are_linked(mistral_url: str, tmp_path: Path) -> None:
    backend = connected(mistral_url, subworkflows="linked")
    config = Config(ledger=tmp_path / "ledger.db", actor="ada")
    with Bridge(config, backends=[backend], durable=False) as bridge:
        backend.deploy(Definition(GATED))
        run = Played(bridge, backend)
        run.end("9")
        run.end("2", E)
        run.end("1")
        until(lambda: sorted(run.statuses()[1:]) == ["errored", "running", "succeeded", "succeeded"])
        bridge.pause(run.id)
        run.end("1")
        until(lambda: run.statuses()[0] == "paused")
        (held,) = (node.record for node in run.nodes()[1:] if node.record.status is Status.PAUSED)
        bridge.resume(held.id)
        until(lambda: bridge.get(held.id).record.status is Status.SUCCEEDED)
        assert run.statuses() == ["paused", "succeeded", "succeeded", "errored", "succeeded"]
        assert [task.name for task in run.nodes()[0].tasks if task.starts] == ["beside", "each"], "the join stays still"
        bridge.resume(run.id)
        assert bridge.wait(run.id, timeout=60).record.status is Status.ERRORED
        run.id = bridge.rerun(run.id, RerunRequest(("each",), ("each",))).execution
        run.end("2")
        assert bridge.wait(run.id, timeout=60).record.status is Status.SUCCEEDED
        assert bridge.read(run.id).output == {"r": [{"y": 10}, {"y": 10}, {"y": 20}]}
        items = [node.record.item for node in run.nodes() if node.record.parent_task and node.record.item is not None]
        assert sorted(items) == [0, 1, 2, 2], "only the failed item ran a second time"

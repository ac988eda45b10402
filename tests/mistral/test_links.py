"""Links on the server: the action that waits is put there once, and what waits in a tree is found and told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import responses

from flowbridge.backend import Definition, StartRequest, Target
from flowbridge.errors import InvalidInput, Unavailable
from flowbridge.model import TaskStatus, WaitingChild
from flowbridge_mistral import links
from flowbridge_mistral.access import Access
from flowbridge_mistral.backend import MistralBackend
from flowbridge_mistral.client import MistralClient
from flowbridge_mistral.observe import Observer
from support.fake_mistral import FakeMistral
from support.wire import Answer, Heard, answer, wired

URL = "http://mistral.example/v2"
Json = dict[str, Any]


@pytest.fixture
def client() -> MistralClient:
    return MistralClient("prod", Access(URL), lambda _: None)


def member(**given: Any) -> Json:
    return {"id": "k", "task_execution_id": "t", "input": json.dumps({"target": "core.local", **given})}


def waiting(starter: str = "", **given: Any) -> WaitingChild:
    return links.waiting(member(**given), "prod", lambda: starter)


def there(inputs: str) -> None:
    responses.get(f"{URL}/actions", json={"actions": [{"id": "a", "name": "flowbridge.run", "input": inputs}]})


def methods() -> list[str | None]:
    return [call.request.method for call in responses.calls]


@responses.activate
def test_the_action_is_created_where_it_is_not_there(client: MistralClient) -> None:
    responses.get(f"{URL}/actions", json={"actions": []})
    responses.post(f"{URL}/actions", status=201, json={"actions": []})
    links.put_action(client)
    assert methods() == ["GET", "POST"]
    body = responses.calls[1].request.body or b""
    assert b"base: std.async_noop" in (body if isinstance(body, bytes) else body.encode())


@responses.activate
def test_somebody_who_created_it_in_between_is_no_error(client: MistralClient) -> None:
    responses.get(f"{URL}/actions", json={"actions": []})
    responses.post(f"{URL}/actions", status=409, json={"faultstring": "Duplicate entry for Action"})
    links.put_action(client)


@responses.activate
def test_one_that_takes_all_that_is_needed_is_left_alone_and_an_older_one_is_updated(client: MistralClient) -> None:
    there("target, input={}, item=null, owner=null, deployed_by=null, env={}, something_newer=null")
    links.put_action(client)
    assert methods() == ["GET"]
    responses.reset()
    there("target, input={}")
    responses.put(f"{URL}/actions", json={"actions": []})
    links.put_action(client)
    assert methods()[-1] == "PUT"


@responses.activate
def test_where_the_action_cannot_be_put_nothing_that_needs_it_is_deployed() -> None:
    responses.get(f"{URL}/actions", json={"actions": []})
    responses.post(f"{URL}/actions", status=503, json={"faultstring": "busy"})
    backend = MistralBackend("prod", {"url": URL})
    with pytest.raises(Unavailable):
        backend.deploy(Definition("version: '2.0'\nw: {tasks: {t: {action: flowbridge.run target=a}}}\n"))
    assert not [call for call in responses.calls if "workflows" in str(call.request.url)]


def test_the_owner_is_whom_the_workflow_names_else_who_started_it_else_who_deployed_it() -> None:
    assert waiting("starter", owner="named", deployed_by="deployer").owner == "named"
    assert waiting("starter", owner=None, deployed_by="deployer").owner == "starter"
    assert waiting(deployed_by="deployer").owner == "deployer"
    assert waiting().owner == ""


def test_who_started_a_tree_is_not_asked_where_the_workflow_names_the_owner() -> None:
    def starter() -> str:
        raise AssertionError("asked")

    assert links.waiting(member(owner="named"), "prod", starter).owner == "named"


@pytest.mark.parametrize(("item", "index"), [(0, 0), (3, 3), (None, None), ("x", None)])
def test_an_item_has_its_index(item: Any, index: int | None) -> None:
    assert waiting(item=item).item == index


def test_a_target_of_the_same_engine_is_told_by_the_name_that_this_instance_has() -> None:
    assert waiting(target=":book.sub").target == "prod:book.sub"
    assert waiting(target="memory:w").target == "memory:w"


@pytest.mark.parametrize(
    ("given", "input"), [(None, {}), ({}, {}), ({"a": 1}, {"a": 1}), ("text", {"input": "text"}), ([1], {"input": [1]})]
)
def test_an_input_that_is_no_object_is_not_lost(given: Any, input: Json) -> None:
    assert waiting(input=given).input == input


@pytest.mark.parametrize(
    ("task", "waits"),
    [
        ("RUNNING", True),
        ("PAUSED", True),
        ("CANCELLED", True),
        ("ERROR", False),
        ("SUCCESS", False),
        ("SKIPPED", False),
    ],
)
def test_a_link_waits_as_long_as_its_task_does(task: str, waits: bool) -> None:
    action = {"name": "flowbridge.run", "state": "RUNNING"}
    assert links.waits(action, {"state": task}) is waits
    assert not links.waits({**action, "state": "SUCCESS"}, {"state": task})
    assert not links.waits({**action, "name": "book.gate"}, {"state": task})


def test_what_was_canceled_has_no_result() -> None:
    unwrapped = links._UNWRAPPED
    assert (links.told(unwrapped), links.told([1, unwrapped]), links.told({"a": 1})) == (None, [1, None], {"a": 1})


class Server:
    """A Mistral in memory, and the requests that reached it."""

    def __init__(self) -> None:
        self.fake, self.heard = FakeMistral(), list[Heard]()

    def __call__(self, request: Heard) -> Answer:
        self.heard.append(request)
        return answer(self.fake, request)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with wired(mistral=made):
        yield made


def backend(**options: Any) -> MistralBackend:
    made = MistralBackend("prod", {"url": "http://mistral.example.org", **options})
    made.resolve = lambda name: Target() if name == "core.local" else None
    return made


def wide(size: int) -> Definition:
    items = json.dumps([0] * size)
    task = f"{{with-items: 'i in {items}', action: core.local, input: {{cmd: date}}}}"
    return Definition(f"version: '2.0'\nwide: {{tasks: {{t: {task}}}}}\n")


@pytest.mark.parametrize("size", [1, 100])
def test_a_look_at_links_costs_the_same_number_of_requests_however_many_wait(server: Server, size: int) -> None:
    prod = backend()
    prod.start(StartRequest("x", "wide", definition=wide(size), owner="ours"))
    server.heard.clear()
    (look,) = prod.observe(["x"])["x"]
    assert [(link.item, link.owner) for link in look.waiting] == [(index, "ours") for index in range(size)]
    assert len(server.heard) == 5
    prod.observe(["x"])
    assert len(server.heard) == 5 + 3, "the root and who started it are asked for once"


def test_links_of_another_tree_are_not_looked_at(server: Server) -> None:
    prod = backend()
    prod.start(StartRequest("x", "wide", definition=wide(2)))
    prod.start(StartRequest("y", "wide"))
    keys = {id: {link.key for link in prod.observe([id])[id][0].waiting} for id in ("x", "y")}
    assert (len(keys["x"]), len(keys["y"]), keys["x"] & keys["y"]) == (2, 2, set())


@pytest.mark.parametrize("end", [TaskStatus.SUCCEEDED, TaskStatus.ERRORED])
def test_items_of_links_are_read_at_their_places_with_every_try(server: Server, end: TaskStatus) -> None:
    prod = backend()
    prod.start(StartRequest("x", "wide", definition=wide(2)))
    first, second = prod.observe(["x"])["x"][0].waiting
    prod.report("x", second.key, end, {"same": 1})
    prod.report("x", first.key, TaskStatus.SUCCEEDED, {"same": 1})
    (task,) = prod.read("x").tasks
    read = [(item.index, item.status, item.result, item.attempts) for item in task.items or ()]
    assert read == [(0, TaskStatus.SUCCEEDED, {"same": 1}, 1), (1, end, {"same": 1}, 1)]


def test_a_start_says_who_starts_and_nothing_else_of_it_changes(server: Server) -> None:
    prod = backend()
    prod.deploy(wide(1))
    prod.start(StartRequest("x", "wide", env={"k": 1}, owner="ours"))
    assert server.fake.executions["x"].params == {"env": {"k": 1}, "flowbridge_owner": "ours"}
    prod.start(StartRequest("y", "wide"))
    assert server.fake.executions["y"].params == {}


def test_a_catalog_is_asked_about_a_name_and_the_engine_only_about_what_a_catalog_has(server: Server) -> None:
    prod = backend()
    prod.validate(Definition("version: '2.0'\nw: {tasks: {t: {action: std.noop}, u: {action: mine.own}}}\n"))
    assert [heard.path for heard in server.heard] == ["workflows/validate"]
    server.fake.adhoc["core.local"] = {"name": "core.local"}
    text = "version: '2.0'\nw: {tasks: {t: {action: core.local}}}\n"
    assert prod.deployed_text(Definition(text)) == text, "the engine's own action comes first"


def test_sub_workflows_are_linked_where_the_instance_says_so(server: Server) -> None:
    main, child = "{tasks: {t: {workflow: v x=1}}}", "{tasks: {t: {action: std.noop}}}"
    text = f"version: '2.0'\nname: b\nworkflows:\n  w: {main}\n  v: {child}\n"
    assert backend().deployed_text(Definition(text)) == text
    assert "target: ':b.v'" in backend(subworkflows="linked").deployed_text(Definition(text))


def test_a_refusal_tells_of_links_where_sub_workflows_are_none() -> None:
    assert "subworkflows of this instance to linked" in backend().capabilities.remedy
    assert backend(subworkflows="linked").capabilities.remedy == ""


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="subworkflows are native or linked, not 'both'"):
        backend(subworkflows="both")


def test_no_more_is_remembered_of_who_started_what_than_a_bound(client: MistralClient) -> None:
    observer = Observer(client, "prod")
    with responses.RequestsMock() as mock:
        mock.get(f"{URL}/executions/x", json={"id": "x", "params": "{}"})
        assert observer._starter("x") == ""
        assert observer._starter("x") == ""
        assert len(mock.calls) == 1

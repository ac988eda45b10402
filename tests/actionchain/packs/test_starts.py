"""What a workflow of a pack is started with: its metadata applied, wherever the start comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from actionchain.packkit import Site
from actionchain.runkit import Shop
from flowbridge.backend import Definition, Given, Target
from flowbridge.config import CatalogConfig, Config
from flowbridge.errors import EngineRefused, InvalidInput
from flowbridge.model import Status
from flowbridge.vault import SEALED
from flowbridge_actionchain.packs.targets import target_of

BOOK = """
version: '2.0'
name: p.flow
workflows:
  main: {tasks: {t: {action: std.noop}}}
  other: {tasks: {t: {action: std.noop}}}
"""
ONE = "version: '2.0'\np.flow: {tasks: {t: {action: std.noop}}}\n"
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "n": {"type": "integer", "default": 3, "enum": [3, 4]},
    "host": {"type": "string", "required": True},
    "fixed": {"type": "string", "immutable": True, "default": "{{ host }}-{{ n }}"},
    "note": {"type": "string"},
    "token": {"type": "string", "secret": True},
}


@pytest.fixture
def flow(site: Site) -> Target:
    return workflow(site, ONE, PARAMETERS)


def workflow(site: Site, text: str, parameters: Mapping[str, Mapping[str, Any]], **options: str) -> Target:
    """The target that an action with such a workflow is."""
    site.write("packs/p/actions/workflows/flow.yaml", text)
    site.action("flow", "mistral-v2", "workflows/flow.yaml", **parameters)
    backends = {"actionchain": {"type": "actionchain", **options}} if options else {}
    found = target_of("p.flow", Config(site.root / "ledger.db", backends, catalog=CatalogConfig((site.packs,))))
    assert found is not None
    return found


def bound(target: Target, input: Mapping[str, Any] | None = None, **more: Any) -> Given:
    assert target.bind is not None
    return target.bind(Given(input or {}, **more))


def test_what_is_given_is_cast_and_every_declared_parameter_has_a_value_as_in_StackStorm(flow: Target) -> None:
    given = bound(flow, {"host": "h", "n": "4"})
    assert given.input == {"n": 4, "host": "h", "fixed": "h-4", "note": None, "token": None}
    assert given.workflow == "p.flow"


@pytest.mark.parametrize(
    ("input", "wrong"),
    [
        ({"host": "h", "hosst": 1}, "has no parameter 'hosst'; did you mean 'host'?"),
        ({}, "the parameter 'host' is required"),
        ({"host": "h", "n": "many"}, "the parameter 'n' must be an integer, and 'many' is none"),
        ({"host": "h", "n": 5}, "the parameter 'n' must be one of 3, 4, and 5 is none of them"),
        ({"host": "h", "fixed": "x"}, "the parameter 'fixed' is immutable"),
        ({"host": "h", "token": ["xyzzy"]}, "the parameter 'token' must be a string, and the value given is none"),
        ({"host": "h", "context": "word"}, "the parameter 'context' must be an object"),
        ({"host": "h", "context": {SEALED: "t"}}, "the parameter 'context' must be an object, with no secret in it"),
    ],
)
def test_what_does_not_fit_the_metadata_is_refused_before_the_start(
    flow: Target, input: Mapping[str, Any], wrong: str
) -> None:
    with pytest.raises(InvalidInput, match=r"p\.flow") as caught:
        bound(flow, input)
    assert wrong in caught.value.message


def test_what_the_runner_takes_is_applied_and_its_context_is_input_below_what_is_given_by_name(flow: Target) -> None:
    given = bound(flow, {"host": "h", "task": "t", "context": {"region": "eu", "host": "c"}, "skip_notify": ["t"]})
    assert (given.task_name, given.env) == ("t", {})
    assert {name: given.input[name] for name in ("region", "host")} == {"region": "eu", "host": "h"}
    assert not {"task", "context", "skip_notify", "workflow"} & set(given.input)


def test_what_is_sealed_is_handed_on_as_it_is_and_never_rendered_into_a_default(site: Site, flow: Target) -> None:
    sealed = {SEALED: "token"}
    assert bound(flow, {"host": "h", "note": sealed, "token": sealed}).input["token"] == sealed
    with pytest.raises(InvalidInput, match="the default of 'fixed' names 'host', which is secret"):
        bound(flow, {"host": sealed})


def test_a_default_that_takes_a_secret_of_the_datastore_is_secret(site: Site) -> None:
    store = site.write("store.yaml", "system: {key: {secret: xyzzy-42}, region: eu}\n", mode=0o600)
    default = {"type": "string", "default": "{{ st2kv.system.key | decrypt_kv }}"}
    plain = {"type": "string", "default": "{{ st2kv.system.region }}"}
    given = bound(workflow(site, ONE, {"key": default, "plain": plain}, datastore=str(store)))
    assert (dict(given.input), given.secret) == ({"key": "xyzzy-42", "plain": "eu"}, frozenset({"key"}))
    wrong = workflow(site, ONE, {"key": {**default, "type": "integer"}}, datastore=str(store))
    with pytest.raises(InvalidInput) as caught:
        bound(wrong)
    assert "xyzzy-42" not in caught.value.message


@pytest.mark.parametrize("wanted", ["p.flow.other", "other"])
def test_of_a_workbook_the_workflow_is_started_that_the_parameter_names(site: Site, wanted: str) -> None:
    assert bound(workflow(site, BOOK, {}), {"workflow": wanted}).workflow == "p.flow.other"
    assert bound(workflow(site, BOOK, {"workflow": {"default": wanted}})).workflow == "p.flow.other"
    fixed = workflow(site, BOOK, {"workflow": {"default": wanted, "immutable": True}})
    assert bound(fixed).workflow == "p.flow.other"
    assert bound(workflow(site, BOOK, {}), workflow=wanted).workflow == "p.flow.other"


def test_of_several_in_a_workbook_none_is_picked_and_the_only_one_is(site: Site) -> None:
    several = workflow(site, BOOK, {})
    with pytest.raises(InvalidInput, match=r"has several workflows.*there is: p\.flow\.main, p\.flow\.other"):
        bound(several)
    with pytest.raises(InvalidInput, match=r"no workflow 'p\.flow\.thrid'.*it has: p\.flow\.main, p\.flow\.other"):
        bound(several, {"workflow": "p.flow.thrid"})
    assert bound(workflow(site, BOOK.replace("  main: {tasks: {t: {action: std.noop}}}\n", ""), {})).workflow == (
        "p.flow.other"
    )


def test_a_workflow_file_without_metadata_takes_what_its_engine_says(site: Site) -> None:
    site.write("packs/p/actions/workflows/bare.yaml", ONE)
    found = target_of("p.bare", Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,))))
    assert found is not None
    assert bound(found, {"a": "1"}).input == {"a": "1"}


def _at_home(shop: Shop) -> None:
    place = shop.packs / "p" / "actions" / "workflows"
    place.mkdir(parents=True)
    text = "version: '2.0'\np.flow:\n  input: [n, host, fixed, note, token]\n  output: {o: <% $.fixed %>}\n"
    (place / "flow.yaml").write_text(f"{text}  tasks: {{t: {{action: std.noop}}}}\n")
    site = {"name": "flow", "runner_type": "mistral-v2", "entry_point": "workflows/flow.yaml", "parameters": PARAMETERS}
    (shop.packs / "p" / "actions" / "flow.yaml").write_text(str(site))


def test_by_name_and_from_a_chain_and_from_a_workflow_it_is_started_with_the_same(shop: Shop) -> None:
    _at_home(shop)
    id = shop.bridge.run("p.flow", {"host": "h"}).id
    assert shop.bridge.wait(id, timeout=60).record.status is Status.SUCCEEDED
    assert shop.output(id) == {"o": "h-3"}
    chained = shop.ended("chain:\n  - {name: c, ref: p.flow, parameters: {host: '{{ h }}'}}\n", h="g")
    assert chained["tasks"][0]["result"] == {"o": "g-3"}
    assert _called(shop, "host: w, n: '4'").output == {"o": "w-4"}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("n: 4", "the parameter 'host' is required"),
        ("host: w, n: 5", "the parameter 'n' must be one of 3, 4, and 5 is none of them"),
        ("host: w, fixed: x", "the parameter 'fixed' is immutable"),
        ("host: w, hosst: x", "has no parameter 'hosst'"),
    ],
)
def test_what_a_workflow_gives_that_does_not_fit_the_metadata_fails_its_task_and_starts_nothing(
    shop: Shop, given: str, wrong: str
) -> None:
    _at_home(shop)
    called = _called(shop, given)
    assert called.status is Status.ERRORED
    assert wrong in called.error


class _Called(NamedTuple):
    status: Status
    output: Any
    error: str


def _called(shop: Shop, given: str) -> _Called:
    """How a workflow of the reference engine ends that calls the one of the pack with this input."""
    task = f"{{action: p.flow, input: {{{given}}}}}"
    text = f"version: '2.0'\nmain:\n  output: <% task(t).result %>\n  tasks: {{t: {task}}}\n"
    id = shop.bridge.run(Definition(text, "main.yaml"), backend="memory").id
    look = shop.bridge.wait(id, timeout=60)
    (child,) = [node.record for node in look.snapshot.nodes if node.record.parent]
    assert child.workflow == "p.flow"
    return _Called(look.record.status, shop.output(id), child.error)


def test_a_start_that_does_not_fit_the_metadata_leaves_nothing_behind(shop: Shop) -> None:
    _at_home(shop)
    with pytest.raises(InvalidInput, match="required"):
        shop.bridge.run("p.flow")
    with pytest.raises(EngineRefused, match="memory would keep the secret input 'token'"):
        shop.bridge.run("p.flow", {"host": "h", "token": "k"})
    assert shop.bridge.ledger.executions.places([status.value for status in Status]) == []


def test_a_default_that_names_a_secret_parameter_is_secret_too(site: Site) -> None:
    header = {"type": "string", "default": "Bearer {{ token }}"}
    given = bound(workflow(site, ONE, {"token": PARAMETERS["token"], "header": header}), {"token": "xyzzy-42"})
    assert given.input["header"] == "Bearer xyzzy-42"
    assert "header" in given.secret

"""A re-run from the beginning holds what overrides the input against the metadata of the pack, as a start does (X1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actionchain.runkit import BOUND, Shop
from flowbridge.checks import RerunRequest
from flowbridge.errors import InvalidInput
from flowbridge.model import Status, Verb
from flowbridge.vault import is_sealed

PARAMETERS: Mapping[str, Any] = {
    "n": {"type": "integer", "default": 3, "enum": [3, 4]},
    "host": {"type": "string", "required": True},
    "fixed": {"type": "string", "immutable": True, "default": "{{ host }}-{{ n }}"},
    "token": {"type": "string", "secret": True},
}
FILES: Mapping[str, tuple[str, str]] = {
    "chain": (
        "action-chain",
        "chain:\n  - {name: say, ref: core.local, parameters: {cmd: 'echo {{ fixed }}; echo {{ token }} >&2'}}\n",
    ),
    "flow": (
        "mistral-v2",
        "version: '2.0'\np.flow:\n  input: [n, host, fixed, token]\n  output: {fixed: <% $.fixed %>}\n"
        "  tasks: {t: {action: std.noop}}\n",
    ),
}
WRONG: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "type": ({"n": "many"}, "the parameter 'n' must be an integer, and 'many' is none"),
    "enum": ({"n": 5}, "the parameter 'n' must be one of 3, 4, and 5 is none of them"),
    "immutable": ({"fixed": "x"}, "the parameter 'fixed' is immutable, so it cannot be given"),
    "unknown": ({"hosst": "h"}, "has no parameter 'hosst'; did you mean 'host'?"),
    "required": ({"host": None}, "the parameter 'host' is required"),
    "secret": ({"token": ["xyzzy"]}, "the parameter 'token' must be a string, and the value given is none"),
}


@pytest.fixture(autouse=True)
def _pack(shop: Shop) -> None:
    actions = shop.packs / "p" / "actions"
    actions.mkdir(parents=True)
    for name, (runner_type, text) in FILES.items():
        entry = f"{name}.text"
        meta = {"name": name, "runner_type": runner_type, "entry_point": entry, "parameters": dict(PARAMETERS)}
        (actions / f"{name}.yaml").write_text(json.dumps(meta))
        (actions / entry).write_text(text)


def started(shop: Shop, ref: str) -> str:
    id = shop.bridge.run(ref, {"host": "h"}).id
    assert shop.bridge.wait(id, timeout=BOUND).record.status is Status.SUCCEEDED
    return id


def again(shop: Shop, id: str, **input: Any) -> str:
    fresh = shop.bridge.rerun(id, RerunRequest(input=input)).execution
    assert shop.bridge.wait(fresh, timeout=BOUND).record.status is Status.SUCCEEDED
    return fresh


def said(shop: Shop, id: str) -> Any:
    output = shop.output(id)
    return output["fixed"] if "fixed" in output else output["tasks"][0]["result"]["stdout"]


@pytest.mark.parametrize("ref", ["p.chain", "p.flow"])
@pytest.mark.parametrize("case", WRONG)
def test_X1_O2_an_override_that_a_start_would_refuse_is_refused_and_nothing_is_written(
    shop: Shop, ref: str, case: str
) -> None:
    id = started(shop, ref)
    input, why = WRONG[case]
    for attempt in (
        lambda: shop.bridge.rerun(id, RerunRequest(input=input)),
        lambda: shop.bridge.plan(Verb.RERUN, id, request=RerunRequest(input=input)),
    ):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert why in caught.value.message
        assert "xyzzy" not in caught.value.message
    assert len(shop.bridge.ledger.executions.places([status.value for status in Status])) == 1


@pytest.mark.parametrize("ref", ["p.chain", "p.flow"])
def test_X1_what_is_overridden_is_cast_and_the_defaults_that_name_it_follow(shop: Shop, ref: str) -> None:
    id = started(shop, ref)
    assert said(shop, again(shop, id, n="4")) == "h-4"
    other = again(shop, id, host="g")
    assert said(shop, other) == "g-3"
    assert said(shop, again(shop, other, n=4)) == "g-4"
    assert said(shop, again(shop, id)) == "h-3"


def test_X1_without_its_pack_a_workflow_is_re_run_as_it_was_and_takes_nothing_else(shop: Shop) -> None:
    id = started(shop, "p.flow")
    (shop.packs / "p").rename(shop.packs / "gone")
    assert said(shop, again(shop, id)) == "h-3"
    with pytest.raises(InvalidInput, match=r"p\.flow is in no catalog any more.*takes n: .* or put its pack back"):
        shop.bridge.rerun(id, RerunRequest(input={"n": 4}))


def test_X1_a_chain_below_another_is_started_anew_alone_with_what_it_was_given(shop: Shop, tmp_path: Path) -> None:
    parent = shop.run("chain:\n  - {name: sub, ref: p.chain, parameters: {host: below}}\n")
    shop.bridge.wait(parent, timeout=BOUND)
    child = shop.child(parent)
    fresh = again(shop, child)
    assert (shop.bridge.find(fresh).workflow, said(shop, fresh)) == ("p.chain", "below-3")
    assert said(shop, again(shop, child, n="4")) == "below-4"
    with pytest.raises(InvalidInput, match="must be one of 3, 4"):
        shop.bridge.rerun(child, RerunRequest(input={"n": 5}))
    secret = again(shop, child, token="xyzzy-42")
    request = shop.bridge.ledger.executions.request(secret)
    assert request is not None
    assert is_sealed(request["input"]["token"])

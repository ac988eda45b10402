"""A run whose rows cannot be used is shown as it was last seen, with the reason; it takes nobody else with it."""

from __future__ import annotations

import json

import pytest

from actionchain.runkit import Shop
from flowbridge.errors import EngineRefused
from flowbridge.model import Status

CHAIN = json.dumps({"chain": [{"name": "only", "ref": "core.noop"}]})


@pytest.fixture
def broken_and_sound(shop: Shop) -> tuple[str, str]:
    """Two runs that have succeeded; the definition of the first one cannot be read any more."""
    broken, sound = shop.run(CHAIN), shop.run(CHAIN)
    for id in (broken, sound):
        assert shop.bridge.wait(id, timeout=60).record.status is Status.SUCCEEDED
    root = str(shop.bridge.get(broken).record.ref)
    shop.bridge.ledger.rows.write(root, {"book/0": json.dumps({"text": "chain: 7", "source": "c.yaml"})})
    return broken, sound


def test_a_local_run_that_cannot_be_used_silences_no_other_of_its_instance(
    shop: Shop, broken_and_sound: tuple[str, str]
) -> None:
    broken, sound = broken_and_sound
    trees = [shop.bridge.get(id).record.tree for id in (broken, sound)]
    assert set(shop.bridge.look_at(trees)) == {sound}
    look = shop.bridge.get(broken)
    assert (look.record.status, look.snapshot.nodes[0].reachable) == (Status.SUCCEEDED, False)
    assert "The definition of this run cannot be used any more: c.yaml" in look.silent["actionchain"]
    look = shop.bridge.get(sound)
    assert (look.record.status, look.silent) == (Status.SUCCEEDED, {})


@pytest.mark.parametrize(
    ("row", "value"),
    [("run/0", '{"id": "tru'), ("task/0/1", "[]"), ("task/0/1", '{"name": "else"}'), ("book/0", "{}"), ("odd/x", "{}")],
)
def test_rows_that_are_damaged_are_told_in_one_line_and_left_as_they_are(shop: Shop, row: str, value: str) -> None:
    broken, sound = shop.run(CHAIN), shop.run(CHAIN)
    for id in (broken, sound):
        shop.bridge.wait(id, timeout=60)
    root = str(shop.bridge.get(broken).record.ref)
    shop.bridge.ledger.rows.write(root, {row: value})
    look = shop.bridge.get(broken)
    assert look.record.status is Status.SUCCEEDED
    why = look.silent["actionchain"]
    assert "the rows of this run in the ledger are damaged (" in why
    assert "\n" not in why
    with pytest.raises(EngineRefused, match="damaged"):
        shop.bridge.read(broken)
    assert shop.bridge.ledger.rows.load(root)[row] == value
    assert shop.bridge.get(sound).silent == {}

"""A run whose rows cannot be used is shown as it was last seen, with the reason; it takes nobody else with it."""

from __future__ import annotations

import json

import pytest

from actionchain.runkit import Shop
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

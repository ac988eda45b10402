"""The law over trees that a real Mistral is part of, three levels deep, as a parent and as a child."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbridge.conformance.rules_cancel import *  # noqa: F403
from flowbridge.conformance.rules_every import *  # noqa: F403
from flowbridge.conformance.rules_pause import *  # noqa: F403
from flowbridge.conformance.rules_rerun import *  # noqa: F403
from flowbridge.conformance.rules_resume import *  # noqa: F403
from support.across import AcrossHarness, harness_over

pytestmark = pytest.mark.live

TREES = {
    "chain-mistral": ("actionchain", "mistral"),
    "mistral-chain": ("mistral", "actionchain"),
    "memory-mistral": ("memory", "mistral"),
    "mistral-memory": ("mistral", "memory"),
}

#: What goes up or down a tree. The other rules are tried on the tree that has a Mistral at its root and at its leaves.
REACHING = ("P2", "P3", "P6", "P7", "R2", "R3", "C3", "C5", "X5", "X8")


@pytest.fixture(scope="module", params=TREES)
def harness(
    request: pytest.FixtureRequest, mistral_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AcrossHarness]:
    """What stays on one engine is left to the suites of that engine."""
    engines = TREES[request.param]
    with harness_over(tmp_path_factory.mktemp("ledger") / "ledger.db", engines, mistral_url, nested=True) as made:
        made.patience = 60.0
        yield made


@pytest.fixture(autouse=True)
def _chosen(request: pytest.FixtureRequest) -> None:
    """Skip, before anything is started, what is not tried on this tree."""
    tree = request.node.callspec.params["harness"]
    if tree == "memory-mistral" and not request.node.name.startswith(tuple(f"test_{rule}_" for rule in REACHING)):
        pytest.skip("does not apply: it is tried on the other tree of the two engines")

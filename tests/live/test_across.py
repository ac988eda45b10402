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
    "mistral-memory": ("mistral", "memory"),
    "memory-mistral": ("memory", "mistral"),
    "mistral-chain": ("mistral", "actionchain"),
    "chain-mistral": ("actionchain", "mistral"),
}


@pytest.fixture(scope="module", params=TREES)
def harness(
    request: pytest.FixtureRequest, mistral_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AcrossHarness]:
    engines = TREES[request.param]
    # What stays on one engine shows something once, where that is a Mistral whose every task is a link; the rest is
    # what other suites try.
    nested = request.param != "mistral-memory"
    with harness_over(tmp_path_factory.mktemp("ledger") / "ledger.db", engines, mistral_url, nested=nested) as made:
        made.patience = 60.0
        yield made

"""The law over trees across engines: the kit on trees whose engine changes with each level, three levels deep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbridge.conformance.rules_cancel import *  # noqa: F403
from flowbridge.conformance.rules_every import *  # noqa: F403
from flowbridge.conformance.rules_pause import *  # noqa: F403
from flowbridge.conformance.rules_rerun import *  # noqa: F403
from flowbridge.conformance.rules_resume import *  # noqa: F403
from flowbridge.conformance.rules_status import *  # noqa: F403
from support.across import AcrossHarness, harness_over

TREES = {
    "memory-memory": ("memory", "second"),
    "memory-chain": ("memory", "actionchain"),
    "chain-memory": ("actionchain", "memory"),
}


@pytest.fixture(scope="module", params=TREES)
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcrossHarness]:
    with harness_over(tmp_path_factory.mktemp("ledger") / "ledger.db", TREES[request.param]) as made:
        yield made

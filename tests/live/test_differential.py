"""The reference engine beside a real Mistral: the same workflows, the same outcomes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge_memory.backend import MemoryBackend
from flowbridge_mistral.backend import MistralBackend
from live.differential import MEMORY, MISTRAL, Case, Document, Play, Side, corpus, differences, shown
from support.threads import ThreadLauncher

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

CASES = corpus()
PLAIN = [case for case in CASES if not case.steps]
PLAYED = [case for case in CASES if case.steps]


@pytest.fixture(scope="module")
def sides(mistral_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    launcher = ThreadLauncher(ledger, lambda: MemoryBackend(MEMORY, {}))
    backends = [MemoryBackend(MEMORY, {}), MistralBackend(MISTRAL, {"url": mistral_url})]
    with Bridge(Config(ledger=ledger, actor="me"), backends=backends, launch=launcher, durable=False) as bridge:
        yield Side(bridge, MEMORY), Side(bridge, MISTRAL)


@pytest.fixture(scope="module")
def started(sides: tuple[Side, Side], request: pytest.FixtureRequest) -> dict[str, tuple[str | None, str | None]]:
    """Every chosen case, started on both engines before the first is waited for."""
    chosen = {str(item.callspec.params["case"].name) for item in request.session.items if hasattr(item, "callspec")}
    memory, mistral = sides
    return {case.name: (memory.start(case), mistral.start(case)) for case in PLAIN if case.name in chosen}


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_a_written_workflow_comes_to_the_same_on_both_engines(
    case: Case, sides: tuple[Side, Side], started: dict[str, tuple[str | None, str | None]]
) -> None:
    memory, mistral = (side.document(id) for side, id in zip(sides, started[case.name], strict=True))
    _compare(case, memory, mistral)


@pytest.mark.parametrize("case", PLAYED, ids=lambda case: case.name)
def test_a_workflow_that_is_meddled_with_comes_to_the_same_on_both_engines(
    case: Case, sides: tuple[Side, Side]
) -> None:
    memory, mistral = (Play(side, case).document() for side in sides)
    _compare(case, memory, mistral)


def _compare(case: Case, memory: Document, mistral: Document) -> None:
    found = differences(case, memory, mistral)
    assert not found, shown(case, memory, mistral, found)

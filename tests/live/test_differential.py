"""The reference engine beside a real Mistral: the same workflows, the same outcomes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge_memory.backend import MemoryBackend
from flowbridge_mistral.backend import MistralBackend
from live.differential import MEMORY, MISTRAL, Case, Document, Play, Side, corpus, differences, shown
from live.random_flows import random_case
from support.threads import ThreadLauncher

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

CASES = corpus()
PLAIN = [case for case in CASES if not case.steps]
PLAYED = [case for case in CASES if case.steps]

#: Random workflows by seed: the first seed, how many batches, and how many workflows in each. A Mistral of one process
#: does about ten tasks in a second, so there are only as many here as five minutes take.
FIRST, BATCHES, BATCH = int(os.environ.get("FLOWBRIDGE_FIRST_SEED", "0")), 8, 40

Sides = tuple[Side, Side]


@pytest.fixture(scope="module")
def sides(mistral_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    launcher = ThreadLauncher(ledger, lambda: MemoryBackend(MEMORY, {}))
    backends = [MemoryBackend(MEMORY, {}), MistralBackend(MISTRAL, {"url": mistral_url})]
    with Bridge(Config(ledger=ledger, actor="me"), backends=backends, launch=launcher, durable=False) as bridge:
        yield Side(bridge, MEMORY), Side(bridge, MISTRAL)


@pytest.fixture(scope="module")
def started(sides: Sides, request: pytest.FixtureRequest) -> dict[str, tuple[str | None, str | None]]:
    """Every chosen case, started on both engines before the first is waited for."""
    params = [each.callspec.params for each in request.session.items if hasattr(each, "callspec")]
    chosen = {each["case"].name for each in params if isinstance(each.get("case"), Case)}
    memory, mistral = sides
    return {case.name: (memory.start(case), mistral.start(case)) for case in PLAIN if case.name in chosen}


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_a_written_workflow_comes_to_the_same_on_both_engines(
    case: Case, sides: Sides, started: dict[str, tuple[str | None, str | None]]
) -> None:
    memory, mistral = (side.document(id) for side, id in zip(sides, started[case.name], strict=True))
    if differences(case, memory, mistral):
        mistral = _once_more(sides[1], case, started[case.name][1], memory, mistral)
    _compare(case, memory, mistral)


@pytest.mark.parametrize("case", PLAYED, ids=lambda case: case.name)
def test_a_workflow_that_is_meddled_with_comes_to_the_same_on_both_engines(case: Case, sides: Sides) -> None:
    memory, mistral = (Play(side, case).document() for side in sides)
    _compare(case, memory, mistral)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_workflows_come_to_the_same_on_both_engines(batch: int, sides: Sides) -> None:
    cases = [random_case(FIRST + batch * BATCH + number) for number in range(BATCH)]
    documents = _run_all(cases, sides)
    told = []
    for case, (id, memory, mistral) in zip(cases, documents, strict=True):
        if differences(case, memory, mistral):
            mistral = _once_more(sides[1], case, id, memory, mistral)  # noqa: PLW2901
        if found := differences(case, memory, mistral):
            told.append(shown(case, memory, mistral, found))
    assert not told, "\n\n".join([f"{len(told)} of {BATCH} differ", *told])


def _run_all(cases: Sequence[Case], sides: Sides) -> list[tuple[str, Document, Document]]:
    """Deploy all at once, start all, then wait for all."""
    memory, mistral = sides
    bodies = [case.text.partition("\n")[2] for case in cases]
    mistral.backend.deploy(Definition("version: '2.0'\n" + "".join(bodies), "batch"))
    there = [mistral.start_known(case.name, case.input) for case in cases]
    here = [memory.start(case, case.name) for case in cases]
    mistral.come_to_rest(there)
    return [(two, memory.document(one), mistral.document(two)) for one, two in zip(here, there, strict=True)]


def _once_more(mistral: Side, case: Case, id: str | None, memory: Document, first: Document) -> Document:
    """A second run where the engine itself failed in the first. A race is no such failure: the case declares it."""
    failed = mistral.stumbled(case, id) or _ran_twice(memory, first)
    return mistral.document(mistral.start(case)) if failed else first


def _ran_twice(memory: Document, mistral: Document) -> bool:
    """Whether the engine ran the action of one task twice, as it does now and then behind a join whose tasks end at one
    moment: the task's result is then a list of both."""
    return any(mistral.get(name) == [value, value] for name, value in memory.items() if name.endswith("/result"))


def _compare(case: Case, memory: Document, mistral: Document) -> None:
    found = differences(case, memory, mistral)
    assert not found, shown(case, memory, mistral, found)

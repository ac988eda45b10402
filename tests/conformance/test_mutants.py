"""The kit catches backends that are broken on purpose, each by the test named after the rule that it breaks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance import mutants_contract, mutants_status, mutants_verbs
from conformance.mutants import BRIDGED, Mutant
from flowbridge import runners
from flowbridge.backend import Backend
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance import suite
from flowbridge.conformance.lab import Lab
from flowbridge.conformance.rules import ELSEWHERE, RULES
from flowbridge.errors import FlowbridgeError
from flowbridge.local import Command
from flowbridge.model import Ref, Verb
from flowbridge_memory.backend import MemoryBackend
from support.memory import MemoryHarness
from support.threads import ThreadLauncher

MUTANTS: list[type[Mutant]] = [
    value
    for module in (mutants_contract, mutants_status, mutants_verbs)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Mutant) and value.caught_by and value.__module__ == module.__name__
]

#: The rules that a backend cannot break, beside those that no single engine can (`ELSEWHERE`).
BY_THE_BRIDGE = {
    "P1": "judged by the bridge on the status, which is what S1 to S5 are about",
    "R1": "judged by the bridge on the status, which is what S1 to S5 are about",
    "O6": "the history is written by the bridge",
    "O7": "judged by the bridge on the status",
    "O9": "two plans of the bridge are compared",
}

#: What a test is given besides the lab.
GIVEN = {
    "test_O10_a_verb_that_is_not_declared_does_nothing": (Verb.SKIP,),
    "test_S7_a_call_for_what_the_engine_does_not_have_says_so": ("pause",),
}

LAW = (Path(__file__).parents[2] / "docs/law.md").read_text()


class MutantHarness(MemoryHarness):
    """Little patience: a mutant that is caught by what does not come is waited for in full."""

    patience = 0.6

    @property
    def outside(self) -> Backend:
        assert isinstance(self.backend, Mutant)
        return self.backend.sound

    def unreachable(self) -> Backend | None:
        assert isinstance(self.backend, Mutant)
        return self.backend.unreachable()


@contextmanager
def at_work(mutant: type[Mutant], folder: Path) -> Iterator[MutantHarness]:
    """A mutant under the kit. What it leaves behind is ended by a sound backend."""
    options = {"cascades": sorted(mutant.engine)}
    ledger = folder / "ledger.db"
    launcher = ThreadLauncher(ledger, lambda: MemoryBackend("mutant", options))
    backend = mutant()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "_IDLE_SECONDS", 0.005)
        with Bridge(Config(ledger=ledger, actor="me"), backends=[backend], launch=launcher, durable=False) as bridge:
            yield MutantHarness(bridge, "mutant")
            for id in backend.requests:
                for look in backend.sound.observe([id]).get(id, ()):
                    cancel = Command(uuid.uuid4().hex, "cancel", look.ref.id)
                    backend.host.submit(backend.sound, Ref("mutant", id), cancel)
            launcher.join()


def tried(name: str, harness: MutantHarness) -> None:
    """One test of the kit."""
    test: Callable[..., None] = getattr(suite, name)
    try:
        test(Lab(harness), *GIVEN.get(name, ()))
    except pytest.skip.Exception as skipped:
        raise RuntimeError(f"{name} was not tried: {skipped}") from None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_every_mutant_is_caught_at_the_rule_that_it_breaks(mutant: type[Mutant], tmp_path: Path) -> None:
    caught = (AssertionError, FlowbridgeError, pytest.fail.Exception)
    with at_work(mutant, tmp_path) as harness, pytest.raises(caught):
        tried(mutant.caught_by, harness)


@pytest.mark.parametrize("engine", [Mutant.engine, BRIDGED], ids=["native", "bridged"])
def test_the_same_tests_pass_where_nothing_is_broken(engine: frozenset[str], tmp_path: Path) -> None:
    sound = type("Sound", (Mutant,), {"engine": engine})
    with at_work(sound, tmp_path) as harness:
        harness.patience = 20.0
        for name in sorted({mutant.caught_by for mutant in MUTANTS if mutant.engine == engine}):
            try:
                tried(name, harness)
            except RuntimeError:
                continue  # it is about a fact that the sound one does not declare


@pytest.mark.parametrize(
    "name",
    [
        "test_X5_dotted_names_reach_into_children_to_any_depth",
        "test_X5_tasks_of_several_levels_run_again_together",
        "test_X8_a_childs_own_id_means_the_same_as_the_dotted_name",
    ],
)
def test_what_an_engine_that_re_opens_nothing_above_cannot_do_is_not_possible_there(name: str, tmp_path: Path) -> None:
    with at_work(mutants_contract.OpensNothingAbove, tmp_path) as harness:
        harness.patience = 20.0
        with pytest.raises(RuntimeError, match="the engine does not re-open what stands above"):
            tried(name, harness)


def test_every_rule_has_a_mutant_or_a_reason() -> None:
    broken = {match.group(1) for mutant in MUTANTS if (match := re.match(r"test_([A-Z]\d+)_", mutant.caught_by))}
    reasons = ELSEWHERE.keys() | BY_THE_BRIDGE.keys()
    assert broken | reasons == RULES.keys()
    assert not broken & reasons


def test_the_kit_knows_every_rule_of_the_law() -> None:
    assert set(re.findall(r"^\| ([A-Z]\d+) \|", LAW, re.MULTILINE)) == RULES.keys()


def test_the_kit_has_a_test_for_every_rule_that_one_engine_can_keep() -> None:
    tried_rules = {match.group(1) for name in vars(suite) if (match := re.match(r"test_([A-Z]\d+)_", name))}
    assert tried_rules == RULES.keys() - ELSEWHERE.keys()

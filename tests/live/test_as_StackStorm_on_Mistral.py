"""What StackStorm's own tests of Mistral workflows ask for, on a stock Mistral without a StackStorm.

A parent has a task whose work is a whole workflow or chain, and one behind it. StackStorm tries Mistral workflows with
sub-workflows (of their workbook, or by the name of an action) and with sub-chains, and chains with Mistral workflows.
Here each scenario is tried for those pairs and for the reference engine as either of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowbridge.checks import RerunRequest
from flowbridge.model import Status
from live.three_engines import Site, Tasks, chain, flow, site_of, workbook

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

S = Status
Command = dict[str, Any]


def shell(cmd: str, **more: Any) -> Command:
    """A task of a workflow that runs a command."""
    return {"action": "core.local", "input": {"cmd": cmd, "timeout": 120}, **more}


def link(name: str, cmd: str) -> Command:
    """A task of a chain that runs a command."""
    return {"name": name, "ref": "core.local", "parameters": {"cmd": cmd, "timeout": 120}}


@dataclass(frozen=True)
class Pair:
    """A parent on one engine, whose `task1` is a child on another one. `native`: both are of one workbook."""

    parent: str
    child: str
    native: bool = False

    def __str__(self) -> str:
        return f"{self.parent}-{'its own' if self.native else self.child}"

    def start(self, site: Site, tasks: Tasks) -> str:
        """Start the parent. The tasks are the child's, in their order; a chain's are written from them."""
        second = shell("echo second >> " + str(site.log))
        if self.native:
            main = {"task1": {"workflow": "sub", "on-success": ["task2"]}, "task2": second}
            return site.start(workbook({"main": main, "sub": tasks}), self.parent)
        ref = self._put(site, tasks)
        if self.parent == "actionchain":
            after = link("task2", second["input"]["cmd"])
            return site.start(chain({"name": "task1", "ref": ref}, after), self.parent)
        return site.start(
            flow("parent", {"task1": {"action": ref, "on-success": ["task2"]}, "task2": second}), self.parent
        )

    def _put(self, site: Site, tasks: Tasks) -> str:
        if self.child == "actionchain":
            return site.put(
                "child", "action-chain", chain(*(link(name, one["input"]["cmd"]) for name, one in tasks.items()))
            )
        return site.put("child", "mistral-v2", flow("ours.child", tasks))


NATIVE = Pair("mistral", "mistral", native=True)
FLOWS = (
    NATIVE,
    Pair("mistral", "mistral"),
    Pair("mistral", "memory"),
    Pair("actionchain", "mistral"),
    Pair("memory", "mistral"),
)
PAIRS = (*FLOWS, Pair("mistral", "actionchain"))

At = Callable[[str], Site]


@pytest.fixture
def at(mistral_url: str, tmp_path: Path) -> Iterator[At]:
    """A site whose pack's workflows run on the instance that is named."""
    with ExitStack() as stack:
        yield lambda workflows: stack.enter_context(site_of(tmp_path, mistral_url, workflows))


@pytest.fixture
def site(at: At) -> Site:
    return at("mistral")


def gated(site: Site) -> Tasks:
    """A task that a gate keeps, and one behind it."""
    first = shell(f"echo begun >> {site.log}; {site.gate.command}", **{"on-success": ["task2"]})
    return {"task1": first, "task2": shell(f"echo behind >> {site.log}")}


def self_paused(site: Site) -> Tasks:
    """A task, and one behind it before which the workflow pauses itself."""
    return {
        "task1": shell(f"echo first >> {site.log}", **{"on-success": ["task2"]}),
        "task2": shell(f"echo behind >> {site.log}", **{"pause-before": True}),
    }


def begun(pair: Pair, site: Site) -> tuple[str, str]:
    """Parent and child, the child's first task at work."""
    id = pair.start(site, gated(site))
    child = site.child(id, "task1")
    site.at_work(child, "task1")
    return id, child


# Pausing and resuming


def test_P4_a_workflow_whose_task_runs_is_pausing_then_paused_and_goes_on(site: Site) -> None:
    id = site.start(flow("alone", gated(site)), "mistral")
    site.at_work(id, "task1")
    site.bridge.pause(id)
    assert site.bridge.get(id).record.status is S.PAUSING
    site.gate.open("word")
    site.reaches(id, S.PAUSED)
    assert site.said() == ["begun"]
    site.bridge.resume(id)
    site.reaches(id, S.SUCCEEDED)
    assert site.tasks(id) == [("task1", "succeeded"), ("task2", "succeeded")]
    assert site.said() == ["begun", "behind"]
    assert site.results(id)["task1"]["stdout"] == "word"


def test_P7_a_workflow_that_pauses_itself_before_a_task_goes_on_with_it(site: Site) -> None:
    id = site.start(flow("alone", self_paused(site)), "mistral")
    site.reaches(id, S.PAUSED)
    assert site.said() == ["first"]
    site.bridge.resume(id)
    site.reaches(id, S.SUCCEEDED)
    assert site.said() == ["behind", "first"]


@pytest.mark.parametrize("pair", FLOWS, ids=str)
def test_P7_a_child_that_pauses_itself_pauses_its_parent_whose_resume_takes_both_on(pair: Pair, at: At) -> None:
    site = at(pair.child)
    id = pair.start(site, self_paused(site))
    child = site.child(id, "task1")
    site.reaches(child, S.PAUSED)
    site.reaches(id, S.PAUSED)
    site.bridge.resume(id)
    site.reaches(child, S.SUCCEEDED)
    site.reaches(id, S.SUCCEEDED)
    assert site.said() == ["behind", "first", "second"]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_P2_and_R2_a_pause_of_the_parent_pauses_the_child_and_its_resume_resumes_it(pair: Pair, at: At) -> None:
    site = at(pair.child)
    id, child = begun(pair, site)
    site.bridge.pause(id)
    assert [site.bridge.get(one).record.status for one in (id, child)] == [S.PAUSING, S.PAUSING]
    site.gate.open("word")
    site.reaches(child, S.PAUSED)
    site.reaches(id, S.PAUSED)
    assert site.said() == ["begun"]
    site.bridge.resume(id)
    site.reaches(child, S.SUCCEEDED)
    site.reaches(id, S.SUCCEEDED)
    assert site.tasks(child) == [("task1", "succeeded"), ("task2", "succeeded")]
    assert site.said() == ["begun", "behind", "second"]


# Canceling


def test_C2_a_canceled_workflow_lets_its_task_end_and_starts_no_other(site: Site) -> None:
    id = site.start(flow("alone", gated(site)), "mistral")
    site.at_work(id, "task1")
    site.bridge.cancel(id)
    assert site.bridge.get(id).record.status is S.CANCELING
    site.gate.open("word")
    site.reaches(id, S.CANCELED)
    assert site.said() == ["begun"]
    assert [run.status for run in site.below(id, "task1")] == [S.CANCELED]


def test_C5_a_canceled_action_cancels_its_task_and_with_that_the_workflow(site: Site) -> None:
    id = site.start(flow("alone", gated(site)), "mistral")
    site.at_work(id, "task1")
    action = site.child(id, "task1")
    site.bridge.cancel(action)
    site.gate.open()
    site.reaches(action, S.CANCELED)
    site.reaches(id, S.CANCELED)
    assert site.tasks(id) == [("task1", "canceled")]
    assert site.said() == ["begun"]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_C3_a_cancel_of_the_parent_cancels_the_child_whose_task_ends(pair: Pair, at: At) -> None:
    site = at(pair.child)
    id, child = begun(pair, site)
    site.bridge.cancel(id)
    assert [site.bridge.get(one).record.status for one in (id, child)] == [S.CANCELING, S.CANCELING]
    site.gate.open()
    site.reaches(child, S.CANCELED)
    site.reaches(id, S.CANCELED)
    assert site.said() == ["begun"]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_C5_a_canceled_child_cancels_its_parent_once_it_has_ended(pair: Pair, at: At) -> None:
    site = at(pair.child)
    id, child = begun(pair, site)
    site.bridge.cancel(child)
    assert site.bridge.get(child).record.status is S.CANCELING
    # A cancel is no operation on the parent; a Mistral ends the parent of its own child at once, and S3 shows it.
    assert site.bridge.get(id).record.status in ((S.RUNNING, S.CANCELING) if pair.native else (S.RUNNING,))
    site.gate.open()
    site.reaches(child, S.CANCELED)
    site.reaches(id, S.CANCELED)
    assert site.said() == ["begun"]


# Re-running


def breakable(site: Site) -> Tasks:
    """A task that fails until `mended`."""
    return {"subtask1": shell(f"echo tried >> {site.log}; test -e {site.folder / 'mended'}")}


def items(site: Site) -> Tasks:
    """A task over four items. The second and the third fail until `mended`."""
    fails = f"case <% $.i %> in 1|2) test -e {site.folder / 'mended'} || exit 1;; esac"
    cmd = f"echo <% $.i %> >> {site.log}; {fails}; echo <% $.i %>"
    return {"subtask1": shell(cmd, **{"with-items": "i in [0, 1, 2, 3]"})}


def mend(site: Site) -> None:
    (site.folder / "mended").touch()


def test_X1_from_the_beginning_is_another_execution(site: Site) -> None:
    id = site.start(flow("alone", breakable(site)), "mistral")
    site.reaches(id, S.ERRORED)
    mend(site)
    new = site.bridge.rerun(id).execution
    site.reaches(new, S.SUCCEEDED)
    assert new != id
    assert site.bridge.find(new).ref != site.bridge.find(id).ref
    assert site.said() == ["tried", "tried"]


def test_X2_from_a_task_it_is_the_same_execution_under_a_new_record(site: Site) -> None:
    id = site.start(flow("alone", breakable(site)), "mistral")
    site.reaches(id, S.ERRORED)
    mend(site)
    new = site.bridge.rerun(id, RerunRequest(("subtask1",))).execution
    site.reaches(new, S.SUCCEEDED)
    assert new != id
    assert site.bridge.find(new).ref == site.bridge.find(id).ref
    assert site.tasks(new) == [("subtask1", "succeeded")]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_X7_a_task_of_the_child_runs_again_and_the_parent_goes_on(pair: Pair, at: At) -> None:
    site = at(pair.child)
    id = pair.start(site, breakable(site))
    child = site.child(id, "task1")
    site.reaches(id, S.ERRORED)
    mend(site)
    new = site.bridge.rerun(id, RerunRequest(("task1.subtask1",))).execution
    site.reaches(new, S.SUCCEEDED)
    again = site.child(new, "task1")
    for was, now in ((id, new), (child, again)):
        assert site.bridge.find(now).rerun_of == was
        assert site.bridge.find(now).ref == site.bridge.find(was).ref
    assert site.said() == ["second", "tried", "tried"]


@pytest.mark.parametrize("no_reset", [False, True], ids=["all items", "failed items"])
def test_X6_items_run_again_all_of_them_or_those_that_failed(site: Site, no_reset: bool) -> None:
    id = site.start(flow("alone", items(site)), "mistral")
    site.reaches(id, S.ERRORED)
    mend(site)
    named = ("subtask1",)
    new = site.bridge.rerun(id, RerunRequest(named, named if no_reset else ())).execution
    site.reaches(new, S.SUCCEEDED)
    assert site.said() == sorted("0123" + ("12" if no_reset else "0123"))
    assert [str(result["stdout"]) for result in site.results(new)["subtask1"]] == list("0123")


@pytest.mark.parametrize("no_reset", [False, True], ids=["all items", "failed items"])
@pytest.mark.parametrize("pair", FLOWS, ids=str)
def test_X7_items_of_a_child_run_again_all_of_them_or_those_that_failed(pair: Pair, no_reset: bool, at: At) -> None:
    site = at(pair.child)
    id = pair.start(site, items(site))
    child = site.child(id, "task1")
    site.reaches(id, S.ERRORED)
    assert site.said() == list("0123")
    mend(site)
    named = ("task1.subtask1",)
    new = site.bridge.rerun(id, RerunRequest(named, named if no_reset else ())).execution
    site.reaches(new, S.SUCCEEDED)
    again = site.child(new, "task1")
    assert {site.bridge.find(now).rerun_of for now in (new, again)} == {id, child}
    assert site.said() == sorted([*("0123" + ("12" if no_reset else "0123")), "second"])
    assert [str(result["stdout"]) for result in site.results(again)["subtask1"]] == list("0123")

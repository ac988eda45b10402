"""Where Mistral lets the law be broken: what the server does by itself, what ours does, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from flowbridge.backend import Definition, TaskRerun
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import Rejected
from flowbridge.model import EngineState, ExecutionLook, Status, TaskStatus, Verb
from flowbridge_mistral.backend import MistralBackend
from live.mistral_lab import Lab, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

WORKBOOK = """
version: '2.0'
name: law
actions:
  gate:
    input: [target]
    base: std.async_noop
workflows:
  two:
    input: [x: 1]
    tasks:
      bad:
        action: gate
        input: {target: bad}
      other:
        action: gate
        input: {target: other}
  delayed:
    tasks:
      first:
        action: gate
        input: {target: first}
      late:
        wait-before: 4
        action: gate
        input: {target: late}
  at_once:
    tasks:
      t:
        with-items: i in [0, 1, 2]
        action: gate
        input: {target: <% $.i %>}
  one_by_one:
    tasks:
      t:
        with-items: i in [0, 1, 2]
        concurrency: 1
        action: gate
        input: {target: <% $.i %>}
  wide:
    input: [count]
    tasks:
      t:
        with-items: i in <% range($.count) %>
        workflow: child x=<% $.i %>
  child:
    input: [x]
    tasks:
      c:
        action: gate
        input: {target: <% $.x %>}
  broken:
    input: [count]
    tasks:
      t:
        with-items: i in <% range($.count) %>
        workflow: leaf fails=<% $.i = $.count - 1 %>
  top:
    tasks:
      m:
        workflow: middle
  forked:
    tasks:
      m:
        workflow: middle
      aside:
        workflow: child x='aside'
  middle:
    tasks:
      l:
        workflow: low
  low:
    tasks:
      g:
        action: gate
        input: {target: low}
        on-success: [after]
      after:
        action: std.noop
  leaf:
    input: [fails]
    tasks:
      look:
        action: std.noop
        on-success:
          - bad: <% $.fails %>
      bad:
        action: std.fail
"""

S, E = TaskStatus.SUCCEEDED, TaskStatus.ERRORED


@pytest.fixture(scope="module")
def lab(mistral_url: str) -> Iterator[Lab]:
    backend = MistralBackend("prod", {"url": mistral_url})
    backend.deploy(Definition(WORKBOOK))
    yield Lab(backend, "law")
    backend.close()


@pytest.fixture
def flow(lab: Lab, tmp_path: Path) -> Iterator[Bridge]:
    with Bridge(Config(ledger=tmp_path / "ledger.db", actor="ada"), backends=[lab.backend]) as bridge:
        yield bridge


def adopted(flow: Bridge, engine_id: str) -> str:
    return flow.find(f"prod:{engine_id}").id


def errored_beside_a_running_task(lab: Lab) -> str:
    engine_id = lab.start("two")
    lab.gates(engine_id, "bad", "other")
    lab.end(engine_id, "bad", E)
    until(lambda: lab.task(engine_id, "bad").status is E)
    return engine_id


def ended(lab: Lab, engine_id: str, *targets: str, how: TaskStatus = S) -> str:
    for target in targets:
        lab.end(engine_id, target, how)
    until(lambda: lab.root(engine_id).state in (EngineState.SUCCEEDED, EngineState.ERRORED))
    return engine_id


def without_times(looks: tuple[ExecutionLook, ...]) -> list[Any]:
    return [(look.ref, look.state, [(task.name, task.status, task.starts) for task in look.tasks]) for look in looks]


def rejected(flow: Bridge, lab: Lab, verb: Verb, engine_id: str, rule: str, *tasks: str) -> None:
    """The verb is rejected by this rule, and the server is as it was."""
    before = without_times(lab.tree(engine_id))
    with pytest.raises(Rejected) as caught:
        flow.operate(verb, adopted(flow, engine_id), request=RerunRequest(tasks) if tasks else None)
    assert caught.value.rule == rule
    assert without_times(lab.tree(engine_id)) == before


def test_X3_the_server_re_runs_a_task_of_a_running_workflow_and_ours_rejects_it(flow: Bridge, lab: Lab) -> None:
    rejected(flow, lab, Verb.RERUN, errored_beside_a_running_task(lab), "X3", "bad")
    theirs = errored_beside_a_running_task(lab)
    lab.backend.rerun(theirs, [TaskRerun(lab.task(theirs, "bad").id, reset=True)])
    assert until(lambda: lab.task(theirs, "bad").starts == 2)


def test_X3_the_server_re_runs_a_task_of_a_canceled_workflow_and_ours_rejects_it(flow: Bridge, lab: Lab) -> None:
    engine_id = errored_beside_a_running_task(lab)
    lab.backend.cancel(engine_id)
    lab.end(engine_id, "other")
    lab.reaches(engine_id, EngineState.CANCELED)
    rejected(flow, lab, Verb.RERUN, engine_id, "X3", "bad")
    lab.backend.rerun(engine_id, [TaskRerun(lab.task(engine_id, "bad").id, reset=True)])
    assert until(lambda: lab.task(engine_id, "bad").starts == 2)


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
def test_X3_what_the_server_answers_under_a_pause_changes_nothing_there_and_ours_rejects_it(
    flow: Bridge, lab: Lab, verb: Verb
) -> None:
    engine_id = errored_beside_a_running_task(lab)
    lab.backend.pause(engine_id)
    lab.reaches(engine_id, EngineState.PAUSED)
    rejected(flow, lab, verb, engine_id, "X3" if verb is Verb.RERUN else "K1", "bad")
    before = without_times(lab.tree(engine_id))
    bad = lab.task(engine_id, "bad").id
    if verb is Verb.RERUN:
        lab.backend.rerun(engine_id, [TaskRerun(bad, reset=True)])
    else:
        lab.backend.skip(engine_id, [bad])
    assert without_times(lab.tree(engine_id)) == before


@pytest.mark.parametrize(("verb", "rule"), [(Verb.RESUME, "R1"), (Verb.CANCEL, "C1")])
def test_O4_the_server_says_yes_to_verbs_on_what_has_ended_and_ours_rejects_them(
    flow: Bridge, lab: Lab, verb: Verb, rule: str
) -> None:
    engine_id = ended(lab, lab.start("two"), "bad", "other")
    rejected(flow, lab, verb, engine_id, rule)
    before = without_times(lab.tree(engine_id))
    if verb is Verb.RESUME:
        lab.backend.resume(engine_id, "")
    else:
        lab.backend.cancel(engine_id)
    assert without_times(lab.tree(engine_id)) == before


@pytest.mark.parametrize(("verb", "settled"), [(Verb.PAUSE, Status.PAUSED), (Verb.CANCEL, Status.CANCELED)])
def test_P5_C2_a_delayed_task_starts_its_action_all_the_same_and_plan_and_status_say_so(
    flow: Bridge, lab: Lab, verb: Verb, settled: Status
) -> None:
    engine_id = lab.start("delayed")
    lab.gates(engine_id, "first")
    id = adopted(flow, engine_id)
    (warning,) = flow.plan(verb, id).warnings
    assert "task late, delayed or on its way, may still start its action" in warning
    outcome = flow.operate(verb, id)
    assert outcome.plan.warnings == (warning,)
    lab.end(engine_id, "first")
    lab.end(engine_id, "late")
    assert flow.wait(id, timeout=60, until=frozenset({settled})).record.status is settled
    assert lab.task(engine_id, "late").starts == 1


def errored_in_the_middle(lab: Lab, workflow: str) -> str:
    """Three items, of which the middle one failed."""
    engine_id = lab.start(workflow)
    for item, outcome in enumerate((S, E, S)):
        lab.end(engine_id, str(item), outcome)
    lab.reaches(engine_id, EngineState.ERRORED)
    return engine_id


def paused_three_deep(lab: Lab, workflow: str, *gates: str) -> tuple[str, str]:
    """A tree whose gates have ended under a pause; the root and the lowest execution, which has the first of them."""
    engine_id = lab.start(workflow)
    execution, _ = lab.gates(engine_id, *gates)[gates[0]]
    lab.backend.pause(engine_id)
    until(lambda: all(look.state is EngineState.PAUSED for look in lab.tree(engine_id)))
    for gate in gates:
        lab.end(engine_id, gate)
    until(lambda: not any(task.active for look in lab.tree(engine_id) for task in look.tasks))
    return engine_id, execution


def test_R4_the_server_resumes_every_ancestor_of_the_last_paused_one_and_ours_rejects_it(
    flow: Bridge, lab: Lab
) -> None:
    engine_id, lowest = paused_three_deep(lab, "top", "low")
    adopted(flow, engine_id)
    before = without_times(lab.tree(engine_id))
    with pytest.raises(Rejected) as caught:
        flow.resume(adopted(flow, lowest))
    assert caught.value.rule == "R4"
    assert all(f"({name})" in caught.value.message for name in ("law.middle", "law.top"))
    assert without_times(lab.tree(engine_id)) == before
    lab.backend.resume(lowest, "")
    lab.reaches(engine_id, EngineState.SUCCEEDED)


def test_R4_is_judged_at_each_ancestor_a_paused_branch_beside_one_of_them_keeps_only_those_above_it(
    flow: Bridge, lab: Lab
) -> None:
    engine_id, lowest = paused_three_deep(lab, "forked", "low", "aside")
    adopted(flow, engine_id)
    before = without_times(lab.tree(engine_id))
    with pytest.raises(Rejected) as caught:
        flow.resume(adopted(flow, lowest))
    assert caught.value.rule == "R4"
    assert "(law.middle)" in caught.value.message
    assert "(law.forked)" not in caught.value.message
    assert without_times(lab.tree(engine_id)) == before
    lab.backend.resume(lowest, "")
    until(lambda: states_in(lab, engine_id)["law.middle"] is EngineState.SUCCEEDED)
    states = states_in(lab, engine_id)
    assert states["law.forked"] is states["law.child"] is EngineState.PAUSED


def test_R4_one_of_two_paused_items_is_resumed_alone_and_what_is_above_stays_paused(flow: Bridge, lab: Lab) -> None:
    engine_id = lab.start("wide", count=2)
    lab.gates(engine_id, "0", "1")
    lab.backend.pause(engine_id)
    for gate in ("0", "1"):
        lab.end(engine_id, gate)
    until(lambda: lab.task(engine_id, "t").raw == "PAUSED" and not lab.task(engine_id, "t").active)
    adopted(flow, engine_id)
    one, other = lab.tree(engine_id)[1:]
    assert flow.resume(adopted(flow, one.ref.id)).done

    def states() -> dict[str, EngineState]:
        return {look.ref.id: look.state for look in lab.tree(engine_id)}

    until(lambda: states()[one.ref.id] is EngineState.SUCCEEDED)
    assert (states()[engine_id], states()[other.ref.id]) == (EngineState.PAUSED, EngineState.PAUSED)
    with pytest.raises(Rejected, match="R4"):
        flow.resume(adopted(flow, other.ref.id))


def states_in(lab: Lab, engine_id: str) -> dict[str, EngineState]:
    return {look.workflow: look.state for look in lab.tree(engine_id)}


def test_X6_a_refusal_for_items_of_actions_says_why_and_what_it_advises_works(flow: Bridge, lab: Lab) -> None:
    request = RerunRequest(("t",), ("t",))
    refused = errored_in_the_middle(lab, "at_once")
    before = without_times(lab.tree(refused))
    with pytest.raises(Rejected, match=r"one behind the last failed one .*concurrency: 1 runs only its fail"):
        flow.rerun(adopted(flow, refused), request)
    assert without_times(lab.tree(refused)) == before
    engine_id = errored_in_the_middle(lab, "one_by_one")
    again = flow.rerun(adopted(flow, engine_id), request)
    lab.end(engine_id, "1")
    assert flow.wait(again.execution, timeout=60).record.status is Status.SUCCEEDED
    assert lab.task(engine_id, "t").starts == 4


def test_S7_what_the_server_has_expired_is_shown_as_gone_and_can_be_run_again_from_the_beginning_only(
    flow: Bridge, lab: Lab, mistral_url: str
) -> None:
    record = flow.run("law.two", {"x": 7}, backend="prod")
    id, engine_id = record.id, ended(lab, record.ref.id, "bad", "other", how=E)
    assert flow.get(id).record.status is Status.ERRORED
    requests.delete(f"{mistral_url}/executions/{engine_id}", timeout=30).raise_for_status()
    record = flow.get(id).record
    assert (record.gone, record.status) == (True, Status.ERRORED)
    for verb, tasks in ((Verb.RERUN, ("bad",)), (Verb.CANCEL, ()), (Verb.SKIP, ("bad",))):
        with pytest.raises(Rejected):
            flow.operate(verb, id, request=RerunRequest(tasks) if tasks else None)
    fresh = flow.find(flow.rerun(id).execution)
    assert (fresh.rerun_of, fresh.gone) == (id, False)
    assert lab.backend.read(fresh.ref.id).input == {"x": 7}

"""What `flowbridge.backend.Backend` promises of single calls, held against the backend with no bridge between."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from flowbridge.backend import Definition, Deployed, Health, Listed, StartRequest
from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_asked
from flowbridge.conformance.shapes import Flow, Shape, Step
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.localbackend import LocalBackend
from flowbridge.model import (
    EngineState,
    ExecutionLook,
    ExecutionRead,
    ParentLink,
    Ref,
    Status,
    TaskLook,
    TaskRead,
    TaskRerun,
    TaskStatus,
    Verb,
)

#: The fields of what a backend shows that the law reads, and what they have to be.
_LOOK: dict[str, Any] = {"ref": Ref, "state": EngineState, "raw": str, "revision": str, "workflow": str, "tasks": tuple}
_TASK: dict[str, Any] = {"id": str, "name": str, "status": TaskStatus, "raw": str, "active": bool, "starts": int}


def test_S1_a_look_is_made_of_the_models_own_types(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    lab.gate(lab.child(id, "one").id, "c")
    for look in _tree(lab, lab.ref(id).id):
        _require(look, ExecutionLook, _LOOK)
        assert look.parent is None or type(look.parent) is ParentLink
        for task in look.tasks:
            _require(task, TaskLook, _TASK)
            assert task.items is None or type(task.items) is int


def _require(shown: object, kind: type, fields: dict[str, Any]) -> None:
    assert type(shown) is kind
    wrong = {name: getattr(shown, name) for name, of in fields.items() if not isinstance(getattr(shown, name), of)}
    assert not wrong, f"not of their types: {wrong}"


def test_what_is_read_listed_and_told_is_made_of_the_contracts_types(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a")
    backend, ref = lab.harness.backend, lab.ref(id)
    read = backend.read(ref.id)
    _require(read, ExecutionRead, {"input": Mapping, "tasks": tuple})
    for task in read.tasks:
        _require(task, TaskRead, {"id": str, "name": str, "status": TaskStatus, "published": Mapping})
    for one in backend.list_executions(limit=5):
        _require(one, Listed, {"ref": Ref, "workflow": str, "raw": str})
    _require(backend.check(), Health, {"version": str, "detail": str})
    definition = lab.definition(shapes.CHAIN)
    if isinstance(definition, Definition):
        _require(backend.validate(definition), Deployed, {"workflows": tuple})


def test_a_glance_uses_the_words_of_a_look(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    here = lab.ref(id).id
    if not lab.harness.backend.glance([here]):
        not_asked("the backend has no glance")
    lab.cancel(id)
    lab.release(id, "a")
    lab.reaches(id, Status.CANCELED)
    own = lab.own(id)
    assert own is not None
    glanced = lab.harness.backend.glance([here])
    assert glanced.get(here, own.raw) == own.raw, "a list would not see that it has changed"


def test_a_look_shows_whole_trees_under_the_ids_that_were_asked_for(lab: Lab) -> None:
    id, other = lab.start(shapes.ONLY), lab.start(shapes.CHAIN)
    root, child, beside = lab.ref(id), lab.child(id, "one").ref, lab.ref(other)
    if child.backend != root.backend:
        not_asked("sub-workflows live on other engines")
    seen = lab.harness.backend.observe([child.id, beside.id, root.id])
    assert set(seen) == {child.id, beside.id, root.id}
    assert [look.ref for look in seen[root.id]] == [look.ref for look in seen[child.id]] == [root, child]
    assert [look.ref for look in seen[beside.id]] == [beside]


def test_R3_the_revision_of_what_is_held_stays_while_a_child_that_was_resumed_alone_goes_on(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    before = lab.pause_settled(id, one, two).record.revision
    lab.resume_alone(one)
    lab.release(one, "d")
    lab.reaches(one, Status.SUCCEEDED)
    lab.meanwhile(shapes.CHAIN)
    own = lab.own(id)
    assert own is not None
    assert own.revision == before, "a resume that was not taken would be believed"


def test_a_read_of_some_tasks_gives_those(lab: Lab) -> None:
    id = lab.start(shapes.FORK)
    for task in ("a", "b"):
        lab.release(id, task)
    lab.gate(id, "j")
    own = lab.own(id)
    assert own is not None
    ids = {task.name: task.id for task in own.tasks}
    read = lab.harness.backend.read(own.ref.id, [ids["b"]])
    assert [(task.id, task.name) for task in read.tasks] == [(ids["b"], "b")]
    assert {task.id for task in lab.harness.backend.read(own.ref.id).tasks} == set(ids.values())


def test_a_text_that_is_no_definition_is_refused_before_it_is_deployed(lab: Lab) -> None:
    definition = lab.definition(shapes.CHAIN)
    if not isinstance(definition, Definition):
        not_asked("workflows are not deployed through the bridge")
    assert lab.harness.backend.validate(definition).workflows
    with pytest.raises(InvalidInput):
        lab.harness.backend.validate(definition._replace(text=""))  # in whatever language


def test_a_validation_leaves_the_engine_as_it_was(lab: Lab) -> None:
    if not isinstance(lab.definition(shapes.CHAIN), Definition):
        not_asked("workflows are not deployed through the bridge")
    new = Flow(f"new_{uuid.uuid4().hex[:8]}", (Step("a"),))
    definition = lab.definition(Shape("new", (new,)))
    assert isinstance(definition, Definition)
    workflow, *_ = lab.harness.backend.validate(definition).workflows
    with pytest.raises(NotFound):
        lab.harness.backend.start(StartRequest(str(uuid.uuid4()), workflow))


def test_O10_a_re_run_that_is_repeated_runs_nothing_a_second_time(lab: Lab) -> None:
    if Verb.RERUN not in lab.facts.verbs:
        not_asked("the engine has no re-run")
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    own = lab.own(id)
    assert own is not None
    again = [TaskRerun(own.tasks[0].id)]
    lab.harness.backend.rerun(own.ref.id, again)
    gate = lab.gate(id, "a")
    lab.harness.backend.rerun(own.ref.id, again)
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate(id, "a") == gate
    assert lab.starts(id) == {"a": 2}


def test_a_re_run_of_what_has_not_failed_or_is_not_there_runs_nothing(lab: Lab) -> None:
    lab.needs(Verb.RERUN)
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a")
    lab.release(id, "b", ok=False)
    lab.reaches(id, Status.ERRORED)
    own, before = lab.own(id), lab.fingerprint(id)
    assert own is not None
    succeeded = next(task.id for task in own.tasks if task.name == "a")
    with suppress(EngineRefused):
        lab.harness.backend.rerun(own.ref.id, [TaskRerun(succeeded)])
    with pytest.raises(NotFound):
        lab.harness.backend.rerun(own.ref.id, [TaskRerun(str(uuid.uuid4()))])
    lab.meanwhile(shapes.CHAIN)
    assert lab.fingerprint(id) == before


def test_the_engines_list_keeps_to_its_limit_and_has_the_newest_first(lab: Lab) -> None:
    started = {lab.ref(lab.start(shapes.CHAIN)) for _ in range(3)}
    lab.until(lambda: started <= _refs(_listed(lab)), "what was started to be in the list")
    times = [one.created for one in _listed(lab) if one.created is not None]
    assert times == sorted(times, reverse=True)
    assert len(_listed(lab, limit=2)) == 2


def test_the_engines_list_gives_those_of_one_state(lab: Lab) -> None:
    lab.needs(Verb.CANCEL)
    here, ended = lab.start(shapes.CHAIN), lab.start(shapes.CHAIN)
    lab.gate(ended, "a")
    lab.cancel(ended)
    lab.release(ended, "a")
    lab.reaches(ended, Status.CANCELED)
    runs, is_over = lab.ref(here), lab.ref(ended)

    def in_place() -> bool:
        running, canceled = (_refs(_listed(lab, state=one)) for one in (EngineState.RUNNING, EngineState.CANCELED))
        return runs in running - canceled and is_over in canceled - running

    lab.until(in_place, "each of two executions to be in the list of its own state alone")


def _refs(listed: list[Listed]) -> set[Ref]:
    return {one.ref for one in listed}


def _listed(lab: Lab, limit: int = 1000, state: str | None = None) -> list[Listed]:
    """What the engine lists, which may be a moment behind."""
    found = list(lab.harness.backend.list_executions(limit=limit, state=state))
    if isinstance(lab.harness.backend, LocalBackend) and not found:
        not_asked("every execution of a local engine is in the ledger already")
    return found


def test_only_a_local_engine_declares_recover(lab: Lab) -> None:
    is_local = isinstance(lab.harness.backend, LocalBackend)
    assert (Verb.RECOVER in lab.facts.verbs) is is_local, "recover is for runs that a process of the bridge's drives"


def _tree(lab: Lab, id: str) -> tuple[ExecutionLook, ...]:
    return lab.harness.backend.observe([id])[id]

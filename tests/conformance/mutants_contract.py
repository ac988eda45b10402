"""Adapters that break what the contract says of single calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from conformance.mutants import Mutant, Tree
from flowbridge.backend import Capabilities, Definition, Deployed, Listed, StartRequest
from flowbridge.capabilities import Cascade
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.law.tables import TASK_OVER
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead, Ref, TaskRerun, TaskStatus, Verb


class Lists(Mutant):
    """A sound list, as an engine of its own would have it: newest first."""

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        found = [self.own(id) for id in self.requests]
        newest = sorted(found, key=lambda look: look.created or 0.0, reverse=True)
        chosen = [look for look in newest if state in (None, look.state)]
        return [Listed(look.ref, look.workflow, look.raw, look.created) for look in chosen[:limit]]


class ListsChildren(Lists):
    """The list names every execution, whatever it hangs under."""

    caught_by = "test_the_engines_list_names_roots_and_no_children"

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        del state
        looks = [look for id in self.requests for look in self.whole(id)]
        return [Listed(look.ref, look.workflow, look.raw) for look in looks[:limit]]


class ListsNothingNew(Lists):
    """The list is cut off at the wrong end."""

    caught_by = "test_the_engines_list_names_roots_and_no_children"

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        del state, limit
        return [Listed(Ref(self.name, "the oldest"), "old", "done")]


class ListsOldestFirst(Lists):
    """The list is the wrong way round."""

    caught_by = "test_the_engines_list_keeps_to_its_limit_and_has_the_newest_first"

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        return [*super().list_executions(limit=limit, state=state)][::-1]


class ListsWithoutLimit(Lists):
    """The list is as long as it is."""

    caught_by = "test_the_engines_list_keeps_to_its_limit_and_has_the_newest_first"

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        return super().list_executions(limit=limit + 1000, state=state)


class ListsEveryState(Lists):
    """The list does not heed the state that was asked for."""

    caught_by = "test_the_engines_list_gives_those_of_one_state"

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        del state
        return super().list_executions(limit=limit)


class StartsAnotherBeside(Lists):
    """A start that comes again begins another one, and tells of the first."""

    caught_by = "test_O3_starting_the_same_id_twice_leaves_nothing_beside_it"

    def start(self, request: StartRequest) -> Ref:
        again = request.id in self.requests
        super().start(request._replace(id=f"{request.id}-{len(self.requests)}") if again else request)
        return Ref(self.name, request.id)


class TakesAnyTask(Mutant):
    """A task that is not there is taken for one that was run again."""

    caught_by = "test_a_re_run_of_what_has_not_failed_or_is_not_there_runs_nothing"

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        with suppress(NotFound):
            super().rerun(id, tasks)


class KeyedByTheRoot(Mutant):
    """A look at a child is found under its root's id only."""

    caught_by = "test_a_look_shows_whole_trees_under_the_ids_that_were_asked_for"

    def observe(self, ids: Sequence[str]) -> Mapping[str, Tree]:
        return {looks[0].ref.id: looks for looks in super().observe(ids).values()}


class ShowsTheChildAlone(Mutant):
    """A look at a child does not show where it hangs."""

    caught_by = "test_a_look_shows_whole_trees_under_the_ids_that_were_asked_for"

    def observe(self, ids: Sequence[str]) -> Mapping[str, Tree]:
        seen = super().observe(ids)
        return {id: looks if looks[0].ref.id == id else self.family(id) for id, looks in seen.items()}


class SaysStatesInWords(Mutant):
    """The engine's word is handed on as it is."""

    caught_by = "test_S1_a_look_is_made_of_the_models_own_types"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        word: EngineState = str(look.state)  # type: ignore[assignment]  # as an adapter without types would
        return replace(look, state=word)


class CountsTaskEvents(Mutant):
    """The revision is the number of all that ever happened."""

    caught_by = "test_R3_the_revision_of_what_is_held_stays_while_a_child_that_was_resumed_alone_goes_on"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        ended = sum(task.status in TASK_OVER for task in look.tasks)
        return replace(look, revision=f"{look.revision}.{ended}")


class ReadsEverything(Mutant):
    """A read gives every task, whichever were asked for."""

    caught_by = "test_a_read_of_some_tasks_gives_those"

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        del tasks
        return super().read(id)


class TakesAnyText(Mutant):
    """What is no definition is found by the start."""

    caught_by = "test_a_text_that_is_no_definition_is_refused_before_it_is_deployed"

    def validate(self, definition: Definition) -> Deployed:
        try:
            return super().validate(definition)
        except InvalidInput:
            return Deployed(("main",))


class DeploysToValidate(Mutant):
    """What is only to be checked is sent to the engine, which knows it from then on."""

    caught_by = "test_a_validation_leaves_the_engine_as_it_was"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.kept: dict[str, Definition] = {}

    def validate(self, definition: Definition) -> Deployed:
        deployed = super().validate(definition)
        self.kept |= dict.fromkeys(deployed.workflows, definition)
        return deployed

    def start(self, request: StartRequest) -> Ref:
        return super().start(request._replace(definition=request.definition or self.kept[request.workflow]))


class StartsNothing(Mutant):
    """A workflow that the engine does not have is taken for an empty one."""

    caught_by = "test_a_validation_leaves_the_engine_as_it_was"

    def start(self, request: StartRequest) -> Ref:
        try:
            return super().start(request)
        except NotFound:
            return Ref(self.name, request.id)


class ReadsTheEnginesWords(Mutant):
    """Statuses are translated for a look and not for a read."""

    caught_by = "test_what_is_read_listed_and_told_is_made_of_the_contracts_types"

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        read = super().read(id, tasks)
        word: TaskStatus = "DONE"  # type: ignore[assignment]  # as an adapter without types would
        return read._replace(tasks=tuple(task._replace(status=word) for task in read.tasks))


class GlancesAtTheState(Mutant):
    """A glance gives the translation, a look the engine's own word."""

    caught_by = "test_a_glance_uses_the_words_of_a_look"

    def glance(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {id: str(self.own(id).state).title() for id in ids}


class RefusesToRunAgainTwice(Mutant):
    """A call that is repeated after a crash is taken for somebody's mistake."""

    caught_by = "test_O10_a_re_run_that_is_repeated_runs_nothing_a_second_time"

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        if self.own(id).state is EngineState.RUNNING:
            raise EngineRefused(f"{id} is running")
        super().rerun(id, tasks)


class RefusesWhatRuns(RefusesToRunAgainTwice):
    """What a call for a child has re-opened already is not run again."""

    caught_by = "test_X5_tasks_of_several_levels_run_again_together"


class OpensOneItemOnly(Mutant):
    """A task that waits again for one of its items waits for no other one."""

    caught_by = "test_X5_without_an_index_all_items_are_meant_in_which_the_task_failed"

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        above = self.own(id).parent
        if above is not None and self.own(above.id).state is EngineState.RUNNING:
            raise EngineRefused(f"{above.id} waits already")
        super().rerun(id, tasks)


class DeclaresRecover(Mutant):
    """Nothing of it can be recovered, and it says so."""

    caught_by = "test_only_a_local_engine_declares_recover"

    @property
    def capabilities(self) -> Capabilities:
        facts = super().capabilities
        return replace(facts, verbs=facts.verbs - {Verb.RECOVER})


class OpensNothingAbove(Mutant):
    """An engine that re-opens no ancestor, and says so: the rules that need it are shown as not possible."""

    @property
    def capabilities(self) -> Capabilities:
        facts = super().capabilities
        return replace(facts, cascades=facts.cascades - {Cascade.RERUN_UP})

"""Mutants at the rules of cancel, re-run and skip, and at those for every operation (C, X, K, O)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.mutants import BRIDGED, NATIVE, Anew, Mutant, Tree, changed, declaring
from conformance.mutants_status import PausesInWordsOnly
from flowbridge.backend import Backend, Health, StartRequest
from flowbridge.capabilities import Capabilities, Cascade, PartialRerun
from flowbridge.errors import EngineRefused, FlowbridgeError
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead, Ref, TaskRerun, TaskStatus, Verb
from support.fakes import FakeEngine


class RefusesToCancelThePaused(Mutant):
    """The engine's own table has no way from paused to canceled."""

    caught_by = "test_C1_what_is_paused_can_be_canceled"

    def cancel(self, id: str) -> None:
        if self.own(id).state is EngineState.PAUSED:
            raise EngineRefused("a paused execution cannot be canceled")
        super().cancel(id)


class RefusesToCancelTheEnded(Mutant):
    """What has ended already is an error."""

    caught_by = "test_C1_canceling_what_has_ended_is_no_error_of_the_engines"

    def cancel(self, id: str) -> None:
        if self.own(id).state is EngineState.ERRORED:
            raise EngineRefused("it has ended")
        super().cancel(id)


class KillsWhatRuns(Mutant):
    """A cancel ends the running actions."""

    caught_by = "test_C2_a_running_leaf_ends_and_its_result_is_recorded_and_nothing_new_starts"

    def cancel(self, id: str) -> None:
        super().cancel(id)
        self.end_gates(self.family(id), TaskStatus.CANCELED)


class CancelsOneLevel(Mutant):
    """A cancel reaches the children, not theirs, and is said to reach all."""

    engine = NATIVE - {Cascade.CANCEL_DOWN}
    caught_by = "test_C3_the_engine_cancels_downwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, more=Cascade.CANCEL_DOWN)

    def cancel(self, id: str) -> None:
        for look in self.family(id):
            if look.ref.id == id or (look.parent and look.parent.id == id):
                super().cancel(look.ref.id)


class HidesThatACancelGoesDown(Mutant):
    """A cancel reaches every level, and nobody is told."""

    caught_by = "test_C3_the_engine_cancels_downwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, less=Cascade.CANCEL_DOWN)


class CancelsATreeOnce(Mutant):
    """Where the root of a tree is canceled, the rest is taken to be."""

    engine = BRIDGED
    caught_by = "test_C3_canceling_reaches_every_level"

    def cancel(self, id: str) -> None:
        if self.whole(id)[0].state is not EngineState.CANCELED:
            super().cancel(id)


class StuckCanceling(Mutant):
    """A task that has ended still counts as active under a cancel."""

    caught_by = "test_C4_it_is_canceling_until_no_task_is_active"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return changed(look, active=True) if look.state is EngineState.CANCELED else look


class BelievesCanceledTooEarly(Mutant):
    """Nothing counts as active under a cancel."""

    caught_by = "test_C4_it_is_canceling_until_no_task_is_active"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(changed(look, active=False), waiting=()) if look.state is EngineState.CANCELED else look


class CancelsUpwards(Mutant):
    """A child is canceled by way of its root."""

    caught_by = "test_C5_a_canceled_child_ends_its_parent_only_after_the_other_branches"

    def cancel(self, id: str) -> None:
        super().cancel(self.whole(id)[0].ref.id)


class DropsTheInput(Mutant):
    """A start leaves the input behind."""

    caught_by = "test_X1_from_the_beginning_is_a_new_execution_with_the_same_input"

    def start(self, request: StartRequest) -> Ref:
        return super().start(request._replace(input={}))


class BeginsAgainOnRerun(Anew):
    """A re-run from tasks runs everything."""

    caught_by = "test_X2_from_tasks_reuses_the_engine_execution_under_a_new_record"

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        del tasks
        self.again(id)


class LosesContextOnRerun(Mutant):
    """What earlier tasks published is not there after a re-run."""

    caught_by = "test_X2_from_tasks_reuses_the_engine_execution_under_a_new_record"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.reopened: set[str] = set()

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        super().rerun(id, tasks)
        self.reopened.add(id)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        read = super().read(id, tasks)
        lost = tuple(task._replace(result=None) for task in read.tasks)
        return read._replace(tasks=lost) if id in self.reopened else read


class ShowsEveryTaskAsErrored(Mutant):
    """A task's status is taken from that of its execution."""

    caught_by = "test_X3_one_wrong_task_fails_the_whole_request_and_all_wrong_ones_are_listed"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return changed(look, status=TaskStatus.ERRORED) if look.state is EngineState.ERRORED else look


class RerunsTheFirstOnly(Mutant):
    """Of several tasks one is sent."""

    caught_by = "test_X4_names_are_deduplicated_and_their_order_does_not_matter"

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        super().rerun(id, tasks[:1])


class LosesTheIndex(Mutant):
    """Children of items do not know whose they are."""

    caught_by = "test_X5_one_item_of_many_can_be_named"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, parent=look.parent._replace(item=None)) if look.parent else look


class IgnoresNoReset(Mutant):
    """A re-run always runs all items."""

    caught_by = "test_X6_with_no_reset_only_the_failed_items_run_and_results_keep_their_places"

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        super().rerun(id, [TaskRerun(task.task) for task in tasks])


class MixesUpItems(Mutant):
    """Results of items come in the order in which the engine happens to keep them."""

    caught_by = "test_X6_with_no_reset_only_the_failed_items_run_and_results_keep_their_places"

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        read = super().read(id, tasks)
        mixed = [one._replace(result=one.result[::-1]) if one.items is not None else one for one in read.tasks]
        return read._replace(tasks=tuple(mixed))


class SaysThatItemsRunAgain(Mutant):
    """The engine was mended, and what it does is still refused."""

    caught_by = "test_X6_an_engine_that_is_said_to_run_too_many_items_again_does"

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, partial_rerun=PartialRerun.NO)


class HidesThatARerunGoesUp(Mutant):
    """A re-run re-opens what is above, and nobody is told."""

    caught_by = "test_X8_the_engine_re_opens_ancestors_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, less=Cascade.RERUN_UP)


class LeavesAncestorsErrored(Mutant):
    """What is above a re-run task is still shown as it ended."""

    caught_by = "test_X8_the_engine_re_opens_ancestors_as_declared"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.ended: set[str] = set()

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        self.ended |= set(self.above(id))
        super().rerun(id, tasks)

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, state=EngineState.ERRORED) if look.ref.id in self.ended else look


class ShowsNothingBehindTheRerun(Mutant):
    """What a re-run shows are the tasks that were named and those that had succeeded."""

    caught_by = "test_X9_behind_the_re_run_task_the_workflow_goes_on_and_joins_count_afresh"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.known: dict[str, set[str]] = {}

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        done = {task.id for task in self.own(id).tasks if task.status is TaskStatus.SUCCEEDED}
        self.known[id] = done | {task.task for task in tasks}
        super().rerun(id, tasks)

    def look(self, look: ExecutionLook) -> ExecutionLook:
        known = self.known.get(look.ref.id)
        return look if known is None else replace(look, tasks=tuple(task for task in look.tasks if task.id in known))


class SkipsInWordsOnly(Mutant):
    """A task is shown as skipped, and nothing goes on behind it."""

    caught_by = "test_K1_a_skipped_task_ends_skipped_and_the_workflow_goes_on_behind_it"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.skipped: set[str] = set()

    def skip(self, id: str, tasks: Sequence[str]) -> None:
        self.skipped |= {id, *tasks}

    def look(self, look: ExecutionLook) -> ExecutionLook:
        if look.ref.id not in self.skipped:
            return look
        tasks = [replace(one, status=TaskStatus.SKIPPED) if one.id in self.skipped else one for one in look.tasks]
        return replace(look, state=EngineState.RUNNING, tasks=tuple(tasks))


class CountsLooks(Mutant):
    """A look leaves a trace in what is looked at."""

    caught_by = "test_O1_a_plan_names_every_execution_and_changes_nothing"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.looks = 0

    def look(self, look: ExecutionLook) -> ExecutionLook:
        self.looks += 1
        return changed(look, starts=self.looks)


class TakesSilenceForAnAnswer(Mutant):
    """An engine that does not answer has nothing to tell, so nothing is there."""

    caught_by = "test_O2_an_engine_that_does_not_answer_is_neither_obeyed_nor_believed"

    def unreachable(self) -> Backend:
        return _Deaf()


class _Deaf(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.down = True

    def observe(self, ids: Sequence[str]) -> Mapping[str, Tree]:
        try:
            return super().observe(ids)
        except FlowbridgeError:
            return {}


class StartsTwice(Mutant):
    """The engine chooses ids, so a start that is repeated is another one."""

    caught_by = "test_O3_starting_the_same_id_twice_starts_once"

    def start(self, request: StartRequest) -> Ref:
        again = request.id in self.requests
        return super().start(request._replace(id=f"{request.id}-{len(self.requests)}") if again else request)


class ChecksNothing(Mutant):
    """It is well as long as it is configured."""

    caught_by = "test_O2_an_engine_that_does_not_answer_is_neither_obeyed_nor_believed"

    def unreachable(self) -> Backend:
        return _Careless()


class _Careless(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.down = True

    def cancel(self, id: str) -> None:
        self._reach("cancel", id)

    def check(self) -> Health:
        return Health("1", "configured")


class AnswersAndDoesNothing(Mutant):
    """The engine says yes to a pause, and runs on."""

    caught_by = "test_O4_a_verb_is_done_when_the_engine_shows_it"

    def pause(self, id: str) -> None:
        del id


class NeverChangesTheRevision(Mutant):
    """Two states that look alike cannot be told apart."""

    caught_by = "test_O4_a_resume_that_was_taken_can_be_told_by_the_revision"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, revision=str(look.state))


class Toggles(Mutant):
    """A pause of what is paused resumes it."""

    caught_by = "test_O10_a_call_that_is_repeated_changes_nothing"

    def pause(self, id: str) -> None:
        own = self.own(id)
        if own.state is EngineState.PAUSED:
            self.sound.resume(id, own.revision)
        else:
            super().pause(id)


class PausesTheDefinition(Mutant):
    """The engine can only pause every run of a workflow."""

    caught_by = "test_O10_a_verb_touches_no_other_execution"

    def pause(self, id: str) -> None:
        for other in self.requests:
            if self.own(other).workflow == self.own(id).workflow:
                super().pause(other)


class HidesAVerb(Mutant):
    """The adapter learned a verb, and its capabilities did not."""

    caught_by = "test_O10_a_verb_that_is_not_declared_does_nothing"

    @property
    def capabilities(self) -> Capabilities:
        facts = super().capabilities
        return replace(facts, verbs=facts.verbs - {Verb.SKIP})


class CancelsInWordsOnly(Mutant):
    """The adapter notes the cancel, and the engine goes on."""

    caught_by = "test_O11_what_is_said_to_be_canceled_does_not_go_on"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.canceled: set[str] = set()

    def cancel(self, id: str) -> None:
        self.canceled.add(id)

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, state=EngineState.CANCELED) if look.ref.id in self.canceled else look


class CancelsByFailing(Mutant):
    """An execution is ended as errored, for want of a cancel."""

    caught_by = "test_O11_what_is_said_to_be_canceled_does_not_go_on"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, state=EngineState.ERRORED) if look.state is EngineState.CANCELED else look


class SeesNothingFromOutside(PausesInWordsOnly):
    """What the adapter did itself is all it knows."""

    caught_by = "test_O12_a_pause_from_outside_is_adopted_and_never_reverted"

    def pause(self, id: str) -> None:
        super().pause(id)
        self.sound.pause(id)

    def look(self, look: ExecutionLook) -> ExecutionLook:
        unknown = look.state is EngineState.PAUSED and look.ref.id not in self.paused
        return replace(look, state=EngineState.RUNNING) if unknown else look

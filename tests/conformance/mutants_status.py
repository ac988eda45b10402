"""Mutants at the rules of status, pause and resume (S, P, R)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.mutants import BRIDGED, NATIVE, Anew, Mutant, Tree, changed, declaring
from flowbridge.capabilities import Capabilities, Cascade, JoinUnderPause, ResumeUp
from flowbridge.errors import NotFound, Unavailable
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead, Ref, TaskStatus


class SwallowsErrors(Mutant):
    """What failed is reported as done."""

    caught_by = "test_S1_each_end_has_a_word_of_its_own"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        tasks = [
            replace(task, status=TaskStatus.SUCCEEDED) if task.status is TaskStatus.ERRORED else task
            for task in look.tasks
        ]
        state = EngineState.SUCCEEDED if look.state is EngineState.ERRORED else look.state
        return replace(look, state=state, tasks=tuple(tasks))


class BelievesPausedTooEarly(Mutant):
    """Activity is taken from the engine's word for the execution."""

    caught_by = "test_S2_an_execution_is_pausing_while_an_action_runs"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        # The kit's gates are links of another ledger, which count as active by themselves.
        return look if look.state is EngineState.RUNNING else replace(changed(look, active=False), waiting=())


class LosesTheEnginesWord(Mutant):
    """Only the translation is handed on."""

    caught_by = "test_S3_the_engines_own_word_stands_beside_the_status"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, raw="")


class JudgesByItself(Mutant):
    """The adapter folds the status, which is the bridge's part."""

    caught_by = "test_S3_the_engines_own_word_stands_beside_the_status"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        busy = look.waiting or any(task.active for task in look.tasks)
        return replace(look, state=EngineState.RUNNING) if busy and look.state is EngineState.PAUSED else look


class ShowsTheParentAsItsChild(Mutant):
    """A parent is said to run while something below it does."""

    caught_by = "test_S4_a_branch_that_was_resumed_alone_changes_nothing_above_it"

    def tree(self, looks: Tree) -> Tree:
        busy = {look.parent.id for look in looks if look.parent and look.state is EngineState.RUNNING}
        return tuple(replace(look, state=EngineState.RUNNING) if look.ref.id in busy else look for look in looks)


class StuckPausing(Mutant):
    """A task that has ended still counts as active under a pause."""

    caught_by = "test_S5_a_tree_of_three_levels_settles_at_every_level"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return changed(look, active=True) if look.state is EngineState.PAUSED else look


class ShowsTheGoneAsSucceeded(Mutant):
    """What the engine does not know any more is taken for done."""

    caught_by = "test_S7_what_the_engine_does_not_have_is_left_out_of_a_look"

    def observe(self, ids: Sequence[str]) -> Mapping[str, Tree]:
        seen = super().observe(ids)
        return {id: seen.get(id) or (ExecutionLook(Ref(self.name, id), EngineState.SUCCEEDED, "done"),) for id in ids}


class TakesNotFoundForAnOutage(Mutant):
    """Every error of the engine becomes the same one."""

    caught_by = "test_S7_a_call_for_what_the_engine_does_not_have_says_so"

    def pause(self, id: str) -> None:
        try:
            super().pause(id)
        except NotFound as error:
            raise Unavailable(error.message) from error


class SaysThatAPauseGoesDown(Mutant):
    """A pause forgets the children, and is said to reach them."""

    engine = NATIVE - {Cascade.PAUSE_DOWN}
    caught_by = "test_P2_the_engine_pauses_downwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, more=Cascade.PAUSE_DOWN)


class HidesThatAPauseGoesDown(Mutant):
    """A pause reaches the children, and nobody is told."""

    caught_by = "test_P2_the_engine_pauses_downwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, less=Cascade.PAUSE_DOWN)


class PausesATreeOnce(Mutant):
    """Where one execution of a tree was paused, the others are taken to be."""

    engine = BRIDGED
    caught_by = "test_P2_pausing_a_root_pauses_every_descendant"

    def pause(self, id: str) -> None:
        if all(look.state is not EngineState.PAUSED for look in self.whole(id)):
            super().pause(id)


class ForgetsPeers(PausesATreeOnce):
    """The same, seen from a child: its peers go on."""

    caught_by = "test_P3_pausing_a_child_pauses_its_parent_and_peers"


class LosesAChild(Mutant):
    """The list of children ends one too early."""

    caught_by = "test_P2_pausing_a_root_pauses_every_descendant"

    def tree(self, looks: Tree) -> Tree:
        return looks[:-1] if len(looks) > 1 else looks


class SaysThatAPauseGoesUp(Mutant):
    """A pause of a child forgets the parent, and is said to reach it."""

    engine = NATIVE - {Cascade.PAUSE_UP}
    caught_by = "test_P3_the_engine_pauses_upwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, more=Cascade.PAUSE_UP)


class HidesThatAPauseGoesUp(Mutant):
    """A pause of a child reaches the parent, and nobody is told."""

    caught_by = "test_P3_the_engine_pauses_upwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, less=Cascade.PAUSE_UP)


class HangsChildrenUnderNoTask(Mutant):
    """A child knows its parent, but not the task there."""

    caught_by = "test_P4_the_task_of_a_pausing_child_is_pausing_too"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, parent=look.parent._replace(task="")) if look.parent else look


class PausesInWordsOnly(Mutant):
    """The adapter notes the pause, and the engine goes on."""

    caught_by = "test_P5_a_running_leaf_ends_and_its_result_is_kept_and_nothing_new_starts"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.paused: set[str] = set()

    def pause(self, id: str) -> None:
        self.paused |= {look.ref.id for look in self.family(id)}

    def resume(self, id: str, revision: str) -> None:
        self.paused -= {look.ref.id for look in self.family(id)}

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return replace(look, state=EngineState.PAUSED) if look.ref.id in self.paused else look


class LetsLateChildrenRun(PausesInWordsOnly):
    """The same, seen at a child that is born under the pause."""

    caught_by = "test_P6_a_child_that_is_born_under_a_hold_is_held_and_goes_on_with_the_resume"


class InterruptsWhatRuns(Mutant):
    """A pause stops the actions that run."""

    caught_by = "test_P5_a_running_leaf_ends_and_its_result_is_kept_and_nothing_new_starts"

    def pause(self, id: str) -> None:
        super().pause(id)
        self.end_gates(self.family(id), TaskStatus.CANCELED)


class CountsAPausedChildAsDone(Mutant):
    """A child that is paused and has nothing running ends, as far as its parent's join can tell."""

    caught_by = "test_P5_a_paused_child_satisfies_no_join"

    def tree(self, looks: Tree) -> Tree:
        paused = {look.ref.id for look in looks if look.parent and look.state is EngineState.PAUSED}
        still = {look.ref.id for look in looks if not any(task.active for task in look.tasks)}
        return tuple(
            replace(look, state=EngineState.SUCCEEDED) if look.ref.id in paused & still else look for look in looks
        )


class SaysThatJoinsSlip(Mutant):
    """The engine was mended, and the warning stayed."""

    caught_by = "test_P5_a_join_whose_last_task_ends_under_a_pause_waits_for_the_resume"

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, join_under_pause=JoinUnderPause.MAY_SLIP)


class SaysThatDelayedTasksStart(Mutant):
    """The same, for delayed tasks."""

    caught_by = "test_P5_a_delayed_task_starts_under_a_pause_only_where_that_is_declared"

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, delayed_starts_under_pause=True)


class KnowsOnlyItsOwnPauses(Mutant):
    """A workflow that paused itself is said to run."""

    caught_by = "test_P7_a_workflow_that_pauses_itself_holds_the_whole_tree"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.asked: set[str] = set()

    def pause(self, id: str) -> None:
        self.asked |= {look.ref.id for look in self.whole(id)}
        super().pause(id)

    def look(self, look: ExecutionLook) -> ExecutionLook:
        unasked = look.state is EngineState.PAUSED and look.ref.id not in self.asked
        return replace(look, state=EngineState.RUNNING) if unasked else look


class EndsWhatIsHeld(Mutant):
    """An execution whose last task failed is said to have ended, although it is paused."""

    caught_by = "test_P8_a_held_execution_whose_last_task_failed_is_paused_and_the_resume_ends_it"

    def look(self, look: ExecutionLook) -> ExecutionLook:
        failed = any(task.status is TaskStatus.ERRORED for task in look.tasks)
        return replace(look, state=EngineState.ERRORED) if failed and look.state is EngineState.PAUSED else look


class SaysThatAResumeGoesDown(Mutant):
    """A resume forgets the children, and is said to reach them."""

    engine = NATIVE - {Cascade.RESUME_DOWN}
    caught_by = "test_R2_the_engine_resumes_downwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, more=Cascade.RESUME_DOWN)


class HidesThatAResumeGoesDown(Mutant):
    """A resume reaches the children, and nobody is told."""

    caught_by = "test_R2_the_engine_resumes_downwards_as_declared"

    @property
    def capabilities(self) -> Capabilities:
        return declaring(super().capabilities, less=Cascade.RESUME_DOWN)


class ResumesUpwards(Mutant):
    """A resume of a child resumes what is above it."""

    caught_by = "test_R3_a_resumed_child_leaves_its_parent_and_peers_paused"

    def resume(self, id: str, revision: str) -> None:
        super().resume(id, revision)
        for above in self.above(id):
            self.sound.resume(above, self.own(above).revision)


class HidesThatAResumeGoesUp(ResumesUpwards):
    """The same where it is the only child: nobody is told, so nothing is refused."""

    caught_by = "test_R4_where_the_engine_would_resume_the_parent_too_it_is_refused"


class SaysThatAResumeGoesUp(Mutant):
    """The engine was mended, and what it does is still refused."""

    caught_by = "test_R4_an_engine_that_is_said_to_resume_upwards_does"

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, resume_up=ResumeUp.LAST_PAUSED)


class BeginsAgainOnResume(Anew):
    """A resume runs the finished tasks again."""

    caught_by = "test_R5_a_resumed_execution_goes_on_where_it_stopped"

    def resume(self, id: str, revision: str) -> None:
        del revision
        self.again(id)


class LosesResultsOnResume(Mutant):
    """What was published before a pause is not there after it."""

    caught_by = "test_R5_a_resumed_execution_goes_on_where_it_stopped"

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.lost: dict[str, set[str]] = {}

    def resume(self, id: str, revision: str) -> None:
        self.lost[id] = {task.id for task in self.own(id).tasks}
        super().resume(id, revision)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        read = super().read(id, tasks)
        lost = self.lost.get(id, set())
        return read._replace(tasks=tuple(one._replace(result=None) if one.id in lost else one for one in read.tasks))

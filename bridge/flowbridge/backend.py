"""The backend contract: what an engine's plugin implements, and the facts it declares.

A backend *type* is a plugin; a backend *instance* is a name in the configuration. A backend holds no lifecycle
rule: it makes the calls and translates words. Every method may be called again with the same arguments and then
does nothing new, except `resume`, which the core never repeats without having looked (law, O4).

Only three errors leave a backend on purpose: `NotFound`, `Unavailable` and `EngineRefused`; of a definition or an input
that is wrong also `InvalidInput`. The verbs and `read` raise `NotFound` for an id that the engine does not have,
whatever it looks like: of an execution, or of a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from flowbridge.capabilities import Capabilities, Cascade, JoinUnderPause, PartialRerun, ResumeUp
from flowbridge.model import NOTHING, ExecutionLook, ExecutionRead, Ref, TaskRerun, TaskStatus


class Definition(NamedTuple):
    """A workflow definition as text, and where it came from (for messages)."""

    text: str
    source: str = "definition"


class Given(NamedTuple):
    """What a target is started with. `workflow` and `task_name` are empty where the target decides; `secret` names
    inputs that are secret beside those that `Target.secret` names."""

    input: Mapping[str, Any] = NOTHING
    workflow: str = ""
    env: Mapping[str, Any] = NOTHING
    task_name: str = ""
    secret: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """What a name in a catalog stands for.

    `workflow` is what to start: one of `definition`, or, without one, a name that the backend knows. `backend` is an
    instance, or a type whose instance is meant; empty for the default. `secret` names the inputs that are sealed before
    anything is written down (`flowbridge.vault`), `text` those that are text, whatever they read as on a command line.
    `links` tells that it may come to wait for an execution elsewhere; of a definition its backend tells that itself.
    `bind` makes of what a caller gives what the target is started with: checked, cast, with the catalog's defaults.
    It raises `InvalidInput`, and lets sealed values through as they are; None where the backend does all that.
    `warnings` are what was found odd, as in `Deployed`; of a definition its backend tells that itself.
    """

    definition: Definition | None = None
    workflow: str = ""
    backend: str = ""
    secret: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    links: bool = False
    bind: Callable[[Given], Given] | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = ()


class Deployed(NamedTuple):
    """What a deployment made available: the names of the workflows, the one to start by default first.

    `links` tells that a task of theirs waits, or may come to wait, for an execution elsewhere. `warnings` are for
    whoever has it checked: what can hardly be meant, and is no reason not to run it.
    """

    workflows: tuple[str, ...]
    links: bool = False
    warnings: tuple[str, ...] = ()


class StartRequest(NamedTuple):
    """A start. `id` is chosen by the bridge: starting the same id twice starts once.

    `task_name` is the target of a workflow that runs backwards from one, empty for any other. `owner` is the ledger
    that starts it: an engine that hosts children gives it back with each that waits (`WaitingChild.owner`).
    """

    id: str
    workflow: str
    input: Mapping[str, Any] = NOTHING
    env: Mapping[str, Any] = NOTHING
    definition: Definition | None = None
    task_name: str = ""
    owner: str = ""


class Listed(NamedTuple):
    """One execution in a backend's list."""

    ref: Ref
    workflow: str
    raw: str
    created: float | None = None
    parent: str | None = None


class Said(NamedTuple):
    """What a leaf task has written since a mark. `mark` is where to go on, opaque to whoever asks."""

    text: str = ""
    mark: str = ""


class Health(NamedTuple):
    """What `check` found: the engine's own version and a sentence on how it was reached."""

    version: str
    detail: str = ""


__all__ = [
    "Backend",
    "Capabilities",
    "Cascade",
    "Definition",
    "Deployed",
    "Given",
    "Health",
    "JoinUnderPause",
    "Listed",
    "PartialRerun",
    "ResumeUp",
    "Said",
    "StartRequest",
    "Target",
    "TaskRerun",
]


class Backend(ABC):
    """One engine instance. Built with the instance's name and its options from the configuration.

    The constructor makes no connection: an engine that is down is found by the first call.
    """

    #: The type's name, as in the entry point.
    type: ClassVar[str]

    #: The options that may be shown to anybody. Any other may hold a secret, and is never shown.
    open_options: ClassVar[frozenset[str]] = frozenset()

    #: Whether it is given sealed inputs as they are, and opens them itself when they are used (`flowbridge.vault`).
    opens_sealed: ClassVar[bool] = False

    #: Whether several threads may call it at once; otherwise its calls are made one after the other. `validate` and
    #: `deploy`, which may ask `resolve`, are called by the bridge's own thread all the same: what several children of
    #: other engines' tasks are started from is deployed once, before they are started without a definition.
    concurrent: ClassVar[bool] = False

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = dict(options)
        #: What a name stands for in a catalog, None where it is in none. Set by the bridge once the backend is built.
        self.resolve: Callable[[str], Target | None] = lambda _: None
        #: The ledger that this backend works for, "" for none. Set by the bridge once the backend is built.
        self.owner = ""

    @classmethod
    def implicit(cls, environ: Mapping[str, str]) -> Mapping[str, Any] | None:
        """The options of an instance that stands without any configuration, or None where one is needed.

        `environ` is the process's environment: an ecosystem's own variables may be enough. The instance is then
        named after the type.
        """
        del environ
        return None

    @classmethod
    def recognizes(cls, definition: Definition) -> bool | None:
        """Whether a text is in this engine's language, at a glance and without reading it through; None: cannot tell.

        Where nobody names a backend, it says which one is meant.
        """
        del definition
        return None

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """The facts of this instance."""

    @abstractmethod
    def validate(self, definition: Definition) -> Deployed:
        """Check a definition and name its workflows, leaving the engine as it was.

        Raises `InvalidInput` with line and column where the text is wrong.
        """

    def deployed_text(self, definition: Definition) -> str:
        """What `deploy` would send: the text itself, unless the backend has to rewrite it for its engine."""
        return definition.text

    @abstractmethod
    def deploy(self, definition: Definition) -> Deployed:
        """Make a definition's workflows known to the engine, new or updated."""

    def check_name(self, workflow: str) -> None:
        """Raise what `start` would for a workflow of that name that comes without a definition, leaving the engine as
        it was.

        Optional: asked where somebody validates a name. Where nothing is raised, only the start tells.
        """
        del workflow

    def definition(self, id: str, workflow: str) -> Definition | None:
        """The text of what an execution runs, in the user's words; None where the engine tells none.

        Optional: asked where the ledger has no text that it was started from. `workflow` is the name of what it runs.
        What `deployed_text` made of a text is turned back as far as can be. Where the engine keeps texts by name only,
        it is the one that it has now.
        """
        del id, workflow
        return None

    def check_start(self, request: StartRequest) -> bool:
        """Raise what `start` would, as far as it can be told beforehand, leaving the engine as it was.

        Optional: asked before a re-run from the beginning is written down, or planned. Gives whether the input was
        looked at; where it was not, only the start tells.
        """
        del request
        return False

    @abstractmethod
    def start(self, request: StartRequest) -> Ref:
        """Start an execution under the id that the bridge chose; a second call with the same id starts nothing.

        The engine's id of a root is the request's; an engine that makes its own keeps that one as a name or a label to
        find it by. A request with a definition makes that known to the engine first; a re-run from the beginning (X1)
        brings none, only the workflow's name. Raises `NotFound` where the engine has no such workflow, `InvalidInput`
        for an input that it does not take, or `EngineRefused` where that cannot be told from other refusals.
        """

    @abstractmethod
    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        """Look at whole native trees, by the engine ids of their roots, in as few requests as the engine allows.

        Each value lists the root first and parents before their children. An id that the engine no longer has
        is missing from the answer. An id that is not a root gives the tree of its root.
        """

    def glance(self, ids: Sequence[str]) -> Mapping[str, str]:
        """The engine's own words for the states of these executions, without their trees, in very few requests.

        Optional: a list of many executions looks closely only at those whose word has changed. An id that is not in
        the answer is looked at closely.
        """
        del ids
        return {}

    @abstractmethod
    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """Inputs, results and the places of items: of these tasks (engine task ids), or of all."""

    @abstractmethod
    def pause(self, id: str) -> None:
        """Ask the engine to pause the execution. Pausing a paused one changes nothing."""

    @abstractmethod
    def resume(self, id: str, revision: str) -> None:
        """Ask the engine to resume the execution that was paused at `revision`. Sent once, never repeated."""

    @abstractmethod
    def cancel(self, id: str) -> None:
        """Ask the engine to cancel the execution. Canceling an ended one is no error."""

    @abstractmethod
    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        """Run errored tasks of an errored execution again, within the same engine execution (X2).

        Where `RERUN_UP` is declared, a call for one below it may have re-opened the execution already: errored tasks of
        a running one are then taken too. Where all of the tasks run already, nothing is to be done. A task that has a
        child begins a new one; the old one stays in the tree. Raises `NotFound` for an execution, or a task, that the
        engine does not have, `EngineRefused` for a task that is in another state; where the engine does not tell,
        that task is left as it is.
        """

    def skip(self, id: str, tasks: Sequence[str]) -> None:
        """Skip errored tasks of an errored execution (K1). Only called where `Verb.SKIP` is declared."""
        raise NotImplementedError(f"{type(self).__name__} has no method skip: leave SKIP out of its verbs, or write it")

    def joins_behind(self, workflows: Collection[str]) -> Mapping[str, Mapping[str, Collection[str]]]:
        """By workflow and the name of a task: the joins right behind it, as the workflows are defined now.

        Optional, and only asked where joins may slip through a pause (`join_under_pause`): the plan of a pause or a
        resume then names those that the engine may never go on with. A workflow may be left out.
        """
        del workflows
        return {}

    def end_hung(self, id: str) -> None:
        """Have the engine end, as succeeded, an execution that it will never go on with (`ExecutionLook.hung`).

        Only called for one that is shown as hung and has no task that never began, never ended or failed
        (`Node.endable`).
        Looks again first, and raises `EngineRefused` where it is not so any more, or where it did not succeed as far
        as it came.
        """
        raise NotImplementedError

    @abstractmethod
    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        """Root executions that the engine knows, newest first, at most `limit`.

        `state` is an `EngineState`, in the law's words: only those that are in it are given.
        """

    @abstractmethod
    def check(self) -> Health:
        """Whether the engine answers, with which version, and whether it accepts the credentials."""

    def report(self, id: str, key: str, status: TaskStatus, result: Any) -> None:
        """End the waiting action `key` of execution `id` with `succeeded`, `errored` or `canceled` and a result.

        Only called where `hosts_children` is declared. Reporting to an ended action changes nothing.
        """
        raise NotImplementedError

    def said(self, id: str, task: str, mark: str = "") -> Said:
        """What the action of a task has written, from a mark on ("": from its beginning); secrets are masked.

        Optional: an engine that knows of no such output gives nothing. Of a task that has ended it gives the rest.
        """
        del id, task
        return Said("", mark)

    def close(self) -> None:
        """Give back connections. Called once, at the end."""
        return

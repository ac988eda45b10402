"""The backend for OpenStack Mistral: calls and words, no rule of the law."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from flowbridge.backend import (
    Backend,
    Capabilities,
    Cascade,
    Definition,
    Deployed,
    Health,
    JoinUnderPause,
    Listed,
    PartialRerun,
    ResumeUp,
    StartRequest,
    TaskRerun,
)
from flowbridge.errors import EngineRefused, InvalidInput, NotFound, Unavailable
from flowbridge.model import ExecutionLook, ExecutionRead, Ref, TaskStatus, Verb
from flowbridge_mistral import links, reading, storing, words
from flowbridge_mistral.access import OPTIONS, SECRETS, access, stands_alone
from flowbridge_mistral.client import CHECK, Json, MistralClient
from flowbridge_mistral.failures import Conflict, Ended, NotErrored, TooLarge, Unfit
from flowbridge_mistral.observe import Observer, seconds

if TYPE_CHECKING:
    from flowbridge_mistral.definitions import Text

#: How many open roots a glance goes through at most, a thousand with each request.
GLANCE = 5000

#: How calls of sub-workflows are deployed.
NATIVE, LINKED = "native", "linked"

#: What was measured on a Mistral 23: it cascades natively, and breaks R4, X6 and P5 where these words say so.
CAPABILITIES = Capabilities(
    verbs=frozenset(Verb) - {Verb.RECOVER},
    cascades=frozenset(Cascade),
    resume_up=ResumeUp.LAST_PAUSED,
    partial_rerun=PartialRerun.LAST_FAILED,
    join_under_pause=JoinUnderPause.MAY_SLIP,
    delayed_starts_under_pause=True,
    hosts_children=True,
    remedy="Sub-workflows that are deployed as links are resumed and run again each on its own: set the option "
    "subworkflows of this instance to linked, and run the workflow anew.",
    remedy_of_actions="For the next runs: a task with concurrency: 1 runs only its failed items again, and so does one "
    "whose action is a link (flowbridge.run, or a name of a catalog).",
)

_VERSION = re.compile(r"""^\s*["']?version["']?\s*:\s*["']?2""", re.MULTILINE)


class MistralBackend(Backend):
    """One Mistral, reached over its v2 HTTP API.

    Options: `url` of the API (`/v2` is added where it is missing), `timeout` in seconds for a call in all (12 for a
    question, 30 for a change), `ca_file` with the certificate authorities to trust instead of the system's. Who asks:
    nobody, a `token` to send as `X-Auth-Token`, or an account at a Keystone (`cloud`, or `auth_url` and what belongs to
    it), whose catalog then has the address too. What of all this is not said is taken from the `OS_*` variables, as
    `access` tells.
    `subworkflows: linked` deploys calls of sub-workflows as links, so that each is a root of its own at the engine
    (R3, X6); they are `native` otherwise. Raises `InvalidInput` for an option that cannot be.
    """

    type: ClassVar[str] = "mistral"
    open_options: ClassVar[frozenset[str]] = frozenset(OPTIONS) - SECRETS
    concurrent: ClassVar[bool] = True

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._client = MistralClient(name, access(name, options, os.environ))
        self._observer = Observer(self._client, name)
        self._linked = _are_linked(name, options.get("subworkflows", NATIVE))

    @classmethod
    def implicit(cls, environ: Mapping[str, str]) -> Mapping[str, Any] | None:
        """The ecosystem's own variables are enough: `OS_MISTRAL_URL`, or a Keystone in `OS_AUTH_URL` or `OS_CLOUD`."""
        return stands_alone(environ)

    @classmethod
    def recognizes(cls, definition: Definition) -> bool | None:
        """Whether it says that it is of the language's version 2."""
        return True if _VERSION.search(definition.text) else None

    @property
    def capabilities(self) -> Capabilities:
        """The same for every Mistral; where sub-workflows are linked, nothing is left to advise."""
        return replace(CAPABILITIES, remedy="") if self._linked else CAPABILITIES

    def validate(self, definition: Definition) -> Deployed:
        """Checked here as YAML, then by the engine itself. Raises `InvalidInput` with the engine's words."""
        text = self._prepared(definition)
        self._validate(text)
        return text.deployed

    def deployed_text(self, definition: Definition) -> str:
        """With its links: a task that waits for work elsewhere does so by an action that a stock Mistral has."""
        return self._prepared(definition).text

    def deploy(self, definition: Definition) -> Deployed:
        """Created, or updated where a workflow of that name is there.

        The engine validates before it stores, and takes seconds for that with a long definition: it is not asked to
        do so twice. Raises `InvalidInput` with the engine's words where it refuses the text.
        """
        text = self._prepared(definition)
        if text.linked:
            links.put_action(self._client)
        before = storing.changed(self._client, text.kind, text.stored)
        try:
            for part, known in text.parts(before):
                storing.store(self._client, text.kind, part, before, known=known)
        except EngineRefused:
            self._validate(text)
            raise
        return text.deployed

    def check_name(self, workflow: str) -> None:
        """One request. The engine finds a workflow by its id too, there and here."""
        self._client.get("workflows", workflow, fields="id,name")

    def definition(self, id: str, workflow: str) -> Definition | None:  # noqa: ARG002 - the engine keeps texts by name
        """One request: the text that the engine has now, with the links of this ledger turned back."""
        from flowbridge_mistral import unlinking  # noqa: PLC0415 - YAML costs a list as much as its request

        found = self._client.get("workflows", workflow, fields="id,name,definition")
        with self._client.reading():
            text = str(found["definition"])
        return Definition(unlinking.original(text, self.owner), f"{self.name}:{workflow}")

    def start(self, request: StartRequest) -> Ref:
        """The engine answers a second start of an id with the execution that is there.

        Where its definition cannot be stored, no start is sent: `Unavailable.unsent` tells so. The engine looks at
        the input only now: `InvalidInput` carries its words.
        """
        if request.definition is not None:
            try:
                self.deploy(request.definition)
            except Unavailable as error:
                words = f"the definition was not stored: {error.message}"
                raise Unavailable(words, unsent=True, unasked=error.unasked) from error
        body: Json = {
            "id": request.id,
            "workflow_name": request.workflow,
            "input": json.dumps(dict(request.input)),
            "params": json.dumps(_params(request)),
        }
        try:
            answer = self._client.post("executions", body=body, repeatable=True)
        except Unfit as error:
            raise InvalidInput(error.message) from error
        except Conflict:
            # Two starts of one id at the same moment: the other was first. Where it was not, this is NotFound.
            try:
                answer = self._client.get("executions", request.id, fields="id")
            except Unavailable as error:  # whatever came of this question, the start was sent
                raise Unavailable(error.message) from error
        if answer.get("id") != request.id:
            raise Unavailable(f"{self._client.where} did not answer the start of {request.id} with that execution.")
        return Ref(self.name, request.id)

    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        """Each tree in a fixed number of requests, whatever its size, and one for each task of it that may be hung."""
        with self._client.reading():
            return self._observer.trees(ids)

    def glance(self, ids: Sequence[str]) -> Mapping[str, str]:
        """The engine lists by no id, so it is asked for the newest roots that are open, until all have been met."""
        missing = set(ids)
        states: dict[str, str] = {}
        with self._client.reading():
            for found in self._roots(GLANCE, state="in:RUNNING,PAUSED", fields="id,state"):
                if found["id"] in missing:
                    missing.remove(found["id"])
                    states[found["id"]] = found["state"]
                if not missing:
                    break
        return states

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """Two requests, and one or two for each task that may have a result: those are not in the engine's lists."""
        with self._client.reading():
            return reading.read(self._client, id, tasks)

    def pause(self, id: str) -> None:
        """The engine pauses descendants and ancestors by itself. Raises `EngineRefused` for one that has ended."""
        self._set_state(id, "PAUSED", repeatable=True)

    def resume(self, id: str, revision: str) -> None:  # noqa: ARG002 - the engine takes no revision; the core has looked
        """Sent once: a second one within the same second would run through a `pause-before`."""
        self._set_state(id, "RUNNING", repeatable=False)

    def cancel(self, id: str) -> None:
        """The engine answers yes for one that has ended, and cancels what still runs below it."""
        self._set_state(id, "CANCELLED", repeatable=True)

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:  # noqa: ARG002 - a task's id says which execution
        """One request for each task. The engine re-opens the ancestors by itself."""
        for task in tasks:
            self._set_task(task.task, {"state": "RUNNING", "reset": task.reset})

    def skip(self, id: str, tasks: Sequence[str]) -> None:  # noqa: ARG002 - a task's id says which execution
        """One request for each task."""
        for task in tasks:
            self._set_task(task, {"state": "SKIPPED"})

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        """Roots, newest first. `state` is one of our words for an execution, or the engine's own."""
        query: Json = {"fields": "id,workflow_name,state,created_at"}
        if state is not None:
            query["state"] = words.spoken(state)
        for member in self._roots(limit, **query):
            with self._client.reading():
                ref = Ref(self.name, member["id"])
                listed = Listed(ref, member["workflow_name"], member["state"], seconds(member["created_at"]))
            yield listed

    def check(self) -> Health:
        """Asks for something that needs credentials. Mistral tells the version of its API, not its own."""
        self._client.get("executions", limit=1, fields="id")
        return Health("API v2", f"{self._client.where} answers and accepts the credentials.")

    def report(self, id: str, key: str, status: TaskStatus, result: Any) -> None:
        """The task's result is what is given here; an error that is no object arrives as `{"result": ...}`.

        A result that never gets through makes the link an errored one, which the workflow can handle.
        """
        body = links.outcome(status, result)
        try:
            self._client.put("action_executions", key, body=body, repeatable=True)
        except Ended:
            return
        except TooLarge as error:
            told = f"the result, {len(body['output'])} characters of JSON, cannot be taken: {error.message}"
            self.report(id, key, TaskStatus.ERRORED, told)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def joins_behind(self, workflows: Collection[str]) -> Mapping[str, Mapping[str, Collection[str]]]:
        """One request for all of them. What an execution runs may be older than the definition that is there now."""
        from flowbridge_mistral import joins  # noqa: PLC0415 - YAML costs a list as much as its request

        names = f"in:{','.join(sorted(workflows))}"
        found = self._client.pages("workflows", "workflows", name=names, fields="id,name,definition")
        with self._client.reading():
            return {member["name"]: joins.behind(member["definition"]) for member in found}

    def end_hung(self, id: str) -> None:
        """The engine takes a state for an execution that is not final, and then gives it its output."""
        look = next((look for look in self.observe([id]).get(id, ()) if look.ref.id == id), None)
        if look is None or not look.hung:
            raise EngineRefused(f"{self.name}:{id} is not hung any more; nothing was written")
        waiting = [task for task in look.tasks if task.status is TaskStatus.WAITING]
        if lost := [task.name for task in waiting if not task.starts]:
            raise EngineRefused(f"{self.name}:{id} cannot be ended: {lost[0]} never ran; nothing was written")
        if running := [task.name for task in look.tasks if task.status is TaskStatus.RUNNING]:
            raise EngineRefused(
                f"{self.name}:{id} cannot be ended: its engine never ended {running[0]}; nothing was written"
            )
        failed = [task.name for task in look.tasks if task.status is TaskStatus.ERRORED or task.error]
        if failed:
            raise EngineRefused(
                f"{self.name}:{id} is hung, and whether the failure of task {failed[0]} was handled cannot be told: "
                "nothing was written; cancel it instead"
            )
        self._set_state(id, "SUCCESS", repeatable=True)

    def _roots(self, limit: int, **query: Any) -> Iterator[Json]:
        query |= {"sort_keys": "created_at,id", "sort_dirs": "desc,asc", "nulls": "task_execution_id"}
        return self._client.pages("executions", "executions", limit=limit, **query)

    def _validate(self, text: Text) -> None:
        verdict = self._client.text("POST", text.kind, CHECK, text=text.text)
        with self._client.reading():
            valid = verdict["valid"]
            if not isinstance(valid, bool):
                raise TypeError(f"a verdict is no truth value: {valid!r}")
        if not valid:
            raise text.invalid(str(verdict.get("error", "the engine refuses it and does not say why")))

    def _prepared(self, definition: Definition) -> Text:
        """A definition as the engine is to get it. An action that the engine has itself is never taken for another."""
        from flowbridge_mistral import definitions, linking  # noqa: PLC0415 - YAML costs a list as much as its request

        text = definitions.parse(definition)
        said = {name: self._said_of(name) for name in text.actions}
        listed = {name: why for name, why in said.items() if why is not None}
        own = self._named("actions", listed) if listed else frozenset()
        targets = {name for name, why in listed.items() if not why} - own
        refused = {name: why for name, why in listed.items() if why and name not in own}
        return text.with_links(
            linking.Rules(targets, lambda name: self._said_of(name) == "", self.owner, self._linked, refused)
        )

    def _said_of(self, name: str) -> str | None:
        """What the catalogs have against a name: "" where it stands for work elsewhere, None where none knows it."""
        try:
            return None if self.resolve(name) is None else ""
        except (EngineRefused, InvalidInput, NotFound) as error:
            return error.message

    def _named(self, kind: str, names: Collection[str]) -> frozenset[str]:
        """Which of these names the engine has in a collection."""
        wanted = ",".join(sorted(names))
        found = self._client.pages(kind, kind, name=f"in:{wanted}", fields="id,name") if names else ()
        with self._client.reading():
            return frozenset(member["name"].strip() for member in found)

    def _set_state(self, id: str, state: str, *, repeatable: bool) -> None:
        self._client.put("executions", id, body={"state": state}, repeatable=repeatable)

    def _set_task(self, task: str, body: Json) -> None:
        """A task that is not errored any more was sent before: whether it runs is for the next look to tell (O4)."""
        try:
            self._client.put("tasks", task, body=body, repeatable=False)
        except NotErrored:
            return


def _are_linked(name: str, said: Any) -> bool:
    if said not in (NATIVE, LINKED):
        raise InvalidInput(f"{name}: subworkflows are {NATIVE} or {LINKED}, not {said!r}")
    return bool(said == LINKED)


def _params(request: StartRequest) -> Json:
    wanted = {"env": dict(request.env), "task_name": request.task_name, links.OWNER: request.owner}
    return {name: value for name, value in wanted.items() if value}

"""Temporal as a backend: verbs become calls, histories become looks."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, ClassVar, NoReturn

from temporalio.api.enums.v1 import WorkflowExecutionStatus

from flowbridge.backend import Backend, Capabilities, Definition, Deployed, Health, Listed, StartRequest, TaskRerun
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.model import ExecutionLook, ExecutionRead, ParentLink, Ref, TaskRead, Verb
from flowbridge_temporal.server import Server
from flowbridge_temporal.words import History, input_of, look, payloads, values

_OPTIONS = frozenset({"address", "namespace", "profile", "task_queue", "workflows", "timeout"})
_VERBS = frozenset({Verb.START, Verb.PAUSE, Verb.RESUME, Verb.CANCEL})
_NO_FILES = "a workflow of Temporal is code in a worker, not a file: name its type, `flowbridge run INSTANCE:TYPE`"
_REQUESTS, _HISTORIES = 16, 1000  # at once; kept


class TemporalBackend(Backend):
    """Executions of one namespace. An execution's id is its workflow id, of which the latest run is meant."""

    type: ClassVar[str] = "temporal"
    open_options: ClassVar[frozenset[str]] = _OPTIONS

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        if unknown := sorted(set(options) - _OPTIONS):
            raise InvalidInput(f"{name}: no option {', '.join(unknown)}; there are {', '.join(sorted(_OPTIONS))}")
        self._server = Server(name, options)
        self._pool = ThreadPoolExecutor(_REQUESTS, f"temporal {name}")
        self._kept = lru_cache(_HISTORIES)(self._fetch)

    @classmethod
    def implicit(cls, environ: Mapping[str, str]) -> Mapping[str, Any] | None:
        return {} if environ.get("TEMPORAL_ADDRESS") else None  # the client reads Temporal's variables itself

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(_VERBS)  # it takes no verb to children by itself

    def validate(self, definition: Definition) -> Deployed:
        raise InvalidInput(_NO_FILES, source=definition.source)

    def deploy(self, definition: Definition) -> Deployed:
        raise EngineRefused(f"{definition.source}: {_NO_FILES}")

    def start(self, request: StartRequest) -> Ref:
        if request.definition is not None or request.env or request.task_name:
            raise EngineRefused(f"{self.name}: {_NO_FILES}; it takes no environment and has no target task")
        queue = self.options.get("workflows", {}).get(request.workflow) or self.options.get("task_queue")
        if not queue:
            raise NotFound(f"{self.name}: neither `workflows` nor `task_queue` has a queue for {request.workflow}")
        try:
            self._server.call(
                "start_workflow_execution",
                workflow_id=request.id,
                workflow_type={"name": request.workflow},
                task_queue={"name": queue},
                input=payloads(request.input),
                workflow_id_reuse_policy="WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE",
                workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING",
            )
        except EngineRefused:
            if self._described(request.id) is None:  # otherwise it was started, and has ended since
                raise
        return Ref(self.name, request.id)

    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        trees = self._trees(ids)
        roots = {id: tree[0][1].root or id for id, tree in trees.items() if tree}
        above = self._trees({root for id, root in roots.items() if root != id})
        return {id: tuple(look for look, _ in above.get(root) or trees[id]) for id, root in roots.items()}

    def _trees(self, ids: Iterable[str]) -> dict[str, list[tuple[ExecutionLook, History]]]:
        trees: dict[str, list[tuple[ExecutionLook, History]]] = {id: [] for id in ids}
        level: list[tuple[str, str, ParentLink | None]] = [(id, id, None) for id in trees]
        while level:
            links, level = level, []
            for (tree, id, _), seen in zip(links, self._pool.map(self._seen, links), strict=True):
                if seen:
                    trees[tree].append(seen)
                    children = seen[1].children.items()
                    level += [(tree, child, ParentLink(id, seen[1].tasks[at].id)) for child, at in children]
        return trees

    def _seen(self, one: tuple[str, str, ParentLink | None]) -> tuple[ExecutionLook, History] | None:
        _, id, parent = one
        described = self._described(id)
        owner = described and described.workflow_execution_info.parent_execution.workflow_id
        if described is None or (parent and owner != parent.id):  # gone, or the id is another one's by now
            return None
        history = self._history(described)
        return look(self.name, described, history, parent), history

    def _described(self, id: str) -> Any:
        try:
            return self._server.call("describe_workflow_execution", execution={"workflow_id": id})
        except NotFound:
            return None

    def _fetch(self, id: str, run: str, length: int) -> History:  # noqa: ARG002  a longer one is another one
        history, token = History(id, run), None
        while token != b"":
            execution = {"workflow_id": id, "run_id": run}
            page = self._server.call("get_workflow_execution_history", execution=execution, next_page_token=token)
            history.read(page.history.events)
            token = page.next_page_token
        return history

    def _history(self, described: Any) -> History:
        info = described.workflow_execution_info
        return self._kept(info.execution.workflow_id, info.execution.run_id, info.history_length)

    def _now(self, id: str) -> History:
        return self._history(self._server.call("describe_workflow_execution", execution={"workflow_id": id}))

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        history = self._now(id)
        results = {id: next(iter(values(result)), None) for id, result in history.results.items()}
        wanted = [task for task in history.tasks.values() if tasks is None or task.id in tasks]
        reads = tuple(TaskRead(task.id, task.name, task.status, results.get(task.id)) for task in wanted)
        return ExecutionRead(input_of(values(history.input)), next(iter(values(history.output)), None), reads)

    def pause(self, id: str) -> None:
        """To the server a pause of a paused or of an ended one is an error. Here it is none."""
        try:
            self._server.call("pause_workflow_execution", workflow_id=id, reason="paused by flowbridge")
        except (EngineRefused, NotFound):
            if self._now(id).word == "RUNNING":
                raise

    def resume(self, id: str, revision: str) -> None:  # noqa: ARG002  the server takes none
        self._server.call("unpause_workflow_execution", workflow_id=id, reason="resumed by flowbridge")

    def cancel(self, id: str) -> None:
        """A paused workflow would never hear of its cancel: it is unpaused right after."""
        self._server.call("request_cancel_workflow_execution", workflow_execution={"workflow_id": id})
        if self._now(id).word == "PAUSED":
            self.resume(id, "")

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> NoReturn:
        raise NotImplementedError  # not among the verbs: a reset takes back what had succeeded, and re-opens no parent

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        """From the server's index, which may be a moment behind, and is cut off with open ones first."""
        query = f" AND ExecutionStatus = '{state.title().replace('_', '')}'" if state else ""
        answer = self._server.call(
            "list_workflow_executions", query=f"ParentWorkflowId IS NULL{query}", page_size=limit
        )
        runs = {run.execution.workflow_id: run for run in reversed(answer.executions)}  # of one id the newest
        for id, run in sorted(runs.items(), key=lambda one: one[1].start_time.ToNanoseconds(), reverse=True):
            word = WorkflowExecutionStatus.Name(run.status).removeprefix("WORKFLOW_EXECUTION_STATUS_")
            yield Listed(Ref(self.name, id), run.type.name, word, run.start_time.ToNanoseconds() / 1e9)

    def check(self) -> Health:
        version = self._server.call("get_system_info").server_version
        found = self._server.call("describe_namespace").namespace_info
        pause = "" if found.capabilities.workflow_pause else "; pausing is switched off there"
        return Health(version, f"{self._server.address}, namespace {found.name}{pause}")

    def close(self) -> None:
        self._pool.shutdown()
        self._server.close()

"""One workflow on two engines: the reference engine and a real Mistral, and where their outcomes differ.

A *document* is what an execution came to, as plain data with a path for each fact, in words that both engines share:
`status`, `output`, `tasks/NAME/status`, `tasks/NAME/items/0/result`, `tasks/NAME/children/0/tasks/...`. Tasks of the
same name are `NAME`, `NAME#2` ... in an order that does not depend on time. Texts of errors are each engine's own, so
they stand as `<text>`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from flowbridge.backend import Backend, Definition, StartRequest
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, InvalidInput, Rejected, Unavailable
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead, Status, TaskLook, TaskStatus
from flowbridge_mistral.backend import MistralBackend
from live.gates import Gates

Document = dict[str, Any]

Answer = TypeVar("Answer")

CORPUS = Path(__file__).parent / "corpus"
MEMORY, MISTRAL = "memory", "mistral"
ABSENT = "absent"
TEXT = "<text>"
PATIENCE = 60.0

_FACTS = ("input", "env", "task_name", "allowed", "law", "refused", "steps")
_RESTING = frozenset({EngineState.SUCCEEDED, EngineState.ERRORED, EngineState.CANCELED, EngineState.PAUSED})
_HEADER = re.compile(rf"({'|'.join(_FACTS)}):")
_STUMBLED = re.compile(r"sqlalche\.me|bound to a Session|database is locked|changed size during|Timed out waiting")
_OF = re.compile(r"\b(?:wf|wf_name|workflow|workflow_identifier)=([\w.]+)")
_GATE = re.compile(r"action: flowbridge_link\b")


@dataclass(frozen=True, slots=True)
class Case:
    """One workflow of the corpus, and what its header says.

    `allowed` maps a path, or a pattern of paths, to the values that either engine may come to: the outcome is a race.
    `law` names the `rule` that Mistral breaks, with the `fact` in words and the values of both engines by path.
    `refused` names the engine that does not start it, or `both`.
    `task_name` is the goal of a reverse workflow. `steps` is what is done to the execution while it runs (see `Play`).
    """

    name: str
    text: str
    input: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    allowed: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    law: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    task_name: str = ""
    steps: Sequence[str] = ()

    def definition(self, backend: str) -> Definition:
        """The text for one engine: a gate is a waiting action, which each engine calls by another name."""
        text = _GATE.sub('action: flowbridge.run owner="the test"', self.text) if backend == MEMORY else self.text
        return Definition(text, self.name)


def load(path: Path) -> Case:
    """A corpus file. Its first comment says what it is about; comments of the form `# input: ...` are its header."""
    text = path.read_text(encoding="utf-8")
    lines = [line[2:].rstrip() for line in text.splitlines() if line.startswith("#")]
    first = next((place for place, line in enumerate(lines) if _HEADER.match(line)), len(lines))
    assert first, f"{path.name} does not say what it is about"
    header: dict[str, Any] = yaml.safe_load("\n".join(lines[first:])) or {}
    assert set(header) <= set(_FACTS), f"{path.name}: a header knows {', '.join(_FACTS)}"
    return Case(path.stem, text, **header)


def corpus() -> list[Case]:
    """Every written case that both engines can run."""
    return [load(path) for path in sorted(CORPUS.glob("*.yaml"))]


class Side:
    """One engine behind a bridge."""

    def __init__(self, bridge: Bridge, name: str) -> None:
        self.bridge, self.name = bridge, name
        self._records: dict[str, str] = {}
        self._refusals: dict[str, str] = {}

    @property
    def backend(self) -> Backend:
        """The engine."""
        return self.bridge.instances.get(self.name)

    def start(self, case: Case, workflow: str | None = None) -> str | None:
        """Start a case; gives the engine's id, None where the engine refuses the text or the input."""
        try:
            return self.run(case, workflow)[1]
        except (InvalidInput, EngineRefused) as error:
            self._refusals[case.name] = error.message
            return None

    def stumbled(self, case: Case, id: str | None) -> bool:
        """Whether the engine itself failed in a run, and not the workflow.

        A Mistral of one process now and then hands an error of one of its threads to another: it then speaks of the
        database, or of a workflow that the case does not have.
        """
        if id is None:
            told = [self._refusals.get(case.name, "")]
        else:
            told = [error for look in self.tree(id) for error in (look.error, *(task.error for task in look.tasks))]
        others = {name for words in told for name in _OF.findall(words)}
        return any(map(_STUMBLED.search, told)) or any(name not in case.text for name in others)

    def run(self, case: Case, workflow: str | None = None) -> tuple[str, str]:
        """Start a case through the bridge; gives the record's id and the engine's."""
        definition = case.definition(self.name)
        record = self.bridge.run(
            definition,
            case.input,
            backend=self.name,
            workflow=workflow or self.backend.validate(definition).workflows[0],
            env=case.env,
            task_name=case.task_name,
        )
        self._records[record.ref.id] = record.id
        return record.id, record.ref.id

    def start_known(self, workflow: str, input: Mapping[str, Any]) -> str:
        """Start a workflow that was deployed, with no record of it."""
        return self.backend.start(StartRequest(str(uuid.uuid4()), workflow, input)).id

    def tree(self, id: str) -> tuple[ExecutionLook, ...]:
        """A fresh look at the tree of a root."""
        return self._answered(lambda: self.backend.observe([id])[id])

    @cached_property
    def _beside(self) -> Gates | None:
        return Gates(self.backend) if isinstance(self.backend, MistralBackend) else None

    def gates(self, id: str) -> list[tuple[str, str, str]]:
        """The gates that wait in a tree: execution, key, target."""
        looks = self.tree(id)
        if self._beside is None:
            return [(look.ref.id, gate.key, gate.target) for look in looks for gate in look.waiting]
        return [(gate.execution, gate.key, gate.target) for gate in self._beside.of(looks)]

    def open(self, execution: str, key: str, status: TaskStatus, result: Any) -> None:
        """End a gate."""
        if self._beside is None:
            self.backend.report(execution, key, status, result)
        else:
            self._beside.end(key, status, result)

    def come_to_rest(self, ids: Sequence[str]) -> None:
        """Wait for many roots at once, at a glance: a closer look at each is work for the engine too."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            words = self._answered(partial(self.backend.glance, ids))
            if "RUNNING" not in words.values():
                return
            time.sleep(0.5)

    def document(self, id: str | None) -> Document:
        """What a run came to, once nothing of it moves any more. One that does not come to rest is `unsettled`."""
        if id is None:
            return {"status": "refused"}
        deadline = time.monotonic() + PATIENCE
        looks = self.tree(id)
        while not (resting := rests(looks)) and time.monotonic() < deadline:
            time.sleep(0.05)
            looks = self.tree(id)
        if id in self._records:
            self.bridge.get(self._records[id])  # a local engine finds a child by its record
        reads = {look.ref.id: self._answered(partial(self.backend.read, look.ref.id)) for look in looks}
        return {**document(looks, reads), **({} if resting else {"unsettled": True})}

    @staticmethod
    def _answered(ask: Callable[[], Answer]) -> Answer:
        """An answer, asked for again where the engine fails.

        A Mistral of one process answers a question, now and then, with an error of the engine's own thread.
        """
        for _ in range(5):
            try:
                return ask()
            except (EngineRefused, Unavailable):
                time.sleep(0.1)
        return ask()


def rests(looks: Sequence[ExecutionLook]) -> bool:
    """Whether every execution of a tree has ended, or is paused, and nothing runs in it.

    A canceled one's tasks are called running for a moment after the last of their children has ended.
    """
    return all(look.state in _RESTING and not any(_moves(look, task) for task in look.tasks) for look in looks)


def _moves(look: ExecutionLook, task: TaskLook) -> bool:
    return task.active or (look.state is EngineState.CANCELED and task.status is TaskStatus.RUNNING)


def document(looks: Sequence[ExecutionLook], reads: Mapping[str, ExecutionRead]) -> Document:
    """A tree as a document."""
    children: dict[tuple[str, str], list[ExecutionLook]] = {}
    for look in looks:
        if look.parent is not None:
            children.setdefault((look.parent.id, look.parent.task), []).append(look)
    root = looks[0]
    ended = root.state is not EngineState.PAUSED
    output = {"output": _output(root.state, reads[root.ref.id].output)} if ended else {}
    return {**output, **dict(_facts(root, children, reads))}


def _facts(
    look: ExecutionLook,
    children: Mapping[tuple[str, str], Sequence[ExecutionLook]],
    reads: Mapping[str, ExecutionRead],
) -> Iterator[tuple[str, Any]]:
    yield "status", look.state.value
    found: dict[str, list[Document]] = {}
    for task in reads[look.ref.id].tasks:
        below = sorted(children.get((look.ref.id, task.id), ()), key=_place)
        nested = [dict(_facts(child, children, reads)) for child in below]
        own: Document = {"status": task.status.value}
        if task.published:
            own["published"] = dict(task.published)
        if task.items is not None:
            for item in task.items:
                if item.status is TaskStatus.WAITING:
                    continue  # it never began; Mistral has nothing of such an item
                own[f"items/{item.index}/status"] = item.status.value
                own[f"items/{item.index}/result"] = _result(item.status, item.result)
        elif task.status is TaskStatus.SUCCEEDED:
            own["result"] = task.result
        elif task.status is TaskStatus.ERRORED and _wordless(task.result) != TEXT:
            own["result"] = _wordless(task.result)
        for place, child in enumerate(nested):
            own |= {f"children/{place}/{path}": value for path, value in child.items()}
        found.setdefault(task.name, []).append(own)
    for name, tasks in found.items():
        for number, facts in enumerate(sorted(tasks, key=_text), 1):
            label = name if number == 1 else f"{name}#{number}"
            yield from ((f"tasks/{label}/{path}", value) for path, value in facts.items())


def _place(look: ExecutionLook) -> tuple[int, bool]:
    item = look.parent.item if look.parent is not None else None
    return (-1 if item is None else item, look.state in (EngineState.SUCCEEDED,))


def _text(facts: Document) -> str:
    return json.dumps(facts, sort_keys=True, default=str)


def _result(status: TaskStatus, value: Any) -> Any:
    return value if status is TaskStatus.SUCCEEDED else _wordless(value)


def _output(state: EngineState, value: Any) -> Any:
    return value if state is EngineState.SUCCEEDED else _wordless(value)


def _wordless(value: Any) -> Any:
    """A failure's data without the engine's own words; Mistral says an empty list where there is no result at all."""
    if isinstance(value, str) or value in (None, [], {}):
        return TEXT
    if isinstance(value, dict):
        return {key: _wordless(item) if key == "result" else item for key, item in value.items()}
    return [_wordless(item) for item in value] if isinstance(value, list) else value


def differences(case: Case, memory: Document, mistral: Document) -> list[str]:
    """Where two documents differ and the case's header does not say that they may; a line for each path."""
    both = {MEMORY: memory, MISTRAL: mistral}
    refused = {name for name, each in both.items() if each["status"] == "refused"}
    if refused or case.refused:
        wanted = set(both) if case.refused == "both" else {case.refused} - {""}
        return [] if refused == wanted else [f"refused by {sorted(refused)}, the header says {sorted(wanted)}"]
    found, told = [], set()
    if case.law:
        assert case.law.get("rule"), f"{case.name}: a law that is broken has a number"
        assert case.law.get("fact"), f"{case.name}: a difference is told in words"
    for engine, each in both.items():
        for path, value in case.law.get(engine, {}).items():
            told.add(path)
            if each.get(path, ABSENT) != value:
                found.append(f"{path}: the header says {value!r} of {engine}, it is {each.get(path, ABSENT)!r}")
    for path in sorted({*memory, *mistral} - told):
        found += _difference(case, path, memory.get(path, ABSENT), mistral.get(path, ABSENT))
    return found


def _difference(case: Case, path: str, memory: Any, mistral: Any) -> list[str]:
    allowed = next((values for pattern, values in case.allowed.items() if fnmatchcase(path, pattern)), None)
    if allowed is None:
        return [] if memory == mistral else [f"{path}: memory {memory!r}, Mistral {mistral!r}"]
    values = {MEMORY: memory, MISTRAL: mistral}
    return [
        f"{path}: {name} came to {value!r}, allowed are {allowed!r}"
        for name, value in values.items()
        if value not in allowed
    ]


def shown(case: Case, memory: Document, mistral: Document, found: Iterable[str]) -> str:
    """A difference as a person wants to see it: the lines, the definition, both documents."""
    parts = [f"{case.name}: the engines differ.", *(f"  {line}" for line in found), "", case.text]
    if case.input:
        parts.append(f"input: {dict(case.input)}")
    for name, each in ((MEMORY, memory), (MISTRAL, mistral)):
        parts += ["", f"{name}:", *(f"  {path}: {value!r}" for path, value in sorted(each.items()))]
    return "\n".join(parts)


class Play:
    """The steps of a lifecycle case, on one side.

    A step is a verb with words: `gate A B` waits until these gates wait; `end A`, `fail A`, `stop A` end the gate A as
    succeeded, errored, canceled, with the result `{"of": "A"}`; `pause`, `resume`, `cancel`, `rerun T ...`,
    `rerun-failed T ...` (failed items only) and `skip T ...` are the bridge's verbs on the root; `is STATUS` waits for
    the root's status; `task T STATUS` for that of its newest task of that name; `hung` until the root is shown as hung.
    `resume-child T` resumes the newest child under a task alone. Before any of these: `memory` or `mistral` has it done
    on that engine only, and `try` notes the rule that rejects it, or `done`. `note gates` notes which gates wait.
    """

    def __init__(self, side: Side, case: Case) -> None:
        self.side = side
        self._case = case
        self._noted: Document = {}
        self.record, self.id = side.run(case)

    def document(self) -> Document:
        """Play every step, then wait for the end."""
        for step in self._case.steps:
            verb, *words = step.split()
            self._do(verb, words)
        return {"shown": self._settled().value, **self._noted, **self.side.document(self.id)}

    def _do(self, verb: str, words: list[str]) -> None:
        if verb in (MEMORY, MISTRAL):
            if verb == self.side.name:
                self._do(words[0], words[1:])
        elif verb == "try":
            self._noted[" ".join(["tried", *words])] = self._tried(words)
        elif verb == "note":
            self._noted["noted"] = sorted(target for _, _, target in self.side.gates(self.id))
        elif not self._await(verb, words):
            self._act(verb, words)

    def _await(self, verb: str, words: list[str]) -> bool:
        """Wait for what a step names, or end a gate; tells whether the step was one of these."""
        if verb == "gate":
            self._gates(words)
        elif verb in ("end", "fail", "stop"):
            self._end(words[0], {"end": "succeeded", "fail": "errored", "stop": "canceled"}[verb])
        elif verb == "is":
            self._until(lambda: self._status().value == words[0], f"status {words[0]}, not {self._status()}")
        elif verb == "task":
            self._until(lambda: self._task(words[0]) == words[1], f"task {words[0]} to be {words[1]}")
        elif verb == "hung":
            root = partial(self.side.bridge.get, self.record)
            self._until(lambda: bool(root().snapshot.nodes[0].hung), "to be shown as hung")
        else:
            return False
        return True

    def _act(self, verb: str, words: list[str]) -> None:
        """One of the bridge's verbs."""
        bridge = self.side.bridge
        if verb == "resume-child":
            bridge.resume(self._child(words[0]))
        elif verb in ("rerun", "rerun-failed"):
            no_reset = tuple(words) if verb == "rerun-failed" else ()
            self.record = bridge.rerun(self.record, RerunRequest(tuple(words), no_reset)).execution
        elif verb == "skip":
            self.record = bridge.skip(self.record, words).execution
        else:
            {"pause": bridge.pause, "resume": bridge.resume, "cancel": bridge.cancel}[verb](self.record)

    def _tried(self, words: list[str]) -> str:
        try:
            self._do(words[0], words[1:])
        except Rejected as error:
            return error.rule
        return "done"

    def _child(self, task: str) -> str:
        nodes = self.side.bridge.get(self.record).snapshot.nodes
        id = next(each.id for each in nodes[0].tasks if each.name == task)
        return [node.record.id for node in nodes if node.record.parent_task == id][-1]

    def _gates(self, targets: Sequence[str]) -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}

        def there() -> bool:
            found.update({target: (execution, key) for execution, key, target in self.side.gates(self.id)})
            return set(targets) <= set(found)

        self._until(there, f"gates {', '.join(targets)}")
        return found

    def _end(self, target: str, status: str) -> None:
        execution, key = self._gates([target])[target]
        self._status()  # a local engine finds a child by its record
        self.side.open(execution, key, TaskStatus(status), {"of": target})
        self._until(lambda: key not in self._waiting(), f"gate {target} to be taken")

    def _waiting(self) -> set[str]:
        return {key for _, key, _ in self.side.gates(self.id)}

    def _status(self) -> Status:
        return self.side.bridge.get(self.record).record.status

    def _task(self, name: str) -> str | None:
        tasks = [task.status.value for task in self.side.tree(self.id)[0].tasks if task.name == name]
        return tasks[-1] if tasks else None

    def _settled(self) -> Status:
        resting = {state.value for state in _RESTING}
        self._until(lambda: self._status().value in resting, f"an end, not {self._status()}")
        return self._status()

    def _until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._case.name} on {self.side.name}: not within {PATIENCE:g} s: {what}")
            time.sleep(0.05)

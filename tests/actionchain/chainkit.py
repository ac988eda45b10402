"""Chains run in this process, with actions that end when the test says so: no processes, no clocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from flowbridge.local import Command
from flowbridge.model import ExecutionLook, TaskLook, TaskStatus
from flowbridge.vault import Vault
from flowbridge_actionchain.jobs.model import Job, JobOutcome, RunContext
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.services import Services
from flowbridge_actionchain.session import ChainSession, open_session
from flowbridge_actionchain.templates import Stores, Templates

#: What an action gives: a result, or an exception to fail with.
Play = Callable[[Mapping[str, Any]], Any]


class Failed(Exception):
    """An action fails with a result."""

    def __init__(self, result: Any) -> None:
        super().__init__("it failed")
        self.result = result


@dataclass(slots=True)
class FakeJob:
    """A job that is over when somebody has said how."""

    stage: Stage
    number: int
    ref: str
    given: Mapping[str, Any]
    context: RunContext
    begun: bool = False
    end: JobOutcome | None = None
    follower: FakeJob | None = None
    is_withdrawn: bool = False
    is_lost: bool = False

    @property
    def handle(self) -> str:
        return json.dumps({"number": self.number})

    def start(self) -> None:
        self.begun = True
        self.stage.started.append(self)
        play = self.stage.plays.get(self.ref)
        if play is not None:
            try:
                self.finish(play(self.given))
            except Failed as failed:
                self.finish(failed.result, ok=False)

    def finish(self, result: Any = None, *, ok: bool = True) -> None:
        status = TaskStatus.SUCCEEDED if ok else TaskStatus.ERRORED
        self.end = JobOutcome(status, result, "" if ok else "it failed")
        if ok and self.follower is not None and not self.follower.is_withdrawn:
            self.follower.start()

    def follow(self, other: Job) -> None:
        assert isinstance(other, FakeJob)
        other.follower = self

    def withdraw(self) -> bool:
        self.is_withdrawn = not self.begun
        return self.is_withdrawn

    def wait(self, seconds: float) -> bool:
        return self.end is not None or self.is_lost

    @property
    def succeeded(self) -> bool:
        return self.end is not None and self.end.status is TaskStatus.SUCCEEDED

    def outcome(self) -> JobOutcome | None:
        return self.end

    def tail(self, bytes: int) -> str:
        return ""

    def discard(self) -> None:
        self.stage.discarded.append(self.number)


@dataclass(slots=True)
class Stage:
    """The jobs of all processes of a test. `plays` says what an action gives at once; others wait for the test."""

    plays: dict[str, Play] = field(default_factory=dict)
    started: list[FakeJob] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    jobs: dict[int, FakeJob] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)

    def prepare(
        self, action: PackAction, parameters: Mapping[str, Any], context: RunContext, *, early: bool = False
    ) -> FakeJob:
        job = FakeJob(self, len(self.jobs), action.ref, parameters, context)
        self.jobs[job.number] = job
        return job

    def find(self, handle: str) -> FakeJob | None:
        number = json.loads(handle)["number"]
        return None if number in self.forgotten else self.jobs[number]

    def close(self) -> None:
        """Nobody is there any more: nothing begins by itself."""
        for job in self.jobs.values():
            job.follower = None

    @property
    def calls(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What was begun, with what it was given."""
        return [(job.ref, job.given) for job in self.started]


class World:
    """One tree and its rows, as a runner and those who look at it see it."""

    open_sessions: ClassVar[list[ChainSession]] = []

    def __init__(self, folder: Path, *packs: Path, plays: Mapping[str, Play] | None = None, **more: Any) -> None:
        self.folder, self.packs, self.more = folder, packs, more
        self.stores: Stores = more.pop("stores", {})
        self.native = more.pop("native", False)
        self.stage = Stage(dict(plays or {}))
        self.rows: dict[str, str] = {}
        self.flushes: list[Mapping[str, str | None]] = []
        self.session = self.opened()
        self._commands = 0

    def services(self) -> Services:
        return Services(
            Catalog(self.packs),
            Templates(self.stores, native=self.native, seconds=1.0),
            Vault(self.folder / "vault.key"),
            lambda root: self.stage,
            user="ada",
            **self.more,
        )

    def opened(self) -> ChainSession:
        """Another session of the same rows, as another process would have it."""
        session = open_session("chains", dict(self.rows), self._flush, self.services())
        self.open_sessions.append(session)
        return session

    def move_house(self) -> None:
        """The process has died: what it had not written is gone."""
        self.session.close()
        self.session = self.opened()

    def _flush(self, changes: Mapping[str, str | None]) -> None:
        self.flushes.append(changes)
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def start(self, workflow: str = "chain", text: str | None = None, **input: Any) -> None:
        args: dict[str, Any] = {"workflow": workflow, "input": input}
        if text is not None:
            args |= {"definition": text, "source": f"{workflow}.yaml"}
        self.do("start", "root", **args)
        self.go()

    def do(self, verb: str, execution: str = "root", **args: Any) -> None:
        self._commands += 1
        self.session.apply(Command(f"{verb}-{self._commands}", verb, execution, args))
        self._flush(self.session.changes())

    def go(self) -> None:
        """All that can be done now."""
        self.session.advance(until=lambda: False)

    def finish(self, result: Any = None, *, ok: bool = True) -> None:
        """The action under way ends."""
        self.stage.started[-1].finish(result, ok=ok)
        self.go()

    def look(self, id: str = "root") -> ExecutionLook:
        return next(one for one in self.session.look() if one.ref.id == id)

    def state(self, id: str = "root") -> str:
        return str(self.look(id).state)

    def tasks(self, id: str = "root") -> dict[str, TaskLook]:
        return {task.name: task for task in self.look(id).tasks}

    def statuses(self, id: str = "root") -> list[tuple[str, str]]:
        return [(task.name, str(task.status)) for task in self.look(id).tasks]

    def child(self, task: str, id: str = "root") -> str:
        """The engine id of the latest child execution of a task."""
        number = self.tasks(id)[task].id
        return [one.ref.id for one in self.session.look() if one.parent and one.parent.task == number][-1]

    def output(self, id: str = "root") -> Any:
        return self.session.read(id).output

    def results(self, id: str = "root") -> dict[str, Any]:
        return {task.name: task.result for task in self.session.read(id).tasks}


def pack(folder: Path, name: str, actions: Mapping[str, Any], chains: Mapping[str, Any] | None = None) -> Path:
    """A folder of packs with one pack in it: metadata by action name, chains by file name, as data."""
    place = folder / "packs" / name / "actions"
    (place / "chains").mkdir(parents=True, exist_ok=True)
    for action, data in actions.items():
        (place / f"{action}.yaml").write_text(json.dumps({"name": action, **data}))
    for file, data in (chains or {}).items():
        path = (place / "chains" / f"{file}.yaml").resolve()
        path.parent.mkdir(exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))
    return folder / "packs"


def chain_of(*tasks: Mapping[str, Any], **more: Any) -> str:
    """The text of a chain. JSON is YAML."""
    return json.dumps({"chain": list(tasks), **more})


def given_to(calls: Iterable[tuple[str, Mapping[str, Any]]], ref: str) -> list[dict[str, Any]]:
    """What an action was given each time."""
    return [dict(given) for name, given in calls if name == ref]

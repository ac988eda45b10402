"""One bridge over a real Mistral, the reference engine and chains: workflows, a pack, and gates that a test opens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from actionchain.runkit import Gate
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import CatalogConfig, Config
from flowbridge.looks import Look
from flowbridge.model import Node, Record, Status
from support.across import Launchers, engine_of

PACK = "ours"
ENGINES = ("mistral", "memory", "actionchain")

Found = TypeVar("Found")
Tasks = Mapping[str, Mapping[str, Any]]


class Site:
    """A bridge, its pack and its gates. `workflows` is the instance that runs the workflow files of the pack."""

    bound = 40.0

    def __init__(self, folder: Path, url: str, workflows: str) -> None:
        self.folder = folder
        (folder / "packs").mkdir(parents=True)
        self._launchers = Launchers(folder / "ledger.db")
        catalog = CatalogConfig((folder / "packs",), workflows)
        self.bridge = Bridge(
            Config(ledger=folder / "ledger.db", actor="ada", catalog=catalog),
            backends=[engine_of(name, url) for name in ENGINES],
            launch=self._launchers,
            durable=False,
        )
        self.gate = Gate(folder / "gate")
        self.log = folder / "log"
        self.log.touch()
        self._root = ""

    # The pack

    def put(self, name: str, runner_type: str, text: str) -> str:
        """A workflow or a chain as an action of the pack, with the inputs of all of them; gives its name."""
        return put_into(self.folder / "packs", name, runner_type, text)

    def said(self) -> list[str]:
        """What the actions have written into the log, each line one run of one of them, in any order."""
        return sorted(self.log.read_text().split())

    # Runs

    def start(self, what: str, backend: str | None = None, **input: Any) -> str:
        """Start a text or a name of the pack; gives the record's id."""
        target = what if backend is None else Definition(what, "flow.yaml")
        self._root = self.bridge.run(target, input, backend=backend).id
        return self._root

    def until(self, found: Callable[[], Found | None], what: str) -> Found:
        """The first true answer. Each look does what links and holds ask for meanwhile."""
        return until(found, what, self.bound, self._told)

    def _told(self) -> list[str]:
        nodes = self.bridge.get(self._root).snapshot.nodes
        return [f"{node.record.ref.backend} {node.record.status} {node.raw} {node.record.error}" for node in nodes]

    def reaches(self, id: str, *statuses: Status) -> Look:
        """Wait for one of some statuses."""
        what = f"{id} to be {' or '.join(statuses)}"
        return self.until(lambda: look if (look := self.bridge.get(id)).record.status in statuses else None, what)

    def below(self, id: str, task: str) -> Sequence[Record]:
        """The executions that a task of one has started, oldest first."""
        look = self.bridge.get(id)
        tasks = {each.id for each in look.snapshot.nodes[look.place].tasks if each.name == task}
        return [node.record for node in look.snapshot.nodes if _is_below(node, look.place, tasks)]

    def child(self, id: str, task: str) -> str:
        """The only execution that a task has started, once it is there."""
        found = self.until(lambda: self.below(id, task), f"a child of {task}")
        assert len(found) == 1
        return found[0].id

    def at_work(self, id: str, task: str) -> None:
        """Wait until the action of a task has begun. Looks drive it on: a task may be there before its child."""
        self.until(lambda: any(name == task for name, _ in self.tasks(id)), f"task {task}")
        self.until(lambda: self.tasks(id) and "begun" in self.said(), "the action that a gate keeps")

    def tasks(self, id: str) -> list[tuple[str, str]]:
        """The tasks of an execution and their statuses, by name."""
        look = self.bridge.get(id)
        return sorted((task.name, str(task.status)) for task in look.snapshot.nodes[look.place].tasks)

    def results(self, id: str) -> dict[str, Any]:
        """What the tasks of an execution gave."""
        return {task.name: task.result for task in self.bridge.read(id).tasks}

    def close(self) -> None:
        for _ in range(4):
            self.gate.open()
        self._launchers.join()
        self.gate.close()
        self.bridge.close()


def put_into(packs: Path, name: str, runner_type: str, text: str) -> str:
    """Write a workflow or a chain as an action of the pack below a folder; gives the action's name."""
    place = packs / PACK / "actions"
    (place / "made").mkdir(parents=True, exist_ok=True)
    (place / "made" / f"{name}.yaml").write_text(text)
    meta = {"name": name, "runner_type": runner_type, "entry_point": f"made/{name}.yaml"}
    parameters = {"parameters": {"message": {"type": "string", "default": ""}}}
    (place / f"{name}.yaml").write_text(json.dumps(meta | parameters))
    return f"{PACK}.{name}"


def until(
    found: Callable[[], Found | None], what: str, bound: float, told: Callable[[], object] = lambda: "nothing"
) -> Found:
    """The first true answer; `told` says what there is where none comes in `bound` seconds."""
    deadline = time.monotonic() + bound
    while not (answer := found()):
        assert time.monotonic() < deadline, f"never came: {what}; there is: {told()}"
        time.sleep(0.02)
    return answer


def _is_below(node: Node, place: int, tasks: set[str]) -> bool:
    return node.parent == place and node.record.parent_task in tasks


@contextmanager
def site_of(folder: Path, url: str, workflows: str) -> Iterator[Site]:
    """A site that is closed in the end, its gates open."""
    site = Site(folder, url, workflows)
    try:
        yield site
    finally:
        site.close()


def flow(name: str, tasks: Tasks) -> str:
    """The text of a workflow with these tasks."""
    return json.dumps({"version": "2.0", name: _body(tasks)})


def workbook(workflows: Mapping[str, Tasks]) -> str:
    """The text of a workbook; its first workflow is the one to start. Mistral cuts it up by its lines."""
    bodies = {name: _body(tasks) for name, tasks in workflows.items()}
    return yaml.safe_dump({"version": "2.0", "name": "book", "workflows": bodies}, sort_keys=False)


def _body(tasks: Tasks) -> dict[str, Any]:
    return {"input": [{"message": ""}], "tasks": {name: dict(task) for name, task in tasks.items()}}


def chain(*tasks: Mapping[str, Any]) -> str:
    """The text of a chain that runs tasks one after the other."""
    order = [task["name"] for task in tasks]
    ways = [{"on-success": name} for name in order[1:]] + [{}]
    return json.dumps({"chain": [{**task, **way} for task, way in zip(tasks, ways, strict=True)]})

"""What a scenario plays on: a backend or a bridge, and, while it is recorded, hands behind the scenes.

A scenario is written once. Recorded, it talks to a real Mistral: what it asks goes into the cassette, what the hands do
behind the scenes (deploy, start, end the gates) does not. Replayed, there are no hands, and the cassette answers.

Recording again gives the same requests: the ids of starts come from the scenario's name, and a look is not taken
before the server has been at rest for a while, so no verb has to look twice.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from cassettes.tape import TOKEN
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.errors import NotFound
from flowbridge.model import ExecutionLook, ExecutionRead, TaskLook
from flowbridge_mistral.backend import MistralBackend
from flowbridge_mistral.client import MistralClient
from flowbridge_mistral.report import report

#: Workflows whose leaves are gates: they run until the hands end them.
BOOK = """\
version: '2.0'
name: tape
actions:
  gate:
    input: [name]
    base: std.async_noop
workflows:
  main:
    input: [who: you]
    output: {said: <% $.said %>}
    tasks:
      task1:
        workflow: inner who=<% $.who %>
        publish: {said: <% task().result.said %>}
        on-success: [after]
      after:
        action: std.noop
  inner:
    input: [who]
    output: {said: <% $.said %>}
    tasks:
      subtask1:
        action: gate
        input: {name: subtask1}
        publish: {said: <% $.who %>}
  items:
    tasks:
      each:
        with-items: i in ["a", "b", "c"]
        action: gate
        input: {name: <% $.i %>}
  children:
    tasks:
      each:
        with-items: i in ["a", "b"]
        workflow: inner who=<% $.i %>
  skippable:
    tasks:
      first:
        action: gate
        input: {name: first}
        on-success: [after]
        on-skip: [after]
      after:
        action: std.noop
"""

#: Workflows that wait for work elsewhere: of a ledger that is named, and of whoever starts them.
LINKS = """\
version: '2.0'
name: away
workflows:
  one:
    tasks:
      away:
        action: flowbridge.run
        input: {target: elsewhere, input: {x: 1}, owner: another}
  items:
    tasks:
      each:
        with-items: i in ["a", "a"]
        action: flowbridge.run
        input: {target: <% $.i %>}
"""

#: What the engine has trouble with: a report of what had a retry, a task that published globally, joins under a pause.
TROUBLE = """\
version: '2.0'
name: trouble
actions:
  gate:
    input: [name]
    base: std.async_noop
workflows:
  retried:
    tasks:
      each:
        with-items: i in ["a", "b"]
        workflow: retried_child
  retried_child:
    tasks:
      again:
        action: std.noop
        retry: {count: 1, delay: 0}
  global:
    tasks:
      told:
        action: gate
        input: {name: told}
        on-success: {publish: {global: {far: <% task().result %>}}}
  fork:
    tasks:
      one: {action: gate, input: {name: one}, on-success: [both]}
      two: {action: gate, input: {name: two}, on-success: [both]}
      both: {join: all, action: gate, input: {name: both}}
"""

#: How long the server must have been at rest before a look: Mistral's own scheduler wakes up once a second.
REST_SECONDS = 1.5
PATIENCE_SECONDS = 30.0

_STARTS = uuid.UUID("5f0d4c1e-1f6b-4f0e-9d53-0e6a3c1c7a10")


class Hands:
    """What happens behind the scenes, over a connection that is not recorded."""

    def __init__(self, url: str, rest: float = REST_SECONDS) -> None:
        self.backend = MistralBackend("hands", {"url": url})
        self._client = MistralClient("hands", self.backend._client._access)
        self._rest = rest
        self._at_rest: set[str] = set()
        self._deployed = False

    def deploy(self) -> None:
        """Make the workflows above known, once: the server takes its time over so many."""
        if not self._deployed:
            self.backend.deploy(Definition(BOOK, "book.yaml"))
            self.backend.deploy(Definition(LINKS, "links.yaml"))
            self.backend.deploy(Definition(TROUBLE, "trouble.yaml"))
            self._deployed = True

    def start(self, id: str, workflow: str, **input: Any) -> None:
        """Start one of the workflows above, of `tape` where it names no book, and wait until it is at rest."""
        name = workflow if "." in workflow else f"tape.{workflow}"
        body = {"id": id, "workflow_name": name, "input": json.dumps(input), "params": "{}"}
        self._client.post("executions", body=body)
        self.disturb()
        self.settle(id)

    def put(self, id: str, state: str) -> None:
        """Tell an execution its state, and wait until it is at rest."""
        self._client.put("executions", id, body={"state": state}, repeatable=False)
        self.disturb()
        self.settle(id)

    def end(self, id: str, gate: str, state: str = "SUCCESS") -> None:
        """End a gate somewhere in the tree of a root, and wait until it is at rest."""
        body = {"state": state, "output": json.dumps({"of": gate})}
        self._client.put("action_executions", self._gate(id, gate), body=body, repeatable=False)
        self.disturb()
        self.settle(id)

    def slip(self, id: str) -> None:
        """Have a join run during a pause and wait again behind it. Now and then the server starts it anew instead."""
        for _ in range(5):
            self.start(id, "trouble.fork")
            self.end(id, "one")
            self.put(id, "PAUSED")
            self.end(id, "two")
            self.end(id, "both")
            self.put(id, "RUNNING")
            if any(task["state"] == "WAITING" for task in self._report(id)["task_executions"]):
                return
            self._client._send("DELETE", ("executions", id), {"params": {"force": "true"}})
        raise AssertionError("the server started the join anew five times in a row")

    def forget_links(self) -> None:
        """Take the action of links from the server, where it is there."""
        if any(self._client.pages("actions", "actions", name="in:flowbridge.run")):
            self._client._send("DELETE", ("actions", "flowbridge.run"), {})
            self._deployed = False

    def settle(self, id: str) -> None:
        """Wait until the tree of an execution has shown nothing new for a while."""
        since, deadline = time.monotonic(), time.monotonic() + PATIENCE_SECONDS
        last: Any = None
        while id not in self._at_rest:
            assert time.monotonic() < deadline, f"the tree of {id} does not come to rest"
            try:
                report = self._report(id)
            except NotFound:
                return
            if report != last:
                last, since = report, time.monotonic()
            if time.monotonic() >= since + self._rest:
                self._at_rest.add(id)
            else:
                time.sleep(0.1)

    def disturb(self) -> None:
        """Something was sent: what was at rest need not be any more."""
        self._at_rest.clear()

    def new_second(self) -> None:
        """Wait for the next second: the server orders nothing within one."""
        time.sleep(1.05 if self._rest else 0)

    def close(self) -> None:
        """Give the connections back."""
        self.backend.close()
        self._client.close()

    def _report(self, id: str) -> Any:
        root = self._client.get("executions", id).get("root_execution_id") or id
        return report(self._client, root)

    def _gate(self, id: str, name: str) -> str:
        running = [action for action in _actions(self._report(id)) if action["state"] == "RUNNING"]
        for action in running:
            given = json.loads(self._client.get("action_executions", action["id"])["input"])
            if name in (given.get("name"), given.get("target")):
                return str(action["id"])
        raise AssertionError(f"no gate {name} runs under {id}")


class Patient(MistralBackend):
    """The backend that is recorded: it looks only at what is at rest."""

    def __init__(self, url: str, hands: Hands) -> None:
        super().__init__("prod", {"url": url, "token": TOKEN})
        self._hands = hands
        send = self._client._send

        def sent(method: str, *arguments: Any) -> Any:
            if method != "GET":
                hands.disturb()
            return send(method, *arguments)

        self._client._send = sent  # type: ignore[method-assign, assignment]

    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        """As the backend does, later."""
        for id in ids:
            self._hands.settle(id)
        return super().observe(ids)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """As the backend does, later."""
        self._hands.settle(id)
        return super().read(id, tasks)


class Stage:
    """One scenario's backend, `prod`, and its bridge. Without `hands` it is a replay."""

    def __init__(self, name: str, backend: MistralBackend, folder: Path, hands: Hands | None = None) -> None:
        self.name = name
        self.backend = backend
        self.hands = hands
        self._ids = numbered(name)
        self._ledger = folder / f"{name}.db"

    def behind(self, act: Callable[[Hands], object]) -> None:
        """Have something done that is not recorded; in a replay it was done back then."""
        if self.hands is not None:
            act(self.hands)

    def id(self) -> str:
        """The id of the next start: the same in every take."""
        return str(next(self._ids))

    def started(self, workflow: str, *gates: str, **input: Any) -> str:
        """An execution that somebody started, and whose gates, `name` or `name=STATE`, somebody ended."""
        id = self.id()
        self.behind(lambda hands: hands.deploy())
        self.behind(lambda hands: hands.start(id, workflow, **input))
        for gate in gates:
            self.end(id, *gate.split("="))
        return id

    def end(self, id: str, gate: str, state: str = "SUCCESS") -> None:
        """Somebody ends a gate."""
        self.behind(lambda hands: hands.end(id, gate, state))

    def task(self, id: str, name: str) -> TaskLook:
        """A task of a tree, by a recorded look."""
        looks = self.backend.observe([id])[id]
        return next(task for look in looks for task in look.tasks if task.name == name)

    @contextmanager
    def bridge(self) -> Iterator[Bridge]:
        """A user's bridge with nothing in its ledger yet."""
        config = Config(ledger=self._ledger, actor="me", default_backend="prod")
        with (
            mock.patch("flowbridge.ledger.ledger.Ledger.id", str(uuid.uuid5(_STARTS, "ledger"))),
            mock.patch("flowbridge.starting.uuid", SimpleNamespace(uuid4=self._ids.__next__)),
            Bridge(config, backends=[self.backend], durable=False) as bridge,
        ):
            yield bridge


def numbered(name: str) -> Iterator[uuid.UUID]:
    """Ids that a name always gives, in the same order."""
    number = 0
    while True:
        number += 1
        yield uuid.uuid5(_STARTS, f"{name} {number}")


def _actions(value: Any) -> Iterator[Any]:
    """Every action in a report."""
    if isinstance(value, dict):
        yield from value.get("action_executions") or ()
        for part in value.values():
            yield from _actions(part)
    elif isinstance(value, list):
        for part in value:
            yield from _actions(part)

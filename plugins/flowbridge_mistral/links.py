"""Links on the server: the action that waits, put there before a definition needs it, and what waits in a tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flowbridge.model import TaskStatus, WaitingChild
from flowbridge_mistral import words
from flowbridge_mistral.client import Json, MistralClient
from flowbridge_mistral.failures import Conflict

#: The action of a link. It is asked for by this name, so a module that only looks need not import YAML.
LINK = "flowbridge.run"

#: What a target begins with that means a workflow of the same engine: each ledger has a name of its own for that.
HERE = ":"

#: The parameter of a root execution that names the ledger that started it: users' `env()` stays what they gave.
OWNER = "flowbridge_owner"

#: What the action takes: what to run and with which input and env, for which item, and whose it is.
INPUTS = ("target", "input", "owner", "item", "deployed_by", "env")

#: The engine leaves this as it is where there is nothing to unwrap: in what was canceled.
_UNWRAPPED = "<% $.get(result) %>"

#: A result of any kind comes in an object, because the engine takes nothing else, and is unwrapped there.
_ACTION = f"""\
version: '2.0'
{LINK}:
  description: Waits for an execution that a bridge starts elsewhere, and ends with its result.
  input: [target, input: {{}}, item: null, owner: null, deployed_by: null, env: {{}}]
  base: std.async_noop
  output: {_UNWRAPPED}
"""


def put_action(client: MistralClient) -> None:
    """Make the action of links known to the server. Costs one request where it is there."""
    there = next(client.pages("actions", "actions", name=LINK, fields="id,name,input"), None)
    if there is None:
        with suppress(Conflict):  # somebody else was first
            client.text("POST", "actions", text=_ACTION)
        return
    with client.reading():
        taken = {part.partition("=")[0].strip() for part in there["input"].split(",")}
    if not taken >= set(INPUTS):
        client.text("PUT", "actions", text=_ACTION)


def is_link(action: Json) -> bool:
    """Whether an action of a report is a link."""
    return bool(action["name"] == LINK)


def item(action: Json) -> int | None:
    """The index of the item that a link is for, None where it has none."""
    found = json.loads(action["input"] or "{}").get("item")
    return found if isinstance(found, int) else None


def waits(action: Json, task: Json) -> bool:
    """Whether a link of a task waits. One whose task was given up, by its timeout say, waits for nothing any more."""
    return is_link(action) and action["state"] in words.AT_WORK and task["state"] not in ("SUCCESS", "ERROR", "SKIPPED")


def waiting(member: Json, instance: str, starter: Callable[[], str]) -> WaitingChild:
    """A link that waits, from its action execution at an instance.

    Its owner is whom the workflow names, else the ledger that started its tree (`starter` tells, "" for somebody
    else), else the ledger that deployed it.
    """
    given = json.loads(member["input"] or "{}")
    target = str(given.get("target") or "")
    return WaitingChild(
        key=member["id"],
        task=member["task_execution_id"],
        item=item(member),
        target=f"{instance}{target}" if target.startswith(HERE) else target,
        input=_object(given.get("input"), "input"),
        owner=str(given.get("owner") or starter() or given.get("deployed_by") or ""),
        env=_object(given.get("env"), "env"),
    )


def _object(given: Any, name: str) -> Json:
    """What is no object stands under its own name, so that whoever is started with it refuses it and says why."""
    if given is None:
        return {}
    return given if isinstance(given, dict) else {name: given}


def told(result: Any) -> Any:
    """The result of a task as it was reported: nothing for what was canceled."""
    if isinstance(result, list):
        return [None if part == _UNWRAPPED else part for part in result]
    return None if result == _UNWRAPPED else result


def outcome(status: TaskStatus, result: Any) -> Json:
    """What to tell the server of an action that has ended. An error comes as it is where it is an object."""
    whole = status is TaskStatus.ERRORED and isinstance(result, dict) and bool(result)
    output = result if whole else {"result": result}
    return {"state": words.REPORT[status], "output": json.dumps(output)}

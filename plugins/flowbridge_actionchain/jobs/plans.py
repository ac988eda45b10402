"""What each runner type asks a keeper to run."""

from __future__ import annotations

import base64
import json
import random
import shlex
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowbridge.errors import EngineRefused, InvalidInput
from flowbridge_actionchain.jobs import arguments, shell
from flowbridge_actionchain.jobs.masking import has_secret, needles
from flowbridge_actionchain.jobs.model import RunContext
from flowbridge_actionchain.jobs.process import FEED
from flowbridge_actionchain.packs import core
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.packs.runnertypes import COMMAND, HTTP, NOOP, PYTHON, SCRIPT

_WRAPPER = Path(__file__).with_name("wrapper.py")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a keeper is asked, and `known`, what is written down of it. `ask` may hold secrets, `known` never does."""

    ask: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)


def plan(action: PackAction, parameters: Mapping[str, Any], context: RunContext) -> Plan:
    """The plan of a leaf action. Raises `EngineRefused` or `InvalidInput` for what cannot be run as it is."""
    secrets = needles([*context.secrets, *(parameters[name] for name in action.secrets & parameters.keys())])
    made = _PLANS[action.runner_type](action, parameters, context, secrets)
    timeout = parameters.get("timeout")
    env = {**_environment(parameters), **_told(action, parameters, context)}
    if action.runner_type == PYTHON:
        env = {name: value for name, value in env.items() if name.upper() != "PYTHONPATH"}
    ask = {"cwd": None, "env": env, "timeout": timeout, "secrets": secrets, **made.ask}
    known = {"action": action.ref, "runner": action.runner_type, "timeout": timeout, **made.known}
    return Plan(ask, known)


def _environment(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): arguments.text(value) for name, value in (parameters.get("env") or {}).items()}


def _told(action: PackAction, parameters: Mapping[str, Any], context: RunContext) -> dict[str, str]:
    """The variables by which StackStorm tells an action of itself."""
    return {
        "ST2_ACTION_PACK_NAME": action.pack,
        "ST2_ACTION_EXECUTION_ID": context.execution,
        "ST2_ACTION_API_URL": "",
        "ST2_ACTION_DEBUG": str(bool(parameters.get("debug"))),
    }


def _command(action: PackAction, parameters: Mapping[str, Any], context: RunContext, secrets: list[str]) -> Plan:
    del context
    command = parameters.get("cmd")
    if not isinstance(command, str):
        raise InvalidInput(f"{action.ref}: the parameter 'cmd' is required")
    ask: dict[str, Any] = {"cwd": parameters.get("cwd")}
    if parameters.get("sudo"):
        return Plan(ask | _by_sudo(action, parameters, command, secrets))
    if not has_secret(command, secrets):
        return Plan(ask | {"argv": shell.words_of(command, parameters)})
    return Plan(ask | _fed([shell.name()], shell.name(), command))


def _fed(words: list[str], name: str, text: str) -> dict[str, Any]:
    """A shell that reads its text from a descriptor: it stands in no process list."""
    return {"argv": [*words, "-c", f". /dev/fd/{FEED}", name], "feed": f"exec {FEED}<&-; {text}\n"}


def _by_sudo(action: PackAction, parameters: Mapping[str, Any], command: str, secrets: list[str]) -> dict[str, Any]:
    if has_secret(command, secrets):
        raise EngineRefused(
            f"{action.ref}: a secret would stand in the arguments of sudo, where every user of the machine can see it"
        )
    password = parameters.get("sudo_password")
    if password is None:
        return {"argv": ["sudo", "-n", "-E", "--", "bash", "-c", command]}
    return {"argv": ["sudo", "-S", "-p", "", "-E", "--", "bash", "-c", command], "stdin": f"{password}\n"}


def _script(action: PackAction, parameters: Mapping[str, Any], context: RunContext, secrets: list[str]) -> Plan:
    script = _entry_point(action)
    words = arguments.of(action, parameters)
    ask: dict[str, Any] = {"cwd": parameters.get("cwd")}
    if parameters.get("sudo"):
        return Plan(ask | _by_sudo(action, parameters, shlex.join([*arguments.program(script), *words]), secrets))
    if context.secret_arguments or not any(has_secret(word, secrets) for word in words):
        return Plan(ask | {"argv": [*arguments.program(script), *words]})
    words_of_shell = arguments.shell_of(script)
    if words_of_shell is None:
        raise EngineRefused(
            f"{action.ref}: a secret would stand in the arguments of {script.name}, where every user of the machine "
            f"can see it; the option `secret_arguments: true` of the backend allows that"
        )
    return Plan(ask | _fed(words_of_shell, str(script), f'set -- {shlex.join(words)}; . "$0"'))


def _entry_point(action: PackAction) -> Path:
    if action.entry_point is None:
        raise EngineRefused(f"{action.ref} has no entry_point ({action.source})")
    if not action.entry_point.is_file():
        raise EngineRefused(f"{action.ref}: its entry point {action.entry_point} is not there ({action.source})")
    return action.entry_point


def _python(action: PackAction, parameters: Mapping[str, Any], context: RunContext, secrets: list[str]) -> Plan:
    del secrets
    if action.source == core.SOURCE:
        return _BUILT_IN[action.name](parameters)
    script = _entry_point(action)
    own = {name: parameters.get(name) for name, parameter in action.parameters.items() if not parameter.runner}
    document = {
        "file": str(script),
        "pack": action.pack,
        "user": context.user,
        "parameters": own,
        "config": context.config,
        "datastore": context.datastore,
        "paths": [str(action.folder / "actions" / "lib"), str(action.folder / "lib")],
        "log_level": parameters.get("log_level") or "DEBUG",
    }
    ask = {"argv": [str(_interpreter(action)), "-u", str(_WRAPPER)], "feed": json.dumps(document), "results": True}
    return Plan(ask, {} if _environment_of(action).exists() else {"missing": str(_environment_of(action))})


def _interpreter(action: PackAction) -> Path:
    """The one of the pack's own virtual environment, where there is one; else ours."""
    own = _environment_of(action) / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


def _environment_of(action: PackAction) -> Path:
    """Where StackStorm makes the virtual environment of a pack: beside the folder of packs."""
    return action.folder.parent.parent / "virtualenvs" / action.pack


def _pause(parameters: Mapping[str, Any]) -> Plan:
    longest = int(parameters["max_pause"])
    seconds = random.randint(1, max(1, longest)) if parameters.get("random") else longest  # noqa: S311  no secret
    return Plan({"argv": ["sleep", str(seconds)]}, {"gives": seconds})


def _uuid(parameters: Mapping[str, Any]) -> Plan:
    made = uuid.uuid1() if parameters["uuid_type"] == "uuid1" else uuid.uuid4()
    return Plan({}, {"gives": str(made)})


_BUILT_IN: Mapping[str, Callable[[Mapping[str, Any]], Plan]] = {"pause": _pause, "uuid": _uuid}


def _http(action: PackAction, parameters: Mapping[str, Any], context: RunContext, secrets: list[str]) -> Plan:
    del context
    timeout = float(parameters.get("timeout") or 60)
    document = {**parameters, "action": action.ref, "timeout": timeout}
    ask = {
        "argv": [sys.executable, "-P", "-m", "flowbridge_actionchain.jobs.web"],
        "feed": json.dumps(document),
        "results": True,
        "timeout": 2 * timeout + 5,
        "secrets": [*secrets, *_credential(parameters, secrets)],
    }
    return Plan(ask, {"timeout": 2 * timeout + 5})


def _credential(parameters: Mapping[str, Any], secrets: list[str]) -> list[str]:
    """A user's secret password as the request carries it: a server may say it back."""
    user, password = (str(parameters.get(name) or "") for name in ("username", "password"))
    pair = f"{user}:{password}" if user or password else str(parameters.get("auth") or "")
    return [base64.b64encode(pair.encode("latin-1", "replace")).decode()] if has_secret(pair, secrets) else []


def _noop(action: PackAction, parameters: Mapping[str, Any], context: RunContext, secrets: list[str]) -> Plan:
    del action, parameters, context, secrets
    return Plan()


_PLANS: Mapping[str, Callable[[PackAction, Mapping[str, Any], RunContext, list[str]], Plan]] = {
    COMMAND: _command,
    SCRIPT: _script,
    PYTHON: _python,
    HTTP: _http,
    NOOP: _noop,
}

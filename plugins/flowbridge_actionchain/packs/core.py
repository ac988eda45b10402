"""The core pack's everyday actions, built in: a packs folder of its own is not needed for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowbridge_actionchain.packs.model import PackAction, Parameter
from flowbridge_actionchain.packs.runnertypes import BUILT_IN, COMMAND, HTTP, NOOP, PARAMETERS, PYTHON

SOURCE = BUILT_IN


def _action(name: str, runner_type: str, description: str, *own: Parameter, **changed: Mapping[str, Any]) -> PackAction:
    """An action: its own parameters, and the runner type's with what is `changed` of them."""
    of_runner = {
        one: replace(parameter, **changed.get(one, {})) for one, parameter in PARAMETERS.get(runner_type, {}).items()
    }
    parameters = {parameter.name: parameter for parameter in own} | of_runner
    return PackAction(f"core.{name}", "core", name, runner_type, description, parameters=parameters, source=SOURCE)


_FIXED: Mapping[str, Any] = {"immutable": True}
_MESSAGE = Parameter("message", "string", required=True, description="What is said.")

ACTIONS: Mapping[str, PackAction] = {
    action.name: action
    for action in (
        _action("local", COMMAND, "Run a command on this machine.", cmd={"required": True}, sudo=_FIXED),
        _action(
            "local_sudo",
            COMMAND,
            "Run a command on this machine with sudo.",
            cmd={"required": True},
            sudo={"immutable": True, "default": True},
        ),
        _action(
            "echo",
            COMMAND,
            "Say something on stdout.",
            _MESSAGE,
            cmd={"required": True, "immutable": True, "default": 'echo "{{message}}"'},
            kwarg_op=_FIXED,
            sudo=_FIXED,
            sudo_password=_FIXED,
        ),
        _action(
            "error",
            COMMAND,
            "Say something on stderr.",
            _MESSAGE,
            cmd={"required": True, "immutable": True, "default": '>&2 echo "{{message}}"'},
            kwarg_op=_FIXED,
            sudo=_FIXED,
            sudo_password=_FIXED,
        ),
        _action(
            "http",
            HTTP,
            "Ask a server over HTTP.",
            Parameter(
                "method",
                "string",
                description="The method.",
                enum=("HEAD", "GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PURGE"),
            ),
            Parameter("params", "object", description="The query."),
            Parameter("body", "string", description="The body to send."),
            Parameter("auth", "string", description="user:password of basic authentication.", secret=True),
            Parameter("timeout", "number", default=60, description="Seconds to wait for the answer."),
            Parameter("file_name", "string", description="The field of a file to send."),
            Parameter("file_content", "string", description="The content of a file to send."),
            Parameter("file_content_type", "string", description="The type of a file to send."),
        ),
        _action("noop", NOOP, "Do nothing, and succeed."),
        _action(
            "pause",
            PYTHON,
            "Wait.",
            Parameter("max_pause", "integer", required=True, position=0, description="Seconds to wait, at most."),
            Parameter("random", "boolean", default=False, position=1, description="Wait for a random part of them."),
        ),
        _action(
            "uuid",
            PYTHON,
            "Make a UUID.",
            Parameter("uuid_type", "string", default="uuid4", enum=("uuid1", "uuid4"), description="Its version."),
        ),
        _action("ask", "inquirer", "Ask a person; StackStorm's inquiries are not run here."),
        _action("remote", "remote-shell-cmd", "Run a command over SSH; not run here."),
        _action("remote_sudo", "remote-shell-cmd", "Run a command over SSH with sudo; not run here."),
        _action("winrm_cmd", "winrm-cmd", "Run a command on Windows; not run here."),
        _action("winrm_ps_cmd", "winrm-ps-cmd", "Run a PowerShell command on Windows; not run here."),
        _action("announcement", "announcement", "Tell StackStorm's stream; not run here."),
    )
}

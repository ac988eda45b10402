"""The runner types of StackStorm: their own parameters, and which of them are run here."""

from __future__ import annotations

from collections.abc import Mapping

from flowbridge.errors import EngineRefused, InvalidInput
from flowbridge_actionchain.packs.model import PackAction, Parameter

COMMAND = "local-shell-cmd"
SCRIPT = "local-shell-script"
PYTHON = "python-script"
HTTP = "http-request"
NOOP = "noop"
CHAIN = "action-chain"
MISTRAL = "mistral-v2"

#: A workflow file that stands in a pack without metadata; StackStorm has no such type.
WORKFLOW = "workflow"

#: What ends in a process or at once: a job.
LEAVES = frozenset({COMMAND, SCRIPT, PYTHON, HTTP, NOOP})

#: What runs on another backend.
ELSEWHERE = frozenset({MISTRAL, WORKFLOW})

#: What runs a file of the pack.
_OF_A_FILE = frozenset({SCRIPT, PYTHON, CHAIN}) | ELSEWHERE

#: The `source` of an action that stands in no pack.
BUILT_IN = "built in"

#: The names that older packs use.
_OLDER: Mapping[str, str] = {
    "run-local": COMMAND,
    "run-local-script": SCRIPT,
    "run-python": PYTHON,
    "http-runner": HTTP,
}

_TIMEOUT = "Seconds after which it is killed."


def _table(*parameters: Parameter) -> Mapping[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


def _own(name: str, type: str, description: str, **more: object) -> Parameter:
    return Parameter(name, type, description=description, runner=True, **more)  # type: ignore[arg-type]  # as named


_SHELL = (
    _own("cwd", "string", "The working directory."),
    _own("env", "object", "Variables of its environment."),
    _own("kwarg_op", "string", "What stands before the name of a named argument.", default="--"),
    _own("sudo", "boolean", "Run it with sudo.", default=False),
    _own("sudo_password", "string", "The password that sudo asks for.", secret=True),
    _own("timeout", "integer", _TIMEOUT, default=60),
)
_CONTENT = (
    _own("debug", "boolean", "Set ST2_ACTION_DEBUG.", default=False),
    _own("content_version", "string", "A revision of the pack; only the one that is there can be run."),
)

PARAMETERS: Mapping[str, Mapping[str, Parameter]] = {
    COMMAND: _table(_own("cmd", "string", "The command, as a shell reads it.", required=True), *_SHELL),
    SCRIPT: _table(*_CONTENT, *_SHELL),
    PYTHON: _table(
        *_CONTENT,
        _own("env", "object", "Variables of its environment."),
        _own("timeout", "integer", _TIMEOUT, default=600),
        _own(
            "log_level",
            "string",
            "What its logger tells.",
            default="DEBUG",
            enum=("AUDIT", "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"),
        ),
    ),
    HTTP: _table(
        _own("url", "string", "The address.", required=True),
        _own("allow_redirects", "boolean", "Follow redirects.", default=False),
        _own("cookies", "object", "Cookies to send."),
        _own("headers", "object", "Headers to send."),
        _own("http_proxy", "string", "The proxy for http."),
        _own("https_proxy", "string", "The proxy for https."),
        _own("username", "string", "The user of basic authentication."),
        _own("password", "string", "The password of basic authentication.", secret=True),
        _own("verify_ssl_cert", "boolean", "Verify the server's certificate.", default=True),
        _own("url_hosts_blacklist", "array", "Hosts that must not be asked."),
        _own("url_hosts_whitelist", "array", "The only hosts that may be asked."),
    ),
    NOOP: {},
    CHAIN: _table(
        _own("display_published", "boolean", "Show published variables.", default=True),
        _own("skip_notify", "array", "Tasks that notify nobody.", default=[]),
    ),
    MISTRAL: _table(
        _own("workflow", "string", "The workflow to start, where the file is a workbook with several."),
        _own("task", "string", "The target task of a workflow that runs backwards."),
        _own("context", "object", "Variables of the execution's environment.", default={}),
        _own("skip_notify", "array", "Tasks that notify nobody.", default=[]),
    ),
}


def canonical(runner_type: str) -> str:
    """The name in use of a runner type, given it or the one of older packs."""
    return _OLDER.get(runner_type, runner_type)


def require_runnable(action: PackAction) -> None:
    """Raise `EngineRefused` for an action that is disabled or of a runner type that is not run here, and `InvalidInput`
    for one whose file is not there."""
    known = LEAVES | ELSEWHERE | {CHAIN}
    if not action.enabled:
        raise EngineRefused(f"{action.ref} is disabled by its pack ({action.source})")
    if action.runner_type not in known:
        raise EngineRefused(
            f"{action.ref} is of the runner type {action.runner_type!r}, which is not run here; those that are: "
            f"{', '.join(sorted(known - {WORKFLOW}))}"
        )
    if action.runner_type in _OF_A_FILE and action.source != BUILT_IN:
        _require_entry_point(action)


def _require_entry_point(action: PackAction) -> None:
    line = action.entry_point_line or None
    if action.entry_point is None:
        raise InvalidInput(
            f"{action.ref} names no file to run: give its `entry_point`, from the pack's folder `actions` on",
            source=action.source,
            line=line,
        )
    if not action.entry_point.is_file():
        raise InvalidInput(
            f"{action.ref}: its entry point {action.entry_point} is not there: put the file there, or name another one",
            source=action.source,
            line=line,
        )

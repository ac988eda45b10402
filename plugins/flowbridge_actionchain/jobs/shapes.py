"""How a job ended, in the shapes that StackStorm's runners give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from flowbridge.model import TaskStatus
from flowbridge_actionchain.jobs.keeper import is_plain
from flowbridge_actionchain.jobs.model import JobOutcome
from flowbridge_actionchain.packs.runnertypes import COMMAND, HTTP, NOOP, PYTHON, SCRIPT

#: Bytes of one output that a result holds; of a longer one it holds the beginning and the end.
TEXT_LIMIT = 1024 * 1024

#: What StackStorm gives as the exit code of what took too long.
TIMED_OUT = -9

_LAST_LINE = 500


def outcome(plan: Mapping[str, Any], end: Mapping[str, Any], folder: Path) -> JobOutcome:
    """The outcome of a job, from its plan (what its handle says) and its end (what its keeper said)."""
    found = _outcome(plan, end, folder)
    return replace(found, timed_out=True) if end.get("timed_out") else found


def plainly_succeeded(plan: Mapping[str, Any], end: Mapping[str, Any]) -> bool:
    """Whether it shows without a closer look that a job succeeded."""
    return plan["runner"] in PLAIN and is_plain(end)


#: The runner types whose end shows by itself whether they succeeded.
PLAIN = frozenset({COMMAND, SCRIPT})


def _outcome(plan: Mapping[str, Any], end: Mapping[str, Any], folder: Path) -> JobOutcome:
    out, err = [_text(folder, plan["id"], end, name) for name in ("stdout", "stderr")]
    error = _error(plan, end)
    if plan["runner"] == NOOP:
        return JobOutcome(TaskStatus.SUCCEEDED, {"failed": False, "succeeded": True, "return_code": 0})
    if plan["runner"] == HTTP:
        return _http(end, error, err)
    if plan["runner"] == PYTHON:
        return _python(plan, end, error, (out, err))
    return _shell(end, error, (out, err))


def _error(plan: Mapping[str, Any], end: Mapping[str, Any]) -> str:
    if end.get("timed_out"):
        return f"{plan['action']} took longer than {plan['timeout']:g} s and was killed"
    if end["code"] is None:
        return f"{plan['action']} cannot be started: {end['error']}"
    return str(end.get("error", ""))


def _shell(end: Mapping[str, Any], error: str, texts: tuple[str, str]) -> JobOutcome:
    code = TIMED_OUT if end.get("timed_out") else end["code"]
    succeeded = code == 0 and not error
    result: dict[str, Any] = {
        "failed": not succeeded,
        "succeeded": succeeded,
        "return_code": -1 if code is None else code,
        "stdout": _native(_stripped(texts[0])),
        "stderr": _native(_stripped(texts[1])),
    }
    if error:
        result["error"] = error
    return _ended(succeeded, result, error or _exit(code, texts[1]))


def _python(plan: Mapping[str, Any], end: Mapping[str, Any], error: str, texts: tuple[str, str]) -> JobOutcome:
    """The result of a script comes with a status where it gave one; "None" is what StackStorm says of no result."""
    told = end.get("result") if plan.get("gives") is None else {"result": plan["gives"], "status": None}
    code = TIMED_OUT if end.get("timed_out") else end["code"]
    given = isinstance(told, Mapping)
    result: dict[str, Any] = {
        "stdout": texts[0],
        "stderr": texts[1],
        "exit_code": -1 if code is None else code,
        "result": told["result"] if isinstance(told, Mapping) and code == 0 else "None",
    }
    if error:
        result["error"] = error
    refused = given and told is not None and told["status"] is False
    succeeded = code == 0 and not error and not refused
    why = "it returned False" if refused and code == 0 else _exit(code, texts[1]) + _hint(plan, texts[1])
    return _ended(succeeded, result, error or why)


def _hint(plan: Mapping[str, Any], stderr: str) -> str:
    """What to do where a script misses a module that its pack's own environment would have."""
    if "ModuleNotFoundError" not in stderr or "missing" not in plan:
        return ""
    return f"; the pack has no environment of its own: make {plan['missing']} and install the pack's requirements there"


def _http(end: Mapping[str, Any], error: str, stderr: str) -> JobOutcome:
    told = end.get("result")
    if error or not isinstance(told, Mapping):
        error = error or _exit(end["code"], stderr)
        return _ended(False, {"error": error}, error)  # noqa: FBT003  (the one positional)
    result = {key: value for key, value in told.items() if key != "succeeded"}
    code = result.get("status_code")
    return _ended(bool(told["succeeded"]), result, result.get("error") or f"the server answered {code}")


def _ended(succeeded: bool, result: Any, error: str) -> JobOutcome:  # noqa: FBT001  (read by its name)
    if succeeded:
        return JobOutcome(TaskStatus.SUCCEEDED, result)
    return JobOutcome(TaskStatus.ERRORED, result, error)


def _exit(code: Any, stderr: str) -> str:
    """An exit code in words, with the last line of what was said about it."""
    lines = stderr.strip().splitlines()
    said = f": {lines[-1].strip()[:_LAST_LINE]}" if lines else ""
    how = f"was ended by signal {-code}" if isinstance(code, int) and code < 0 else f"ended with exit code {code}"
    return f"{how}{said}"


_FILES = {"stdout": "out", "stderr": "err"}


def _text(folder: Path, id: str, end: Mapping[str, Any], stream: str) -> str:
    """An output as far as it was kept, and what to say behind one whose rest could not be."""
    size, why = end.get(stream, 0), end.get("cut", {}).get(stream)
    said = _kept(folder / f"{id}.{_FILES[stream]}", size) if size else ""
    return f"{said}\n[output cut off: {why}]\n" if why else said


def _kept(path: Path, size: int) -> str:
    """An output, or its beginning and end where it is too long; then its file is kept."""
    try:
        with open(path, "rb") as file:
            if size <= TEXT_LIMIT:
                return file.read().decode(errors="replace")
            first = file.read(TEXT_LIMIT // 2)
            file.seek(-(TEXT_LIMIT // 2), 2)
            last = file.read()
    except OSError:
        return f"[{size} bytes, which are gone: {path}]"
    left_out = size - len(first) - len(last)
    note = f"\n[... {left_out} bytes are left out here; the output is in {path} ...]\n"
    return first.decode(errors="replace") + note + last.decode(errors="replace")


def _stripped(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _native(text: str) -> Any:
    """What reads as JSON is data, as with StackStorm; any other text is text."""
    if not text or text[0] not in '{["-0123456789tfn \t\r\n':
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)

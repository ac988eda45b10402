"""Runs one python script of a pack: `python -u wrapper.py`, in the interpreter of the pack.

What to run comes on file descriptor 9, the result goes to descriptor 8, so neither stands in the process list. It
imports nothing but the standard library and what the script itself wants, and is written for older interpreters too.
"""

from __future__ import annotations

import sys

# The folder of this file is not the script's: what lies here must not stand before modules of the same name.
sys.path.pop(0)

import importlib.util
import inspect
import json
import os
from typing import Any

_FEED, _RESULTS = 9, 8
_SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim")

#: What StackStorm ends with where a script gives a status that is none.
NO_STATUS = 220


class ActionService:
    """What an action may ask of its surroundings: values of the datastore, which are only read here."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.pack: str = asked["pack"]
        self.log_level: str = asked["log_level"]
        self.class_name = ""
        self._user: str = asked["user"]
        self._values: dict[str, Any] = asked["datastore"]

    def get_user_info(self) -> dict[str, Any]:
        """Who acts."""
        return {"username": self._user}

    def get_value(self, name: str, local: bool = True, **more: Any) -> Any:  # noqa: FBT001, FBT002, ARG002  (as scripts call it)
        """A value of the datastore, None where there is none; a local one belongs to this action alone."""
        return self._values.get(self._full(name) if local else name)

    def list_values(self, local: bool = True, prefix: str | None = None, **more: Any) -> list[Any]:  # noqa: FBT001, FBT002, ARG002
        """The names and values that begin so."""
        begin = self._full(prefix or "") if local else prefix or ""
        return [_Pair(name, value) for name, value in self._values.items() if name.startswith(begin)]

    def set_value(self, name: str, *more: Any, **named: Any) -> None:
        """Nothing is written to the datastore here."""
        raise NotImplementedError(f"the datastore is only read here, so {name!r} cannot be set")

    def delete_value(self, name: str, *more: Any, **named: Any) -> None:
        """Nothing is written to the datastore here."""
        raise NotImplementedError(f"the datastore is only read here, so {name!r} cannot be deleted")

    def _full(self, name: str) -> str:
        return f"{self.pack}.{self.class_name}:{name}"


class _Pair:
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value


def main() -> int:
    """Run the script and give its result; gives the exit code."""
    with open(_FEED, encoding="utf-8") as feed:
        asked = json.load(feed)
    sys.path[:0] = [_SHIM, *asked["paths"]]
    sys.path.append(os.path.dirname(asked["file"]))
    service = ActionService(asked)
    kind = _action_class(asked["file"])
    service.class_name = kind.__name__
    given = _made(kind, asked["config"], service).run(**asked["parameters"])
    status, result = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
    if status is not None and not isinstance(status, bool):
        sys.stderr.write(
            f"the first of the two things that run() returned must be True or False, not {status!r}; "
            "to return two things as a result, return them as a list\n"
        )
        return NO_STATUS
    with open(_RESULTS, "w", encoding="utf-8") as results:
        results.write(_document(status, result))
    return 0


def _document(status: Any, result: Any) -> str:
    """The result as JSON; what has no place in JSON is given as text, and never ends the action."""
    try:
        return json.dumps({"status": status, "result": result}, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps({"status": status, "result": str(result)}, ensure_ascii=False)


def _action_class(file: str) -> Any:
    """The first class of the script, by name, that is an action; one with a `run` will do."""
    name = os.path.splitext(os.path.basename(file))[0]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = [one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__]
    actions = [one for one in own if callable(getattr(one, "run", None)) and not inspect.isabstract(one)]
    if not actions:
        raise SystemExit(f"{file} has no class with a run method")
    return actions[0]


def _made(kind: Any, config: Any, service: ActionService) -> Any:
    """An instance; older ones know nothing of a service, and get it afterwards."""
    try:
        return kind(config=config, action_service=service)
    except TypeError as error:
        if "action_service" not in str(error):
            raise
    made = kind(config=config)
    made.action_service = service
    return made


if __name__ == "__main__":
    sys.exit(main())

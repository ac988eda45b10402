"""One metadata file of a pack as a `PackAction`, or an error with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from flowbridge.errors import InvalidInput
from flowbridge.vault import SHOWN
from flowbridge.yamltext import Located, load
from flowbridge_actionchain.packs.model import PackAction, Parameter
from flowbridge_actionchain.packs.runnertypes import PARAMETERS, canonical

TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})

#: A file of a pack describes one action, or one configuration.
_NODES = 50_000

_WORDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    dict: "a mapping",
    list: "a list",
}
_ATTRIBUTES: Mapping[str, type] = {
    "required": bool,
    "immutable": bool,
    "secret": bool,
    "position": int,
    "description": str,
    "enum": list,
}


def text_of(path: Path) -> str:
    """The text of a file of a pack. Raises `InvalidInput` naming it."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe or a device may give no end
        raise InvalidInput("cannot be read: it is neither a file nor a folder", source=str(path))
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 text (byte {error.start})", source=str(path)) from error


def mapping_of(path: Path) -> Located:
    """A YAML file of a pack that holds one mapping; an empty file holds an empty one."""
    located = load(text_of(path), str(path), nodes=_NODES, usual=True)
    if located.data is None:
        return replace(located, data={})
    if not isinstance(located.data, dict):
        raise located.wrong((), "it must be a mapping")
    return located


def action_of(path: Path, pack: str, folder: Path) -> PackAction:
    """The action that a metadata file describes. Raises `InvalidInput` with file and line where it is wrong."""
    located = mapping_of(path)
    name, runner_type = (_required(located, key) for key in ("name", "runner_type"))
    runner_type = canonical(runner_type)
    return PackAction(
        ref=f"{pack}.{name}",
        pack=pack,
        name=name,
        runner_type=runner_type,
        description=_value(located, ("description",), str) or "",
        enabled=_value(located, ("enabled",), bool) is not False,
        entry_point=_entry_point(located, folder),
        entry_point_line=located.position(("entry_point",))[0] if "entry_point" in located.data else 0,
        parameters=_parameters(located, PARAMETERS.get(runner_type, {})),
        folder=folder,
        source=str(path),
        notify=_value(located, ("notify",), dict) or {},
    )


def _required(located: Located, key: str) -> str:
    value = _value(located, (key,), str)
    if not value:
        raise located.wrong((key,), f"an action needs a `{key}`")
    return str(value)


def _value(located: Located, path: tuple[str, ...], kind: type) -> Any:
    """The value at a path, None where there is none. Raises where it is of another kind."""
    value: Any = located.data
    for key in path:
        value = value.get(key)
    wrong = kind is int and isinstance(value, bool)
    if value is not None and (wrong or not isinstance(value, kind)):
        raise located.wrong(path, f"`{path[-1]}` must be {_WORDS[kind]}, not {value!r}")
    return value


def _entry_point(located: Located, folder: Path) -> Path | None:
    given = _value(located, ("entry_point",), str)
    if not given:
        return None
    place: Path = (folder / "actions" / given).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise located.wrong(("entry_point",), f"the entry point {given!r} is outside of its pack")
    return place


def _parameters(located: Located, of_runner: Mapping[str, Parameter]) -> Mapping[str, Parameter]:
    given = _value(located, ("parameters",), dict) or {}
    found = {name: _parameter(located, name, of_runner.get(name)) for name in given}
    return found | {name: parameter for name, parameter in of_runner.items() if name not in found}


def _parameter(located: Located, name: str, of_runner: Parameter | None) -> Parameter:
    """A parameter as the action says; of one of the runner's it may say part, and the rest stands."""
    path = ("parameters", name)
    given = _value(located, path, dict) or {}
    said: dict[str, Any] = {
        key: value for key, kind in _ATTRIBUTES.items() if (value := _value(located, (*path, key), kind)) is not None
    }
    if "enum" in said:
        said["enum"] = tuple(said["enum"])
    if "default" in given:
        said["default"] = given["default"]
    if "type" in given or of_runner is None:
        said["type"] = _type(located, (*path, "type"), given.get("type", "string"))
    return replace(of_runner or Parameter(name), **said)


def _type(located: Located, path: tuple[str, ...], given: Any) -> str:
    names = given if isinstance(given, list) else [given]
    for name in names:
        if name not in TYPES | {"null", "any"}:
            raise located.wrong(path, f"there is no type {name!r}; there are: {', '.join(sorted(TYPES))}")
    single = [name for name in names if name != "null"]
    return single[0] if len(single) == 1 and single[0] in TYPES else ""


def parameter_view(parameter: Parameter) -> dict[str, Any]:
    """What is known of a parameter as plain data, without what is at its usual value."""
    usual = Parameter(parameter.name)
    shown = {
        one.name: getattr(parameter, one.name)
        for one in fields(Parameter)
        if one.name not in ("name", "type", "runner") and getattr(parameter, one.name) != getattr(usual, one.name)
    }
    if parameter.secret and "default" in shown:
        shown["default"] = SHOWN
    if "enum" in shown:
        shown["enum"] = list(shown["enum"])
    return {"type": parameter.type or "any", **shown}

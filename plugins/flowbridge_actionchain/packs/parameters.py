"""The values that an action is run with: what was given, checked and cast, and the defaults of the rest."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from flowbridge.errors import InvalidInput
from flowbridge.vault import has_sealed
from flowbridge_actionchain.packs.model import PackAction, Parameter
from flowbridge_actionchain.templates import TemplateError

#: Renders a template (or a structure with templates in it) against variables.
Render = Callable[[Any, Mapping[str, Any]], Any]


def bind(action: PackAction, values: Mapping[str, Any], render: Render) -> dict[str, Any]:
    """The whole set of parameters to run an action with, in the order of its metadata.

    `values` are what the caller gives; they are not rendered. A default may be a template: `render(default, others)`
    gets the parameters that it refers to, whatever order they stand in. A value of None counts as not given. What has
    neither a value nor a default is left out. What is sealed in `values` is taken as it is: whoever sealed it had it
    checked.

    Raises `InvalidInput` for a parameter that is unknown, missing, immutable and given all the same, of a wrong type,
    or not in its enum; the message never holds the value of a secret one, or of a default that is a template. Raises
    `TemplateError` for a default that cannot be rendered, with its name.
    """
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        require_accepted(action, name)
    bound = {name: fitting(action, action.parameters[name], value) for name, value in given.items()}
    defaults = {
        name: parameter.default
        for name, parameter in action.parameters.items()
        if name not in bound and parameter.default is not None
    }
    _Defaults(action, bound, defaults, render).fill()
    for name, parameter in action.parameters.items():
        if parameter.required and name not in bound:
            raise InvalidInput(f"{action.ref}: the parameter {name!r} is required")
    return {name: bound[name] for name in action.parameters if name in bound}


def require_accepted(action: PackAction, name: str) -> None:
    """Raise `InvalidInput` where an action has no parameter of a name, or an immutable one."""
    if name not in action.parameters:
        own = [one for one, parameter in action.parameters.items() if not parameter.immutable]
        near = get_close_matches(name, own, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidInput(f"{action.ref} has no parameter {name!r}; {hint}it has: {', '.join(own) or 'none'}")
    if action.parameters[name].immutable:
        raise InvalidInput(f"{action.ref}: the parameter {name!r} is immutable, so it cannot be given")


class _Defaults:
    """Fills in defaults, each after those that it refers to."""

    def __init__(self, action: PackAction, bound: dict[str, Any], left: dict[str, Any], render: Render) -> None:
        self._action, self._bound, self._left, self._render = action, bound, left, render
        self._waiting: list[str] = []

    def fill(self) -> None:
        for name in list(self._left):
            self._take(name)

    def _take(self, name: str) -> None:
        if name in self._bound:
            return
        if name in self._waiting:
            circle = " -> ".join((*self._waiting[self._waiting.index(name) :], name))
            raise InvalidInput(f"{self._action.ref}: the defaults of its parameters refer to each other: {circle}")
        default, parameter = self._left[name], self._action.parameters[name]
        if has_template(default):
            self._waiting.append(name)
            named = _names_in(default)
            for other in sorted(named & self._left.keys()):
                self._take(other)
            self._waiting.pop()
            if sealed := sorted(other for other in named if has_sealed(self._bound.get(other))):
                raise InvalidInput(
                    f"{self._action.ref}: the default of {name!r} names {sealed[0]!r}, which is secret and "
                    "not opened here"
                )
            parameter = replace(parameter, secret=True)  # what it gives may hold what is secret of another
            default = self._told(name, default)
        self._bound[name] = fitting(self._action, parameter, default)

    def _told(self, name: str, default: Any) -> Any:
        try:
            return self._render(default, dict.fromkeys(self._action.parameters) | self._bound)
        except TemplateError as error:
            why = f"{self._action.ref}: the default of {name!r} cannot be told: {error.message}"
            raise TemplateError(why, name, str(default)) from error


def has_template(value: Any) -> bool:
    """Whether there is a Jinja expression in a value, at whatever depth."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(map(has_template, (*value, *value.values())))
    return isinstance(value, list | tuple) and any(map(has_template, value))


def _names_in(value: Any) -> set[str]:
    """The names that the templates in a value refer to. What is no template refers to nothing.

    No part of a template is worked out for it: that is left to whoever renders it within bounds.
    """
    import jinja2  # noqa: PLC0415  most defaults are no templates
    import jinja2.meta  # noqa: PLC0415

    from flowbridge_actionchain.helper import reader  # noqa: PLC0415

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        return set(jinja2.meta.find_undeclared_variables(reader().parse(text)))
    except (jinja2.TemplateSyntaxError, RecursionError):
        return set()  # told when it is rendered


def fitting(action: PackAction, parameter: Parameter, value: Any) -> Any:
    """A value as a parameter's type. Raises `InvalidInput` where it is none, or not in the enum."""
    if has_sealed(value):
        return value
    try:
        cast = _CASTS[parameter.type](value) if value is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        shown = "the value given" if parameter.secret else _short(value)
        article = "an" if parameter.type[:1] in "aeiou" else "a"
        raise InvalidInput(
            f"{action.ref}: the parameter {parameter.name!r} must be {article} {parameter.type}, and {shown} is none"
        ) from None
    if parameter.enum is not None and cast is not None and cast not in parameter.enum:
        shown = "the value given" if parameter.secret else _short(value)
        allowed = ", ".join(map(str, parameter.enum))
        raise InvalidInput(
            f"{action.ref}: the parameter {parameter.name!r} must be one of {allowed}, and {shown} is none of them"
        )
    return cast


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)  # a word of the command line that reads as a number or as true is text all the same
    raise TypeError


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    if not math.isfinite(number := float(value)):
        raise ValueError  # JSON has no word for it
    return number


_TRUTH: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _TRUTH[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _array(value: Any) -> list[Any]:
    """A list, a text of one in JSON or Python, or words with commas between them."""
    if isinstance(value, str):
        try:
            value = _literal(value)
        except (ValueError, SyntaxError):
            return [word.strip() for word in value.split(",")] if not value.lstrip().startswith("[") else _none(value)
    if isinstance(value, list | tuple):
        return list(value)
    return [value] if isinstance(value, int | float) else _none(value)


def _object(value: Any) -> dict[str, Any]:
    """A mapping, a text of one in JSON or Python, or key=value words with commas between them."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        pairs = [word.partition("=") for word in value.split(",")]
        if not all(equals and key.strip() for key, equals, _ in pairs):
            raise ValueError
        return {key.strip(): word.strip() for key, _, word in pairs}
    found = _literal(value) if isinstance(value, str) else value
    return dict(found) if isinstance(found, Mapping) else _none(found)


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text.strip())


def _none(value: Any) -> Any:
    raise TypeError(value)


_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "array": _array,
    "object": _object,
    "": lambda value: value,
}

"""Write the reference of the Python API by walking its public names: `python docs/make_api.py` writes docs/api.md."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import flowbridge
from flowbridge import backend, conformance, errors, hookspecs, model
from flowbridge.conformance import shapes

_HEAD = """# The Python API

This page is written by walking the public names and their docstrings; a test fails when it is stale.
Do not edit it: change the docstrings and run `python docs/make_api.py`.

What stands here may be relied on; anything else may change with any release. Names in capitals and a digit, such as P3,
are rules of [the law](law.md).

"""

#: The parts of the page: a heading, what it is for, the module, and its names where not all are meant.
_PARTS: tuple[tuple[str, str, ModuleType, tuple[str, ...] | None], ...] = (
    ("flowbridge", "For programs that start and control executions, and for plugins.", flowbridge, None),
    ("flowbridge.backend", "For authors of a backend: what its methods take and give.", backend, None),
    ("flowbridge.model", "The words of the law as data.", model, None),
    ("flowbridge.errors", "Every error that is raised on purpose.", errors, None),
    ("flowbridge.hookspecs", "What hooks are told.", hookspecs, ("Change",)),
    ("flowbridge.conformance", "The kit that holds a backend to the law.", conformance, None),
)

_SHAPES = """Those of `flowbridge.conformance.shapes`, in the order of `ALL`: a name in capitals, and under it the flow
that is started and those that it runs. A step is a gate where it says nothing else. A rule may make a small shape of
its own too."""


def page() -> str:
    """The page as text."""
    parts = [_HEAD.rstrip("\n")]
    seen: set[int] = set()
    for heading, purpose, module, names in _PARTS:
        parts += ["", f"## {heading}", "", purpose]
        for name, thing in _public(module, names):
            if id(thing) not in seen:
                seen.add(id(thing))
                parts += ["", *_section(name, thing)]
    parts += ["", "### The shapes", "", _SHAPES, "", "```text", *_shapes(), "```"]
    return "\n".join(parts) + "\n"


def _shapes() -> Iterator[str]:
    """Every shape of the kit, a line for it and one for each flow."""
    for shape in shapes.ALL:
        yield f"{shape.name.upper()}: {shape.about}"
        for flow in shape.flows:
            yield f"  {flow.name}: {', '.join(_step(step) for step in flow.steps)}"


def _step(step: shapes.Step) -> str:
    """A step with what it says beside its name: `j(after=a+b, join)`."""
    said = [f"runs={step.runs}"] if step.runs != "gate" else []
    said += [f"after={'+'.join(step.after)}"] if step.after else []
    for name in ("items", "at_once", "on_error_of", "wait_before"):
        said += [f"{name}={value}"] if (value := getattr(step, name)) else []
    said += [name for name in ("join", "pause_before") if getattr(step, name)]
    return f"{step.name}({', '.join(said)})" if said else step.name


def _public(module: ModuleType, names: tuple[str, ...] | None) -> Iterator[tuple[str, Any]]:
    """The classes and functions that a module makes public, in the order of its table or its text."""
    here = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
    for name in names or getattr(module, "__all__", here):
        thing = getattr(module, name)
        if not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)):
            yield name, thing


def _section(name: str, thing: Any) -> list[str]:
    if not inspect.isclass(thing):
        return [f"### {name}{_signature(thing)}", "", _doc(thing)]
    lines = [f"### {name}", ""]
    if issubclass(thing, enum.Enum):
        return [*lines, _doc(thing), "", ", ".join(f"`{member.value}`" for member in thing)]
    if issubclass(thing, Exception):
        above = thing.__mro__[1].__name__
        under = f"Under [{above}](#{above.lower()}). " if hasattr(errors, above) else ""
        return [*lines, "```text", f"{name}{_signature(thing)}", "```", "", f"{under}{_doc(thing)}"]
    lines += ["```text", f"{name}{_signature(thing)}", "```", "", _doc(thing)]
    for member, value in _members(thing):
        lines += ["", f"**`{member}{value[0]}`**" if value[0] else f"**`{member}`**", "", value[1]]
    return lines


def _members(kind: type) -> Iterator[tuple[str, tuple[str, str]]]:
    """The methods and properties that a class itself tells of, each with its signature and its docstring."""
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield name, ("", _doc(member))
        elif inspect.isfunction(member) or isinstance(member, classmethod | staticmethod):
            function = member if inspect.isfunction(member) else member.__func__
            yield name, (_signature(function), _doc(function))


def _signature(thing: Any) -> str:
    """A signature as its author wrote it: annotations are texts, and defaults read as in the source."""
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"<(\w+\.\w+): '[^']*'>", r"\1", text)
    text = re.sub(r"(?<=frozenset\(\{)[^}]*", lambda match: ", ".join(sorted(match[0].split(", "))), text)
    text = re.sub(r"(?<=: )'([^']*)'|(?<=-> )'([^']*)'", lambda match: match[1] or match[2], text)
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
    return re.sub(r"\((self|cls)(, )?", "(", text, count=1).replace("<factory>", "...")


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(page(), encoding="utf-8")

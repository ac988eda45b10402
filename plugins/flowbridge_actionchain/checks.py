"""What can be told of a chain before anything runs: of its own text, and of the actions that it names.

Everything that is wrong is told at once, in every chain of the catalog that is called from there too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.yamltext import Path, load
from flowbridge_actionchain.births import LINK, LINK_PROPOSES, LINK_TAKES, definition_of
from flowbridge_actionchain.casts import cast
from flowbridge_actionchain.language import in_order, read
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.packs.parameters import fitting, has_template, require_accepted
from flowbridge_actionchain.packs.runnertypes import CHAIN, require_runnable
from flowbridge_actionchain.templates import is_plain


class _Problem(NamedTuple):
    path: Path
    message: str


def require_sound(definition: Definition, catalog: Catalog) -> tuple[str, ...]:
    """Raise `InvalidInput` with everything that is wrong with a chain, one line each, with its place.

    Gives what is odd in it, in the same way, and no reason not to run it.
    """
    found: list[InvalidInput] = []
    odd: list[str] = []
    seen: set[str] = set()
    open_ = [definition]
    while open_:
        one = open_.pop(0)
        if one.source in seen:
            continue
        seen.add(one.source)
        calls: list[PackAction] = []
        try:
            found += _wrong(one, catalog, calls)
            odd += (remark.message for remark in read(one)[0].odd)
            open_ += [definition_of(call) for call in calls]
        except InvalidInput as error:
            found.append(error)
    if found:
        raise InvalidInput.together(found)
    return tuple(odd)


def _wrong(definition: Definition, catalog: Catalog, calls: list[PackAction]) -> tuple[InvalidInput, ...]:
    chain, lost = read(definition)
    problems = list(_problems(chain.written, catalog, calls))
    if not problems:
        return lost
    located = load(definition.text, definition.source, usual=True)
    found = [*lost, *(located.wrong(path, message) for path, message in problems)]
    return in_order(found)


def _problems(data: Mapping[str, Any], catalog: Catalog, calls: list[PackAction]) -> Iterator[_Problem]:
    """What is wrong with a chain of a right shape. `calls` takes in the chains that it calls."""
    yield from _broken_templates(data.get("vars"), ("vars",))
    yield from _broken_templates(data.get("default"), ("default",))
    for place, task in enumerate(data["chain"]):
        path = ("chain", place)
        for key in ("parameters", "params", "publish", "on-success", "on-failure"):
            yield from _broken_templates(task.get(key), (*path, key))
        yield from _misfits(task, path, catalog, calls)


def _misfits(task: Mapping[str, Any], path: Path, catalog: Catalog, calls: list[PackAction]) -> Iterator[_Problem]:
    """What does not fit between a task and its action."""
    name, ref = task["name"], task["ref"]
    key = "params" if task.get("params") else "parameters"
    given = {one: value for one, value in (task.get(key) or {}).items() if value is not None}
    if ref == LINK:
        if "target" not in given:
            yield _Problem(path, f"task {name!r}: {LINK} needs the parameter 'target'")
        for one in [one for one in given if one not in LINK_TAKES]:
            why = f"{LINK} has no parameter {one!r}; it has: {', '.join(LINK_PROPOSES)}"
            yield _Problem((*path, key, one), f"task {name!r}: {why}")
        return
    try:
        action = catalog.get(ref)
        require_runnable(action)
    except (EngineRefused, NotFound, InvalidInput) as error:
        yield _Problem((*path, "ref"), f"task {name!r}: {error.message}")
        return
    if action.runner_type == CHAIN:
        calls.append(action)
    for one, value in given.items():
        if why := _misfit(action, one, value):
            yield _Problem((*path, key, one), f"task {name!r}: {why}")
    for one, parameter in action.parameters.items():
        if parameter.required and parameter.default is None and one not in given:
            yield _Problem((*path, "ref"), f"task {name!r}: {ref}: the parameter {one!r} is required")


def _misfit(action: PackAction, name: str, value: Any) -> str:
    """Why an action does not accept a parameter as it is written; "" where it does, or where only the run can tell."""
    try:
        require_accepted(action, name)
        parameter = action.parameters[name]
        if not has_template(value):
            with suppress(ValueError):  # it is told right after, in the words of the command line
                value = cast(value, parameter.type)
            fitting(action, parameter, value)
    except InvalidInput as error:
        return error.message
    return ""


def _broken_templates(value: Any, path: Path) -> Iterator[_Problem]:
    """The templates in a value that are none of Jinja's language, or name a filter that there is not."""
    if isinstance(value, str):
        if not is_plain(value) and (why := _syntax(value)):
            yield _Problem(path, f"broken template in {path[-1]!r}: {why}")
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _broken_templates(key, (*path, key))
            yield from _broken_templates(below, (*path, key))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _broken_templates(below, (*path, place))


def _syntax(text: str) -> str:
    """What Jinja says against a template; nothing is rendered."""
    import jinja2  # noqa: PLC0415  most templates only name something

    from flowbridge_actionchain.helper import reader  # noqa: PLC0415

    try:
        reader().compile(text, raw=True)
    except jinja2.TemplateSyntaxError as error:
        line = f" (line {error.lineno} of it)" if "\n" in text.strip() else ""
        return f"{error.message}{line}"
    except RecursionError:
        return "it is nested too deeply"
    return ""

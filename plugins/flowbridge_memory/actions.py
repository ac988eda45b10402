"""The actions a task can run: those of the language, and Python callables registered by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from inspect import Parameter, signature
from typing import Any

from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge_memory.http import request
from flowbridge_memory.values import SECONDS, seconds_of, shown
from flowbridge_memory.workers import ActionFailed


class Kind(Enum):
    """How an action is run."""

    INLINE = "inline"  # at once, in the engine's thread; no effect outside
    POOL = "pool"  # in a thread of its own
    WAIT = "wait"  # runs until a `report` command ends it
    LINK = "link"  # the same, and names an execution elsewhere that it waits for


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `pure` tells that running it a second time does no harm (it may be repeated after a crash).

    `delay` names the input that says how many seconds to wait first; the engine's timers do the waiting. `untold` are
    inputs that it takes and that no message proposes.
    """

    name: str
    call: Callable[..., Any]
    kind: Kind = Kind.POOL
    pure: bool = False
    delay: str = ""
    untold: frozenset[str] = frozenset()

    def misfit(self, input: Mapping[str, Any]) -> str:
        """What is wrong with an input, in words; "" where it fits."""
        parameters = _parameters(self.call)
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
            surplus: list[str] = []
        else:
            surplus = [name for name in input if name not in parameters]
        missing = [name for name, parameter in parameters.items() if name not in input and _needed(parameter)]
        if not surplus and not missing:
            return ""
        parts = [f"{word} {', '.join(names)}" for word, names in (("missing", missing), ("unknown", surplus)) if names]
        return f"Invalid input for action '{self.name}': {'; '.join(parts)}. It takes: {self._proposed() or 'none'}."

    def broken_link(self, input: Mapping[str, Any]) -> str:
        """What is wrong with the names of a link's input, in the words of every engine; "" where they are right."""
        parameters = _parameters(self.call)
        if surplus := [name for name in input if name not in parameters]:
            return f"{LINK} takes no {surplus[0]}; it takes: {self._proposed()}"
        if input.get("target") is None:
            return f"{LINK} needs a target: INSTANCE:NAME, or a name in a catalog"
        return ""

    def _proposed(self) -> str:
        return ", ".join(name for name in _parameters(self.call) if name not in self.untold)

    def unfit(self, input: Mapping[str, Any]) -> str:
        """What is wrong with the value of the delay, in words; "" where there is none, or a good one."""
        value = input.get(self.delay) if self.delay else None
        if value is None or seconds_of(value) is not None:
            return ""
        return f"Action '{self.name}': '{self.delay}' must be {SECONDS}, not {shown(value)}."

    def wait(self, input: Mapping[str, Any]) -> float:
        """How many seconds the engine waits before the action is over; 0 where the value is `unfit`."""
        value = input.get(self.delay) if self.delay else None
        return seconds_of(value) or 0.0


class ActionRegistry:
    """Actions by name. A new registry has the language's own; `register` adds Python callables.

    `is_elsewhere` tells of any other name whether it stands for something that another engine runs. What it raises of
    a name is that name's `refusal`.
    """

    def __init__(self, is_elsewhere: Callable[[str], bool] = lambda _: False) -> None:
        self._actions = {action.name: action for action in BUILTIN}
        self._is_elsewhere = is_elsewhere
        self._refusals: dict[str, str] = {}

    def register(self, name: str, call: Callable[..., Any], *, pure: bool = False) -> None:
        """Make `call(**input)` available as action `name`. It runs in a thread; its result must be JSON data.

        `pure` tells that it may be run again after a crash that hid its outcome.
        """
        self._actions[name] = Action(name, call, Kind.POOL, pure)

    def get(self, name: str) -> Action | None:
        """The action of that name, or None."""
        if name not in self._actions:
            self._refusals.pop(name, None)  # a file of a catalog may have been mended meanwhile
            try:
                if self._is_elsewhere(name):
                    self._actions[name] = Action(name, _elsewhere, Kind.LINK, pure=True)
            except (EngineRefused, InvalidInput, NotFound) as error:
                self._refusals[name] = error.message
        return self._actions.get(name)

    def refusal(self, name: str) -> str:
        """Why `get` gave nothing of a name last, in the words of whoever knows it; "" where nobody does."""
        return self._refusals.get(name, "")

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)


@cache
def _parameters(call: Callable[..., Any]) -> Mapping[str, Parameter]:
    return signature(call).parameters


def _needed(parameter: Parameter) -> bool:
    named = parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return named and parameter.default is Parameter.empty


def _noop() -> None:
    return None


def _echo(output: Any, delay: float = 0) -> Any:  # noqa: ARG001  (the engine does the waiting)
    return output


def _fail(error_data: Any = None) -> None:
    raise ActionFailed(error_data if error_data is not None else "The 'std.fail' action fails.")


def _sleep(seconds: float = 1) -> None:  # noqa: ARG001  (the engine does the waiting)
    return None


def _test_dict(size: int = 0, key_prefix: str = "", val: Any = "") -> dict[str, Any]:
    return {f"{key_prefix}{number}": val for number in range(size)}


def _link(target: str, input: Mapping[str, Any] | None = None, owner: str = "") -> None:  # noqa: ARG001  (a report ends it)
    return None


def _elsewhere(**_input: Any) -> None:
    return None


#: The action that names what it waits for; any other link is named after that itself.
LINK = "flowbridge.run"

BUILTIN = (
    Action("std.noop", _noop, Kind.INLINE, pure=True),
    Action("std.echo", _echo, Kind.INLINE, pure=True, delay="delay"),
    Action("std.fail", _fail, Kind.INLINE, pure=True),
    Action("std.sleep", _sleep, Kind.INLINE, pure=True, delay="seconds"),
    Action("std.test_dict", _test_dict, Kind.INLINE, pure=True),
    Action("std.async_noop", _noop, Kind.WAIT, pure=True),
    Action("std.http", request),
    Action(LINK, _link, Kind.LINK, pure=True, untold=frozenset({"owner"})),
)

"""What a pack says of its actions, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an action.

    `type` is `string`, `integer`, `number`, `boolean`, `array` or `object`; empty where it may be several or any.
    `enum` is None where every value will do. `position` is its place among a script's positional arguments. `runner`
    tells that it is the runner type's own, such as `timeout`, and no argument of the action's script.
    """

    name: str
    type: str = "string"
    required: bool = False
    default: Any = None
    immutable: bool = False
    enum: tuple[Any, ...] | None = None
    secret: bool = False
    position: int | None = None
    description: str = ""
    runner: bool = False


@dataclass(frozen=True, slots=True)
class PackAction:
    """One action of a pack.

    `parameters` holds the action's own and then the runner type's, each with what the action says of it merged in.
    `folder` is the pack's folder, `source` the metadata file. `entry_point` is absolute and inside the pack; it need
    not be there. `entry_point_line` is where the metadata names it, 0 where it does not.
    """

    ref: str
    pack: str
    name: str
    runner_type: str
    description: str = ""
    enabled: bool = True
    entry_point: Path | None = None
    entry_point_line: int = 0
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    folder: Path = Path()
    source: str = ""
    notify: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the parameters whose values are never shown or written down."""
        return frozenset(name for name, parameter in self.parameters.items() if parameter.secret)

    @property
    def texts(self) -> frozenset[str]:
        """The names of the parameters that are text."""
        return frozenset(name for name, parameter in self.parameters.items() if parameter.type == "string")


@dataclass(frozen=True, slots=True)
class Broken:
    """A file of a pack that cannot be used. `problem` names it, with its line."""

    ref: str
    source: str
    problem: str

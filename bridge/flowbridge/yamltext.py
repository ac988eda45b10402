"""YAML from outside: read safely, with bounds, and with the place of everything in it.

Only plain data comes out. A text that is broken, too large, nested too deeply, or that grows without measure through
its aliases is an `InvalidInput` with line and column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from flowbridge.errors import InvalidInput

MAX_CHARACTERS = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 1_000_000

Path = tuple[str | int, ...]
Position = tuple[int, int]

_MERGE = "tag:yaml.org,2002:merge"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Located:
    """Plain data, and where each part of it stands in `source`; `repeated` are the keys that stood there before."""

    data: Any
    source: str
    positions: Mapping[Path, Position]
    repeated: tuple[Path, ...] = ()

    def position(self, path: Path) -> Position:
        """Line and column (from one) of what is at a path; of the nearest thing above it that has a place."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, (1, 1))

    def wrong(self, path: Path, message: str) -> InvalidInput:
        """The error to raise for what is at a path."""
        line, column = self.position(path)
        return InvalidInput(message, source=self.source, line=line, column=column)


def load(text: str, source: str, *, nodes: int = MAX_NODES, usual: bool = False) -> Located:
    """One YAML document as plain data, of at most so many values. An empty text gives None.

    A key that stands twice is refused, and `<<` is a key. `usual` is for what others write for others: the last one of
    a key counts, and `<<` takes in what another mapping holds, as most readers of YAML have it.

    Raises `InvalidInput` with file, line and column.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"the text has {len(text)} characters; at most {MAX_CHARACTERS} are read", source=source)
    _reject_deep(text, source)
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            reader = _Reader(loader, source, nodes, usual=usual)
            data = None if root is None else reader.read(root, (), 0)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        what = " ".join(filter(None, (error.context, error.problem)))
        raise InvalidInput(f"broken YAML: {what}", source=source, line=place[0], column=place[1]) from error
    except (yaml.YAMLError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(f"broken YAML: {first}", source=source) from error
    return Located(data, source, reader.positions, tuple(reader.repeated))


def _reject_deep(text: str, source: str) -> None:
    """Composing recurses in C: depth is bounded on the flat stream of events, before that."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _wrong(event, source, f"nested more than {MAX_DEPTH} levels deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError as error:
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark and "nesting depth" in str(error.problem):
            # libyaml reads ahead, and newer ones stop by themselves where it is very deep.
            raise _wrong_at(error.problem_mark, source, f"nested more than {MAX_DEPTH} levels deep") from error
        # Anything else is told, with its place, when the text is composed.


def _wrong(marked: Any, source: str, message: str) -> InvalidInput:
    return _wrong_at(marked.start_mark, source, message)


def _wrong_at(mark: Any, source: str, message: str) -> InvalidInput:
    return InvalidInput(message, source=source, line=mark.line + 1, column=mark.column + 1)


class _Reader:
    """Turns composed nodes into plain data, counting every node again each time an alias repeats it."""

    def __init__(self, loader: Any, source: str, nodes: int, *, usual: bool) -> None:
        self._loader = loader
        self._source = source
        self._allowed = self._left = nodes
        self._usual = usual
        self.positions: dict[Path, Position] = {}
        self.repeated: list[Path] = []

    def read(self, node: yaml.Node, path: Path, depth: int) -> Any:
        mark = node.start_mark
        self.positions.setdefault(path, (mark.line + 1, mark.column + 1))
        self._count(node, depth)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, place), depth + 1) for place, child in enumerate(node.value)]
        return self._scalar(node)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise _wrong(node, self._source, f"more than {self._allowed} values, aliases counted each time")
        if depth > MAX_DEPTH:
            raise _wrong(node, self._source, f"nested more than {MAX_DEPTH} levels deep")

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, (key_node, value_node) in self._pairs(node, path, depth).items():
            mark = key_node.start_mark
            self.positions[(*path, key)] = (mark.line + 1, mark.column + 1)
            found[key] = self.read(value_node, (*path, key), depth + 1)
        return found

    def _pairs(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The keys and values of a mapping: what it takes in from others, and over that its own."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if self._usual and key_node.tag == _MERGE:
                merged |= self._merged(value_node, path, depth)
                continue
            key = self._key(key_node)
            if key in own:
                if not self._usual:
                    raise _wrong(key_node, self._source, f"{key!r} stands here a second time")
                self.repeated.append((*path, key))
            own[key] = (key_node, value_node)
        return merged | own

    def _merged(self, node: yaml.Node, path: Path, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """What `<<` takes in: a mapping, or a list of them, of which the first counts most."""
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for one in reversed(node.value) if isinstance(node, yaml.SequenceNode) else (node,):
            if not isinstance(one, yaml.MappingNode):
                raise _wrong(one, self._source, "'<<' takes in a mapping, or a list of mappings")
            self._count(one, depth)  # one that holds nothing, too: lists of it may stand in lists of it
            for place in one.value:
                self._count(place[0], depth)
            found |= self._pairs(one, path, depth + 1)
        return found

    def _key(self, node: yaml.Node) -> str:
        """Keys are text. A bare `on`, `1.0` or `~` is taken as it is written."""
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        raise _wrong(node, self._source, "a key must be a single word or text")

    def _scalar(self, node: yaml.Node) -> Any:
        value = self._loader.construct_object(node)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        return str(node.value)  # a date, a set, bytes: JSON has no such thing, so it stays as it is written

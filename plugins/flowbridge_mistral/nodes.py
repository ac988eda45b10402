"""YAML as nodes: made from plain data, looked into, and put together anew. What is not touched stays the same node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Pairs = list[tuple[yaml.Node, yaml.Node]]

_TAG = "tag:yaml.org,2002:"
_ONE_LINE = 1 << 30
_REPRESENTER = yaml.representer.SafeRepresenter()


class Loader(yaml.SafeLoader):
    """Reads as Mistral does: `&` and `*` make no anchors and aliases, and a bare text may begin with `@`."""

    def fetch_anchor(self) -> None:
        """A text like any other."""
        self.fetch_plain()

    def fetch_alias(self) -> None:
        """A text like any other."""
        self.fetch_plain()

    def check_plain(self) -> bool:
        """Whether a bare text begins here."""
        return self.peek() == "@" or bool(super().check_plain())


def node(value: Any) -> yaml.Node:
    """Plain data as a node; a node stays one."""
    if isinstance(value, yaml.Node):
        return value
    if isinstance(value, Mapping):
        return yaml.MappingNode(_TAG + "map", [(node(str(key)), node(part)) for key, part in value.items()])
    if isinstance(value, list):
        return yaml.SequenceNode(_TAG + "seq", [node(part) for part in value], flow_style=True)
    if isinstance(value, str):
        return yaml.ScalarNode(_TAG + "str", value)
    return _REPRESENTER.represent_data(value)  # null, a truth value, a number


def text(root: yaml.Node) -> str:
    """A tree of nodes as text, each value on one line."""
    return str(yaml.serialize(root, allow_unicode=True, width=_ONE_LINE))


def pairs(of: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """The keys of a mapping with their values; nothing of what is no mapping."""
    for key, value in of.value if isinstance(of, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            yield str(key.value), value


def get(of: yaml.Node | None, key: str) -> yaml.Node | None:
    """What a mapping has under a key, None where it has nothing there or is no mapping."""
    return next((value for name, value in pairs(of) if name == key), None)


def scalar(of: yaml.Node | None, key: str) -> str | None:
    """The text under a key, None where none stands there."""
    found = get(of, key)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else None


def changed(of: yaml.MappingNode, new: Mapping[str, Any]) -> yaml.MappingNode:
    """A mapping with other values under some keys, None for a key that goes; new keys come last."""
    wanted = dict(new)
    kept: Pairs = []
    for key, value in of.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name not in wanted:
            kept.append((key, value))
        elif (put := wanted.pop(name)) is not None:
            kept.append((key, node(put)))
    kept += [(node(key), node(value)) for key, value in wanted.items() if value is not None]
    return yaml.MappingNode(of.tag, kept, of.start_mark, of.end_mark, of.flow_style)

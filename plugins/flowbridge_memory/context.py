"""The variables a task sees: what the tasks before it published, merged as the language says.

A context is immutable and shared. It is a short stack of layers, newest first; a new layer is merged into the one
under it when both are of a size, so a chain of n publishing tasks costs n log n, not the square.

Every leaf value carries a version, raised each time it is published. Where two branches meet, the higher version
wins: a variable that one branch changed is not undone by another that only inherited it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

V = TypeVar("V")
Layers = tuple[dict[str, V], ...]


class Context:
    """Variables and their versions. Never changed after it was built."""

    __slots__ = ("values", "versions")

    def __init__(self, values: Layers[Any] = (), versions: Layers[int] = ()) -> None:
        self.values = values
        self.versions = versions

    def publish(self, published: Mapping[str, Any] | None) -> Context:
        """This context with `published` on top of it; itself where nothing was published."""
        if not published:
            return self
        versions = {path: _find(self.versions, path, 0) + 1 for path in _paths(published)}
        return Context(_pushed(self.values, dict(published)), _pushed(self.versions, versions))

    def flat(self) -> dict[str, Any]:
        """All variables in one new dict."""
        return _flat(self.values)


EMPTY = Context()


def merged(contexts: Sequence[Context]) -> Context:
    """One context out of several, in the order of their tasks. The last one gives way to a higher version only."""
    distinct = list({id(context.values): context for context in contexts}.values())
    if len(distinct) <= 1:
        return distinct[0] if distinct else EMPTY
    left = distinct.pop()
    values, versions = _flat(left.values), _flat(left.versions)
    for right in distinct:
        _merge(values, versions, _flat(right.values), right.versions, "")
        for path, version in _flat(right.versions).items():
            if version > versions.get(path, 0):
                versions[path] = version
    return Context((values,), (versions,))


def deep_merged(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """`right` laid over `left`, dicts within dicts too. Neither is changed."""
    result = dict(left)
    for key, value in right.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = deep_merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def overlaid(under: Mapping[str, Any], over: Layers[Any]) -> dict[str, Any]:
    """The dicts of `under` that have a dict of the same name in `over`, each with that one laid over it."""
    both = ((name, value, _find(over, name, None)) for name, value in under.items() if isinstance(value, dict))
    return {name: deep_merged(value, found) for name, value, found in both if isinstance(found, dict)}


class View(Mapping[str, Any]):
    """A read-only look through several dicts: the first one that has a name gives its value."""

    __slots__ = ("_layers",)

    def __init__(self, layers: Sequence[Mapping[str, Any]]) -> None:
        self._layers = layers

    def __getitem__(self, key: str) -> Any:
        for layer in self._layers:
            if key in layer:
                return layer[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for layer in reversed(self._layers) for key in layer))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def view(*layers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Several dicts as one; the only one that is not empty as it is."""
    full = [layer for layer in layers if layer]
    return full[0] if len(full) == 1 else View(full)


def _find(layers: Layers[V], key: str, default: V) -> V:
    for layer in layers:
        if key in layer:
            return layer[key]
    return default


def _pushed(layers: Layers[V], new: dict[str, V]) -> Layers[V]:
    rest = list(layers)
    while rest and len(rest[0]) <= 2 * len(new):
        new = {**rest.pop(0), **new}
    return (new, *rest)


def _flat(layers: Layers[V]) -> dict[str, V]:
    result: dict[str, V] = {}
    for layer in reversed(layers):
        result.update(layer)
    return result


def _paths(published: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in published.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _merge(
    left: dict[str, Any], versions: Mapping[str, int], right: Mapping[str, Any], theirs: Layers[int], prefix: str
) -> None:
    for key, value in right.items():
        path = f"{prefix}{key}"
        if key not in left:
            left[key] = value
        elif isinstance(left[key], dict) and isinstance(value, dict):
            left[key] = dict(left[key])
            _merge(left[key], versions, value, theirs, f"{path}.")
        elif _find(theirs, path, 0) > versions.get(path, 0):
            left[key] = value

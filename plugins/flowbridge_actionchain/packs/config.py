"""The configuration of a pack, from the three places where StackStorm keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowbridge_actionchain.packs.metadata import mapping_of


def config_of(pack: str, place: Path) -> dict[str, Any]:
    """The schema's defaults, below the pack's own `config.yaml`, below the site's `configs/PACK.yaml`."""
    given = {**_read(place / "config.yaml"), **_read(place.parent.parent / "configs" / f"{pack}.yaml")}
    return _with_defaults(_read(place / "config.schema.yaml"), given)


def secrets_of(pack: str, place: Path) -> list[Any]:
    """The values that the schema calls secret."""
    return list(_secrets(_read(place / "config.schema.yaml"), config_of(pack, place)))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = mapping_of(path).data if path.is_file() else {}
    return found


def _with_defaults(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    for name, one in schema.items():
        if not isinstance(one, Mapping):
            continue
        inner = one.get("properties")
        if found.get(name) is None and one.get("default") is not None:
            found[name] = one["default"]
        if isinstance(inner, Mapping) and isinstance(found.get(name, {}), Mapping):
            below = _with_defaults(inner, found.get(name, {}))
            if below or name in found:
                found[name] = below
    return found


def _secrets(schema: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Any]:
    for name, one in schema.items():
        if not isinstance(one, Mapping) or name not in config:
            continue
        if one.get("secret") is True:
            yield config[name]
        elif isinstance(one.get("properties"), Mapping) and isinstance(config[name], Mapping):
            yield from _secrets(one["properties"], config[name])

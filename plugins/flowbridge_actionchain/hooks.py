"""The catalog of packs as hooks of flowbridge. Nothing of it is imported or read before a name is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowbridge.hookspecs import hookimpl

if TYPE_CHECKING:
    from flowbridge.backend import Target
    from flowbridge.catalog import CatalogEntry
    from flowbridge.config import Config


@hookimpl
def flowbridge_resolve(ref: str, config: Config) -> Target | None:
    """The action or workflow `pack.name`; None where there is no such pack."""
    if not _is_name(ref):
        return None
    from flowbridge_actionchain.packs.targets import target_of  # noqa: PLC0415  most targets are files

    return target_of(ref, config)


@hookimpl
def flowbridge_catalog(ref: str, config: Config) -> Iterable[CatalogEntry] | None:
    """Every action and workflow of the packs, or the one of that name."""
    if ref and not _is_name(ref):
        return None
    from flowbridge_actionchain.packs.targets import entries_of, entry_of  # noqa: PLC0415  only to list or show

    return entry_of(ref, config) if ref else entries_of(config)


def _is_name(ref: str) -> bool:
    pack, _, name = ref.partition(".")
    return bool(pack and name) and "/" not in ref

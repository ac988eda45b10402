"""The catalog of a configuration."""

from __future__ import annotations

from flowbridge import config as configuration
from flowbridge_actionchain.packs.catalog import Catalog


def catalog_of(config: configuration.Config | None = None) -> Catalog:
    """The catalog of the folders that a configuration names; that of this process where none is given."""
    return Catalog((config or configuration.load()).catalog.packs)

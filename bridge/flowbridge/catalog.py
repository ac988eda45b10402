"""What a catalog plugin tells of itself: the things that can be started by name, one entry each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One thing that can be started by name.

    `kind` is the catalog's own word for what it is, `backend` the type or the instance that it runs on. `inputs` maps
    each input to what is known of it, as plain data. `problem` says what is wrong with it, with file and line; it is
    empty where nothing is.
    """

    ref: str
    kind: str = ""
    description: str = ""
    backend: str = ""
    source: str = ""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problem: str = ""

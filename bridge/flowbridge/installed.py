"""What installed distributions offer, as their installers wrote it down beside them; nothing is imported.

`importlib.metadata` would find the same and more (what lies in archives, or is found by a finder of its own), but it
reads every distribution for it, and its import alone costs as much as all of click. So what is found here counts, and
what is not is for `importlib.metadata` to find.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

_METADATA = (".dist-info", ".egg-info")


class Offer(NamedTuple):
    """One entry point, by whom it is offered, and what it names: `MODULE` or `MODULE:ATTRIBUTE`."""

    name: str
    value: str
    distribution: str

    def load(self) -> Any:
        """The object itself. Raises what its import raises, and `AttributeError` where the module lacks it."""
        module, _, attributes = self.value.partition("[")[0].strip().partition(":")
        found: Any = import_module(module)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
        return found


def offers(group: str) -> Mapping[str, Offer]:
    """What this process's distributions offer in a group, by name; the first one on the path wins."""
    return _offers(group, tuple(sys.path))


@cache
def _offers(group: str, path: tuple[str, ...]) -> Mapping[str, Offer]:
    return scan(group, path)


def scan(group: str, path: Iterable[str]) -> dict[str, Offer]:
    """What the distributions in these folders offer in a group."""
    found: dict[str, Offer] = {}
    for metadata in _metadata(path):
        for name, value in _entries(metadata / "entry_points.txt", group):
            found.setdefault(name, Offer(name, value, metadata.name.partition("-")[0]))
    return dict(sorted(found.items()))


def _metadata(path: Iterable[str]) -> Iterator[Path]:
    for folder in path:
        try:
            with os.scandir(folder or os.curdir) as entries:
                found = sorted(entry.path for entry in entries if entry.name.endswith(_METADATA))
        except OSError:
            continue
        yield from map(Path, found)


def _entries(file: Path, group: str) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    section = ""
    for line in text.splitlines() if group in text else ():
        if line.startswith("["):
            section = line.strip("[] \t")
        elif section == group and "=" in line:
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()

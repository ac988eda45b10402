"""The commands of other distributions, by name, as their installers wrote them down; nothing is imported.

`importlib.metadata` would find the same, and its import alone costs as much as all of click: too much for `--help`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

GROUP = "flowbridge.commands"
_METADATA = (".dist-info", ".egg-info")


@cache
def commands() -> Mapping[str, str]:
    """Every command that an installed distribution offers, and the distribution; the first one on the path wins."""
    return scan(sys.path)


def scan(path: Iterable[str]) -> dict[str, str]:
    """The commands that the distributions in these folders offer."""
    found: dict[str, str] = {}
    for metadata in _metadata(path):
        for name in _names(metadata / "entry_points.txt"):
            found.setdefault(name, metadata.name.partition("-")[0])
    return dict(sorted(found.items()))


def _metadata(path: Iterable[str]) -> Iterator[Path]:
    for folder in path:
        try:
            with os.scandir(folder or os.curdir) as entries:
                found = sorted(entry.path for entry in entries if entry.name.endswith(_METADATA))
        except OSError:
            continue
        yield from map(Path, found)


def _names(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    section = ""
    for line in text.splitlines() if GROUP in text else ():
        if line.startswith("["):
            section = line.strip("[] \t")
        elif section == GROUP and "=" in line:
            yield line.partition("=")[0].strip()

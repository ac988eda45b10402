"""The files that local runs keep beside their ledger: one folder for each run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flowbridge.model import Ref


def folder(ledger: Path, root: Ref) -> Path:
    """Where the files of a run are kept. It is made by whoever has something to keep there."""
    return ledger.with_name(f"{ledger.name}.files") / f"{root.backend}-{root.id}"


def remove_files(ledger: Path, roots: Iterable[Ref]) -> None:
    """Forget the files of runs. What cannot be removed stays: it is nobody's record."""
    for root in roots:
        place = folder(ledger, root)
        if place.is_dir():
            import shutil  # noqa: PLC0415  most runs keep no files

            shutil.rmtree(place, ignore_errors=True)

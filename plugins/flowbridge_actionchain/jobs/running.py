"""From an action and its parameters to a job, and from a handle back to the job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowbridge_actionchain.jobs.model import Job, RunContext
from flowbridge_actionchain.packs.model import PackAction


def prepare(action: PackAction, parameters: Mapping[str, Any], context: RunContext, folder: Path) -> Job:
    """A job for a leaf action. Nothing runs yet.

    Raises `EngineRefused` for a runner type that is not run here, by name, and for what cannot be run as it should be.
    """
    raise NotImplementedError


def find(handle: str, folder: Path) -> Job | None:
    """The job of a handle, in whatever process it was started; None where its end cannot be told."""
    raise NotImplementedError

"""Packs written for a test, and jobs run for real from them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from flowbridge_actionchain.jobs.jobs import Jobs
from flowbridge_actionchain.jobs.model import Job, JobOutcome, RunContext
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.parameters import bind


def render(value: Any, variables: Mapping[str, Any]) -> Any:
    """Templates as simply as can be."""
    text = value if isinstance(value, str) else json.dumps(value)
    shown = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text).render(variables)
    return shown if isinstance(value, str) else json.loads(shown)


class Site:
    """A folder of packs, and a folder for the files of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packs = root / "packs"
        self.files = root / "files"
        self.packs.mkdir()
        self.jobs = Jobs(self.files)

    def write(self, place: str, text: str, *, mode: int = 0o644) -> Path:
        """A file under the site, such as `packs/p/actions/a.yaml`."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def action(self, name: str, runner_type: str, entry_point: str = "", /, **parameters: Mapping[str, Any]) -> None:
        """An action of the pack `p`."""
        meta = {"name": name, "runner_type": runner_type, "entry_point": entry_point, "parameters": parameters}
        self.write(f"packs/p/actions/{name}.yaml", json.dumps(meta))

    def script(self, text: str, *, mode: int = 0o755, **parameters: Mapping[str, Any]) -> None:
        """The action `p.script` with such a script."""
        self.write("packs/p/actions/script.sh", text, mode=mode)
        self.action("script", "local-shell-script", "script.sh", **parameters)

    def python(self, text: str, **parameters: Mapping[str, Any]) -> None:
        """The action `p.python` with such a script."""
        self.write("packs/p/actions/python.py", text)
        self.action("python", "python-script", "python.py", **parameters)

    @property
    def catalog(self) -> Catalog:
        """A new catalog: it has read nothing yet."""
        return Catalog([self.packs])

    def prepare(self, ref: str, context: RunContext | None = None, **given: Any) -> Job:
        """A job of an action with these parameters."""
        action = self.catalog.get(ref)
        return self.jobs.prepare(action, bind(action, given, render), context or RunContext("e1"))

    def prepare_early(self, cmd: str) -> Job:
        """A job of `core.local` whose turn has not come yet."""
        action = self.catalog.get("core.local")
        return self.jobs.prepare(action, bind(action, {"cmd": cmd}, render), RunContext("e1"), early=True)

    def run(self, ref: str, context: RunContext | None = None, **given: Any) -> JobOutcome:
        """How such a job ended; its files are discarded."""
        job = self.prepare(ref, context, **given)
        job.start()
        return ended(job)

    def written(self) -> str:
        """Everything that stands in the files of the run."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.files.rglob("*")) if file.is_file())


def ended(job: Job, *, discard: bool = True) -> JobOutcome:
    """The outcome of a job that was started."""
    assert job.wait(60)
    outcome = job.outcome()
    assert outcome is not None
    if discard:
        job.discard()
    return outcome


def wait_until(so: Callable[[], bool]) -> None:
    """Return as soon as something is so that nobody tells of."""
    deadline = time.monotonic() + 30
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.005)

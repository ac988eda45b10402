"""A job that was made ready early begins by itself behind another one, unless somebody withdraws it before."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actionchain.jobs.test_crashes import left_behind
from actionchain.packkit import Site, ended, wait_until
from flowbridge.errors import Unavailable
from flowbridge_actionchain.jobs import link
from flowbridge_actionchain.jobs.jobs import Jobs
from flowbridge_actionchain.jobs.model import Job


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


class Pair:
    """A job that ends when it is told how, and one that follows it and leaves a mark."""

    def __init__(self, site: Site, gate: Path) -> None:
        self._site, self._gate = site, gate
        self.mark = site.root / "mark"
        self.first = site.prepare("core.local", cmd=f"read code < {gate}; exit $code")
        self.second = site.prepare_early(f"echo begun >> {self.mark}")

    def begin(self) -> None:
        """The first one runs, and the second one is handed over."""
        self.first.start()
        self.second.follow(self.first)

    def end(self, code: int = 0) -> None:
        """The first one ends."""
        self._gate.write_text(f"{code}\n")

    def end_for_good(self, code: int = 0) -> None:
        """The first one ends, and whatever its keeper does then is done."""
        self.end(code)
        assert self.first.wait(30)
        ended(_begun(self._site, "true"))

    def elsewhere(self) -> Job | None:
        """The second one, as another process finds it by its handle."""
        return Jobs(self._site.files).find(self.second.handle)


@pytest.fixture
def pair(site: Site, gate: Path) -> Pair:
    return Pair(site, gate)


def test_it_begins_when_the_one_before_it_has_succeeded_with_nobody_in_between(pair: Pair, site: Site) -> None:
    pair.begin()
    pair.end()
    wait_until(pair.mark.exists)
    assert pair.first.wait(30)
    assert pair.second.begun
    assert ended(pair.second).result["return_code"] == 0
    assert pair.mark.read_text() == "begun\n"
    ended(pair.first)
    assert [file.suffix for file in site.files.iterdir()] == [".log"]


def test_it_begins_at_once_where_the_one_before_it_is_over_by_then(pair: Pair) -> None:
    pair.first.start()
    pair.end()
    assert pair.first.wait(30)
    pair.second.follow(pair.first)
    assert pair.second.begun
    assert ended(pair.second).result["return_code"] == 0


def test_it_does_not_begin_behind_one_that_failed_and_may_be_begun_then(pair: Pair) -> None:
    pair.begin()
    pair.end_for_good(3)
    assert not pair.mark.exists()
    assert not pair.second.begun
    pair.second.start()
    assert ended(pair.second).result["return_code"] == 0


def test_withdrawn_in_time_it_never_begins(pair: Pair) -> None:
    pair.begin()
    assert pair.second.withdraw()
    pair.end_for_good()
    assert not pair.mark.exists()


def test_another_process_withdraws_it_too(pair: Pair) -> None:
    pair.begin()
    found = pair.elsewhere()
    assert found is not None
    assert found.withdraw()
    pair.end_for_good()
    assert not pair.mark.exists()


def test_what_another_process_has_withdrawn_is_not_begun_by_who_made_it_ready(pair: Pair) -> None:
    pair.first.start()
    found = pair.elsewhere()
    assert found is not None
    assert found.withdraw()
    pair.second.start()
    assert not pair.second.begun
    assert pair.second.wait(0), "its turn comes once more where the run is still ours"
    assert pair.second.outcome() is None
    pair.second.follow(pair.first)
    pair.end_for_good()
    assert not pair.mark.exists()


def test_once_begun_nobody_withdraws_it(pair: Pair) -> None:
    pair.begin()
    pair.end()
    wait_until(pair.mark.exists)
    assert not pair.second.withdraw()
    found = pair.elsewhere()
    assert found is not None
    assert not found.withdraw()
    assert pair.first.wait(30)
    assert ended(pair.second).result["return_code"] == 0


def test_what_was_withdrawn_and_made_ready_anew_leaves_nothing_open_in_the_keeper(site: Site, gate: Path) -> None:
    ended(_begun(site, "sleep 0.1"))  # all that the keeper itself opens is open by now
    pair = Pair(site, gate)
    open_files = Path(f"/proc/{_known(pair.first)['pid']}/fd")
    before = len(list(open_files.iterdir()))
    pair.begin()
    for _ in range(3):
        assert pair.second.withdraw()
        pair.second = site.prepare_early(f"echo begun >> {pair.mark}")
        pair.second.follow(pair.first)
    pair.end()
    assert ended(pair.second).result["return_code"] == 0
    assert pair.mark.read_text() == "begun\n"
    wait_until(lambda: len(list(open_files.iterdir())) == before)


def test_nothing_begins_behind_a_starter_that_died(site: Site, gate: Path) -> None:
    second = site.root / "second"

    def both(first: Job) -> None:
        pair = Pair(site, gate)
        second.write_text(pair.second.handle)
        first.start()
        pair.second.follow(first)
        wait_until(lambda: "begun" in (link.noted(site.files, _known(first)["keeper"], _known(first)["id"]) or {}))

    handle = left_behind(site, both, cmd=f"read code < {gate}")
    gate.write_text("0\n")
    wait_until(lambda: not link.alive(_known_of(handle)["pid"], _known_of(handle)["born"]))
    found = site.jobs.find(second.read_text())
    assert found is not None
    assert not found.begun
    assert found.withdraw()
    assert not (site.root / "mark").exists()


def test_with_its_keeper_dead_it_never_began(pair: Pair, site: Site) -> None:
    pair.begin()
    keeper = _known(pair.first)
    wait_until(lambda: "pid" in (link.noted(site.files, keeper["keeper"], keeper["id"]) or {}))
    os.kill(keeper["pid"], signal.SIGKILL)
    pair.end()
    assert pair.first.wait(30)
    assert not pair.second.begun
    found = pair.elsewhere()
    assert found is not None
    assert not found.begun
    assert found.withdraw()


def test_a_keeper_that_dies_before_it_takes_the_permit_has_begun_nothing(pair: Pair, site: Site) -> None:
    keeper = _known(pair.second)
    os.kill(keeper["pid"], signal.SIGKILL)
    wait_until(lambda: not link.alive(keeper["pid"], keeper["born"]))
    with open(link.log_of(site.files, keeper["keeper"]), "a") as log:
        log.write(json.dumps({"id": keeper["id"], "begun": True}) + "\n")
    found = pair.elsewhere()
    assert found is not None
    assert not found.begun


def test_where_no_permit_can_be_written_nothing_is_made_ready(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(_begun(site, "true"))
    monkeypatch.setattr(link, "permit_of", lambda folder, _: folder / "not" / "there")
    with pytest.raises(Unavailable, match="No such file"):
        site.prepare_early("true")


def _begun(site: Site, cmd: str) -> Job:
    job = site.prepare("core.local", cmd=cmd)
    job.start()
    return job


def _known(job: Job) -> dict[str, Any]:
    return _known_of(job.handle)


def _known_of(handle: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(handle)
    return known

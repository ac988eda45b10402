"""Jobs outlive whoever started them; another process finds them by their handle, or says that it cannot tell."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actionchain.packkit import Site, ended, wait_until
from flowbridge.model import TaskStatus
from flowbridge_actionchain.jobs import link, process
from flowbridge_actionchain.jobs.jobs import Jobs
from flowbridge_actionchain.jobs.model import Job


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def left_behind(site: Site, until: Callable[[Job], object], **given: Any) -> str:
    """The handle of a job of `core.local` whose starter was killed without a word once `until` had returned."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            job = Site.prepare(site, "core.local", **given)
            os.write(write, job.handle.encode())
            until(job)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, encoding="utf-8") as pipe:
        return pipe.read()


def saying(word: str) -> Callable[[Job], None]:
    """Start a job, and wait until it has said a word."""

    def until(job: Job) -> None:
        job.start()
        wait_until(lambda: word in job.tail(100))

    return until


def test_a_job_whose_starter_was_killed_goes_on_and_is_waited_for(site: Site, gate: Path) -> None:
    handle = left_behind(site, saying("begun"), cmd=f"echo begun; read word < {gate}; echo $word; exit 4")
    job = site.jobs.find(handle)
    assert job is not None
    assert job.begun
    assert not job.wait(0)
    assert job.tail(100) == "begun\n"
    gate.write_text("late\n")
    outcome = ended(job)
    assert (outcome.status, outcome.result["return_code"]) == (TaskStatus.ERRORED, 4)
    assert outcome.result["stdout"] == "begun\nlate"
    assert list(site.files.iterdir()) == []
    wait_until(lambda: _gone(handle))


def _gone(handle: str) -> bool:
    known = json.loads(handle)
    return not link.alive(known["pid"], known["born"])


def test_a_job_that_ended_while_nobody_was_there_is_found_with_its_outcome(site: Site, gate: Path) -> None:
    handle = left_behind(site, saying("begun"), cmd=f"echo begun; read word < {gate}; echo $word")
    gate.write_text("alone\n")
    wait_until(lambda: _gone(handle))
    job = site.jobs.find(handle)
    assert job is not None
    assert job.wait(0)
    assert ended(job).result["stdout"] == "begun\nalone"
    assert list(site.files.iterdir()) == []


def test_of_two_jobs_of_one_keeper_the_later_is_found_after_the_earlier_was_forgotten(
    site: Site, gate: Path, tmp_path: Path
) -> None:
    def both(first: Job) -> None:
        second = site.prepare("core.local", cmd=f"echo begun; read word < {gate}; echo $word")
        (tmp_path / "second").write_text(second.handle)
        first.start()
        assert first.wait(30)
        saying("begun")(second)

    first = site.jobs.find(left_behind(site, both, cmd="echo first"))
    second = site.jobs.find((tmp_path / "second").read_text())
    assert first is not None
    assert second is not None
    assert ended(first).result["stdout"] == "first"
    gate.write_text("late\n")
    assert ended(second).result["stdout"] == "begun\nlate"
    assert list(site.files.iterdir()) == []


def test_a_job_whose_keeper_died_before_it_heard_of_it_never_began(site: Site) -> None:
    job = site.prepare("core.local", cmd="true")
    known = json.loads(job.handle)
    os.kill(known["pid"], signal.SIGKILL)
    wait_until(lambda: _gone(job.handle))
    job.start()
    assert job.wait(30)
    assert (job.outcome(), job.begun) == (None, False)


def test_a_job_is_stopped_in_time_though_nobody_is_there(site: Site) -> None:
    handle = left_behind(site, saying("begun"), cmd="echo begun; sleep 30", timeout=1)
    job = site.jobs.find(handle)
    assert job is not None
    assert ended(job).error == "core.local took longer than 1 s and was killed"


def test_a_job_that_was_never_begun_is_known_to_be_so(site: Site, tmp_path: Path) -> None:
    handle = left_behind(site, lambda job: None, cmd=f"touch {tmp_path}/ran")
    wait_until(lambda: _gone(handle))
    job = site.jobs.find(handle)
    assert job is not None
    assert not job.begun
    assert job.wait(0)
    assert job.outcome() is None
    assert not (tmp_path / "ran").exists()


def test_with_its_keeper_dead_a_running_job_is_waited_for_and_its_end_is_unknown(site: Site, gate: Path) -> None:
    handle = left_behind(site, saying("begun"), cmd=f"echo begun; sleep 0.1; read word < {gate}; exit 0")
    known = json.loads(handle)
    wait_until(lambda: "pid" in (link.noted(site.files, known["keeper"], known["id"]) or {}))
    os.kill(known["pid"], signal.SIGKILL)
    wait_until(lambda: _gone(handle))
    job = site.jobs.find(handle)
    assert job is not None
    assert not job.wait(0)
    gate.write_text("go\n")
    assert job.wait(30)
    assert job.outcome() is None
    assert site.jobs.find(handle) is None


def test_a_keeper_that_dies_under_its_starter_leaves_the_end_unknown_and_the_next_job_another_keeper(
    site: Site,
) -> None:
    job = site.prepare("core.local", cmd="sleep 0.1; exec sleep 30")
    job.start()
    known = json.loads(job.handle)
    wait_until(lambda: "pid" in (link.noted(site.files, known["keeper"], known["id"]) or {}))
    noted = link.noted(site.files, known["keeper"], known["id"]) or {}
    os.kill(known["pid"], signal.SIGKILL)
    assert not job.wait(0.01)  # the command itself still runs
    os.kill(noted["pid"], signal.SIGKILL)
    assert job.wait(30)
    assert job.outcome() is None
    assert site.jobs.find(job.handle) is None
    assert site.run("core.local", cmd="echo next").result["stdout"] == "next"


def test_another_run_of_the_machine_knows_what_was_written_down_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = site.prepare("core.local", cmd="echo yes")
    unbegun = site.prepare("core.local", cmd="echo no")
    job.start()
    ended(job, discard=False)
    known = json.loads(job.handle)
    wait_until(lambda: "end" in (link.noted(site.files, known["keeper"], known["id"]) or {}))
    monkeypatch.setattr(link, "boot", lambda: "another")
    found = Jobs(site.files).find(job.handle)
    assert found is not None
    assert ended(found, discard=False).result["stdout"] == "yes"
    assert Jobs(site.files).find(unbegun.handle) is None
    job.discard()


def test_with_its_files_removed_nothing_can_be_told(site: Site) -> None:
    job = site.prepare("core.local", cmd="true")
    job.start()
    ended(job, discard=False)
    site.jobs.close()
    wait_until(lambda: _gone(job.handle))
    for file in site.files.iterdir():
        file.unlink()
    assert site.jobs.find(job.handle) is None


def test_a_job_that_is_over_at_once_never_runs_twice_by_being_found(site: Site) -> None:
    job = site.prepare("core.uuid")
    job.start()
    made = ended(job).result["result"]
    found = site.jobs.find(job.handle)
    assert found is not None
    assert not found.begun
    found.start()
    assert ended(found).result["result"] == made


def test_a_keeper_told_to_end_ends_its_jobs_and_writes_that_down(site: Site) -> None:
    job = site.prepare("core.local", cmd="sleep 30")
    job.start()
    known = json.loads(job.handle)
    wait_until(lambda: "pid" in (link.noted(site.files, known["keeper"], known["id"]) or {}))
    os.kill(known["pid"], signal.SIGTERM)
    assert ended(job).result["return_code"] == -signal.SIGTERM


def test_a_process_number_that_another_process_has_now_is_not_taken_for_the_job() -> None:
    assert link.alive(os.getpid(), process.born(os.getpid()))
    assert not link.alive(os.getpid(), "1")


def test_P5_an_action_whose_output_finds_no_room_goes_on_and_its_end_is_known(site: Site, gate: Path) -> None:
    job = site.prepare("core.local", cmd=f"echo kept; read word < {gate}; echo lost; echo lost >&2; exit 4")
    job.start()
    wait_until(lambda: "kept" in job.tail(100))
    with _full(json.loads(job.handle)["pid"]):
        gate.write_text("on\n")
        outcome = ended(job, discard=False)
    assert (outcome.status, outcome.result["return_code"]) == (TaskStatus.ERRORED, 4)
    assert outcome.result["stdout"] == "kept\n\n[output cut off: File too large]"
    assert outcome.result["stderr"] == "\n[output cut off: File too large]"
    job.discard()


def test_P5_the_end_of_an_action_is_written_down_once_there_is_room(site: Site, gate: Path) -> None:
    handle = left_behind(site, saying("begun"), cmd=f"echo begun; read word < {gate}; exit 4")
    known = json.loads(handle)

    def noted() -> dict[str, Any]:
        return link.noted(site.files, known["keeper"], known["id"]) or {}

    wait_until(lambda: "pid" in noted())
    with _full(known["pid"]):
        gate.write_text("on\n")
        wait_until(lambda: not link.alive(noted()["pid"], noted()["born"]))
        assert "end" not in noted()
        job = site.jobs.find(handle)
        assert job is not None
        assert not job.wait(0)
    assert ended(job).result["return_code"] == 4


def test_an_action_whose_beginning_cannot_be_written_down_does_not_begin(site: Site, tmp_path: Path) -> None:
    job = site.prepare("core.local", cmd=f"touch {tmp_path / 'effect'}")
    known = json.loads(job.handle)
    with _full(known["pid"]):
        job.start()
        outcome = ended(job, discard=False)
        assert "cannot be started: its beginning cannot be written down: File too large" in outcome.error
        assert not (tmp_path / "effect").exists()
        job.discard()
        site.jobs.close()  # what it owes to the log is wanted no more
    assert not link.alive(known["pid"], known["born"])


@contextmanager
def _full(keeper: int) -> Iterator[None]:
    """A keeper finds no room for another byte meanwhile."""
    before = resource.prlimit(keeper, resource.RLIMIT_FSIZE)
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        if os.path.exists(f"/proc/{keeper}"):
            resource.prlimit(keeper, resource.RLIMIT_FSIZE, before)

"""local-shell-cmd: commands for real, and the shape of what they give."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from actionchain.packkit import Site, ended, wait_until
from core.kit import in_child
from flowbridge.model import TaskStatus
from flowbridge_actionchain.jobs import shell
from flowbridge_actionchain.jobs.model import RunContext
from flowbridge_actionchain.jobs.process import born
from flowbridge_actionchain.jobs.shapes import TEXT_LIMIT


def test_a_command_gives_its_output_and_its_exit_code(site: Site) -> None:
    outcome = site.run("core.local", cmd="echo out; echo err >&2; exit 3")
    assert outcome.status is TaskStatus.ERRORED
    assert outcome.result == {
        "failed": True,
        "succeeded": False,
        "return_code": 3,
        "stdout": "out",
        "stderr": "err",
    }
    assert outcome.error == "ended with exit code 3: err"


def test_output_that_reads_as_json_is_data_and_any_other_is_text(site: Site) -> None:
    def said(text: str) -> object:
        return site.run("core.local", cmd=f"printf '%s' '{text}'").result["stdout"]

    assert said('{"a": [1, null]}\n') == {"a": [1, None]}
    assert said("42") == 42
    assert said("true\n") is True
    assert said("two\n\n") == "two\n"
    assert said("NaN") == "NaN"
    assert said("") == ""


def test_bash_reads_commands_as_with_stackstorm(site: Site) -> None:
    site.action("masked", "local-shell-cmd", cmd={"secret": True})
    command = '[[ abc == a* ]] && words=(one two) && echo "${words[1]} $0"'
    assert site.run("core.local", cmd=command).result["stdout"] == "two bash"
    assert site.run("p.masked", cmd=command).result["stdout"] == "two bash"


def test_sh_reads_commands_where_there_is_no_bash(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "name", lambda: "/bin/sh")
    assert site.run("core.local", cmd="echo $0").result["stdout"] == "/bin/sh"


@pytest.mark.parametrize(
    ("command", "alone"),
    [
        ("true", True),
        ("sleep  0.01", True),
        ("env A=b env", True),
        ("A=b env", False),
        ("echo -e a", False),
        ("kill -0 1", False),
        ("not-a-program", False),
        ("./tool", False),
        ("true; true", False),
        ("true $HOME", False),
        ("true ~", False),
        ("true *", False),
        ("true\ntrue", False),
        ("true #no", False),
        (" true", False),
        ("", False),
    ],
)
def test_plain_words_that_begin_with_a_program_need_no_shell(command: str, alone: bool) -> None:
    words = shell.words_of(command, {})
    assert words == (command.split() if alone else ["bash", "-c", command])


@pytest.mark.parametrize("text", ["echo hi", "#!/not/there\n"])
def test_what_only_a_shell_can_start_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "tool").write_text(text)
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert shell.words_of("tool", {})[0] == "bash"
    assert shell.words_of("true", {"cwd": "/"})[0] == "bash"
    assert shell.words_of("true", {"env": {"PATH": "/"}})[0] == "bash"
    monkeypatch.setenv("BASH_FUNC_true%%", "() { false; }")
    assert shell.words_of("true", {})[0] == "bash"


def test_a_command_that_a_signal_ends_says_so(site: Site) -> None:
    outcome = site.run("core.local", cmd="kill -KILL $$")
    assert outcome.result["return_code"] == -9
    assert outcome.error == "was ended by signal 9"


def test_the_environment_the_working_directory_and_what_it_is_told_of_itself(site: Site, tmp_path: Path) -> None:
    command = 'echo "$PWD $GREETING $LIST $ST2_ACTION_PACK_NAME $ST2_ACTION_EXECUTION_ID $HOME"'
    outcome = site.run(
        "core.local", RunContext("e7"), cmd=command, cwd=str(tmp_path), env={"GREETING": "hello", "LIST": [1]}
    )
    assert outcome.result["stdout"] == f"{tmp_path} hello [1] core e7 {os.environ['HOME']}"


def test_a_command_leads_a_session_of_its_own_and_has_no_input(site: Site) -> None:
    outcome = site.run("core.local", cmd='cat; cut -d" " -f6 /proc/$$/stat; echo $$')
    session, pid = str(outcome.result["stdout"]).split()
    assert session == pid


def test_a_place_or_a_program_that_is_not_there_is_an_error_of_the_action(site: Site) -> None:
    outcome = site.run("core.local", cmd="true", cwd="/not/there")
    assert outcome.result == {
        "failed": True,
        "succeeded": False,
        "return_code": -1,
        "stdout": "",
        "stderr": "",
        "error": "core.local cannot be started: /not/there: No such file or directory",
    }
    assert site.run("core.local", cmd="pwd").result["stdout"] == os.getcwd()


def test_a_timeout_ends_everything_that_the_command_started(site: Site) -> None:
    """One child in the command's group; two that ignore the polite signal, in groups of their own, one silent."""
    site.script("""#!/bin/bash
(sleep 30) & echo $!
set -m
(trap '' TERM; sleep 30; sleep 30) & echo $!
(trap '' TERM; sleep 30; sleep 30) > /dev/null 2>&1 & echo $!
wait
""")
    outcome = site.run("p.script", timeout=1)
    assert outcome.status is TaskStatus.ERRORED
    assert outcome.result["return_code"] == -9
    assert outcome.result["error"] == "p.script took longer than 1 s and was killed"
    pids = [int(pid) for pid in outcome.result["stdout"].split()]
    assert len(pids) == 3
    wait_until(lambda: not any(map(born, pids)))  # the last one has its signal, and is gone when the system gets to it


def test_what_a_command_that_ends_politely_leaves_behind_is_ended_too(site: Site) -> None:
    command = "bash -c \"trap '' TERM; sleep 30; sleep 30\" > /dev/null 2>&1 & echo $!; exec sleep 30"
    outcome = site.run("core.local", cmd=command, timeout=1)
    wait_until(lambda: born(int(outcome.result["stdout"])) == "")


def test_an_action_is_over_when_its_output_is_closed_too(site: Site) -> None:
    outcome = site.run("core.local", cmd="(sleep 0.2; echo late) & echo early")
    assert outcome.result["stdout"] == "early\nlate"


def test_what_it_said_so_far_can_be_seen_while_it_runs(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = site.prepare("core.local", cmd=f"echo working; read line < {gate}; echo $line")
    job.start()
    while job.tail(100) != "working\n":
        assert not job.wait(0.01)
    gate.write_text("done\n")
    assert ended(job, discard=False).result["stdout"] == "working\ndone"
    assert job.tail(6) == "\ndone\n"
    job.discard()


def test_the_next_job_begins_at_once_when_one_ends(site: Site, tmp_path: Path) -> None:
    """A wait of an hour returns when the job does: there is no interval at which somebody looks."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = site.prepare("core.local", cmd=f"read line < {gate}")
    job.start()
    gate.write_text("go\n")
    assert job.wait(3600)
    job.discard()


def test_50_MB_of_output_stay_out_of_memory_and_the_result_says_where_they_are(site: Site) -> None:
    def growth() -> None:
        """In a process of its own, whose peak begins where it is now."""
        site.run("core.local", cmd="echo small")
        job = site.prepare("core.local", cmd="yes 0123456789abcdef | head -c 50000000; echo; echo end")
        keeper = int(json.loads(job.handle)["pid"])
        before = [_peak(pid) for pid in (os.getpid(), keeper)]
        job.start()
        text = ended(job, discard=False).result["stdout"]
        assert max(_peak(os.getpid()) - before[0], _peak(keeper) - before[1]) < 10 * 1024
        job.discard()
        (whole,) = site.files.glob("*.out")
        assert TEXT_LIMIT < len(text) < TEXT_LIMIT + 500
        assert text.startswith("0123456789abcdef\n0123")
        assert text.endswith("\nend")
        assert f"bytes are left out here; the output is in {whole} ...]" in text
        assert whole.stat().st_size == 50_000_005
        assert whole.stat().st_mode & 0o777 == 0o600

    assert in_child(growth) == 0


def _peak(pid: int) -> int:
    """The most memory that a process ever had, in kilobytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def test_nothing_is_left_of_jobs_whose_outcome_was_written_down(site: Site) -> None:
    for _ in range(3):
        site.run("core.local", cmd="echo much; echo more >&2")
    assert site.files.stat().st_mode & 0o777 == 0o700
    site.jobs.close()
    assert not site.files.exists()


SUDO = """#!/bin/sh
case "$*" in *-S*) read password;; esac
printf '%s [%s]' "$*" "$password"
"""


def test_sudo_asks_nobody_and_gets_its_password_unseen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("bin/sudo", SUDO, mode=0o755)
    monkeypatch.setenv("PATH", f"{site.root}/bin:{os.environ['PATH']}")
    assert site.run("core.local_sudo", cmd="id").result["stdout"] == "-n -E -- bash -c id []"
    asked = site.run("core.local_sudo", cmd="id", sudo_password="xyzzy-42").result["stdout"]
    assert asked == "-S -p  -E -- bash -c id [********]"


def test_noop_does_nothing_and_echo_and_error_say_something(site: Site) -> None:
    assert site.run("core.noop").result == {"failed": False, "succeeded": True, "return_code": 0}
    assert site.run("core.echo", message="hi").result["stdout"] == "hi"
    assert site.run("core.error", message="hi").result["stderr"] == "hi"


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGINT, signal.SIGTERM])
def test_what_whoever_runs_it_ignores_makes_no_difference_to_an_action(site: Site, number: int) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        job = site.prepare("core.local", cmd=f"kill -{int(number)} $$; exit 3")
        job.start()
        result = ended(job).result
    finally:
        signal.signal(number, before)
    assert result["return_code"] == (3 if number == signal.SIGCHLD else -number)

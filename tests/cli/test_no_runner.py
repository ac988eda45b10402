"""A local run that nobody can be started to drive: it is told, not lost, and goes on once that is mended (S6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.clikit import until
from cli.conftest import Flowbridge
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.errors import Unavailable

FLOW = """
version: '2.0'
main:
  output: {said: <% task(t).result %>}
  tasks:
    t: {action: std.echo output='there'}
"""


@pytest.fixture
def mend(home: Path) -> Callable[[], None]:
    """No runner can write its log from here on, until this is called."""
    (home / "flow.yaml").write_text(FLOW)
    (home / "runners.log").mkdir()
    return (home / "runners.log").rmdir


@pytest.mark.parametrize("how", [["--detach"], []], ids=["detached", "watched"])
def test_S6_a_run_that_nobody_drives_is_told_at_once_and_recover_goes_on_with_it(
    how: list[str], flowbridge: Flowbridge, home: Path, mend: Callable[[], None]
) -> None:
    said = flowbridge("run", "flow.yaml", *how)
    assert (said.code, said.out) == (5, "")
    assert f"cannot be started: {home}/runners.log: Is a directory; `flowbridge recover " in said.err
    assert flowbridge("get", "last", "-o", "json").data["status"] == "abandoned"
    (named,) = [row for row in flowbridge("doctor", "-o", "json").data if row["what"] == "execution"]
    assert f"its runner died; `flowbridge recover {named['name']}` goes on (S6)" in named["detail"]
    for which in (["last"], []):  # it still cannot be
        said = flowbridge("recover", *which)
        assert (said.code, "abandoned" in said.out) == (5, True)
        assert f"flowbridge: error: {named['name']} is not recovered, or not all of it: the runner" in said.err
    mend()
    assert flowbridge("recover", "last").code == 0
    assert flowbridge("watch", "last").code == 0
    assert flowbridge("get", "last", "-o", "json").data["output"] == {"said": "there"}


def test_S6_a_run_that_nobody_drives_raises_in_python(home: Path, mend: Callable[[], None]) -> None:
    del mend
    with Bridge() as bridge, pytest.raises(Unavailable, match="cannot be started"):
        bridge.run(Definition((home / "flow.yaml").read_text(), "flow.yaml"))


def test_O4_a_resume_after_which_nobody_drives_the_run_is_not_told_as_done(
    flowbridge: Flowbridge, home: Path, mend: Callable[[], None]
) -> None:
    mend()
    (home / "flow.yaml").write_text(FLOW.replace("t: {", "t: {pause-before: true, "))
    id = flowbridge("run", "flow.yaml", "--detach").out.strip()
    until(lambda: flowbridge("get", id, "-o", "json").data["status"] == "paused", "the pause before its task")
    (home / "runners.log").unlink()
    (home / "runners.log").mkdir()
    said = flowbridge("resume", id)
    assert said.code == 5
    assert "cannot be started" in said.err + said.out
    mend()
    assert flowbridge("recover", id).code == 0
    assert flowbridge("watch", id).code == 0

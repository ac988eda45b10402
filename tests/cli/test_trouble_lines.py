"""How calls that fail, and numbers of things, read on a terminal."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from flowbridge.agent import Health
from flowbridge_cli.commands.agent import _teller
from flowbridge_cli.commands.get import running
from flowbridge_cli.drawing import duration, tree_lines
from flowbridge_cli.watching import _Lines

FAILS = {"call": "report", "reason": "prod: no such action", "since": "2026-01-02T03:04:05.000Z", "tries": 7}


def execution(**changes: Any) -> dict[str, Any]:
    """A document of one execution."""
    plain: dict[str, Any] = {
        "id": "1234567890abcdef", "engine_id": "e0", "status": "succeeded", "workflow": "flow", "backend": "prod",
        "created_at": None,
        "held": False, "held_by": None, "gone": False, "stale": False, "hung": None, "error": None, "item": None,
        "waits_for": "its end to be told", "trouble": FAILS, "tasks": [],
    }  # fmt: skip
    return plain | changes


def test_O13_a_tree_says_which_call_fails_since_when_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = tree_lines(execution())
    assert "waits for its end to be told  report fails since 2026-01-0" in line
    assert line.endswith(": prod: no such action")


def test_O3_a_tree_names_recover_for_what_only_that_finishes() -> None:
    view = execution(waits_for=None, trouble=None, tasks=[]) | {"unfinished": ["pause by ada", "skip by ada"]}
    pause, skip = tree_lines(view)[-2:]
    assert pause == "The pause by ada is not finished: whoever looks goes on with it, an agent too"
    assert skip.startswith("The skip by ada is not finished: `flowbridge recover ")


def test_S6_a_tree_says_how_what_is_abandoned_below_goes_on() -> None:
    work: dict[str, Any] = {"name": "t", "status": "running", "running": [], "item_count": None, "error": None}
    below = execution(id="abcdef0123456789", status="abandoned", waits_for=None, trouble=None, tasks=[])
    above = execution(status="running", tasks=[work | {"children": [below | {"updated_at": None}]}])
    hints = [line for line in tree_lines(above) if "recover" in line]
    assert hints == ["What is abandoned goes on by `flowbridge recover abcdef0123456` (S6)"]


def test_what_runs_is_named_by_the_way_to_it_and_nothing_runs_in_what_is_abandoned() -> None:
    work: dict[str, Any] = {"name": "t", "active": True, "running": ["std.http"]}
    items = [
        execution(item=item, status=status, active_tasks=["t"], tasks=[work | {"children": []}])
        for item, status in enumerate(("running", "abandoned", "running"))
    ]
    above = execution(status="running", tasks=[work | {"name": "hosts", "children": items}])
    assert running(above) == ["flow.hosts[0].t (std.http)", "flow.hosts[2].t (std.http)"]


def test_S7_the_time_of_what_is_gone_stands_still() -> None:
    born = {"created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:09.000Z"}
    assert duration(execution(status="running", gone=True, **born)) == "4 s"


def test_P4_what_is_held_says_for_how_long_while_the_time_that_it_ran_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: datetime.fromisoformat("2026-01-02T05:34:08.000Z").timestamp())
    ran = {"created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:16.000Z", "trouble": None}
    held = execution(status="paused", held=True, held_by="ada", waits_for=None, **ran)
    (line,) = tree_lines(held | {"held_since": "2026-01-02T03:04:08.000Z"})
    assert line.endswith("  11 s  held by ada for 2.5 h")
    (unseen,) = tree_lines(held | {"held_since": None})
    assert unseen.endswith("  11 s  held by ada")
    (by_nobody,) = tree_lines(held | {"held_since": "2026-01-02T05:34:00.000Z", "held_by": None})
    assert by_nobody.endswith("  held for 8 s")


def test_O13_a_watch_tells_it_once_and_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    show = _Lines(quiet=False)
    for document in (execution(), execution(trouble=FAILS | {"tries": 8}), execution(trouble=None)):
        show(document)
    told = [line for line in capsys.readouterr().err.splitlines() if "fails" in line]
    assert len(told) == 2
    assert "report fails since" in told[0]
    assert "nothing fails any more" in told[1]


def test_O13_an_agent_tells_it_once_with_the_number_of_all_that_fail(capsys: pytest.CaptureFixture[str]) -> None:
    tell = _teller(None)
    failing = {"execution": "1234", **FAILS}
    for tries in (1, 2):
        tell(Health(at=1.0, passes=tries, trees=1, failing=(failing | {"tries": tries},)))
    tell(Health(at=1.0, passes=3, trees=2, failing=(failing, failing | {"execution": "5678"})))
    assert capsys.readouterr().err.splitlines() == [
        "1 tree; report of 1234 fails: prod: no such action",
        "2 trees; report of 1234 fails: prod: no such action (the first of 2 calls that fail)",
    ]


def test_one_item_is_no_items() -> None:
    task: dict[str, Any] = {
        "name": "t",
        "status": "running",
        "running": [],
        "error": None,
        "children": [],
        "item_count": 1,
    }
    shown = tree_lines(execution(tasks=[task, task | {"item_count": 2}]))
    assert [line.split("  ")[-1] for line in shown[1:]] == ["1 item", "2 items"]


def test_S6_an_action_whose_end_nobody_saw_is_shown_as_unknown_and_no_other_is() -> None:
    task: dict[str, Any] = {
        "name": "t",
        "status": "errored",
        "running": [],
        "error": None,
        "children": [],
        "item_count": None,
    }
    lost = task | {"status": "running", "running": ["t: core.local"]}
    shown = tree_lines(execution(tasks=[task, lost, lost | {"name": "other"}], unknown=["t"]))
    assert ["unknown: nobody saw how it ended" in line for line in shown[1:]] == [False, True, False]
    (_, each) = tree_lines(execution(tasks=[lost | {"name": "each", "item_count": 3}], unknown=["each[1]"]))
    assert "unknown: nobody saw how it ended" in each

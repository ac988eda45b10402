"""What a freeze refuses, until when, and what it lets pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import flowbridge_freeze
import pytest
from flowbridge_freeze import CalendarError, Plugin, Window, read

from flowbridge import Bridge, Config, Definition
from flowbridge.errors import Rejected
from flowbridge.law.decide import Action, Line, Plan
from flowbridge.ledger.operations import Operation
from flowbridge.model import Ref

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CALENDAR = re.findall(r"^```yaml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[0]

IN_THE_FREEZE = "2026-12-24T12:00:00+00:00"
ON_FRIDAY = "2026-11-27T15:00:00+01:00"
ON_MONDAY = "2026-11-30T15:00:00+01:00"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "freeze.yaml"
    path.write_text(CALENDAR, encoding="utf-8")
    return path


def vetoed(file: Path, now: str, *, verb: str = "re-run", instance: str = "prod", leaves: str = "") -> str | None:
    """What a verb on an execution of one instance is told, whose tree has another one that is left alone."""
    operation = Operation("op", "tree", verb, "target", "ada", 0.0)
    lines = [Line("target", Ref(instance, "1"), "flow", "running", Action.PAUSE, "bridge", "")]
    if leaves:
        lines.append(Line("other", Ref(leaves, "2"), "flow", "running", Action.LEAVE, "", "runs, as wanted"))
    plugin = Plugin(lambda: file, lambda: datetime.fromisoformat(now))
    return plugin.flowbridge_before_operation(operation, Plan((), tuple(lines)))


def test_the_refusal_says_what_is_frozen_until_when_and_why(file: Path) -> None:
    assert vetoed(file, IN_THE_FREEZE) == "prod is frozen until 2026-12-28 06:00 UTC+01:00: the year's end"


def test_it_begins_and_ends_at_its_moments(file: Path) -> None:
    assert vetoed(file, "2026-12-18T17:59:59+01:00", verb="resume") is None
    assert vetoed(file, "2026-12-18T18:00:00+01:00", verb="resume")
    assert vetoed(file, "2026-12-28T05:59:59+01:00", verb="resume")
    assert vetoed(file, "2026-12-28T06:00:00+01:00", verb="resume") is None


@pytest.mark.parametrize(("instance", "frozen"), [("prod", True), ("prod-eu", True), ("lab", False), ("Prod", False)])
def test_it_covers_the_instances_that_it_names(file: Path, instance: str, frozen: bool) -> None:
    assert bool(vetoed(file, IN_THE_FREEZE, instance=instance)) is frozen


@pytest.mark.parametrize("verb", ["start", "resume", "re-run", "skip"])
def test_what_sets_things_going_is_refused(file: Path, verb: str) -> None:
    assert vetoed(file, IN_THE_FREEZE, verb=verb)


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_what_stops_things_passes_unless_it_is_named(file: Path, verb: str) -> None:
    assert vetoed(file, IN_THE_FREEZE, verb=verb) is None
    file.write_text(CALENDAR.replace("verbs: [start, re-run]", f"verbs: [{verb}]"), encoding="utf-8")
    assert vetoed(file, ON_FRIDAY, verb=verb)


def test_an_instance_that_the_verb_leaves_alone_does_not_count(file: Path) -> None:
    assert vetoed(file, IN_THE_FREEZE, instance="lab", leaves="prod") is None


def test_a_weekly_window_is_open_on_its_days_in_its_zone(file: Path) -> None:
    said = "prod is frozen until 2026-11-28 00:00 CET: no changes on a Friday afternoon"
    assert vetoed(file, ON_FRIDAY) == said
    assert vetoed(file, "2026-11-27T13:30:00+00:00") == said
    assert vetoed(file, "2026-11-27T12:30:00+00:00") is None
    assert vetoed(file, ON_MONDAY) is None
    assert vetoed(file, ON_FRIDAY, verb="resume") is None


def test_a_weekly_window_may_end_before_midnight(file: Path) -> None:
    file.write_text(CALENDAR.replace('to: "24:00"', 'to: "16:00"'), encoding="utf-8")
    assert "until 2026-11-27 16:00 CET" in str(vetoed(file, ON_FRIDAY))
    assert vetoed(file, "2026-11-27T16:00:00+01:00") is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("freezes:", "freeze:", "it must have one key, 'freezes', with a list"),
        ("    reason: the", "    reasons: the", "freeze 1: allowed are: from, instances, reason, to, verbs, weekly"),
        ("reason: the year's end", "instances: []", "freeze 1: it needs 'reason'"),
        (
            "2026-12-18T18:00:00+01:00",
            "2026-12-18T18:00:00",
            "freeze 1: 2026-12-18 18:00:00 is no moment with a time zone",
        ),
        ("2026-12-28T06", "2026-12-18T06", "freeze 1: 'to' is not after 'from'"),
        ("[prod]", "prod", "freeze 2: 'instances' must be a list of words, not 'prod'"),
        ("[fri]", "[friday]", "freeze 2: 'friday' is no day; allowed are: mon, tue"),
        ('"24:00"', '"02:00"', "freeze 2: 'to' is not after 'from': a window that goes past midnight is two"),
        ("Europe/Berlin", "Europe/Atlantis", "freeze 2: there is no time zone 'Europe/Atlantis'"),
        ("[start, re-run]", "[restart]", "freeze 2: 'restart' is not a valid Verb"),
        ("freezes:", "freezes: [", "while parsing"),
    ],
)
def test_a_calendar_that_is_wrong_says_where_and_what(file: Path, before: str, after: str, said: str) -> None:
    text = CALENDAR.replace("  - reason: the", "  -\n    reason: the").replace(before, after)
    assert text != CALENDAR
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CalendarError, match=re.escape(said)) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_read(file: Path) -> None:
    file.write_text("#" * 1_000_001)
    with pytest.raises(CalendarError, match="larger than"):
        read(file)


def test_the_file_that_the_environment_names_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FLOWBRIDGE_FREEZE", raising=False)
    assert flowbridge_freeze.calendar() is None
    usual = tmp_path / "flowbridge/freeze.yaml"
    usual.parent.mkdir()
    usual.write_text("freezes: []")
    assert flowbridge_freeze.calendar() == usual
    monkeypatch.setenv("FLOWBRIDGE_FREEZE", str(tmp_path / "gone.yaml"))
    with pytest.raises(CalendarError, match=r"gone\.yaml: No such file"):
        read(flowbridge_freeze.calendar() or usual)


# With flowbridge around it


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(tmp_path / "none.yaml"))
    with Bridge(Config(ledger=tmp_path / "ledger.db", actor="ada")) as bridge:
        yield bridge


HELLO = Definition("version: '2.0'\nhello: {tasks: {t: {action: std.noop}}}", "hello.yaml")


def test_a_frozen_start_is_rejected_before_anything_begins(bridge: Bridge, file: Path) -> None:
    file.write_text(CALENDAR.replace("[prod, ", "[memory, "), encoding="utf-8")
    bridge.hooks.register(Plugin(lambda: file, lambda: datetime.fromisoformat(IN_THE_FREEZE)), "freeze")
    said = r"^vetoed: memory is frozen until 2026-12-28 06:00 UTC\+01:00: the year's end \(plugin freeze\)$"
    with pytest.raises(Rejected, match=said) as caught:
        bridge.run(HELLO, backend="memory")
    assert caught.value.exit_code == 3
    assert [entry.doc["state"] for entry in bridge.history() if entry.kind == "outcome"] == ["rejected"]


def test_a_calendar_that_cannot_be_read_refuses_and_says_so(bridge: Bridge, tmp_path: Path) -> None:
    bridge.hooks.register(Plugin(lambda: tmp_path / "gone.yaml", lambda: datetime.fromisoformat(ON_MONDAY)), "freeze")
    with pytest.raises(Rejected, match=r"plugin freeze failed: CalendarError: .*gone\.yaml: No such file"):
        bridge.run(HELLO, backend="memory")


def test_the_entry_point_is_a_plugin_that_flowbridge_takes(bridge: Bridge) -> None:
    bridge.hooks.register(flowbridge_freeze.plugin, "freeze")


def test_a_window_is_open_from_its_begin_to_before_its_end() -> None:
    begin, end = (datetime.fromisoformat(f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2))
    assert Window(begin, end).until(begin) == end
    assert Window(begin, end).until(end) is None

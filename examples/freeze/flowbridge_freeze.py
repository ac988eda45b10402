"""A change freeze: verbs on some instances are vetoed, from when to when a calendar says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import platformdirs
import yaml

from flowbridge import Verb, hookimpl

if TYPE_CHECKING:
    from flowbridge.law.decide import Plan
    from flowbridge.ledger.operations import Operation

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
USUAL_VERBS = frozenset({Verb.START, Verb.RESUME, Verb.RERUN, Verb.SKIP})
_KEYS = {"reason", "instances", "from", "to", "weekly", "verbs"}
_LARGEST = 1_000_000


class CalendarError(ValueError):
    """The calendar cannot be read: the file, the freeze in it, and what is wrong."""


@dataclass(frozen=True)
class Window:
    """From a moment to another one."""

    begin: datetime
    end: datetime

    def until(self, now: datetime) -> datetime | None:
        """When it ends, None where it is not open."""
        return self.end if self.begin <= now < self.end else None


@dataclass(frozen=True)
class Weekly:
    """From a time to another one, on some days of each week."""

    days: frozenset[int]
    begin: time
    end: time | None  # None: midnight
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """When it ends, None where it is not open."""
        here = now.astimezone(self.zone)
        if here.weekday() not in self.days or here.time() < self.begin:
            return None
        day = here.date() if self.end is not None else here.date() + timedelta(days=1)
        end = datetime.combine(day, time.min if self.end is None else self.end, self.zone)
        return end if here < end else None


@dataclass(frozen=True)
class Freeze:
    """One freeze of the calendar."""

    reason: str
    when: Window | Weekly
    instances: tuple[str, ...] = ("*",)
    verbs: frozenset[str] = USUAL_VERBS

    def covers(self, instance: str, verb: str) -> bool:
        """Whether a verb on an instance is meant."""
        return verb in self.verbs and any(fnmatchcase(instance, pattern) for pattern in self.instances)


class Plugin:
    """The hook. `calendar` gives the file, `now` the time; both are asked at every verb."""

    def __init__(self, calendar: Callable[[], Path | None], now: Callable[[], datetime]) -> None:
        self._calendar = calendar
        self._now = now

    @hookimpl
    def flowbridge_before_operation(self, operation: Operation, plan: Plan) -> str | None:
        """Veto what a freeze covers that is open now."""
        path = self._calendar()
        if path is None:
            return None
        now = self._now()
        touched = {line.ref.backend for line in plan.lines if line.by or line.record == operation.target}
        for freeze in read(path):
            end = freeze.when.until(now)
            frozen = sorted(name for name in touched if freeze.covers(name, operation.verb))
            if end is not None and frozen:
                return f"{', '.join(frozen)} is frozen until {end:%Y-%m-%d %H:%M %Z}: {freeze.reason}"
        return None


def read(path: Path) -> list[Freeze]:
    """The freezes of a calendar. Raises `CalendarError`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise CalendarError(f"{path}: larger than {_LARGEST} bytes")
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalendarError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CalendarError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or set(found) != {"freezes"} or not isinstance(found["freezes"], list):
        raise CalendarError(f"{path}: it must have one key, 'freezes', with a list")
    return list(_freezes(path, found["freezes"]))


def _freezes(path: Path, entries: list[Any]) -> Iterator[Freeze]:
    for number, entry in enumerate(entries, 1):
        try:
            yield _freeze(entry)
        except (KeyError, TypeError, ValueError) as error:
            what = f"it needs {error}" if isinstance(error, KeyError) else str(error)
            raise CalendarError(f"{path}: freeze {number}: {what}") from error


def _freeze(entry: Any) -> Freeze:
    if not isinstance(entry, dict) or set(entry) - _KEYS:
        raise ValueError(f"allowed are: {', '.join(sorted(_KEYS))}")
    weekly = "weekly" in entry
    if weekly and {"from", "to"} & set(entry):
        raise ValueError("'weekly' stands instead of 'from' and 'to'")
    return Freeze(
        reason=str(entry["reason"]),
        when=_weekly(entry["weekly"]) if weekly else Window(*_moments(entry["from"], entry["to"])),
        instances=_words(entry.get("instances", ["*"]), "instances"),
        verbs=frozenset(Verb(verb) for verb in _words(entry.get("verbs", sorted(USUAL_VERBS)), "verbs")),
    )


def _words(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"{key!r} must be a list of words, not {value!r}")
    return tuple(value)


def _moments(begin: Any, end: Any) -> tuple[datetime, datetime]:
    for moment in (begin, end):
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ValueError(f"{moment!s} is no moment with a time zone, such as 2026-12-18T18:00:00+01:00")
    if end <= begin:
        raise ValueError("'to' is not after 'from'")
    return begin, end


def _weekly(value: Any) -> Weekly:
    if not isinstance(value, dict) or set(value) != {"days", "from", "to", "zone"}:
        raise ValueError("'weekly' has exactly: days, from, to, zone")
    unknown = [day for day in _words(value["days"], "days") if day not in DAYS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no day; allowed are: {', '.join(DAYS)}")
    begin = _time(value["from"])
    end = None if value["to"] == "24:00" else _time(value["to"])
    if end is not None and end <= begin:
        raise ValueError("'to' is not after 'from': a window that goes past midnight is two")
    return Weekly(frozenset(DAYS.index(day) for day in value["days"]), begin, end, _zone(value["zone"]))


def _time(value: Any) -> time:
    try:
        return time.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{value!r} is no time of day: write it in quotes, such as "14:00"') from error


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (KeyError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


def calendar() -> Path | None:
    """The file that the environment names, which must be there; else the usual one, where it is."""
    named = os.environ.get("FLOWBRIDGE_FREEZE")
    usual = Path(platformdirs.user_config_dir("flowbridge")) / "freeze.yaml"
    return Path(named) if named else usual if usual.exists() else None


plugin = Plugin(calendar, lambda: datetime.now(UTC))

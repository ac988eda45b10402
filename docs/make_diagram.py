"""Draw the statuses from the law's own tables: `python docs/make_diagram.py` writes docs/states.md and its picture."""

from __future__ import annotations

from html import escape
from math import atan2, degrees, hypot
from pathlib import Path

from flowbridge.law.tables import ALLOWED, TERMINAL, TRANSITIONS
from flowbridge.model import Status

HERE = Path(__file__).parent

_HEAD = """# The statuses of an execution

This page and its picture are drawn from the tables in `flowbridge.law.tables`; a test fails when one is stale.
Do not edit it: change the table and run `python docs/make_diagram.py`.

![The usual ways between the statuses, with the rule behind each](pictures/states.svg)

The picture has the usual ways, the table below all of them.

## Which may follow which
"""

#: Where each status is drawn.
_PLACES: dict[Status, tuple[float, float]] = {
    Status.REQUESTED: (330, 40),
    Status.RUNNING: (330, 180),
    Status.RESUMING: (580, 60),
    Status.PAUSING: (580, 180),
    Status.PAUSED: (830, 180),
    Status.CANCELING: (580, 320),
    Status.CANCELED: (830, 320),
    Status.SUCCEEDED: (85, 60),
    Status.ERRORED: (85, 180),
    Status.ABANDONED: (85, 320),
}

#: The ways that are drawn. Those that a status takes both ways are drawn side by side.
_DRAWN = (
    (Status.REQUESTED, Status.RUNNING),
    (Status.RUNNING, Status.PAUSING),
    (Status.PAUSING, Status.PAUSED),
    (Status.PAUSED, Status.RESUMING),
    (Status.RESUMING, Status.RUNNING),
    (Status.RUNNING, Status.CANCELING),
    (Status.PAUSING, Status.CANCELING),
    (Status.PAUSED, Status.CANCELING),
    (Status.CANCELING, Status.CANCELED),
    (Status.RUNNING, Status.ABANDONED),
    (Status.ABANDONED, Status.RUNNING),
    (Status.RUNNING, Status.ERRORED),
    (Status.ERRORED, Status.RUNNING),
    (Status.RUNNING, Status.SUCCEEDED),
)

_WIDTH, _HEIGHT = 130, 36
_FONT = "font-family='DejaVu Sans Mono, Menlo, Consolas, monospace'"


def page() -> str:
    """The page as text."""
    lines = ["| status | may be followed by |", "|---|---|"]
    for status, row in TRANSITIONS.items():
        ways: dict[str, list[str]] = {}
        for after, why in row.items():
            ways.setdefault(why, []).append(f"`{after}`")
        end = [f"{', '.join(after)}: {why}" for why, after in ways.items()]
        lines.append(f"| `{status}`{' (an end)' if status in TERMINAL else ''} | {'; '.join(end)} |")
    return "\n".join([_HEAD, *lines, "", "## Which verb is accepted when", "", _table(), ""])


def _table() -> str:
    head = "| status | " + " | ".join(f"`{verb}`" for verb in ALLOWED) + " |"
    rule = "| rule | " + " | ".join(rule for rule, _ in ALLOWED.values()) + " |"
    rows = [
        f"| {status} | " + " | ".join("yes" if status in statuses else "" for _, statuses in ALLOWED.values()) + " |"
        for status in Status
    ]
    return "\n".join([head, "|---" * (len(ALLOWED) + 1) + "|", rule, *rows])


def picture() -> str:
    """The usual ways as SVG. Raises `KeyError` for one that the table does not have."""
    size = "width='915' height='360' viewBox='0 0 915 360'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img'><title>The statuses of an execution</title>"
    background = "<rect width='915' height='360' fill='#fff'/>"
    ways = [_way(before, after) for before, after in _DRAWN]
    return "\n".join([head, background, *ways, *map(_box, Status), "</svg>"]) + "\n"


def _way(before: Status, after: Status) -> str:
    """An arrow from box to box, with the rules of the table beside it."""
    (x1, y1), (x2, y2) = _PLACES[before], _PLACES[after]
    length = hypot(x2 - x1, y2 - y1)
    along, across = ((x2 - x1) / length, (y2 - y1) / length), (-(y2 - y1) / length, (x2 - x1) / length)
    aside = 9 if (after, before) in _DRAWN else 0
    x1, y1, x2, y2 = (value + aside * across[at % 2] for at, value in enumerate((x1, y1, x2, y2)))
    x2, y2 = x2 - along[0] * _to_edge(along), y2 - along[1] * _to_edge(along)
    why = TRANSITIONS[before][after]
    label = why.partition("(")[2].partition(")")[0].split(", and")[0] or why.removeprefix("the ")
    x, y = (x1 + x2) / 2 + along[0] * _to_edge(along) / 2, (y1 + y2) / 2 + along[1] * _to_edge(along) / 2
    width = 7 * len(label) + 4
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='#8a8a8a' stroke-width='1.5'/>"
        f"<path d='M0 0L-11 -5L-11 5z' fill='#8a8a8a' transform='translate({x2:.1f} {y2:.1f}) "
        f"rotate({degrees(atan2(along[1], along[0])):.1f})'/>"
        f"<rect x='{x - width / 2:.1f}' y='{y - 7:.1f}' width='{width}' height='14' fill='#fff'/>"
        f"<text x='{x:.1f}' y='{y + 4:.1f}' fill='#555' font-size='11' "
        f"text-anchor='middle' {_FONT}>{escape(label)}</text>"
    )


def _to_edge(along: tuple[float, float]) -> float:
    """How far the edge of a box is from its middle, in a direction."""
    sides = [half / abs(part) for half, part in zip((_WIDTH / 2, _HEIGHT / 2), along, strict=True) if abs(part) > 1e-9]
    return min(sides) + 2


def _box(status: Status) -> str:
    x, y = _PLACES[status]
    border = "#222" if status in TERMINAL else "#1d6fb8"
    left, top = x - _WIDTH / 2, y - _HEIGHT / 2
    return (
        f"<rect x='{left:g}' y='{top:g}' width='{_WIDTH}' height='{_HEIGHT}' rx='{_HEIGHT // 2}' fill='#fff' "
        f"stroke='{border}' stroke-width='{2.5 if status in TERMINAL else 1.5}'/>"
        f"<text x='{x:g}' y='{y + 5:g}' fill='#222' font-size='14' text-anchor='middle' {_FONT}>{status}</text>"
    )


if __name__ == "__main__":
    (HERE / "states.md").write_text(page(), encoding="utf-8")
    (HERE / "pictures" / "states.svg").write_text(picture(), encoding="utf-8")

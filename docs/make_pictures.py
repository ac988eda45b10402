"""Draw the pictures from the law and from a page: `python docs/make_pictures.py` writes docs/pictures/*.svg.

The cascades are what the law's own check and `decide` say of a small tree on two engines; the live tree is what a
terminal on the page of trees shows.
"""

from __future__ import annotations

import re
from collections.abc import Container
from html import escape
from math import atan2, degrees
from pathlib import Path
from typing import NamedTuple

from flowbridge.capabilities import Capabilities, Cascade
from flowbridge.law.decide import Action, Line, decide
from flowbridge.law.fold import settle
from flowbridge.law.verbs import Effect, apply, check_pause, check_resume
from flowbridge.model import EngineState, Node, Record, Ref, Snapshot, Status, Verb, Want

HERE = Path(__file__).parent
FOLDER = HERE / "pictures"

_FACTS = {
    "memory": Capabilities(verbs=frozenset(Verb), cascades=frozenset({Cascade.PAUSE_DOWN, Cascade.RESUME_DOWN})),
    "chains": Capabilities(verbs=frozenset(Verb)),
}


class _Place(NamedTuple):
    """One execution of the example: its workflow, its parent's place, its engine, and where its box is drawn."""

    workflow: str
    parent: int
    engine: str
    column: float
    row: int


#: A release with a roll-out below it on the same engine, and chains under both.
_TREE = (
    _Place("release", -1, "memory", 1.5, 0),
    _Place("roll_out", 0, "memory", 0.75, 1),
    _Place("notes", 0, "chains", 2.5, 1),
    _Place("web1", 1, "chains", 0, 2),
    _Place("web2", 1, "memory", 1.25, 2),
    _Place("done", 1, "chains", 2.5, 2),
)
_NAMED, _DONE = 1, 5

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 190, 74, 24, 62
_COLOURS = {"bridge": "#1d6fb8", "engine": "#6b4fa0", "": "#7a7a7a"}
_FONT = "font-family='DejaVu Sans Mono, Menlo, Consolas, monospace'"


def pictures() -> dict[str, str]:
    """Each picture by its file's name."""
    return {"pause.svg": _pause(), "resume.svg": _resume(), "tree.svg": _terminal()}


def _pause() -> str:
    snapshot = _snapshot(Status.RUNNING)
    return _cascade("flowbridge pause roll_out", snapshot, check_pause(snapshot, _NAMED))


def _resume() -> str:
    snapshot = _snapshot(Status.PAUSED)
    return _cascade("flowbridge resume roll_out", snapshot, check_resume(snapshot, _NAMED, _FACTS, frozenset()))


def _snapshot(status: Status) -> Snapshot:
    """The example with everything in one status, but for a branch that has ended."""
    nodes = []
    for number, place in enumerate(_TREE):
        shown = Status.SUCCEEDED if number == _DONE else status
        native = place.parent < 0 or _TREE[place.parent].engine == place.engine
        want = Want.HOLD if shown is Status.PAUSED else Want.RUN
        record = Record(
            str(number), "0", Ref(place.engine, str(number)), place.workflow, native=native, want=want, status=shown
        )
        nodes.append(Node(record, place.parent, EngineState(str(shown)), revision="1"))
    return Snapshot(tuple(nodes))


def _cascade(command: str, snapshot: Snapshot, effect: Effect) -> str:
    """A tree with what the plan says of each execution, and the ways that the verb takes."""
    after = settle(apply(snapshot, effect, "ada"), _FACTS).snapshot
    lines = decide(apply(snapshot, effect, "ada"), _FACTS).lines
    parts = [_edge(number, effect.wants) for number in range(1, len(_TREE))]
    for number, line in enumerate(lines):
        parts += _box(number, line, snapshot.nodes[number].record.status, after.nodes[number].record.status)
    right, bottom = (max(_corner(number)[axis] for number in range(len(_TREE))) for axis in (0, 1))
    head = [_text(10, 22, f"$ {command}", "#222", 15)]
    return _svg(right + _WIDTH + 10, bottom + _HEIGHT + 10, command, head + parts)


def _edge(number: int, touched: Container[int]) -> str:
    """A line between a parent and its child; where the verb passes, an arrow in the direction in which it does."""
    parent = _TREE[number].parent
    (x1, y1), (x2, y2) = _corner(parent), _corner(number)
    ends = [(x1 + _WIDTH / 2, y1 + _HEIGHT + 2), (x2 + _WIDTH / 2, y2 - 4)]
    passes = parent in touched and number in touched
    if passes and number == _NAMED:
        ends.reverse()
    (x1, y1), (x2, y2) = ends
    look = "stroke='#1d6fb8' stroke-width='2.5'" if passes else "stroke='#bbb' stroke-width='1.5'"
    line = f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' {look}/>"
    return line + _head(x1, y1, x2, y2) if passes else line


def _head(x1: float, y1: float, x2: float, y2: float) -> str:
    """The head of an arrow: a triangle, drawn at its end and turned with it."""
    angle = degrees(atan2(y2 - y1, x2 - x1))
    return f"<path d='M1 0L-12 -6L-12 6z' fill='#1d6fb8' transform='translate({x2:g} {y2:g}) rotate({angle:.1f})'/>"


def _box(number: int, line: Line, before: Status, after: Status) -> list[str]:
    """An execution: what it is, how its status changes at once, and who does what to it."""
    place, (x, y) = _TREE[number], _corner(number)
    colour = _COLOURS[line.by]
    border = f"stroke='{colour}' stroke-width='{3 if number == _NAMED else 1.5}'"
    status = str(before) if before is after else f"{before} > {after}"
    return [
        f"<rect x='{x:g}' y='{y:g}' width='{_WIDTH}' height='{_HEIGHT}' rx='6' fill='#fff' {border}/>",
        _text(x + 10, y + 21, f"{place.workflow}  ({place.engine})", "#222"),
        _text(x + 10, y + 42, status, "#222"),
        _text(x + 10, y + 63, _said(line), colour),
    ]


def _said(line: Line) -> str:
    if line.action is Action.LEAVE:
        return "left alone"
    return f"{line.action} by " + {"bridge": "the bridge", "engine": "its engine"}[line.by]


def _corner(number: int) -> tuple[float, float]:
    place = _TREE[number]
    return 10 + place.column * (_WIDTH + _GAP_X), 40 + place.row * (_HEIGHT + _GAP_Y)


#: The colours of words in a terminal.
_WORDS = {"running": "#7db8f0", "paused": "#e6c35c", "succeeded": "#8fce7f", "errored": "#f08a80", "waiting": "#aaa"}
_LINE, _CHARACTER = 20, 7.85


def _terminal() -> str:
    """The first tree that the page of trees shows, as a terminal shows it."""
    page = (HERE / "trees.md").read_text(encoding="utf-8")
    shown = page.split("```console\n$ flowbridge tree last\n", 1)[1].split("```", 1)[0].splitlines()
    lines = ["$ flowbridge tree last", *shown]
    width = 30 + max(map(len, lines)) * _CHARACTER
    height = 24 + len(lines) * _LINE
    parts = [f"<rect width='{width:g}' height='{height}' rx='8' fill='#22262b'/>"]
    parts += [_row(16, 28 + number * _LINE, line) for number, line in enumerate(lines)]
    return _svg(width, height, "a tree across engines", parts)


def _row(x: float, y: float, line: str) -> str:
    words = re.sub(
        rf"\b({'|'.join(_WORDS)})\b", lambda match: f"<tspan fill='{_WORDS[match[1]]}'>{match[1]}</tspan>", _kept(line)
    )
    return f"<text x='{x:g}' y='{y:g}' fill='#e4e4e4' font-size='13' {_FONT}>{words}</text>"


def _text(x: float, y: float, words: str, colour: str, size: int = 13) -> str:
    return f"<text x='{x:g}' y='{y:g}' fill='{colour}' font-size='{size}' {_FONT}>{_kept(words)}</text>"


def _kept(words: str) -> str:
    """Text whose spaces are all shown: viewers differ in what they make of several."""
    return escape(words, quote=False).replace(" ", "\N{NO-BREAK SPACE}")


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    size = f"width='{width:g}' height='{height:g}' viewBox='0 0 {width:g} {height:g}'"
    opening = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img'><title>{escape(title)}</title>"
    return "\n".join([opening, *parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, drawn in pictures().items():
        (FOLDER / name).write_text(drawn, encoding="utf-8")

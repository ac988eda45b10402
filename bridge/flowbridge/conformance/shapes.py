"""The workflows that the rules are tried on, as data that belongs to no engine's language.

A step is a gate unless it says otherwise: a leaf task that runs until the test releases it with an outcome.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One task. It starts after the success of every task in `after` (any of them, unless `join`).

    `runs` is "gate" (a leaf that the test releases), "nothing" (a leaf that ends at once), or the name of another flow
    of the shape (a sub-workflow). `items` makes it a with-items task over that many items, at most `at_once` of them
    running. `on_error_of` names a task whose error this one handles. `pause_before` makes the workflow pause itself
    when it comes to this task; `wait_before` delays it by that many seconds.
    """

    name: str
    runs: str = "gate"
    after: tuple[str, ...] = ()
    join: bool = False
    items: int | None = None
    at_once: int | None = None
    on_error_of: str = ""
    pause_before: bool = False
    wait_before: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """One workflow: its tasks."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """Some workflows that belong together; the first one is started. `about` is what they are for, in a few words."""

    name: str
    flows: tuple[Flow, ...]
    about: str = ""


def _shape(name: str, about: str, *flows: Flow) -> Shape:
    return Shape(name, flows, about)


CHAIN = _shape(
    "chain", "one task after the other", Flow("main", (Step("a"), Step("b", after=("a",)), Step("c", after=("b",))))
)

FORK = _shape(
    "fork",
    "two tasks beside each other that come together",
    Flow("main", (Step("a"), Step("b"), Step("j", after=("a", "b"), join=True))),
)

NESTED = _shape(
    "nested",
    "three levels deep, with a gate at each",
    Flow("main", (Step("left", "mid"), Step("right"), Step("last", after=("left",)))),
    Flow("mid", (Step("inner", "low"), Step("peer"))),
    Flow("low", (Step("deep"),)),
)

TWINS = _shape(
    "twins",
    "two sub-workflows beside each other, with a task behind one of them",
    Flow("main", (Step("one", "leaf"), Step("two", "leaf"), Step("next", after=("one",)))),
    Flow("leaf", (Step("c"), Step("d", after=("c",)))),
)

ONLY = _shape(
    "only",
    "one sub-workflow alone under its parent",
    Flow("main", (Step("one", "leaf"), Step("next", after=("one",)))),
    Flow("leaf", (Step("c"), Step("d", after=("c",)))),
)

ITEMS = _shape("items", "a with-items task", Flow("main", (Step("t", items=3), Step("next", after=("t",)))))

SERIAL = _shape(
    "serial", "items that run one at a time", Flow("main", (Step("t", items=3, at_once=1), Step("next", after=("t",))))
)

MANY = _shape(
    "many",
    "a sub-workflow for each item",
    Flow("main", (Step("t", "leaf", items=3), Step("next", after=("t",)))),
    Flow("leaf", (Step("c"),)),
)

HANDLED = _shape(
    "handled",
    "a parent that handles the error of its child",
    Flow("main", (Step("one", "leaf"), Step("rescue", "nothing", on_error_of="one"))),
    Flow("leaf", (Step("c"),)),
)

SELF_PAUSED = _shape(
    "self_paused",
    "a workflow that pauses itself, inside another one that has a gate of its own",
    Flow("main", (Step("one", "leaf"), Step("beside"))),
    Flow("leaf", (Step("first"), Step("h", after=("first",), pause_before=True))),
)

DELAYED = _shape(
    "delayed", "a task that waits a while", Flow("main", (Step("a"), Step("d", after=("a",), wait_before=2)))
)

LATE = _shape(
    "late",
    "a sub-workflow that is born only when a gate opens",
    Flow("main", (Step("a"), Step("one", "leaf", after=("a",)), Step("b"))),
    Flow("leaf", (Step("c"),)),
)

JOINED = _shape(
    "joined",
    "a sub-workflow and a task that come together",
    Flow("main", (Step("one", "leaf"), Step("b"), Step("j", after=("one", "b"), join=True))),
    Flow("leaf", (Step("c"), Step("d", after=("c",)))),
)

ALL = (CHAIN, FORK, NESTED, TWINS, ONLY, ITEMS, SERIAL, MANY, HANDLED, SELF_PAUSED, DELAYED, LATE, JOINED)

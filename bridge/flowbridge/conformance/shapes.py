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
    """Some workflows that belong together; the first one is started."""

    name: str
    flows: tuple[Flow, ...]


def _shape(name: str, *flows: Flow) -> Shape:
    return Shape(name, flows)


CHAIN = _shape("chain", Flow("main", (Step("a"), Step("b", after=("a",)), Step("c", after=("b",)))))

FORK = _shape("fork", Flow("main", (Step("a"), Step("b"), Step("j", after=("a", "b"), join=True))))

#: Three levels deep, a peer gate at every level: main.left -> mid.inner -> low.deep.
NESTED = _shape(
    "nested",
    Flow("main", (Step("left", "mid"), Step("right"), Step("last", after=("left",)))),
    Flow("mid", (Step("inner", "low"), Step("peer"))),
    Flow("low", (Step("deep"),)),
)

#: Two sub-workflows beside each other, with a task behind one of them.
TWINS = _shape(
    "twins",
    Flow("main", (Step("one", "leaf"), Step("two", "leaf"), Step("next", after=("one",)))),
    Flow("leaf", (Step("c"), Step("d", after=("c",)))),
)

#: One sub-workflow alone under its parent.
ONLY = _shape(
    "only",
    Flow("main", (Step("one", "leaf"), Step("next", after=("one",)))),
    Flow("leaf", (Step("c"), Step("d", after=("c",)))),
)

ITEMS = _shape("items", Flow("main", (Step("t", items=3), Step("next", after=("t",)))))

#: Items that run one at a time.
SERIAL = _shape("serial", Flow("main", (Step("t", items=3, at_once=1), Step("next", after=("t",)))))

#: A sub-workflow for each item.
MANY = _shape(
    "many", Flow("main", (Step("t", "leaf", items=3), Step("next", after=("t",)))), Flow("leaf", (Step("c"),))
)

#: A parent that handles the error of its child.
HANDLED = _shape(
    "handled",
    Flow("main", (Step("one", "leaf"), Step("rescue", "nothing", on_error_of="one"))),
    Flow("leaf", (Step("c"),)),
)

#: A workflow that pauses itself, inside another one that has a gate of its own.
SELF_PAUSED = _shape(
    "self_paused",
    Flow("main", (Step("one", "leaf"), Step("beside"))),
    Flow("leaf", (Step("first"), Step("h", after=("first",), pause_before=True))),
)

DELAYED = _shape("delayed", Flow("main", (Step("a"), Step("d", after=("a",), wait_before=2))))

#: A sub-workflow that is born only when a gate opens.
LATE = _shape(
    "late", Flow("main", (Step("a"), Step("one", "leaf", after=("a",)), Step("b"))), Flow("leaf", (Step("c"),))
)

#: A sub-workflow and a task that come together.
JOINED = _shape(
    "joined",
    Flow("main", (Step("one", "leaf"), Step("b"), Step("j", after=("one", "b"), join=True))),
    Flow("leaf", (Step("c"), Step("d", after=("c",)))),
)

ALL = (CHAIN, FORK, NESTED, TWINS, ONLY, ITEMS, SERIAL, MANY, HANDLED, SELF_PAUSED, DELAYED, LATE, JOINED)

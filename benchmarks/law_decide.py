"""settle() and decide() on trees of 1,000, 10,000 and 100,000 executions: seconds, and time for each execution.

Run it as `python benchmarks/law_decide.py`. The last column is the time for one execution as a ratio to that in the
smallest tree: 1 is linear.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flowbridge.capabilities import Capabilities, Cascade
from flowbridge.law.decide import decide
from flowbridge.law.fold import settle
from flowbridge.law.verbs import apply, check_pause
from flowbridge.model import EngineState, Node, Record, Ref, Snapshot, Status, TaskLook, TaskStatus, Verb

FACTS = {
    "plain": Capabilities(verbs=frozenset(Verb)),
    "eager": Capabilities(verbs=frozenset(Verb), cascades=frozenset(Cascade)),
}
TASKS = (TaskLook("1", "one", TaskStatus.SUCCEEDED), TaskLook("2", "two", TaskStatus.RUNNING, active=True))


def grown(count: int) -> Snapshot:
    """A running tree in which every execution has up to four children, every other one linked by the bridge."""
    nodes = []
    for place in range(count):
        native = place % 2 == 0
        ref = Ref("eager" if place % 3 else "plain", str(place))
        record = Record(
            str(place),
            "t",
            ref,
            native=native,
            status=Status.RUNNING,
            seen=EngineState.RUNNING,
            key="" if native else "k",
        )
        parent = (place - 1) // 4 if place else -1
        nodes.append(Node(record, parent, EngineState.RUNNING, "r", tasks=TASKS))
    return Snapshot(tuple(nodes))


def _fastest(work: Callable[[], object]) -> float:
    found = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    """Print the table."""
    print(f"{'executions':>10}  {'settle s':>9}  {'decide s':>9}  {'both, us each':>13}  {'ratio':>5}")
    first = 0.0
    for count in (1_000, 10_000, 100_000):
        snapshot = grown(count)
        held = apply(snapshot, check_pause(snapshot, 0), "me")
        settling = _fastest(lambda held=held: settle(held, FACTS))  # type: ignore[misc]
        settled = settle(held, FACTS).snapshot
        deciding = _fastest(lambda settled=settled: decide(settled, FACTS))  # type: ignore[misc]
        each = (settling + deciding) / count * 1e6
        first = first or each
        print(f"{count:>10,}  {settling:>9.3f}  {deciding:>9.3f}  {each:>13.1f}  {each / first:>5.2f}")


if __name__ == "__main__":
    main()

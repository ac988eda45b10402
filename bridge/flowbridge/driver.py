"""The driver process: `python -m flowbridge.driver TREE` goes on looking at one tree until nothing of it moves.

It is started by the bridge for a tree that links engines. Killed at any point it loses nothing: the next one begins
with a look.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from flowbridge.bridge import Bridge
from flowbridge.errors import FlowbridgeError, LedgerError, NotFound
from flowbridge.law.driving import awaits_driver
from flowbridge.law.tables import ACTIVE
from flowbridge.sync import Pass

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0


def main(arguments: list[str]) -> int:
    """Drive one tree. Gives 0 when nothing of it moves any more, an error's exit code otherwise."""
    (tree,) = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Bridge() as bridge:
            drive(bridge, tree)
    except FlowbridgeError as error:
        sys.stderr.write(f"driver of {tree}: {error.message}\n")
        return error.exit_code
    return 0


def drive(bridge: Bridge, tree: str) -> None:
    """Look and act until nothing of a tree moves by itself, or somebody else drives it.

    Raises `LedgerError` and `NotFound` (the tree was pruned); any other trouble is left for the next look.
    """
    lease = bridge.drivers.take(tree, f"the driver of {tree} (process {os.getpid()})")
    sent: set[tuple[str, str]] = set()
    wait, last = _FIRST_WAIT, -1
    while lease is not None and bridge.ledger.leases.keep(lease):
        try:
            if is_over(bridge.tend([tree], sent)[tree]):
                break
        except (LedgerError, NotFound):
            raise
        except FlowbridgeError as error:
            sys.stderr.write(f"driver of {tree}: {error.message}\n")
        news = bridge.ledger.operations.last(tree)
        wait, last = (_FIRST_WAIT if news != last else min(wait * 1.5, _LONGEST_WAIT)), news
        time.sleep(wait)
    if lease is not None:
        bridge.ledger.leases.give(lease)


def is_over(found: Pass) -> bool:
    """Whether nothing of a tree moves by itself: all of it has ended, is paused or is abandoned, and told."""
    active = any(node.record.status in ACTIVE and not node.record.gone for node in found.snapshot.nodes)
    return not active and not awaits_driver(found.snapshot)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

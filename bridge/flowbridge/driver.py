"""The driver process: `python -m flowbridge.driver TREE` goes on looking at one tree until nothing of it moves.

It is started by the bridge for a tree that links engines. Killed at any point it loses nothing: the next one begins
with a look.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from flowbridge.bridge import Bridge
from flowbridge.errors import FlowbridgeError, NotFound
from flowbridge.law.driving import awaits_driver
from flowbridge.law.tables import ACTIVE
from flowbridge.model import Snapshot
from flowbridge.sending import Sent

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
    """Look and act until nothing of a tree moves by itself. While somebody else drives it (a watch), stand by.

    Raises `NotFound` where the tree was pruned; any other trouble is left for the next look.
    """
    while _drive_as_the_only_one(bridge, tree) and not is_over(bridge.known(tree)):
        pass  # whoever set the tree going just before the driver left saw that there is one, and began none


def _drive_as_the_only_one(bridge: Bridge, tree: str) -> bool:
    """Drive a tree until nothing of it moves, and be its driver no more; False where there is a driver already."""
    leases = bridge.ledger.leases
    standby = bridge.drivers.stand_by(tree, f"the driver of {tree} (process {os.getpid()})")
    if standby is None:
        return False
    try:
        with bridge.drivers.driving(tree, f"the driver of {tree} (process {os.getpid()})") as keep:
            _drive(bridge, tree, lambda: leases.keep(standby) and keep())
    finally:
        leases.give(standby)
    return True


def _drive(bridge: Bridge, tree: str, keep: Callable[[], object]) -> None:
    sent = Sent()
    wait, last = _FIRST_WAIT, -1
    while True:
        news = last
        try:
            over = not keep() or is_over(bridge.tend([tree], sent.lately())[tree].snapshot)
            if over and is_over(bridge.known(tree)):  # a look that was overtaken may be older than what is known
                return
            news = bridge.ledger.operations.last(tree)
        except NotFound:
            raise
        except FlowbridgeError as error:
            sys.stderr.write(f"driver of {tree}: {error.message}\n")
        wait, last = (_FIRST_WAIT if news != last else min(wait * 1.5, _LONGEST_WAIT)), news
        time.sleep(wait)


def is_over(snapshot: Snapshot) -> bool:
    """Whether nothing of a tree moves by itself: all of it has ended, is paused or is abandoned, and told."""
    active = any(node.record.status in ACTIVE and not node.record.gone for node in snapshot.nodes)
    return not active and not awaits_driver(snapshot)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

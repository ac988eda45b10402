"""The driver process: `python -m flowbridge.driver TREE` goes on looking at one tree until nothing of it moves.

It is started by the bridge for a tree that links engines. Killed at any point it loses nothing: the next one begins
with a look.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable

from flowbridge.bridge import Bridge
from flowbridge.drivers import late_since
from flowbridge.errors import FlowbridgeError, NotFound
from flowbridge.law.driving import awaits_driver
from flowbridge.law.tables import ACTIVE
from flowbridge.model import Snapshot
from flowbridge.sending import Sent

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0

#: The same where nothing is left but what may still arrive after its cancel.
_RARE_WAIT = 10.0


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
    wait, last, longest = _FIRST_WAIT, -1, _LONGEST_WAIT
    while True:
        news = last
        try:
            found = bridge.tend([tree], sent.lately())[tree].snapshot if keep() else None
            longest = _LONGEST_WAIT if found is None or _moves(found) else _RARE_WAIT
            # A look that was overtaken may be older than what is known.
            if (found is None or is_over(found)) and is_over(bridge.known(tree)):
                return
            news = bridge.ledger.operations.last(tree)
        except NotFound:
            raise
        except FlowbridgeError as error:
            sys.stderr.write(f"driver of {tree}: {error.message}\n")
        wait, last = (_FIRST_WAIT if news != last else min(wait * 1.5, longest)), news
        time.sleep(wait)


def is_over(snapshot: Snapshot) -> bool:
    """Whether nothing of a tree moves by itself: all of it has ended, is paused or is abandoned, and told, and nothing
    was asked for lately that may still arrive."""
    return not _moves(snapshot) and not awaits_driver(snapshot, since=late_since())


def _moves(snapshot: Snapshot) -> bool:
    """Whether more is waited for than what may still arrive after its cancel."""
    active = any(node.record.status in ACTIVE and not node.record.gone for node in snapshot.nodes)
    return active or awaits_driver(snapshot, since=math.inf)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

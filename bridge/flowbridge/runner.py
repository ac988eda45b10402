"""The runner process: `python -m flowbridge.runner INSTANCE ROOT TOKEN` drives one local run until it is settled.

It is started by the bridge, which took the run's lease for it; the environment leads it to the same ledger. It
ignores the terminal's interrupt: stopping a watch never stops the work.
"""

from __future__ import annotations

import os
import signal
import sys

from flowbridge import deaths
from flowbridge.bridge import Bridge
from flowbridge.errors import FlowbridgeError, InvalidInput
from flowbridge.ledger.leases import Lease, runner_of
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref
from flowbridge.runners import drive, lease_for


def main(arguments: list[str]) -> int:
    """Drive one run. Gives 0 when it is settled, an error's exit code otherwise."""
    instance, root_id, token = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    root = Ref(instance, root_id)
    try:
        # Nobody waits for this process: a run is not to die of a ledger that somebody keeps locked.
        with Bridge(durable=False) as bridge, bridge.ledger.database.patient():
            lease = lease_for(root, token)
            # Whoever started this process may have died before it could say who holds the lease now.
            if bridge.ledger.leases.hand_over(lease, os.getpid(), runner_of(root, os.getpid())):
                _drive(bridge, root, lease)
                _write_down(bridge, root)
    except FlowbridgeError as error:
        sys.stderr.write(f"runner of {root}: {error.message}\n")
        return error.exit_code
    return 0


def _drive(bridge: Bridge, root: Ref, lease: Lease) -> None:
    database = bridge.ledger.database
    try:
        drive(database, _local(bridge, root.backend), root, lease)
    except Exception as error:
        # Nobody waits for this process: the history is where its end is looked for, beside the log.
        deaths.write_down(database, bridge.ledger.vault, root, error)
        raise


def _local(bridge: Bridge, instance: str) -> LocalBackend:
    backend = bridge.instances.get(instance)
    if not isinstance(backend, LocalBackend):
        raise InvalidInput(f"{instance} is not a local engine: it needs no runner")
    return backend


def _write_down(bridge: Bridge, root: Ref) -> None:
    """Bring the records up to how the run stands, so that a list is right without a look."""
    record = bridge.ledger.executions.current(root)
    if record is not None:
        bridge.get(record.id)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What an engine itself has, whoever started it. Stands apart from the facade so that it costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

from flowbridge.backend import Listed
from flowbridge.instances import Instances
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import Record


def engine_list(
    instances: Instances, ledger: Ledger, backend: str, *, limit: int, state: str | None
) -> Sequence[tuple[Listed, Record | None]]:
    """The root executions that an engine has, newest first, each with its record where the ledger has one.

    `state` is one of `model.EngineState`, or the engine's own word. Raises `Unavailable`, `InvalidInput`.
    """
    members = instances.get(backend).list_executions(limit=limit, state=state)
    return [(member, ledger.executions.current(member.ref)) for member in members]

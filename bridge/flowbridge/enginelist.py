"""What an engine itself has, whoever started it. Stands apart from the facade so that it costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

from flowbridge.backend import Listed
from flowbridge.instances import Instances
from flowbridge.ledger.executions import Executions
from flowbridge.model import Record


def engine_list(
    instances: Instances, executions: Executions, backend: str, *, limit: int, state: str | None
) -> Sequence[tuple[Listed, Record | None]]:
    """The root executions that an engine has, newest first, each with its record where the ledger has one.

    `state` is one of `model.EngineState`, or the engine's own word. Raises `Unavailable`, `InvalidInput`.
    """
    members = list(instances.get(backend).list_executions(limit=limit, state=state))
    known = executions.currents([member.ref for member in members])
    return [(member, known.get(member.ref)) for member in members]

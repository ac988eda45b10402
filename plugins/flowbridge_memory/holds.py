"""Pausing by the law: down to the descendants, up to the ancestors, over to the peers."""

from __future__ import annotations

from flowbridge.capabilities import Cascade
from flowbridge.model import EngineState
from flowbridge_memory.state import Run
from flowbridge_memory.world import World, ancestors


def pause_tree(world: World, run: Run, reason: str = "") -> None:
    """Pause an execution and, as the engine cascades, its ancestors, peers and descendants (P2, P3, P7)."""
    reached = {run.number: run}
    if Cascade.PAUSE_UP in world.cascades:
        reached |= {found.number: found for found in ancestors(run)}
    if Cascade.PAUSE_DOWN in world.cascades:
        reached |= {found.number: found for top in list(reached.values()) for found in world.descendants(top)}
    for found in reached.values():
        if found.state in (EngineState.RUNNING, EngineState.REQUESTED):
            if found is run:
                found.error = reason
            world.move(found, EngineState.PAUSED)

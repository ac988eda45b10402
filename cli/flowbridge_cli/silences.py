"""Engines that do not answer, in words."""

from __future__ import annotations

import time

from flowbridge.bridge import Bridge
from flowbridge.looks import Look
from flowbridge_cli.drawing import span
from flowbridge_cli.output import note


def tell_silence(bridge: Bridge, look: Look) -> bool:
    """Name on stderr the engines that did not answer, with the age of what is shown instead; whether there are any."""
    for instance, why in look.silent.items():
        seen = last_seen(look, instance)
        age = (
            f"what was seen {span(time.time() - seen)} ago"
            if seen
            else "what is written down: nothing was seen there yet"
        )
        note(f"{unanswered(bridge, instance, why)}; this is {age}")
    return bool(look.silent)


def unanswered(bridge: Bridge, instance: str, why: str) -> str:
    """That an engine was not heard of, and why. One that is not configured was not asked."""
    why = why.rstrip(".")
    if instance not in bridge.instances.names():
        return f"{instance} cannot be asked: {why}"
    named = why.startswith((f"{instance} ", f"{instance}:"))  # most engines' words begin with it
    return why if named else f"{instance} does not answer: {why}"


def last_seen(look: Look, instance: str) -> float:
    """When an instance last showed all that it has of a tree, in seconds since the epoch; 0.0 where it never did.

    What it never showed is not there: a child that was canceled before its start, or that is yet to be started.
    """
    looked = [node.record.looked for node in look.snapshot.nodes if node.record.ref.backend == instance]
    return min(filter(None, looked), default=0.0)

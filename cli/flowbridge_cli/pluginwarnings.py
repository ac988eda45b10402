"""What went wrong with hook plugins, as warnings: they take no command down."""

from __future__ import annotations

from flowbridge.bridge import Bridge
from flowbridge_cli.output import note


def tell_of_plugins(bridge: Bridge) -> None:
    """Name the plugins that did not load, and those that failed so far."""
    for plugin in bridge.hooks.broken:
        note(f"warning: plugin {plugin.name} ({plugin.value}) does not load: {plugin.problem}")
    tell_of_failures(bridge)


def tell_of_failures(bridge: Bridge) -> None:
    """Name the plugins that failed since this was last told, each failure once."""
    problems = bridge.hooks.problems
    while problems:
        note(f"warning: {problems.pop(0)}")

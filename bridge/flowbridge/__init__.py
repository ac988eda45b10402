"""flowbridge: one law for the executions of many workflow engines.

The public names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowbridge._version import __version__

if TYPE_CHECKING:
    from flowbridge.backend import Backend as Backend
    from flowbridge.backend import Definition as Definition
    from flowbridge.backend import Target as Target
    from flowbridge.bridge import Bridge as Bridge
    from flowbridge.capabilities import Capabilities as Capabilities
    from flowbridge.catalog import CatalogEntry as CatalogEntry
    from flowbridge.checks import RerunRequest as RerunRequest
    from flowbridge.config import Config as Config
    from flowbridge.errors import FlowbridgeError as FlowbridgeError
    from flowbridge.hookspecs import hookimpl as hookimpl
    from flowbridge.ledger.executions import Filter as Filter
    from flowbridge.local import Session as Session
    from flowbridge.localbackend import LocalBackend as LocalBackend
    from flowbridge.looks import Look as Look
    from flowbridge.model import Status as Status
    from flowbridge.model import Verb as Verb
    from flowbridge.outcome import Outcome as Outcome

_HOME = {
    "Backend": "backend",
    "Bridge": "bridge",
    "Capabilities": "capabilities",
    "CatalogEntry": "catalog",
    "Config": "config",
    "Definition": "backend",
    "Filter": "ledger.executions",
    "FlowbridgeError": "errors",
    "LocalBackend": "localbackend",
    "Look": "looks",
    "Outcome": "outcome",
    "RerunRequest": "checks",
    "Session": "local",
    "Status": "model",
    "Target": "backend",
    "Verb": "model",
    "hookimpl": "hookspecs",
}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604  the names are the table's


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flowbridge' has no attribute {name!r}")
    return getattr(import_module(f"flowbridge.{_HOME[name]}"), name)

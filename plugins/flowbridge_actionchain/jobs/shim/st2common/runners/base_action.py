"""The class that the action of a python script is one of."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from typing import Any


class PackConfig(dict):  # type: ignore[type-arg]  # as older interpreters read it
    """The configuration of a pack. A key that is not there is named together with the pack."""

    pack = ""

    def __missing__(self, key: str) -> Any:
        raise ValueError(
            f"the configuration of pack {self.pack!r} has no {key!r}; write it to configs/{self.pack}.yaml"
        )


class Action(ABC):
    """An action: `run` does the work, with the action's parameters by name.

    `config` is the pack's configuration, `logger` writes to stderr, `action_service` reads the datastore. What `run`
    returns is the result, or a pair of whether it succeeded and the result.
    """

    description: str | None = None

    def __init__(self, config: dict[str, Any] | None = None, action_service: Any = None) -> None:
        self.config = PackConfig(config or {})
        self.config.pack = getattr(action_service, "pack", "")
        self.action_service = action_service
        self.logger = _logger(type(self).__name__, getattr(action_service, "log_level", "DEBUG"))

    @abstractmethod
    def run(self, **kwargs: Any) -> Any:
        """Do the work."""


def _logger(name: str, level: str) -> logging.Logger:
    logger = logging.getLogger(f"actions.python.{name}")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(name)s: %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel("CRITICAL" if level == "AUDIT" else level)
    return logger

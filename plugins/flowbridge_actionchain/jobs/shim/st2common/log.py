"""Loggers, as a script asks for them."""

from __future__ import annotations

from logging import getLogger

__all__ = ["getLogger"]

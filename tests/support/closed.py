"""A network that is closed, for replays."""

from __future__ import annotations

import socket
from typing import Any, NoReturn

import pytest


def close_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up, nothing is connected."""

    def closed(*arguments: Any, **options: Any) -> NoReturn:
        raise AssertionError(f"a replay reached for the network: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, closed)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, closed)

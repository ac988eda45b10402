"""Connections on which a call is over in time, however slowly its answer comes in.

The HTTP library limits each silence within an answer, and not the whole of it: a server that sends a byte now and then
would hold a call for ever. Here every read and every write keeps to what is left of the caller's time.
"""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING, Any

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from flowbridge.deadline import left

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def session() -> Session:
    """A session of the HTTP library whose connections keep to the caller's time."""
    opened = Session()
    for scheme in ("http://", "https://"):
        opened.mount(scheme, _Adapter())
    return opened


class BoundedSocket:
    """A connected socket that gives up when the caller's time is over. All else is the socket's own."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._silence = connected.gettimeout()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        """The longest silence."""
        self._silence = seconds

    def sendall(self, data: Any) -> None:
        """Send everything, or raise `TimeoutError`."""
        self.limit()
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the answer is read from."""
        return io.BufferedReader(_BoundedReader(self, self._socket.makefile(mode, buffering=0)))  # type: ignore[call-overload]

    def limit(self) -> None:
        """Have the next call on the socket end in time. Raises `TimeoutError` where there is no time left."""
        seconds = [time for time in (self._silence, left()) if time is not None]
        if seconds and min(seconds) <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(min(seconds, default=None))


class _BoundedReader(io.RawIOBase):
    def __init__(self, bounded: BoundedSocket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._bounded, self._raw = bounded, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._bounded.limit()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = BoundedSocket(self.sock)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = BoundedSocket(self.sock)


class Pool(HTTPConnectionPool):
    """Connections to one server."""

    ConnectionCls = _Connection


class SecurePool(HTTPSConnectionPool):
    """The same, over TLS."""

    ConnectionCls = _SecureConnection


_POOLS = {"http": Pool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

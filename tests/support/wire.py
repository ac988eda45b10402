"""Addresses at which the Mistral in memory answers, without a socket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import responses

from support.fake_mistral import FakeMistral

Answer = tuple[int, dict[str, str], str]

JSON = {"Content-Type": "application/json"}


class Heard(NamedTuple):
    """One request: its path begins behind `/v2/`."""

    method: str
    path: str
    query: dict[str, str]
    body: str

    @classmethod
    def of(cls, request: Any) -> Heard:
        """A prepared request of the HTTP library."""
        parts = urlsplit(request.url)
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        return cls(request.method, parts.path.removeprefix("/v2/"), dict(parse_qsl(parts.query)), body)


def answer(server: FakeMistral, heard: Heard) -> Answer:
    """What the server answers."""
    status, body = server.handle(*heard)
    return status, JSON, json.dumps(body)


@contextmanager
def wired(**addresses: Callable[[Heard], Answer]) -> Iterator[None]:
    """Requests to `http://NAME.example.org/v2` go to the function of that name. No other address answers."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for name, asked in addresses.items():
            for method in ("GET", "POST", "PUT"):
                mock.add_callback(method, re.compile(rf"http://{name}\.example\.org/v2/"), _callback(asked))
        yield


def _callback(asked: Callable[[Heard], Answer]) -> Callable[[Any], Answer]:
    return lambda request: asked(Heard.of(request))

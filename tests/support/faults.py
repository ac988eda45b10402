"""What can go wrong with one request, as the HTTP library shows it, in front of a Mistral in memory."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError

from support.fake_mistral import FakeMistral
from support.wire import JSON, Answer, Heard, answer

Fault = Callable[[FakeMistral, Heard], Answer]

HTML = {"Content-Type": "text/html"}


def refused(server: FakeMistral, heard: Heard) -> NoReturn:
    """Nobody listens: the request never gets there."""
    cause = NewConnectionError(None, "Failed to establish a new connection: [Errno 111] Connection refused")  # type: ignore[arg-type]
    raise requests.ConnectionError(MaxRetryError(None, heard.path, cause))  # type: ignore[arg-type]


def reset_within_the_body(server: FakeMistral, heard: Heard) -> NoReturn:
    """The server carries it out, and its answer breaks off with the connection."""
    server.handle(*heard)
    cause = ConnectionResetError(104, "Connection reset by peer")
    raise requests.exceptions.ChunkedEncodingError(ProtocolError(f"Connection broken: {cause!r}", cause))


def read_timeout(server: FakeMistral, heard: Heard) -> NoReturn:
    """The server takes it and says nothing; it will not do it."""
    raise requests.ReadTimeout(ReadTimeoutError(None, heard.path, "Read timed out. (read timeout=30)"))  # type: ignore[arg-type]


def answer_lost(server: FakeMistral, heard: Heard) -> NoReturn:
    """The server carries it out, and the connection is gone before a word came back."""
    server.handle(*heard)
    cause = ConnectionResetError(104, "Connection reset by peer")
    raise requests.ConnectionError(ProtocolError("Connection aborted.", cause))


def too_many(server: FakeMistral, heard: Heard) -> Answer:
    """429, and no word on when to come back."""
    return 429, HTML, "slow down"


def too_many_for_a_while(server: FakeMistral, heard: Heard) -> Answer:
    """429, to come back soon."""
    return 429, {**HTML, "Retry-After": "2"}, "slow down"


def too_many_for_long(server: FakeMistral, heard: Heard) -> Answer:
    """429, to come back when nobody waits any more."""
    return 429, {**HTML, "Retry-After": "3600"}, "slow down"


def server_fault(server: FakeMistral, heard: Heard) -> Answer:
    """500 in the engine's own words."""
    words = "MessagingTimeout: Timed out waiting for a reply to message ID 1"
    return 500, JSON, json.dumps({"faultcode": "Server", "faultstring": words, "debuginfo": None})


def bad_gateway(server: FakeMistral, heard: Heard) -> Answer:
    """502 in a proxy's words."""
    return 502, HTML, "<html><body><h1>502 Bad Gateway</h1></body></html>"


def truncated(server: FakeMistral, heard: Heard) -> Answer:
    """The server carries it out; what arrives is a whole answer with half of the JSON."""
    status, headers, body = answer(server, heard)
    return status, headers, body[: len(body) // 2]


def a_list(server: FakeMistral, heard: Heard) -> Answer:
    """A success that is JSON and no object."""
    return 200, JSON, "[1, 2]"


def an_empty_object(server: FakeMistral, heard: Heard) -> Answer:
    """A success without anything that was asked for."""
    return 200, JSON, "{}"


def other_values(server: FakeMistral, heard: Heard) -> Answer:
    """A success with the right names and values of other types."""
    _, headers, body = answer(copy.deepcopy(server), heard)
    return 200, headers, json.dumps(dict.fromkeys(json.loads(body), 7))


def other_values_within(server: FakeMistral, heard: Heard) -> Answer:
    """The same one level deeper, where there is one."""
    _, headers, body = answer(copy.deepcopy(server), heard)
    return 200, headers, json.dumps({key: _wrong(value) for key, value in json.loads(body).items()})


def changed_nothing(server: FakeMistral, heard: Heard) -> Answer:
    """The answer of a success, and nothing behind it."""
    return answer(copy.deepcopy(server), heard)


#: Every fault; those that are no fault of the network or of a busy server are the server's for good.
FAULTS: Mapping[str, Fault] = {
    fault.__name__: fault
    for fault in (
        refused,
        reset_within_the_body,
        read_timeout,
        answer_lost,
        too_many,
        too_many_for_a_while,
        too_many_for_long,
        server_fault,
        bad_gateway,
        truncated,
        a_list,
        an_empty_object,
        other_values,
        other_values_within,
        changed_nothing,
    )
}


@dataclass
class Line:
    """The way to a server. From the `first` request on, `many` meet the fault; they are counted from one.

    `heard` are the requests that were answered, each with its status code.
    """

    server: FakeMistral
    fault: Fault | None = None
    first: int = 0
    many: int = 1
    count: int = 0
    heard: list[tuple[Heard, int]] = field(default_factory=list)

    def __call__(self, heard: Heard) -> Answer:
        self.count += 1
        met = self.first <= self.count < self.first + self.many
        made = self.fault(self.server, heard) if self.fault and met else answer(self.server, heard)
        self.heard.append((heard, made[0]))
        return made


def _wrong(value: Any) -> Any:
    if isinstance(value, list):
        return [dict.fromkeys(part, 7) if isinstance(part, dict) else 7 for part in value]
    return dict.fromkeys(value, 7) if isinstance(value, dict) else value

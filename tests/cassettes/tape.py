"""How cassettes are recorded, scrubbed, replayed and compared. A recorded server is `mistral.example.org`, always."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import vcr
import yaml
from vcr.stubs.requests_stubs import VCRRequestsHTTPConnection

from flowbridge_mistral import transport

FOLDER = Path(__file__).parents[2] / "cassettes" / "mistral"

#: Where a recorded server says it is.
URL = "http://mistral.example.org/v2"

#: What the recorder's client authenticates with, so that a cassette which kept it would be found out.
TOKEN = "token-of-the-recorder"

#: Names and shapes of what a server or a client authenticates with, and addresses that only mean something here.
SECRET = re.compile(
    r"x-(auth|subject)-token|authorization|set-cookie|passw(or)?d|bearer |secret|api[-_]?key|gAAAAA|eyJ[\w-]{10,}\.|"
    rf"{TOKEN}|://[^/\s]*@",
    re.IGNORECASE,
)
LOOPBACK = re.compile(r"\b127\.\d+\.\d+\.\d+|localhost|0\.0\.0\.0|\[?::1\]?|:\d{4,5}/", re.IGNORECASE)

#: The server is called by this name where calls are recorded, and by its number where they are not.
HEARD, UNHEARD = "localhost", "127.0.0.1"

#: Our connections are classes of our own, which the recorder does not know.
_OURS = ((transport.Pool, "ConnectionCls", VCRRequestsHTTPConnection),)

_KEPT_OF_REQUEST = frozenset({"accept", "content-type"})
_KEPT_OF_RESPONSE = frozenset({"content-type", "retry-after"})
_ADDRESS = re.compile(rf"http://({re.escape(HEARD)}|{re.escape(UNHEARD)}):\d+")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?")


def recording(path: Path) -> Any:
    """A context in which each call to the heard address goes to the server and, scrubbed, into a new cassette."""
    path.unlink(missing_ok=True)
    recorder = vcr.VCR(
        record_mode="all",
        ignore_hosts=[UNHEARD],
        before_record_request=_scrub_request,
        before_record_response=_scrub_response,
        decode_compressed_response=True,
        record_on_exception=False,
        custom_patches=_OURS,
    )
    return recorder.use_cassette(str(path))


def replaying(path: Path) -> Any:
    """A context in which a cassette answers, each of its answers once, and nothing else is answered."""
    match = ["method", "scheme", "host", "port", "path", "query", "body"]
    player = vcr.VCR(record_mode="none", match_on=match, custom_patches=_OURS)
    return player.use_cassette(str(path), allow_playback_repeats=False)


def _scrub_request(request: Any) -> Any:
    request.uri = _ADDRESS.sub(URL.removesuffix("/v2"), request.uri)
    request.headers = {name: value for name, value in request.headers.items() if name.lower() in _KEPT_OF_REQUEST}
    return request


def _scrub_response(response: dict[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in response["headers"].items() if name.lower() in _KEPT_OF_RESPONSE}
    body = _ADDRESS.sub(URL.removesuffix("/v2"), response["body"]["string"].decode())
    return {**response, "headers": headers, "body": {"string": body.encode()}}


Call = tuple[str, str, tuple[tuple[str, str], ...], Any]


def conversation(path: Path) -> list[tuple[Call, int, Any]]:
    """What stands in a cassette, in order: requests, status codes, and bodies as JSON where they are."""
    entries = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["interactions"]
    return [
        (_call(entry["request"]), entry["response"]["status"]["code"], _json(entry["response"]["body"]["string"]))
        for entry in entries
    ]


def _call(request: dict[str, Any]) -> Call:
    parts = urlsplit(request["uri"])
    return request["method"], parts.path, tuple(sorted(parse_qsl(parts.query))), _json(request["body"])


def _json(text: str | bytes | None) -> Any:
    text = text.decode() if isinstance(text, bytes) else text
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


class Namer:
    """Makes two conversations comparable: ids become their places in the order in which they came up, times a word."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        """The same value with its ids and times replaced."""
        if isinstance(value, str):
            return _TIME.sub("TIME", _ID.sub(lambda found: self.id(found.group()), value))
        if isinstance(value, dict):
            return {self(key): self(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self(part) for part in value]
        return value

    def id(self, id: str) -> str:
        """The name of one id."""
        return self._ids.setdefault(id, f"id-{len(self._ids)}")


def blank(text: str) -> str:
    """A text with every id and every time replaced by a word."""
    return _TIME.sub("TIME", _ID.sub("ID", text))


def requests(path: Path) -> list[Any]:
    """The requests of a cassette with ids and times replaced."""
    name = Namer()
    return [name(call) for call, _, _ in conversation(path)]


def strings(path: Path) -> Iterator[str]:
    """Every text in a cassette, wherever it stands."""
    waiting: list[Any] = [yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif value is not None:
            yield value.decode(errors="replace") if isinstance(value, bytes) else str(value)

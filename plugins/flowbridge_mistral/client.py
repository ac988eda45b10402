"""Mistral's HTTP API as calls: sessions, a limit for the whole of a call, retries, pages; no rule of the law."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flowbridge.deadline import left, silence, tell, within
from flowbridge.errors import EngineError, EngineRefused, Unavailable
from flowbridge_mistral import failures
from flowbridge_mistral.access import Access, public
from flowbridge_mistral.auth import credentials

if TYPE_CHECKING:
    import requests

Json = dict[str, Any]

TRIES = 4
FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0
PAGE = 1000
#: The end of the path of a definition that is sent to be checked: a POST that changes nothing.
CHECK = "validate"
RETRIED = frozenset({429, 502, 503, 504})


class MistralClient:
    """Calls to one Mistral. Raises `NotFound`, `Unavailable` and `EngineRefused` and nothing else on purpose.

    A call takes, in all, no longer than `access` says, nor than its caller waits (`flowbridge.deadline`).
    `sleep` waits between two tries, in seconds. Nothing is imported and nothing connected before the first call.
    Several threads may call at once: each request has a session to itself, and those that are free are used again.
    """

    def __init__(self, name: str, access: Access, sleep: Callable[[float], None] = time.sleep) -> None:
        self._access = access
        self._credentials = credentials(name, access)
        self._name = name
        self._where = f"{name} ({public(access.url)})" if access.url else name
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free: list[requests.Session] = []
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch by the engine's own clock, as its last answer told it, to the second."""
        return time.time() + self._ahead

    @property
    def where(self) -> str:
        """The instance's name and its address, without credentials: for messages."""
        return self._where

    def get(self, *path: str, **query: Any) -> Json:
        """One resource. Tried again while the engine is busy."""
        return self._call("GET", path, repeatable=True, params=query)

    def pages(self, key: str, *path: str, limit: int | None = None, **query: Any) -> Iterator[Json]:
        """The members of a collection, at most `limit`, page by page as they are asked for."""
        wanted = limit
        while wanted is None or wanted > 0:
            size = PAGE if wanted is None else min(PAGE, wanted)
            answer = self.get(*path, **query, limit=size)
            members = _members(answer, key, self._where)
            yield from members
            if "next" not in answer or not members:
                return
            # The engine writes list filters wrongly into its next link, so only the marker is taken from it.
            query["marker"] = members[-1]["id"]
            wanted = None if wanted is None else wanted - len(members)

    def post(self, *path: str, body: Json, repeatable: bool = False) -> Json:
        """Create a resource. `repeatable` where a second one with the same body creates nothing."""
        return self._call("POST", path, repeatable=repeatable, json=body)

    def put(self, *path: str, body: Json, repeatable: bool) -> Json:
        """Change a resource. `repeatable` false sends it once, whatever comes back."""
        return self._call("PUT", path, repeatable=repeatable, json=body)

    def text(self, method: str, *path: str, text: str) -> Json:
        """Send a definition. Tried again while the engine is busy: sent twice it is the same definition.

        So the `Conflict` of one that is created may be one's own.
        """
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return self._call(method, path, repeatable=True, data=text.encode(), headers=headers)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read within is an answer; where it is not of the shape that Mistral gives it, it is refused."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise EngineRefused(
                f"{self._where} is no Mistral API, or a release that this one does not know: its answer is of another "
                f"shape ({type(error).__name__}: {error}). Check the option url."
            ) from error

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            sessions, self._free = self._free, []
        for session in sessions:
            session.close()

    def _call(self, method: str, path: tuple[str, ...], *, repeatable: bool, **arguments: Any) -> Json:
        limit = self._access.read_timeout if method == "GET" else self._access.change_timeout
        with within(limit), silence(self._name):
            if not left():
                raise Unavailable(f"{self._where} was not asked: the time for it was over.", unasked=True)
            return self._tried(method, path, TRIES if repeatable else 1, arguments)

    def _tried(self, method: str, path: tuple[str, ...], tries: int, arguments: Mapping[str, Any]) -> Json:
        """As many tries as there is time for."""
        asks = method == "GET" or path[-1] == CHECK
        unsent = True  # only if no try at all can have arrived
        for number in range(1, tries + 1):
            try:
                response = self._send(method, path, arguments)
                body = self._decoded(response)
            except Unavailable as error:
                unsent = unsent and error.unsent
                wait = _wait(number, None, error)
                if number == tries or _too_late(wait) or isinstance(error, failures.Untrusted):
                    if error.unsent and not unsent:
                        raise Unavailable(error.message) from error
                    raise
                met = "no answer yet"
            else:
                if response.status_code not in RETRIED or number == tries:
                    return self._answer(response, body, asks=asks)
                unsent = False
                wait = _wait(number, response.headers.get("Retry-After"), self._failure(response))
                if _too_late(wait):
                    return self._answer(response, body, asks=asks)
                met = f"not available now ({response.status_code})"
            tell(self._name, f"{met}, trying again ({number + 1} of {tries})")
            self._sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: tuple[str, ...], arguments: Mapping[str, Any]) -> requests.Response:
        """One request with a good token. A 401 was not carried out: after it any request is sent again, once."""
        with self._session() as session:
            base = self._credentials.url(session)
            self._where = f"{self._name} ({public(base)})"
            url = "/".join((base, *(quote(part, safe="") for part in path)))
            token = self._credentials.token(session)
            response = self._request(session, method, url, token, arguments)
            if response.status_code == 401 and self._credentials.renew(token):
                response = self._request(session, method, url, self._credentials.token(session), arguments)
            return response

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session that nobody else uses meanwhile: a `requests.Session` is made for one thread."""
        with self._lock:
            session = self._free.pop() if self._free else None
        if session is None:
            session = self._open()
        try:
            yield session
        finally:
            with self._lock:
                self._free.append(session)

    def _request(
        self, session: requests.Session, method: str, url: str, token: str | None, arguments: Mapping[str, Any]
    ) -> requests.Response:
        access = self._access
        # Given with each request: on the session it would go to Keystone too.
        headers = {**arguments.get("headers", {}), **({"X-Auth-Token": token} if token else {})}
        try:
            return session.request(
                method,
                url,
                timeout=_in_time(access),
                # Given with each request: a CA bundle named in the environment would win over the session's.
                verify=access.ca_file or True,
                # A redirected PUT would arrive as a GET, and the token would go to a stranger.
                allow_redirects=False,
                **{**arguments, "headers": headers},
            )
        except OSError as error:  # every error of requests is one
            raise failures.of_transport(error, self._where) from error

    def _open(self) -> requests.Session:
        from flowbridge_mistral import transport  # noqa: PLC0415 - a tenth of a second that others need not pay

        return transport.session()

    def _decoded(self, response: requests.Response) -> Any:
        """What a success says. Raises `Unavailable` where that is cut off, or no JSON at all."""
        if not 200 <= response.status_code < 300:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise Unavailable(f"{self._where} answered with something that is no JSON, or only a part.") from error

    def _answer(self, response: requests.Response, body: Any, *, asks: bool) -> Json:
        self._ahead = _ahead(response.headers.get("Date"))
        if not 200 <= response.status_code < 300:
            raise self._failure(response)
        if not isinstance(body, dict):
            words = f"{self._where} is no Mistral API: a JSON object was expected. Check the option url."
            # Whoever answered so may have passed a change on, so it is not known that nothing was done.
            raise EngineRefused(words) if asks else Unavailable(words)
        return body

    def _failure(self, response: requests.Response) -> EngineError:
        error = failures.of_answer(response, self._where, self._credentials.advice)
        token = response.request.headers.get("X-Auth-Token")
        if token and str(token) in error.message:
            return type(error)(error.message.replace(str(token), "***"))
        return error


def _in_time(access: Access) -> tuple[float, float]:
    """How long to wait for a connection and for the beginning of an answer, in seconds."""
    seconds = left() or access.read_timeout
    return min(access.connect_timeout, seconds), seconds


def _too_late(wait: float) -> bool:
    """Whether there is no time for another try after a wait."""
    seconds = left()
    return seconds is not None and seconds <= wait


def _wait(number: int, retry_after: str | None, error: EngineError) -> float:
    """Seconds before the next try. Raises `error` where the engine asks for more patience than we have."""
    wait = _seconds(retry_after)
    if wait is None:
        return float(min(FIRST_WAIT * 2 ** (number - 1), LONGEST_WAIT))
    if wait > LONGEST_WAIT:
        raise error
    return wait


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` is a number of seconds or a date; what is neither is passed over."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _ahead(date: str | None) -> float:
    """How far the clock that wrote a `Date` is ahead of ours, in seconds."""
    try:
        return parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
    except ValueError:
        return 0.0


def _members(answer: Json, key: str, where: str) -> list[Json]:
    members = answer.get(key)
    if not isinstance(members, list):
        raise EngineRefused(f"{where} is no Mistral API: its answer has no list of {key}. Check the option url.")
    return members

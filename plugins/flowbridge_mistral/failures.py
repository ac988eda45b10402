"""Foreign errors become ours here and nowhere else: what `requests` raises, and what Mistral answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from flowbridge.errors import EngineError, EngineRefused, NotFound, Unavailable
from flowbridge_mistral.causes import one_line

if TYPE_CHECKING:
    import requests


class Conflict(EngineRefused):
    """There is one of that name or id already."""


class Unfit(EngineRefused):
    """The input that was given to a start does not fit the workflow."""


class Ended(EngineRefused):
    """The action that a result was meant for has ended already."""


class NotErrored(EngineRefused):
    """The task that was to run again, or to be skipped, is not in ERROR."""


class TooLarge(EngineRefused):
    """What was sent is more than the server, or something before it, lets through."""


class Untrusted(Unavailable):
    """No safe connection came about, for a reason that stays: the same request meets it again."""


class Kind(Enum):
    """What an error of the HTTP library means for the request that met it."""

    UNSENT = "the request never got there"
    LOST = "nobody knows whether the request got there"
    WRONG = "the address or an option is wrong: the same request never succeeds"


#: Every exception class of `requests`, by name, so that this module imports without it. The test of this table fails
#: on one that is missing.
KINDS: Mapping[str, Kind] = {
    "RequestException": Kind.LOST,
    "ConnectionError": Kind.LOST,
    "ConnectTimeout": Kind.UNSENT,
    "ReadTimeout": Kind.LOST,
    "Timeout": Kind.LOST,
    "ProxyError": Kind.UNSENT,
    "SSLError": Kind.UNSENT,
    "HTTPError": Kind.LOST,
    "ChunkedEncodingError": Kind.LOST,
    "ContentDecodingError": Kind.LOST,
    "StreamConsumedError": Kind.LOST,
    "RetryError": Kind.LOST,
    "JSONDecodeError": Kind.LOST,
    "InvalidJSONError": Kind.WRONG,
    "UnrewindableBodyError": Kind.WRONG,
    "TooManyRedirects": Kind.WRONG,
    "URLRequired": Kind.WRONG,
    "MissingSchema": Kind.WRONG,
    "InvalidSchema": Kind.WRONG,
    "InvalidURL": Kind.WRONG,
    "InvalidProxyURL": Kind.WRONG,
    "InvalidHeader": Kind.WRONG,
}

#: Marks in Mistral's own words, where the status code alone misleads. Its engine answers through the API with a 500.
MARKS: tuple[tuple[str, type[EngineError]], ...] = (
    ("DBEntityNotFoundError", NotFound),
    ("DBDuplicateEntry", Conflict),
    ("Invalid input [", Unfit),
    ("is already completed", Ended),
    ("must be in ERROR for rerun", NotErrored),
)

KEYSTONE_401 = "Check the name, the domain and the secret; an application credential or a token may also have expired."
KEYSTONE_404 = "Check auth_url or OS_AUTH_URL; a token may also have expired."
CERTIFICATE = "Name the certificate authority with ca_file or OS_CACERT; there is no way to trust without one."

#: What a TLS library says where the other side, and not the connection to it, is what is wrong.
LASTING_TLS = ("WRONG_VERSION_NUMBER", "CERTIFICATE_VERIFY_FAILED", "NO_CERTIFICATE_OR_CRL_FOUND")

BUSY = frozenset({429, 500, 502, 503, 504})

#: What was asked for is unknown to the server, and stays so: the same request never succeeds.
UNSUPPORTED = 501


def of_transport(error: Exception, where: str) -> EngineError:
    """Our error for one that the HTTP library raised while it talked to `where`."""
    kind = next((KINDS[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in KINDS), Kind.LOST)
    words = f"{type(error).__name__}: {_deepest(error)}"
    if kind is Kind.WRONG:
        return EngineRefused(f"{where} cannot be called as it is configured ({words}). Check the option url.")
    unsent = kind is Kind.UNSENT or _refused(error)
    if type(error).__name__ == "SSLError":
        return _untrusted(where, words)
    return Unavailable(f"{where} does not answer ({words}). Check that it runs and can be reached.", unsent=unsent)


def of_answer(response: requests.Response, where: str, advice: Callable[[int], str] | None = None) -> EngineError:
    """Our error for an answer that is no success. `advice` says what to check after a 401 or 403."""
    words = _words(response)
    status = response.status_code
    if status in (401, 403):
        next_step = advice(status) if advice else "Check the option token."
        said = f": {words}" if words else "."
        return EngineRefused(f"{where} does not accept these credentials ({status}){said} {next_step}")
    if status == 413:
        return TooLarge(f"{where} takes no request of that size ({status}){f': {words}' if words else '.'}")
    if status == UNSUPPORTED:
        said = f": {words}" if words else "."
        return EngineRefused(f"{where} does not support this call ({status}){said}")
    if words is None:
        return _of_stranger(response, where)
    for mark, error in MARKS:
        if mark in words:
            return error(f"{where}: {words}")
    if status == 404:
        return NotFound(f"{where}: {words}")
    if status == 409:
        return Conflict(f"{where}: {words}")
    if status in BUSY or status > 500:
        return Unavailable(f"{where} failed ({status}): {words}")
    return EngineRefused(f"{where} refused ({status}): {words}")


def of_keystone(error: Exception, where: str, account: str) -> EngineError:
    """Our error for one that `keystoneauth1` raised while it talked to `where` for an account.

    Nothing has reached the engine then. Keystone's own words are left out: they say nothing of the cause, and may
    repeat what was sent.
    """
    status = getattr(error, "http_status", None) or getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return EngineRefused(f"{where} does not accept {account} (401). {KEYSTONE_401}")
    if status == 403:
        return EngineRefused(
            f"{where} refuses {account} (403). Check its project, its roles and whether it is enabled."
        )
    if status in BUSY or (status or 0) > 500:
        return Unavailable(f"{where} is not available ({status}).", unsent=True)
    if status == 404:  # also Keystone's answer to a token that it does not know any more
        return EngineRefused(f"{where} has nothing for {account} (404). {KEYSTONE_404}")
    if status is not None:
        return EngineRefused(f"{where} is no Keystone v3 API ({status}). Check auth_url or OS_AUTH_URL.")
    words = f"{type(error).__name__}: {_deepest(error)}"
    if type(error).__name__ == "SSLError":
        return _untrusted(where, words)
    return Unavailable(f"{where} does not answer ({words}). Check auth_url, and that it can be reached.", unsent=True)


def _untrusted(where: str, words: str) -> Unavailable:
    """Our error for a connection that was not made safe; nothing was sent over it."""
    error = Untrusted if any(word in words for word in LASTING_TLS) else Unavailable
    if "WRONG_VERSION_NUMBER" in words:
        return error(f"{where} speaks no TLS ({words}). Its address may have to begin with http.", unsent=True)
    return error(f"{where} cannot be trusted ({words}). {CERTIFICATE}", unsent=True)


def _of_stranger(response: requests.Response, where: str) -> EngineError:
    """An answer without Mistral's own words: from a proxy, a login page, another server."""
    status = response.status_code
    if status in BUSY or status > 500:
        return Unavailable(f"{where} is not available ({status} {response.reason}).")
    if 300 <= status < 400:
        target = response.headers.get("Location", "another address").partition("?")[0]
        return EngineRefused(f"{where} redirects to {target}, which is not followed. Set the option url to that.")
    return EngineRefused(f"{where} is no Mistral API ({status} {response.reason}). Check the option url.")


def _words(response: requests.Response) -> str | None:
    """Mistral's own words in an error, without the traceback that its engine may put behind them."""
    try:
        body: Any = json.loads(response.content)
    except ValueError:
        return None
    words = body.get("faultstring") if isinstance(body, dict) else None
    return one_line(str(words)) if words else None


def _deepest(error: BaseException) -> str:
    """The first cause says most: the outer ones repeat the address, credentials in it included."""
    seen = {id(error)}
    while (cause := _cause(error)) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _cause(error: BaseException) -> BaseException | None:
    inner = [part for part in (getattr(error, "reason", None), *error.args) if isinstance(part, BaseException)]
    return inner[0] if inner else error.__cause__ or error.__context__


def _refused(error: BaseException | None) -> bool:
    """Whether no connection came about at all."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if type(error).__name__ in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError"):
            return True
        seen.add(id(error))
        error = _cause(error)
    return False

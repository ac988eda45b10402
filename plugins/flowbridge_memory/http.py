"""The `std.http` action: one HTTP request, its answer as plain data."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import Any

from flowbridge_memory.workers import ActionFailed

#: Seconds to wait for an answer where the task names no `timeout`.
TIMEOUT = 30.0


def request(  # noqa: PLR0913, PLR0917  (the names are the language's)
    url: str,
    method: str = "GET",
    params: Any = None,
    body: Any = None,
    json: Any = None,
    headers: Mapping[str, Any] | None = None,
    cookies: Mapping[str, str] | None = None,
    auth: str | None = None,
    timeout: float | None = None,
    allow_redirects: bool | None = None,  # noqa: FBT001  (the language's own name and shape)
    proxies: Mapping[str, str] | None = None,
    verify: Any = None,
) -> dict[str, Any]:
    """Send a request and return its answer; a status outside 200 to 306 fails with the same data as result.

    `body` is sent as it is, as JSON where it is a dict; `json` and `body` together are refused. `auth` is
    `user:password`. `timeout` is in seconds.
    """
    if body is not None and json is not None:
        raise ActionFailed("std.http takes 'json' or 'body', not both.")
    # Most workflows need no HTTP: its import costs more than they do.
    import requests  # noqa: PLC0415

    try:
        answer = requests.request(
            method,
            url,
            params=params,
            data=json_text.dumps(body) if isinstance(body, dict) else body,
            json=json,
            headers={key: str(value) for key, value in (headers or {}).items()},
            cookies=dict(cookies) if cookies else None,
            auth=_auth(auth),
            timeout=TIMEOUT if timeout is None else timeout,
            allow_redirects=True if allow_redirects is None else allow_redirects,
            proxies=dict(proxies) if proxies else None,
            verify=verify,
        )
    except requests.RequestException as error:
        raise ActionFailed(f"The HTTP request failed: {error}") from error
    result = _shown(answer)
    if not 200 <= answer.status_code < 307:
        raise ActionFailed(result, f"The server answered {answer.status_code} {answer.reason}.")
    return result


def _auth(auth: str | None) -> tuple[str, str] | None:
    if not auth:
        return None
    user, separator, password = auth.partition(":")
    if not separator:
        raise ActionFailed("std.http: 'auth' must be 'user:password'.")
    return user, password


def _shown(answer: Any) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        content = answer.text
    return {
        "content": content,
        "status": answer.status_code,
        "headers": dict(answer.headers),
        "url": answer.url,
        "history": [earlier.url for earlier in answer.history],
        "encoding": answer.encoding,
        "reason": answer.reason,
        "cookies": dict(answer.cookies),
        "elapsed": answer.elapsed.total_seconds(),
    }

"""One HTTP request: `python -m flowbridge_actionchain.jobs.web`, asked on descriptor 9, told on descriptor 8."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from flowbridge._version import __version__
from flowbridge_actionchain.jobs.process import FEED, RESULTS

#: Bytes of an answer that are taken; a longer one is an error.
BODY_LIMIT = 2 * 1024 * 1024

#: Like StackStorm: what the server answered within these succeeded.
SUCCESS = range(200, 207)


class _Failed(Exception):
    """What makes an answer impossible, in words."""


def main() -> int:
    """Send the request, tell the answer."""
    with open(FEED, encoding="utf-8") as feed:
        asked = json.load(feed)
    try:
        told = _asked(asked)
    except (requests.RequestException, _Failed) as error:
        told = {"succeeded": False, "error": str(error)}
    with open(RESULTS, "w", encoding="utf-8") as results:
        json.dump(told, results, ensure_ascii=False)
    return 0


def _asked(asked: Mapping[str, Any]) -> dict[str, Any]:
    _reject_host(asked)
    headers = {**{name: str(value) for name, value in (asked.get("headers") or {}).items()}}
    headers.setdefault("User-Agent", f"flowbridge/{__version__}")
    files = _files(asked)
    body = _body(asked.get("body"), headers)
    with requests.request(
        asked.get("method") or ("POST" if files or body else "GET"),
        asked["url"],
        params=asked.get("params"),
        data=body,
        headers=headers,
        cookies=asked.get("cookies"),
        auth=_auth(asked),
        timeout=asked["timeout"],
        allow_redirects=bool(asked.get("allow_redirects")),
        proxies={name: asked[f"{name}_proxy"] for name in ("http", "https") if asked.get(f"{name}_proxy")},
        files=files,
        verify=asked.get("verify_ssl_cert") is not False,
        stream=True,
    ) as answer:
        text = _text(answer)
        content, parsed = _parsed(answer, text)
        return {
            "succeeded": answer.status_code in SUCCESS,
            "status_code": answer.status_code,
            "body": content,
            "parsed": parsed,
            "headers": dict(answer.headers),
        }


def _text(answer: requests.Response) -> str:
    data = bytearray()
    for part in answer.iter_content(65536):
        data += part
        if len(data) > BODY_LIMIT:
            raise _Failed(f"the answer is longer than {BODY_LIMIT} bytes; fetch it with a command that writes a file")
    return data.decode(answer.encoding or "utf-8", errors="replace")


def _parsed(answer: requests.Response, text: str) -> tuple[Any, bool]:
    """The body, and whether it was read as JSON, which only happens where the server says that it is."""
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        return text, False
    try:
        return json.loads(text), True
    except ValueError:
        return text, False


def _body(body: Any, headers: Mapping[str, str]) -> Any:
    """The body to send. A text that is to be JSON may be written as JSON or as Python writes it."""
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if kind != "application/json" or body is None:
        return body.encode() if isinstance(body, str) else body
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            try:
                body = ast.literal_eval(body)
            except (ValueError, SyntaxError):
                raise _Failed("the body is to be JSON by its Content-Type, and it is none") from None
    return json.dumps(body).encode()


def _files(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    name, content, kind = (asked.get(f"file_{one}") for one in ("name", "content", "content_type"))
    if not (name and content):
        return None
    return {name: (name, content, kind) if kind else content}


def _auth(asked: Mapping[str, Any]) -> tuple[str, str] | None:
    if asked.get("username") or asked.get("password"):
        return str(asked.get("username") or ""), str(asked.get("password") or "")
    if not asked.get("auth"):
        return None
    user, colon, password = str(asked["auth"]).partition(":")
    if not colon:
        raise _Failed("auth must be user:password")
    return user, password


def _reject_host(asked: Mapping[str, Any]) -> None:
    refused, allowed = asked.get("url_hosts_blacklist") or (), asked.get("url_hosts_whitelist") or ()
    host = urlsplit(asked["url"]).hostname
    if refused and allowed:
        raise _Failed("give url_hosts_blacklist or url_hosts_whitelist, not both")
    if host in refused:
        raise _Failed(f"the host {host} is in url_hosts_blacklist")
    if allowed and host not in allowed:
        raise _Failed(f"the host {host} is not in url_hosts_whitelist")


if __name__ == "__main__":
    sys.exit(main())

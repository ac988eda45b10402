"""Changes of status, posted to a webhook as CloudEvents: at least once, numbered, in order.

An event is a file in the outbox from before it is sent until the webhook has taken it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import platformdirs

from flowbridge import hookimpl

if TYPE_CHECKING:
    from flowbridge.hookspecs import Change
    from flowbridge.ledger.operations import Operation
    from flowbridge.model import Record

TYPE = "flowbridge.execution.status_changed"
CONTENT = "application/cloudevents+json; charset=utf-8"

#: How long a webhook that failed is left alone, in seconds: a command must not wait for it again and again.
REST_SECONDS = 60.0

_HERE = {"127.0.0.1", "::1", "localhost"}


class NotSentError(Exception):
    """An event could not be sent, and waits. The message names the webhook's host and nothing else of its address."""


class Webhook:
    """Where events go. Raises `NotSentError` for an address that is none."""

    def __init__(self, url: str, token: str = "", timeout: float = 5.0) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        if not self.host or parts.scheme not in ("http", "https"):
            raise NotSentError("FLOWBRIDGE_NOTIFY_URL is no address of a webhook: it begins with https://")
        if parts.scheme == "http" and self.host not in _HERE:
            raise NotSentError(f"the webhook at {self.host} is not sent to without TLS: give it by https://")
        self._url, self._token, self._timeout = url, token, timeout

    def post(self, body: bytes) -> None:
        """Send one event. Raises `NotSentError` where it was not taken."""
        import requests  # noqa: PLC0415  a command that changes nothing does not need it

        headers = {"Content-Type": CONTENT} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        try:
            answer = requests.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, auth=_no_netrc
            )
        except requests.Timeout:
            raise NotSentError(f"the webhook at {self.host} did not answer within {self._timeout:g} s") from None
        except requests.exceptions.SSLError:
            raise NotSentError(f"the webhook at {self.host} cannot be trusted: its certificate is not valid") from None
        except requests.RequestException as error:  # its text has the whole address in it
            raise NotSentError(f"the webhook at {self.host} cannot be reached ({type(error).__name__})") from None
        if not 200 <= answer.status_code < 300:
            raise NotSentError(f"the webhook at {self.host} answered {answer.status_code}")


def _no_netrc(request: Any) -> Any:
    """Send what was given, and no password that stands for this host elsewhere."""
    return request


class Outbox:
    """Events that were not taken yet, a file each, in a folder that nobody else reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, number: int, event: Mapping[str, Any]) -> None:
        """Keep an event, whole or not at all. The same one again replaces itself."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{number:012d}-{event['subject']}.json"
        with tempfile.NamedTemporaryFile("w", dir=self._folder, suffix=".part", delete=False, encoding="utf-8") as file:
            json.dump(event, file)
        Path(file.name).replace(self._folder / name)

    def waiting(self) -> list[Path]:
        """The events that wait, in the order of their numbers."""
        return sorted(self._folder.glob("*.json"))


class Plugin:
    """The hooks. `settings` gives the environment, `clock` seconds that only grow."""

    def __init__(self, settings: Callable[[], Mapping[str, str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._rest_until = float("-inf")

    @hookimpl
    def flowbridge_status_changed(self, execution: Record, old: str, new: str, number: int, change: Change) -> None:
        """Keep the event, then send whatever waits."""
        settings = self._settings()
        if settings.get("FLOWBRIDGE_NOTIFY_URL"):
            outbox(settings).put(number, event(execution, old, new, number, change))
            self._send(settings)

    @hookimpl
    def flowbridge_after_operation(self, operation: Operation) -> None:
        """Send what an earlier command had to leave behind."""
        del operation
        settings = self._settings()
        if settings.get("FLOWBRIDGE_NOTIFY_URL"):
            self._send(settings)

    def _send(self, settings: Mapping[str, str]) -> None:
        waiting = outbox(settings).waiting()
        if not waiting or self._clock() < self._rest_until:
            return
        try:
            webhook = _webhook(settings)
            while waiting:
                _post(webhook, waiting[0])
                del waiting[0]
        except NotSentError as error:
            self._rest_until = self._clock() + REST_SECONDS
            left = "1 event waits" if len(waiting) == 1 else f"{len(waiting)} events wait"
            raise NotSentError(f"{error}; {left} for a later command") from None


def _post(webhook: Webhook, path: Path) -> None:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return  # another command has sent it
    webhook.post(body)
    path.unlink(missing_ok=True)


def _webhook(settings: Mapping[str, str]) -> Webhook:
    token = settings.get("FLOWBRIDGE_NOTIFY_TOKEN", "")
    return Webhook(settings["FLOWBRIDGE_NOTIFY_URL"], token, _timeout(settings))


def _timeout(settings: Mapping[str, str]) -> float:
    text = settings.get("FLOWBRIDGE_NOTIFY_TIMEOUT") or "5"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 60:
        raise NotSentError(f"FLOWBRIDGE_NOTIFY_TIMEOUT is seconds, more than 0 and at most 60, not {text!r}")
    return seconds


def outbox(settings: Mapping[str, str]) -> Outbox:
    """The folder that is named, else the platform's place for what a program keeps for itself."""
    named = settings.get("FLOWBRIDGE_NOTIFY_OUTBOX")
    return Outbox(Path(named) if named else Path(platformdirs.user_state_dir("flowbridge")) / "notifier")


def event(execution: Record, old: str, new: str, number: int, change: Change) -> dict[str, Any]:
    """A change as a CloudEvent."""
    operation = change.operation
    asked = {"id": operation.id, "verb": operation.verb, "reason": operation.reason or None} if operation else None
    return {
        "specversion": "1.0",
        "id": f"{execution.id}/{number}",
        "source": f"flowbridge/{execution.ref.backend}",
        "type": TYPE,
        "subject": execution.id,
        "time": datetime.fromtimestamp(change.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "execution_id": execution.id,
            "parent_id": change.parent or None,
            "rerun_of": execution.rerun_of or None,
            "workflow": execution.workflow,
            "backend": execution.ref.backend,
            "engine_id": execution.ref.id,
            "engine_state": change.engine_state,
            "old": old,
            "new": new,
            "number": number,
            "actor": change.actor,
            "operation": asked,
        },
    }


plugin = Plugin(lambda: os.environ)

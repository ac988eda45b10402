"""Storing definitions so that the engine runs what was stored last.

The engine keeps the parsed form of a workflow under the second of its last change: of two changes within one second it
would go on running the first. So a change waits until the second of the one before it is over.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from flowbridge.errors import NotFound, Unavailable
from flowbridge_mistral.client import MistralClient
from flowbridge_mistral.failures import Conflict
from flowbridge_mistral.observe import seconds

#: How long a change may be ago, in seconds, for another one to fall into the same second; clocks may differ by one.
_RECENT = 2.0

_AGAIN_AFTER = 0.25

#: When each definition that the engine has was changed, in the engine's words; None for one that never was.
Changed = Mapping[str, str | None]


def changed(client: MistralClient, kind: str, names: Collection[str]) -> Changed:
    """Which of these workflows or workbooks the engine has, and when each was last changed."""
    wanted = ",".join(sorted(names))
    found = client.pages(kind, kind, name=f"in:{wanted}", fields="id,name,updated_at") if names else ()
    with client.reading():
        return {member["name"].strip(): member.get("updated_at") for member in found}


def store(client: MistralClient, kind: str, text: str, before: Changed, *, known: bool) -> None:
    """Create or update what a text defines; the other way round where somebody else did it in between."""
    _let_the_second_pass(client, before)
    first, second = ("PUT", "POST") if known else ("POST", "PUT")
    try:
        answer = client.text(first, kind, text=text)
    except (Conflict, NotFound):
        answer = client.text(second, kind, text=text)
    if not answer.keys() & {"workflows", "name"}:
        raise Unavailable(f"{client.where} did not answer the definition with what it stored.")


def _let_the_second_pass(client: MistralClient, before: Changed) -> None:
    """Wait before the change and not after it: a process that dies in between leaves nothing that runs as it was."""
    latest = max((seconds(when) or 0.0 for when in before.values()), default=0.0)
    for _ in range(int(_RECENT / _AGAIN_AFTER)):
        if abs(client.now() - latest) >= _RECENT:
            return
        time.sleep(_AGAIN_AFTER)

"""Storing definitions so that the engine runs what was stored last.

The engine keeps the parsed form of a workflow under the second of its last change: of two changes within one second it
would go on running the first. Such a change is made once more, in a later second.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from flowbridge.errors import NotFound
from flowbridge_mistral.client import Json, MistralClient
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
    first, second = ("PUT", "POST") if known else ("POST", "PUT")
    try:
        answer = client.text(first, kind, text=text)
    except (Conflict, NotFound):
        answer = client.text(second, kind, text=text)
    while _in_the_same_second(client, kind, answer, before):
        time.sleep(_AGAIN_AFTER)
        text += "\n"  # the engine takes an equal text for no change
        answer = client.text("PUT", kind, text=text)


def _in_the_same_second(client: MistralClient, kind: str, answer: Json, before: Changed) -> bool:
    """What stored is answered is not read for anything else: where it is of another shape, nothing is made of it."""
    now = answer.get(kind, [answer])
    if not isinstance(now, list):
        return False
    told = {str(one.get("name")): one.get("updated_at") for one in now if isinstance(one, dict)}
    same = [when for name, when in told.items() if isinstance(when, str) and when == before.get(name)]
    return any(client.now() - (seconds(when) or 0) < _RECENT for when in same)

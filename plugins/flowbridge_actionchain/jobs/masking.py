"""What is looked for in outputs, so that no secret stands in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

#: A shorter secret is not looked for: it would be found in half of all words.
SHORTEST = 4

#: Lines of a longer secret, such as a key, are looked for one by one.
_LINE = 8


def needles(secrets: Iterable[Any]) -> list[str]:
    """The texts to look for: each secret as it is, and as it stands in JSON, in a shell's words and in an address."""
    found: set[str] = set()
    for text in _texts(secrets):
        for one in (text, *(line for line in text.splitlines() if len(line) >= _LINE)):
            found |= {one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]}
            found |= {shlex.quote(one).removeprefix("'").removesuffix("'"), quote(one, safe=""), quote(one)}
    return sorted(one for one in found if len(one) >= SHORTEST)


def has_secret(text: str, secrets: Iterable[str]) -> bool:
    """Whether one of the texts to look for stands in a text."""
    return any(secret in text for secret in secrets)


def _texts(secrets: Iterable[Any]) -> Iterator[str]:
    for secret in secrets:
        if isinstance(secret, str):
            yield secret
        elif isinstance(secret, Mapping):
            yield from _texts(secret.values())
        elif isinstance(secret, list | tuple):
            yield from _texts(secret)
        elif secret is not None and not isinstance(secret, bool):
            yield str(secret)

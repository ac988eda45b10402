"""What is looked for in outputs, so that no secret stands in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

#: A shorter secret is not looked for: it would be found in half of all words.
SHORTEST = 4

#: What requests leaves as it is in an address.
_REQUESTS = "!#$%&'()*+,/:;=?@[]~"

#: Lines of a longer secret, such as a key, are looked for one by one.
_LINE = 8


def needles(secrets: Iterable[Any]) -> list[str]:
    """The texts to look for: each secret as it is, and as it stands in JSON, Python, a shell's words and addresses."""
    found: set[str] = set()
    for text in _texts(secrets):
        for one in (text, *(line for line in text.splitlines() if len(line) >= _LINE)):
            found.add(one)
            found |= {form(one)[1:-1] for form in (json.dumps, repr, _json)}
            found |= {quote(one, safe) for safe in ("", "/", _REQUESTS)} | {quote_plus(one)}
            found.add(shlex.quote(one).removeprefix("'").removesuffix("'"))
    return sorted(one for one in found if len(one) >= SHORTEST)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


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

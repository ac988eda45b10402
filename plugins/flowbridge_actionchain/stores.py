"""The datastore that templates name as `st2kv`: a YAML file, by scope and name.

::

    system:
      domain: example.org
      db.password: {secret: hunter2}     # given only to the filter decrypt_kv; stars otherwise
    user:
      shell: zsh
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from flowbridge.errors import InvalidInput
from flowbridge.vault import SHOWN
from flowbridge.yamltext import Located, load

SCOPES = ("system", "user")

Stores = Mapping[str, Mapping[str, Mapping[str, str]]]


def read_stores(path: str | None) -> Stores:
    """The entries of a datastore file: each a `text` to show and, where it is secret, the `secret` itself.

    Raises `InvalidInput` with file and line, also where a file with secrets may be read by others.
    """
    if path is None:
        return {scope: {} for scope in SCOPES}
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            text, mode = file.read(), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise InvalidInput(f"the datastore cannot be read: {error.strerror}", source=path) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the datastore is not UTF-8 text (byte {error.start})", source=path) from error
    located = load(text, path)
    found = _scopes(located)
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and any(
        "secret" in one for scope in found.values() for one in scope.values()
    ):
        raise InvalidInput("this datastore holds secrets and may be read by others: chmod 600 it", source=path)
    return found


def _scopes(located: Located) -> Stores:
    data = located.data if located.data is not None else {}
    if not isinstance(data, dict):
        raise located.wrong((), "a datastore must be a mapping with the keys system and user")
    for scope, entries in data.items():
        if scope not in SCOPES:
            raise located.wrong((scope,), f"unknown scope {scope!r}; allowed are: {', '.join(SCOPES)}")
        if not isinstance(entries, dict):
            raise located.wrong((scope,), f"{scope} must be a mapping of names to values")
    return {scope: {name: _entry(value) for name, value in data.get(scope, {}).items()} for scope in SCOPES}


def _entry(value: Any) -> Mapping[str, str]:
    if isinstance(value, dict) and set(value) == {"secret"}:
        return {"text": SHOWN, "secret": _text(value["secret"])}
    return {"text": _text(value)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

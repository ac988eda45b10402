"""The process that renders templates: it has no more than the names it is sent, so many bytes and so much time.

It says one byte when it is ready. Then it reads requests from its standard input and writes answers to its standard
output, each a length in eight bytes and then JSON. Whoever started it kills it when an answer takes too long.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flowbridge_actionchain.filters import FILTERS

MEMORY_BYTES = 512 * 1024 * 1024
MAX_ANSWER = 10_000_000


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which `data.items` is the key of that name where there is one."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An attribute as a template writes it: first a key, then what the object has."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class Unworked(Sandbox):
    """A sandbox in which Jinja works nothing out while it compiles, as it would do with all that is constant."""

    intercepted_binops = frozenset(Sandbox.default_binop_table)
    intercepted_unops = frozenset(Sandbox.default_unop_table)


class Stored:
    """A name in a datastore that may hold dots: text when it is used, empty where there is no such name.

    It has no attribute of a plain name: any word may be a part of a name in the datastore.
    """

    def __init__(self, values: Mapping[str, Any], name: str = "") -> None:
        self._name, self._values = name, values

    def __getattr__(self, part: str) -> Stored:
        if part.startswith("_"):
            raise AttributeError(part)
        return self[part]

    def __getitem__(self, part: str) -> Stored:
        return Stored(self._values, f"{self._name}.{part}" if self._name else part)

    def __str__(self) -> str:
        entry = self._values.get(self._name)
        return "" if entry is None else str(entry["text"])

    def __bool__(self) -> bool:
        return bool(str(self))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __html__(self) -> str:
        return str(self)


def decrypt_kv(value: Any) -> str:
    """The text behind a secret entry of the datastore, or of one that is none."""
    if not isinstance(value, Stored):
        return str(value)
    entry = value._values.get(value._name)
    if entry is None:
        raise ValueError(f"there is no {value._name!r} in the datastore")
    return str(entry.get("secret", entry["text"]))


def environment(kind: type[Sandbox] = Sandbox) -> Sandbox:
    """What StackStorm's templates are read with."""
    made = kind(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(FILTERS)
    made.filters["decrypt_kv"] = decrypt_kv
    made.tests["in"] = lambda item, container: item in container
    return made


def reader() -> Sandbox:
    """What tells whether a template can be read. It renders none, and needs no bounds: no part of one is worked out."""

    @jinja2.pass_context
    def unworked(*_: Any) -> None:
        """Stands for every filter and test: what asks for the context is not called before there is one."""

    made = environment(Unworked)
    made.filters = dict.fromkeys(made.filters, unworked)
    made.tests = dict.fromkeys(made.tests, unworked)
    return made


def answer(sandbox: Sandbox, request: Mapping[str, Any]) -> dict[str, Any]:
    """What one request gives: `value`, or `error` in one line."""
    names = dict(request["names"])
    stores = {scope: Stored(values) for scope, values in request["stores"].items()}
    if stores:
        names |= {"st2kv": stores, "system": stores.get("system")}
    try:
        if request["native"]:
            value = sandbox.compile_expression(request["text"], undefined_to_none=False)(**names)
            return {"value": _plain(value)}
        pieces, size = [], 0
        for piece in sandbox.from_string(request["text"]).generate(**names):
            size += len(piece)
            if size > MAX_ANSWER:
                return {"error": f"more than {MAX_ANSWER} characters are not built"}
            pieces.append(piece)
        return {"value": "".join(pieces)}
    except MemoryError:
        return {"error": f"it takes more than {MEMORY_BYTES >> 20} MiB of memory"}
    except RecursionError:
        return {"error": "it calls itself too deeply"}
    except Exception as error:  # noqa: BLE001  filters and methods raise whatever their values make them raise
        return {"error": " ".join(str(error).split()) or type(error).__name__}


def _plain(value: Any) -> Any:
    """The value of an expression as JSON knows it; anything else as its text."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # a strict undefined tells its name when it is used
    return str(value) if isinstance(value, Stored) else json.loads(json.dumps(value, default=str))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until the source ends."""
    sandbox = environment()
    sink.write(b"!")
    sink.flush()
    while head := source.read(8):
        found = answer(sandbox, json.loads(source.read(int.from_bytes(head, "big"))))
        try:
            text = json.dumps(found).encode()
        except MemoryError:
            text = json.dumps({"error": f"it takes more than {MEMORY_BYTES >> 20} MiB of memory"}).encode()
        sink.write(len(text).to_bytes(8, "big") + text)
        sink.flush()


def main() -> None:
    """Take the bounds on, then serve."""
    warnings.simplefilter("ignore")  # of templates, for nobody to read
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()

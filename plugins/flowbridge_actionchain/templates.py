"""Rendering: what StackStorm's templates give, without letting them do anything else.

A text whose expressions only name things is rendered here. Anything more (filters, tests, loops, calls) goes to a
helper process that has no more than the names it is sent, a bound on its memory, and is killed when it takes too
long: so nothing that a template can write hangs or fills the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flowbridge.errors import FlowbridgeError

SECONDS = 5.0
_START_SECONDS = 30.0
_MAX_TEXT = 10_000_000
_MARKS = ("{{", "{%", "{#")

_NAMES = re.compile(r"""\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\]|\[(?:'[^'\\\]]*'|"[^"\\\]]*")\])*)\s*\}\}""")
_PART = re.compile(r"""\.?([A-Za-z_]\w*)|\[(\d+)\]|\[['"]([^\]]*)['"]\]""")
_WORD = re.compile(r"[A-Za-z_]\w*")
_EXPRESSION = re.compile(r"\s*\{\{((?:(?!\}\}|\{\{).)*)\}\}\s*\Z", re.DOTALL)

Stores = Mapping[str, Mapping[str, Mapping[str, str]]]


class TemplateError(FlowbridgeError):
    """A template that cannot be rendered. `key` is the entry it stands in, `text` the template."""

    exit_code = 2

    def __init__(self, message: str, key: str = "", text: str = "") -> None:
        super().__init__(message)
        self.key, self.text = key, text


class Templates:
    """Renders values. `stores` are the datastore's entries by scope and name; `native` keeps the type of a value that
    is one expression, where StackStorm makes it text. `close` ends the helper."""

    def __init__(self, stores: Stores | None = None, *, native: bool = False, seconds: float = SECONDS) -> None:
        self._stores = stores or {}
        self._native, self._seconds = native, seconds
        self._helper: _Helper | None = None

    def all(self, values: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Each value of a mapping, rendered. Raises `TemplateError` with the key of the one that cannot be."""
        rendered = {}
        for key, value in values.items():
            try:
                rendered[key] = self.render(value, context)
            except TemplateError as error:
                raise TemplateError(
                    error.message, key, value if isinstance(value, str) else json.dumps(value)
                ) from error
        return rendered

    def render(self, value: Any, context: Mapping[str, Any]) -> Any:
        """One value, rendered. Whatever holds no template keeps its type."""
        if isinstance(value, str):
            return self._text(value, context)
        return self._nested(value, context) if isinstance(value, dict | list) else value

    def close(self) -> None:
        """End the helper, if there is one."""
        if self._helper is not None:
            self._helper.close()
            self._helper = None

    def _text(self, text: str, context: Mapping[str, Any]) -> Any:
        if not any(mark in text for mark in _MARKS):
            return text.removesuffix("\n")  # as Jinja does with the last line's end
        if self._native and (found := _EXPRESSION.match(text)):
            return self._expression(found[1].strip(), text, context)
        return self._rendered(text, context)

    def _expression(self, inside: str, text: str, context: Mapping[str, Any]) -> Any:
        if (found := _NAMES.fullmatch(text.strip())) and inside == found[1]:
            there, value = _look_up(inside, context)
            if there:
                return value
        return self._ask(inside, context, native=True)

    def _rendered(self, text: str, context: Mapping[str, Any]) -> str:
        plain = _with_names(text, context)
        return str(self._ask(text, context, native=False)) if plain is None else plain

    def _nested(self, value: Any, context: Mapping[str, Any]) -> Any:
        """A list or a mapping: StackStorm renders it as JSON text, so an expression may give what JSON escapes."""
        if isinstance(value, dict):
            return {self._nested(key, context): self._nested(below, context) for key, below in value.items()}
        if isinstance(value, list):
            return [self._nested(below, context) for below in value]
        if not isinstance(value, str) or not any(mark in value for mark in _MARKS):
            return value
        if self._native and _EXPRESSION.match(value):
            return self._text(value, context)
        return self._in_json(value, context)

    def _in_json(self, text: str, context: Mapping[str, Any]) -> str:
        escaped = json.dumps(text, ensure_ascii=False)[1:-1]
        try:
            return str(json.loads(f'"{self._rendered(escaped, context)}"'))
        except (TemplateError, ValueError):
            return self._rendered(text, context)

    def _ask(self, text: str, context: Mapping[str, Any], *, native: bool) -> Any:
        words = set(_WORD.findall(text))
        names = {word: context[word] for word in words & context.keys()}
        if "__context" in words:
            names["__context"] = dict(context)
        stores = self._stores if words & {"st2kv", "system"} else {}
        request = {"text": text, "names": names, "stores": stores, "native": native}
        if self._helper is None:
            self._helper = _Helper(self._seconds)
        try:
            answer = self._helper.ask(json.dumps(request).encode())
        except TemplateError:
            self.close()
            raise
        if "error" in answer:
            raise TemplateError(str(answer["error"]))
        return answer["value"]


def is_plain(text: str) -> bool:
    """Whether a text holds no template, or only such as name something."""
    return not any(mark in _NAMES.sub("", text) for mark in _MARKS)


def _with_names(text: str, context: Mapping[str, Any]) -> str | None:
    """A text all of whose expressions name things that are there, rendered; None where it takes more than that."""
    pieces: list[str] = []
    at = size = 0
    for found in _NAMES.finditer(text):
        there, value = _look_up(found[1], context)
        if not there:
            return None
        piece = value if isinstance(value, str) else str(value)
        pieces += (text[at : found.start()], piece)
        at, size = found.end(), size + len(piece)
        if size > _MAX_TEXT:
            raise TemplateError(f"more than {_MAX_TEXT} characters are not built")
    pieces.append(text[at:].removesuffix("\n"))
    return (
        None if any(mark in pieces[place] for place in range(0, len(pieces), 2) for mark in _MARKS) else "".join(pieces)
    )


def _look_up(path: str, context: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether a path of names, keys and places leads to data, and to which."""
    value: Any = context
    for name, place, key in _parts(path):
        word = name or key
        if place is not None and isinstance(value, list) and place < len(value):
            value = value[place]
        elif place is None and isinstance(value, Mapping) and word in value:
            value = value[word]
        else:
            return False, None
    return True, value


def _parts(path: str) -> Iterator[tuple[str, int | None, str]]:
    for found in _PART.finditer(path):
        yield found[1] or "", int(found[2]) if found[2] else None, found[3] or ""


class _Helper:
    """The helper process, as whoever asks sees it."""

    def __init__(self, seconds: float) -> None:
        command = [sys.executable, "-P", "-m", "flowbridge_actionchain.helper"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise TemplateError(f"the process that renders templates cannot be started: {error.strerror}") from error
        self._seconds, self._ready = seconds, False

    def ask(self, request: bytes) -> dict[str, Any]:
        """Send a request and wait for the answer. Where none comes it is of no use any more: raises `TemplateError`."""
        try:
            if not self._ready:
                self._ready = bool(self._read(1, time.monotonic() + _START_SECONDS))
            deadline = time.monotonic() + self._seconds
            self._write(len(request).to_bytes(8, "big") + request)
            answer = self._read(int.from_bytes(self._read(8, deadline), "big"), deadline)
        except (BrokenPipeError, EOFError):
            raise TemplateError("the process that renders templates has died of this one") from None
        found: dict[str, Any] = json.loads(answer)
        return found

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101  (it is a pipe)
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        handle, pieces = self._process.stdout.fileno(), []
        while count:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TemplateError(f"it takes longer than {self._seconds:g} seconds")
            piece = os.read(handle, count)
            if not piece:
                raise EOFError
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Kill it: there is nothing it could lose."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

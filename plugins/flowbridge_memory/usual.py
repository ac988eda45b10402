"""The functions that both expression languages have beside the engine's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml


def _plain(data: Any) -> Any:
    """Data as the standard library knows it: expressions hand over read-only views."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, Iterable) and not isinstance(data, str):
        return [_plain(value) for value in data]
    return data


def json_dump(data: Any) -> str:
    """Data as JSON text, indented as the language has it."""
    return json.dumps(_plain(data), indent=4)


def json_pp(data: Any) -> str:
    """Data as JSON text for a person: indented, line breaks inside texts shown as such."""
    return json.dumps(_plain(data), indent=4).replace("\\n", "\n")


def json_parse(text: str) -> Any:
    """JSON text as data."""
    return json.loads(text)


def yaml_dump(data: Any) -> str:
    """Data as YAML text."""
    return yaml.safe_dump(_plain(data), default_flow_style=False)


def yaml_parse(text: str) -> Any:
    """YAML text as data."""
    return yaml.safe_load(text)


def new_uuid() -> str:
    """A fresh random id."""
    return str(uuid.uuid4())


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json_dump": json_dump,
    "json_parse": json_parse,
    "json_pp": json_pp,
    "yaml_dump": yaml_dump,
    "yaml_parse": yaml_parse,
    "uuid": new_uuid,
}

"""The filters of StackStorm's templates, by the names and results that its users know. Only the helper loads them."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any

#: What `use_none` writes for nothing, so that a later cast can tell it from text.
NOTHING = "%*****__%NONE%__*****%"


def _version(text: Any) -> Any:
    from semver import Version  # noqa: PLC0415  most templates have nothing to do with versions

    return Version.parse(str(text))


def version_compare(value: Any, other: Any) -> int:
    """-1, 0 or 1."""
    return int(_version(value).compare(_version(other)))


def version_match(value: Any, clause: str) -> bool:
    """Whether a version fulfils a clause such as `>=1.7.0`."""
    return bool(_version(value).match(clause))


def version_strip_patch(value: Any) -> str:
    """The first two numbers."""
    version = _version(value)
    return f"{version.major}.{version.minor}"


def _flags(ignorecase: bool) -> re.RegexFlag:  # noqa: FBT001  (how templates write it)
    return re.IGNORECASE if ignorecase else re.NOFLAG


def regex_match(value: Any, pattern: str, ignorecase: bool = False) -> bool:  # noqa: FBT001, FBT002
    """Whether the text begins with the pattern."""
    return bool(re.match(pattern, str(value), _flags(ignorecase)))


def regex_search(value: Any, pattern: str, ignorecase: bool = False) -> bool:  # noqa: FBT001, FBT002
    """Whether the pattern is anywhere in the text."""
    return bool(re.search(pattern, str(value), _flags(ignorecase)))


def regex_replace(value: Any, pattern: str, replacement: str, ignorecase: bool = False) -> str:  # noqa: FBT001, FBT002
    """The text with every match replaced."""
    return re.sub(pattern, replacement, str(value), flags=_flags(ignorecase))


def regex_substring(value: Any, pattern: str, result_index: int = 0, ignorecase: bool = False) -> Any:  # noqa: FBT001, FBT002
    """One of the matches."""
    return re.findall(pattern, str(value), _flags(ignorecase))[result_index]


def to_json_string(
    value: Any,
    indent: int | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
    separators: Any = (",", ": "),
) -> str:
    """JSON text."""
    return json.dumps(value, indent=indent, sort_keys=bool(sort_keys), separators=tuple(separators))


def to_yaml_string(value: Any, indent: int | None = None, allow_unicode: bool = True) -> str:  # noqa: FBT001, FBT002
    """YAML text, one entry a line."""
    import yaml  # noqa: PLC0415  most templates need no YAML

    text: str = yaml.safe_dump(value, default_flow_style=False, indent=indent, allow_unicode=allow_unicode)
    return text


def from_yaml_string(value: Any) -> Any:
    """Data from YAML text."""
    import yaml  # noqa: PLC0415  most templates need no YAML

    return yaml.safe_load(str(value))


def jsonpath_query(value: Any, query: str) -> list[Any] | None:
    """What a path such as `$.hosts[*].name` finds, None where it is nothing."""
    from jsonpath_ng.parser import parse  # noqa: PLC0415  most templates need no paths

    return [found.value for found in parse(query).find(value)] or None


def json_escape(value: Any) -> str:
    """Text that may stand inside a JSON string."""
    text = json.dumps(value)
    return text[1:-1] if isinstance(value, str) else text


_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def to_human_time_from_seconds(seconds: float) -> str:
    """A time as `3h25m45s`."""
    if 0 < seconds < 1:
        return f"{seconds}\u03bcs"
    left = round(seconds)
    parts: list[str] = []
    for size, unit in ((_YEAR, "y"), (_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return "".join(parts)


FILTERS: dict[str, Callable[..., Any]] = {
    "basename": posixpath.basename,
    "dirname": posixpath.dirname,
    "from_json_string": lambda value: json.loads(str(value)),
    "from_yaml_string": from_yaml_string,
    "json_escape": json_escape,
    "jsonpath_query": jsonpath_query,
    "regex_match": regex_match,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "regex_substring": regex_substring,
    "to_complex": json.dumps,
    "to_human_time_from_seconds": to_human_time_from_seconds,
    "to_json_string": to_json_string,
    "to_yaml_string": to_yaml_string,
    "use_none": lambda value: NOTHING if value is None else value,
    "version_bump_major": lambda value: str(_version(value).bump_major()),
    "version_bump_minor": lambda value: str(_version(value).bump_minor()),
    "version_bump_patch": lambda value: str(_version(value).bump_patch()),
    "version_compare": version_compare,
    "version_equal": lambda value, other: version_compare(value, other) == 0,
    "version_less_than": lambda value, other: version_compare(value, other) < 0,
    "version_match": version_match,
    "version_more_than": lambda value, other: version_compare(value, other) > 0,
    "version_strip_patch": version_strip_patch,
}

"""How a keeper is asked and tells: plain data behind its length, in the form that Python itself has for it.

The same Python is at both ends, and a keeper need not import anything that costs to read it.
"""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:  # see `keeper`
    from typing import Any

_LENGTH = 8


def packed(document: Any) -> bytes:
    """A document of plain data, as it travels."""
    data = marshal.dumps(document)
    return len(data).to_bytes(_LENGTH, "big") + data


def unpacked(data: bytes) -> tuple[list[Any], bytes]:
    """The documents that have come as a whole, and the rest of the data."""
    found = []
    while len(data) >= _LENGTH and len(data) >= (end := _LENGTH + int.from_bytes(data[:_LENGTH], "big")):
        found.append(marshal.loads(data[_LENGTH:end]))  # noqa: S302  one of the two started the other
        data = data[end:]
    return found, data

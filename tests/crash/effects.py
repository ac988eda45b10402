"""An action with an effect outside: it appends a line to a file, so that every time it ran can be counted."""

from __future__ import annotations

import os


def append(file: str, name: str) -> str:
    """Append a name to a file, in one write."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{name}\n".encode())
    finally:
        os.close(handle)
    return name

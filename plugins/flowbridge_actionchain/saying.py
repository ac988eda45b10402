"""What a task has said so far: from the files of its action while there are any, from its result afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flowbridge.backend import Said
from flowbridge_actionchain.state import ENDED, Kind, Task

_STREAMS = (("out", "stdout"), ("err", "stderr"))

#: Reads one output of a job, by handle, stream and place; None where there is no such file.
Read = Callable[[str, str, int], bytes | None]


def said(task: Task, mark: str, read: Read) -> Said:
    """What a task has written on both outputs since a mark: two places, in bytes. Only whole lines while it runs."""
    if task.kind is not Kind.JOB:
        return Said("", mark)
    over = task.state in ENDED
    places = [int(place) for place in mark.split(",")] if mark else [0, 0]
    texts = []
    for at, (stream, key) in enumerate(_STREAMS):
        data = read(task.job, stream, places[at])
        if data is None and over:
            data = _of_result(task.result, key)[places[at] :]
        data = (data or b"") if over else _whole_lines(data or b"")
        places[at] += len(data)
        texts.append(data.decode(errors="replace"))
    return Said("".join(texts), ",".join(map(str, places)))


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _of_result(result: Any, key: str) -> bytes:
    found = result.get(key) if isinstance(result, dict) else None
    if found is None or found == "":
        return b""
    text = found if isinstance(found, str) else json.dumps(found)
    return f"{text}\n".encode(errors="replace")

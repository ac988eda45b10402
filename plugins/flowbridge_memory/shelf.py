"""Definition files of the configuration, whose workflows are known by name."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput, NotFound
from flowbridge_memory.language import parse
from flowbridge_memory.values import shown


class Shelf:
    """The files of one instance. Building it reads nothing; they are read when a name is first asked for."""

    def __init__(self, backend: str, files: Any) -> None:
        if files is not None and not (isinstance(files, list) and all(isinstance(file, str) for file in files)):
            raise InvalidInput(f"backend {backend}: workflows must be a list of files, not {shown(files)}")
        self._backend = backend
        self._files = tuple(files or ())

    def check(self) -> None:
        """Raise `InvalidInput` where a file is not there."""
        for file in self._files:
            if not Path(file).expanduser().is_file():
                raise InvalidInput(f"backend {self._backend}: workflows: there is no file {shown(file)}")

    def find(self, name: str) -> Definition | None:
        """The definition that has a workflow of that name, None where none does. Raises `InvalidInput`."""
        return self._named.get(name)

    @cached_property
    def _named(self) -> dict[str, Definition]:
        found: dict[str, Definition] = {}
        for file in self._files:
            definition = Definition(_read(Path(file).expanduser()), file)
            for name in parse(definition).workflows:
                if name in found:
                    raise InvalidInput(f"workflow {name!r} stands in {found[name].source} too", source=file)
                found[name] = definition
        return found


def no_workflow(name: str) -> NotFound:
    """That no file of the instance has a workflow of that name."""
    return NotFound(f"There is no workflow {name!r} here: name a file, or list its file in the option `workflows`.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"cannot be read: {why}", source=str(path)) from error

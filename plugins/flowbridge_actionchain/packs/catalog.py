"""Finding actions and workflows in folders of packs. Nothing is read before it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flowbridge.errors import InvalidInput, NotFound
from flowbridge_actionchain.packs import core
from flowbridge_actionchain.packs.config import config_of, secrets_of
from flowbridge_actionchain.packs.metadata import action_of, mapping_of, text_of
from flowbridge_actionchain.packs.model import Broken, PackAction
from flowbridge_actionchain.packs.runnertypes import WORKFLOW

_SUFFIXES = (".yaml", ".yml", ".json")
_REF = re.compile(r"[\w-]+\.[\w.-]+\Z")


class Catalog:
    """The packs in some folders, the first folder that has a name winning, and the core pack's everyday actions.

    What was read once is kept: a catalog is for one command or one run.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._known: dict[str, PackAction] = {}
        self._packs: dict[str, list[Path]] | None = None

    def get(self, ref: str) -> PackAction:
        """The action `pack.name`. Raises `NotFound`, with names that are near, or `InvalidInput` with file and line."""
        if ref not in self._known:
            self._known[ref] = self._found(ref)
        return self._known[ref]

    def has_pack(self, pack: str) -> bool:
        """Whether there is a pack of this name."""
        return pack == "core" or bool(self._places(pack))

    def __iter__(self) -> Iterator[PackAction | Broken]:
        """Every action and workflow, by pack and name; a file that is broken is one of them, and ends nothing."""
        seen: set[str] = set()
        for pack, places in sorted({**self._all_packs(), "core": self._places("core")}.items()):
            found = [one for place in places for one in _in_pack(pack, place)]
            found += core.ACTIONS.values() if pack == "core" else ()
            for one in sorted(found, key=lambda one: one.ref):
                if one.ref not in seen:
                    seen.add(one.ref)
                    yield one

    def config(self, pack: str) -> Mapping[str, Any]:
        """The configuration of a pack: its schema's defaults, its own file, the site's file over both.

        A value may be a template. Raises `InvalidInput` with file and line.
        """
        return next((config_of(pack, place) for place in self._places(pack)), {})

    def secret_config(self, pack: str) -> list[Any]:
        """The values in the configuration of a pack that its schema calls secret."""
        return next((secrets_of(pack, place) for place in self._places(pack)), [])

    def _found(self, ref: str) -> PackAction:
        pack, _, name = ref.partition(".")
        for place in self._places(pack) if _REF.match(ref) else ():
            found = _action_in(pack, name, place) or _workflow_in(pack, name, place)
            if found is not None:
                return found
        if pack == "core" and name in core.ACTIONS:
            return core.ACTIONS[name]
        raise NotFound(self._missing(ref, pack))

    def _missing(self, ref: str, pack: str) -> str:
        if not self.has_pack(pack):
            folders = ", ".join(map(str, self._folders)) or "no folder: set `catalog: {packs: [FOLDER]}`"
            near = get_close_matches(pack, ["core", *self._all_packs()], 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            return f"there is no pack {pack!r} for {ref!r}; {hint}looked in {folders}"
        names = [one.ref for one in self if one.ref.startswith(f"{pack}.")]
        near = get_close_matches(ref, names, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        if pack == "core":
            hint += "StackStorm's own `core` in a folder of packs has more than what is built in; "
        return f"there is no action {ref!r}; {hint}`flowbridge catalog list` shows what there is"

    def _places(self, pack: str) -> list[Path]:
        """The folders of a pack: those of its name, else those whose `pack.yaml` says that they are it."""
        direct = [place for folder in self._folders if _is_pack(place := folder / pack)]
        return direct or self._all_packs().get(pack, [])

    def _all_packs(self) -> dict[str, list[Path]]:
        if self._packs is None:
            self._packs = {}
            for folder in self._folders:
                for place in sorted(folder.iterdir()) if folder.is_dir() else ():
                    if _is_pack(place):
                        self._packs.setdefault(_pack_name(place), []).append(place)
        return self._packs


def _is_pack(place: Path) -> bool:
    return (place / "actions").is_dir() or (place / "pack.yaml").is_file()


def _pack_name(place: Path) -> str:
    """What a pack calls itself, else the name of its folder."""
    try:
        data = mapping_of(place / "pack.yaml").data
    except InvalidInput:
        return place.name
    for key in ("ref", "name"):
        if isinstance(data.get(key), str) and re.fullmatch(r"[a-z0-9_-]+", data[key]):
            return str(data[key])
    return place.name


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES) if folder.is_dir() else []


def _in_pack(pack: str, place: Path) -> Iterator[PackAction | Broken]:
    described = set()
    for file in _files(place / "actions"):
        try:
            action = action_of(file, pack, place)
        except InvalidInput as error:
            yield Broken(f"{pack}.{_stem(file)}", str(file), error.message)
        else:
            described.add(action.entry_point)
            yield action
    for file in _workflow_files(place):
        if file.resolve() not in described:
            yield _workflow(pack, file, place)


def _action_in(pack: str, name: str, place: Path) -> PackAction | None:
    """The action of that name, whatever its file is called; first where it most likely is."""
    files = _files(place / "actions")
    likely = [file for file in files if _stem(file) == name]
    for file in (*likely, *(file for file in files if file not in likely and _mentions(file, name))):
        action = action_of(file, pack, place)
        if action.name == name:
            return action
    return None


def _stem(file: Path) -> str:
    return file.stem.removesuffix(".meta")


def _mentions(file: Path, name: str) -> bool:
    """Whether a file may be the one that says `name: NAME`; only such a file is read as YAML."""
    try:
        return re.search(rf"name[\"']?\s*:\s*[\"']?{re.escape(name)}\b", text_of(file)) is not None
    except InvalidInput:
        return False


def _workflow_files(place: Path) -> Iterable[Path]:
    return [file for folder in ("actions/workflows", "workflows") for file in _files(place / folder)]


def _workflow_in(pack: str, name: str, place: Path) -> PackAction | None:
    """A workflow file without metadata."""
    return next((_workflow(pack, file, place) for file in _workflow_files(place) if _stem(file) == name), None)


def _workflow(pack: str, file: Path, place: Path) -> PackAction:
    return PackAction(
        f"{pack}.{_stem(file)}",
        pack,
        _stem(file),
        WORKFLOW,
        "A workflow file.",
        entry_point=file.resolve(),
        folder=place,
        source=str(file),
    )

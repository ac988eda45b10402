"""The configuration: a YAML file at the platform's place, and `FLOWBRIDGE_*` variables above it.

::

    ledger: /srv/flowbridge/ledger.db      # FLOWBRIDGE_LEDGER
    default_backend: prod                  # FLOWBRIDGE_BACKEND
    required_plugins: [freeze]
    catalog:
      packs: [/srv/packs]                  # FLOWBRIDGE_PACKS
    backends:
      prod:
        type: TYPE                         # as `flowbridge plugins` lists them; the rest is the type's own
        url: https://engine.example.org/v2
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbridge.errors import InvalidInput

if TYPE_CHECKING:
    from flowbridge.yamltext import Located

_KEYS: Mapping[str, type] = {
    "ledger": str,
    "default_backend": str,
    "required_plugins": list,
    "backends": dict,
    "catalog": dict,
}
_CATALOG_KEYS: Mapping[str, type] = {"packs": list, "workflows": str}
_WORDS: Mapping[type, str] = {
    str: "text",
    list: "a list",
    dict: "a mapping",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


@dataclass(frozen=True, slots=True)
class CatalogConfig:
    """Where catalogs look. `packs` are folders, the first that has a name wins; `workflows` is the instance that runs
    workflow files found there, empty for the catalog's own choice."""

    packs: tuple[Path, ...] = ()
    workflows: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """Where the ledger is, which instances there are, and who acts.

    `source` is the file, None where there is none; `lines` tells where in it each instance stands.
    """

    ledger: Path
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_backend: str = ""
    required_plugins: tuple[str, ...] = ()
    actor: str = ""
    source: Path | None = None
    catalog: CatalogConfig = CatalogConfig()
    lines: Mapping[str, int] = field(default_factory=dict)


def load(environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process. Raises `InvalidInput` with file and line where the file is wrong."""
    env = os.environ if environ is None else environ
    file = path(env)
    there = bool(env.get("FLOWBRIDGE_CONFIG")) or file.exists()
    data, lines = _read(file) if there else ({}, {})
    ledger = env.get("FLOWBRIDGE_LEDGER") or data.get("ledger")
    return Config(
        ledger=_expanded(ledger, lambda why: InvalidInput(f"FLOWBRIDGE_LEDGER: {why}")) if ledger else default_ledger(),
        backends=data.get("backends") or {},
        default_backend=env.get("FLOWBRIDGE_BACKEND") or data.get("default_backend") or "",
        required_plugins=tuple(data.get("required_plugins") or ()),
        actor=env.get("FLOWBRIDGE_ACTOR") or _user(),
        source=file if there else None,
        catalog=_catalog(env.get("FLOWBRIDGE_PACKS"), data.get("catalog") or {}, file.parent),
        lines=lines,
    )


def _catalog(packs: str | None, data: Mapping[str, Any], beside: Path) -> CatalogConfig:
    """What is said of catalogs. A folder in the file is meant beside it, one in the environment from where we are."""
    if packs:
        folders = [Path(one).expanduser().absolute() for one in packs.split(os.pathsep) if one]
    else:
        folders = [beside.absolute() / Path(one).expanduser() for one in data.get("packs") or ()]
    return CatalogConfig(tuple(folders), data.get("workflows") or "")


def path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the configuration file is looked for."""
    given = (os.environ if environ is None else environ).get("FLOWBRIDGE_CONFIG")
    if given:
        return Path(given)
    import platformdirs  # noqa: PLC0415  not needed where the place is given

    return Path(platformdirs.user_config_dir("flowbridge")) / "config.yaml"


def default_ledger() -> Path:
    """Where the ledger is kept where nothing else is said."""
    import platformdirs  # noqa: PLC0415  not needed where the place is given

    return Path(platformdirs.user_data_dir("flowbridge")) / "ledger.db"


def _read(path: Path) -> tuple[Mapping[str, Any], Mapping[str, int]]:
    from flowbridge.yamltext import load as load_yaml  # noqa: PLC0415  only where there is a file

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"the configuration file cannot be read: {why}", source=str(path)) from error
    located = load_yaml(text, str(path))
    data = located.data if located.data is not None else {}
    if not isinstance(data, dict):
        raise located.wrong((), "the configuration must be a mapping")
    for key, value in data.items():
        _check(located, key, value)
    return data, {name: located.position(("backends", name))[0] for name in data.get("backends") or {}}


def _check(located: Located, key: str, value: Any) -> None:
    if key not in _KEYS:
        raise located.wrong((key,), f"unknown key {key!r}; allowed are: {', '.join(_KEYS)}")
    if value is not None and not isinstance(value, _KEYS[key]):
        raise located.wrong((key,), f"{key} must be {_WORDS[_KEYS[key]]}, not {_WORDS[type(value)]}")
    if key == "ledger" and value:
        _expanded(str(value), lambda why: located.wrong((key,), why))
    if isinstance(value, list):
        _check_names(located, (key,), value)
    if isinstance(value, dict):
        check = _check_catalog if key == "catalog" else _check_backend
        for name, one in value.items():
            check(located, name, one)


def _check_names(located: Located, path: tuple[str, ...], values: list[Any]) -> None:
    for place, name in enumerate(values):
        if not isinstance(name, str):
            word = _WORDS.get(type(name), "nothing")
            raise located.wrong((*path, place), f"{'.'.join(path)} must list names, not {word}")


def _check_catalog(located: Located, key: str, value: Any) -> None:
    path = ("catalog", key)
    if key not in _CATALOG_KEYS:
        raise located.wrong(path, f"unknown key {key!r} under catalog; allowed are: {', '.join(_CATALOG_KEYS)}")
    if value is not None and not isinstance(value, _CATALOG_KEYS[key]):
        raise located.wrong(path, f"catalog.{key} must be {_WORDS[_CATALOG_KEYS[key]]}, not {_WORDS[type(value)]}")
    if isinstance(value, list):
        _check_names(located, path, value)


def _check_backend(located: Located, name: str, options: Any) -> None:
    place = ("backends", name)
    if ":" in name:
        raise located.wrong(place, f"the name of backend {name!r} may not hold a colon: ids are written NAME:ID")
    if not isinstance(options, dict) or not isinstance(options.get("type"), str):
        raise located.wrong(place, f"backend {name!r} needs a `type`; `flowbridge plugins` lists them")


def _expanded(ledger: str, wrong: Callable[[str], InvalidInput]) -> Path:
    try:
        return Path(ledger).expanduser()
    except RuntimeError as error:
        raise wrong(f"there is no home folder for {ledger}") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def inherited(config: Config) -> dict[str, str]:
    """What leads another process to the same ledger and configuration."""
    environment = {"FLOWBRIDGE_LEDGER": str(config.ledger)}
    if config.source:
        environment["FLOWBRIDGE_CONFIG"] = str(config.source)
    if config.catalog.packs:
        environment["FLOWBRIDGE_PACKS"] = os.pathsep.join(map(str, config.catalog.packs))
    return environment

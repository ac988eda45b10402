"""`clouds.yaml` and `secure.yaml`, where OpenStack's own tools look for them, read as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowbridge.errors import InvalidInput

#: What these files call some of our options.
NAMES = {
    "region_name": "region",
    "endpoint_type": "interface",
    "cacert": "ca_file",
    "workflow_endpoint_override": "url",
    "workflow_service_type": "service_type",
    "workflow_interface": "interface",
}
TOP = frozenset({"auth_type", "interface", *NAMES})
AUTH_NAMES = {"project": "project_name", "tenant_name": "project_name", "tenant_id": "project_id"}


def entry(cloud: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The options that a cloud's entry stands for, by our names.

    The first file found counts, and `secure.yaml` (the first found of those) is laid over it. Raises `InvalidInput`
    where there is no such cloud, or a file is broken; no message holds a value of these files.
    """
    path = _first("OS_CLIENT_CONFIG_FILE", "clouds", environ)
    if path is None:
        places = ", ".join(str(place) for place in _places("clouds", environ))
        raise InvalidInput(f"there is no clouds.yaml to find the cloud {cloud} in; looked for {places}")
    clouds = _read(path)
    secure = _first("OS_CLIENT_SECURE_FILE", "secure", environ)
    found = _laid_over(clouds, _read(secure)) if secure else clouds
    if cloud not in clouds:
        known = ", ".join(sorted(clouds)) or "none"
        raise InvalidInput(f"there is no cloud {cloud} in {path}; there are: {known}")
    return _options(cloud, found[cloud], path)


def _first(variable: str, name: str, environ: Mapping[str, str]) -> Path | None:
    given = environ.get(variable)
    if given and Path(given).is_file():
        return Path(given)
    return next((place for place in _places(name, environ) if place.is_file()), None)


def _places(name: str, environ: Mapping[str, str]) -> Iterator[Path]:
    config = environ.get("XDG_CONFIG_HOME")
    user = Path(config) if config else Path(environ.get("HOME", "~")).expanduser() / ".config"
    for folder in (Path(), user / "openstack", Path("/etc/openstack")):
        for suffix in ("yaml", "yml"):
            yield folder / f"{name}.{suffix}"


def _read(path: Path) -> dict[str, Any]:
    """The clouds of a file, by name."""
    from flowbridge import yamltext  # noqa: PLC0415 - only an instance that names a cloud reads YAML

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"it cannot be read ({type(error).__name__})", source=str(path)) from error
    data = yamltext.load(text, str(path)).data
    clouds = (data.get("clouds") if isinstance(data, dict) else None) or {}
    if not isinstance(clouds, dict) or not all(isinstance(cloud, dict) for cloud in clouds.values()):
        raise InvalidInput("a mapping `clouds` of names and mappings is expected", source=str(path))
    return clouds


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _laid_over(merged[key], value) if both else value
    return merged


def _options(cloud: str, found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    auth = found.get("auth") or {}
    if not isinstance(auth, dict):
        raise InvalidInput(f"auth of the cloud {cloud} is no mapping", source=str(path))
    options: dict[str, Any] = {AUTH_NAMES.get(str(key), str(key)): value for key, value in auth.items()}
    # In the order of NAMES: what is said of the workflow service alone comes last and counts.
    for key in sorted(TOP & set(found), key=lambda key: key.startswith("workflow_")):
        options[NAMES.get(key, key)] = found[key]
    regions = found.get("regions")
    if "region" not in options and isinstance(regions, list) and len(regions) == 1:
        only = regions[0]
        options["region"] = only.get("name") if isinstance(only, dict) else only
    if "auth_url" not in options and found.get("profile"):
        raise InvalidInput(
            f"the cloud {cloud} leaves its address to a profile, and those are not read; give it auth.auth_url",
            source=str(path),
        )
    return options

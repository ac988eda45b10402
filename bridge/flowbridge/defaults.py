"""Which instance is used where none is named, and which others would be where the one that is named refuses."""

from __future__ import annotations

from flowbridge.backend import Backend, Definition, Deployed
from flowbridge.errors import InvalidInput
from flowbridge.instances import Instances


def default_of(configured: str, instances: Instances, definition: Definition | None) -> str:
    """The instance for a definition, or for a name where there is none (see `Bridge.default_backend`).

    Raises `InvalidInput` where that is not clear.
    """
    if configured and (definition is None or instances.get(configured).recognizes(definition)):
        return configured
    names = instances.names()
    unusable: list[str] = []
    told = {name: _told(instances, name, definition, unusable) for name in names}
    for candidates in ([name for name in told if told[name]], [name for name in told if told[name] is not False]):
        if configured in candidates:
            return configured
        local = [name for name in candidates if instances.is_local(name)]
        if len(local) == 1:
            return local[0]
    left_out = "".join(f"; {why}" for why in unusable)
    raise InvalidInput(f"name a backend with --backend; there are: {', '.join(names) or 'none'}{left_out}")


def validated(instances: Instances, engine: Backend, definition: Definition) -> Deployed:
    """What an instance finds in a definition.

    Raises `InvalidInput` where it is wrong; where it looks like one for other instances, it names them.
    """
    try:
        return engine.validate(definition)
    except InvalidInput as error:
        if engine.recognizes(definition):
            raise
        others = [name for name in instances.names() if _told(instances, name, definition, [])]
        if not others:
            raise
        said = error.message.removeprefix(f"{definition.source}: ")
        raise InvalidInput(
            f"this looks like a definition for {' or '.join(others)}, not for {engine.name}: name that one with "
            f"--backend. {engine.name} says: {said}",
            source=definition.source,
        ) from error


def _told(instances: Instances, name: str, definition: Definition | None, unusable: list[str]) -> bool | None:
    try:
        return instances.get(name).recognizes(definition) if definition is not None else None
    except InvalidInput as error:
        unusable.append(error.message)
        return False

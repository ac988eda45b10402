"""Which instance is used where none is named."""

from __future__ import annotations

from flowbridge.backend import Definition
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


def _told(instances: Instances, name: str, definition: Definition | None, unusable: list[str]) -> bool | None:
    try:
        return instances.get(name).recognizes(definition) if definition is not None else None
    except InvalidInput as error:
        unusable.append(error.message)
        return False

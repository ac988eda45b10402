"""The backend instances of a configuration, built when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from flowbridge.backend import Backend, Capabilities, Target
from flowbridge.config import Config
from flowbridge.errors import FlowbridgeError, InvalidInput
from flowbridge.patience import Patience
from flowbridge.plugins import BACKENDS, backend_point, found, load_backend, one_line

if TYPE_CHECKING:
    from flowbridge.localbackend import LocalHost

#: An instance that is named after its type may have stood on variables that are not set now.
_OF_A_TYPE = ", or set the variables of the environment that it stands on (docs/configuration.md)"

_NOTHING = Capabilities(verbs=frozenset())


class Instances:
    """Backends by name: those of the configuration, and one of each type that needs no configuration."""

    def __init__(self, config: Config, environ: Mapping[str, str], *, extra: Iterable[Backend] = ()) -> None:
        self._config = config
        self._environ = environ
        self._bridge: _Side | None = None
        #: How long the runners of local runs are waited for.
        self.patience = Patience()
        self._built = {backend.name: backend for backend in extra}

    def attach(self, host: LocalHost, resolve: Callable[[str], Target | None], owner: str) -> None:
        """Give backends the bridge's side: local ones their host, all the catalog and the ledger they work for."""
        self._bridge = _Side(host, resolve, owner)
        for backend in self._built.values():
            self._prepare(backend)

    def get(self, name: str) -> Backend:
        """One backend. Raises `InvalidInput` where there is none of that name, listing those there are."""
        if name not in self._built:
            backend = self._build(name)
            self._prepare(backend)
            self._built[name] = backend
        return self._built[name]

    def meant(self, backend: str) -> str:
        """The instance that a name means: the one of that name, else the first of that type in the configuration."""
        if backend in self._built or backend in self._config.backends:
            return backend
        of_type = (name for name, options in self._config.backends.items() if options["type"] == backend)
        return next(of_type, backend)

    def names(self) -> list[str]:
        """Every instance there is. Imports the types that may stand without configuration."""
        implicit = [point.name for point in found(BACKENDS) if self._implicit(point.name) is not None]
        return sorted({*self._config.backends, *self._built, *implicit})

    def require(self, name: str) -> None:
        """Raise `InvalidInput` for a name that no instance has, and say what there is; nothing is built."""
        if name not in self.names():
            raise InvalidInput(f"there is no backend {name!r}; known are: {', '.join(self.names()) or 'none'}")

    def is_local(self, name: str) -> bool:
        """Whether an instance's engine runs where the bridge runs. One that does not load is not."""
        from flowbridge.localbackend import LocalBackend  # noqa: PLC0415  the same

        try:
            return isinstance(self.get(name), LocalBackend)
        except InvalidInput:
            return False

    def facts(self, names: Iterable[str]) -> dict[str, Capabilities]:
        """Each instance's capabilities. One that does not load has none: nothing can be done on it."""
        known = {}
        for name in set(names):
            try:
                known[name] = self.get(name).capabilities
            except InvalidInput:
                known[name] = _NOTHING
        return known

    def close(self) -> None:
        """Give back what the backends hold."""
        for backend in self._built.values():
            backend.close()

    def _build(self, name: str) -> Backend:
        if name in self._config.backends:
            options = dict(self._config.backends[name])
            try:
                return _made(load_backend(str(options.pop("type"))), name, options)
            except InvalidInput as error:
                raise self._placed(name, error) from error
        implicit = self._implicit(name)
        if implicit is None:
            raise InvalidInput(
                f"there is no backend {name!r}: no instance of that name is configured; there are: "
                f"{', '.join(self.names()) or 'none'}. Name it under `backends` in the configuration file "
                "(`flowbridge config path`)" + (_OF_A_TYPE if backend_point(name) else "")
            )
        return _made(load_backend(name), name, implicit)

    def _placed(self, name: str, error: InvalidInput) -> InvalidInput:
        """What is wrong with an instance, with the place in the configuration file where there is one."""
        if self._config.source is None or error.source is not None:
            return error
        return InvalidInput(error.message, source=str(self._config.source), line=self._config.lines.get(name))

    def _implicit(self, type: str) -> Mapping[str, object] | None:
        if backend_point(type) is None:
            return None
        try:
            return load_backend(type).implicit(self._environ)
        except Exception:  # noqa: BLE001  a foreign type that fails here just does not stand without configuration
            return None

    def _prepare(self, backend: Backend) -> None:
        if self._bridge is None:
            return
        backend.resolve, backend.owner = self._bridge.resolve, self._bridge.owner
        from flowbridge.localbackend import LocalBackend  # noqa: PLC0415  who only lists an engine has no host

        if isinstance(backend, LocalBackend):
            backend.attach(self._bridge.host)


class _Side(NamedTuple):
    """What a bridge gives to its backends."""

    host: LocalHost
    resolve: Callable[[str], Target | None]
    owner: str


def _made(kind: type[Backend], name: str, options: Mapping[str, object]) -> Backend:
    try:
        return kind(name, options)
    except FlowbridgeError:
        raise
    except Exception as error:
        raise InvalidInput(f"backend {name!r} (type {kind.type}) cannot be used: {one_line(error)}") from error

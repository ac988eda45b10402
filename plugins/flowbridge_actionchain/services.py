"""What the engine needs from outside: the catalog, the templates, the vault, a place for files."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowbridge.config import Config
from flowbridge.errors import InvalidInput
from flowbridge.vault import SHOWN, Vault, has_sealed
from flowbridge_actionchain.jobs.model import Job, RunContext
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.stores import Stores, read_stores
from flowbridge_actionchain.templates import TemplateError, Templates

#: Shorter texts are not searched for in results: they would be found everywhere.
_SHORTEST = 4


class Jobs(Protocol):
    """The leaf actions of one run: see `jobs.jobs`."""

    def prepare(
        self, action: PackAction, parameters: Mapping[str, Any], context: RunContext, *, early: bool = False
    ) -> Job:
        """A job for a leaf action; nothing runs yet. One that is prepared `early` can be withdrawn."""

    def find(self, handle: str) -> Job | None:
        """The job of a handle; None where its end cannot be told."""

    def close(self) -> None:
        """Ask for nothing more. What runs goes on."""


@dataclass(slots=True)
class Services:
    """The engine's surroundings. `jobs` gives those of a run by the id of its root; `secrets` are the texts that must
    not be written, as far as they are known."""

    catalog: Catalog
    templates: Templates
    vault: Vault
    jobs: Callable[[str], Jobs]
    user: str = ""
    max_steps: int = 10_000
    open_arguments: bool = False
    datastore: Mapping[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def config(self, pack: str) -> dict[str, Any]:
        """The configuration of a pack, its templates rendered; what is secret in it is known from then on.

        Raises `TemplateError` where it cannot be told.
        """
        if pack not in self.configs:
            try:
                found = self.catalog.config(pack) if pack else {}
                self.learn(self.catalog.secret_config(pack) if found else ())
            except InvalidInput as error:
                raise TemplateError(error.message) from error
            self.configs[pack] = self.templates.render(dict(found), {})
        return self.configs[pack]

    def opened(self, value: Any) -> Any:
        """A value with everything sealed in it opened; what was sealed is secret from now on."""
        if not has_sealed(value):
            return value
        found = self.vault.open(value)
        self._learn(value, found)
        return found

    def learn(self, values: Iterable[Any]) -> None:
        """Take these values for secret."""
        self.secrets.update(text for value in values for text in _texts(value) if len(text) >= _SHORTEST)

    def sealed(self, value: Any) -> Any:
        """A value as it may be written: sealed where a secret is in it."""
        return self.vault.seal(value) if self.is_tainted(value) else value

    def masked(self, text: str) -> str:
        """A text as it may be shown: stars in the place of every secret."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, SHOWN)
        return text

    def is_tainted(self, value: Any) -> bool:
        """Whether something secret is in a value."""
        return bool(self.secrets) and any(secret in text for text in _texts(value) for secret in self.secrets)

    def _learn(self, value: Any, found: Any) -> None:
        if isinstance(value, Mapping) and not isinstance(found, Mapping):
            self.learn([found])
        elif isinstance(value, Mapping) and set(value) == set(found):
            for name, below in value.items():
                self._learn(below, found[name])
        elif isinstance(value, Mapping):
            self.learn([found])
        elif isinstance(value, list):
            for below, opened in zip(value, found, strict=True):
                self._learn(below, opened)


def services_with(
    catalog: Catalog, stores: Stores, options: Mapping[str, Any], vault: Vault, jobs: Callable[[str], Jobs]
) -> Services:
    """The surroundings that the options of an instance describe; the secrets of its datastore are known."""
    services = Services(
        catalog,
        Templates(stores, native=bool(options.get("native_types"))),
        vault,
        jobs,
        user=os.environ.get("FLOWBRIDGE_ACTOR") or getpass.getuser(),
        max_steps=options.get("max_steps", 10_000),
        open_arguments=bool(options.get("secret_arguments")),
        datastore={name: entry.get("secret", entry["text"]) for name, entry in stores["system"].items()},
    )
    services.learn(entry["secret"] for store in stores.values() for entry in store.values() if "secret" in entry)
    return services


def services_of(config: Config, catalog: Catalog, vault: Vault) -> Services:
    """The same for what is rendered outside of a run, with the options of the first instance of this engine; there are
    no jobs."""
    options = next((one for one in config.backends.values() if one.get("type") == "actionchain"), {})
    return services_with(catalog, read_stores(options.get("datastore")), options, vault, _no_jobs)


def _no_jobs(root: str) -> Jobs:
    raise LookupError(root)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, below in value.items():
            yield from _texts(name)
            yield from _texts(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _texts(below)
    elif value is not None and not isinstance(value, bool):
        yield str(value)

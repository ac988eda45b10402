"""Secret values: sealed before they are written anywhere, opened only at the moment of use.

A sealed value is plain JSON data, so it travels through requests, rows and views like any other value; only who can
read the key file beside the ledger can open it. The key is made when it is first needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any

from flowbridge.errors import InvalidInput, LedgerError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

#: The one key of a sealed value.
SEALED = "flowbridge:sealed"

#: What is shown in the place of a sealed value.
SHOWN = "********"


class Vault:
    """Seals and opens values with the key in one file (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: Fernet | None = None

    def seal(self, value: Any) -> Any:
        """A JSON value, sealed. None and what is sealed already stay as they are. Raises `LedgerError`."""
        if value is None or is_sealed(value):
            return value
        token = self._fernet(make=True).encrypt(json.dumps(value).encode())
        return {SEALED: token.decode()}

    def seal_inputs(self, inputs: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Inputs with the named ones sealed."""
        return {name: self.seal(value) if name in names else value for name, value in inputs.items()}

    def open(self, value: Any) -> Any:
        """A value with everything sealed in it opened, at whatever depth.

        Raises `InvalidInput` where something was sealed with another key, `LedgerError` where the key is not there.
        """
        return _replaced(value, self._opened)

    def _opened(self, token: str) -> Any:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  only where there is a secret

        try:
            return json.loads(self._fernet(make=False).decrypt(token.encode()))
        except InvalidToken:
            raise InvalidInput(
                f"a secret value cannot be opened: it was sealed with another key than {self._path}"
            ) from None

    def _fernet(self, *, make: bool) -> Fernet:
        if self._key is None:
            from cryptography.fernet import Fernet  # noqa: PLC0415  costs more than most commands do

            try:
                self._key = Fernet(self._stored(Fernet.generate_key if make else None))
            except OSError as error:
                raise LedgerError(f"the key of secret values {self._path}: {error.strerror}") from error
            except ValueError as error:
                raise LedgerError(f"the key of secret values {self._path} is no key; it was changed") from error
        return self._key

    def _stored(self, generate: Callable[[], bytes] | None) -> bytes:
        """The key in the file. A new one is complete before it has its name, so that nobody reads half a key."""
        if generate is not None and not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A name that nobody else has: neither another thread, nor whoever was killed here with our process number.
            descriptor, draft = mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
            try:
                with open(descriptor, "wb") as file:
                    file.write(generate())
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):  # another one was first: its key is the one
                    os.link(draft, self._path)
            finally:
                os.unlink(draft)
        return self._path.read_bytes()


def is_sealed(value: Any) -> bool:
    """Whether a value is a sealed one."""
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get(SEALED), str)


def has_sealed(value: Any) -> bool:
    """Whether there is something sealed in a value, at whatever depth."""
    if is_sealed(value):
        return True
    if isinstance(value, Mapping):
        return any(map(has_sealed, value.values()))
    return isinstance(value, list | tuple) and any(map(has_sealed, value))


def masked(value: Any) -> Any:
    """A value as it may be shown: stars in the place of everything sealed in it."""
    return _replaced(value, lambda _: SHOWN)


def _replaced(value: Any, instead: Callable[[str], Any]) -> Any:
    if is_sealed(value):
        return instead(value[SEALED])
    if isinstance(value, Mapping):
        return {key: _replaced(one, instead) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(one, instead) for one in value]
    return value

"""The ledger as a whole: one file, and the parts that keep something in it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from flowbridge.ledger.database import Database
from flowbridge.ledger.executions import Executions
from flowbridge.ledger.leases import Leases
from flowbridge.ledger.operations import Operations
from flowbridge.ledger.rows import Rows
from flowbridge.vault import Vault


class Ledger:
    """One ledger file, opened. For one thread at a time. Raises `LedgerError` where it cannot be used."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.database = Database(path, durable=durable)
        self.executions = Executions(self.database)
        self.operations = Operations(self.database)
        self.leases = Leases(self.database)
        self.rows = Rows(self.database)
        self.vault = Vault(path.with_name("vault.key"))

    @property
    def path(self) -> Path:
        """The file."""
        return self.database.path

    @property
    def id(self) -> str:
        """Which ledger this is, among others that know the same engines."""
        return str(self.database.one("SELECT id FROM identity")[0])

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside are written together or not at all."""
        return self.database.transaction()

    def close(self) -> None:
        """Give the file back."""
        self.database.close()

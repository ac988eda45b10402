"""Every error flowbridge raises on purpose.

::

    FlowbridgeError
    +-- CallerError            the caller asked for something that cannot be
    |   +-- InvalidInput       exit 2   a file, an option or a value is wrong
    |   +-- LedgerError        exit 2   the ledger cannot be read or written as it is
    |   |   +-- DamagedRow     exit 2   one row of it cannot be read; all others can
    |   +-- Rejected           exit 3   the law says no; names its rule
    |   +-- Timeout            exit 9   waiting ended before what was waited for
    +-- EngineError            an engine, or the way to it, is at fault
        +-- NotFound           exit 4   the engine (or the ledger) has no such thing
        +-- Unavailable        exit 5   no answer; may be tried again
        +-- EngineRefused      exit 6   the engine said no, in its own words
        +-- Unsupported        exit 6   the engine has no such verb and nothing can stand in

A backend raises `NotFound`, `Unavailable` and `EngineRefused` on purpose, of a definition or an input that is wrong
also `InvalidInput`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class FlowbridgeError(Exception):
    """The root. `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CallerError(FlowbridgeError):
    """The caller's fault: nothing was changed."""

    exit_code = 2


class InvalidInput(CallerError):
    """A file, an option or a value is wrong.

    `source` is a file name or another place the text came from; `line` and `column` count from one and are
    None where the input has no such place. `parts` are the errors that it is made of, itself where it is one.
    """

    def __init__(
        self, message: str, *, source: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        place = ":".join(str(part) for part in (source, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)
        self.source, self.line, self.column = source, line, column
        self.parts: tuple[InvalidInput, ...] = (self,)

    @classmethod
    def together(cls, errors: Sequence[InvalidInput]) -> InvalidInput:
        """Several of them (at least one) as one, a line each. Its place is that of the first."""
        if len(errors) == 1:
            return errors[0]
        made = cls("\n".join(error.message for error in errors))
        made.parts = tuple(errors)
        made.source, made.line, made.column = errors[0].source, errors[0].line, errors[0].column
        return made


class LedgerError(CallerError):
    """The ledger cannot be used: unreadable, written by a newer release, or out of room.

    `unsure` is true where what was to be written last may be there all the same, once the ledger is opened anew.
    """

    def __init__(self, message: str, *, unsure: bool = False) -> None:
        super().__init__(message)
        self.unsure = unsure


class DamagedRow(LedgerError):
    """A row of the ledger is not as it was written. It is left as it is, and all that does not need it goes on.

    `table` and `row` name it, `why` says what is wrong with it.
    """

    def __init__(self, table: str, row: object, why: str) -> None:
        super().__init__(
            f"row {row} of the table {table} in the ledger is damaged ({why}) and left as it is: put back a sound copy "
            f"of the ledger; `flowbridge ledger check` names every such row"
        )
        self.table, self.row, self.why = table, row, why


class Rejected(CallerError):
    """The law says no; nothing was changed anywhere (O2).

    `rule` is the rule's number in the law, `reason` one word for programs (`already`, `not_running`, ...),
    `execution` the id of the execution it was judged on, `accept` the rule to name in `--accept` where going
    ahead is possible. `rows` are what it is about, one each: `NAME: what is wrong with it` for tasks that were named,
    else the execution's id.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        reason: str,
        execution: str = "",
        accept: str | None = None,
        rows: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.rule, self.reason, self.execution, self.accept = rule, reason, execution, accept
        self.rows = tuple(rows) or ((execution,) if execution else ())


class Timeout(CallerError):
    """What was waited for did not come in time. Nothing is lost: the wait can be taken up again."""

    exit_code = 9


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came while an execution was being started that is written down already: `execution` is its id.

    No error of ours, so it is caught as any other interrupt.
    """

    def __init__(self, execution: str) -> None:
        super().__init__()
        self.execution = execution


class EngineError(FlowbridgeError):
    """An engine, or the way to it, is at fault."""

    exit_code = 5


class NotFound(EngineError):
    """There is no such execution, workflow or task where it was looked for."""

    exit_code = 4


class Unavailable(EngineError):
    """The engine did not answer (refused, timed out, 5xx, 429). The same call may succeed later.

    `unsent` is true where it is certain that the request never reached the engine; `unasked` where it was not even
    tried, because the time of whoever waits was over before. `instance` names one that was found silent before, and was
    asked nothing now.
    """

    exit_code = 5

    def __init__(self, message: str, *, unsent: bool = False, unasked: bool = False, instance: str = "") -> None:
        super().__init__(message)
        self.unsent, self.unasked, self.instance = unsent or unasked, unasked, instance


class EngineRefused(EngineError):
    """The engine said no. The message carries the engine's own words."""

    exit_code = 6


class Unsupported(EngineError):
    """The engine has no such verb, and the bridge cannot do it for it (O10)."""

    exit_code = 6

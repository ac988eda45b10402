"""What a failed call becomes: one of three errors, by its status."""

import pytest
from temporalio.service import RPCError, RPCStatusCode

from flowbridge.errors import EngineRefused, NotFound, Unavailable
from flowbridge_temporal.backend import TemporalBackend
from flowbridge_temporal.server import meant

MEANING = {
    RPCStatusCode.CANCELLED: Unavailable,
    RPCStatusCode.UNKNOWN: Unavailable,
    RPCStatusCode.INVALID_ARGUMENT: EngineRefused,
    RPCStatusCode.DEADLINE_EXCEEDED: Unavailable,
    RPCStatusCode.NOT_FOUND: NotFound,
    RPCStatusCode.ALREADY_EXISTS: EngineRefused,
    RPCStatusCode.PERMISSION_DENIED: EngineRefused,
    RPCStatusCode.RESOURCE_EXHAUSTED: Unavailable,
    RPCStatusCode.FAILED_PRECONDITION: EngineRefused,
    RPCStatusCode.ABORTED: Unavailable,
    RPCStatusCode.OUT_OF_RANGE: EngineRefused,
    RPCStatusCode.UNIMPLEMENTED: EngineRefused,
    RPCStatusCode.INTERNAL: Unavailable,
    RPCStatusCode.UNAVAILABLE: Unavailable,
    RPCStatusCode.DATA_LOSS: EngineRefused,
    RPCStatusCode.UNAUTHENTICATED: EngineRefused,
}


def test_every_status_but_ok_has_a_meaning() -> None:
    assert set(MEANING) == set(RPCStatusCode) - {RPCStatusCode.OK}


@pytest.mark.parametrize("status", MEANING, ids=lambda status: status.name)
def test_a_status_becomes_its_error_with_the_servers_words(status: RPCStatusCode) -> None:
    error = meant("prod", RPCError("the server's words", status, b""))
    assert type(error) is MEANING[status]
    assert error.message == f"prod: the server's words ({status.name})"


def test_a_server_that_is_not_there_is_unavailable_and_nothing_was_sent() -> None:
    backend = TemporalBackend("prod", {"address": "127.0.0.1:1"})
    try:
        with pytest.raises(Unavailable, match=r"^prod: no Temporal server answers at 127\.0\.0\.1:1$") as caught:
            backend.check()
    finally:
        backend.close()
    assert caught.value.unsent

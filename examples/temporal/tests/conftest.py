"""A real server and its worker, started once and stopped again."""

from collections.abc import Iterator

import pytest

from flowbridge.errors import Unsupported
from lab import PAUSES, Hand, serving


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Temporal in which workflows can be paused."""
    folder = tmp_path_factory.mktemp("temporal")
    with serving(folder, *PAUSES) as address:
        yield address


@pytest.fixture(scope="session")
def hand(address: str) -> Iterator[Hand]:
    """The worker of the kit's shapes."""
    hand = Hand(address)
    yield hand
    hand.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """A rule that takes a verb, or a shape, which the engine does not have is not possible there."""
    try:
        yield
    except Unsupported as error:
        pytest.skip(error.message.rpartition(": ")[2].rstrip("."))

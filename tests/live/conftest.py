"""The real engines that the live tests run against, each started once for a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from live.mistral_server import MistralServer


@pytest.fixture(scope="session")
def mistral_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Mistral's v2 API. Its first use on a machine builds an environment for it."""
    with MistralServer(tmp_path_factory.mktemp("mistral")) as server:
        yield server.url

"""How the tests are spread over processes where `-n auto` says so."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(optionalhook=True)  # there is no such hook under -p no:xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Twice as many processes as there are processors: many tests wait for processes of their own."""
    config.option.dist = "worksteal"  # the sessions of the pages take long, and must not be left for the end
    return 2 * (os.cpu_count() or 1)

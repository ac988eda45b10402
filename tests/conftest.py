"""What holds for every test: Ctrl-C interrupts, and `-n auto` says how they are spread over processes."""

from __future__ import annotations

import os
import signal

import pytest

# What a shell without job control starts in the background ignores Ctrl-C, and hands that on. Some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # there is no such hook under -p no:xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Twice as many processes as there are processors: many tests wait for processes of their own."""
    config.option.dist = "worksteal"  # the sessions of the pages take long, and must not be left for the end
    return 2 * (os.cpu_count() or 1)

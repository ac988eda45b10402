"""The options of an instance of the reference engine: each wrong one is told by its name, with what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput
from flowbridge_memory.backend import MemoryBackend

FLOW = Definition("version: '2.0'\nflow: {tasks: {a: {action: std.noop}}}\n", "flow.yaml")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"wokers": 1}, "unknown option 'wokers'; allowed are: actions, cascades, max_tasks, workers, workflows"),
        ({"actions": [1]}, "actions must be a mapping of action names, each to a Python callable"),
        ({"actions": "json:dumps"}, "actions must be a mapping"),
        ({"actions": {"a": 1}}, "actions: action 'a' must be a text such as module:function, not 1"),
        ({"actions": {"a": "json"}}, "such as module:function, not 'json'"),
        ({"actions": {"a": ":dumps"}}, "such as module:function"),
        ({"actions": {"a": "json:nope"}}, "actions: 'a' is not at 'json:nope'"),
        ({"actions": {"a": "no.such.module:f"}}, "is not at 'no.such.module:f': ModuleNotFoundError"),
        ({"actions": {"a": "json:__doc__"}}, "cannot be called"),
        ({"cascades": "maybe"}, "cascades must be a list, not 'maybe'; allowed are: pause_down, pause_up,"),
        ({"cascades": {"pause_up": 1}}, "cascades must be a list"),
        ({"cascades": ["maybe"]}, "cascades: there is no 'maybe'; allowed are: pause_down"),
        ({"cascades": [[1]]}, "cascades: there is no [1]; allowed are: pause_down"),
        ({"workflows": "flow.yaml"}, "workflows must be a list of files, not 'flow.yaml'"),
        ({"workers": 0}, "workers must be a whole number from 1 to 256, not 0"),
        ({"workers": 99999999}, "workers must be a whole number from 1 to 256, not 99999999"),
        ({"workers": True}, "workers must be a whole number"),
        ({"max_tasks": 0}, "max_tasks must be a whole number from 1 up, not 0"),
        ({"max_tasks": "many"}, "max_tasks must be a whole number from 1 up, not 'many'"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_is_allowed(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=f"^backend here: .*{re.escape(says)}"):
        MemoryBackend("here", options)


def test_a_file_of_workflows_that_is_not_there_is_told_before_a_run_and_stands_in_the_way_of_nothing_else(
    tmp_path: Path,
) -> None:
    backend = MemoryBackend("here", {"workflows": [str(tmp_path / "nowhere.yaml")]})
    for ask in (backend.check, lambda: backend.validate(FLOW)):
        with pytest.raises(InvalidInput, match=r"^backend here: workflows: there is no file '.*nowhere.yaml'$"):
            ask()
    assert backend.capabilities.verbs
    assert MemoryBackend("here", {}).validate(FLOW).workflows == ("flow",)

"""What the server has of a definition is shown in the words of whoever wrote it."""

from __future__ import annotations

import pytest
import yaml

from flowbridge.backend import Definition
from flowbridge_mistral.definitions import parse
from flowbridge_mistral.linking import Rules
from flowbridge_mistral.unlinking import original

RULES = Rules(frozenset({"core.local"}), {"core.local"}.__contains__, "ours", subworkflows=True)


def flow(task: str) -> str:
    return f"version: '2.0'\nw:\n  tasks:\n    t: {task}\n"


def sent(text: str, rules: Rules = RULES) -> str:
    return parse(Definition(text, "w.yaml")).with_links(rules).text


@pytest.mark.parametrize(
    "task",
    [
        "{action: core.local}",
        "{action: core.local, input: {cmd: date}, retry: {count: 3, delay: 1}, on-success: [u]}",
        "{action: core.local, input: <% $.all %>}",
        "{with-items: 'i in <% $.l %>', action: core.local, input: {cmd: <% $.i %>}, concurrency: 2}",
        "{with-items: ['i in <% $.l %>', 'j in [1]'], action: core.local}",
        "{with-items: 'i in {{ _.l }}', action: core.local}",
        "{action: flowbridge.run, input: {target: 'memory:w', input: {x: 1}}}",
        "{action: flowbridge.run, input: {target: ':w', input: {x: 1}}}",
        "{action: flowbridge.run, input: {target: <% $.where %>}}",
        "{with-items: 'i in [1, 2]', action: flowbridge.run, input: {target: w, item: <% $.i %>}}",
        "{workflow: v, input: {x: 1}}",
        "{workflow: <% $.v %>}",
        "{with-items: i in <% $.l %>, workflow: v}",
    ],
)
def test_a_link_that_was_put_in_is_turned_back(task: str) -> None:
    text = flow(task)
    assert sent(text) != text
    assert yaml.safe_load(original(sent(text), "ours")) == yaml.safe_load(text)


def test_sub_workflows_of_a_workbook_have_their_short_names_again() -> None:
    text = (
        "version: '2.0'\nname: b\nworkflows:\n  w: {tasks: {t: {workflow: v}}}\n  v: {tasks: {t: {action: std.noop}}}\n"
    )
    assert "':b.v'" in sent(text)
    assert yaml.safe_load(original(sent(text), "ours")) == yaml.safe_load(text)


def test_what_stands_in_one_line_says_the_same_afterwards() -> None:
    shown = original(sent(flow("{action: core.local cmd=date}")), "ours")
    assert yaml.safe_load(shown)["w"]["tasks"]["t"] == {"action": "core.local", "input": {"cmd": "date"}}


@pytest.mark.parametrize(
    "text",
    [
        sent(flow("{action: core.local}")).replace("ours", "theirs"),
        sent(flow("{action: core.local}"), Rules({"core.local"})),
        flow("{action: std.noop}  # as it is"),
        "no: [yaml",
        "a text",
        "[1]",
        "w: 1",
        "w:\n  tasks: {t: {action: flowbridge.run, input: <% $.x %>}}",
    ],
)
@pytest.mark.parametrize("owner", ["ours", ""])
def test_what_this_ledger_put_nothing_into_is_not_touched(text: str, owner: str) -> None:
    assert original(text, owner) == text

"""What is read from a definition's text before the engine sees it."""

from __future__ import annotations

import pytest
import yaml

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput
from flowbridge_mistral.definitions import parse

FILE = "version: '2.0'\nw1:\n  tasks: {t: {action: std.noop}}\nmain:\n  tasks: {t: {action: std.noop}}\n"
BOOK = "version: '2.0'\nname: book\nworkflows:\n  w1: {tasks: {}}\n  main: {tasks: {}}\n"


def test_a_file_of_workflows_and_a_workbook_are_told_apart() -> None:
    assert (parse(Definition(FILE)).kind, parse(Definition(BOOK)).kind) == ("workflows", "workbooks")


def test_names_are_full_and_the_default_is_main() -> None:
    assert parse(Definition(FILE)).deployed.workflows == ("main", "w1")
    assert parse(Definition(BOOK)).deployed.workflows == ("book.main", "book.w1")


def test_a_workbook_of_actions_only_is_a_workbook() -> None:
    text = parse(Definition("version: '2.0'\nname: b\nactions: {a: {base: std.noop}}\n"))
    assert (text.kind, text.names, text.stored) == ("workbooks", (), ("b",))


@pytest.mark.parametrize("known", [(), ("w1", "main")])
def test_a_file_that_is_all_new_or_all_known_is_sent_as_it_is(known: tuple[str, ...]) -> None:
    assert parse(Definition(FILE)).parts(known) == [(FILE, bool(known))]


def test_a_file_that_is_new_in_part_is_sent_in_two_new_ones_first_each_complete() -> None:
    parts = [(yaml.safe_load(text), known) for text, known in parse(Definition(FILE)).parts(["main"])]
    noop = {"tasks": {"t": {"action": "std.noop"}}}
    assert parts == [({"version": "2.0", "w1": noop}, False), ({"version": "2.0", "main": noop}, True)]


def test_a_workbook_is_sent_whole() -> None:
    text = parse(Definition(BOOK))
    assert (text.parts([]), text.parts(["book"])) == ([(BOOK, False)], [(BOOK, True)])


def test_broken_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Definition("version: '2.0'\nw: [a\n  b: c\n", "w.yaml"))
    assert (caught.value.source, caught.value.line) == ("w.yaml", 3)
    assert str(caught.value).startswith("w.yaml:3:")


@pytest.mark.parametrize("text", ["", "text", "- a", "a: b: c", "\x00", "[" * 100_000])
def test_what_is_no_mapping_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Definition(text))
    assert "\n" not in str(caught.value)


def test_an_alias_bomb_costs_nothing() -> None:
    layers = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    assert parse(Definition(f"version: '2.0'\nw:\n  a0: &a0 x\n{layers}")).names == ("w",)


def test_the_engines_verdict_keeps_its_gist_and_finds_its_line() -> None:
    verdict = "Invalid DSL: 'x' was unexpected\n\nFailed validating ... {}\n\nOn instance:\n {'x': 1, 'name': 'main'}"
    error = parse(Definition(FILE, "w.yaml")).invalid(verdict)
    assert str(error) == "w.yaml:4:1: Invalid DSL: 'x' was unexpected"
    assert parse(Definition(FILE)).invalid("no place known").line is None

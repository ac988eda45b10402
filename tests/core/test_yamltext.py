"""YAML from outside: plain data with places, and bounds on everything."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flowbridge.errors import InvalidInput
from flowbridge.yamltext import MAX_CHARACTERS, MAX_DEPTH, load

BOMB = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in pairwise("abcdefg"))
SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.text("abc \n:#-{}[]'\"%<>", max_size=8)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
)


def wrong(text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load(text, "flow.yaml")
    return caught.value


def test_every_part_knows_its_line_and_column() -> None:
    located = load("a: 1\nb:\n  - x\n  - {c: 2}\n", "flow.yaml")
    assert located.data == {"a": 1, "b": ["x", {"c": 2}]}
    assert located.position(("b", 1, "c")) == (4, 6)
    assert located.position(("b", 1, "c", "deeper")) == (4, 6)


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("a: [1,\nb: 2", 3, 1, "broken YAML"),
        ("a: 1\nb: 2\na: 3", 3, 1, "second time"),
        ("a:\n  ? [x]\n  : 1", 2, 5, "single word"),
        ("x: !!python/object:os.system y", 1, 4, "broken YAML"),
        ("--- a\n--- b", 2, 1, "single document"),
        ("a: {b: *nowhere}", 1, 8, "undefined alias"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, line: int, column: int, says: str) -> None:
    error = wrong(text)
    assert (error.source, error.line, error.column) == ("flow.yaml", line, column)
    assert says in error.message
    assert "\n" not in error.message


def test_in_the_usual_way_the_last_one_of_a_key_counts_and_is_told_with_its_place() -> None:
    located = load("a: {b: 1}\nc: 2\na: {b: 3,\n  b: 4}\n", "flow.yaml", usual=True)
    assert located.data == {"a": {"b": 4}, "c": 2}
    assert [(path, located.position(path)) for path in located.repeated] == [(("a",), (3, 1)), (("a", "b"), (4, 3))]


@pytest.mark.parametrize(
    ("text", "gives"),
    [
        ("{<<: *a, y: 9}", {"x": 1, "y": 9}),
        ("{y: 9, <<: *a}", {"x": 1, "y": 9}),
        ("{<<: [*b, *a]}", {"x": 3, "y": 2, "z": 4}),
        ("{<<: {<<: *b, w: 5}}", {"x": 3, "z": 4, "w": 5}),
        ('{"<<": 1}', {"<<": 1}),
    ],
)
def test_in_the_usual_way_a_mapping_takes_in_others(text: str, gives: object) -> None:
    document = f"- &a {{x: 1, y: 2}}\n- &b {{x: 3, z: 4}}\n- {text}\n"
    assert load(document, "flow.yaml", usual=True).data[2] == gives == yaml.safe_load(document)[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{<<: 1}", "a mapping, or a list of mappings"),
        ("&a {<<: *a}", "levels deep"),
        ("[&a {x: 1}, " + "".join(f"&{b} {{<<: [*{a}, *{a}]}}, " for a, b in pairwise("abcdefghijklmnopqrstuvw")) + "]",
         "aliases counted each time"),
        (f"[&a {{}}, &b {{<<: [{', '.join(['*a'] * 40)}]}}, {{<<: [{', '.join(['*b'] * 40)}]}}]", "each time"),
    ],
)  # fmt: skip
def test_what_a_mapping_takes_in_is_bounded(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        load(text, "flow.yaml", usual=True, nodes=1000)


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_nesting_is_bounded_before_anything_recurses(opening: str) -> None:
    assert f"more than {MAX_DEPTH} levels" in wrong(opening * 100_000).message


def test_an_alias_bomb_is_refused() -> None:
    assert "aliases counted each time" in wrong(BOMB).message


def test_an_alias_that_holds_itself_is_refused() -> None:
    assert "levels deep" in wrong("a: &a [*a]").message


def test_a_text_that_is_too_large_is_refused_unread() -> None:
    assert "at most" in wrong("#" * (MAX_CHARACTERS + 1)).message


def test_an_empty_text_gives_nothing() -> None:
    assert load("", "x").data is None


@pytest.mark.parametrize("key", ["on", "yes", "1.0", "~"])
def test_a_bare_key_stays_as_it_is_written(key: str) -> None:
    assert load(f"{key}: 1", "x").data == {key: 1}


def test_a_date_stays_as_it_is_written() -> None:
    assert load("day: 2024-02-30x\nwhen: 2024-02-03", "x").data == {"day": "2024-02-30x", "when": "2024-02-03"}


@given(DATA)
def test_what_yaml_writes_comes_back(data: Any) -> None:
    assert load(yaml.safe_dump(data), "x").data == data


@given(st.text("ab:-[]{}&*!|>'\"%@`#,? \n\t", max_size=40))
def test_any_text_is_read_or_told_to_be_wrong(text: str) -> None:
    try:
        load(text, "x")
    except InvalidInput as error:
        told = str(error)
    else:
        told = "x"
    assert told.startswith("x")

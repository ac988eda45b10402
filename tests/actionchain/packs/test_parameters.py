"""Binding parameters: required, unknown, immutable, enum, types, and defaults that are templates."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionchain.packkit import render
from flowbridge.errors import InvalidInput
from flowbridge_actionchain.packs.model import PackAction, Parameter
from flowbridge_actionchain.packs.parameters import bind, has_template
from flowbridge_actionchain.templates import TemplateError


def action(**parameters: Mapping[str, Any]) -> PackAction:
    return PackAction(
        "p.a", "p", "a", "noop", parameters={name: Parameter(name, **known) for name, known in parameters.items()}
    )


def bound(known: Mapping[str, Any], value: Any) -> Any:
    return bind(action(it=known), {"it": value}, render)["it"]


def refused(made: PackAction, **values: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        bind(made, values, render)
    return caught.value.message


def test_values_and_defaults_come_in_the_order_of_the_metadata() -> None:
    made = action(a={}, b={"default": "x"}, c={}, d={"default": None})
    assert list(bind(made, {"c": "1", "a": "2"}, render).items()) == [("a", "2"), ("b", "x"), ("c", "1")]


def test_what_is_required_and_neither_given_nor_has_a_default_is_an_error() -> None:
    made = action(a={"required": True}, b={"required": True, "default": "x"})
    assert refused(made) == "p.a: the parameter 'a' is required"
    assert refused(made, a=None) == "p.a: the parameter 'a' is required"
    assert bind(made, {"a": ""}, render) == {"a": "", "b": "x"}


def test_an_unknown_parameter_tells_a_near_one_and_all_there_are() -> None:
    made = action(message={}, fixed={"immutable": True}, other={})
    assert refused(made, mesage="x") == (
        "p.a has no parameter 'mesage'; did you mean 'message'? it has: message, other"
    )
    assert refused(action(), x=1) == "p.a has no parameter 'x'; it has: none"


def test_an_immutable_parameter_cannot_be_given() -> None:
    assert refused(action(a={"immutable": True, "default": "x"}), a="x") == (
        "p.a: the parameter 'a' is immutable, so it cannot be given"
    )


def test_a_value_outside_of_its_enum_is_an_error() -> None:
    made = action(a={"enum": ("x", "y")}, n={"type": "integer", "enum": (1, 2)})
    assert refused(made, a="z") == "p.a: the parameter 'a' must be one of x, y, and 'z' is none of them"
    assert bind(made, {"a": "y", "n": "2"}, render) == {"a": "y", "n": 2}


@pytest.mark.parametrize(
    ("kind", "value", "cast"),
    [
        ("string", "x", "x"),
        ("string", 5, "5"),
        ("string", 1.5, "1.5"),
        ("string", True, "true"),
        ("integer", "5", 5),
        ("integer", 5.0, 5),
        ("number", "5", 5.0),
        ("number", "1e3", 1000.0),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("boolean", 0, False),
        ("array", '["a", 1]', ["a", 1]),
        ("array", "['a', None]", ["a", None]),
        ("array", "a, b", ["a", "b"]),
        ("array", (1, 2), [1, 2]),
        ("array", 5, [5]),
        ("object", '{"a": null}', {"a": None}),
        ("object", "{'a': 1}", {"a": 1}),
        ("object", "a=1, b = x=y", {"a": "1", "b": "x=y"}),
        ("", [1, {"a": 2}], [1, {"a": 2}]),
    ],
)
def test_values_are_cast_by_their_type(kind: str, value: Any, cast: Any) -> None:
    found = bound({"type": kind}, value)
    assert (found, type(found)) == (cast, type(cast))


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("string", [1], "a string, and [1]"),
        ("integer", "x", "an integer, and 'x'"),
        ("integer", 1.5, "an integer, and 1.5"),
        ("integer", True, "an integer, and True"),
        ("number", "x", "a number, and 'x'"),
        ("number", "nan", "a number, and 'nan'"),
        ("number", "-inf", "a number, and '-inf'"),
        ("number", False, "a number, and False"),
        ("boolean", "maybe", "a boolean, and 'maybe'"),
        ("array", "[1", "an array, and '[1'"),
        ("array", {"a": 1}, "an array, and {'a': 1}"),
        ("object", "x", "an object, and 'x'"),
        ("object", [1], "an object, and [1]"),
        ("object", "{" * 9999, "an object, and"),
        ("object", "__import__('os').system('true')", "an object, and"),
    ],
)
def test_a_value_of_another_type_is_an_error(kind: str, value: Any, shown: str) -> None:
    message = refused(action(it={"type": kind}), it=value)
    assert message.startswith(f"p.a: the parameter 'it' must be {shown}")
    assert message.endswith(" is none")
    assert len(message) < 200


def test_the_value_of_a_secret_is_in_no_error() -> None:
    for known in ({"type": "integer"}, {"type": "string", "enum": ("x",)}):
        message = refused(action(it={"secret": True, **known}), it="xyzzy")
        assert "xyzzy" not in message
        assert "the value given" in message


def test_defaults_are_templates_over_the_other_parameters_in_whatever_order() -> None:
    made = action(
        full={"default": "{{ greeting }}, {{ name }}{{ mark }}"},
        greeting={"default": "{{ word | upper }}"},
        name={},
        mark={},
        word={"default": "hello"},
        count={"type": "integer", "default": "{{ 40 + 2 }}"},
        inner={"type": "object", "default": {"to": ["{{ name }}"]}},
    )
    assert bind(made, {"name": "Ada"}, render) == {
        "full": "HELLO, AdaNone",
        "greeting": "HELLO",
        "name": "Ada",
        "word": "hello",
        "count": 42,
        "inner": {"to": ["Ada"]},
    }


def test_what_the_caller_gives_is_never_rendered() -> None:
    made = action(a={}, b={"default": "<{{ a }}>"})
    assert bind(made, {"a": "{{ b }}"}, render) == {"a": "{{ b }}", "b": "<{{ b }}>"}


def test_defaults_that_refer_to_each_other_are_an_error_that_shows_the_circle() -> None:
    made = action(a={"default": "{{ b }}"}, b={"default": "{{ c }}"}, c={"default": "{{ b }}"})
    assert refused(made) == "p.a: the defaults of its parameters refer to each other: b -> c -> b"
    assert bind(made, {"c": "x"}, render) == {"a": "x", "b": "x", "c": "x"}


def test_what_is_a_template() -> None:
    assert has_template({"a": ["{{ b }}"]})
    assert has_template({"{% x %}": 1})
    assert not has_template({"a": ["b", 1, None]})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50)
@given(st.sampled_from(["string", "integer", "number", "boolean", "array", "object", ""]), _json)
def test_any_value_is_cast_to_its_type_or_refused(kind: str, value: Any) -> None:
    types: Mapping[str, Any] = {
        "string": str,
        "integer": int,
        "number": float,
        "boolean": bool,
        "array": list,
        "object": dict,
        "": object,
    }
    try:
        found = bind(action(it={"type": kind}), {"it": value}, render)
    except InvalidInput:
        return
    assert value is None or isinstance(found["it"], types[kind])


def test_a_default_with_a_filter_of_StackStorm_comes_after_those_that_it_refers_to() -> None:
    made = action(a={"default": "{{ b | to_json_string }}"}, b={"default": "{{ c }}"}, c={"default": "x"})
    stub = Stub()
    bind(made, {}, stub)
    assert [others["b"] for others in stub.others] == [None, "given"]


@pytest.mark.parametrize(
    "default",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 'a' | center(10**9) }}",
        "{{ 10 ** (10 ** 7) }}",
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{{ [x] }}{{ " + "[" * 20_000 + " }}",
    ],
)
def test_looking_for_the_names_in_a_default_works_nothing_of_it_out(default: str) -> None:
    """Only `render` does, which has bounds."""
    stub = Stub()
    tracemalloc.start()
    try:
        bind(action(a={"default": default}), {}, stub)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stub.asked == [default]
    assert most < 100_000_000


def test_a_default_that_cannot_be_told_is_named_with_its_action() -> None:
    def hopeless(*_: object) -> None:
        raise TemplateError("it takes longer than 5 seconds")

    with pytest.raises(TemplateError) as caught:
        bind(action(a={}, b={"default": "{{ a }}"}), {}, hopeless)
    assert caught.value.message == "p.a: the default of 'b' cannot be told: it takes longer than 5 seconds"


class Stub:
    """Renders everything to the same word, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.others: list[dict[str, Any]] = []

    def __call__(self, value: Any, others: Mapping[str, Any]) -> str:
        self.asked.append(value)
        self.others.append(dict(others))
        return "given"

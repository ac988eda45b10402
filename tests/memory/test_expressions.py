"""Expressions: types kept, both languages, sandboxed and bounded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbridge_memory.expressions import ExpressionError, Scope, check, condition
from flowbridge_memory.expressions import compile as compiled

SCOPE = Scope({"n": 2, "list": [1, 2, 3], "tree": {"leaf": "green"}, "none": None}, {"env": lambda: {"region": "eu"}})


def value(source: Any) -> Any:
    return compiled(source).evaluate(SCOPE)


def fails(source: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<% $.n %>", 2),
        ("{{ _.n }}", 2),
        ("<% $.list.select($ * 2) %>", [2, 4, 6]),
        ("{{ _.list | map('string') | list }}", ["1", "2", "3"]),
        ("<% $.tree %>", {"leaf": "green"}),
        ("n is <% $.n %>!", "n is 2!"),
        ("n is {{ _.n }}!", "n is 2!"),
        ("<% $.n %><% $.n %>", "22"),
        ("{% for i in _.list %}{{ i }};{% endfor %}", "1;2;3;"),
        ("<% $.none %>", None),
        ("<% $.tree.keys() %>", ["leaf"]),
        ("<% $.list.where($ > 1) %>", [2, 3]),
        ("<% $.keys().contains(tree) %>", True),
        ("<% env().region %>", "eu"),
        ("{{ env().region }}", "eu"),
        ("<% $.none %> is <% $.list %>", "None is [1, 2, 3]"),
        ("<% json_dump($.tree) %>", '{\n    "leaf": "green"\n}'),
        ("{{ _.tree | json_dump }}", '{\n    "leaf": "green"\n}'),
        ("<% yaml_dump($.tree) %>", "leaf: green\n"),
        ("<% json_parse('[1]') %>", [1]),
        ("<% yaml_parse('a: 1') %>", {"a": 1}),
        ("plain", "plain"),
        ({"<% $.n %>": ["<% $.n %>", {"x": "{{ _.n }}"}], "k": 1}, {"<% $.n %>": [2, {"x": 2}], "k": 1}),
    ],
)
def test_an_expression_gives_its_value_with_its_type(source: Any, expected: Any) -> None:
    assert value(source) == expected


def test_a_value_without_expressions_is_constant() -> None:
    plain = {"a": [1, {"b": "text { } < %"}]}
    assert compiled(plain).constant
    assert compiled(plain).evaluate(SCOPE) is plain


@pytest.mark.parametrize("source", ["<% $.missing %>", "{{ _.missing }}", "{{ _.tree.missing }}", "<% nothing() %>"])
def test_a_name_that_is_not_there_is_an_error_naming_it(source: str) -> None:
    assert "missing" in fails(source) or "nothing" in fails(source)


@pytest.mark.parametrize("source", ["<% 1 + %>", "{{ 1 + }}", "{% for %}", "a <% ) %> b"])
def test_what_cannot_be_read_is_found_before_anything_runs(source: str) -> None:
    with pytest.raises(ExpressionError, match="cannot be read"):
        check({"deep": [source]})


@pytest.mark.parametrize(
    "source",
    [
        f"<% {'(' * 100}$.n{')' * 100} %>",
        f"<% {'(' * 5000}$.n{')' * 5000} %>",
        f"<% {'not ' * 600}$.n %>",
        f"<% {'[' * 200}$.n{']' * 200} %>",
        f"<% {{a => {'[' * 200}$.n{']' * 200}}} %>",
        f"<% {' + '.join(['$.n'] * 200)} %>",
        f"{{{{ {'(' * 100}_.n{')' * 100} }}}}",
        f"{{{{ {'not ' * 600}_.n }}}}",
        f"{{{{ {'[' * 5000}_.n{']' * 5000} }}}}",
        "{% if _.n %}" * 100 + "x" + "{% endif %}" * 100,
    ],
    ids=lambda source: f"{source[:14]} of {len(source)}",
)
def test_an_expression_that_is_nested_too_deeply_is_told_in_one_short_line(source: str) -> None:
    with pytest.raises(ExpressionError, match=r"^an expression cannot be read: it is nested too deeply") as caught:
        check(source)
    assert len(str(caught.value)) < 300
    assert fails(source) == str(caught.value)


@pytest.mark.parametrize("source", [f"<% {' + '.join(['$.n'] * 80)} %>", f"{{{{ {'(' * 40}_.n{')' * 40} }}}}"])
def test_an_expression_may_be_nested_as_deeply_as_anybody_writes(source: str) -> None:
    check(source)
    assert value(source) in (80 * SCOPE.variables["n"], SCOPE.variables["n"])


@pytest.mark.parametrize("source", [f"<% $.no.{'x' * 10_000} %>", f"{{{{ _.no.{'x' * 10_000} }}}}"])
def test_a_message_tells_the_reason_first_and_quotes_no_more_than_a_line_of_an_expression(source: str) -> None:
    message = fails(source)
    assert message.startswith("an expression failed: ")
    assert message.endswith("xxx...")
    assert len(message) < 700


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ _.list.append(4) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 1000000000 * 'x' }}",
        "{{ [0] * 1000000000 }}",
        "{{ 10 ** 100000 }}",
        "{% for i in range(1000000) %}x{% endfor %}",
        "<% range(0, 10000000).toList() %>",
        "<% $.__class__ %>",
    ],
)
def test_hostile_expressions_end_with_an_error(source: str) -> None:
    fails(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x'|center(1000000000) }}",
        "{{ ['x']|map('center', 1000000000)|list }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ 'x'.zfill(1000000000) }}",
        "{{ 'x'|indent(1000000000) }}",
        "{{ ['x']|batch(1000000000, 'x')|list }}",
        "{{ '%01000000000d'|format(1) }}",
        "{{ '%01000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ ('x' * 10000).replace('x', 'y' * 10000) }}",
        "{{ ('x' * 10000)|replace('x', 'y' * 10000) }}",
        "{{ ('x' * 10000).join(['y'] * 10000) }}",
        "{{ (['y'] * 10000)|join('x' * 10000) }}",
        "{{ ('x' * 9000000) + ('x' * 9000000) }}",
    ],
)
def test_what_would_be_huge_is_not_built_and_least_of_all_by_who_only_checks_it(source: str) -> None:
    check(source)
    message = fails(source)
    assert "are not built" in message


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ("{{ '%.2f|%d %s' % (3.14159, 1764397450123, 'x') }}", "3.14|1764397450123 x"),
        ("{{ '{:>4} {} {:.1f}'.format('a', 1764397450123, 2.0) }}", "   a 1764397450123 2.0"),
        ("{{ '%*d' % (3, 1) }}", "  1"),
        ("{{ 'at 10:15, 12345678 of them: %d' | format(1764397450123) }}", "at 10:15, 12345678 of them: 1764397450123"),
        ("{{ _.nowhere | default(1764397450123) }}", 1764397450123),
        ("{{ [3, 1] | sort | map('string') | join(', ') }}", "1, 3"),
        ("{{ 'a b' | replace('a', 'c') | upper | center(7) }}", "  C B  "),
        ("{{ [1, 2] | map('string') | map('center', 3) | list }}", [" 1 ", " 2 "]),
        ("{{ {'a': 1} | dictsort }}", [("a", 1)]),
    ],
)
def test_bounds_leave_what_is_usual_as_it_is(source: str, gives: object) -> None:
    assert value(source) == gives


@pytest.mark.parametrize(
    "source",
    [
        "<% regex('(a+)+$').matches('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!') %>",
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "<% range(3000).where(range(3000).where(range(3000).any($ < 0)).any()).len() %>",
    ],
)
def test_what_would_take_years_is_stopped_and_what_comes_after_is_not(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowbridge_memory.timelimit.SECONDS", 0.2)
    assert "more than 0.2 seconds of the processor's time" in fails(source)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert value("<% $.n + 1 %>") == 3


def test_an_expression_within_another_has_the_time_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowbridge_memory.timelimit.SECONDS", 0.2)
    inner = Scope({}, {"again": lambda: value("<% $.n %>")})
    loop = "{% for a in range(90000) %}{% for b in range(90000) %}{{ again() }}{% endfor %}{% endfor %}"
    with pytest.raises(ExpressionError, match="processor's time"):
        compiled(loop).evaluate(inner)


def test_the_work_of_other_threads_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowbridge_memory.timelimit.SECONDS", 0.1)

    def work() -> int:
        while time.thread_time() < 0.3:
            pass
        return 1

    with ThreadPoolExecutor(1) as pool:
        beside = Scope({}, {"work": lambda: pool.submit(work).result()})
        assert compiled("<% work() %>").evaluate(beside) == 1


def test_the_timer_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowbridge_memory.timelimit.SECONDS", 0.0)
    before = signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
    try:
        assert value("<% $.n + 1 %>") == 3
        assert signal.getsignal(signal.SIGVTALRM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGVTALRM, before)


def test_another_thread_evaluates_without_the_timer() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(value, "<% $.n + 1 %>").result() == 3


def test_a_bare_condition_is_yaql() -> None:
    assert compiled(condition("$.n > 1")).evaluate(SCOPE) is True
    assert compiled(condition("{{ _.n > 5 }}")).evaluate(SCOPE) is False


@given(st.text("<%>{}$._ n+1'\"|()", max_size=20))
def test_any_text_is_a_value_or_a_told_mistake(source: str) -> None:
    try:
        value(source)
    except ExpressionError as error:
        told = str(error)
    else:
        told = "x"
    assert told


def test_no_expression_language_is_imported_before_it_is_needed() -> None:
    script = "import sys, flowbridge_memory.session; print({'yaql', 'jinja2'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )

"""Templates may do what StackStorm's may, and nothing else: hostile ones are stopped with an error, soon."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbridge.errors import InvalidInput
from flowbridge_actionchain.stores import read_stores
from flowbridge_actionchain.templates import TemplateError, Templates

CONTEXT = {"n": 5, "text": "a'b\"c", "data": {"items": [1, 2], "it": None}, "list": ["x", "y"]}


@pytest.fixture(scope="module")
def templates() -> Iterator[Templates]:
    one = Templates(
        {"system": {"a": {"text": "1"}, "a.b": {"text": "two"}, "a.name": {"text": "three"}}, "user": {}}, seconds=1.0
    )
    yield one
    one.close()


@pytest.mark.parametrize(
    ("value", "gives"),
    [
        ("plain", "plain"),
        ("line\n", "line"),
        (7, 7),
        (None, None),
        (True, True),
        ({"a": [1, None]}, {"a": [1, None]}),
        ("{{ n }}", "5"),
        ("{{n}} and {{ text }}", "5 and a'b\"c"),
        ("{{ data.items }}", "[1, 2]"),
        ("{{ data.items[1] }}{{ data['it'] }}", "2None"),
        ("{{ data.items | length }}", "2"),
        ("{% for one in list %}{{ one }},{% endfor %}", "x,y,"),
        ("{% if n in [5] %}yes{% endif %}", "yes"),
        ("{{ st2kv.system.a }} {{ st2kv.system.a.b }} {{ system.a }} [{{ st2kv.system.no }}]", "1 two 1 []"),
        ("{{ st2kv.system.a.name }} [{{ st2kv.system.a.opened }}]", "three []"),
        ("{% if st2kv.system.no %}there{% else %}not{% endif %}", "not"),
        ({"{{ n }}": ["{{ n }}", {"t": "{{ text }}"}]}, {"5": ["5", {"t": "a'b\"c"}]}),
        ({"t": "C:\\new {{ n }}"}, {"t": "C:\\new 5"}),
        ({"t": "{{ text | regex_replace('\\w', '-') }}"}, {"t": "-'-\"-"}),
        ("{% raw %}{{ n }}{% endraw %}", "{{ n }}"),
        ("{# a remark #}x", "x"),
        ("{{ __context.n }}", "5"),
    ],
)
def test_what_templates_give(templates: Templates, value: object, gives: object) -> None:
    assert templates.render(value, CONTEXT) == gives


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ data.__class__.__init__.__globals__ }}", "unsafe"),
        ("{{ [].append.__self__.__class__ }}", "unsafe"),
        ("{{ lipsum.__globals__['os'] }}", "unsafe|no attribute"),
        ("{{ cycler.__init__.__globals__.os }}", "unsafe"),
        ("{{ data.update({'x': 1}) }}", "unsafe|not safely callable"),
        ("{{ 'a' * 10**9 }}", "memory"),
        ("{{ 'a'.center(10**9) }}", "memory"),
        ("{{ '%2000000000d' % 1 }}", "memory|large"),
        ("{{ '{:2000000000}'.format(1) }}", "memory|large"),
        ("{{ range(10**9) | list }}", "too big"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "longer than 1 s"),
        ("{{ 9**(9**(9**9)) }}", "longer than 1 s"),
        ("{{ ('a' * 40 ~ 'b') | regex_match('(a+)+$') }}", "longer than 1 s"),
        ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "too deeply|recursion"),
        ("{% for i in range(99999) %}" + "x" * 200 + "{% endfor %}", "10000000 characters"),
        ("{% include '/etc/passwd' %}", "loader"),
        ("{{ n | nothing }}", "No filter named 'nothing'"),
        ("{{ n", "unexpected end"),
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ data.nope }}", "has no attribute 'nope'"),
    ],
)
def test_a_hostile_or_wrong_template_is_an_error_and_the_next_one_is_rendered(
    templates: Templates, hostile: str, why: str
) -> None:
    with pytest.raises(TemplateError, match=why) as caught:
        templates.render(hostile, CONTEXT)
    assert "\n" not in caught.value.message
    assert templates.render("{{ n + 1 }}", CONTEXT) == "6"


def test_the_names_of_a_huge_text_are_not_put_together_without_a_bound(templates: Templates) -> None:
    with pytest.raises(TemplateError, match="10000000 characters"):
        templates.render("{{ big }}" * 20, {"big": "x" * 1_000_000})


def test_a_template_sees_neither_files_nor_the_environment_of_the_engine(templates: Templates) -> None:
    for name in ("environ", "open", "self._TemplateReference__context.environment", "os", "__import__"):
        with pytest.raises(TemplateError):
            templates.render(f"{{{{ {name}.x | string }}}}", CONTEXT)


def test_what_is_plain_starts_no_helper_and_loads_no_template_engine() -> None:
    script = (
        "import sys\n"
        "from flowbridge_actionchain.templates import Templates\n"
        "one = Templates()\n"
        "assert one.render({'a': 'echo {{ c1.stdout }}'}, {'c1': {'stdout': 'x'}}) == {'a': 'echo x'}\n"
        "assert one._helper is None and 'jinja2' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_helper_ends_with_whoever_started_it() -> None:
    script = (
        "from flowbridge_actionchain.templates import Templates\n"
        "one = Templates()\n"
        "one.render('{{ 1 + 1 }}', {})\n"
        "print(one._helper._process.pid, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    pid = int(said.stdout)
    for _ in range(500):
        if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z":
            return
        os.sched_yield()
        subprocess.run(["true"], check=True)
    raise AssertionError(f"the helper {pid} lives on")


def test_secret_entries_of_the_datastore_are_given_to_the_filter_that_opens_them_only(tmp_path: Path) -> None:
    file = tmp_path / "store.yaml"
    file.write_text("system:\n  plain: 7\n  db.password: {secret: hunter22}\nuser:\n  shell: zsh\n")
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_stores(str(file))
    file.chmod(0o600)
    one = Templates(read_stores(str(file)))
    try:
        text = "{{ st2kv.system.plain }} {{ st2kv.system.db.password }} {{ st2kv.system.db.password | decrypt_kv }}"
        assert one.render(f"{text} {{{{ st2kv.user.shell }}}}", {}) == "7 ******** hunter22 zsh"
        with pytest.raises(TemplateError, match="there is no 'nope' in the datastore"):
            one.render("{{ st2kv.system.nope | decrypt_kv }}", {})
    finally:
        one.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a", "must be a mapping"),
        ("sys: {}", ":1:1: unknown scope 'sys'; allowed are: system, user"),
        ("system: [a]", ":1:1: system must be a mapping"),
    ],
)
def test_a_datastore_that_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "store.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=why):
        read_stores(str(file))
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_stores(str(tmp_path / "none.yaml"))

"""What is wrong with a chain is told before anything runs: all of it, with file, line and column."""

from __future__ import annotations

import pytest
from jinja2.tests import TESTS

from actionchain.packkit import Site
from flowbridge.backend import Definition
from flowbridge.config import CatalogConfig, Config
from flowbridge.errors import InvalidInput
from flowbridge_actionchain.checks import require_sound
from flowbridge_actionchain.filters import FILTERS
from flowbridge_actionchain.helper import reader
from flowbridge_actionchain.packs.targets import entry_of, target_of


def wrong(site: Site, text: str) -> list[str]:
    """What is told of a chain, a line each; the site has the actions of `pack`."""
    pack(site)
    try:
        require_sound(Definition(text, "c.yaml"), site.catalog)
    except InvalidInput as error:
        return error.message.split("\n")
    return []


def pack(site: Site) -> None:
    site.action(
        "say",
        "local-shell-cmd",
        word={"type": "string", "required": True, "enum": ["a", "b"]},
        count={"type": "integer"},
        key={"type": "integer", "secret": True},
        cmd={"immutable": True, "default": "true"},
    )
    site.action("far", "remote-shell-cmd")
    site.action("orquesta", "orquesta")
    site.action("gone", "local-shell-script", "gone.sh")


def one(rest: str, ref: str = "p.say") -> str:
    return f"chain:\n  - name: t\n    ref: {ref}\n{rest}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (one("    parameters: {word: a, cuont: 1}\n"), "c.yaml:4:27: task 't': p.say has no parameter 'cuont'; did"),
        (one("    parameters: {word: a, cmd: x}\n"), "c.yaml:4:27: task 't': p.say: the parameter 'cmd' is immutable"),
        (one("    parameters: {word: c}\n"), "c.yaml:4:18: task 't': p.say: the parameter 'word' must be one of a, b"),
        (one("    params: {word: a, count: x}\n"), "c.yaml:4:23: task 't': p.say: the parameter 'count' must be an"),
        (one("    parameters: {word: a, key: xyzzy}\n"), "c.yaml:4:27: task 't': p.say: the parameter 'key' must be"),
        (one("    parameters: {count: 1}\n"), "c.yaml:3:5: task 't': p.say: the parameter 'word' is required"),
        (one("", "p.sya"), "c.yaml:3:5: task 't': there is no action 'p.sya'; did you mean p.say"),
        (one("", "pp.say"), "c.yaml:3:5: task 't': there is no pack 'pp' for 'pp.say'; did you mean 'p'?"),
        (one("", "p.far"), "c.yaml:3:5: task 't': p.far is of the runner type 'remote-shell-cmd', which is not run"),
        (one("", "core.ask"), "c.yaml:3:5: task 't': core.ask is of the runner type 'inquirer', which is not run here"),
        (one("", "core.remote"), "c.yaml:3:5: task 't': core.remote is of the runner type 'remote-shell-cmd', which"),
        (one("", "core.remote_sudo"), "c.yaml:3:5: task 't': core.remote_sudo is of the runner type 'remote-shell"),
        (one("", "core.winrm_cmd"), "c.yaml:3:5: task 't': core.winrm_cmd is of the runner type 'winrm-cmd', which is"),
        (one("", "core.announcement"), "c.yaml:3:5: task 't': core.announcement is of the runner type 'announcement'"),
        (one("", "core.sendmail"), "StackStorm's own `core` in a folder of packs has more than what is built in"),
        (one("", "p.orquesta"), "c.yaml:3:5: task 't': p.orquesta is of the runner type 'orquesta', which is not run"),
        (one("", "p.gone"), "actions/gone.sh is not there: put the file there, or name another one"),
        (one("", "flowbridge.run"), "c.yaml:2:5: task 't': flowbridge.run needs the parameter 'target'"),
        (one("    parameters: {target: a, inptu: {}}\n", "flowbridge.run"),
         "c.yaml:4:29: task 't': flowbridge.run has no parameter 'inptu'; it has: target, input"),
        (one("    publish: {v: '{{ t.x '}\n", "core.noop"), "c.yaml:4:15: broken template in 'v': unexpected"),
        (one("    publish: {v: ['{{ a | to_jsn }}']}\n", "core.noop"), "c.yaml:4:19: broken template in 0: No filter"),
        (one("    on-success: '{% if a %}t'\n", "core.noop"), "c.yaml:4:5: broken template in 'on-success': Unex"),
        ("vars: {a: '{{ 1 + }}'}\n" + one("", "core.noop"), "c.yaml:1:8: broken template in 'a': "),
        ("default: '{{ }}'\n" + one("", "core.noop"), "c.yaml:1:1: broken template in 'default': "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(site: Site, text: str, told: str) -> None:
    (only,) = wrong(site, text)
    assert told in only
    assert "xyzzy" not in only


def test_what_stackstorm_passes_over_is_told_and_no_reason_not_to_run_it(site: Site) -> None:
    text = one("    on-success: a\n    on-success: u\n    description: so\n", "core.noop") + (
        "  - name: u\n    ref: core.noop\n    retry: 3\n  - name: t\n    ref: core.noop\n"
    )
    assert require_sound(Definition(text, "c.yaml"), site.catalog) == (
        "c.yaml:5:5: 'on-success' stands here a second time; the last one counts",
        "c.yaml:9:5: unknown key 'retry' is passed over; known are: name, ref, parameters, params, on-success, "
        "on-failure, publish, notify, description",
        "c.yaml:10:5: task 't' stands here a second time; only the first one ever runs",
    )
    assert wrong(site, text.replace("    description: so\n", "    retry: 3\n"))[0].startswith("c.yaml:6:5: unknown key")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 99 }}",
        "{{ - 9 ** 99 }}",
        "{{ 'x' | center(99) }}",
        "{{ 'x' | spy }}",
        "{{ 'x' is spy }}",
        "{% autoescape 'x' * 99 %}{{ 'x' | spy }}{% endautoescape %}",
    ],
)
def test_nothing_of_a_template_is_worked_out_while_it_is_read(
    site: Site, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jinja works out what is constant, in our own process: a huge repeat, or a pattern that never comes to an end."""
    monkeypatch.setitem(FILTERS, "spy", lambda _: pytest.fail("a filter was called"))
    monkeypatch.setitem(TESTS, "spy", lambda _: pytest.fail("a test was called"))
    assert wrong(site, one(f'    publish: {{v: "{template}"}}\n', "core.noop")) == []
    made = reader().compile(template, raw=True)
    assert all(grown not in made for grown in ("x" * 99, str(9**99), "x".center(99)))


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_its_lines(site: Site) -> None:
    text = one("    parameters: {word: c, other: 1}\n    on-success: u\n    publish: {v: '{{ '}\n") + (
        "  - name: t\n    ref: p.sya\n    on-failure: nowhere\n"
    )
    places = [line.partition(": ")[0] for line in wrong(site, text)]
    assert places == [f"c.yaml:{at}" for at in ("4:18", "4:27", "5:5", "6:15", "8:5", "9:5")]


@pytest.mark.parametrize(
    "text",
    [
        one("    parameters: {word: '{{ w }}', count: '{{ n }}'}\n"),
        one("    parameters: {word: a, count: '4', key: null}\n"),
        one(
            "    publish: {v: '{{ t.x | to_json_string }} {# so #}', w: '{{ st2kv.system.a | decrypt_kv }}'}\n",
            "core.noop",
        ),
    ],
)
def test_what_only_the_run_can_tell_is_left_to_it(site: Site, text: str) -> None:
    assert wrong(site, text) == []


def test_the_chains_that_are_called_are_looked_at_too_and_each_once(site: Site) -> None:
    site.action("below", "action-chain", "chains/below.yaml")
    file = site.write("packs/p/actions/chains/below.yaml", one("", "core.ask") + "  - {name: u, ref: p.below}\n")
    told = wrong(site, "chain:\n  - {name: a, ref: p.below}\n  - {name: b, ref: p.below}\n")
    assert len(told) == 1
    assert told[0].startswith(f"{file}:3:5: task 't': core.ask is of the runner type")


def test_a_chain_that_is_named_is_looked_at_before_it_is_started(site: Site) -> None:
    pack(site)
    site.action("chain", "action-chain", "chains/c.yaml")
    file = site.write("packs/p/actions/chains/c.yaml", one("", "p.sya"))
    config = Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,)))
    with pytest.raises(InvalidInput, match=r"did you mean p\.say") as caught:
        target_of("p.chain", config)
    assert (caught.value.source, caught.value.line, caught.value.column) == (str(file), 3, 5)


@pytest.mark.parametrize("kind", ["local-shell-script", "python-script", "action-chain", "mistral-v2"])
def test_a_file_that_is_not_there_is_told_when_its_action_is_shown_and_before_it_runs(site: Site, kind: str) -> None:
    site.action("lost", kind, "not/there")
    site.action("none", kind)
    config = Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,)))
    told = f"{site.packs}/p/actions/lost.yaml:1:"
    for ref, why in (("p.lost", f"{site.packs}/p/actions/not/there is not there"), ("p.none", "names no file to run")):
        with pytest.raises(InvalidInput) as caught:
            target_of(ref, config)
        assert why in caught.value.message
        assert caught.value.message == entry_of(ref, config)[0].problem
        assert ":0" not in caught.value.message
    with pytest.raises(InvalidInput) as caught:
        target_of("p.lost", config)
    assert caught.value.message.startswith(told.removesuffix(":"))

"""local-shell-script: the arguments that a script gets, and how it is started."""

from __future__ import annotations

import json

import pytest

from actionchain.packkit import Site
from flowbridge.errors import InvalidInput
from flowbridge.model import TaskStatus

SHOW = """#!/bin/sh
for word in "$@"; do echo "<$word>"; done
"""


def test_named_arguments_come_first_and_positional_ones_in_their_order(site: Site) -> None:
    site.script(
        SHOW,
        last={"type": "string", "position": 1},
        first={"type": "array", "position": 0},
        name={"type": "string"},
        loud={"type": "boolean"},
        quiet={"type": "boolean"},
        empty={"type": "string"},
    )
    outcome = site.run("p.script", first=["a", "b c"], last="z", name="it's", loud=True, quiet=False, empty="")
    assert outcome.result["stdout"].split("\n") == ["<--name=it's>", "<--loud>", "<a,b c>", "<z>"]


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        ("string", "a b", "<a b>"),
        ("string", None, "<>"),
        ("integer", 7, "<7>"),
        ("number", 1.5, "<1.5>"),
        ("boolean", True, "<1>"),
        ("boolean", False, "<0>"),
        ("object", {"a": 1}, '<{"a":1}>'),
        ("array", [], "<>"),
    ],
)
def test_a_positional_argument_is_written_by_its_type(site: Site, kind: str, value: object, word: str) -> None:
    site.script(SHOW, it={"type": kind, "position": 0})
    assert site.run("p.script", it=value).result["stdout"] == word


def test_the_sign_before_named_arguments_is_the_runners_parameter(site: Site) -> None:
    site.script(SHOW, name={"type": "string"})
    assert site.run("p.script", name="x", kwarg_op="-").result["stdout"] == "<-name=x>"


@pytest.mark.parametrize("mode", [0o755, 0o644])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/usr/bin/env bash\n[[ 1 == 1 ]] && echo bash", "bash"),
        ("#!/bin/sh -e\nfalse\necho never", ""),
        ("[[ 1 == 1 ]] && echo no first line", "no first line"),
        ("#!/usr/bin/env python3\nprint('{}')", {}),
    ],
)
def test_a_script_runs_by_its_first_line_and_need_not_be_executable(
    site: Site, text: str, said: object, mode: int
) -> None:
    site.script(text, mode=mode)
    assert site.run("p.script").result["stdout"] == said
    assert (site.packs / "p/actions/script.sh").stat().st_mode & 0o777 == mode  # a pack is left as it is


def test_a_script_sees_the_runners_timeout_directory_and_environment(site: Site) -> None:
    site.script('echo "$PWD $WHO"; sleep 30')
    outcome = site.run("p.script", cwd="/", env={"WHO": "ada"}, timeout=1)
    assert (outcome.result["stdout"], outcome.result["return_code"]) == ("/ ada", -9)


def test_an_entry_point_that_is_not_there_is_refused_by_its_file(site: Site) -> None:
    site.action("gone", "local-shell-script", "gone.sh")
    site.action("none", "local-shell-script")
    with pytest.raises(InvalidInput, match=r"p\.gone: its entry point .*/p/actions/gone\.sh is not there"):
        site.prepare("p.gone")
    with pytest.raises(InvalidInput, match=r"p\.none names no file to run"):
        site.prepare("p.none")


def test_a_script_whose_program_is_not_there_fails_with_its_name(site: Site) -> None:
    site.script("#!/not/there\n")
    outcome = site.run("p.script")
    assert outcome.status is TaskStatus.ERRORED
    assert "script.sh: No such file or directory" in outcome.error


def test_large_arguments_and_odd_words_arrive_as_they_are(site: Site) -> None:
    site.script("#!/usr/bin/env python3\nimport sys, json\nprint(json.dumps(sys.argv[1:]))", it={"position": 0})
    text = "ä \"quoted\" 'too' $HOME `id` \\ \n" * 1000
    assert json.loads(json.dumps(site.run("p.script", it=text).result["stdout"])) == [text]

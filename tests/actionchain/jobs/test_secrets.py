"""No secret stands in the process list, in a file, in a handle, in a result or in an error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from actionchain.packkit import Site, ended, wait_until
from flowbridge.errors import EngineRefused
from flowbridge_actionchain.jobs.masking import needles
from flowbridge_actionchain.jobs.model import RunContext
from flowbridge_actionchain.jobs.outputs import Mask

SECRET = "xyzzy '4\"2"


def process_list() -> str:
    """The arguments of every process, as every user of the machine sees them."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)


def watched(site: Site, ref: str, gate: Path, context: RunContext | None = None, **given: object) -> str:
    """Run a job that waits at a gate, look for the secret everywhere meanwhile; gives what it said in the end."""
    os.mkfifo(gate)
    job = site.prepare(ref, context, **given)
    job.start()
    wait_until(lambda: "ready" in job.tail(1000))
    assert SECRET not in process_list()
    assert "xyzzy" not in job.handle + site.written()
    gate.write_text("go\n")
    outcome = ended(job, discard=False)
    assert "xyzzy" not in json.dumps([outcome.result, outcome.error]) + site.written()
    job.discard()
    return json.dumps(outcome.result)


def test_a_secret_in_a_command_is_read_from_a_descriptor_that_its_children_do_not_have(
    site: Site, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"""echo ready; read go < {gate}; echo {json.dumps(SECRET)}; ls /proc/self/fd | grep -c 9"""
    assert "********\\n0" in watched(site, "core.local", gate, RunContext("e1", secrets=[SECRET]), cmd=command)


def test_a_secret_parameter_of_a_script_in_a_shell(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    site.script(
        f'#!/usr/bin/env bash\necho ready; read go < {gate}; echo "$0 <$1> <$2>"; exit 3',
        password={"type": "string", "secret": True},
        place={"position": 0},
    )
    said = watched(site, "p.script", gate, password=SECRET, place="here")
    assert f"{site.packs}/p/actions/script.sh <--password=********> <here>" in said
    assert '"return_code": 3' in said


def test_a_secret_parameter_of_a_python_script_and_what_it_makes_of_it(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    site.python(
        "import sys, json, urllib.parse\nfrom st2common.runners.base_action import Action\n"
        "class Mine(Action):\n    def run(self, password):\n        print('ready', flush=True)\n"
        f"        open({str(gate)!r}).read()\n        self.logger.error(password)\n"
        "        print(json.dumps({'p': password}), urllib.parse.quote(password))\n"
        "        return [password, {password: 1}]\n",
        password={"type": "string", "secret": True},
    )
    said = json.loads(watched(site, "p.python", gate, password=SECRET))
    assert said["result"] == ["********", {"********": 1}]
    assert said["stdout"] == 'ready\n{"p": "********"} ********\n'


def test_a_secret_in_the_arguments_of_another_program_is_refused_unless_it_is_allowed(site: Site) -> None:
    site.script("#!/usr/bin/env python3\nimport sys; print(sys.argv[1:])", password={"type": "string", "secret": True})
    with pytest.raises(EngineRefused, match=r"a secret would stand in the arguments of script\.sh.*secret_arguments"):
        site.prepare("p.script", password=SECRET)
    allowed = site.run("p.script", RunContext("e1", secret_arguments=True), password=SECRET)
    assert "xyzzy" not in json.dumps(allowed.result)
    with pytest.raises(EngineRefused, match="a secret would stand in the arguments of sudo"):
        site.prepare("core.local_sudo", RunContext("e1", secrets=[SECRET]), cmd=f"echo {SECRET}")


def test_an_error_of_an_http_request_does_not_tell_the_secret_in_its_address(site: Site) -> None:
    outcome = site.run("core.http", RunContext("e1", secrets=[SECRET]), url=f"http://127.0.0.1:1/?token={SECRET}")
    assert "refused" in outcome.error
    assert "xyzzy" not in outcome.error + json.dumps(outcome.result)


def test_a_place_that_names_a_secret_is_masked_in_the_error(site: Site) -> None:
    outcome = site.run("core.local", RunContext("e1", secrets=["plugh-43"]), cmd="true", cwd="/not/plugh-43")
    assert outcome.error.endswith("/not/********: No such file or directory")


def test_what_is_looked_for_is_a_secret_in_all_its_forms() -> None:
    found = needles(['a"b c', {"in": ["deep-one"]}, 12345, True, None, "abc", "line number one\nline number two\n"])
    assert {'a"b c', 'a\\"b c', "a%22b%20c", "deep-one", "12345", "line number one", "line number two"} <= set(found)
    assert "abc" not in found
    assert "True" not in found


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_secret_that_comes_in_two_parts_is_masked_all_the_same(cut: int) -> None:
    mask = Mask(["secret-1", "secret"])
    text = b"a secret-1"
    assert mask(text[:cut]) + mask(text[cut:], last=True) == b"a ********"


def test_of_two_secrets_that_overlap_neither_is_shown_in_part() -> None:
    mask = Mask(["abcab", "cabx"])
    assert mask(b"abcab") + mask(b"z", last=True) == b"********z"


def test_what_only_begins_like_a_secret_comes_through_in_the_end() -> None:
    mask = Mask(["secret-1"])
    assert mask(b"no secret") == b"no "
    assert mask(b"s, none") == b"secrets, none"
    assert mask(b"secr", last=True) == b"secr"

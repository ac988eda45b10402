"""python-script: a process of its own, the interface that scripts of packs import, and the shape of what they give."""

from __future__ import annotations

import sys

from actionchain.packkit import Site
from flowbridge.model import TaskStatus
from flowbridge_actionchain.jobs.model import RunContext

HEAD = "from st2common.runners.base_action import Action\nclass Mine(Action):\n    def run(self, **given):\n"


def python(site: Site, body: str, context: RunContext | None = None, **given: object) -> dict[str, object]:
    site.python(HEAD + "".join(f"        {line}\n" for line in body.splitlines()), **{name: {} for name in given})
    result = site.run("p.python", context, **given).result
    assert isinstance(result, dict)
    return result


def test_what_run_returns_is_the_result_and_what_it_prints_is_output(site: Site) -> None:
    body = "import sys\nprint('said')\nprint('also', file=sys.stderr)\nreturn {'n': [1, None, 'ä']}"
    assert python(site, body) == {
        "result": {"n": [1, None, "ä"]},
        "exit_code": 0,
        "stdout": "said\n",
        "stderr": "also\n",
    }


def test_a_pair_gives_the_status_and_the_result(site: Site) -> None:
    site.python(HEAD + "        return given['ok'], 'why'\n", ok={"type": "boolean"})
    good, bad = site.run("p.python", ok=True), site.run("p.python", ok=False)
    assert (good.status, good.result["result"]) == (TaskStatus.SUCCEEDED, "why")
    assert (bad.status, bad.result["result"], bad.result["exit_code"]) == (TaskStatus.ERRORED, "why", 0)


def test_a_status_that_is_none_fails_and_says_what_to_return(site: Site) -> None:
    site.python(HEAD + "        return 1, 2\n")
    outcome = site.run("p.python")
    assert (outcome.status, outcome.result["exit_code"], outcome.result["result"]) == (TaskStatus.ERRORED, 220, "None")
    assert "return them as a list" in outcome.result["stderr"]


def test_an_exception_fails_with_its_traceback_on_stderr(site: Site) -> None:
    site.python(HEAD + "        raise KeyError('it')\n")
    outcome = site.run("p.python")
    assert outcome.status is TaskStatus.ERRORED
    assert outcome.error == "ended with exit code 1: KeyError: 'it'"
    assert outcome.result["exit_code"] == 1
    assert outcome.result["stderr"].rstrip().endswith("KeyError: 'it'")


def test_a_result_that_is_no_json_is_given_as_text(site: Site) -> None:
    assert python(site, "return {1, }")["result"] == "{1}"
    assert python(site, "return float('nan')")["result"] == "nan"


def test_parameters_come_by_name_with_their_types_and_absent_ones_as_none(site: Site) -> None:
    site.python(HEAD + "        return given\n", a={"type": "integer"}, b={"type": "array"}, c={"type": "string"})
    assert site.run("p.python", a="5", b=["x"], env={"A": "b"}).result["result"] == {"a": 5, "b": ["x"], "c": None}


def test_the_configuration_of_the_pack_the_logger_and_the_datastore(site: Site) -> None:
    context = RunContext("e1", "ada", {"url": "http://x"}, {"known": "yes", "p.Mine:own": "mine"})
    body = """self.logger.info('hello')
service = self.action_service
names = [pair.name for pair in service.list_values(local=False, prefix='kn')]
return [self.config['url'], service.get_value('known', local=False), service.get_value('own'),
        service.get_value('no'), service.get_user_info()['username'], names]"""
    result = python(site, body, context)
    assert result["result"] == ["http://x", "yes", "mine", None, "ada", ["known"]]
    assert result["stderr"] == "actions.python.Mine: INFO hello\n"


def test_the_log_level_is_a_parameter(site: Site) -> None:
    site.python(HEAD + "        self.logger.info('quiet')\n        self.logger.error('loud')\n")
    assert site.run("p.python", log_level="ERROR").result["stderr"] == "actions.python.Mine: ERROR loud\n"


def test_a_key_that_the_configuration_has_not_is_named_with_the_pack(site: Site) -> None:
    site.python(HEAD + "        return self.config['url']\n")
    assert "configuration of pack 'p' has no 'url'; write it to configs/p.yaml" in site.run("p.python").error


def test_a_script_imports_what_lies_beside_it_and_in_the_packs_lib(site: Site) -> None:
    site.write("packs/p/actions/lib/inner.py", "WORD = 'inner'")
    site.write("packs/p/actions/beside.py", "from inner import WORD\nWORD += ' beside'")
    site.write("packs/p/actions/http.py", "raise SystemExit('no')")  # stands behind the library's own
    site.python("from beside import WORD\nimport http.client\n" + HEAD + "        return WORD\n")
    assert site.run("p.python").result["result"] == "inner beside"


def test_older_classes_that_know_no_service_get_it_afterwards(site: Site) -> None:
    site.python(
        "from st2common.runners.base_action import Action\nclass Old(Action):\n"
        "    def __init__(self, config):\n        super().__init__(config=config)\n"
        "    def run(self):\n        return self.action_service.pack\n"
    )
    assert site.run("p.python").result["result"] == "p"


def test_the_environment_of_the_pack_is_used_where_there_is_one(site: Site) -> None:
    site.write("virtualenvs/p/bin/python", f'#!/bin/sh\nVENV=own exec {sys.executable} "$@"\n', mode=0o755)
    assert python(site, "import os\nreturn os.environ['VENV']")["result"] == "own"


def test_a_module_that_is_missing_says_where_the_packs_environment_would_be(site: Site) -> None:
    site.python("import not_there_at_all\n")
    assert f"make {site.root}/virtualenvs/p and install the pack's requirements there" in site.run("p.python").error


def test_a_script_without_an_action_is_named(site: Site) -> None:
    site.python("x = 1\n")
    assert site.run("p.python").error.endswith("python.py has no class with a run method")


def test_pythonpath_cannot_be_given_and_a_timeout_is_one_with_its_shape(site: Site) -> None:
    seen = python(site, "import os\nreturn os.environ.get('PYTHONPATH')", env={"PYTHONPATH": "x"})
    assert seen["result"] != "x"
    site.python(HEAD + "        import time\n        time.sleep(30)\n")
    result = site.run("p.python", timeout=1).result
    assert (result["exit_code"], result["result"]) == (-9, "None")
    assert result["error"] == "p.python took longer than 1 s and was killed"


def test_a_result_that_is_too_large_is_an_error(site: Site) -> None:
    site.python(HEAD + "        return 'x' * 5_000_000\n")
    assert site.run("p.python").error == "its result has 5000030 bytes; at most 4194304 are kept"


def test_the_core_packs_own_pause_and_uuid(site: Site) -> None:
    assert site.run("core.pause", max_pause=0).result == {"result": 0, "exit_code": 0, "stdout": "", "stderr": ""}
    made = {site.run("core.uuid").result["result"] for _ in range(2)}
    assert len(made) == 2
    assert site.run("core.uuid", uuid_type="uuid1").result["result"][14] == "1"

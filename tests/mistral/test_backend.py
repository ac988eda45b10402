"""What each method sends, and which of them are sent again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import responses
from requests import ConnectTimeout

from flowbridge.backend import Cascade, Definition, StartRequest, TaskRerun
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.errors import EngineRefused, InvalidInput, NotFound, Unavailable
from flowbridge.ledger.executions import Filter
from flowbridge.model import TaskStatus, Verb
from flowbridge_mistral.backend import MistralBackend
from support.fake_mistral import FakeMistral
from support.wire import JSON, Answer, Heard, answer, wired

URL = "http://mistral.example/v2"
FILE = Definition("version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n", "w.yaml")


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MistralBackend:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    made = MistralBackend("prod", {"url": URL})
    monkeypatch.setattr(made._client, "_sleep", lambda seconds: None)
    return made


def sent(number: int = 0) -> Any:
    return json.loads(responses.calls[number].request.body or "null")


def fault(words: str) -> dict[str, str]:
    return {"faultstring": words}


Call = Callable[[MistralBackend], object]
REPEATED: list[tuple[str, Call]] = [
    ("observe", lambda backend: backend.observe(["x"])),
    ("read", lambda backend: backend.read("x")),
    ("list", lambda backend: list(backend.list_executions(limit=1))),
    ("check", lambda backend: backend.check()),
    ("start", lambda backend: backend.start(StartRequest("x", "w"))),
    ("pause", lambda backend: backend.pause("x")),
    ("cancel", lambda backend: backend.cancel("x")),
    ("report", lambda backend: backend.report("x", "k", TaskStatus.SUCCEEDED, {})),
]
ONCE: list[tuple[str, Call]] = [
    ("resume", lambda backend: backend.resume("x", "revision")),
    ("rerun", lambda backend: backend.rerun("x", [TaskRerun("t"), TaskRerun("u")])),
    ("skip", lambda backend: backend.skip("x", ["t", "u"])),
]


@responses.activate
@pytest.mark.parametrize(
    ("state", "output"),
    [("RUNNING", None), ("PAUSED", None), ("ERROR", {"result": "no"}), ("CANCELLED", {"result": "no"})],
)
def test_read_gives_no_output_of_what_runs_again(backend: MistralBackend, state: str, output: object) -> None:
    kept = {"state": state, "input": "{}", "output": '{"result": "no"}'}
    responses.add(responses.GET, f"{URL}/executions/x", json=kept)
    assert backend.read("x", []).output == output


@responses.activate
@pytest.mark.parametrize(
    ("name", "call"), [*REPEATED, *ONCE], ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_busy_engine_is_asked_again_only_where_that_does_nothing_new(
    backend: MistralBackend, name: str, call: Call
) -> None:
    for method in (responses.GET, responses.POST, responses.PUT):
        responses.add(method, f"{URL}/executions", status=503)
        responses.add(method, f"{URL}/executions/x", status=503)
        responses.add(method, f"{URL}/tasks/t", status=503)
        responses.add(method, f"{URL}/action_executions/k", status=503)
    with pytest.raises(Unavailable):
        call(backend)
    assert (len(responses.calls) > 1) is (name in dict(REPEATED))


@responses.activate
@pytest.mark.parametrize(
    ("call", "state"),
    [
        (lambda backend: backend.pause("x"), "PAUSED"),
        (lambda backend: backend.resume("x", ""), "RUNNING"),
        (lambda backend: backend.cancel("x"), "CANCELLED"),
    ],
)
def test_a_verb_is_one_state(backend: MistralBackend, call: Call, state: str) -> None:
    responses.put(f"{URL}/executions/x", json={})
    call(backend)
    assert (sent(), len(responses.calls)) == ({"state": state}, 1)


@responses.activate
def test_a_start_carries_the_bridges_id_and_json_in_strings(backend: MistralBackend) -> None:
    responses.post(f"{URL}/executions", status=201, json={"id": "id"})
    ref = backend.start(StartRequest("id", "w", {"a": 1}, {"e": 2}))
    assert str(ref) == "prod:id"
    assert sent() == {"id": "id", "workflow_name": "w", "input": '{"a": 1}', "params": '{"env": {"e": 2}}'}


@responses.activate
@pytest.mark.parametrize("answer", [{}, {"id": "another"}])
def test_a_start_answered_without_its_execution_may_not_have_been_made(
    backend: MistralBackend, answer: dict[str, str]
) -> None:
    responses.post(f"{URL}/executions", status=201, json=answer)
    with pytest.raises(Unavailable, match=r"start of id "):
        backend.start(StartRequest("id", "w"))


@responses.activate
def test_a_start_that_another_one_overtook_is_a_start(backend: MistralBackend) -> None:
    responses.post(f"{URL}/executions", status=500, json=fault("DBDuplicateEntryError: there"))
    responses.get(f"{URL}/executions/id", json={"id": "id"})
    assert backend.start(StartRequest("id", "w")).id == "id"


@responses.activate
def test_a_start_of_which_nobody_tells_whether_another_one_overtook_it_may_be_there(backend: MistralBackend) -> None:
    responses.post(f"{URL}/executions", status=500, json=fault("DBDuplicateEntryError: there"))
    responses.get(f"{URL}/executions/id", body=ConnectTimeout())
    with pytest.raises(Unavailable) as caught:
        backend.start(StartRequest("id", "w"))
    assert not caught.value.unsent


@responses.activate
def test_a_start_that_conflicts_with_something_else_is_no_start(backend: MistralBackend) -> None:
    responses.post(f"{URL}/executions", status=409, json=fault("there"))
    responses.get(f"{URL}/executions/id", status=404, json=fault("not found"))
    with pytest.raises(NotFound):
        backend.start(StartRequest("id", "w"))


@responses.activate
@pytest.mark.parametrize(("known", "method"), [([], "POST"), ([{"id": "1", "name": "w"}], "PUT")])
def test_deploy_creates_what_is_new_and_updates_what_is_known(
    backend: MistralBackend, known: list[dict[str, str]], method: str
) -> None:
    responses.get(f"{URL}/workflows", json={"workflows": known})
    responses.add(method, f"{URL}/workflows", json={"workflows": []})
    assert backend.deploy(FILE).workflows == ("w",)
    assert responses.calls[1].request.body == FILE.text.encode()


@responses.activate
@pytest.mark.parametrize(
    ("known", "first", "status", "second"),
    [([], "POST", 409, "PUT"), ([{"id": "1", "name": "w"}], "PUT", 404, "POST")],
)
def test_deploy_goes_the_other_way_where_somebody_was_faster(
    backend: MistralBackend, known: list[dict[str, str]], first: str, status: int, second: str
) -> None:
    responses.get(f"{URL}/workflows", json={"workflows": known})
    responses.add(first, f"{URL}/workflows", status=status, json=fault("changed"))
    responses.add(second, f"{URL}/workflows", json={"workflows": []})
    backend.deploy(FILE)
    assert [call.request.method for call in responses.calls] == ["GET", first, second]


@responses.activate
def test_a_busy_engine_is_given_a_definition_again(backend: MistralBackend) -> None:
    responses.get(f"{URL}/workflows", json={"workflows": []})
    responses.post(f"{URL}/workflows", status=502)
    responses.post(f"{URL}/workflows", status=409, json=fault("Duplicate entry"))  # it had arrived all the same
    responses.put(f"{URL}/workflows", status=429)
    responses.put(f"{URL}/workflows", json={"workflows": []})
    backend.deploy(FILE)
    assert [call.request.method for call in responses.calls] == ["GET", "POST", "POST", "PUT", "PUT"]


@pytest.mark.parametrize("status", [429, 502])
def test_where_a_definition_cannot_be_stored_nothing_was_started_and_it_is_said(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MistralBackend("prod", {"url": "http://mistral.example.org/v2"})
    monkeypatch.setattr(backend._client, "_sleep", lambda _: None)
    server = FakeMistral()

    def busy(heard: Heard) -> Answer:
        return (status, {}, "") if heard.path == "workflows" and heard.method != "GET" else answer(server, heard)

    with wired(mistral=busy), Bridge(Config(ledger=tmp_path / "ledger.db"), backends=[backend], durable=False) as flow:
        with pytest.raises(Unavailable, match=f"was not stored: .*{status}.*; nothing was started$") as caught:
            flow.run(FILE, backend="prod")
        assert caught.value.unsent
        assert list(flow.list(Filter())) == []
    assert server.executions == {}


def test_a_file_for_a_silent_engine_starts_nothing_and_that_is_said(tmp_path: Path) -> None:
    backend = MistralBackend("prod", {"url": "http://127.0.0.1:9/v2", "timeout": 0.1})
    with Bridge(Config(ledger=tmp_path / "ledger.db"), backends=[backend], durable=False) as flow:
        with pytest.raises(Unavailable, match=r"does not answer .*; nothing was started$") as caught:
            flow.run(FILE, backend="prod")
        assert caught.value.unsent
        assert list(flow.list(Filter())) == []


@responses.activate
@pytest.mark.parametrize(
    ("verdict", "expected"), [({"valid": False, "error": "bad"}, InvalidInput), ({"valid": True}, EngineRefused)]
)
def test_a_refused_deployment_is_invalid_input_where_the_text_is_to_blame(
    backend: MistralBackend, verdict: dict[str, Any], expected: type[Exception]
) -> None:
    responses.get(f"{URL}/workflows", json={"workflows": []})
    responses.post(f"{URL}/workflows", status=400, json=fault("no"))
    responses.post(f"{URL}/workflows/validate", json=verdict)
    with pytest.raises(expected):
        backend.deploy(FILE)


@responses.activate
def test_a_rerun_is_one_request_for_each_task(backend: MistralBackend) -> None:
    responses.put(f"{URL}/tasks/t", json={})
    responses.put(f"{URL}/tasks/u", json={})
    backend.rerun("x", [TaskRerun("t"), TaskRerun("u", reset=False)])
    assert (sent(0), sent(1)) == ({"state": "RUNNING", "reset": True}, {"state": "RUNNING", "reset": False})


@responses.activate
def test_a_rerun_goes_on_with_the_tasks_that_an_earlier_one_did_not_reach(backend: MistralBackend) -> None:
    words = "The current task execution must be in ERROR for rerun. Only updating task to rerun is supported."
    responses.put(f"{URL}/tasks/t", status=400, json=fault(words))
    responses.put(f"{URL}/tasks/u", json={})
    backend.rerun("x", [TaskRerun("t"), TaskRerun("u")])
    assert len(responses.calls) == 2


@responses.activate
def test_a_skip_is_one_request_for_each_task(backend: MistralBackend) -> None:
    responses.put(f"{URL}/tasks/t", json={})
    backend.skip("x", ["t"])
    assert sent() == {"state": "SKIPPED"}


@responses.activate
@pytest.mark.parametrize(
    ("status", "result", "state", "output"),
    [
        (TaskStatus.SUCCEEDED, {"a": 1}, "SUCCESS", '{"result": {"a": 1}}'),
        (TaskStatus.SUCCEEDED, [1], "SUCCESS", '{"result": [1]}'),
        (TaskStatus.ERRORED, {"a": 1}, "ERROR", '{"a": 1}'),
        (TaskStatus.ERRORED, {}, "ERROR", '{"result": {}}'),
        (TaskStatus.ERRORED, "boom", "ERROR", '{"result": "boom"}'),
        (TaskStatus.CANCELED, None, "CANCELLED", '{"result": null}'),
    ],
)
def test_a_report_is_an_object_in_a_string(
    backend: MistralBackend, status: TaskStatus, result: Any, state: str, output: str
) -> None:
    responses.put(f"{URL}/action_executions/k", json={})
    backend.report("x", "k", status, result)
    assert sent() == {"state": state, "output": output}


@responses.activate
def test_a_result_that_does_not_get_through_makes_the_link_errored_and_says_why(backend: MistralBackend) -> None:
    responses.put(f"{URL}/action_executions/k", status=413, body="<html>413</html>")
    responses.put(f"{URL}/action_executions/k", json={})
    backend.report("x", "k", TaskStatus.SUCCEEDED, "x" * 1000)
    said = json.loads(responses.calls[-1].request.body or "")
    assert said["state"] == "ERROR"
    assert "1014 characters of JSON" in said["output"]
    assert "(413)" in said["output"]


def test_what_the_engine_does_by_itself_is_declared() -> None:
    facts = MistralBackend("prod", {"url": URL}).capabilities
    assert facts.cascades == frozenset(Cascade)
    assert facts.verbs == frozenset(Verb) - {Verb.RECOVER}
    assert (facts.resume_up, facts.partial_rerun, facts.join_under_pause) == ("last_paused", "last_failed", "may_slip")
    assert facts.delayed_starts_under_pause
    assert facts.hosts_children


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "OS_MISTRAL_URL"),
        ({"url": "mistral:8989"}, "no http or https address"),
        ({"url": "file:///etc"}, "no http or https address"),
        ({"url": URL, "timeout": "soon"}, "timeout is 'soon'"),
        ({"url": URL, "timeout": 0}, "above 0"),
        ({"url": URL, "timeout": "nan"}, "above 0"),
        ({"url": URL, "timeout": float("inf")}, "above 0"),
        ({"url": URL, "ca_file": "/nowhere.pem"}, "/nowhere.pem is not there"),
        ({"url": URL, "insecure": True}, "unknown option insecure; a Mistral has url, region"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_can(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    monkeypatch.delenv("OS_MISTRAL_URL", raising=False)
    with pytest.raises(InvalidInput, match=words):
        MistralBackend("prod", options)


@pytest.mark.parametrize("given", [URL, f"{URL}/", "http://mistral.example"])
def test_the_address_may_leave_out_the_version(given: str) -> None:
    assert MistralBackend("prod", {"url": given})._client.where == f"prod ({URL})"


def test_the_address_comes_from_the_environment_of_its_own_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_MISTRAL_URL", "https://other.example/v2")
    assert "https://other.example/v2" in MistralBackend("prod", {})._client.where


def test_a_certificate_file_that_is_there_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert MistralBackend("prod", {"url": URL, "ca_file": str(file)})._client._access.ca_file == str(file)


READS: list[tuple[str, Call]] = [
    ("observe", lambda backend: backend.observe(["x"])),
    ("read", lambda backend: backend.read("x")),
    ("list", lambda backend: list(backend.list_executions(limit=1))),
    ("deploy", lambda backend: backend.deploy(FILE)),
]


@responses.activate
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": 7, "root_execution_id": 7},
        {"executions": [7], "tasks": [7], "workflows": [{"id": 7}]},
        {"executions": [{"id": 7}], "workflows": [{"name": 7}]},
    ],
)
@pytest.mark.parametrize(("name", "call"), READS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_answer_of_another_shape_is_refused(
    backend: MistralBackend, name: str, call: Call, answer: dict[str, Any]
) -> None:
    responses.get(re.compile(re.escape(URL)), json=answer)
    with pytest.raises(EngineRefused, match=r"prod \(http://mistral.example/v2\)"):
        call(backend)


@responses.activate
def test_a_root_that_was_told_wrongly_once_is_asked_for_again(backend: MistralBackend) -> None:
    responses.get(f"{URL}/executions/x", json={"id": 7, "root_execution_id": 7})
    responses.get(f"{URL}/executions/x", json={"id": "x", "root_execution_id": None})
    responses.get(f"{URL}/executions/x/report", status=404, json=fault("not found"))
    with pytest.raises(EngineRefused):
        backend.observe(["x"])
    assert backend.observe(["x"]) == {}


@responses.activate
@pytest.mark.parametrize("verdict", [{}, {"valid": 7}, {"valid": None}, [], "yes"])
def test_an_answer_that_is_no_verdict_is_not_taken_for_one(backend: MistralBackend, verdict: Any) -> None:
    responses.post(f"{URL}/workflows/validate", json=verdict)
    with pytest.raises(EngineRefused, match=r"^prod \(http://mistral.example/v2\) is no Mistral API"):
        backend.validate(FILE)


@pytest.mark.parametrize("body", ["[]", "{}", "null", '{"odd": true}'])
@pytest.mark.parametrize(("at", "code"), [("workflows/validate", 6), ("workflows", 5), ("executions", 5)])
def test_each_step_of_a_start_that_is_answered_in_another_shape_ends_with_one_code_whatever_the_shape(
    tmp_path: Path, body: str, at: str, code: int
) -> None:
    """A question is refused (6); whether a change was made is not known (5). No start follows what was not stored."""
    server = FakeMistral()
    asked: list[str] = []

    def odd(heard: Heard) -> Answer:
        asked.append(heard.path)
        return (200, JSON, body) if (heard.method, heard.path) == ("POST", at) else answer(server, heard)

    backends = {"prod": {"type": "mistral", "url": "http://prod.example.org"}}
    with (
        wired(prod=odd),
        Bridge(Config(ledger=tmp_path / "ledger.db", backends=backends), durable=False) as flow,
        pytest.raises((EngineRefused, Unavailable), match=r"prod \(http://prod.example.org/v2\)") as caught,
    ):
        flow.run(FILE, backend="prod")
    assert caught.value.exit_code == code
    assert ("executions" in asked) is (at == "executions")

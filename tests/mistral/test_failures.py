"""Foreign errors become ours: every one of them, with the engine's words and without secrets."""

from __future__ import annotations

import inspect

import pytest
import requests
import responses
import urllib3

from flowbridge.errors import EngineError, EngineRefused, NotFound, Unavailable
from flowbridge_mistral import failures
from flowbridge_mistral.access import Access
from flowbridge_mistral.client import MistralClient
from flowbridge_mistral.failures import KINDS, Conflict, Ended, Kind, NotErrored, TooLarge

URL = "http://user:pass@mistral.example:8989/v2"
TOKEN = "s3cret-token"


def client() -> MistralClient:
    return MistralClient("prod", Access(URL, token=TOKEN), sleep=lambda seconds: None)


def put(status: int, body: object = None, **headers: str) -> EngineError:
    """What a call that is sent once makes of one answer."""
    with responses.RequestsMock() as server:
        if isinstance(body, str):
            server.put(f"{URL}/executions/x", status=status, body=body, headers=headers)
        else:
            server.put(f"{URL}/executions/x", status=status, json=body, headers=headers)
        with pytest.raises(EngineError) as caught:
            client().put("executions", "x", body={}, repeatable=False)
    return caught.value


def fault(words: str) -> dict[str, object]:
    return {"faultcode": "Client", "faultstring": words, "debuginfo": None}


FOREIGN = sorted(
    {cls for _, cls in inspect.getmembers(requests.exceptions, inspect.isclass) if issubclass(cls, OSError)},
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", FOREIGN, ids=lambda cls: cls.__name__)
def test_every_exception_of_the_http_library_is_mapped_by_name(cls: type[Exception]) -> None:
    assert cls.__name__ in KINDS


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_every_mapped_exception_leaves_the_client_as_ours(name: str, kind: Kind) -> None:
    cls = getattr(requests.exceptions, name)
    error = cls("boom", "doc", 0) if name == "JSONDecodeError" else cls("boom")
    with responses.RequestsMock() as server:
        server.put(f"{URL}/executions/x", body=error)
        with pytest.raises(EngineError) as caught:
            client().put("executions", "x", body={}, repeatable=False)
    assert caught.value.__cause__ is error
    if kind is Kind.WRONG:
        assert type(caught.value) is EngineRefused
    else:
        assert isinstance(caught.value, Unavailable)
        assert caught.value.unsent is (kind is Kind.UNSENT)


def test_an_error_of_the_system_is_unavailable_too() -> None:
    assert isinstance(failures.of_transport(OSError("no such bundle"), "prod"), Unavailable)


def test_a_refused_connection_is_known_to_be_unsent_and_says_why() -> None:
    with pytest.raises(Unavailable, match="Connection refused") as caught:
        MistralClient("prod", Access("http://127.0.0.1:9/v2")).put("executions", "x", body={}, repeatable=False)
    assert caught.value.unsent


def test_a_reset_connection_may_have_been_sent() -> None:
    inner = urllib3.exceptions.ProtocolError(
        "Connection aborted.", ConnectionResetError(104, "Connection reset by peer")
    )
    error = failures.of_transport(requests.ConnectionError(inner), "prod")
    assert isinstance(error, Unavailable)
    assert not error.unsent
    assert "Connection reset by peer" in error.message


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, EngineRefused),
        (401, EngineRefused),
        (403, EngineRefused),
        (404, NotFound),
        (405, EngineRefused),
        (409, Conflict),
        (413, TooLarge),
        (429, Unavailable),
        (500, Unavailable),
        (501, EngineRefused),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_each_status_with_the_engines_words_has_its_error_and_keeps_them(
    status: int, expected: type[EngineError]
) -> None:
    error = put(status, fault("in its own words"))
    assert type(error) is expected
    assert "in its own words" in error.message
    assert error.message.startswith("prod (http://mistral.example:8989/v2)")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, EngineRefused),
        (400, EngineRefused),
        (401, EngineRefused),
        (404, EngineRefused),
        (429, Unavailable),
        (500, Unavailable),
        (501, EngineRefused),
        (502, Unavailable),
        (503, Unavailable),
    ],
)
def test_an_answer_without_the_engines_words_comes_from_something_else(
    status: int, expected: type[EngineError]
) -> None:
    assert type(put(status, "<html>Not here</html>")) is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("DBEntityNotFoundError: 404: Workflow not found [workflow_identifier=w, namespace=]", NotFound),
        ("DBDuplicateEntryError: Database object already exists", Conflict),
        ("ValueError: Action 1 is already completed", Ended),
        ("The current task execution must be in ERROR for rerun. Only updating ...", NotErrored),
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_status_that_misleads_is_read_by_the_engines_words(
    status: int, words: str, expected: type[EngineError]
) -> None:
    assert type(put(status, fault(words))) is expected


def test_a_traceback_stays_with_the_engine() -> None:
    error = put(400, fault("Failed to run task [x]:\nTraceback (most recent call last):\n  File ..."))
    assert error.message.endswith("Failed to run task [x]")


def test_a_redirect_is_not_followed_and_names_the_target_without_its_query() -> None:
    error = put(301, "", Location="https://other.example/v2?auth=abc")
    assert "https://other.example/v2," in error.message
    assert "abc" not in error.message


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_secrets_stand_in_no_message(status: int) -> None:
    error = put(status, fault(f"header X-Auth-Token: {TOKEN} is wrong"))
    assert TOKEN not in error.message
    assert "user:pass" not in error.message
    assert "***" in error.message


def test_secrets_stand_in_no_message_of_an_engine_that_is_down() -> None:
    name = f"http://user:{TOKEN}@127.0.0.1:9/v2"
    with pytest.raises(Unavailable) as caught:
        MistralClient("prod", Access(name, token=TOKEN)).put("executions", "x", body={}, repeatable=False)
    assert TOKEN not in caught.value.message
    assert TOKEN not in repr(Access(URL, token=TOKEN))


@pytest.mark.parametrize("body", ["", "<html>", '{"id": "x", "sta'])
def test_a_success_that_is_no_json_is_unavailable_because_it_may_be_a_part(body: str) -> None:
    assert type(put(200, body)) is Unavailable


def test_a_change_answered_with_no_object_may_have_been_made_all_the_same() -> None:
    error = put(200, [])
    assert isinstance(error, Unavailable)
    assert not error.unsent


@responses.activate
def test_a_look_answered_with_no_object_is_refused() -> None:
    responses.get(f"{URL}/executions/x", json=[])
    with pytest.raises(EngineRefused, match="no Mistral API"):
        client().get("executions", "x")

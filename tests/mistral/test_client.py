"""The client: what is sent, what is sent again, how pages follow each other."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from email.utils import formatdate
from functools import partial
from typing import Any

import pytest
import requests
import responses
from responses import matchers

from flowbridge.calls import at_once
from flowbridge.errors import EngineRefused, NotFound, Unavailable
from flowbridge_mistral.access import Access
from flowbridge_mistral.client import LONGEST_WAIT, TRIES, MistralClient

URL = "http://mistral.example/v2"


class Waits(list[float]):
    """A clock that does not wait and remembers what it was asked to."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(waits: Waits) -> MistralClient:
    return MistralClient("prod", Access(URL), sleep=waits)


@responses.activate
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_engine_is_asked_again_after_growing_waits(client: MistralClient, waits: Waits, status: int) -> None:
    responses.get(f"{URL}/executions/x", status=status)
    responses.get(f"{URL}/executions/x", status=status)
    responses.get(f"{URL}/executions/x", json={"id": "x"})
    assert client.get("executions", "x") == {"id": "x"}
    assert waits == [0.25, 0.5]


@responses.activate
def test_it_gives_up_after_a_fixed_number_of_tries(client: MistralClient, waits: Waits) -> None:
    responses.get(f"{URL}/executions/x", status=503)
    with pytest.raises(Unavailable):
        client.get("executions", "x")
    assert (len(responses.calls), len(waits)) == (TRIES, TRIES - 1)


@responses.activate
def test_a_lost_connection_is_tried_again(client: MistralClient) -> None:
    responses.get(f"{URL}/executions/x", body=requests.ConnectionError("reset"))
    responses.get(f"{URL}/executions/x", json={"id": "x"})
    assert client.get("executions", "x") == {"id": "x"}


@responses.activate
def test_an_answer_that_was_cut_off_is_asked_for_again(client: MistralClient, waits: Waits) -> None:
    responses.get(f"{URL}/executions/x", body='{"id": "x", "sta')
    responses.get(f"{URL}/executions/x", json={"id": "x"})
    assert client.get("executions", "x") == {"id": "x"}
    assert waits == [0.25]


@responses.activate
@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_an_answer_that_will_not_change_is_not_asked_for_again(client: MistralClient, status: int) -> None:
    responses.get(f"{URL}/executions/x", status=status, json={"faultstring": "no"})
    with pytest.raises((EngineRefused, NotFound, Unavailable)):
        client.get("executions", "x")
    assert len(responses.calls) == 1


@responses.activate
@pytest.mark.parametrize("failure", [503, requests.ConnectionError("reset"), requests.ReadTimeout("late")])
def test_a_call_that_may_not_be_repeated_is_sent_once(client: MistralClient, failure: Any) -> None:
    if isinstance(failure, int):
        responses.put(f"{URL}/executions/x", status=failure)
    else:
        responses.put(f"{URL}/executions/x", body=failure)
    with pytest.raises(Unavailable):
        client.put("executions", "x", body={"state": "RUNNING"}, repeatable=False)
    assert len(responses.calls) == 1


@responses.activate
def test_retry_after_in_seconds_is_kept_to(client: MistralClient, waits: Waits) -> None:
    responses.get(f"{URL}/executions/x", status=429, headers={"Retry-After": "3"})
    responses.get(f"{URL}/executions/x", json={})
    client.get("executions", "x")
    assert waits == [3.0]


@responses.activate
def test_retry_after_as_a_date_is_kept_to(client: MistralClient, waits: Waits) -> None:
    responses.get(f"{URL}/executions/x", status=503, headers={"Retry-After": formatdate(time.time() + 5, usegmt=True)})
    responses.get(f"{URL}/executions/x", json={})
    client.get("executions", "x")
    assert 3 < waits[0] <= 5


@responses.activate
def test_retry_after_that_makes_no_sense_is_passed_over(client: MistralClient, waits: Waits) -> None:
    responses.get(f"{URL}/executions/x", status=503, headers={"Retry-After": "soon"})
    responses.get(f"{URL}/executions/x", json={})
    client.get("executions", "x")
    assert waits == [0.25]


@responses.activate
def test_retry_after_beyond_our_patience_ends_at_once(client: MistralClient, waits: Waits) -> None:
    responses.get(f"{URL}/executions/x", status=503, headers={"Retry-After": str(LONGEST_WAIT + 1)})
    with pytest.raises(Unavailable):
        client.get("executions", "x")
    assert (len(responses.calls), waits) == (1, [])


def page(members: list[str], more: bool, **query: str) -> None:
    body: dict[str, Any] = {"executions": [{"id": member} for member in members]}
    if more:
        body["next"] = "http://elsewhere/v2/executions?state=in:['a', 'b']"
    responses.get(f"{URL}/executions", json=body, match=[matchers.query_param_matcher(query)])


@responses.activate
def test_pages_follow_the_marker_and_never_the_link(client: MistralClient) -> None:
    page(["a", "b"], True, limit="1000", state="in:A,B")
    page(["c"], False, limit="1000", state="in:A,B", marker="b")
    found = [member["id"] for member in client.pages("executions", "executions", state="in:A,B")]
    assert found == ["a", "b", "c"]


@responses.activate
def test_pages_are_fetched_as_they_are_asked_for(client: MistralClient) -> None:
    page(["a", "b"], True, limit="1000")
    members = client.pages("executions", "executions")
    assert [next(members)["id"], next(members)["id"]] == ["a", "b"]
    assert len(responses.calls) == 1


@responses.activate
def test_pages_end_at_the_limit(client: MistralClient) -> None:
    page(["a", "b"], True, limit="3")
    page(["c"], True, limit="1", marker="b")
    assert [member["id"] for member in client.pages("executions", "executions", limit=3)] == ["a", "b", "c"]


@responses.activate
def test_an_answer_without_the_list_is_no_mistral(client: MistralClient) -> None:
    responses.get(f"{URL}/executions", json={"items": []})
    with pytest.raises(EngineRefused, match="no list of executions"):
        list(client.pages("executions", "executions"))


@responses.activate
def test_ids_cannot_leave_their_place_in_the_path(client: MistralClient) -> None:
    responses.get(f"{URL}/executions/..%2Fx%3Fy", json={})
    client.get("executions", "../x?y")
    assert responses.calls[0].request.url == f"{URL}/executions/..%2Fx%3Fy"


def sent_with(monkeypatch: pytest.MonkeyPatch, access: Access) -> dict[str, Any]:
    """The arguments with which the HTTP library is called."""
    seen: dict[str, Any] = {}

    def request(session: requests.Session, method: str, url: str, **arguments: Any) -> requests.Response:
        seen.update(arguments, method=method, url=url)
        response = requests.Response()
        response.status_code, response._content = 200, b"{}"
        return response

    monkeypatch.setattr(requests.Session, "request", request)
    MistralClient("prod", access).get("executions")
    return seen


def test_every_call_has_timeouts_verification_and_follows_no_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sent_with(monkeypatch, Access(URL, connect_timeout=2, read_timeout=7))
    assert seen["timeout"] == (2, pytest.approx(7, abs=0.5))
    assert (seen["verify"], seen["allow_redirects"]) == (True, False)
    assert "X-Auth-Token" not in seen["headers"]


def test_a_ca_file_replaces_the_systems_authorities_and_a_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sent_with(monkeypatch, Access(URL, ca_file="/etc/ca.pem", token="t"))
    assert (seen["verify"], seen["headers"]["X-Auth-Token"]) == ("/etc/ca.pem", "t")


def test_building_a_backend_imports_no_http_library_before_the_first_call() -> None:
    code = (
        "import sys; from flowbridge_mistral.backend import MistralBackend as B;"
        "B('prod', {'url': 'http://x/v2'}); sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("first", "unsent"), [(requests.ReadTimeout("slow"), False), (requests.ConnectTimeout("down"), True)]
)
@responses.activate
def test_a_call_is_surely_unsent_only_if_no_try_of_it_can_have_arrived(
    client: MistralClient, first: Exception, unsent: bool
) -> None:
    responses.post(f"{URL}/executions", body=first)
    for _ in range(TRIES - 1):
        responses.post(f"{URL}/executions", body=requests.ConnectTimeout("down"))
    with pytest.raises(Unavailable) as caught:
        client.post("executions", body={}, repeatable=True)
    assert caught.value.unsent is unsent


@responses.activate
def test_calls_at_once_have_a_session_each_which_later_calls_use_again() -> None:
    client = MistralClient("prod", Access(URL), lambda _: None)
    all_there = threading.Barrier(8, timeout=30)
    in_use: list[int] = []
    opened: list[requests.Session] = []
    plainly = client._open

    def open_() -> requests.Session:
        opened.append(plainly())
        return opened[-1]

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        in_use.append(len(opened))
        all_there.wait()
        return 200, {}, "{}"

    client._open = open_  # type: ignore[method-assign]
    responses.add_callback(responses.GET, f"{URL}/executions", answer)
    for _ in range(2):
        at_once([partial(client.get, "executions") for _ in range(8)])
    assert (len(in_use), len(opened)) == (16, 8)
    client.close()
    assert client._free == []

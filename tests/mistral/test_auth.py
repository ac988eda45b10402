"""Tokens from a Keystone and the address in its catalog: what is asked, what is asked again, what an error says."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import responses

from flowbridge.backend import TaskRerun
from flowbridge.errors import EngineRefused, Unavailable
from flowbridge_mistral.auth import REFUSED_SECONDS
from flowbridge_mistral.backend import MistralBackend

KEYSTONE = "http://keystone.example:5000/v3"
TOKENS = f"{KEYSTONE}/auth/tokens"
MISTRAL = "http://mistral.example:8989/v2"
SECRET = "a-secret-that-nobody-reads"
ADA = {"auth_url": KEYSTONE, "username": "ada", "password": SECRET, "project_name": "works"}


def endpoint(url: str, interface: str = "public", region: str = "north") -> dict[str, str]:
    return {"url": url, "interface": interface, "region": region, "region_id": region}


def service(type: str, *endpoints: dict[str, str]) -> dict[str, Any]:
    return {"type": type, "name": "m", "id": type, "endpoints": list(endpoints)}


CATALOG = [service("identity", endpoint(KEYSTONE)), service("workflowv2", endpoint(MISTRAL))]


class Keystone:
    """Gives tokens `token-1`, `token-2` and so on, each good for `lasts` seconds."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.asked: list[dict[str, Any]] = []
        self.catalog = CATALOG
        self.lasts = 3600
        mock.add_callback(responses.POST, TOKENS, self._answer)

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        self.asked.append(json.loads(request.body or "{}")["auth"])
        assert "X-Auth-Token" not in request.headers
        until = (datetime.now(UTC) + timedelta(seconds=self.lasts)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        token = {"methods": ["password"], "expires_at": until, "issued_at": until, "catalog": self.catalog}
        user = {"id": "u", "name": "ada", "domain": {"id": "default", "name": "Default"}}
        body = json.dumps({"token": {**token, "user": user}})
        return 201, {"X-Subject-Token": f"token-{len(self.asked)}"}, body


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def keystone(mock: responses.RequestsMock) -> Keystone:
    return Keystone(mock)


def prod(**options: Any) -> MistralBackend:
    return MistralBackend("prod", {**ADA, **options})


def sent_to_mistral(mock: responses.RequestsMock) -> list[str | None]:
    """The tokens that came to Mistral, in their order."""
    calls = [call.request for call in mock.calls if not str(call.request.url).startswith(KEYSTONE)]
    return [request.headers.get("X-Auth-Token") for request in calls]


def test_nobody_is_asked_before_the_first_call_and_keystone_once(
    mock: responses.RequestsMock, keystone: Keystone
) -> None:
    mock.get(f"{MISTRAL}/executions", json={"executions": []})
    backend = prod()
    assert not mock.calls
    backend.check()
    backend.check()
    assert len(keystone.asked) == 1
    assert sent_to_mistral(mock) == ["token-1", "token-1"]


def test_a_password_is_sent_with_its_domain_and_the_project_with_its_own(
    mock: responses.RequestsMock, keystone: Keystone
) -> None:
    mock.get(f"{MISTRAL}/executions", json={})
    prod(user_domain_name="people").check()
    (asked,) = keystone.asked
    assert asked["identity"]["password"]["user"] == {"name": "ada", "password": SECRET, "domain": {"name": "people"}}
    assert asked["scope"] == {"project": {"name": "works", "domain": {"id": "default"}}}


def test_an_application_credential_is_sent_without_a_scope(mock: responses.RequestsMock, keystone: Keystone) -> None:
    mock.get(f"{MISTRAL}/executions", json={})
    options = {"application_credential_id": "c1", "application_credential_secret": SECRET}
    MistralBackend("prod", {"auth_url": KEYSTONE, **options}).check()
    (asked,) = keystone.asked
    assert asked["identity"]["application_credential"] == {"id": "c1", "secret": SECRET}
    assert "scope" not in asked


def test_a_token_is_taken_anew_before_it_expires(mock: responses.RequestsMock, keystone: Keystone) -> None:
    mock.get(f"{MISTRAL}/executions", json={})
    keystone.lasts = 5
    backend = prod()
    backend.check()
    backend.check()
    assert sent_to_mistral(mock)[-1] != "token-1"


CALLS: dict[str, tuple[str, str, Callable[[MistralBackend], object]]] = {
    "get": (responses.GET, "/executions", lambda backend: backend.check()),
    "resume, which is sent once": (responses.PUT, "/executions/x", lambda backend: backend.resume("x", "")),
    "a re-run, which is sent once": (responses.PUT, "/tasks/t", lambda backend: backend.rerun("x", [TaskRerun("t")])),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_401_takes_a_new_token_and_sends_the_same_again(
    mock: responses.RequestsMock, keystone: Keystone, name: str
) -> None:
    method, path, call = CALLS[name]
    mock.add(method, MISTRAL + path, status=401)
    mock.add(method, MISTRAL + path, json={})
    call(prod())
    assert sent_to_mistral(mock) == ["token-1", "token-2"]
    first, second = (call.request for call in mock.calls if str(call.request.url).startswith(MISTRAL))
    assert (first.method, first.url, first.body) == (second.method, second.url, second.body)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_401_is_an_error_that_says_what_to_check(
    mock: responses.RequestsMock, keystone: Keystone, name: str
) -> None:
    method, path, call = CALLS[name]
    mock.add(method, MISTRAL + path, status=401, json={"faultstring": "no token-2 here"})
    with pytest.raises(EngineRefused, match=r"\(401\).*check that this Mistral trusts http://keystone") as caught:
        call(prod())
    assert sent_to_mistral(mock) == ["token-1", "token-2"]
    assert "token-2" not in str(caught.value)


def test_a_403_is_not_asked_again_and_names_the_account_and_its_project(
    mock: responses.RequestsMock, keystone: Keystone
) -> None:
    mock.get(f"{MISTRAL}/executions", status=403, json={"faultstring": "not allowed"})
    with pytest.raises(EngineRefused, match=r"\(403\): not allowed.*user ada in the project works.*check its project"):
        prod().check()
    assert len(keystone.asked) == 1


def test_threads_that_were_refused_together_renew_once(mock: responses.RequestsMock, keystone: Keystone) -> None:
    both = threading.Barrier(2, timeout=30)

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        if request.headers["X-Auth-Token"] == "token-1":
            both.wait()
            return 401, {}, ""
        return 200, {}, "{}"

    mock.add_callback(responses.GET, f"{MISTRAL}/executions", answer)
    backend = prod()
    threads = [threading.Thread(target=backend.check) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, sent_to_mistral(mock))) == ["token-1", "token-1", "token-2", "token-2"]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "set cloud, auth_url or token"), ({"token": SECRET}, "Check the option token|has no right")],
)
def test_without_a_keystone_a_refusal_is_final(
    mock: responses.RequestsMock, options: dict[str, str], words: str, status: int
) -> None:
    mock.get(f"{MISTRAL}/executions", status=status, json={"faultstring": f"bad {SECRET}"})
    with pytest.raises(EngineRefused, match=words) as caught:
        MistralBackend("prod", {"url": MISTRAL, **options}).check()
    assert len(mock.calls) == 1
    assert not options or SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("catalog", "options", "url"),
    [
        ([service("workflow", endpoint("http://w:1/")), service("workflowv2", endpoint(MISTRAL))], {}, MISTRAL),
        ([service("workflow", endpoint("http://w:1/"))], {}, "http://w:1/v2"),
        ([service("mine", endpoint("http://w:2/v2"))], {"service_type": "mine"}, "http://w:2/v2"),
        (CATALOG, {"url": "http://given:3", "region": "moon"}, "http://given:3/v2"),
    ],
)
def test_the_catalog_has_the_address_unless_it_is_given(
    mock: responses.RequestsMock, keystone: Keystone, catalog: list[Any], options: dict[str, str], url: str
) -> None:
    keystone.catalog = catalog
    mock.get(f"{url}/executions", json={})
    assert f"prod ({url})" in prod(**options).check().detail


SEVERAL = [
    service(
        "workflowv2",
        endpoint("http://a:1", region="north"),
        endpoint("http://b:1", region="south"),
        endpoint("http://c:1", interface="internal", region="south"),
    )
]


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({"region": "north"}, "http://a:1/v2"),
        ({"region": "south"}, "http://b:1/v2"),
        ({"region": "south", "interface": "internal"}, "http://c:1/v2"),
        ({"interface": "internalURL"}, "http://c:1/v2"),
    ],
)
def test_region_and_interface_choose(
    mock: responses.RequestsMock, keystone: Keystone, options: dict[str, str], url: str
) -> None:
    keystone.catalog = SEVERAL
    mock.get(f"{url}/executions", json={})
    assert url in prod(**options).check().detail


@pytest.mark.parametrize(
    ("catalog", "options", "words"),
    [
        (SEVERAL, {}, r"several regions \(north, south\); name one with region"),
        (SEVERAL, {"region": "moon"}, "in region moon.*it has workflowv2 internal in south"),
        (CATALOG[:1], {}, "no public endpoint of type workflowv2 or workflow.*check the project"),
    ],
)
def test_a_catalog_that_does_not_tell_is_an_error_with_what_there_is(
    mock: responses.RequestsMock, keystone: Keystone, catalog: list[Any], options: dict[str, str], words: str
) -> None:
    keystone.catalog = catalog
    with pytest.raises(EngineRefused, match=words):
        prod(**options).check()
    assert not sent_to_mistral(mock)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ({"status": 401}, EngineRefused, r"does not accept the user ada in the project works \(401\)\. Check"),
        ({"status": 403}, EngineRefused, "Check its project"),
        ({"status": 404}, EngineRefused, "Check auth_url"),
        ({"status": 200, "body": "<html>"}, EngineRefused, "no Keystone v3 API"),
        ({"status": 201, "body": '{"token": {}}'}, EngineRefused, "no Keystone v3 API"),
        ({"status": 201, "body": '{"token": 3}', "headers": {"X-Subject-Token": "t"}}, EngineRefused, "no Keystone"),
        ({"status": 302, "headers": {"Location": "http://stranger.example/"}}, EngineRefused, "no Keystone v3 API"),
        ({"status": 503}, Unavailable, r"is not available \(503\)"),
        ({"body": requests.ConnectionError("reset")}, Unavailable, "Check auth_url, and that it can be reached"),
        ({"body": requests.exceptions.SSLError("self-signed")}, Unavailable, "ca_file or OS_CACERT"),
    ],
    ids=["401", "403", "404", "no JSON", "no token", "a strange token", "redirect", "503", "silence", "certificate"],
)
def test_what_keystone_answers_becomes_one_line_without_a_secret(
    mock: responses.RequestsMock,
    caplog: pytest.LogCaptureFixture,
    answer: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    mock.post(TOKENS, **answer)
    with pytest.raises(error, match=words) as caught:
        prod().resume("x", "")
    assert "\n" not in str(caught.value)
    assert "prod: Keystone (http://keystone.example:5000/v3)" in str(caught.value)
    assert SECRET not in str(caught.value) + caplog.text
    assert not sent_to_mistral(mock)
    assert not isinstance(caught.value, Unavailable) or caught.value.unsent
    assert all(str(call.request.url).startswith(KEYSTONE) for call in mock.calls)


def test_a_secret_that_was_refused_is_not_tried_in_a_loop_which_would_lock_the_account(
    mock: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("flowbridge_mistral.auth.monotonic", lambda: now)
    mock.post(TOKENS, status=401)
    backend = prod()
    for _ in range(3):
        with pytest.raises(EngineRefused, match="does not accept the user ada"):
            backend.check()
    assert len(mock.calls) == 1
    now += REFUSED_SECONDS
    with pytest.raises(EngineRefused, match="does not accept the user ada"):
        backend.check()
    assert len(mock.calls) == 2


def test_a_busy_keystone_is_asked_again_where_mistral_would_be(
    mock: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock.post(TOKENS, status=503)
    Keystone(mock)
    mock.get(f"{MISTRAL}/executions", json={})
    backend = prod()
    monkeypatch.setattr(backend._client, "_sleep", lambda seconds: None)
    backend.check()
    assert sent_to_mistral(mock) == ["token-1"]


def test_one_certificate_file_serves_both_servers_and_nothing_switches_it_off(
    monkeypatch: pytest.MonkeyPatch, mock: responses.RequestsMock, keystone: Keystone
) -> None:
    seen: list[tuple[str, Any, Any]] = []
    real = requests.Session.request

    def request(session: requests.Session, method: str, url: str, **arguments: Any) -> requests.Response:
        seen.append((url.partition("/v")[0], arguments["verify"], arguments["allow_redirects"]))
        return real(session, method, url, **arguments)

    monkeypatch.setattr(requests.Session, "request", request)
    mock.get(f"{MISTRAL}/executions", json={})
    prod(ca_file=__file__).check()
    prod().check()
    servers = ("http://keystone.example:5000", "http://mistral.example:8989")
    assert seen == [*((one, __file__, False) for one in servers), *((one, True, False) for one in servers)]


def test_building_a_backend_with_an_account_imports_no_library_of_openstack() -> None:
    code = (
        "import sys; from flowbridge_mistral.backend import MistralBackend as B;"
        f"B('prod', {ADA!r}); sys.exit(bool({{'requests', 'keystoneauth1'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""http-request: requests for real, and the shape of what they give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from actionchain.packkit import Site
from flowbridge.model import TaskStatus
from flowbridge_actionchain.jobs.model import RunContext


class Handler(BaseHTTPRequestHandler):
    """Tells what it was asked, as the path wants it."""

    released = Event()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        told = {
            "method": self.command,
            "path": self.path,
            "body": self.rfile.read(length).decode(),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        body, kind, status = json.dumps(told).encode(), "application/json; charset=utf-8", 200
        if self.path == "/text":
            body, kind = "grün".encode("latin-1"), "text/plain"
        elif self.path == "/broken":
            body = b"{"
        elif self.path == "/long":
            body = b"x" * 3_000_000
        elif self.path == "/moved":
            status = 302
        elif self.path == "/missing":
            status = 404
        elif self.path == "/slow":
            self.released.wait(30)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Location", "/text")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer  # noqa: N815  (the library's names)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_request_and_its_answer(site: Site, url: str) -> None:
    outcome = site.run(
        "core.http",
        url=f"{url}/a",
        method="PUT",
        params={"q": "1"},
        headers={"content-type": "application/json", "X-N": 5},
        cookies={"c": "d"},
        body="{'python': True}",
        auth="ada:xyzzy-42",
    )
    assert outcome.status is TaskStatus.SUCCEEDED
    result = outcome.result
    assert (result["status_code"], result["parsed"], sorted(result)) == (
        200,
        True,
        ["body", "headers", "parsed", "status_code"],
    )
    body = result["body"]
    assert (body["method"], body["path"], body["body"]) == ("PUT", "/a?q=1", '{"python": true}')
    sent = body["headers"]
    assert (sent["x-n"], sent["cookie"], sent["authorization"][:6]) == ("5", "c=d", "Basic ")
    assert sent["user-agent"].startswith("flowbridge/")


@pytest.mark.parametrize("given", [{"username": "ada", "password": "xyzzy-42"}, {"auth": "ada:xyzzy-42"}])
def test_a_secret_password_that_a_server_says_back_as_it_was_sent_is_masked(
    site: Site, url: str, given: dict[str, str]
) -> None:
    outcome = site.run("core.http", RunContext("e1", secrets=["xyzzy-42"]), url=f"{url}/a", **given)
    assert outcome.result["body"]["headers"]["authorization"] == "Basic ********"


def test_what_is_no_json_stays_text_and_a_body_makes_it_a_post(site: Site, url: str) -> None:
    text = site.run("core.http", url=f"{url}/text").result
    assert (text["body"], text["parsed"]) == ("grün", False)
    broken = site.run("core.http", url=f"{url}/broken", body="x").result
    assert (broken["body"], broken["parsed"]) == ("{", False)
    assert site.run("core.http", url=f"{url}/a", body="x").result["body"]["method"] == "POST"


def test_other_statuses_fail_and_redirects_are_followed_where_it_is_said(site: Site, url: str) -> None:
    missing = site.run("core.http", url=f"{url}/missing")
    assert (missing.status, missing.result["status_code"]) == (TaskStatus.ERRORED, 404)
    assert missing.error == "the server answered 404"
    assert site.run("core.http", url=f"{url}/moved").result["status_code"] == 302
    assert site.run("core.http", url=f"{url}/moved", allow_redirects=True).result["body"] == "grün"


def test_what_cannot_be_had_is_an_error(site: Site, url: str) -> None:
    outcome = site.run("core.http", url="http://127.0.0.1:1/")
    assert (outcome.status, list(outcome.result)) == (TaskStatus.ERRORED, ["error"])
    assert "refused" in outcome.error
    assert "Read timed out" in site.run("core.http", url=f"{url}/slow", timeout=0.2).error
    assert "longer than 2097152 bytes" in site.run("core.http", url=f"{url}/long").error
    assert "the host 127.0.0.1 is in" in site.run("core.http", url=url, url_hosts_blacklist=["127.0.0.1"]).error
    json_header = {"Content-Type": "application/json"}
    assert "it is none" in site.run("core.http", url=url, body="{", headers=json_header).error


def test_a_server_whose_certificate_is_not_known_is_not_believed(site: Site, url: str) -> None:
    assert "SSL" in site.run("core.http", url=url.replace("http:", "https:")).error

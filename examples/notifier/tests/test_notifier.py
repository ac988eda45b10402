"""What the webhook is told, what happens while it is down, and what is told to nobody."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import flowbridge_notifier
import pytest
import requests
from flowbridge_notifier import REST_SECONDS, NotSentError, Plugin, Webhook, event

from flowbridge import Bridge, Config, Definition
from flowbridge.hookspecs import Change
from flowbridge.ledger.operations import Operation
from flowbridge.model import Record, Ref

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLE = json.loads(re.findall(r"^```json\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[0])

PAUSE = Operation(
    "5d1f2c0e-2f0b-4d7c-8d3e-77f0a2b8a6c9", "tree", "pause", "target", "ada", 0.0, reason="a look at the disk"
)
RECORD = Record(
    "0b0a3f4e-9f3a-4a52-a87f-0f0e8bb6a1d4", "tree", Ref("prod", "8a1c9a5e-6e8b-4d43-8a55-0a6f2f6e2a10"), "release"
)
CHANGE = Change(at=1795615391.25, actor="ada", operation=PAUSE, engine_state="PAUSED", parent="")


@dataclass
class Inbox:
    """A webhook: what it got, and what it answers next."""

    url: str = ""
    got: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [event["id"] for _, event in self.got]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.got.append((dict(self.headers), json.loads(body)))
            self.send_response(box.answers.pop(0) if box.answers else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal of the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        box.url = f"http://127.0.0.1:{server.server_port}/hook/s3cret-path?key=s3cret-key"
        yield box
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def plugin(inbox: Inbox, tmp_path: Path, clock: Clock | None = None, **more: str) -> Plugin:
    settings = {"FLOWBRIDGE_NOTIFY_URL": inbox.url, "FLOWBRIDGE_NOTIFY_OUTBOX": str(tmp_path / "outbox"), **more}
    return Plugin(lambda: settings, clock or Clock())


def change(plugin: Plugin, number: int) -> None:
    plugin.flowbridge_status_changed(RECORD, "running", "pausing", number, CHANGE)


def waiting(tmp_path: Path) -> list[str]:
    return sorted(path.name[:12].lstrip("0") for path in (tmp_path / "outbox").glob("*"))


def test_the_event_is_the_one_that_the_readme_shows() -> None:
    assert event(RECORD, "running", "pausing", 17, CHANGE) == EXAMPLE


def test_a_change_that_came_by_itself_has_no_operation_and_a_child_has_a_parent() -> None:
    alone = Change(at=0.0, actor="engine", operation=None, engine_state="", parent="above")
    data = event(RECORD, "pausing", "paused", 18, alone)["data"]
    assert (data["operation"], data["actor"], data["parent_id"]) == (None, "engine", "above")


def test_it_is_posted_as_structured_json_with_the_token(inbox: Inbox, tmp_path: Path) -> None:
    change(plugin(inbox, tmp_path, FLOWBRIDGE_NOTIFY_TOKEN="s3cret-token"), 17)
    ((headers, body),) = inbox.got
    assert body == EXAMPLE
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["Authorization"] == "Bearer s3cret-token"
    assert waiting(tmp_path) == []


@pytest.mark.parametrize("answer", [500, 404, 301])
def test_what_was_not_taken_waits_and_is_sent_in_order_with_the_same_id(
    inbox: Inbox, tmp_path: Path, answer: int
) -> None:
    clock = Clock()
    ours = plugin(inbox, tmp_path, clock)
    inbox.answers = [answer]
    with pytest.raises(NotSentError, match=rf"^the webhook at 127.0.0.1 answered {answer}; 1 event waits"):
        change(ours, 1)
    assert waiting(tmp_path) == ["1"]
    clock.now += REST_SECONDS
    change(ours, 2)
    assert inbox.ids == [f"{RECORD.id}/1", f"{RECORD.id}/1", f"{RECORD.id}/2"]
    assert waiting(tmp_path) == []


def test_a_webhook_that_is_down_is_tried_once_a_minute_and_named_once(inbox: Inbox, tmp_path: Path) -> None:
    clock = Clock()
    ours = plugin(inbox, tmp_path, clock)
    inbox.answers = [503] * 9
    with pytest.raises(NotSentError):
        change(ours, 1)
    for number in (2, 3):
        change(ours, number)
    assert (len(inbox.got), waiting(tmp_path)) == (1, ["1", "2", "3"])
    clock.now += REST_SECONDS
    with pytest.raises(NotSentError, match="3 events wait"):
        ours.flowbridge_after_operation(PAUSE)
    assert len(inbox.got) == 2


def test_what_an_earlier_command_left_is_sent_by_the_next_one(inbox: Inbox, tmp_path: Path) -> None:
    inbox.answers = [503]
    with pytest.raises(NotSentError):
        change(plugin(inbox, tmp_path), 1)
    plugin(inbox, tmp_path).flowbridge_after_operation(PAUSE)
    assert waiting(tmp_path) == []


def test_a_change_that_is_told_again_is_one_event(inbox: Inbox, tmp_path: Path) -> None:
    inbox.answers = [503]
    ours = plugin(inbox, tmp_path)
    with pytest.raises(NotSentError):
        change(ours, 1)
    change(ours, 1)
    assert waiting(tmp_path) == ["1"]


def test_nobody_else_reads_the_outbox(inbox: Inbox, tmp_path: Path) -> None:
    inbox.answers = [503]
    with pytest.raises(NotSentError):
        change(plugin(inbox, tmp_path), 1)
    (file,) = (tmp_path / "outbox").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_without_an_address_nothing_is_sent_or_kept(tmp_path: Path) -> None:
    ours = Plugin(lambda: {"FLOWBRIDGE_NOTIFY_OUTBOX": str(tmp_path / "outbox")})
    change(ours, 1)
    ours.flowbridge_after_operation(PAUSE)
    assert not (tmp_path / "outbox").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hooks.example.org/s3cret", "is no address of a webhook"),
        ("ftp://hooks.example.org/s3cret", "is no address of a webhook"),
        ("http://hooks.example.org/s3cret", "the webhook at hooks.example.org is not sent to without TLS"),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused(url: str, said: str) -> None:
    with pytest.raises(NotSentError, match=said) as caught:
        Webhook(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "3600"])
def test_a_timeout_that_is_none_is_named(inbox: Inbox, tmp_path: Path, text: str) -> None:
    with pytest.raises(NotSentError, match="FLOWBRIDGE_NOTIFY_TIMEOUT is seconds"):
        change(plugin(inbox, tmp_path, FLOWBRIDGE_NOTIFY_TIMEOUT=text), 1)
    assert waiting(tmp_path) == ["1"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("Timeout", "did not answer within 5 s"),
        ("SSLError", "cannot be trusted"),
        ("ConnectionError", r"cannot be reached \(ConnectionError\)"),
    ],
)
def test_no_secret_of_the_address_is_told(
    error: str, said: str, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(url: str, **_: object) -> None:
        raise getattr(requests.exceptions, error)(f"{url} is down")

    monkeypatch.setattr(requests, "post", post)
    with pytest.raises(NotSentError, match=said) as caught:
        change(plugin(inbox, tmp_path), 1)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# With flowbridge around it


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.delenv("FLOWBRIDGE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with Bridge(Config(ledger=tmp_path / "ledger.db", actor="ada")) as bridge:
        yield bridge


HELLO = Definition("version: '2.0'\nhello: {tasks: {t: {action: std.noop}}}", "hello.yaml")


def test_a_run_is_told_from_its_start_to_its_end(bridge: Bridge, inbox: Inbox, tmp_path: Path) -> None:
    bridge.hooks.register(plugin(inbox, tmp_path), "notifier")
    record = bridge.run(HELLO, backend="memory", reason="to see it")
    bridge.wait(record.id, timeout=60)
    told = [body["data"] for _, body in inbox.got]
    assert [one["old"] for one in told] == ["requested", *(one["new"] for one in told[:-1])]
    assert told[-1]["new"] == "succeeded"
    assert {one["execution_id"] for one in told} == {record.id}
    assert len(set(inbox.ids)) == len(told)
    assert not bridge.hooks.problems


def test_a_webhook_that_is_down_takes_no_command_down(bridge: Bridge, inbox: Inbox, tmp_path: Path) -> None:
    inbox.answers = [503] * 9
    bridge.hooks.register(plugin(inbox, tmp_path), "notifier")
    record = bridge.run(HELLO, backend="memory")
    assert bridge.wait(record.id, timeout=60).record.status == "succeeded"
    (problem,) = bridge.hooks.problems
    assert problem.startswith("plugin notifier: flowbridge_")
    assert "the webhook at 127.0.0.1 answered 503" in problem
    assert waiting(tmp_path)


def test_the_entry_point_is_a_plugin_that_flowbridge_takes(bridge: Bridge) -> None:
    bridge.hooks.register(flowbridge_notifier.plugin, "notifier")
    assert "notifier" in bridge.hooks.observers

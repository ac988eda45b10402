"""Actions: the language's own, Python callables, ad-hoc ones, links."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from flowbridge.errors import InvalidInput
from flowbridge.local import Command
from flowbridge_memory.actions import ActionRegistry
from flowbridge_memory.session import open_session
from flowbridge_memory.workers import ActionFailed
from memory.enginekit import ROOT, Engine

HEAD = "version: '2.0'\n"


def one(task: str, engine: Engine | None = None) -> Engine:
    return (engine or Engine()).start(HEAD + f"main:\n  tasks:\n    t: {{{task}}}\n").finish()


def test_a_task_without_an_action_does_nothing() -> None:
    engine = one("publish: {x: 1}")
    assert engine.state == "succeeded"
    assert engine.result("t") is None


def test_echo_gives_its_output_as_it_is() -> None:
    assert one("action: std.echo, input: {output: [1, {a: b}]}").result("t") == [1, {"a": "b"}]


def test_echo_can_be_delayed() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks:\n    t: {action: std.echo, input: {output: 1, delay: 5}}\n")
    assert engine.task("t").active
    engine.pass_time(5)
    assert engine.result("t") == 1


def test_fail_fails_with_its_data() -> None:
    engine = one("action: std.fail, input: {error_data: {code: 3}}")
    assert engine.state == "errored"
    assert engine.result("t") == {"code": 3}


def test_sleep_is_a_timer_that_outlives_the_process() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks:\n    t: {action: std.sleep, input: {seconds: 30}}\n")
    engine.pass_time(20)
    engine.reload()
    engine.pass_time(9)
    assert engine.task("t").active
    assert engine.task("t").running == ("t: std.sleep",)
    engine.pass_time(1)
    assert engine.state == "succeeded"


def test_async_noop_waits_for_a_report_and_outlives_the_process() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks:\n    t: {action: std.async_noop}\n")
    engine.pass_time(1000)
    engine.reload()
    assert engine.task("t").active
    engine.end("t", result={"a": 1})
    assert engine.result("t") == {"a": 1}


def test_a_report_of_an_ended_action_changes_nothing() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks:\n    t: {action: std.async_noop}\n")
    key = next(iter(engine.session._world.waiting))
    engine.do("report", key=key, status="succeeded", result=1)
    engine.do("report", key=key, status="errored", result=2)
    assert engine.state == "succeeded"
    assert engine.result("t") == 1


def test_C5_a_report_of_canceled_cancels_the_task() -> None:
    engine = Engine().start(
        HEAD + "main:\n  tasks:\n    t: {action: std.async_noop, on-complete: u}\n    u: {action: std.noop}\n"
    )
    engine.end("t", "canceled")
    assert engine.states() == {"t": "canceled"}
    assert engine.state == "canceled"


def test_a_python_callable_runs_in_a_thread_of_its_own() -> None:
    seen: list[str] = []

    def act(word: str, times: int = 1) -> str:
        seen.append(threading.current_thread().name)
        return word * times

    engine = one("action: my.act, input: {word: ab, times: 2}", Engine(actions={"my.act": act}))
    assert engine.result("t") == "abab"
    assert seen == ["action-1"]


def test_what_a_callable_raises_is_the_error_of_its_task() -> None:
    def act() -> None:
        raise ValueError("no luck")

    engine = one("action: my.act", Engine(actions={"my.act": act}))
    assert engine.state == "errored"
    assert engine.task("t").error == "ValueError: no luck"


def test_a_result_that_is_no_data_is_an_error() -> None:
    engine = one("action: my.act", Engine(actions={"my.act": object}))
    assert "no JSON data" in engine.task("t").error


@pytest.mark.parametrize(("input", "named"), [("{wrod: x}", "missing word; unknown wrod"), ("{}", "missing word")])
def test_input_that_does_not_fit_is_an_error_that_names_what_is_allowed(input: str, named: str) -> None:
    engine = one(f"action: my.act, input: {input}, on-error: noop", Engine(actions={"my.act": lambda word: word}))
    assert engine.state == "errored"
    assert engine.look().error == f"Invalid input for action 'my.act': {named}. It takes: word. (task 't')"


def test_no_more_actions_run_at_once_than_there_are_workers() -> None:
    lock, gate = threading.Lock(), threading.Event()
    running: list[int] = [0, 0]

    def act() -> None:
        with lock:
            running[0] += 1
            running[1] = max(running)
            if running[0] == 3:
                gate.set()
        assert gate.wait(10)
        with lock:
            running[0] -= 1

    engine = one("with-items: 'i in [1, 2, 3, 4, 5, 6]', action: act", Engine(actions={"act": act}, workers=3))
    assert engine.state == "succeeded"
    assert running[1] == 3


def test_P5_an_action_that_ends_under_a_pause_is_kept() -> None:
    begun, gate = threading.Event(), threading.Event()

    def act() -> int:
        begun.set()
        assert gate.wait(10)
        return 5

    engine = Engine(actions={"act": act}).start(
        HEAD + "main:\n  tasks:\n    t: {action: act, on-success: u}\n    u: {action: std.noop}\n"
    )
    assert begun.wait(10)
    engine.do("pause")
    assert not engine.session.settled
    gate.set()
    engine.finish()
    assert engine.result("t") == 5
    assert engine.states() == {"t": "succeeded"}
    assert engine.session.settled


def test_a_timed_out_action_that_ends_late_is_not_looked_at() -> None:
    gate = threading.Event()

    def act() -> int:
        assert gate.wait(10)
        return 5

    engine = Engine(actions={"act": act}).start(HEAD + "main:\n  tasks:\n    t: {action: act, timeout: 5}\n")
    engine.pass_time(6)
    assert engine.states() == {"t": "errored"}
    gate.set()
    engine.finish()
    assert engine.states() == {"t": "errored"}
    assert engine.result("t") is None


def test_an_action_named_by_an_expression_is_found_when_it_runs() -> None:
    engine = Engine().start(
        HEAD + "main:\n  input: [a]\n  tasks:\n    t: {action: <% $.a %>, input: {output: 1}}\n", a="std.echo"
    )
    assert engine.result("t") == 1
    engine = Engine().start(HEAD + "main:\n  input: [a]\n  tasks:\n    t: {action: <% $.a %>}\n", a="nope")
    assert "no action 'nope'" in engine.look().error


BOOK = (
    HEAD
    + """
name: book
workflows:
  main:
    tasks:
      t: {{action: outer, input: {input}}}
actions:
  outer:
    input: [word, mark: "!"]
    base: book.inner
    base-input: {{word: "<% $.word %><% $.mark %>"}}
    output: {{outer: <% $ %>}}
  inner:
    input: [word]
    base: std.echo
    base-input: {{output: "(<% $.word %>)"}}
""".lstrip("\n")
)


def test_ad_hoc_actions_wrap_one_another() -> None:
    engine = Engine().start(BOOK.format(input="{word: hi}"), "main").finish()
    assert engine.result("t") == {"outer": "(hi!)"}


def test_an_ad_hoc_action_refuses_input_it_does_not_name() -> None:
    engine = Engine().start(BOOK.format(input="{other: hi}"), "main").finish()
    assert "missing word, unknown other" in engine.task("t").error


def wrapped(actions: str, task: str) -> Engine:
    """A task `t` over ad-hoc actions, whose error leads to `u`; the task before it has published `p`."""
    return Engine().start(
        f"version: '2.0'\nname: book\nactions:\n  {actions}\nworkflows:\n  main:\n    input: [n]\n    vars: {{v: 2}}\n"
        "    tasks:\n      first: {action: std.noop, publish: {p: 1}, on-success: t}\n"
        f"      t: {{action: {task}, on-error: u}}\n      u: {{action: std.noop}}\n",
        "main",
        n=3,
    )


@pytest.mark.parametrize(
    ("expression", "seen"),
    [("$.get(p, unseen)", 1), ("$.get(v, unseen)", 2), ("$.get(n, unseen)", "unseen"), ("task(first).published.p", 1)],
)
def test_what_an_ad_hoc_action_makes_of_its_input_sees_variables_but_not_the_workflow_s_input(
    expression: str, seen: object
) -> None:
    engine = wrapped(f"echo: {{base: 'std.echo output=<% {expression} %>'}}", "echo").finish()
    assert engine.result("t") == seen


def test_the_input_of_an_ad_hoc_action_hides_a_variable_of_its_name() -> None:
    engine = wrapped("echo: {input: [p], base: std.echo output=<% $.p %>}", "echo p=8").finish()
    assert engine.result("t") == 8


@pytest.mark.parametrize(
    "call",
    [
        "action: std.echo output=hello",
        "action: std.echo output=0.5",
        "action: std.echo output=-1",
        "action: <% $.a %> output=hello",
        "workflow: sub x=hello",
        "action: loud",
    ],
)
def test_a_bare_word_that_the_language_does_not_read_is_refused_with_its_place(call: str) -> None:
    text = (
        "version: '2.0'\nname: book\nactions:\n  loud: {base: std.echo output=hello}\nworkflows:\n  main:\n    tasks:\n"
        f"      t: {{{call}}}\n  sub:\n    input: [x]\n    tasks:\n      u: {{action: std.noop}}\n"
    )
    with pytest.raises(
        InvalidInput, match="is a bare word, which the language does not read; put a text in dou"
    ) as caught:
        Engine().start(text, "main")
    assert (caught.value.line, caught.value.column) == ((4, 10) if call.endswith("loud") else (8, 11))


@pytest.mark.parametrize("value", ['"hello"', "'hello'", "5", "true", "null", "[a, b]", "<% 1 %>", "{{ 1 }}"])
def test_other_inline_values_are_read(value: str) -> None:
    engine = Engine().start(HEAD + f"main:\n  tasks:\n    t:\n      action: std.echo output={value}\n")
    assert engine.state == "succeeded"


def test_the_input_of_a_link_may_be_bare_words() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks:\n    t: {action: flowbridge.run target=b:wf}\n")
    assert [waiting.target for waiting in engine.look().waiting] == ["b:wf"]


@pytest.mark.parametrize("base", ["std.echo output=<% task().name %>", "std.noop output=1", "std.echo"])
def test_an_ad_hoc_action_that_can_make_no_input_fails_and_its_on_error_is_taken(base: str) -> None:
    engine = wrapped(f"echo: {{base: '{base}'}}", "echo").finish()
    assert engine.states() == {"first": "succeeded", "t": "errored", "u": "succeeded"}
    assert engine.state == "succeeded"


def test_an_ad_hoc_action_that_can_make_no_input_of_one_item_fails_the_task_and_no_item_behind_it_begins() -> None:
    nth = "nth: {input: [i], base: 'std.echo output=<% [5, 6][$.i] %>'}"
    engine = wrapped(nth, "nth i=<% $.i %>, with-items: 'i in [1, 7, 0]'").finish()
    assert engine.states() == {"first": "succeeded", "t": "errored", "u": "succeeded"}
    task = next(task for task in engine.read().tasks if task.name == "t")
    assert [item.result for item in task.items or ()] == [6, None, None]
    assert engine.task("t").error.startswith("Item 1 cannot begin: ")


INNER = "inner: {input: [a], base: 'std.echo output=<% $.get(b, unseen) %>'}"


def test_an_ad_hoc_action_may_give_another_more_than_it_names() -> None:
    assert wrapped(f"{INNER}\n  more: {{base: book.inner a=1 b=2}}", "more").finish().result("t") == 2


def test_an_ad_hoc_action_that_gives_another_less_than_it_takes_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"'book.less' does not give 'book.inner' its input: missing a; ") as caught:
        wrapped(f"{INNER}\n  less: {{base: book.inner b=2}}", "less")
    assert (caught.value.line, caught.value.column) == (5, 10)


def test_where_such_an_action_is_only_known_at_run_time_its_task_fails() -> None:
    engine = wrapped(f"{INNER}\n  less: {{base: book.inner b=2}}", "<% less %>").finish()
    assert engine.states() == {"first": "succeeded", "t": "errored", "u": "succeeded"}
    assert "missing a" in engine.task("t").error


def test_the_base_of_an_ad_hoc_action_goes_by_its_full_name() -> None:
    with pytest.raises(InvalidInput, match=r"'book.outer' is based on action 'inner'.*Known actions: book.inner,"):
        wrapped("inner: {base: std.noop}\n  outer: {base: inner}", "outer")


def test_a_link_waits_for_an_execution_elsewhere_and_says_which() -> None:
    engine = Engine().start(
        HEAD + "main:\n  tasks:\n    t: {action: flowbridge.run, input: {target: 'b:wf', input: {a: 1}}}\n"
    )
    (waiting,) = engine.look().waiting
    assert (waiting.target, waiting.input, waiting.task) == ("b:wf", {"a": 1}, engine.task("t").id)
    engine.do("report", ROOT, key=waiting.key, status="succeeded", result=4)
    assert engine.look().waiting == ()
    assert engine.result("t") == 4


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"hello": "there"}'
        self.send_response(200 if self.path == "/good" else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.mark.parametrize(("path", "state", "status"), [("good", "succeeded", 200), ("bad", "errored", 503)])
def test_http_gives_the_answer_as_data(path: str, state: str, status: int) -> None:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        engine = one(f"action: std.http, input: {{url: 'http://127.0.0.1:{server.server_port}/{path}', timeout: 10}}")
        thread.join(10)
    assert engine.state == state
    result = engine.result("t")
    assert result["status"] == status
    assert result["content"] == {"hello": "there"}
    assert set(result) == {
        "content", "status", "headers", "url", "history", "encoding", "reason", "cookies", "elapsed",
    }  # fmt: skip


def test_http_that_cannot_connect_is_an_error_of_the_task() -> None:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        port = server.server_port
    engine = one(f"action: std.http, input: {{url: 'http://127.0.0.1:{port}/', timeout: 2}}")
    assert "HTTP request failed" in engine.task("t").error


def test_an_action_that_asks_to_exit_only_fails() -> None:
    def act() -> None:
        raise SystemExit(3)

    engine = one("action: my.act", Engine(actions={"my.act": act}))
    assert engine.task("t").error == "SystemExit: 3"


def test_the_real_clock_is_waited_for_no_longer_than_needed() -> None:
    text = HEAD + "main:\n  tasks:\n    t: {action: std.sleep, input: {seconds: 0.05}}\n"
    session = open_session("memory", {}, None, actions=ActionRegistry())
    session.apply(Command("s", "start", ROOT, {"workflow": "", "input": {}, "definition": text}))
    begun = time.monotonic()
    session.advance(until=lambda: False)
    while not session.settled:
        session.wait(30)
        session.advance(until=lambda: False)
    assert 0.05 <= time.monotonic() - begun < 20
    assert session.look()[0].state.value == "succeeded"


@pytest.mark.parametrize("items", ["", "with-items: 'i in [1, 2]', "])
def test_an_output_of_an_ad_hoc_action_that_cannot_be_told_ends_the_workflow(items: str) -> None:
    engine = Engine().start(
        "version: '2.0'\nname: book\nactions:\n  greet: {base: std.echo output='hello', output: <% $.no.where %>}\n"
        f"workflows:\n  main:\n    tasks:\n      t: {{{items}action: greet, on-error: u}}\n"
        "      u: {action: std.noop}\n",
        workflow="main",
    )
    assert engine.state == "errored"
    assert engine.states() == {"t": "errored"}
    assert "The output of action 'book.greet'" in engine.look().error


ILL_TYPED = ["abc", "", "[1]", [1], {"a": 1}, True, "1e999", float("inf"), float("nan"), "nan", -5, "-5", 10**400]


@pytest.mark.parametrize("value", ILL_TYPED, ids=repr)
@pytest.mark.parametrize(
    ("task", "named"),
    [
        ("action: std.sleep seconds=<% $.s %>", "Action 'std.sleep': 'seconds' must be a finite number of seconds"),
        ("action: std.echo output=1 delay=<% $.s %>", "Action 'std.echo': 'delay' must be a finite number of seconds"),
    ],
)
def test_a_value_that_an_action_cannot_take_fails_the_task_and_nothing_else(task: str, named: str, value: Any) -> None:
    engine = Engine().start(
        HEAD + f"main:\n  input: [s]\n  tasks:\n    t:\n      {task}\n      on-error: u\n"
        "    u: {action: std.noop}\n    beside: {on-success: behind}\n    behind: {action: std.noop}\n",
        s=value,
    )
    assert engine.states() == {"t": "errored", "u": "succeeded", "beside": "succeeded", "behind": "succeeded"}
    assert engine.state == "succeeded"
    assert named in engine.task("t").error
    assert len(engine.task("t").error) < 250


@pytest.mark.parametrize("value", [0, "0", 5, "5", 0.5, "5.0", None])
def test_a_number_of_seconds_may_stand_in_a_text(value: Any) -> None:
    engine = Engine().start(
        HEAD + "main:\n  input: [s]\n  tasks:\n    t: {action: std.sleep, input: {seconds: <% $.s %>}}\n", s=value
    )
    engine.pass_time(5)
    assert engine.states() == {"t": "succeeded"}


def test_one_item_with_a_value_that_its_action_cannot_take_fails_alone() -> None:
    engine = one("with-items: 'i in [1, \"abc\", 2]', action: std.sleep, input: {seconds: <% $.i %>}")
    assert engine.task("t").error.startswith("1 of 3 items failed: Action 'std.sleep': 'seconds' must be")
    first, second, third = engine.result("t")
    assert (first, third) == (None, None)
    assert "not 'abc'" in second


@pytest.mark.parametrize(
    ("task", "column"),
    [
        ("action: std.sleep, input: {seconds: soon}", 36),
        ('action: std.sleep seconds="soon"', 9),
        ("action: std.echo, input: {output: 1, delay: -1}", 46),
    ],
)
def test_a_value_in_the_text_that_an_action_cannot_take_is_told_before_anything_runs(task: str, column: int) -> None:
    with pytest.raises(InvalidInput, match="must be a finite number of seconds, zero or more") as caught:
        one(task)
    assert (caught.value.source, caught.value.line, caught.value.column) == ("flow.yaml", 4, column)


class _TextlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _raising(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: 10**6000, "no JSON data"),
        (lambda: {"a": [10**6000]}, "no JSON data"),
        (lambda: _nested(50_000), "nested"),
        (lambda: _nested(300), "nested more than 200 levels deep"),
        (_raising(_TextlessError()), "_TextlessError, whose text cannot be told: that raises RuntimeError"),
        (_raising(ValueError("half \ud800")), "ValueError: half \\ud800"),
        (_raising(ActionFailed(object(), "no luck")), "no JSON data"),
        (_raising(ActionFailed(10**6000, "no luck")), "no JSON data"),
        (_raising(ActionFailed({"a": "\udfff"}, "half \ud800")), "half \\ud800"),
    ],
)
def test_whatever_a_callable_does_becomes_an_outcome_that_can_be_written(act: Callable[[], Any], told: str) -> None:
    engine = one("action: my.act, on-error: noop", Engine(actions={"my.act": act}))
    assert engine.state == "succeeded"
    assert told in engine.task("t").error
    json.dumps([engine.rows, engine.result("t")], ensure_ascii=False).encode()
    engine.reload()
    assert told in engine.task("t").error


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("half \ud800 and \u00e9", "half \\ud800 and \u00e9"),
        ({"k\udc00": ["\ud800", "a\\b"]}, {"k\\udc00": ["\\ud800", "a\\b"]}),
        ({"whole": "\U0001f600", 1: (2, 3)}, {"whole": "\U0001f600", "1": [2, 3]}),
        ("[" * 500, "[" * 500),
        (['"' + "[" * 500], ['"' + "[" * 500]),
    ],
)
def test_a_result_keeps_what_can_be_written_and_escapes_half_characters(given: Any, kept: Any) -> None:
    assert one("action: my.act", Engine(actions={"my.act": lambda: given})).result("t") == kept


@pytest.mark.parametrize(
    "expression",
    [
        "<% pow(10, 6000) %>",
        "<% [pow(10, 6000)] %>",
        "{{ (10 ** 900) ** 900 }}",
        "{{ [10 ** 999 * 10 ** 999 * 10 ** 999 * 10 ** 999 * 10 ** 999] }}",
    ],
)
def test_an_expression_gives_no_number_that_cannot_be_written(expression: str) -> None:
    engine = one(f'action: std.echo, input: {{output: "{expression}"}}')
    assert engine.state == "errored"
    assert "digits than can be written" in engine.look().error

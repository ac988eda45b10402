"""Rows: what is written when, and that a tree goes on exactly where its rows end."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.enginekit import ROOT, Engine

HEAD = "version: '2.0'\n"


def chain(length: int, task: str = "action: std.noop") -> str:
    tasks = "".join(f"    t{n}: {{{task}, on-success: t{n + 1}}}\n" for n in range(length - 1))
    return HEAD + f"main:\n  tasks:\n{tasks}    t{length - 1}: {{{task}}}\n"


def test_a_task_boundary_writes_a_few_small_rows_however_many_tasks_there_were() -> None:
    engine = Engine().start(chain(300, "action: std.async_noop, publish: {v: 1}"))
    sizes = []
    for n in range(300):
        engine.written.clear()
        engine.end(f"t{n}")
        rows = {
            key: text for changes in engine.written for key, text in changes.items() if not key.startswith("command")
        }
        sizes.append((len(rows), sum(len(text or "") for text in rows.values())))
    assert max(count for count, _ in sizes[:-1]) <= 4
    assert sizes[250][1] <= sizes[10][1] + 60


def test_no_row_accumulates_what_others_published() -> None:
    tasks = "".join(f"    t{n}: {{action: std.noop, publish: {{v{n}: 1}}, on-success: t{n + 1}}}\n" for n in range(200))
    engine = Engine().start(HEAD + f"main:\n  output: {{}}\n  tasks:\n{tasks}    t200: {{action: std.async_noop}}\n")
    assert max(len(text) for key, text in engine.rows.items() if key.startswith("task/")) < 300


def test_variables_are_found_again_after_a_reload() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  output: {sum: <% $.a + $.b + $.c %>, g: <% global(g) %>}
  tasks:
    a: {action: std.noop, publish: {a: 1}, on-success: {publish: {global: {g: 7}}, next: [b, c]}}
    b: {action: std.noop, publish: {b: 2}, on-success: j}
    c: {action: std.async_noop, publish: {c: <% task().result %>}, on-success: j}
    j: {action: std.async_noop, join: all}
""".lstrip("\n")
    )
    engine.reload()
    engine.end("c", result=3)
    engine.reload()
    engine.end("j")
    assert engine.output == {"sum": 6, "g": 7}


def test_a_deep_chain_is_loaded_and_goes_on_without_a_deep_stack() -> None:
    tasks = "".join(f"    t{n}: {{action: std.noop, publish: {{x: {n}}}, on-success: t{n + 1}}}\n" for n in range(5000))
    engine = Engine().start(
        HEAD + f"main:\n  output: {{x: <% $.x %>}}\n  tasks:\n{tasks}    t5000: {{action: std.async_noop}}\n"
    )
    engine.reload()
    engine.end("t5000")
    assert engine.output == {"x": 4999}


def test_a_look_after_a_reload_is_the_same() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    a: {workflow: sub, with-items: "i in [1, 2]"}
    b: {action: std.fail, on-error: c}
    c: {action: std.sleep, input: {seconds: 9}}
    d: {action: std.noop, wait-before: 3}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n"),
        "main",
    )
    for verb in ("pause", "resume", "cancel"):
        before = engine.session.look()
        engine.reload()
        assert engine.session.look() == before
        engine.do(verb)


def test_rows_are_plain_json() -> None:
    engine = Engine().start(chain(3)).finish()
    assert all(json.loads(text) is not None for text in engine.rows.values())


def test_an_action_is_written_down_before_it_begins() -> None:
    held: list[dict[str, str]] = []
    engine = Engine(actions={"act": lambda: held.append(dict(engine.rows))})
    engine.start(HEAD + "main:\n  tasks: {t: {action: act}}\n").finish()
    (rows,) = held
    assert json.loads(rows["call/0/1/-"])["begun"] is True


def lost(task: str = "action: act", more: str = "") -> tuple[Engine, Counter[str], threading.Event]:
    ran: Counter[str] = Counter()
    gate, begun = threading.Event(), threading.Event()

    def act() -> str:
        ran["act"] += 1
        begun.set()
        assert gate.wait(10)
        return "done"

    engine = Engine(actions={"act": act}).start(HEAD + f"main:\n  tasks:\n    t: {{{task}}}\n{more}")
    assert begun.wait(10)
    engine.reload()
    return engine, ran, gate


def test_S6_an_action_whose_end_nobody_saw_is_unknown_and_not_run_again() -> None:
    engine, ran, gate = lost()
    engine.go()
    engine.session.wait(0.01)
    engine.go()
    assert engine.look().unknown == ("t",)
    assert engine.task("t").active
    assert not engine.session.settled
    gate.set()
    assert ran["act"] == 1


def test_S6_recover_takes_it_as_failed_and_the_definition_goes_on() -> None:
    engine, ran, gate = lost("action: act, on-error: u", "    u: {action: std.noop}\n")
    gate.set()
    engine.do("recover", assume="failed")
    assert engine.states() == {"t": "errored", "u": "succeeded"}
    assert "Nobody saw" in engine.task("t").error
    assert engine.look().unknown == ()
    assert ran["act"] == 1


def test_S6_recover_can_run_it_again() -> None:
    engine, ran, gate = lost()
    gate.set()
    engine.do("recover", assume="rerun")
    engine.finish()
    assert engine.result("t") == "done"
    assert ran["act"] == 2
    assert engine.task("t").starts == 2


@pytest.mark.parametrize("told", ["<% $.no.where %>", "<% abc %>"])
def test_S6_safe_rerun_that_cannot_be_told_runs_nothing_twice(told: str) -> None:
    engine, ran, gate = lost(f'action: act, safe-rerun: "{told}"')
    gate.set()
    assert engine.look().unknown
    assert ran["act"] == 1


def test_S6_safe_rerun_is_honoured_without_a_recover() -> None:
    engine, ran, gate = lost("action: act, safe-rerun: true")
    gate.set()
    engine.finish()
    assert engine.state == "succeeded"
    assert ran["act"] == 2


def test_a_retry_of_what_failed_unseen_follows_the_definition() -> None:
    engine, ran, gate = lost("action: act, retry: {count: 1, delay: 0}")
    gate.set()
    engine.do("recover", assume="failed")
    engine.finish()
    assert engine.state == "succeeded"
    assert ran["act"] == 2


FLOW = (
    HEAD
    + """
main:
  output: {total: <% $.total %>, items: <% $.items %>, sub: <% $.sub %>, n: <% $.n %>}
  tasks:
    begin: {action: act, input: {name: begin}, publish: {n: 0}, on-success: [left, right, many, child]}
    left: {action: act, input: {name: left}, wait-before: 1, publish: {l: 1}, on-success: join}
    right: {action: std.sleep, input: {seconds: 2}, publish: {r: 2}, on-success: turn}
    turn:
      action: act
      input: {name: "turn<% $.n %>"}
      publish: {n: <% $.n + 1 %>}
      on-success:
        - turn: <% $.n < 3 %>
        - join: <% $.n >= 3 %>
    many:
      with-items: i in [1, 2, 3, 4]
      concurrency: 2
      action: act
      input: {name: "item<% $.i %>"}
      publish: {items: <% task().result %>}
      on-success: join
    child:
      with-items: i in [1, 2]
      workflow: sub
      input: {i: <% $.i %>}
      publish: {sub: <% task().result %>}
      on-success: join
    join: {join: all, action: act, input: {name: join}, publish: {total: <% $.l + $.r + $.n %>}, on-success: [broken]}
    broken: {action: std.fail, retry: {count: 1, delay: 1}, on-error: last}
    last: {action: act, input: {name: last}}
sub:
  input: [i]
  output: {i: <% $.i %>}
  tasks:
    one: {action: act, input: {name: "sub<% $.i %>"}, on-success: two}
    two: {action: std.noop, wait-after: 1}
""".lstrip("\n")
)
EXPECTED = {"total": 6, "items": ["item1", "item2", "item3", "item4"], "sub": [{"i": 1}, {"i": 2}], "n": 3}
NAMES = {"begin", "left", "turn0", "turn1", "turn2", "item1", "item2", "item3", "item4", "sub1", "sub2", "join", "last"}


class Died(Exception):
    """The process died in the middle of writing."""


class Fragile(Engine):
    """Dies after its `life`-th batch of rows, or before it: those rows are then not there."""

    def __init__(self, **options: Any) -> None:
        self.life: int | None = None
        self.written_first = True
        super().__init__(**options)

    def _flush(self, changes: Any) -> None:
        if self.life is not None and self.session is not None:
            self.life -= 1
            if self.life < 0:
                self.life = None
                if self.written_first:
                    super()._flush(changes)
                raise Died
        super()._flush(changes)


def survive(lives: list[tuple[int, bool]]) -> tuple[Fragile, Counter[str], Counter[str]]:
    ran: Counter[str] = Counter()
    unseen: Counter[str] = Counter()

    def act(name: str) -> str:
        ran[name] += 1
        return name

    engine = Fragile(actions={"act": act})
    engine.start(FLOW, "main") if not lives else None
    for life, written_first in lives:
        try:
            if not engine.rows:
                engine.start(FLOW, "main")
            engine.life, engine.written_first = life, written_first
            engine.finish()
        except Died:
            pass
        engine.life = None
        engine.reload()
        for call in engine.session._world.lost:
            unseen[str((call.input or {})["name"])] += 1
        if engine.rows:
            engine.do("recover", assume="rerun")
    engine.finish()
    return engine, ran, unseen


def test_the_flow_without_a_crash() -> None:
    engine, ran, _ = survive([])
    assert engine.state == "succeeded"
    assert engine.output == EXPECTED
    assert ran == Counter(NAMES)


@pytest.mark.parametrize("written_first", [True, False])
@pytest.mark.parametrize("life", range(24))
def test_every_single_crash_point(life: int, written_first: bool) -> None:
    engine, ran, unseen = survive([(life, written_first)])
    assert engine.state == "succeeded"
    assert engine.output == EXPECTED
    assert set(ran) == NAMES
    assert all(count <= 1 + unseen[name] for name, count in ran.items())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=6))
def test_many_crashes_end_in_the_same_result(lives: list[tuple[int, bool]]) -> None:
    engine, ran, unseen = survive(lives)
    assert engine.state == "succeeded"
    assert engine.output == EXPECTED
    assert all(1 <= ran[name] <= 1 + unseen[name] for name in NAMES)


def test_children_have_the_same_id_however_often_their_birth_is_repeated() -> None:
    text = HEAD + "main:\n  tasks: {t: {workflow: sub}}\nsub:\n  tasks: {g: {action: std.async_noop}}\n"
    first, second = Engine().start(text, "main"), Engine().start(text, "main")
    assert first.child("t") == second.child("t")
    assert first.look().ref.id == ROOT


@pytest.mark.parametrize("length", [10, 1000])
def test_a_run_can_be_taken_up_by_a_process_that_has_only_the_rows(length: int) -> None:
    engine = Engine()
    left = iter(range(length // 2))
    engine.session.apply(_start(chain(length)))
    engine.session.advance(until=lambda: next(left, None) is None)
    engine.reload()
    assert engine.state == "running"
    engine.finish()
    assert engine.state == "succeeded"
    assert [task.name for task in engine.look().tasks] == [f"t{n}" for n in range(length)]


def test_a_run_goes_on_on_a_ledger_that_others_write_to_all_the_time() -> None:
    engine = Engine()
    engine.session.apply(_start(chain(20)))
    for _ in range(200):
        engine.session.advance(until=lambda: True)
    assert engine.state == "succeeded"


def _start(text: str) -> Any:
    from flowbridge.local import Command

    return Command("s", "start", ROOT, {"workflow": "", "input": {}, "env": {}, "definition": text})

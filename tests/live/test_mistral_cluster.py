"""Mistral on PostgreSQL and RabbitMQ with two engines, one of which is killed during a pause (P4, O3, O4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.model import Status, TaskStatus
from flowbridge_mistral.backend import MistralBackend
from live import mistral_cluster
from live.mistral_cluster import Cluster, cluster
from live.mistral_lab import Lab, until

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(mistral_cluster.missing()), reason=f"not set: {', '.join(mistral_cluster.missing())}"),
]

WIDE = 6

WORKBOOK = f"""
version: '2.0'
name: cluster
actions:
  gate:
    input: [target]
    base: std.async_noop
workflows:
  root:
    tasks:
      t:
        with-items: i in <% range({WIDE}) %>
        workflow: child x=<% $.i %>
  child:
    input: [x]
    tasks:
      c:
        action: gate target=<% $.x %>
        on-success: [after]
      after:
        action: std.noop
"""


@pytest.fixture
def mistral(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made


@pytest.fixture
def lab(mistral: Cluster) -> Iterator[Lab]:
    backend = MistralBackend("prod", {"url": mistral.url})
    backend.deploy(Definition(WORKBOOK))
    yield Lab(backend, "cluster")
    backend.close()


@pytest.fixture
def flow(lab: Lab, tmp_path: Path) -> Iterator[Bridge]:
    with Bridge(Config(ledger=tmp_path / "ledger.db", actor="ada"), backends=[lab.backend]) as bridge:
        yield bridge


def kill_at(monkeypatch: pytest.MonkeyPatch, kill: Callable[[], None], *, before: bool) -> None:
    """Have an engine killed just before the pause is sent, or as soon as it was answered."""
    send = requests.Session.request
    killed: list[str] = []

    def request(self: requests.Session, method: str, url: str, **given: Any) -> requests.Response:
        pause = method == "PUT" and given.get("json") == {"state": "PAUSED"} and not killed
        if pause:
            killed.append(url)
        if pause and before:
            kill()
        answer = send(self, method, url, **given)
        if pause and not before:
            kill()
        return answer

    monkeypatch.setattr(requests.Session, "request", request)


@pytest.mark.parametrize("before", [True, False], ids=["before it is sent", "once it is answered"])
@pytest.mark.parametrize("victim", [0, 1])
def test_P4_a_pause_during_which_an_engine_is_killed_comes_true_and_nothing_is_lost_or_done_twice(
    mistral: Cluster, lab: Lab, flow: Bridge, monkeypatch: pytest.MonkeyPatch, victim: int, before: bool
) -> None:
    engine_id = lab.start("root")
    lab.gates(engine_id, *map(str, range(WIDE)))
    id = flow.find(f"prod:{engine_id}").id
    kill_at(monkeypatch, mistral.engines[victim].kill, before=before)
    outcome = flow.pause(id, timeout=60)
    assert outcome.done or outcome.exit_code in (5, 6), "done, or an error that says so"
    flow.recover(id, timeout=60)
    assert until(lambda: flow.get(id).record.status in (Status.PAUSING, Status.PAUSED), 60)
    for target in map(str, range(WIDE)):
        lab.end(engine_id, target)
    assert flow.wait(id, timeout=90, until=frozenset({Status.PAUSED})).open == ()
    assert flow.resume(id, timeout=90).done
    # What the dead engine had begun is taken up by the other one, which may take it a minute.
    assert flow.wait(id, timeout=150).record.status is Status.SUCCEEDED
    done = Counter((task.name, task.status) for look in lab.tree(engine_id) for task in look.tasks)
    ended = TaskStatus.SUCCEEDED
    assert done == {("t", ended): 1, ("c", ended): WIDE, ("after", ended): WIDE}
    assert all(task.starts == 1 for look in lab.tree(engine_id) for task in look.tasks if task.name != "t")

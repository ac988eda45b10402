"""The backend against a real server."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flowbridge.backend import Definition, StartRequest
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.model import EngineState
from flowbridge_temporal.backend import TemporalBackend
from lab import QUEUE, Hand, serving
from record import STORIES, Stage
from test_words import WHAT_THEY_ARE, told


@pytest.fixture(scope="module")
def stage(address: str, hand: Hand) -> Iterator[Stage]:
    stage = Stage(address, hand)
    yield stage
    stage.backend.close()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_server_still_says_what_was_recorded(stage: Stage, story: Callable[[Stage, str], None]) -> None:
    story(stage, id := f"{story.__name__}-again")
    seen, *_ = tree = stage.backend.observe([id])[id]
    assert told(seen) == WHAT_THEY_ARE[story.__name__]
    for look in tree:
        stage.backend.cancel(look.ref.id)


def test_O3_a_start_is_done_once_also_when_it_has_ended(stage: Stage) -> None:
    for _ in range(2):
        stage.start("once", "chain.main", n=1)
    stage.at("once", "a")
    stage.hand.open("once", "a", "no room left")
    stage.ends("once")
    (before,) = stage.backend.observe(["once"])["once"]
    stage.start("once", "chain.main", n=1)
    assert stage.backend.observe(["once"])["once"] == (before,)


def test_a_workflow_needs_a_task_queue(address: str) -> None:
    backend = TemporalBackend("prod", {"address": address, "workflows": {"chain.main": QUEUE}})
    assert backend.start(StartRequest("by-type", "chain.main")).id == "by-type"
    with pytest.raises(NotFound, match=r"prod: neither `workflows` nor `task_queue` has a queue for other"):
        backend.start(StartRequest("by-nothing", "other"))
    assert not backend.observe(["by-nothing"])
    backend.cancel("by-type")
    backend.close()


def test_what_temporal_does_not_have_is_refused_and_starts_nothing(stage: Stage) -> None:
    definition = Definition("version: '2.0'", "deploy.yaml")
    for request in (
        StartRequest("refused", "chain.main", env={"x": 1}),
        StartRequest("refused", "chain.main", task_name="b"),
        StartRequest("refused", "chain.main", definition=definition),
    ):
        with pytest.raises(EngineRefused, match="code in a worker"):
            stage.backend.start(request)
    with pytest.raises(EngineRefused, match=r"deploy\.yaml: .*flowbridge run INSTANCE:TYPE"):
        stage.backend.deploy(definition)
    with pytest.raises(InvalidInput, match=r"deploy\.yaml"):
        stage.backend.validate(definition)
    assert not stage.backend.observe(["refused"])


def test_an_option_that_is_not_known_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"prod: no option adress; there are address, "):
        TemporalBackend("prod", {"adress": "x"})


def test_credentials_of_the_environment_go_to_no_address_of_an_instances_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "theirs:7233")
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "theirs")
    with (
        closing(TemporalBackend("prod", {})) as theirs,
        closing(TemporalBackend("prod", {"address": "ours:7233"})) as ours,
    ):
        assert (theirs._server.address, theirs._server.namespace) == ("theirs:7233", "theirs")
        assert (ours._server.address, ours._server.namespace) == ("ours:7233", "default")
        keys = [one._server._service._client.config.api_key for one in (theirs, ours)]
        assert keys == ["secret", None]
    assert TemporalBackend.implicit({"TEMPORAL_ADDRESS": "theirs:7233"}) == {}
    assert TemporalBackend.implicit({}) is None


def test_an_error_in_temporals_own_configuration_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidInput, match="in Temporal's own configuration: Profile 'night' not found"):
        TemporalBackend("prod", {"profile": "night"})


def test_a_child_is_seen_in_the_tree_of_its_root(stage: Stage) -> None:
    stage.start("tree", "nested.main")
    stage.at("tree/left/inner", "deep")
    trees = stage.backend.observe(["tree", "tree/left/inner", "nowhere"])
    assert [one.ref.id for one in trees["tree"]] == ["tree", "tree/left", "tree/left/inner"]
    assert trees["tree/left/inner"] == trees["tree"]
    assert "nowhere" not in trees
    links = [one.parent and one.parent.id for one in trees["tree"]]
    assert links == [None, "tree", "tree/left"]
    for one in trees["tree"]:
        stage.backend.cancel(one.ref.id)


def test_a_pause_may_be_repeated_and_a_resume_may_not(stage: Stage) -> None:
    stage.start("twice", "chain.main")
    stage.at("twice", "a")
    for _ in range(2):
        stage.backend.pause("twice")
    stage.backend.resume("twice", "")
    with pytest.raises(EngineRefused, match="not paused"):
        stage.backend.resume("twice", "")
    for _ in range(2):
        stage.backend.cancel("twice")
    stage.hand.open("twice", "a")
    stage.ends("twice")
    stage.backend.pause("twice")
    stage.backend.cancel("twice")
    (look,) = stage.backend.observe(["twice"])["twice"]
    assert look.state is EngineState.CANCELED


def test_S7_what_the_server_does_not_have_is_not_found(stage: Stage) -> None:
    for call in (stage.backend.read, stage.backend.pause, stage.backend.cancel):
        with pytest.raises(NotFound, match="nowhere"):
            call("nowhere")
    with pytest.raises(NotFound):
        stage.backend.resume("nowhere", "")


def test_a_history_of_several_pages_is_read_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def in_small_pages(method: str, **fields: Any) -> Any:
        asked.append(method)
        small = {"maximum_page_size": 2} if method == "get_workflow_execution_history" else {}
        return stage.call(method, **fields, **small)

    stage.start("wide", "Wide", n=50)
    stage.ends("wide")
    with closing(TemporalBackend("temporal", {"address": stage.backend._server.address})) as fresh:
        monkeypatch.setattr(fresh._server, "call", in_small_pages)
        read = fresh.read("wide")
        assert asked.count("get_workflow_execution_history") > 1
        assert read.output == len(read.tasks) == 50
        asked.clear()
        (one,) = fresh.read("wide", [read.tasks[0].id]).tasks
    assert one == read.tasks[0]
    assert asked == ["describe_workflow_execution"], "a history that has not grown is not asked for again"


def test_roots_are_listed_newest_first_and_by_their_word(stage: Stage) -> None:
    for id in ("older", "newer"):
        stage.start(id, "only.main")
        stage.at(f"{id}/one", "c")
    stage.backend.pause("older")
    index = ("older", "newer", "older/one")

    def listed(state: str | None = None) -> list[str]:
        return [one.ref.id for one in stage.backend.list_executions(limit=1000, state=state) if one.ref.id in index]

    stage.wait(lambda: listed("PAUSED") == ["older"] and listed("RUNNING") == ["newer"])
    assert listed() == ["newer", "older"]
    (newest,) = stage.backend.list_executions(limit=1)
    assert (newest.ref.id, newest.workflow, newest.raw) == ("newer", "only.main", "RUNNING")
    with pytest.raises(EngineRefused):
        list(stage.backend.list_executions(limit=1, state="nonsense"))
    for id in ("older", "newer", "older/one", "newer/one"):
        stage.backend.cancel(id)


def test_check_names_the_version_and_a_namespace_that_is_not_there(stage: Stage, address: str) -> None:
    health = stage.backend.check()
    assert health.version.startswith("1.")
    assert health.detail == f"{address}, namespace default"
    options = {"address": address, "namespace": "nowhere"}
    with closing(TemporalBackend("prod", options)) as elsewhere, pytest.raises(NotFound, match="nowhere"):
        elsewhere.check()


def test_a_server_that_takes_no_pauses_says_so(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as address,
        closing(TemporalBackend("prod", {"address": address, "task_queue": QUEUE})) as backend,
    ):
        assert backend.check().detail.endswith("; pausing is switched off there")
        execution = {"workflow_id": "any", "workflow_type": {"name": "any"}, "task_queue": {"name": QUEUE}}
        backend._server.call("start_workflow_execution", **execution)
        with pytest.raises(EngineRefused, match="not enabled"):
            backend.pause("any")

"""What an action writes can be followed while it writes it, and read to its end when it has ended."""

from __future__ import annotations

from pathlib import Path

from actionchain.chainkit import chain_of
from actionchain.runkit import Shop
from flowbridge_cli.watching import Tail


def test_output_is_there_while_the_action_runs_and_goes_on_from_its_mark(shop: Shop) -> None:
    gate = shop.gate()
    command = f"echo one; echo half >&2; printf par; {gate.command}; echo two"
    id = shop.run(chain_of({"name": "a", "ref": "core.local", "parameters": {"cmd": command}}))
    task = shop.until(lambda: next(iter(shop.bridge.get(id).snapshot.nodes[0].tasks), None), "the task").id
    first = shop.until(lambda: found if (found := shop.bridge.said(id, task)).text == "one\nhalf\n" else None, "output")
    assert shop.bridge.said(id, task, first.mark).text == ""
    gate.open("word")
    shop.bridge.wait(id, timeout=60)
    rest = shop.bridge.said(id, task, first.mark)
    assert rest.text == "parword\ntwo\n"
    assert shop.bridge.said(id, task, rest.mark).text == ""
    assert shop.bridge.said(id, task).text == "one\nparword\ntwo\nhalf\n"


def test_long_output_is_told_to_its_end_from_its_file(shop: Shop) -> None:
    command = "i=0; while [ $i -lt 40 ]; do head -c 65535 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done"
    id = shop.run(chain_of({"name": "a", "ref": "core.local", "parameters": {"cmd": command}}))
    shop.bridge.wait(id, timeout=60)
    (task,) = shop.bridge.get(id).snapshot.nodes[0].tasks
    size, mark = 0, ""
    while (said := shop.bridge.said(id, task.id, mark)).text:
        size, mark = size + len(said.text), said.mark
    assert size == 40 * 65536
    assert len(shop.output(id)["tasks"][0]["result"]["stdout"]) < 1_100_000


def test_a_tail_prints_every_line_once_with_its_task(shop: Shop, capsys: object) -> None:
    import pytest

    from flowbridge_cli.documents import tree_document

    assert isinstance(capsys, pytest.CaptureFixture)
    chain = chain_of(
        {"name": "a", "ref": "core.local", "parameters": {"cmd": "echo one; echo two"}, "on-success": "b"},
        {"name": "b", "ref": "core.local", "parameters": {"cmd": "echo '{\"a\": 1}'; exit 1"}, "on-failure": "a2"},
        {"name": "a2", "ref": "core.noop"},
    )
    id = shop.run(chain)
    shop.bridge.wait(id, timeout=60)
    tail = Tail(shop.bridge)
    for _ in range(2):
        tail(tree_document(shop.bridge, shop.bridge.get(id)))
    assert capsys.readouterr().err.splitlines() == ["a | one", "a | two", 'b | {"a": 1}']


def test_files_of_a_run_go_with_its_record(shop: Shop, tmp_path: Path) -> None:
    command = "head -c 2000000 /dev/zero | tr '\\0' x"
    id = shop.run(chain_of({"name": "a", "ref": "core.local", "parameters": {"cmd": command}}))
    shop.bridge.wait(id, timeout=60)
    kept = list((tmp_path / "ledger.db.files").rglob("*.out"))
    assert [file.stat().st_size for file in kept] == [2_000_000]
    assert {oct(file.stat().st_mode & 0o777) for file in kept} == {"0o600"}
    shop.bridge.prune(float("inf"))
    assert list((tmp_path / "ledger.db.files").rglob("*.out")) == []

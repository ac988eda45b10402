"""The vault: what it seals can only be opened with its key, and travels as plain data."""

from __future__ import annotations

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.kit import in_child
from flowbridge.errors import InvalidInput, LedgerError
from flowbridge.vault import SHOWN, Vault, has_sealed, is_sealed, masked


def test_a_sealed_value_is_plain_data_that_only_the_key_opens(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.key")
    for value in ("xyzzy", 7, ["a", {"b": None}], False):
        sealed = json.loads(json.dumps(vault.seal(value)))
        assert is_sealed(sealed)
        assert "xyzzy" not in json.dumps(sealed)
        assert Vault(tmp_path / "vault.key").open({"at": [sealed]}) == {"at": [value]}
    other = Vault(tmp_path / "other.key")
    other.seal("x")
    with pytest.raises(InvalidInput, match="another key"):
        other.open(vault.seal("x"))


def test_the_key_file_is_only_for_its_owner_and_made_when_it_is_needed(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "data" / "vault.key")
    assert vault.open({"plain": 1}) == {"plain": 1}
    assert vault.seal(None) is None
    assert not (tmp_path / "data").exists()
    vault.seal("x")
    assert (tmp_path / "data" / "vault.key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["vault.key"]


def test_two_processes_that_need_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    first, second = Vault(tmp_path / "vault.key"), Vault(tmp_path / "vault.key")
    sealed = tmp_path / "sealed"
    assert in_child(lambda: sealed.write_text(json.dumps(first.seal("theirs")))) == 0
    second.seal("ours")
    assert second.open(json.loads(sealed.read_text())) == "theirs"


def test_what_a_kill_left_of_a_new_key_stands_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        os._exit(0)

    def seal_and_die() -> None:
        monkeypatch.setattr(os, "link", killed)
        Vault(tmp_path / "vault.key").seal("x")

    assert in_child(seal_and_die) == 0
    [left] = tmp_path.iterdir()
    assert left.name.startswith("vault.key.")
    assert left.stat().st_mode & 0o777 == 0o600
    # In a container the next process has the number of the one that was killed.
    (tmp_path / f"vault.key.{os.getpid()}").touch()
    vault = Vault(tmp_path / "vault.key")
    assert vault.open(vault.seal("x")) == "x"


def test_two_threads_that_need_a_key_at_once_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, link = threading.Barrier(2), os.link

    def together(draft: str, name: Path) -> None:
        both.wait(30)  # both have their drafts
        link(draft, name)

    monkeypatch.setattr(os, "link", together)
    with ThreadPoolExecutor(2) as pool:
        sealed = list(pool.map(lambda value: Vault(tmp_path / "vault.key").seal(value), ("x", "y")))
    assert Vault(tmp_path / "vault.key").open(sealed) == ["x", "y"]
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]


def test_a_key_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="No space left"):
        Vault(tmp_path / "vault.key").seal("x")
    assert list(tmp_path.iterdir()) == []


def test_what_is_sealed_stays_so_when_it_is_sealed_again(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.key")
    sealed = vault.seal("x")
    assert vault.seal(sealed) == sealed


def test_a_lost_or_broken_key_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "vault.key").seal("x")
    (tmp_path / "vault.key").write_text("short")
    with pytest.raises(LedgerError, match=r"vault\.key is no key"):
        Vault(tmp_path / "vault.key").open(sealed)
    (tmp_path / "vault.key").unlink()
    with pytest.raises(LedgerError, match=r"vault\.key: No such file"):
        Vault(tmp_path / "vault.key").open(sealed)
    assert not (tmp_path / "vault.key").exists()


def test_a_view_shows_stars_for_what_is_sealed(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "vault.key").seal("x")
    assert masked({"a": [sealed, 1], "b": "text"}) == {"a": [SHOWN, 1], "b": "text"}
    assert has_sealed({"a": [sealed]})
    assert not has_sealed({"a": ["x"]})

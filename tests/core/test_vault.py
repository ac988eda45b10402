"""The vault: what it seals can only be opened with its key, and travels as plain data."""

from __future__ import annotations

import json
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

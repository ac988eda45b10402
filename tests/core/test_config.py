"""The configuration: what it may say, where it comes from, and the line of what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowbridge import config
from flowbridge.errors import InvalidInput

FULL = """\
ledger: {place}/deep/ledger.db
default_backend: prod
required_plugins: [freeze]
backends:
  prod:
    type: fake
    url: https://engine.example.org/v2
    verify: false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def loaded(file: Path, text: str | None = None, **more: str) -> config.Config:
    if text is not None:
        file.write_text(text)
    return config.load({"FLOWBRIDGE_CONFIG": str(file), **more})


def test_a_file_says_where_the_ledger_is_and_which_instances_there_are(file: Path) -> None:
    found = loaded(file, FULL.format(place=file.parent))
    assert found.ledger == file.parent / "deep" / "ledger.db"
    assert (found.default_backend, found.required_plugins, found.source) == ("prod", ("freeze",), file)
    assert found.backends == {"prod": {"type": "fake", "url": "https://engine.example.org/v2", "verify": False}}


def test_variables_stand_above_the_file(file: Path) -> None:
    more = {"FLOWBRIDGE_LEDGER": "/x/l.db", "FLOWBRIDGE_BACKEND": "dev", "FLOWBRIDGE_ACTOR": "robot"}
    found = loaded(file, FULL.format(place=file.parent), **more)
    assert (str(found.ledger), found.default_backend, found.actor) == ("/x/l.db", "dev", "robot")


def test_a_ledger_in_the_home_folder_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert loaded(file, "ledger: ~/l.db").ledger == file.parent / "l.db"
    assert loaded(file, "", FLOWBRIDGE_LEDGER="~/m.db").ledger == file.parent / "m.db"


def test_with_no_file_at_the_usual_place_everything_has_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    found = config.load({})
    assert found.ledger == config.default_ledger()
    assert tmp_path in found.ledger.parents
    assert (found.backends, found.default_backend, found.required_plugins, found.source) == ({}, "", (), None)
    assert found.actor


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "ledger:\nbackends:\n", "---\n"])
def test_an_empty_file_is_a_file(file: Path, text: str) -> None:
    found = loaded(file, text)
    assert found.source == file
    assert found.ledger == config.default_ledger()


WRONG: list[tuple[Any, int | None, int | None, str]] = [
    ("a: [1\nb: 2\n", 2, 2, "broken YAML"),
    ("- a\n- b\n", 1, 1, "must be a mapping"),
    ("just words", 1, 1, "must be a mapping"),
    ("ledger: /x\nledgers: /y\n", 2, 1, "unknown key 'ledgers'; allowed are: ledger, default_backend, "),
    ("ledger: /x\nledger: /y\n", 2, 1, "'ledger' stands here a second time"),
    ("ledger: 5\n", 1, 1, "ledger must be text, not a number"),
    ("ledger: [a]\n", 1, 1, "ledger must be text, not a list"),
    ("ledger: ~nosuchuser/l.db\n", 1, 1, "no home folder"),
    ("\ndefault_backend: true\n", 2, 1, "default_backend must be text, not true or false"),
    ("required_plugins: freeze\n", 1, 1, "required_plugins must be a list, not text"),
    ("required_plugins:\n  - freeze\n  - 7\n", 3, 5, "required_plugins must list names, not a number"),
    ("required_plugins: [[a]]\n", 1, 20, "required_plugins must list names, not a list"),
    ("backends: [prod]\n", 1, 1, "backends must be a mapping, not a list"),
    ("backends:\n  prod: fake\n", 2, 3, "backend 'prod' needs a `type`"),
    ("backends:\n  prod:\n    url: x\n", 2, 3, "backend 'prod' needs a `type`"),
    ("backends:\n  a: {type: fake}\n  prod: {type: 3}\n", 3, 3, "backend 'prod' needs a `type`"),
    ("backends:\n  'a:b': {type: fake}\n", 2, 3, "may not hold a colon"),
    ("a: &a [*a]\n", 1, None, "unknown key|nested"),
    ("x: \x07\n", None, None, "broken YAML"),
    (b"ledger: \xff\n", None, None, "not UTF-8"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), WRONG, ids=[str(case[0])[:30] for case in WRONG])
def test_what_is_wrong_is_told_with_file_line_and_column(
    file: Path, text: Any, line: int | None, column: int | None, message: str
) -> None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match=message) as caught:
        loaded(file)
    assert caught.value.source == str(file)
    assert caught.value.line == line
    if column is not None:
        assert caught.value.column == column
    assert "\n" not in caught.value.message
    assert caught.value.message.count(str(file)) == 1


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for place in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InvalidInput, match="cannot be read") as caught:
            loaded(place)
        assert caught.value.message.count(str(place)) == 1


def test_a_home_folder_that_does_not_exist_is_told_of_the_variable_too(file: Path) -> None:
    with pytest.raises(InvalidInput, match=r"FLOWBRIDGE_LEDGER: .*no home folder"):
        loaded(file, "", FLOWBRIDGE_LEDGER="~nosuchuser/l.db")

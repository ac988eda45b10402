"""The matrix of rules by backend: how each rule was kept in a run, as data, as text and as a table for a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowbridge.capabilities import Capabilities
from flowbridge.conformance.harness import Harness
from flowbridge.conformance.lab import NOT_ASKED, Notes
from flowbridge.conformance.rules import ELSEWHERE, RULES, in_order

#: How one rule is kept: `how` is one of `native`, `bridge`, `kept`, `impossible` and `broken`; `why` the reasons.
Cell = Mapping[str, Any]

#: One backend: `facts`, as it declares them, and `rules`, a cell for each that was tried.
Column = Mapping[str, Any]

_WORDS = {
    "native": "native",
    "bridge": "by the bridge",
    "kept": "kept",
    "impossible": "not possible",
    "broken": "BROKEN",
}


class Matrix:
    """What the tests of a run told, by backend."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
        self._facts: dict[str, Any] = {}
        self._tests: dict[str, set[str]] = {}

    def tell(self, test: Mapping[str, Any]) -> None:
        """Take in one test, as `told` made it."""
        backend = test["backend"]
        self._facts[backend] = test["facts"]
        self._tests.setdefault(backend, set()).add(test["test"])
        self._told.setdefault(backend, {}).setdefault(test["rule"], []).append(test)

    def columns(self) -> dict[str, Column]:
        """The backends of the run by name."""
        return {
            name: {
                "facts": self._facts[name],
                "rules": {rule: _cell(self._told[name][rule]) for rule in sorted(self._told[name], key=in_order)},
            }
            for name in sorted(self._told)
        }

    def missed(self, backend: str, suite: Iterable[str]) -> set[str]:
        """The tests of the suite that did not run for a backend."""
        return set(suite) - self._tests[backend]


def told(test: str, rule: str, harness: Harness, notes: Notes, *, outcome: str, reason: str) -> dict[str, Any]:
    """One test as plain data, which goes from the process that ran it to the one that tells."""
    return {
        "test": test,
        "rule": rule,
        "backend": harness.column,
        "facts": {"type": harness.backend.type, **_declared(harness.backend.capabilities)},
        "calls": notes.calls,
        "why": sorted(set(notes.why)),
        "outcome": outcome,
        "reason": reason,
    }


def _declared(facts: Capabilities) -> dict[str, Any]:
    """Capabilities as plain text and lists of it, which go from process to process."""
    return {
        "verbs": sorted(map(str, facts.verbs)),
        "cascades": sorted(map(str, facts.cascades)),
        "resume_up": str(facts.resume_up),
        "partial_rerun": str(facts.partial_rerun),
        "join_under_pause": str(facts.join_under_pause),
        "delayed_starts_under_pause": facts.delayed_starts_under_pause,
        "hosts_children": facts.hosts_children,
    }


def _cell(tests: Iterable[Mapping[str, Any]]) -> Cell:
    tests = list(tests)
    failed = sorted(test["test"] for test in tests if test["outcome"] == "failed")
    if failed:
        return {"how": "broken", "why": failed}
    passed = [test for test in tests if test["outcome"] == "passed"]
    left_out = {test["reason"] for test in tests if test["outcome"] == "skipped"}
    impossible = sorted(reason for reason in left_out if not reason.startswith(NOT_ASKED))
    if not passed:
        return {"how": "impossible", "why": impossible or sorted(left_out)}
    calls = max(test["calls"] for test in passed)
    how = "bridge" if calls > 1 else "native" if calls else "kept"
    seen = sorted({why for test in passed for why in test["why"]})
    return {"how": how, "why": [*seen, *(f"not all of it: {reason}" for reason in impossible)]}


def text(columns: Mapping[str, Column]) -> list[str]:
    """The matrix for a terminal, a rule a line and the reasons below; nothing where no rule was tried."""
    names = sorted(columns)
    rules = sorted({rule for name in names for rule in columns[name]["rules"]}, key=in_order)
    reasons: dict[str, int] = {}
    rows = [("rule", *names)]
    rows += [(rule, *(_marked(columns[name]["rules"].get(rule), reasons) for name in names)) for rule in rules]
    widths = [max(len(row[place]) for row in rows) for place in range(len(names) + 1)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *(f"[{number}] {why}" for why, number in reasons.items())] if names else []


def _marked(cell: Cell | None, reasons: dict[str, int]) -> str:
    """A cell in few words: its reasons as numbers, the same reason under the same one."""
    if cell is None:
        return "-"
    marks = [f"[{reasons.setdefault(why, len(reasons) + 1)}]" for why in cell["why"]]
    return " ".join((_WORDS[cell["how"]], *marks))


def table(columns: Mapping[str, Column]) -> str:
    """The matrix in Markdown: every rule of the law, those too that no single engine can keep or break."""
    names = sorted(columns)
    lines = ["| rule | | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for rule, words in RULES.items():
        if rule in ELSEWHERE:
            cells = [f"not of one engine: {ELSEWHERE[rule]}", *[""] * (len(names) - 1)]
        else:
            cells = [_words(columns[name]["rules"].get(rule)) for name in names]
        lines.append(f"| {rule} | {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(kept: Mapping[str, Column], columns: Mapping[str, Column]) -> list[str]:
    """Where a run's backends differ from what was kept of them, a line each; a backend that was not kept is none."""
    lines = []
    for name in sorted(columns.keys() & kept.keys()):
        for part in ("facts", "rules"):
            before, now = kept[name][part], columns[name][part]
            lines += [
                f"{name}: {key}: kept is {_words_of(before.get(key))}, this run shows {_words_of(now.get(key))}"
                for key in sorted(before.keys() | now.keys())
                if before.get(key) != now.get(key)
            ]
    return lines


def _words(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    how = _WORDS[cell["how"]]
    return (
        f"{how}: {'; '.join(cell['why'])}"
        if cell["why"] and cell["how"] in ("impossible", "broken")
        else "; ".join((how, *cell["why"]))
    )


def _words_of(value: Any) -> str:
    return _words(value) if isinstance(value, Mapping) else repr(value)

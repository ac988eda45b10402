"""The matrix of rules by backend: how each rule was kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowbridge.bridge import Bridge
from flowbridge.conformance.harness import Harness

_WORDS = {"engine": "native", "bridge": "by the bridge"}


@dataclass(slots=True)
class Cell:
    """One rule on one backend."""

    ways: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    failed: bool = False
    passed: int = 0

    def text(self) -> str:
        """The cell in words."""
        if self.failed:
            return "BROKEN"
        if not self.passed:
            return f"not possible: {'; '.join(sorted(self.skipped))}"
        words = " and ".join(_WORDS[way] for way in ("engine", "bridge") if way in self.ways) or "kept"
        return words + "".join(f"; {reason}" for reason in sorted(self.refused))


class Matrix:
    """Cells by rule and backend."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[str, Cell]] = {}
        self._seen: dict[str, int] = {}

    def begin(self, rule: str, harness: Harness) -> None:
        """A test of a rule begins: remember how far the history was."""
        self._cell(rule, harness)
        history = harness.bridge.history()
        self._seen[harness.instance] = history[-1].seq if history else 0

    def note(self, rule: str, harness: Harness, bridge: Bridge) -> None:
        """A test of a rule has run: see in the history who did what, and what was refused for the engine's sake."""
        cell = self._cell(rule, harness)
        for entry in bridge.history():
            if entry.seq > self._seen[harness.instance]:
                cell.ways |= set(entry.doc.get("by", ()))
                if str(entry.doc.get("accept", "")) == rule:
                    cell.refused.add("refused without --accept")

    def outcome(self, rule: str, harness: Harness, outcome: str, reason: str) -> None:
        """How a test ended."""
        cell = self._cell(rule, harness)
        cell.failed |= outcome == "failed"
        cell.passed += outcome == "passed"
        if outcome == "skipped":
            cell.skipped.add(reason.removeprefix("Skipped: "))

    def lines(self) -> list[str]:
        """The matrix as text, a rule a line."""
        names = sorted({name for row in self._cells.values() for name in row})
        rows = [("rule", *names)]
        for rule in sorted(self._cells, key=lambda rule: (rule[0], int(rule[1:]))):
            cells = self._cells[rule]
            rows.append((rule, *(cells[name].text() if name in cells else "-" for name in names)))
        widths = [max(len(row[place]) for row in rows) for place in range(len(names) + 1)]
        return (
            ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
            if names
            else []
        )

    def _cell(self, rule: str, harness: Harness) -> Cell:
        return self._cells.setdefault(rule, {}).setdefault(harness.instance, Cell())

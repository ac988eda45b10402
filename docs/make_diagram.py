"""Draw the state diagram from the law's own table: `python docs/make_diagram.py` writes docs/states.md."""

from __future__ import annotations

from pathlib import Path

from flowbridge.law.tables import ALLOWED, TERMINAL, TRANSITIONS
from flowbridge.model import Status

_HEAD = """# The statuses of an execution

This page is drawn from the table in `flowbridge.law.tables`; a test fails when it is stale.
Do not edit it: change the table and run `python docs/make_diagram.py`.

```mermaid
stateDiagram-v2
    [*] --> requested
"""


def page() -> str:
    """The page as text."""
    lines = [_HEAD.rstrip("\n")]
    for status, row in TRANSITIONS.items():
        lines += [f"    {status} --> {after}: {why}" for after, why in row.items()]
    lines += [f"    {status} --> [*]" for status in Status if status in TERMINAL]
    lines += ["```", "", "## Which verb is accepted when", "", _table(), ""]
    return "\n".join(lines)


def _table() -> str:
    head = "| status | " + " | ".join(f"`{verb}`" for verb in ALLOWED) + " |"
    rule = "| rule | " + " | ".join(rule for rule, _ in ALLOWED.values()) + " |"
    rows = [
        f"| {status} | " + " | ".join("yes" if status in statuses else "" for _, statuses in ALLOWED.values()) + " |"
        for status in Status
    ]
    return "\n".join([head, "|---" * (len(ALLOWED) + 1) + "|", rule, *rows])


if __name__ == "__main__":
    Path(__file__).with_name("states.md").write_text(page(), encoding="utf-8")

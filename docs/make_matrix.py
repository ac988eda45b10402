"""Write docs/matrix.md from what the conformance kit printed.

`python docs/make_matrix.py RUN.json ...` takes the backends of these runs (`pytest --conformance-json RUN.json`) into
docs/matrix.json and writes the page; without a run it writes the page anew. `--check` writes nothing, and fails where
the page, or one of the runs, is not what is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowbridge.conformance import matrix

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "matrix.json", HERE / "matrix.md"

_HEAD = """# Which engine keeps which rule, and how

Each cell was seen by [the conformance kit](plugins.md#is-it-right) on the engine itself. Do not edit this page: run the
kit with `--conformance-json RUN.json`, then `python docs/make_matrix.py RUN.json`. A run that shows something else than
what is kept here fails.

| word | |
|---|---|
| native | one call did it, for the whole tree |
| by the bridge | the bridge called the engine for each execution of the tree |
| kept | no call is needed: it is a matter of what is seen and judged |
| refused without `--accept RULE` | the engine would do harm, and nothing is done unless you accept that |
| not possible | the engine has nothing to do it with |
| not all of it | some of the rule's tests were not possible |

## Rules

What each rule says in full stands in [the law](law.md). `memory` is the reference engine; `memory-bridged` is the same
with no cascade of its own, so that the bridge does all of it.

"""


def page(columns: Mapping[str, Any]) -> str:
    """The page as text."""
    return f"{_HEAD}{matrix.table(columns)}\n\n## What each engine does by itself\n\n{_facts(columns)}\n"


def _facts(columns: Mapping[str, Any]) -> str:
    names = sorted(columns)
    lines = ["| fact | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for fact in sorted(columns[names[0]]["facts"]):
        values = [_value(columns[name]["facts"][fact]) for name in names]
        lines += [f"| `{fact}` | " + " | ".join(values) + " |"]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _text(columns: Mapping[str, Any]) -> str:
    return json.dumps(columns, indent=1, sort_keys=True) + "\n"


def main(words: list[str]) -> int:
    """What the command line does. Gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN.json")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is stale")
    asked = parser.parse_args(words)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    seen = {name: column for run in asked.runs for name, column in json.loads(run.read_text(encoding="utf-8")).items()}
    if asked.check:
        stale = matrix.differences(kept, seen) + [f"{name} is not kept" for name in sorted(seen.keys() - kept.keys())]
        if PAGE.read_text(encoding="utf-8") != page(kept):
            stale.append("the page is not made of what is kept")
        print("\n".join([*stale, "run: python docs/make_matrix.py RUN.json"] if stale else ["nothing is stale"]))
        return bool(stale)
    kept |= seen
    KEPT.write_text(_text(kept), encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

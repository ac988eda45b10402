"""The engine that the tutorial builds, taken from its page, against the law."""

from __future__ import annotations

import sys
from types import ModuleType

from docs import sessions

PAGE = sessions.ROOT / "docs/tutorial.md"


def _module(name: str) -> ModuleType:
    """A file of the page, as somebody has it who followed the page to its end."""
    notes = [(block.notes, block.text) for block in sessions.blocks(PAGE)]
    text = "".join(text for note, text in notes if f"{name}.py" in (note.get("file"), note.get("append")))
    module = sys.modules[name] = ModuleType(name)
    exec(compile(text, f"{PAGE}:{name}.py", "exec"), vars(module))
    return module


_module("checklist")
_KIT = vars(_module("test_checklist"))
globals().update({name: value for name, value in _KIT.items() if name == "harness" or name.startswith("test_")})

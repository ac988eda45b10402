"""Every benchmark in one run: `python benchmarks`. Figures are ratios, so that they hold on another machine."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

for name in ("startup", "law_decide", "engine_tasks", "chain_tasks", "mistral_list"):
    print(f"== {name}")
    sys.argv = [name]
    runpy.run_path(str(Path(__file__).with_name(f"{name}.py")), run_name="__main__")

"""Prints the Python of an environment with what `examples/temporal` and its tests need, flowbridge itself left out.

It is built once and kept beside the environments of the other live suites; FLOWBRIDGE_LIVE_TEMPORAL_ENV names another.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from live.mistral_server import Build, environment  # noqa: E402


def requirements() -> tuple[str, ...]:
    """What both packages say that they need, and what checks the types of the example."""
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    example = tomllib.loads((ROOT / "examples/temporal/pyproject.toml").read_text())["project"]
    mypy = [line for line in own["optional-dependencies"]["dev"] if line.startswith("mypy")]
    needed = own["dependencies"] + example["dependencies"] + example["optional-dependencies"]["test"] + mypy
    return tuple(sorted(line for line in needed if not line.startswith("flowbridge")))


if __name__ == "__main__":
    print(environment(Build("temporal", "FLOWBRIDGE_LIVE_TEMPORAL_ENV", requirements())))  # noqa: T201

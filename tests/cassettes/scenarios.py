"""Every scenario by name: its cassette is `cassettes/mistral/NAME.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cassettes.calls import CALLS
from cassettes.stage import Stage
from cassettes.verbs import VERBS

SCENARIOS: Mapping[str, Callable[[Stage], None]] = {**CALLS, **VERBS}

"""Record the cassettes again: `python tests/cassettes/record.py [NAME ...]`, without a name all of them.

A real Mistral is started for it. Takes some minutes: every look waits until the server is at rest.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def record(url: str, folder: Path, names: Iterable[str], scratch: Path) -> Iterator[str]:
    """Record scenarios into a folder, one after the other, from the server at `url`; gives the name of each first."""
    from cassettes import tape
    from cassettes.scenarios import SCENARIOS
    from cassettes.stage import Hands, Patient, Stage

    hands = Hands(url.replace(tape.HEARD, tape.UNHEARD))
    for name in names:
        yield name
        backend = Patient(url.replace(tape.UNHEARD, tape.HEARD), hands)
        with tape.recording(folder / f"{name}.yaml"):
            SCENARIOS[name](Stage(name, backend, scratch, hands))
        backend.close()
    hands.close()


def main(names: list[str]) -> None:
    """Start a Mistral and record."""
    sys.path[:0] = [str(ROOT / place) for place in ("tests", "bridge", "plugins")]
    from cassettes import tape
    from cassettes.scenarios import SCENARIOS
    from live.mistral_server import MistralServer

    with tempfile.TemporaryDirectory() as scratch, MistralServer(Path(scratch)) as server:
        for name in record(server.url, tape.FOLDER, names or sorted(SCENARIOS), Path(scratch)):
            sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

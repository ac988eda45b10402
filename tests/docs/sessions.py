"""The shell sessions and files of a page, run as a reader would run them, in a folder of their own.

A page marks what a reader does not see in comments above a block::

    <!-- file: NAME -->                 the block is a file of the session's folder
    <!-- append: NAME -->               the block goes to the end of that file
    <!-- until: COMMAND => TEXT -->     wait until the command's output holds the text, then go on with the block
    <!-- not run: WHY -->               the block's commands are only checked to be there

`python tests/docs/sessions.py PAGE ...` runs the pages and writes what came out into them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = "/home/ada"
_BOUND = 60.0

_BLOCK = re.compile(r"^((?:<!-- .*? -->\n)*)```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"<!-- (file|append|until|not run): (.*?) -->")
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}(?:-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?\b")
_PROGRESS = re.compile(r"\d\d:\d\d:\d\d  ")
_ASSIGNED = re.compile(r"(?:export )?(\w+)=\S*(?:\(.*\))?\Z")
_SHORT = 13


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. `begin` and `end` are where its text stands."""

    language: str
    text: str
    begin: int
    end: int
    notes: dict[str, str]

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command with the output that the page shows."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            more = next((at for at, line in enumerate(lines) if at and not line.startswith("> ")), len(lines))
            command = lines[0] + "".join(line[2:] for line in lines[1:more])
            yield command.rstrip("\n"), "".join(lines[more:])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        notes = dict(_NOTE.findall(match.group(1)))
        found.append(Block(match.group(2), match.group(3), match.start(3), match.end(3), notes))
    return found


class Names:
    """Ids in the order in which they come up, so that two runs of the same session can be compared."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def plain(self, text: str) -> str:
        """A text with its ids numbered, and without what a clock says."""
        text = "".join(line for line in text.splitlines(keepends=True) if not _PROGRESS.match(line))
        text = _ID.sub(lambda match: self._numbered(match.group()), text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z)?", "TIME", text)
        text = re.sub(r"\b\d+(\.\d+)?( s| min| h|s)\b", "N s", text)
        text = re.sub(r"^\d+ +TIME", "N  TIME", text, flags=re.MULTILINE)
        return re.sub(r"(?<=\S) {2,}", "  ", text)

    def _numbered(self, id: str) -> str:
        known = next((at for at, other in enumerate(self.seen) if other[:_SHORT] == id[:_SHORT]), None)
        if known is None:
            self.seen.append(id)
            known = len(self.seen) - 1
        elif len(id) > len(self.seen[known]):
            self.seen[known] = id
        return f"<{'id' if len(id) > _SHORT else 'short id'} {known}>"


@dataclass
class Session:
    """A person's folder and terminal. What was exported stays; so does the exit code of the last command.

    `pace` is how many times longer the examples' actions take than they say.
    """

    folder: Path
    pace: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    code: int = 0
    shown: Names = field(default_factory=Names)
    real: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        commands, site = self.folder / ".bin", self.folder / ".site"
        commands.mkdir()
        site.mkdir()
        for name, arguments in (("flowbridge", "-P -m flowbridge_cli.main"), ("python", ""), ("pytest", "-m pytest")):
            (commands / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
            (commands / name).chmod(0o755)
        (self.folder / "docs").symlink_to(ROOT / "docs")
        if self.pace == 1:
            (self.folder / "examples").symlink_to(ROOT / "examples")
        else:
            self._slow_examples()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FLOWBRIDGE_", "OS_", "XDG_"))
        }
        self.environment = {
            **kept,
            "HOME": str(self.folder),
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))),
            "FLOWBRIDGE_ACTOR": "ada",
            "NO_PROXY": "127.0.0.1",
            "TZ": "UTC",
        }

    def _slow_examples(self) -> None:
        shutil.copytree(ROOT / "examples", self.folder / "examples")
        for example in (self.folder / "examples").rglob("*.yaml"):
            text = example.read_text(encoding="utf-8")
            # Where it is waited, not where it is handed on: else it would grow with every level.
            slow = re.sub(r"seconds=<% \$\.pace %>", f"seconds=<% $.pace * {self.pace} %>", text)
            example.write_text(slow, encoding="utf-8")

    def run(self, command: str) -> str:
        """Everything that one command prints."""
        command = self.meant(command)
        if assigned := _ASSIGNED.match(command):
            name = assigned.group(1)
            self.environment[name] = self._bash(f'{command}\nprintf %s "${name}"')
            return ""
        return self._bash(f"(exit {self.code})\n{command}\n").replace(str(self.folder), HOME)

    def meant(self, command: str) -> str:
        """A command of the page, with the ids of this session in the place of those on the page."""
        for doc, real in zip(self.shown.seen, self.real.seen, strict=False):
            command = command.replace(doc, real).replace(doc[:_SHORT], real[:_SHORT])
        return command

    def _bash(self, script: str) -> str:
        done = subprocess.run(
            ["bash"],
            input=script,  # not an argument: a command must not find itself among the processes
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=_BOUND,
            check=False,
        )
        self.code = done.returncode
        return done.stdout

    def until(self, note: str) -> None:
        """Wait for a text in a command's output."""
        command, _, text = note.partition(" => ")
        deadline = time.monotonic() + _BOUND
        while text not in re.sub(r" +", " ", said := self.run(command)):
            assert time.monotonic() < deadline, f"{command} never said {text!r} but:\n{said}"

    def put(self, name: str, text: str, mode: str = "w") -> None:
        """A file of the reader's. A `pyproject.toml` is installed, with its modules from the folder."""
        path = self.folder / name.removeprefix("~/")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
        if path.name == "pyproject.toml":
            _install(self.folder, self.folder / ".site")


def _install(folder: Path, site: Path) -> None:
    """What `pip install` would leave behind: the modules, and the metadata with the entry points."""
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        for value in points.values():
            module = value.partition(":")[0] + ".py"
            (site / module).write_text((folder / module).read_text(encoding="utf-8"), encoding="utf-8")
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Said:
    """One command of a page: what the page shows and what came, both comparable; `output` is the latter as it was."""

    command: str
    shown: str
    came: str
    output: str


def play(page: Path, session: Session) -> Iterator[tuple[Block, list[Said]]]:
    """Run a page from its top to its end; gives each block of a session with what was said in it."""
    for block in blocks(page):
        if "file" in block.notes:
            session.put(block.notes["file"], block.text)
        if "append" in block.notes:
            session.put(block.notes["append"], block.text, "a")
        if block.language != "console" or "not run" in block.notes:
            continue
        if "until" in block.notes:
            session.until(block.notes["until"])
        said = []
        for command, shown in block.commands():
            output = session.run(command)
            said.append(Said(command, session.shown.plain(shown), session.real.plain(output), output))
        yield block, said


def record(page: Path, folder: Path) -> None:
    """Write what came out into the page."""
    text = page.read_text(encoding="utf-8")
    session = Session(folder)
    parts, at = [], 0
    for block, said in play(page, session):
        typed = [session.meant(one.command).replace("\n", "\n> ") for one in said]
        told = ["".join(line for line in one.output.splitlines(True) if not _PROGRESS.match(line)) for one in said]
        parts += [text[at : block.begin], *(f"$ {one}\n{out}" for one, out in zip(typed, told, strict=True))]
        at = block.end
    page.write_text("".join(parts) + text[at:], encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            record(Path(name).resolve(), Path(folder))

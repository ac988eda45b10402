"""A real Mistral for tests: its environment, its process, and the script that the process runs.

The file has two readers. Imported by our tests it is the launcher (`environment`, `MistralServer`). Run by the Python
of Mistral's own environment (`serve FOLDER`) it is the server: one process, the engine on an in-process transport,
SQLite for the database, a free port on loopback. So nothing but the standard library is imported at the top.

The two are joined by pipes, which need no polling: the server writes one ready line to stdout, and ends when its
stdin ends, whatever the reason its parent went away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

#: Where a ready environment is to be found or built; the default is below the user's cache folder.
ENVIRONMENT_VARIABLE = "FLOWBRIDGE_LIVE_MISTRAL_ENV"

#: What Mistral runs on. Its own requirements name lower bounds only, so the libraries that it is built of are held.
REQUIREMENTS = (
    "mistral==23.0.0",
    "mistral-lib==3.6.0",
    "SQLAlchemy==2.1.9",
    "alembic>=1.13,<2",
    "cheroot>=10.0.1,<12",
    "networkx>=3,<4",
    "psycopg2-binary>=2.9,<3",
    "oslo.config==10.7.0",
    "oslo.context==6.5.0",
    "oslo.db==18.1.1",
    "oslo.log==8.3.2",
    "oslo.messaging==18.3.1",
    "oslo.middleware==8.2.0",
    "oslo.policy==6.0.1",
    "oslo.serialization==5.11.0",
    "oslo.service==4.8.0",
    "oslo.utils==10.2.0",
    "pecan==1.8.0",
    "WSME==0.13.0",
    "yaql==3.2.0",
)

BUILD_SECONDS = 600
READY_SECONDS = 90
STOP_SECONDS = 15

CONFIG = """\
[DEFAULT]
transport_url = fake://
log_file = {folder}/mistral.log
[database]
connection = sqlite:///{folder}/mistral.sqlite
[pecan]
auth_enable = false
[cron_trigger]
enabled = false
[executor]
type = local
[action_std_http]
denied_cidrs =
"""


class ServerFailed(Exception):
    """The environment could not be built, or the server did not come up. The message ends with the log."""


# The launcher: runs in our environment.


@dataclass(frozen=True)
class Build:
    """An environment: what is in it, and the variable that names the place of one that is there."""

    name: str
    variable: str
    requirements: tuple[str, ...]


MISTRAL = Build("mistral", ENVIRONMENT_VARIABLE, REQUIREMENTS)


def environment(build: Build = MISTRAL) -> Path:
    """The Python of an environment, by default one with Mistral in it; built once under a file lock if need be."""
    folder = _environment_folder(build)
    python = folder / "bin" / "python"
    mark = folder / ".built"
    given = build.variable in os.environ
    if python.exists() and (given or mark.exists()):
        return python
    with _locked(folder.with_suffix(".lock")):
        if not mark.exists():
            _build(folder, build.requirements)
            mark.write_text("\n".join(build.requirements), encoding="utf-8")
    return python


def _environment_folder(build: Build = MISTRAL) -> Path:
    import platformdirs

    given = os.environ.get(build.variable)
    if given:
        return Path(given)
    what = "\n".join((sys.version, *build.requirements)).encode()
    return platformdirs.user_cache_path("flowbridge") / f"live-{build.name}-{hashlib.sha256(what).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path, requirements: tuple[str, ...]) -> None:
    """Build in place; `--clear` throws away what a build that was cut short has left."""
    python = str(folder / "bin" / "python")
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise ServerFailed(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stderr[-4000:]}")


class Server:
    """One running server. A context manager: inside it `url` answers, after it the process is gone.

    `folder` takes the configuration, the database and the logs, which stay there to be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What to run."""
        raise NotImplementedError

    def first_words(self) -> bytes:
        """What the process is told on its stdin, where the list of processes does not show it."""
        return b""

    def __enter__(self) -> Self:
        with (self.folder / "process.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(self.first_words())
            self._process.stdin.flush()
            self.url = self._ready(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _ready(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
        line = process.stdout.readline() if readable else b""
        if not line:
            raise ServerFailed(
                f"{type(self).__name__} was not ready within {READY_SECONDS} s. Its log ends:\n{self._log_end()}"
            )
        return str(json.loads(line)["url"])

    def _log_end(self) -> str:
        return (self.folder / "process.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def kill(self) -> None:
        """End the process as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Inside it the process stands still: what is sent to it is taken, and done when it goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        """Start one that was killed once more, in the same folder."""
        self._stop()
        self.__enter__()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class MistralServer(Server):
    """One running Mistral. `extra` is configuration to be read after ours: what it says counts.

    One that is started in the folder of another that was stopped has its address and its executions. `parts` of it run
    in the process: "engine", "api" or both. An engine alone has no `url`.
    """

    def __init__(self, folder: Path, extra: str = "", parts: tuple[str, ...] = ("engine", "api")) -> None:
        super().__init__(folder)
        self._extra = extra
        self._parts = parts

    def command(self) -> list[str]:
        """This file, run by Mistral's Python."""
        (self.folder / "extra.conf").write_text(self._extra, encoding="utf-8")
        return [str(environment()), str(Path(__file__).resolve()), "serve", str(self.folder), *self._parts]


# The server: runs in Mistral's environment.


def serve(folder: Path, parts: list[str]) -> None:
    """Run engine, API or both in this process until stdin ends."""
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log; the ready line is the only thing on stdout
    _configure(folder)
    if "engine" in parts:
        _start_engine()
    if "api" in parts:
        _serve_api(ready, folder / "port")
    print(json.dumps({"url": ""}), file=ready, flush=True)
    _end_with_parent()


def _serve_api(ready: TextIO, known: Path) -> None:
    """Serve at the port that was served at before, if any: whoever knows the address finds it again."""
    from cheroot import wsgi  # type: ignore[import-not-found, unused-ignore]
    from mistral.api import app  # type: ignore[import-not-found, unused-ignore]

    if not known.exists():
        # Not left to the server: at a port that it did not ask for it lets nobody listen for a minute after its end.
        with socket.create_server(("127.0.0.1", 0)) as free:
            known.write_text(str(free.getsockname()[1]))
    server = wsgi.Server(("127.0.0.1", int(known.read_text())), app.setup_app(), numthreads=8)
    server.prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.bind_addr[1]}/v2"}), file=ready, flush=True)
    server.serve()


def _configure(folder: Path) -> None:
    # This import chooses the threading backend of oslo.service, so it comes before every other of Mistral's.
    from mistral.cmd import launch  # noqa: F401
    from mistral.config import CLI_OPTS, parse_args
    from mistral.db.v2 import api as db_api
    from mistral.rpc import base as rpc
    from oslo_config import cfg
    from oslo_log import log as logging  # type: ignore[import-not-found, unused-ignore]

    _trust_schemas()
    _hurry_sqlite()
    file = folder / "mistral.conf"
    file.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    cfg.CONF.register_cli_opts(CLI_OPTS)
    parse_args(["--config-file", str(file), "--config-file", str(folder / "extra.conf")])
    logging.setup(cfg.CONF, "Mistral")
    db_api.setup_db()
    rpc.get_transport()


def _start_engine() -> None:
    from mistral.engine import engine_server  # type: ignore[import-not-found, unused-ignore]

    service = engine_server.get_oslo_service(setup_profiler=False)
    threading.Thread(target=service.start, daemon=True).start()
    service.wait_started()


def _trust_schemas() -> None:
    """Let Mistral check definitions against its schemas, and not its schemas anew for every task of every definition.

    That alone takes 0.4 s for a workflow of two tasks. What is accepted and what is refused stays the same.
    """
    from jsonschema.validators import validator_for  # type: ignore[import-untyped, unused-ignore]

    setattr(validator_for({}), "check_schema", lambda *_, **__: None)  # noqa: B010


def _hurry_sqlite() -> None:
    """Let SQLite write without a sync and without a journal to be made and removed: no test cuts the power."""
    from sqlalchemy import event  # type: ignore[import-not-found, unused-ignore]
    from sqlalchemy.engine import Engine  # type: ignore[import-not-found, unused-ignore]

    def hurry(connection: Any, _: Any) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA journal_mode=WAL").close()
            connection.execute("PRAGMA synchronous=OFF").close()

    event.listen(Engine, "connect", hurry)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # threads of Mistral that wait for work would keep an orderly exit waiting


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    serve(Path(sys.argv[2]), sys.argv[3:])

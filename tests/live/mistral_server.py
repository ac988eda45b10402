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
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

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


def environment() -> Path:
    """The Python of an environment with Mistral in it, built once under a file lock where there is none."""
    folder = _environment_folder()
    python = folder / "bin" / "python"
    mark = folder / ".built"
    given = ENVIRONMENT_VARIABLE in os.environ
    if python.exists() and (given or mark.exists()):
        return python
    with _locked(folder.with_suffix(".lock")):
        if not mark.exists():
            _build(folder)
            mark.write_text("\n".join(REQUIREMENTS), encoding="utf-8")
    return python


def _environment_folder() -> Path:
    import platformdirs

    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        return Path(given)
    what = "\n".join((sys.version, *REQUIREMENTS)).encode()
    return platformdirs.user_cache_path("flowbridge") / f"live-mistral-{hashlib.sha256(what).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path) -> None:
    """Build in place; `--clear` throws away what a build that was cut short has left."""
    python = str(folder / "bin" / "python")
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise ServerFailed(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stderr[-4000:]}")


class MistralServer:
    """One running Mistral. A context manager: inside it `url` answers, after it the process is gone.

    `folder` takes the configuration, the database and the logs, which stay there to be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MistralServer:
        command = [str(environment()), str(Path(__file__).resolve()), "serve", str(self.folder)]
        with (self.folder / "process.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        try:
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
            raise ServerFailed(f"Mistral was not ready within {READY_SECONDS} s. Its log ends:\n{self._log_end()}")
        return str(json.loads(line)["url"])

    def _log_end(self) -> str:
        return (self.folder / "process.log").read_text(encoding="utf-8", errors="replace")[-4000:]

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


# The server: runs in Mistral's environment.


def serve(folder: Path) -> None:
    """Run engine and API in this process until stdin ends."""
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log; the ready line is the only thing on stdout
    app = _start_engine(folder)
    from cheroot import wsgi  # type: ignore[import-not-found, unused-ignore]

    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=8)
    server.prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ready.write(json.dumps({"url": f"http://127.0.0.1:{server.bind_addr[1]}/v2"}) + "\n")
    ready.flush()
    server.serve()


def _start_engine(folder: Path) -> object:
    """Bring up the engine and give back the API's WSGI application."""
    # This import chooses the threading backend of oslo.service, so it comes before every other of Mistral's.
    from mistral.cmd import launch  # noqa: F401, I001
    from mistral.config import CLI_OPTS, parse_args
    from mistral.api import app
    from mistral.db.v2 import api as db_api
    from mistral.engine import engine_server
    from mistral.rpc import base as rpc
    from oslo_config import cfg
    from oslo_log import log as logging  # type: ignore[import-not-found, unused-ignore]

    _trust_schemas()
    file = folder / "mistral.conf"
    file.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    cfg.CONF.register_cli_opts(CLI_OPTS)
    parse_args(["--config-file", str(file)])
    logging.setup(cfg.CONF, "Mistral")
    db_api.setup_db()
    rpc.get_transport()
    service = engine_server.get_oslo_service(setup_profiler=False)
    threading.Thread(target=service.start, daemon=True).start()
    service.wait_started()
    application: object = app.setup_app()
    return application


def _trust_schemas() -> None:
    """Let Mistral check definitions against its schemas, and not its schemas anew for every task of every definition.

    That alone takes 0.4 s for a workflow of two tasks. What is accepted and what is refused stays the same.
    """
    from jsonschema.validators import validator_for  # type: ignore[import-untyped, unused-ignore]

    setattr(validator_for({}), "check_schema", lambda *_, **__: None)  # noqa: B010


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # threads of Mistral that wait for work would keep an orderly exit waiting


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    serve(Path(sys.argv[2]))

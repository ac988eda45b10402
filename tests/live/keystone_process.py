"""A real Keystone in one process; run by the Python of Keystone's own environment: `keystone_process.py FOLDER`.

SQLite for the database, fernet keys in the folder, a free port on loopback. One ready line goes to stdout; the process
ends when its stdin ends. The administrator's password is read from the first line of stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

CONFIG = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.sqlite
[cache]
enabled = true
backend = oslo_cache.dict
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[identity]
password_hash_rounds = 4
"""


def serve(folder: Path) -> None:
    """Run Keystone in this process until stdin ends."""
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log; the ready line is the only thing on stdout
    app = _application(folder, sys.stdin.buffer.readline().decode().strip())
    from cheroot import wsgi  # type: ignore[import-not-found, unused-ignore]

    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=8)
    server.prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ready.write(json.dumps({"url": f"http://127.0.0.1:{server.bind_addr[1]}/v3"}) + "\n")
    ready.flush()
    server.serve()


def _application(folder: Path, password: str) -> object:
    """An empty Keystone with an administrator in it, as a WSGI application."""
    from keystone.server.flask import core

    file = folder / "keystone.conf"
    file.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    child = os.fork()
    if not child:
        # A process of its own, as an operator's would be: Keystone's managers are made once for each.
        _fill(folder, file, password)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the empty Keystone could not be made")
    application: object = core.initialize_application(name="public", config_files=[str(file)])
    return application


def _fill(folder: Path, file: Path, password: str) -> None:
    """Keys, tables and an administrator."""
    import keystone.server
    from keystone.cmd import bootstrap
    from keystone.common import fernet_utils
    from keystone.common.sql import core as sql

    keystone.server.configure(config_files=[str(file)])
    for repository, namespace in (("fernet", "fernet_tokens"), ("credential", "credential")):
        (folder / repository).mkdir(mode=0o700)
        fernet_utils.FernetUtils(str(folder / repository), 3, namespace).initialize_key_repository()
    first = bootstrap.Bootstrapper()
    # All models are imported by now. The tables come from them: the migrations are for databases with a past.
    with sql.session_for_write() as session:
        sql.ModelBase.metadata.create_all(session.get_bind())
    first.admin_username, first.admin_password, first.project_name = "admin", password, "admin"
    first.admin_role_name = "admin"
    first.bootstrap()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv.pop(1)))  # Keystone reads what is left of the command line

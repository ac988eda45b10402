"""A Mistral as people run it in production: PostgreSQL, RabbitMQ, one API process and several engines.

Database and broker are there already; their addresses come from the environment. Each cluster has a database and
queues of its own.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from live.mistral_server import MistralServer, environment

POSTGRESQL = "FLOWBRIDGE_TEST_POSTGRESQL_URL"
RABBITMQ = "FLOWBRIDGE_TEST_RABBITMQ_URL"

_CONFIG = """\
[DEFAULT]
transport_url = {broker}
control_exchange = {name}
rpc_response_timeout = 5
[database]
connection = {database}
[engine]
topic = {name}-engine
execution_integrity_check_delay = 3
[executor]
type = local
topic = {name}-executor
[event_engine]
topic = {name}-events
[notifier]
topic = {name}-notifier
[scheduler]
captured_job_timeout = 5
pickup_job_after = 5
"""

#: Run by Mistral's Python, which has a driver: PostgreSQL makes and drops databases outside transactions only.
_DATABASE = """
import os, sys
from sqlalchemy import create_engine, text
engine = create_engine(os.environ["DATABASE_URL"], isolation_level="AUTOCOMMIT")
with engine.connect() as connection:
    connection.execute(text(sys.argv[1]))
"""


class Cluster:
    """A running cluster. `url` is that of its API; `engines` can be killed one by one."""

    def __init__(self, api: MistralServer, engines: list[MistralServer]) -> None:
        self.url = api.url
        self.engines = engines


def missing() -> list[str]:
    """The variables that are not set and without which there is no cluster."""
    return [name for name in (POSTGRESQL, RABBITMQ) if not os.environ.get(name)]


@contextmanager
def cluster(folder: Path, engines: int = 2) -> Iterator[Cluster]:
    """A cluster with as many engine processes, gone with its database at the end."""
    name = f"flowbridge_{uuid.uuid4().hex[:12]}"
    server = _driver(os.environ[POSTGRESQL])
    with ExitStack() as stack:
        _database(server, f"CREATE DATABASE {name}")
        stack.callback(_database, server, f"DROP DATABASE {name} WITH (FORCE)")
        config = _CONFIG.format(
            name=name,
            broker=os.environ[RABBITMQ].replace("amqp://", "rabbit://", 1),
            database=urlunsplit(urlsplit(server)._replace(path=f"/{name}")),
        )
        # The API comes first: it makes the tables, which two processes cannot do at once.
        api = stack.enter_context(MistralServer(_folder(folder, "api"), config, ("api",)))
        yield Cluster(
            api,
            [
                stack.enter_context(MistralServer(_folder(folder, f"engine{number}"), config, ("engine",)))
                for number in range(engines)
            ],
        )


def _folder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


def _database(server: str, statement: str) -> None:
    subprocess.run(
        [str(environment()), "-c", _DATABASE, statement],
        check=True,
        timeout=60,
        env={**os.environ, "DATABASE_URL": server},
    )

"""The way to a Temporal server: one connection, its calls, and what its errors mean."""

import asyncio
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio.api.workflowservice import v1 as api
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from flowbridge.errors import EngineError, EngineRefused, InvalidInput, NotFound, Unavailable

#: The statuses of a call that may succeed later. Any other is a refusal, but for NOT_FOUND.
_SILENT = {"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"}


def meant(name: str, error: RPCError) -> EngineError:
    """A failed call as the error that leaves the backend, in the server's own words."""
    kind: type[EngineError] = Unavailable if error.status.name in _SILENT else EngineRefused
    kind = NotFound if error.status is RPCStatusCode.NOT_FOUND else kind
    return kind(f"{name}: {error.message} ({error.status.name})")


class Server:
    """One server. The client needs an event loop, so that has a thread; any thread may call."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        own, config = "address" in options and "profile" not in options, dict[str, Any]()
        try:  # Temporal's own file and variables have keys, which go to no address but the one that stands there
            config.update({} if own else ClientConfig.load_client_connect_config(options.get("profile")))
        except (RuntimeError, ValueError) as error:
            raise InvalidInput(f"{name}: in Temporal's own configuration: {error}") from None
        self.address = str(options.get("address") or config.get("target_host", "localhost:7233"))
        self.namespace = str(options.get("namespace") or config.get("namespace", "default"))
        self._name, self._bound = name, timedelta(seconds=float(options.get("timeout", 10)))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"temporal {name}", daemon=True)
        self._thread.start()
        client = Client.connect(**{**config, "target_host": self.address, "namespace": self.namespace}, lazy=True)
        self._service = asyncio.run_coroutine_threadsafe(client, self._loop).result().workflow_service

    def call(self, method: str, **fields: Any) -> Any:
        """One call of the workflow service, by its name and the fields of its request. Raises an `EngineError`."""
        kind = getattr(api, f"{method.title().replace('_', '')}Request")
        always = {"namespace": self.namespace, "identity": "flowbridge"}
        request = kind(**{name: always[name] for name in always if name in kind.DESCRIPTOR.fields_by_name}, **fields)
        try:
            work = getattr(self._service, method)(request, timeout=self._bound)
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except RPCError as error:
            raise meant(self._name, error) from None
        except RuntimeError as error:  # the client's way to say that it found no server
            where = self.address if "tcp connect error" in str(error) else f"{self.address}: {error}"
            raise Unavailable(f"{self._name}: no Temporal server answers at {where}", unsent=True) from error

    def close(self) -> None:
        """Leave the server."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

"""A real Temporal for the tests: its development server on loopback, and a worker that runs the kit's shapes."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError, is_cancelled_exception
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from flowbridge.conformance.shapes import ALL, Flow, Step

_T = TypeVar("_T")
QUEUE = "kit"
SECONDS = 30.0
FLOWS = {f"{shape.name}.{flow.name}": flow for shape in ALL for flow in shape.flows}
_LONG = timedelta(hours=1)
_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(dynamic=True)
class Shaped:
    """Any flow of any shape, by its type's name. Canceled, it starts nothing more and waits for what runs."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Task[object]] = {}
        self.ended: dict[str, BaseException | None] = {}
        self.canceled = False

    @workflow.run
    async def run(self, _: Sequence[RawValue]) -> dict[str, object]:
        flow = FLOWS[workflow.info().workflow_type]
        while True:
            self._start(flow)
            if not self.running:
                break
            with contextlib.suppress(asyncio.CancelledError):
                await workflow.wait(list(self.running.values()), return_when=asyncio.FIRST_COMPLETED)
            self.canceled |= workflow.cancellation_reason() is not None
            for name, task in list(self.running.items()):
                if task.done():
                    self.ended[name] = self.running.pop(name).exception()
        return self._result(flow)

    def _start(self, flow: Flow) -> None:
        for step in flow.steps:
            if not self.canceled and step.name not in self.running | self.ended and self._is_due(step):
                self.running[step.name] = asyncio.create_task(self._step(step))

    def _is_due(self, step: Step) -> bool:
        if step.on_error_of:
            error = self.ended.get(step.on_error_of)
            return error is not None and not is_cancelled_exception(error)
        before = [name in self.ended and self.ended[name] is None for name in step.after]
        return not before or (all(before) if step.join else any(before))

    async def _step(self, step: Step) -> object:
        if step.pause_before:
            await self._activity("hold", f"before {step.name}")
        if step.wait_before:  # the one delay of a task itself: that before its next attempt
            return await self._activity("late_gate", step.name, RetryPolicy(timedelta(seconds=step.wait_before)))
        if step.runs in ("gate", "nothing"):
            return await self._activity(step.runs, step.name)
        info = workflow.info()
        kind = f"{info.workflow_type.partition('.')[0]}.{step.runs}"
        return await workflow.execute_child_workflow(kind, id=f"{info.workflow_id}/{step.name}")

    async def _activity(self, kind: str, name: str, retry: RetryPolicy = _ONCE) -> object:
        return await workflow.execute_activity(kind, activity_id=name, start_to_close_timeout=_LONG, retry_policy=retry)

    def _result(self, flow: Flow) -> dict[str, object]:
        if self.canceled:
            raise asyncio.CancelledError
        handled = {step.on_error_of for step in flow.steps}
        errors = [error for name, error in self.ended.items() if error and name not in handled]
        for error in sorted(errors, key=lambda error: not is_cancelled_exception(error)):
            raise error
        return {"steps": list(self.ended)}


@workflow.defn
class Careless:
    """Waits for a gate as most workflows do: a cancel makes it drop what runs."""

    @workflow.run
    async def run(self, what: str, times: int) -> list[object]:
        return [what, times, await workflow.execute_activity("gate", start_to_close_timeout=_LONG, retry_policy=_ONCE)]


@workflow.defn
class Again:
    """Continues as new once."""

    @workflow.run
    async def run(self, input: dict[str, int]) -> None:
        await workflow.execute_activity("nothing", start_to_close_timeout=_LONG, activity_id=f"n{input['n']}")
        if input["n"]:
            workflow.continue_as_new({"n": input["n"] - 1})


@workflow.defn
class Clash:
    """Starts a child under an id that is taken, its own, and one that nobody named."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.execute_child_workflow("only.leaf", id=workflow.info().workflow_id)
        except WorkflowAlreadyStartedError:
            await workflow.execute_child_workflow("only.leaf")


@workflow.defn
class Wide:
    """Many activities, whose events fill more than one page."""

    @workflow.run
    async def run(self, input: dict[str, int]) -> int:
        ends = [
            workflow.start_activity("nothing", start_to_close_timeout=_LONG, activity_id=f"n{n}")
            for n in range(input["n"])
        ]
        return len(await asyncio.gather(*ends))


@activity.defn
async def gate() -> None:
    """Runs until somebody completes it from outside."""
    activity.raise_complete_async()


@activity.defn
async def late_gate() -> None:
    """A gate whose first attempt fails."""
    if activity.info().attempt == 1:
        raise RuntimeError("the first attempt always fails")
    activity.raise_complete_async()


@activity.defn
async def nothing() -> None:
    """Ends at once."""


@activity.defn
async def hold() -> None:
    """Pause the workflow that runs this."""
    client, info = activity.client(), activity.info()
    asked = PauseWorkflowExecutionRequest(namespace=client.namespace, workflow_id=info.workflow_id or "")
    await client.workflow_service.pause_workflow_execution(asked)


#: What the server must be told to take pauses.
PAUSES = ("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true")


@contextlib.contextmanager
def serving(folder: Path, *more: str) -> Iterator[str]:
    """A development server with an empty memory; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--log-level", "error", *more], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _until_it_answers(port, process, folder / "server.log")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(SECONDS)


def _until_it_answers(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    async def connect() -> None:
        await Client.connect(f"127.0.0.1:{port}")

    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return asyncio.run(connect())
        except RuntimeError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


class Hand:
    """The worker, and the hand that completes its gates. Lives in a thread with an event loop."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker")
        self._thread.start()
        self._client = self.do(Client.connect(address, identity="worker"))
        self._worker = Worker(
            self._client,
            task_queue=QUEUE,
            workflows=[Shaped, Careless, Again, Clash, Wide],
            activities=[gate, late_gate, nothing, hold],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        self._run = asyncio.run_coroutine_threadsafe(self._worker.run(), self._loop)

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something with the client."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def open(self, id: str, name: str, error: str = "", result: object = None) -> None:
        """Complete a gate, or fail it."""
        handle = self._client.get_async_activity_handle(workflow_id=id, run_id=None, activity_id=name)
        self.do(handle.fail(RuntimeError(error)) if error else handle.complete(result))

    def close(self) -> None:
        """Stop the worker."""
        self.do(self._worker.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

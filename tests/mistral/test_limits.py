"""How long a call may take in all: against real sockets that are silent, or that never come to an end."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import responses

from flowbridge.calls import at_once
from flowbridge.deadline import in_time_for, left, telling, within
from flowbridge.errors import Unavailable
from flowbridge_mistral.access import Access, access
from flowbridge_mistral.client import MistralClient

URL = "http://mistral.example/v2"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

#: The limits that are tried out, and a bound far below what an unlimited call would take.
LIMIT, BOUND = 0.3, 5.0

Behaviour = Callable[[socket.socket, threading.Event], None]


def says_nothing(connection: socket.socket, over: threading.Event) -> None:
    """Takes the request, as a stopped process does."""
    over.wait(BOUND * 4)


def drips_its_body(connection: socket.socket, over: threading.Event) -> None:
    """Never silent for long, and never done."""
    connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    _drip(connection, over)


def drips_its_head(connection: socket.socket, over: threading.Event) -> None:
    """The same before the answer has really begun."""
    connection.sendall(HEAD + b"X-Long: ")
    _drip(connection, over)


def _drip(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(LIMIT / 10):
        connection.sendall(b" ")


@contextmanager
def server(behaviour: Behaviour) -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and the beginnings of the requests that it was sent."""
    over, heard = threading.Event(), list[bytes]()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(65536))
                    try:
                        behaviour(connection, over)
                    except OSError:
                        continue  # the other side gave up

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v2", heard
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def seconds_of(call: Callable[[], object]) -> float:
    begin = time.monotonic()
    with pytest.raises(Unavailable):
        call()
    return time.monotonic() - begin


@pytest.mark.parametrize("behaviour", [says_nothing, drips_its_body, drips_its_head])
def test_a_question_is_given_up_after_its_limit_whatever_the_server_does(behaviour: Behaviour) -> None:
    with server(behaviour) as (address, heard):
        client = MistralClient("prod", Access(address, read_timeout=LIMIT, change_timeout=BOUND * 10))
        assert LIMIT <= seconds_of(lambda: client.get("executions")) < BOUND
        assert len(heard) == 1  # a silent engine is not asked again and again: it has no time left


@pytest.mark.parametrize("behaviour", [says_nothing, drips_its_body])
def test_a_change_has_a_limit_of_its_own(behaviour: Behaviour) -> None:
    with server(behaviour) as (address, _):
        client = MistralClient("prod", Access(address, read_timeout=BOUND * 10, change_timeout=LIMIT))
        assert seconds_of(lambda: client.put("executions", "x", body={}, repeatable=True)) < BOUND


@pytest.mark.parametrize("behaviour", [says_nothing, drips_its_body])
def test_whoever_waits_for_less_than_the_limit_is_not_kept_waiting(behaviour: Behaviour) -> None:
    with server(behaviour) as (address, _):
        client = MistralClient("prod", Access(address))
        with within(LIMIT):
            assert seconds_of(lambda: client.put("executions", "x", body={}, repeatable=False)) < BOUND


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    with server(says_nothing) as (address, heard):
        client = MistralClient("prod", Access(address))
        with within(0), pytest.raises(Unavailable, match="the time for it was over") as caught:
            client.put("executions", "x", body={}, repeatable=False)
        assert (caught.value.unsent, caught.value.unasked) == (True, True)
        assert not heard


@responses.activate
def test_no_try_is_made_that_would_come_too_late() -> None:
    waits: list[float] = []
    responses.get(f"{URL}/executions", status=503, headers={"Retry-After": "3"})
    client = MistralClient("prod", Access(URL), sleep=waits.append)
    with within(2), pytest.raises(Unavailable):
        client.get("executions")
    assert (len(responses.calls), waits) == (1, [])


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b'Content-Length: 9\r\n\r\n{"a": 12}',
        HEAD + b'Connection: close\r\n\r\n{"a": 12}',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n5\r\n: 12}\r\n0\r\n\r\n',
        HEAD + b"Connection: close\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"a": 12}'),
    ],
    ids=["with its length", "to the end of the connection", "in chunks", "compressed"],
)
def test_an_answer_in_time_is_read_as_ever(answer: bytes) -> None:
    with server(lambda connection, _: connection.sendall(answer)) as (address, _):
        assert MistralClient("prod", Access(address)).get("x") == {"a": 12}


def test_one_connection_serves_many_calls() -> None:
    def keeps(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        while connection.recv(65536):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with server(keeps) as (address, heard):
        client = MistralClient("prod", Access(address))
        for _ in range(3):
            assert client.get("x") == {}
        client.close()
        assert len(heard) == 1


@responses.activate
def test_a_failed_try_is_told_at_once_and_once_for_each_engine() -> None:
    told: list[str] = []
    responses.get(f"{URL}/executions", status=503)
    with telling(told.append):
        for name in ("prod", "prod", "lab"):
            with pytest.raises(Unavailable):
                MistralClient(name, Access(URL), sleep=lambda _: None).get("executions")
    assert told == [f"{name}: not available now (503), trying again (2 of 4)" for name in ("prod", "lab")]


def test_a_silent_engine_is_told_of_while_it_is_silent() -> None:
    told = threading.Event()

    def answers_when_told(connection: socket.socket, _: threading.Event) -> None:
        assert told.wait(BOUND)
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    with server(answers_when_told) as (address, _), telling(say, after=0.01):
        assert MistralClient("prod", Access(address)).get("x") == {}
    assert lines == ["prod: no answer yet"]


def test_without_anybody_who_looks_on_nothing_is_told() -> None:
    told: list[str] = []
    with server(says_nothing) as (address, _), telling(told.append):
        seconds_of(lambda: MistralClient("prod", Access(address, read_timeout=LIMIT)).get("x"))
    assert not told


def test_a_deadline_is_never_lengthened_and_goes_along_into_threads() -> None:
    assert left() is None
    with in_time_for(None):
        assert left() is None
    with within(10), within(100), within(None):
        found = at_once([left, left])
        assert all(seconds is not None and 5 < seconds <= 10 for seconds in found)
    assert left() is None


def test_the_option_holds_for_both_and_without_it_each_has_its_own() -> None:
    found = access("prod", {"url": URL}, {})
    assert (found.read_timeout, found.change_timeout) == (12, 30)
    found = access("prod", {"url": URL, "timeout": 3}, {})
    assert (found.connect_timeout, found.read_timeout, found.change_timeout) == (3, 3, 3)

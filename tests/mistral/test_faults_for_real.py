"""The faults of `support.faults` against a real socket: what they raise in memory is what a real connection raises."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flowbridge.errors import EngineError, Unavailable
from flowbridge_mistral.access import Access
from flowbridge_mistral.client import TRIES, MistralClient
from flowbridge_mistral.failures import Untrusted
from support import faults
from support.fake_mistral import FakeMistral
from support.faults import Fault
from support.wire import Heard, wired

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
NO_LINGER = struct.pack("ii", 1, 0)


def falls_silent(connection: socket.socket) -> None:
    """Takes the request and says nothing until the other side gives up."""
    while connection.recv(65536):
        pass


def breaks_off(connection: socket.socket) -> None:
    """Sends a part of an answer, and resets the connection once it was read."""
    connection.sendall(HEAD + b'{"executions": [')
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


def speaks_plainly(connection: socket.socket) -> None:
    """Answers a TLS greeting as a server does that speaks HTTP only."""
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def hangs_up(connection: socket.socket) -> None:
    """Resets the connection instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


Behaviour = Callable[[socket.socket], None]


@contextmanager
def server(behaviour: Behaviour | None) -> Iterator[str]:
    """A server that does so with every request; None: nobody listens at its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v2"
        if behaviour is None:
            listening.close()
            yield address
            return
        thread = threading.Thread(target=_serve, args=(listening, behaviour))
        thread.start()
        try:
            yield address
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # ends the waiting for another one
            thread.join()


def _serve(listening: socket.socket, behaviour: Behaviour) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            behaviour(connection)


def failure(address: str, read_timeout: float) -> tuple[EngineError, list[type]]:
    """What a call that is sent once ends with, and the classes of what the HTTP library raised."""
    client = MistralClient("prod", Access(address, change_timeout=read_timeout))
    with pytest.raises(EngineError) as caught:
        client.put("executions", "x", body={}, repeatable=False)
    client.close()
    return caught.value, [
        cls for cls in type(caught.value.__cause__).__mro__ if issubclass(cls, requests.RequestException)
    ]


@pytest.mark.parametrize(
    ("behaviour", "fault", "seconds"),
    [
        (None, faults.refused, 5.0),
        (breaks_off, faults.reset_within_the_body, 5.0),
        (falls_silent, faults.read_timeout, 0.5),
        (hangs_up, faults.answer_lost, 5.0),
    ],
    ids=["refused", "reset within the body", "read timeout", "answer lost"],
)
def test_a_fault_in_memory_is_what_a_real_connection_raises(
    behaviour: Behaviour | None, fault: Fault, seconds: float
) -> None:
    with server(behaviour) as address:
        real, raised = failure(address, seconds)

    def faulty(heard: Heard) -> tuple[int, dict[str, str], str]:
        return fault(FakeMistral(), Heard("GET", "executions", {}, ""))

    with wired(mistral=faulty):
        made, raised_in_memory = failure("http://mistral.example.org/v2", seconds)
    assert raised == raised_in_memory
    assert (type(real), _unsent(real)) == (type(made), _unsent(made))


def test_a_server_that_speaks_no_tls_is_told_from_one_that_cannot_be_trusted() -> None:
    with server(speaks_plainly) as address:
        error, _ = failure(address.replace("http", "https"), 5.0)
    assert "speaks no TLS" in error.message
    assert "begin with http" in error.message
    assert _unsent(error)


class Healthy(BaseHTTPRequestHandler):
    """Answers every question with an empty object, and tells nobody."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


def own_certificate(folder: Path) -> Path:
    """A file with a key, and a certificate for the loopback that nobody but its key has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "own.pem"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(pem, form, plain) + certificate.public_bytes(pem))
    return file


@contextmanager
def safe_server(certificate: Path) -> Iterator[str]:
    """The address of a server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as served:
        served.socket = context.wrap_socket(served.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{served.server_address[1]}/v2"
        served.shutdown()
        thread.join()


def test_a_server_whose_certificate_nobody_vouches_for_is_asked_once_and_trusted_with_a_ca_file(tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path)
    waits: list[float] = []
    with safe_server(certificate) as address:
        stranger = MistralClient("prod", Access(address), waits.append)
        with pytest.raises(Untrusted, match="ca_file or OS_CACERT") as caught:
            stranger.get("executions")
        known = MistralClient("prod", Access(address, ca_file=str(certificate)), waits.append)
        assert known.get("executions") == {}
        stranger.close()
        known.close()
    assert caught.value.unsent
    assert waits == []


@pytest.mark.parametrize(("peer", "error", "tries"), [(speaks_plainly, Untrusted, 1), (hangs_up, Unavailable, TRIES)])
def test_a_server_that_speaks_no_tls_is_asked_once_and_a_greeting_that_breaks_off_is_tried_again(
    peer: Callable[[socket.socket], None], error: type[Unavailable], tries: int
) -> None:
    waits: list[float] = []
    with server(peer) as address:
        client = MistralClient("prod", Access(address.replace("http", "https")), waits.append)
        with pytest.raises(error):
            client.get("executions")
    client.close()
    assert len(waits) == tries - 1


def _unsent(error: EngineError) -> bool:
    return isinstance(error, Unavailable) and error.unsent

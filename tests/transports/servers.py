# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Servers of the tests' own: one that answers whatever a test wants, a proxy, and who vouches for them."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import Self


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def answer(body: Any = None, status: int = 200, **headers: str) -> bytes:
    """Write an answer down; what is no bytes goes as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def data(value: Any, **headers: str) -> bytes:
    """Write a successful answer down."""
    return answer({"status": "success", "data": value}, **headers)


HANG = b"HANG"
"""Instead of an answer: nothing, until the caller goes away."""

DRIP = b"DRIP"
"""Instead of an answer: one that never ends, byte by byte, until the caller goes away."""

RESET = b"RESET"
"""Instead of an answer: the connection breaks."""

CLOSE = b"CLOSE"
"""Instead of an answer: the connection ends."""


class Listener(ABC):
    """Accepts connections on loopback while a ``with`` block lasts, a thread each."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._socket, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection:
            self.serve(connection, number)

    @abstractmethod
    def serve(self, connection: socket.socket, number: int) -> None:
        """Do what is to be done with one connection, the first of which has the number 1."""


class Server(Listener):
    """
    Answers the first request with the first of the answers, and so on; the last one stays.

    :param answers: what :func:`answer` and :func:`data` write, :data:`HANG` and its like, or a function.
    :param tls: certificate and key.
    """

    def __init__(
        self, *answers: bytes | Callable[[Received], bytes], tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self._answers = list(answers) or [data({})]
        self._tls = tls
        self.received: list[Received] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket, number: int) -> None:
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
        with connection, connection.makefile("rb") as stream:
            while (request := read_request(stream, number)) is not None:
                self.received.append(request)
                reply = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if callable(reply):
                    reply = reply(request)
                if reply == HANG:
                    stream.read(1)
                    return
                if reply == DRIP:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.01)
                if reply == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if reply == CLOSE:
                    return
                connection.sendall(reply)
                if b"\r\nConnection: close\r\n" in reply:
                    return


class Proxy(Listener):
    """
    Joins whoever asks with a server of the tests, whatever host he asks for.

    :param target: the port that all are joined with; ``None`` refuses them.
    """

    def __init__(self, target: int | None) -> None:
        super().__init__()
        self._target = target
        self.received: list[Received] = []

    def serve(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb", buffering=0) as stream:
            request = read_request(stream, number)
        if request is None:
            return
        self.received.append(request)
        if self._target is None:
            connection.sendall(answer(b"no", 407))
            return
        with socket.create_connection(("127.0.0.1", self._target)) as onward:
            self._open.append(onward)
            connection.sendall(b"HTTP/1.1 200 Joined\r\n\r\n")
            back = threading.Thread(target=pour, args=(onward, connection), daemon=True)
            back.start()
            pour(connection, onward)
            back.join()


def pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        finally:
            sink.shutdown(socket.SHUT_WR)


def read_request(stream: Any, connection: int) -> Received | None:
    first = stream.readline().decode().split()
    if len(first) != 3:
        return None
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(connection, first[0], first[1], headers, body)


class Authority:
    """A private certificate authority, and a server with a certificate of its."""

    def __init__(self, folder: Path) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        own_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

        def certificate(name: str, of: ec.EllipticCurvePrivateKey, *extensions: Any) -> x509.Certificate:
            subject, issuer = (
                x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who)]) for who in (name, "authority")
            )
            builder = (
                x509.CertificateBuilder(issuer, subject, of.public_key(), x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=1))
            )
            for extension in extensions:
                builder = builder.add_extension(
                    extension, critical=isinstance(extension, x509.BasicConstraints)
                )
            return builder.sign(own_key, hashes.SHA256())

        identifier = x509.SubjectKeyIdentifier.from_public_key(own_key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = certificate(
            "authority", own_key, x509.BasicConstraints(ca=True, path_length=None), identifier, usage
        )
        names = [x509.DNSName("census.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        leaf = certificate(
            "server",
            key,
            x509.SubjectAlternativeName(names),
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
        )
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        server = folder / "server.pem"
        server.write_bytes(
            leaf.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(server)

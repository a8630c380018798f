# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What stands between a caller and the stand-in for Census: a proxy, and a certificate authority."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from stand_in import Listener, Received, read_request, response

if TYPE_CHECKING:
    from pathlib import Path


class Proxy(Listener):
    """
    Joins whoever asks with a server of the tests, whatever host he asks for.

    :param target: the port that all are joined with; ``None`` refuses them.
    :param tls: certificate and key of the proxy, if it is asked over TLS.
    """

    def __init__(self, target: int | None, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self.received: list[Received] = []
        super().__init__()

    def serve(self, connection: socket.socket, number: int) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection.makefile("rb", buffering=0) as stream:
            request = read_request(stream, number)
        if request is None:
            return
        self.received.append(request)
        if self._target is None:
            connection.sendall(response(b"no", 407))
            return
        with socket.create_connection(("127.0.0.1", self._target)) as onward:
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


class Authority:
    """
    A private certificate authority, and a server with a certificate of its.

    :param days: for how many days from now on the certificate of the server is valid.
    """

    def __init__(self, folder: Path, days: int = 1) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        own_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

        def certificate(
            name: str, of: ec.EllipticCurvePrivateKey, *extensions: Any, days: int = 1
        ) -> x509.Certificate:
            subject, issuer = (
                x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who)]) for who in (name, "authority")
            )
            builder = (
                x509.CertificateBuilder(issuer, subject, of.public_key(), x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=9))
                .not_valid_after(now + datetime.timedelta(days=days))
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
            days=days,
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

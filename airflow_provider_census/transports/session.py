# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The ``requests`` session of a worker: one deadline, no redirect, no cookie, no interim response."""

from __future__ import annotations

import http.client
import time
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter

from airflow_provider_census.api import encodings
from airflow_provider_census.transports import base

if TYPE_CHECKING:
    import socket

    from urllib3 import HTTPConnectionPool


class FinalResponse(http.client.HTTPResponse):
    """
    Reads the final response, within one deadline: what is left of the timeout when the request has been sent.

    ``http.client`` takes an interim response such as 103 for the final one, and its timeout begins anew with
    every byte. It also guesses the length of a body that says several.
    """

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = BufferedReader(DeadlineReader(self.fp.detach(), sock))

    def begin(self) -> None:
        """Read past interim responses, to the end of the headers of the final one."""
        super().begin()
        while self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment] # it has not begun
            super().begin()
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) + ("Transfer-Encoding" in self.headers) > 1:
            raise http.client.HTTPException("the response says more than one length")
        if not all(length.isascii() and length.isdigit() for length in lengths):
            raise http.client.HTTPException("the response says a length that is none")


class DeadlineReader(RawIOBase):
    """
    Reads from a socket until a deadline, however many reads that takes.

    :param raw: what reads from it.
    :param sock: the socket; its timeout sets the deadline.
    """

    def __init__(self, raw: RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        """Tell that it can be read from."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, and wait for it no longer than until the deadline."""
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0.0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class Adapter(HTTPAdapter):
    """Has connections read their responses with :class:`FinalResponse`, also those through a proxy."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """Give the connections to a host."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if pool.ConnectionCls.response_class is not FinalResponse:
            members = {"response_class": FinalResponse}
            pool.ConnectionCls = type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), members)
        return cast("HTTPConnectionPool", pool)


class Session(requests.Session):
    """Follows no redirect, and keeps no cookie."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # what the environment says is found alike for both transports
        self.headers["User-Agent"] = base.user_agent()
        self.headers["Accept-Encoding"] = encodings.ACCEPTED
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: else ``requests`` would read the whole body of a redirect, for a next one."""

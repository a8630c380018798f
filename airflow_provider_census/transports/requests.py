# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The transport of a worker: ``requests``, one kept-alive connection for a hook.

Its session has one deadline for an exchange, follows no redirect, keeps no cookie, and reads past interim
responses.
"""

from __future__ import annotations

import http.client
import os
import ssl
import time
from functools import partial
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying
from urllib3 import Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HeaderParsingError,
    HTTPError,
    NewConnectionError,
    ProxyError,
)
from urllib3.util.response import assert_header_parsing

from airflow_provider_census.api import encodings, responses
from airflow_provider_census.api.responses import HTTPResponse
from airflow_provider_census.api.versions import adapt, may_be_outdated
from airflow_provider_census.exceptions import CensusApiError
from airflow_provider_census.transports import base

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request, Response
    from airflow_provider_census.api.settings import Settings

T = TypeVar("T")


class FinalResponse(http.client.HTTPResponse):
    """
    Reads the final response, within one deadline: what is left of the timeout when the request has been sent.

    ``http.client`` takes an interim response such as 103 for the final one, and its timeout begins anew with
    every byte. It also guesses the length of a body that says several, and leaves out all headers behind a
    line that is none, of which ``urllib3`` then logs what they say.
    """

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        timeout = sock.gettimeout()
        if timeout is not None:
            self.fp.raw.readinto = _until(time.monotonic() + timeout, sock)  # type: ignore[method-assign]

    def begin(self) -> None:
        """Read past interim responses, to the end of the headers of the final one."""
        super().begin()
        while self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment] # it has not begun
            super().begin()
        try:
            assert_header_parsing(self.headers)
        except HeaderParsingError:
            raise http.client.HTTPException("the response has a header that is none") from None
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) + ("Transfer-Encoding" in self.headers) > 1:
            raise http.client.HTTPException("the response says more than one length")
        if not all(length.isascii() and length.isdigit() for length in lengths):
            raise http.client.HTTPException("the response says a length that is none")


def _until(deadline: float, sock: socket.socket) -> Callable[[Any], int]:
    """Make what reads from a socket until a deadline, however many reads that takes."""

    def readinto(buffer: Any) -> int:
        left = deadline - time.monotonic()
        if left <= 0.0:
            raise TimeoutError("timed out")
        sock.settimeout(left)
        return sock.recv_into(buffer)

    return readinto


class Adapter(HTTPAdapter):
    """Has connections read their responses with :class:`FinalResponse`, also those through a proxy."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """Give the connections to a host."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(_connection, pool.ConnectionCls)
        return cast("HTTPConnectionPool", pool)


def _connection(kind: type[HTTPConnection], **options: Any) -> HTTPConnection:
    """Make a connection of a kind, which depends on scheme and proxy."""
    connection = kind(**options)
    connection.response_class = FinalResponse
    return connection


class Session(requests.Session):
    """
    Follows no redirect, and keeps no cookie.

    :ivar settings: where Census is: in here, so that no thread sends the token of one host to another.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.headers["Authorization"] = f"Bearer {settings.token}"
        self.verify = base.ca_bundle()
        proxy = base.proxy(settings.base_url)
        self.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self.trust_env = False  # what the environment says is found alike for both transports
        self.headers["User-Agent"] = base.user_agent()
        self.headers["Accept-Encoding"] = encodings.ACCEPTED
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: else ``requests`` would read the whole body of a redirect, for a next one."""


class RequestsTransport:
    """
    Send requests from a worker.

    :param settings: where Census is.
    :param log: where retries are reported.
    :param read_connection: reads the connection again when Census rejects its token.
    """

    def __init__(
        self, settings: Settings, log: Log, read_connection: Callable[[], Settings] | None = None
    ) -> None:
        self._log = log
        self._read_connection = read_connection
        self._open(settings)

    def _open(self, settings: Settings) -> None:
        self._process = os.getpid()
        self._retrying = Retrying(**base.retry_policy(settings, self._log))
        self._session = Session(settings)

    def send(self, request: Request[T]) -> Response[T]:
        """
        Send a request, again if it failed in a way that may pass, and parse the response.

        :raises CensusApiError: if Census responds with an error, or with what is no response to the request.
        :raises CensusConnectionError: if no complete response arrives.
        """
        used = self._session.settings
        try:
            return self._retrying(self._send_once, request)
        except CensusApiError as error:
            if not may_be_outdated(error.status_code, used.api_version) or not self._renew(used):
                raise
        return self._retrying(self._send_once, request)

    def _renew(self, rejected: Settings) -> bool:
        """Read the connection again, for its token may be a new one; tell whether it is."""
        if self._session.settings is not rejected:  # another thread has read it meanwhile
            return True
        if self._read_connection is None:
            return False
        try:
            settings = self._read_connection()
        except Exception as error:  # noqa: BLE001 - whatever a secrets backend fails with
            self._log.warning(base.KEEPING_SETTINGS, rejected.connection_id, error)
            return False
        if settings == rejected:
            return False
        self._open(settings)
        return True

    def _send_once(self, request: Request[T]) -> Response[T]:
        if self._process != os.getpid():  # on the sockets from before a fork each would get others' responses
            self._open(self._session.settings)
        session = self._session
        settings = session.settings
        request = adapt(request, settings.api_version, settings.group_id)
        try:
            response = self._exchange(request, session)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            lost = base.lost_response(request, settings, error, sent=_was_sent(error))
        except BaseException as error:  # noqa: BLE001 - a timeout of the task, a kill: it is raised as it is
            raise base.strip_traceback(error) from None
        else:
            return responses.parse(request, response, settings)
        raise lost  # out here, for the library's error holds the request, and that the token

    @staticmethod
    def _exchange(request: Request[Any], session: Session) -> HTTPResponse:
        settings = session.settings
        with session.request(
            request.method,
            settings.api_url + request.path,
            params=dict(request.params),
            json=request.json,
            # Of a host with two addresses the first may be dead.
            timeout=Timeout(connect=settings.timeout * base.CONNECT_SHARE, total=settings.timeout),  # type: ignore[arg-type] # which requests takes
            allow_redirects=False,
            stream=True,
        ) as response:
            limit = responses.body_limit(response.status_code)
            body = bytearray()
            while len(body) < limit and (chunk := response.raw.read(limit - len(body), decode_content=False)):
                body += chunk
            return HTTPResponse.received(response.status_code, response.headers, bytes(body), settings.token)


def _was_sent(error: Exception) -> bool:
    """Tell whether the request may have reached Census; not so if no connection came about."""
    if isinstance(error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)):
        return False
    reason = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    if isinstance(reason, ProxyError):
        # urllib3 also says so if the connection breaks later on, behind a proxy that was reached.
        reason = reason.original_error
        if "Tunnel connection failed" in str(reason):
            return False
    if isinstance(reason, (NewConnectionError, ConnectTimeoutError)):
        return False
    inner = base.innermost(error)
    # The certificate of Census is not trusted, or the authorities to trust cannot be read.
    return not isinstance(inner, ssl.SSLCertVerificationError) and getattr(inner, "library", "") != "X509"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of a worker: ``requests``, one kept-alive connection for a hook."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from tenacity import Retrying
from urllib3 import Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError

from airflow_provider_census.api import responses
from airflow_provider_census.api.responses import HTTPResponse
from airflow_provider_census.api.versions import adapt
from airflow_provider_census.exceptions import CensusAuthError
from airflow_provider_census.transports import base
from airflow_provider_census.transports.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request, Response
    from airflow_provider_census.api.settings import Settings

T = TypeVar("T")


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
        self.settings = settings
        self._process = os.getpid()
        self._session = Session()
        self._session.headers["Authorization"] = f"Bearer {settings.token}"
        self._session.verify = base.ca_bundle()
        proxy = base.proxy(settings.base_url)
        self._session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._retry_policy = base.retry_policy(settings, self._log)

    def send(self, request: Request[T]) -> Response[T]:
        """
        Send a request, again if it failed in a way that may pass, and parse the response.

        :raises CensusApiError: if Census responds with an error, or with what is no response to the request.
        :raises CensusConnectionError: if no complete response arrives.
        """
        try:
            return self._send(request)
        except CensusAuthError as error:
            if error.status_code != 401 or not self._renew():
                raise
        return self._send(request)

    def _send(self, request: Request[T]) -> Response[T]:
        settings = self.settings
        adapted = adapt(request, settings.api_version, settings.group_id)
        return Retrying(**self._retry_policy)(self._send_once, adapted)

    def _renew(self) -> bool:
        """Read the connection again, for its token may be a new one; tell whether it is."""
        if self._read_connection is None:
            return False
        try:
            settings = self._read_connection()
        except Exception as error:  # noqa: BLE001 - whatever a secrets backend fails with
            self._log.warning("%s %r", base.STILL_COUNTS, error)
            return False
        if settings == self.settings:
            return False
        self._open(settings)
        return True

    def _send_once(self, request: Request[T]) -> Response[T]:
        try:
            response = self._exchange(request)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            lost = base.lost_response(request, self.settings, error, sent=_was_sent(error))
        except BaseException as error:  # noqa: BLE001 - a timeout of the task, a kill: it is raised as it is
            raise base.bare(error) from None
        else:
            return responses.parse(request, response, self.settings)
        raise lost  # out here, for the library's error holds the request, and that the token

    def _exchange(self, request: Request[Any]) -> HTTPResponse:
        if self._process != os.getpid():  # on the sockets from before a fork each would get others' responses
            self._open(self.settings)
        with self._session.request(
            request.method,
            self.settings.api_url + request.path,
            params=dict(request.params),
            json=request.json,
            timeout=Timeout(total=self.settings.timeout),  # type: ignore[arg-type] # which requests takes
            allow_redirects=False,
            stream=True,
        ) as response:
            limit = responses.body_limit(response.status_code)
            body = bytearray()
            while len(body) < limit and (chunk := response.raw.read(limit - len(body), decode_content=False)):
                body += chunk
            return HTTPResponse.received(
                response.status_code, response.headers, bytes(body), self.settings.token
            )


def _was_sent(error: Exception) -> bool:
    """Tell whether the request may have reached Census; not so if no connection came about."""
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

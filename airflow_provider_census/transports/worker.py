# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of a worker: ``requests``, one kept-alive connection for a hook."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase
from tenacity import Retrying
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError

from airflow_provider_census import transports
from airflow_provider_census.api import responses
from airflow_provider_census.api.connection import Settings
from airflow_provider_census.api.flows import Answer, Log
from airflow_provider_census.api.request import Request
from airflow_provider_census.api.responses import Reply
from airflow_provider_census.exceptions import CensusAuthError

T = TypeVar("T")


class BearerAuth(AuthBase):
    """Put the token on a request; an explicit auth object, which no ``.netrc`` can replace."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class WorkerTransport:
    """
    Send requests from a worker.

    :param settings: where Census is.
    :param log: where retries are told.
    :param look_up: looks the connection up again when Census rejects its token.
    """

    def __init__(self, settings: Settings, log: Log, look_up: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self._log = log
        self._look_up = look_up
        self._session = requests.Session()
        self._session.headers["User-Agent"] = transports.user_agent()
        self._session.auth = BearerAuth(settings.token)
        self._session.verify = transports.ca_bundle()

    def send(self, request: Request[T]) -> Answer[T]:
        """
        Send a request, again if it failed in a way that may pass, and read its answer.

        :raises CensusApiError: if Census answers with an error, or with what is no answer.
        :raises CensusConnectionError: if no complete answer arrives.
        """
        try:
            return self._send(request)
        except CensusAuthError as error:
            if error.status_code != 401 or not self._renewed():
                raise
        return self._send(request)

    def _send(self, request: Request[T]) -> Answer[T]:
        retrying = Retrying(**transports.retry_policy(request, self.settings, self._log))
        return retrying(self._send_once, self.settings.adapt(request))

    def _renewed(self) -> bool:
        """Look the connection up again, for its token may be a new one; tell whether it is."""
        if self._look_up is None:
            return False
        try:
            settings = self._look_up()
        except Exception as error:  # noqa: BLE001 - whatever a secrets backend fails with
            self._log.warning("Cannot look the connection up; what it said before still counts. %r", error)
            return False
        if settings == self.settings:
            return False
        self.settings = settings
        self._session.auth = BearerAuth(settings.token)
        return True

    def _send_once(self, request: Request[T]) -> Answer[T]:
        try:
            reply = self._exchange(request)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            lost = transports.lost(request, self.settings, error, sent=_sent(error))
        else:
            return Answer(
                responses.read(request, reply, self.settings.token, self.settings.hints), reply.date
            )
        raise lost  # out here, for the library's error holds the request, and that the token

    def _exchange(self, request: Request[Any]) -> Reply:
        deadline = time.monotonic() + self.settings.timeout
        with self._session.request(
            request.method,
            self.settings.api_url + request.path,
            params=dict(request.params),
            json=request.json,
            timeout=self.settings.timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            most = responses.LONGEST_ANSWER if response.ok else transports.LONGEST_ERROR
            body = bytearray()
            # What has arrived, not a full chunk, which an answer that drips fills too late; urllib3 1 waits.
            read = getattr(response.raw, "read1", response.raw.read)
            while len(body) <= most and (chunk := read(transports.CHUNK, decode_content=True)):
                body += chunk
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout("the answer takes too long")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status_code, headers, bytes(body))


def _sent(error: Exception) -> bool:
    """Tell whether the request may have reached Census; not so if no connection came about."""
    reason = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    if isinstance(reason, ProxyError):
        # urllib3 also says so if the connection breaks later on, behind a proxy that was reached.
        reason = reason.original_error
        if "Tunnel connection failed" in str(reason):
            return False
    return not isinstance(reason, (NewConnectionError, ConnectTimeoutError)) and not isinstance(
        transports.innermost(error), ssl.SSLCertVerificationError
    )

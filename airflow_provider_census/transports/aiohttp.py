# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of the triggerer: ``aiohttp``, on its event loop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from tenacity import AsyncRetrying
from yarl import URL

from airflow_provider_census.api import encodings, responses, retries
from airflow_provider_census.api.responses import HTTPResponse
from airflow_provider_census.api.versions import adapt, may_be_outdated
from airflow_provider_census.exceptions import CensusApiError, CensusConfigError
from airflow_provider_census.transports import base
from airflow_provider_census.transports.pace import Pace, shared_pace
from airflow_provider_census.transports.shared_client import SharedClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request, Response
    from airflow_provider_census.api.settings import Settings

T = TypeVar("T")

NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)

READ_CONNECTION_TIMEOUT = 30.0
"""Seconds that a request whose token was rejected waits for the connection to be read again."""


class Credentials:
    """
    What an Airflow connection says, and what follows from it for each request.

    :param client: the sockets to where it leads.
    :param proxy: through which they lead there.
    """

    def __init__(self, settings: Settings, client: SharedClient, proxy: str | None) -> None:
        self.settings = settings
        self.client = client
        self.proxy = proxy
        # Not headers of the session, for aiohttp shows those to the proxy too.
        self.headers = {"Accept-Encoding": encodings.ACCEPTED, "Authorization": f"Bearer {settings.token}"}
        self.timeout = aiohttp.ClientTimeout(total=settings.timeout)


class AiohttpTransport:
    """
    Send requests on an event loop, over the sockets that all who connect to the same Census share there.

    To be used as an asynchronous context manager, which lets go of the sockets.

    :param read_connection: reads the connection, at the first request and when Census rejects its token.
    :param log: where retries are reported.
    :param settings: what the connection says, if it has been read.
    :param conn_id: id of the connection, all users of which keep the same pace.
    :param shared: ``False`` for sockets and a pace of its own.
    :ivar pace: when it may send a request.
    """

    def __init__(
        self,
        read_connection: Callable[[], Awaitable[Settings]],
        log: Log,
        settings: Settings | None = None,
        *,
        conn_id: str,
        shared: bool = True,
    ) -> None:
        self._read_connection = read_connection
        self._log = log
        self._known = settings
        self._shared = shared
        self._credentials: Credentials | None = None
        self._clients: list[SharedClient] = []
        self.pace = shared_pace(conn_id) if shared else Pace()

    async def __aenter__(self) -> AiohttpTransport:
        """Open nothing yet, but be counted."""
        self.pace.waits += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the sockets; the last one who does closes them."""
        self.pace.waits -= 1
        async with AsyncExitStack() as leaving:
            for client in self._clients:
                leaving.push_async_callback(client.leave)

    async def settings(self) -> Settings:
        """
        Give what the connection says, read at first use, and connect to where it leads.

        :raises Exception: whatever it cannot be read for.
        """
        if self._credentials is None:
            self._credentials = await self._credentials_for(self._known or await self._read_connection())
        return self._credentials.settings

    async def send(self, request: Request[T]) -> Response[T]:
        """
        Send a request, again if it failed in a way that may pass, and parse the response.

        :raises CensusApiError: if Census responds with an error, or with what is no response to the request.
        :raises CensusConnectionError: if no complete response arrives.
        """
        if self._credentials is None:
            await self.settings()
        credentials = self._credentials
        assert credentials is not None
        try:
            return await self._send(request, credentials)
        except CensusApiError as error:
            if not may_be_outdated(error.status_code, credentials.settings.api_version):
                raise
            renewed = await self._renew(credentials)
            if renewed is credentials:
                raise
        return await self._send(request, renewed)

    async def _credentials_for(self, settings: Settings) -> Credentials:
        known, proxy = self._credentials, base.proxy(settings.base_url)
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            raise CensusConfigError(
                f"the proxy that the environment names for {settings.base_url} is a "
                f"{proxy.partition(':')[0]} one, which the triggerer cannot use: name an http one, or set "
                "deferrable=False"
            )
        if known is not None and (known.settings.base_url, known.proxy) == (settings.base_url, proxy):
            client = known.client
        else:
            client = await SharedClient.join(settings.base_url, proxy, shared=self._shared)
            self._clients.append(client)
        self.pace.max_requests_per_minute = settings.max_requests_per_minute
        return Credentials(settings, client, proxy)

    async def _renew(self, rejected: Credentials) -> Credentials:
        """Read the connection again, for its token may be a new one."""
        if rejected is self._credentials:
            try:
                settings = await asyncio.wait_for(self._read_connection(), READ_CONNECTION_TIMEOUT)
                if settings != rejected.settings:
                    self._credentials = await self._credentials_for(settings)
            except Exception as error:  # noqa: BLE001 - whatever a secrets backend fails with
                self._log.warning(base.KEEPING_SETTINGS, rejected.settings.connection_id, error)
        return self._credentials or rejected

    def _send(self, request: Request[T], credentials: Credentials) -> Awaitable[Response[T]]:
        settings = credentials.settings
        adapted = adapt(request, settings.api_version, settings.group_id)
        if not request.retry:
            return self._send_once(adapted, credentials)
        retrying = AsyncRetrying(**base.retry_policy(settings, self._log))
        return retrying(self._send_once, adapted, credentials)

    async def _send_once(self, request: Request[T], credentials: Credentials) -> Response[T]:
        settings, client = credentials.settings, credentials.client
        try:
            await self.pace.acquire_slot(client.slots)
            try:
                response = await self._exchange(request, credentials)
            finally:
                client.slots.release()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            sent = not isinstance(error, NEVER_CONNECTED)
            lost = base.lost_response(request, settings, error, sent=sent)
        except BaseException as error:  # noqa: BLE001 - a timeout of the task, a kill: it is raised as it is
            raise base.strip_traceback(error) from None
        else:
            try:
                return responses.parse(request, response, settings)
            except CensusApiError as error:
                if error.retry_after is not None and retries.not_processed(error):
                    self.pace.hold(retries.backoff(1, error))
                raise
        raise lost  # out here, for the library's error holds the request, and that the token

    async def _exchange(self, request: Request[Any], credentials: Credentials) -> HTTPResponse:
        settings = credentials.settings
        async with credentials.client.session.request(
            request.method,
            URL(settings.api_url + request.path, encoded=True),
            params={name: str(value) for name, value in request.params.items()},
            json=request.json,
            headers=credentials.headers,
            allow_redirects=False,
            auto_decompress=False,
            proxy=credentials.proxy,
            timeout=credentials.timeout,
        ) as response:
            limit = responses.body_limit(response.status)
            body = bytearray()
            while len(body) < limit and not response.content.at_eof():
                body += await response.content.readany()
            received = response.headers
            headers = {
                name: ", ".join(received.getall(name)) for name in responses.HEADERS if name in received
            }
            return HTTPResponse.received(response.status, headers, bytes(body[:limit]), settings.token)

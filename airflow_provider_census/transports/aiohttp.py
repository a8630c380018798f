# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of the triggerer: ``aiohttp``, on its event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from tenacity import AsyncRetrying
from yarl import URL

from airflow_provider_census.api import encodings, responses
from airflow_provider_census.api.responses import HTTPResponse
from airflow_provider_census.api.versions import adapt
from airflow_provider_census.exceptions import CensusAuthError
from airflow_provider_census.transports import base
from airflow_provider_census.transports.shared_client import shared_client as shared_client

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request, Response
    from airflow_provider_census.api.settings import Settings
    from airflow_provider_census.transports.shared_client import Credentials, SharedClient

T = TypeVar("T")

NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)


class AiohttpTransport:
    """
    Send requests on an event loop, through the client that all users of the same connection share there.

    :param client: the client.
    :param log: where retries are reported.
    """

    def __init__(self, client: SharedClient, log: Log) -> None:
        self._client = client
        self._log = log

    async def settings(self) -> Settings:
        """
        Give what the connection says.

        :raises Exception: whatever it cannot be read for.
        """
        return (await self._client.credentials()).settings

    async def send(self, request: Request[T]) -> Response[T]:
        """
        Send a request, again if it failed in a way that may pass, and parse the response.

        :raises CensusApiError: if Census responds with an error, or with what is no response to the request.
        :raises CensusConnectionError: if no complete response arrives.
        """
        credentials = await self._client.credentials()
        try:
            return await self._send(request, credentials)
        except CensusAuthError as error:
            if error.status_code != 401:
                raise
            renewed = await self._client.renew(credentials, self._log)
            if renewed is credentials:
                raise
        return await self._send(request, renewed)

    def _send(self, request: Request[T], credentials: Credentials) -> Awaitable[Response[T]]:
        settings = credentials.settings
        adapted = adapt(request, settings.api_version, settings.group_id)
        if not request.retry:
            return self._send_once(adapted, credentials)
        retrying = AsyncRetrying(**base.retry_policy(settings, self._log))
        return retrying(self._send_once, adapted, credentials)

    async def _send_once(self, request: Request[T], credentials: Credentials) -> Response[T]:
        settings = credentials.settings
        try:
            response = await self._exchange(request, credentials)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            sent = not isinstance(error, NEVER_CONNECTED)
            lost = base.lost_response(request, settings, error, sent=sent)
        else:
            return responses.parse(request, response, settings.hints)
        raise lost  # out here, for the library's error holds the request, and that the token

    async def _exchange(self, request: Request[Any], credentials: Credentials) -> HTTPResponse:
        settings = credentials.settings
        async with (
            self._client.slots,
            self._client.session.request(
                request.method,
                URL(settings.api_url + request.path, encoded=True),
                params={name: str(value) for name, value in request.params.items()},
                json=request.json,
                headers={"Accept-Encoding": encodings.ACCEPTED, **credentials.headers},
                allow_redirects=False,
                auto_decompress=False,
                proxy=credentials.proxy,
                timeout=credentials.timeout,
            ) as response,
        ):
            limit = responses.body_limit(response.status)
            body = bytearray()
            while len(body) < limit and not response.content.at_eof():
                body += await response.content.readany()
            headers = {
                name.lower(): ", ".join(response.headers.getall(name)) for name in set(response.headers)
            }
            return HTTPResponse.received(response.status, headers, bytes(body[:limit]), settings.token)

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of the triggerer: ``aiohttp``, on its event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any, TypeVar

import aiohttp
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from tenacity import AsyncRetrying
from yarl import URL

from airflow_provider_census import transports
from airflow_provider_census.api import responses
from airflow_provider_census.api.connection import Settings
from airflow_provider_census.api.flows import Answer, Log
from airflow_provider_census.api.request import Request
from airflow_provider_census.api.responses import Reply
from airflow_provider_census.exceptions import CensusConfigError

T = TypeVar("T")

NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)


class TriggererTransport:
    """
    Send requests on an event loop; open it with :meth:`open` and end it with :meth:`close`.

    :param settings: where Census is.
    :param log: where retries are told.
    """

    def __init__(
        self, settings: Settings, log: Log, session: aiohttp.ClientSession, proxy: URL | None
    ) -> None:
        self.settings = settings
        self._log = log
        self._session = session
        self._proxy = proxy
        # Not a header of the session, for aiohttp shows those to the proxy too.
        self._headers = {"Authorization": f"Bearer {settings.token}"}

    @classmethod
    async def open(cls, settings: Settings, log: Log) -> TriggererTransport:
        """Open a transport; reading the certificate authorities takes too long for the loop itself."""
        proxy = _proxy(settings.base_url)
        context = await asyncio.to_thread(_ssl_context, transports.ca_bundle())
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": transports.user_agent()},
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
        )
        return cls(settings, log, session, proxy)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, request: Request[T]) -> Answer[T]:
        """
        Send a request, again if it failed in a way that may pass, and read its answer.

        :raises CensusApiError: if Census answers with an error, or with what is no answer.
        :raises CensusConnectionError: if no complete answer arrives.
        """
        retrying = AsyncRetrying(**transports.retry_policy(request, self.settings, self._log))
        return await retrying(self._send_once, self.settings.adapt(request))

    async def _send_once(self, request: Request[T]) -> Answer[T]:
        try:
            reply = await self._exchange(request)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            sent = not isinstance(error, NEVER_CONNECTED)
            lost = transports.lost(request, self.settings, error, sent=sent)
        else:
            return Answer(
                responses.read(request, reply, self.settings.token, self.settings.hints), reply.date
            )
        raise lost  # out here, for the library's error holds the request, and that the token

    async def _exchange(self, request: Request[Any]) -> Reply:
        async with self._session.request(
            request.method,
            URL(self.settings.api_url + request.path, encoded=True),
            params={name: str(value) for name, value in request.params.items()},
            json=request.json,
            headers=self._headers,
            allow_redirects=False,
            proxy=self._proxy,
        ) as response:
            most = responses.LONGEST_ANSWER if response.ok else transports.LONGEST_ERROR
            body = bytearray()
            async for chunk in response.content.iter_chunked(transports.CHUNK):
                body += chunk
                if len(body) > most:
                    break
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, headers, bytes(body))


def _proxy(base_url: str) -> URL | None:
    """
    Find the proxy of the environment.

    Asked of requests rather than of aiohttp, whose trust_env would also let a .netrc replace the token.
    """
    proxy = select_proxy(base_url, get_environ_proxies(base_url))
    try:
        return URL(prepend_scheme_if_needed(proxy, "http")) if proxy else None  # type: ignore[no-untyped-call]
    except ValueError:
        raise CensusConfigError(f"the proxy that the environment names for {base_url} is no URL") from None


def _ssl_context(ca_bundle: str) -> ssl.SSLContext:
    try:
        if os.path.isdir(ca_bundle):
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise CensusConfigError(f"the authorities in {ca_bundle} cannot be read: {error}") from error

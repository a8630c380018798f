# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of the triggerer: ``aiohttp``, on its event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

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

MOST_CONNECTIONS = 100
"""Connections at the same time to one Census, however many wait for it."""

NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)


@dataclass
class Pool:
    """
    The connections of an event loop to one Census.

    :ivar session: what holds them, as soon as it is open.
    :ivar users: how many transports use it.
    """

    session: asyncio.Future[aiohttp.ClientSession]
    users: int = 0

    async def close(self) -> None:
        """Close the connections, or never open them."""
        if self.session.cancel() or self.session.cancelled() or self.session.exception():
            return
        await self.session.result().close()


POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, Pool]] = WeakKeyDictionary()


class TriggererTransport:
    """
    Send requests on an event loop, over connections that all users of the same Census share there.

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
    @asynccontextmanager
    async def open(cls, settings: Settings, log: Log) -> AsyncIterator[TriggererTransport]:
        """Open a transport; the last one of an event loop to end closes the connections."""
        proxy = _proxy(settings.base_url)
        pools = POOLS.setdefault(asyncio.get_running_loop(), {})
        pool = pools.get(settings)
        if pool is None:
            pool = pools[settings] = Pool(asyncio.ensure_future(_session(settings)))
        pool.users += 1
        try:
            yield cls(settings, log, await asyncio.shield(pool.session), proxy)
        finally:
            pool.users -= 1
            if not pool.users:
                del pools[settings]
                await pool.close()

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


async def _session(settings: Settings) -> aiohttp.ClientSession:
    """Open a session; reading the certificate authorities takes too long for the loop itself."""
    context = await asyncio.to_thread(_ssl_context, transports.ca_bundle())
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=MOST_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": transports.user_agent()},
        timeout=aiohttp.ClientTimeout(total=settings.timeout),
    )


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

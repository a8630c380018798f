# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of the triggerer: ``aiohttp``, on its event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
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
from airflow_provider_census.exceptions import CensusAuthError, CensusConfigError

T = TypeVar("T")

MOST_CONNECTIONS = 100
"""Connections at the same time to one Census, however many wait for it."""

KEPT_ALIVE = 30.0
"""Seconds that a connection is kept after a request: more than our own pauses, less than servers keep one."""

FRESH = 300.0
"""Seconds after which a connection of Airflow is looked up again, for its token may be a new one."""

VAIN = 2.0
"""Seconds for which a look-up that brought nothing new answers for others that follow."""

LOOK_UP_TIME = 30.0
"""Seconds that a request whose token was rejected waits for a look-up."""

NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)


class Access:
    """
    What a connection of Airflow says, and what follows from it for each request.

    :raises CensusConfigError: if the proxy of the environment is none.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.proxy = _proxy(settings.base_url)
        # Not a header of the session, for aiohttp shows those to the proxy too.
        self.headers = {"Authorization": f"Bearer {settings.token}"}
        self.timeout = aiohttp.ClientTimeout(total=settings.timeout)


class Line:
    """
    What all users of a connection of Airflow share on an event loop: what it says, and the way to Census.

    It is looked up once for all of them, again when Census rejects the token, and every five minutes.

    :param look_up: looks the connection up in Airflow.
    :param known: what it says, if somebody has looked already.
    :ivar session: what holds the connections to Census, as soon as it is open.
    :ivar turn: waiting for a connection that is free, which counts for no request's timeout.
    :ivar users: how many transports use it.
    """

    def __init__(self, look_up: Callable[[], Awaitable[Settings]], known: Settings | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._look_up = look_up
        self._access = None if known is None else Access(known)
        self._looking: asyncio.Task[None] | None = None
        self._look_again_at = 0.0
        self._stale_at = self._loop.time() + FRESH
        self.session = asyncio.ensure_future(_session())
        self.turn = asyncio.Semaphore(MOST_CONNECTIONS)
        self.users = 0

    async def access(self, log: Log) -> Access:
        """
        Tell what the connection says; what it said last counts while it is looked up again.

        :raises Exception: whatever it could not be looked up for, unless it ever could.
        """
        while self._access is None:
            await asyncio.shield(self._look(log))
        if self._loop.time() >= self._stale_at:
            self._look(log)
        return self._access

    async def renewed(self, rejected: Access, log: Log) -> Access:
        """Tell what the connection says after Census rejected a token, looking it up once for all users."""
        if rejected is self._access:
            await asyncio.wait({self._look(log)}, timeout=LOOK_UP_TIME)
        return self._access or rejected

    def _look(self, log: Log) -> asyncio.Task[None]:
        """Look the connection up, unless somebody does, or just did in vain."""
        if self._looking is None or (self._looking.done() and self._loop.time() >= self._look_again_at):
            self._looking = asyncio.create_task(self._look_once(log))
        return self._looking

    async def _look_once(self, log: Log) -> None:
        news = False
        try:
            access = Access(await self._look_up())
            news = self._access is None or access.settings != self._access.settings
            if news:
                self._access = access
        except Exception as error:
            if self._access is None:
                raise
            log.warning("Cannot look the connection up; what it said before still counts. %r", error)
        finally:
            now = self._loop.time()
            self._stale_at = now + FRESH
            self._look_again_at = now if news else now + VAIN

    async def close(self) -> None:
        """Close the connections, or never open them."""
        if self._looking is not None:
            self._looking.cancel()
        if self.session.cancel() or self.session.cancelled() or self.session.exception():
            return
        await self.session.result().close()


LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Line]] = WeakKeyDictionary()


class TriggererTransport:
    """
    Send requests on an event loop, over a line that all users of the same connection share there.

    :param line: the line.
    :param session: what holds its connections.
    :param log: where retries are told.
    """

    def __init__(self, line: Line, session: aiohttp.ClientSession, log: Log) -> None:
        self._line = line
        self._session = session
        self._log = log
        self._latest: tuple[Request[Any], Access, Request[Any], URL] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        name: Hashable,
        look_up: Callable[[], Awaitable[Settings]],
        log: Log,
        known: Settings | None = None,
    ) -> AsyncIterator[TriggererTransport]:
        """
        Open a transport; the last one of a line to end closes its connections.

        :param name: what the lines of an event loop are told apart by.
        :param look_up: looks the connection up in Airflow.
        :param known: what it says, if somebody has looked already.
        """
        for known_loop in LINES.keyrefs():  # other threads may do the same
            ended = known_loop()
            if ended is not None and ended.is_closed():  # amid its work
                LINES.pop(ended, None)
        lines = LINES.setdefault(asyncio.get_running_loop(), {})
        line = lines.get(name)
        if line is None:
            line = lines[name] = Line(look_up, known)
        line.users += 1
        try:
            yield cls(line, await asyncio.shield(line.session), log)
        finally:
            line.users -= 1
            if not line.users:
                del lines[name]
                await line.close()

    async def settings(self) -> Settings:
        """
        Tell what the connection says.

        :raises Exception: whatever it cannot be looked up for.
        """
        return (await self._line.access(self._log)).settings

    async def send(self, request: Request[T]) -> Answer[T]:
        """
        Send a request, again if it failed in a way that may pass, and read its answer.

        :raises CensusApiError: if Census answers with an error, or with what is no answer.
        :raises CensusConnectionError: if no complete answer arrives.
        """
        access = await self._line.access(self._log)
        try:
            return await self._send(request, access)
        except CensusAuthError as error:
            renewed = await self._line.renewed(access, self._log) if error.status_code == 401 else access
            if renewed is access:
                raise
        return await self._send(request, renewed)

    def _send(self, request: Request[T], access: Access) -> Awaitable[Answer[T]]:
        adapted, url = self._address(request, access)
        if request.once:
            return self._send_once(adapted, url, access)
        retrying = AsyncRetrying(**transports.retry_policy(request, access.settings, self._log))
        return retrying(self._send_once, adapted, url, access)

    def _address(self, request: Request[T], access: Access) -> tuple[Request[T], URL]:
        """Put a request in the terms of the API's version; once, for a wait sends the same one many times."""
        if self._latest is None or self._latest[0] is not request or self._latest[1] is not access:
            adapted = access.settings.adapt(request)
            url = URL(access.settings.api_url + adapted.path, encoded=True)
            self._latest = request, access, adapted, url
        return self._latest[2], self._latest[3]

    async def _send_once(self, request: Request[T], url: URL, access: Access) -> Answer[T]:
        settings = access.settings
        try:
            reply = await self._exchange(request, url, access)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            sent = not isinstance(error, NEVER_CONNECTED)
            lost = transports.lost(request, settings, error, sent=sent)
        else:
            return Answer(responses.read(request, reply, settings.token, settings.hints), reply.date)
        raise lost  # out here, for the library's error holds the request, and that the token

    async def _exchange(self, request: Request[Any], url: URL, access: Access) -> Reply:
        async with (
            self._line.turn,
            self._session.request(
                request.method,
                url,
                params={name: str(value) for name, value in request.params.items()},
                json=request.json,
                headers=access.headers,
                allow_redirects=False,
                proxy=access.proxy,
                timeout=access.timeout,
            ) as response,
        ):
            most = responses.LONGEST_ANSWER if response.ok else transports.LONGEST_ERROR
            body = bytearray()
            while len(body) <= most and not response.content.at_eof():
                body += await response.content.readany()
            return Reply(response.status, response.headers, bytes(body))


async def _session() -> aiohttp.ClientSession:
    """Open a session; reading the certificate authorities takes too long for the loop itself."""
    context = await asyncio.to_thread(_ssl_context, transports.ca_bundle())
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=MOST_CONNECTIONS, keepalive_timeout=KEPT_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": transports.user_agent()},
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

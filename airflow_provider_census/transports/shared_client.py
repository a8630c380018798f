# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What all waits of a connection share on an event loop: its credentials, and the sockets to Census."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

import aiohttp
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from yarl import URL

from airflow_provider_census.exceptions import CensusConfigError
from airflow_provider_census.transports import base

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.settings import Settings

T = TypeVar("T")

MAX_CONNECTIONS = 100
"""Connections at the same time to one Census, however many wait for it."""

KEEP_ALIVE = 30.0
"""Seconds that a connection is kept after a request: more than our own delays, less than servers keep one."""

READ_CONNECTION_TIMEOUT = 30.0
"""Seconds that a request whose token was rejected waits for the connection to be read again."""


class Credentials:
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


class SharedClient:
    """
    What all users of a connection share on an event loop.

    The connection is read once for all of them, and again when Census rejects the token.

    :param read_connection: reads it from Airflow.
    :param settings: what it says, if somebody has read it already.
    :ivar opening: opens what holds the sockets to Census.
    :ivar slots: waiting for a free socket, which counts for no request's timeout.
    :ivar refcount: how many transports use it.
    """

    def __init__(self, read_connection: Callable[[], Awaitable[Settings]], settings: Settings | None) -> None:
        self._read_connection = read_connection
        self._credentials = None if settings is None else Credentials(settings)
        self._reading: asyncio.Task[None] | None = None
        self.opening = asyncio.create_task(_open_session())
        self.slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self.refcount = 0

    async def credentials(self) -> Credentials:
        """
        Give what the connection says.

        :raises Exception: whatever it could not be read for.
        """
        while self._credentials is None:
            await _result(self._read())
        return self._credentials

    async def renew(self, rejected: Credentials, log: Log) -> Credentials:
        """Give what the connection says after Census rejected a token, reading it once for all users."""
        if rejected is self._credentials:
            done, _ = await asyncio.wait({self._read()}, timeout=READ_CONNECTION_TIMEOUT)
            error = next((task.exception() for task in done if not task.cancelled()), None)
            if error is not None:
                log.warning("Cannot read the connection again; what it said before still counts. %r", error)
        return self._credentials or rejected

    def _read(self) -> asyncio.Task[None]:
        """Read the connection, unless somebody is reading it."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_once())
            # Who waits for it may leave before it fails; asyncio reports an exception that nobody asks for.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._reading

    async def _read_once(self) -> None:
        credentials = Credentials(await self._read_connection())
        if self._credentials is None or credentials.settings != self._credentials.settings:
            self._credentials = credentials

    @property
    def session(self) -> aiohttp.ClientSession:
        """What holds the sockets to Census."""
        return self.opening.result()

    async def close(self) -> None:
        """Close the sockets, or never open them."""
        if self._reading is not None:
            self._reading.cancel()
        if self.opening.cancel() or self.opening.cancelled() or self.opening.exception():
            return
        await self.session.close()


CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, SharedClient]] = WeakKeyDictionary()
"""The clients that are in use, by event loop."""


@asynccontextmanager
async def shared_client(
    name: Hashable,
    read_connection: Callable[[], Awaitable[Settings]],
    settings: Settings | None = None,
) -> AsyncIterator[SharedClient]:
    """
    Use the client of that name; the last user of it closes its sockets.

    :param name: what the clients of an event loop are told apart by.
    :param read_connection: reads the connection from Airflow.
    :param settings: what it says, if somebody has read it already.
    """
    for reference in CLIENTS.keyrefs():  # other threads may do the same
        loop = reference()
        if loop is not None and loop.is_closed():  # amid its work
            CLIENTS.pop(loop, None)
    clients = CLIENTS.setdefault(asyncio.get_running_loop(), {})
    client = clients.get(name)
    if client is None:
        client = clients[name] = SharedClient(read_connection, settings)
    client.refcount += 1
    try:
        await _result(client.opening)
        yield client
    finally:
        client.refcount -= 1
        if not client.refcount:
            del clients[name]
            await client.close()


async def _result(task: asyncio.Task[T]) -> T:
    """Wait for a task that others wait for, too; to be cancelled meanwhile does not cancel it."""
    await asyncio.wait({task})
    return task.result()


async def _open_session() -> aiohttp.ClientSession:
    """Open a session; reading the certificate authorities takes too long for the loop itself."""
    context = await asyncio.to_thread(_ssl_context, base.ca_bundle())
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": base.user_agent()},
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

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What all waits on an event loop share that connect to the same Census: the sockets."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import aiohttp

from airflow_provider_census.exceptions import CensusConfigError
from airflow_provider_census.transports import base
from airflow_provider_census.utils.loops import ByLoop, of_this_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MAX_CONNECTIONS = 100
"""Connections at the same time to one Census, however many wait for it."""

KEEP_ALIVE = 30.0
"""Seconds that a connection is kept after a request: more than our own delays, less than servers keep one."""


class SharedClient:
    """
    The sockets to one Census, through one proxy.

    No token is among what they share: each request brings its own.

    :param ca_bundle: the certificate authorities to trust.
    :param forget: called when nobody uses it any more.
    :ivar session: what holds the sockets.
    :ivar slots: acquired for a socket, before the timeout of a request begins.
    """

    session: aiohttp.ClientSession

    def __init__(self, ca_bundle: str, forget: Callable[[], object]) -> None:
        self.slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._opening = asyncio.create_task(_open_session(ca_bundle))
        self._forget = forget
        self._refcount = 0

    @classmethod
    async def join(cls, base_url: str, proxy: str | None, *, shared: bool = True) -> SharedClient:
        """
        Begin to use the client for a host; to be left once.

        :param proxy: through which it is reached.
        :param shared: ``False`` for a client that nobody else uses.
        :raises CensusConfigError: if the certificate authorities to trust cannot be read.
        """
        ca_bundle = base.ca_bundle()
        name = (base_url, proxy, ca_bundle) if shared else object()
        clients = of_this_loop(CLIENTS)
        client = clients.get(name)
        if client is None:
            client = clients[name] = cls(ca_bundle, functools.partial(clients.pop, name))
        client._refcount += 1
        try:
            if not client._opening.done():
                await asyncio.wait({client._opening})  # to be cancelled meanwhile takes it from nobody
            client.session = client._opening.result()
        except BaseException:
            await client.leave()
            raise
        return client

    async def leave(self) -> None:
        """Use it no more; the last user closes the sockets, or they are never opened."""
        self._refcount -= 1
        if self._refcount:
            return
        self._forget()
        if self._opening.get_loop().is_closed():
            return  # amid a request, whose coroutine is being collected: nobody can await anything any more
        if self._opening.cancel() or self._opening.cancelled() or self._opening.exception():
            return
        await self._opening.result().close()


CLIENTS: ByLoop[Hashable, SharedClient] = WeakKeyDictionary()
"""The clients that are in use, by event loop, and by what they connect to."""


class NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookie, and reads none: before 3.14.4, ``aiohttp`` logs the name of one that is malformed."""

    def update_cookies_from_headers(self, *_: object) -> None:
        """Leave the headers as they are."""


async def _open_session(ca_bundle: str) -> aiohttp.ClientSession:
    """Open a session; reading the certificate authorities takes too long for the loop itself."""
    context = await asyncio.to_thread(_ssl_context, ca_bundle)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE),
        cookie_jar=NoCookies(),
        headers={"User-Agent": base.user_agent()},
    )


def _ssl_context(ca_bundle: str) -> ssl.SSLContext:
    try:
        if os.path.isdir(ca_bundle):
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise CensusConfigError(f"the authorities in {ca_bundle} cannot be read: {error}") from error

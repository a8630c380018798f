# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What all waits on an event loop share that use one Airflow connection: when they may send a request."""

from __future__ import annotations

import asyncio
import random
from weakref import WeakKeyDictionary

from airflow_provider_census.api import polling
from airflow_provider_census.utils.loops import ByLoop, of_this_loop

RNG = random.Random()


class Pace:
    """
    When the requests of one connection may be sent.

    After a ``Retry-After`` none is sent before its time, whichever request received it; then they come back
    one after the other. A budget of requests per minute lets them go at even distances.

    :ivar waits: how many share it.
    :ivar max_requests_per_minute: the budget; ``None`` for none.
    """

    def __init__(self) -> None:
        self.waits = 0
        self.max_requests_per_minute: int | None = None
        self._now = asyncio.get_running_loop().time
        self._held_until = self._back_at = self._next_at = 0.0
        self._queue = asyncio.Lock()

    def min_interval(self) -> float:
        """Seconds at least between two adaptive polls of one of these waits."""
        return polling.min_interval(self.waits, self.max_requests_per_minute)

    def hold(self, seconds: float) -> None:
        """Send nothing for so long, which Census has asked for."""
        now = self._now()
        self._held_until = max(self._held_until, now + seconds)
        self._back_at = max(self._back_at, now + seconds + polling.return_spread(self.waits, seconds))

    async def acquire_slot(self, slots: asyncio.Semaphore) -> None:
        """
        Wait until a request may be sent.

        :param slots: waiting for a free socket; one is acquired.
        """
        while True:
            if self._now() < self._back_at:
                await self._wait_for_return()
            if self.max_requests_per_minute is not None:
                await self._wait_for_budget(60.0 / self.max_requests_per_minute)
            await slots.acquire()
            if self._now() >= self._held_until:
                return
            slots.release()  # meanwhile, another request received a Retry-After

    async def _wait_for_return(self) -> None:
        held_until = None
        while (now := self._now()) < self._back_at and held_until != self._held_until:
            held_until = self._held_until  # which may be another one afterwards
            await asyncio.sleep(RNG.uniform(max(now, held_until), self._back_at) - now)

    async def _wait_for_budget(self, distance: float) -> None:
        async with self._queue:  # a wait that is cancelled here leaves it to the next one
            await asyncio.sleep(max(0.0, self._next_at - self._now()))
            self._next_at = self._now() + distance


PACES: ByLoop[str, Pace] = WeakKeyDictionary()
"""
The paces, by event loop, and by the id of the Airflow connection.

None is forgotten: what Census asked for counts for who comes next, too.
"""


def shared_pace(conn_id: str) -> Pace:
    """Give the pace of a connection on the running loop."""
    paces = of_this_loop(PACES)
    if conn_id not in paces:
        paces[conn_id] = Pace()
    return paces[conn_id]

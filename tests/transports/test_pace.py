# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A thousand waits on one connection, on real sockets, in a time that does not have to pass."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

import pytest
import virtual_time
from aiohttp import web
from stand_in import Received, Server, data, response

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.polling import JITTER, MAX_POLL_RATE, WaitOptions
from airflow_provider_census.api.responses import HTTPResponse
from airflow_provider_census.api.settings import Settings
from airflow_provider_census.api.waiters import SyncRunWaiter, wait
from airflow_provider_census.exceptions import CensusRateLimitError
from airflow_provider_census.transports import pace
from airflow_provider_census.transports.aiohttp import AiohttpTransport
from airflow_provider_census.transports.driver import adrive
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWEST = 23.0
"""Seconds between two polls of an adaptive wait at most, where no others are."""

log = logging.getLogger(__name__)


@dataclass
class BusyCensus:
    """
    A Census on the event loop of the test, whose clock is that of the loop.

    :ivar lengths: seconds after which a run ends; those that are not in here never do.
    :ivar turned_away: ``Retry-After`` of a request, from its number and the time; ``None`` for a response.
    :ivar requests: when each request came.
    """

    lengths: dict[int, float] = field(default_factory=dict)
    turned_away: Callable[[int, float], int | None] = lambda number, now: None
    requests: list[float] = field(default_factory=list)
    url: str = ""
    here: ClassVar[BusyCensus]

    def __post_init__(self) -> None:
        BusyCensus.here = self

    async def respond(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Respond after a moment: status, headers and body."""
        now = asyncio.get_running_loop().time()
        self.requests.append(now)
        await asyncio.sleep(0.05)
        seconds = self.turned_away(len(self.requests), now)
        if seconds is not None:
            return 429, {"retry-after": str(seconds)}, b'{"message": "busy"}'
        run_id = int(path.rpartition("/")[2])
        has_ended = now >= self.lengths.get(run_id, float("inf"))
        run = {"id": run_id, "sync_id": 52, "status": "completed" if has_ended else "working"}
        return 200, {}, json.dumps({"status": "success", "data": run}).encode()

    async def serve(self) -> web.AppRunner:
        """Begin to listen."""

        async def handler(request: web.Request) -> web.Response:
            status, headers, body = await self.respond(request.path)
            return web.Response(status=status, headers=headers, body=body)

        app = web.Application()
        app.router.add_get("/api/v1/sync_runs/{run_id}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def between(self, first: float, last: float) -> list[float]:
        """The requests of a time span."""
        return [moment for moment in self.requests if first < moment < last]

    def per_second(self, first: float, last: float) -> int:
        """How many requests there were in the busiest second of a time span."""
        return max(Counter(map(int, self.between(first, last))).values())


@pytest.fixture
def without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Respond to requests right where they would go out, for there are many."""

    async def exchange(self: AiohttpTransport, request: Any, credentials: Any) -> HTTPResponse:
        status, headers, body = await BusyCensus.here.respond(request.path)
        return HTTPResponse.received(status, headers, body, credentials.settings.token)

    monkeypatch.setattr(AiohttpTransport, "_exchange", exchange)


async def noticed(
    census: BusyCensus, runs: range, options: WaitOptions, seconds: float, **fields: Any
) -> dict[int, float]:
    """Wait for runs as triggers do, for so many seconds; when the end of each was noticed."""
    loop = asyncio.get_running_loop()
    rng = random.Random(1)
    ended: dict[int, float] = {}

    async def one(run_id: int) -> None:
        transport = AiohttpTransport(read, log, conn_id="census_default")
        async with transport:
            await transport.settings()
            await asyncio.sleep(options.startup_jitter(rng, transport.pace.min_interval()))
            waiter = SyncRunWaiter(run_id, log, loop.time)
            flow = wait(
                waiter,
                replace(options, started=loop.time()),
                now=loop.time,
                rng=rng,
                min_interval=transport.pace.min_interval,
            )
            await adrive(flow, transport.send)
        ended[run_id] = loop.time()

    runner = await census.serve()
    settings = Settings(census.url, "secret-token:pace", **fields)

    async def read() -> Settings:
        return settings

    waiting = [asyncio.create_task(one(run_id)) for run_id in runs]
    done, pending = await asyncio.wait(waiting, timeout=seconds)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
    await runner.cleanup()
    assert {shared.waits for shared in pace.PACES[loop].values()} == {0}
    return ended


@pytest.mark.parametrize("interval", [None, 5.0])
@pytest.mark.usefixtures("without_sockets")
def test_after_retry_after_all_hold_back_and_come_back_one_after_the_other(interval: float | None) -> None:
    assert_that_all_hold_back(interval)


def test_they_do_so_on_sockets() -> None:
    assert_that_all_hold_back(30.0)


def assert_that_all_hold_back(interval: float | None) -> None:
    told: list[float] = []

    def turned_away(number: int, now: float) -> int | None:
        if not told and now < 100.0:
            return None
        told.append(now)
        return 30 if now < told[0] + 0.2 else None

    chance = random.Random(1)
    runs = range(1, 1001)
    census = BusyCensus({run_id: chance.uniform(60.0, 240.0) for run_id in runs}, turned_away)
    ended = virtual_time.run(noticed(census, runs, WaitOptions(interval), 600.0))
    heard = told[0] + 0.05
    assert census.between(heard + 0.2, heard + 30.0) == []  # until then, some were on their way
    first = min(census.between(heard + 30.0, 600.0))
    assert first < heard + 32.0
    # Not all at once: a thousand waits that poll every 5 seconds make 200 requests a second in health.
    assert census.per_second(first, 600.0) <= (200 if interval is None else 320)
    assert ended.keys() == set(runs)
    for run_id, length in census.lengths.items():
        assert length <= ended[run_id] <= length + (interval or SLOWEST) + 60.0


@pytest.mark.usefixtures("without_sockets")
def test_whom_census_turns_away_again_hold_back_again() -> None:
    told: list[float] = []

    def turned_away(number: int, now: float) -> int | None:
        if now < 50.0 or now > 130.0:
            return None
        told.append(now)
        return 20

    census = BusyCensus(dict.fromkeys(range(1, 301), 60.0), turned_away)
    ended = virtual_time.run(noticed(census, range(1, 301), WaitOptions(), 600.0))
    assert len(ended) == 300
    # Each time, only those that were sent before the first response was there.
    assert len(told) <= 60
    assert max(ended.values()) < 130.0 + 20.0 + 25.0 + 25.0


@pytest.mark.parametrize("waits", [50, 1000, 5000])
@pytest.mark.usefixtures("without_sockets")
def test_many_waits_share_a_ceiling_of_requests(waits: int) -> None:
    census = BusyCensus()
    virtual_time.run(noticed(census, range(1, waits + 1), WaitOptions(), 150.0))
    assert len(census.between(30.0, 150.0)) / 120 <= MAX_POLL_RATE
    assert census.per_second(0.0, 150.0) <= 2 * MAX_POLL_RATE
    if waits == 50:  # too few to make a difference
        assert len(census.requests) >= 50 * 15


@pytest.mark.usefixtures("without_sockets")
def test_a_poll_interval_that_somebody_wants_stays_as_it_is() -> None:
    census = BusyCensus()
    virtual_time.run(noticed(census, range(1, 1001), WaitOptions(2.0), 20.0))
    assert len(census.requests) == pytest.approx(1000 * 10, rel=0.1)


@pytest.mark.parametrize("interval", [None, 5.0])
@pytest.mark.usefixtures("without_sockets")
def test_a_budget_of_requests_per_minute_is_kept(interval: float | None) -> None:
    census = BusyCensus(dict.fromkeys(range(1, 301), 200.0))
    ended = virtual_time.run(
        noticed(census, range(1, 301), WaitOptions(interval), 900.0, max_requests_per_minute=120)
    )
    minutes = Counter(int(moment // 60) for moment in census.requests)
    assert max(minutes.values()) <= 121
    assert min(count for minute, count in minutes.items() if minute < 3) >= 100
    assert len(ended) == 300
    assert max(ended.values()) <= 200.0 + 300 / 2 / JITTER[0] + 5.0


def test_who_leaves_the_queue_takes_nobodys_turn_along() -> None:
    async def leave() -> float:
        loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(100)
        shared = pace.Pace()
        shared.max_requests_per_minute = 1
        leaving = [asyncio.create_task(shared.acquire_slot(slots)) for _ in range(100)]
        await asyncio.sleep(1.0)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await shared.acquire_slot(slots)
        return loop.time()

    assert virtual_time.run(leave()) == pytest.approx(60.0, abs=0.1)


def test_another_connection_is_not_held() -> None:
    async def both() -> float:
        loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(100)
        pace.shared_pace("one").hold(30.0)
        await pace.shared_pace("two").acquire_slot(slots)
        own = AiohttpTransport(mock.AsyncMock(), log, conn_id="one", shared=False)  # as of a cancellation
        await own.pace.acquire_slot(slots)
        return loop.time()

    assert virtual_time.run(both()) == 0.0


def test_the_triggers_of_one_connection_hold_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[float] = []

    def script(request: Received) -> bytes:
        at.append(time.monotonic())
        if len(at) == 3:
            return response({"message": "busy"}, 429, Retry_After="1")
        run_id = int(request.target.rpartition("/")[2])
        return data({"id": run_id, "sync_id": 52, "status": "completed" if len(at) > 40 else "working"})

    async def run() -> None:
        async def one(run_id: int) -> None:
            async for _ in CensusSyncRunTrigger(run_id, poll_interval=0.2).run():
                pass

        await asyncio.gather(*map(one, range(1, 11)))

    with Server(script) as server:
        conn = {"conn_type": "census", "host": server.url, "password": "secret-token:pace"}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
        asyncio.run(run())
    gap, after = max((later - earlier, later) for earlier, later in pairwise(at))
    assert gap > 0.7
    assert after - at[2] >= 1.0


def test_a_request_that_is_retried_holds_the_others_too() -> None:
    async def both() -> list[float]:
        census = BusyCensus(turned_away=lambda number, now: 30 if number == 1 else None)
        runner = await census.serve()
        settings = Settings(census.url, "secret-token:pace", attempts=2)
        async with AsyncExitStack() as stack:
            first, second = [
                await stack.enter_async_context(AiohttpTransport(never, log, settings, conn_id="one"))
                for _ in range(2)
            ]
            with suppress(CensusRateLimitError):
                await first.send(replace(endpoints.get_sync_run(94), retry=False))
            await asyncio.gather(*(each.send(endpoints.get_sync_run(94)) for each in (first, second)))
        await runner.cleanup()
        return census.requests

    async def never() -> Settings:
        raise AssertionError

    moments = virtual_time.run(both())
    assert len(moments) == 3
    assert min(moments[1:]) >= 30.0

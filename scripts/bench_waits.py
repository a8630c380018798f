# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What many waits at once cost, in a process of their own that knows Airflow, as a triggerer does.

Arguments: ``bare`` or ``provider``, the address of a Census, how many waits, the seconds between two polls,
and for how many seconds to measure. Prints what it measured as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import aiohttp

import airflow_provider_census.transports.aiohttp  # noqa: F401 - the reference runs beside it, too
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

TICK = 0.005
"""Seconds; as often, something else wants to run on the event loop."""

Wait = Callable[[int], Coroutine[Any, Any, None]]


class Lateness:
    """How many seconds late, at worst, something else could run on the event loop."""

    worst = 0.0

    async def watch(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.worst = max(self.worst, loop.time() - due)


def sockets() -> int:
    """Count the sockets of this process."""
    count = 0
    for each in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{each}").startswith("socket:")
    return count


def memory() -> float:
    """Tell how many KB of memory this process holds."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def bare(url: str, interval: float) -> Wait:
    """Poll with as little as a poll over a shared pool takes."""
    shared: list[aiohttp.ClientSession] = []

    async def wait(number: int) -> None:
        if not shared:
            shared.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)))
        try:
            while True:
                async with shared[0].get(f"{url}/api/v1/sync_runs/{number}") as response:
                    await response.json()
                await asyncio.sleep(interval)
        finally:
            await shared[0].close()

    return wait


def provider(url: str, interval: float) -> Wait:
    """Look with the trigger of the provider."""
    os.environ["AIRFLOW_CONN_CENSUS_DEFAULT"] = f"census://:secret-token@{url.removeprefix('http://')}/http"

    async def wait(number: int) -> None:
        async for _ in CensusSyncRunTrigger(number, poll_interval=interval).run():
            pass

    return wait


async def counts(url: str) -> dict[str, int]:
    """Ask the Census what it has seen since it was asked last."""
    async with aiohttp.request("GET", f"{url}/counts") as response:
        return dict(await response.json())


async def measure(wait: Wait, url: str, waits: int, interval: float, seconds: float) -> dict[str, float]:
    """Begin waits together, and watch them."""
    await counts(url)
    first = asyncio.create_task(wait(1))  # what is needed once is no cost of a wait
    while not (await counts(url))["requests"]:  # noqa: ASYNC110 - another process counts
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
    before, own = memory(), sockets() - 1
    gc.freeze()  # one full collection of what Airflow has in memory takes longer than all that is measured
    lateness = Lateness()
    watch = asyncio.create_task(lateness.watch())
    await asyncio.sleep(10 * TICK)
    lateness.worst = 0.0
    waiting = [asyncio.create_task(wait(2 + number)) for number in range(waits - 1)]
    await asyncio.sleep(interval + 1.0)
    watch.cancel()  # it costs as much as what it watches
    result = {"held": 1000 * lateness.worst}
    await counts(url)
    cpu = time.process_time()
    await asyncio.sleep(seconds)
    cpu = time.process_time() - cpu
    polls = (await counts(url))["requests"]
    result |= {
        "cpu": 1000 * cpu / polls,
        "memory": (memory() - before) / (waits - 1),
        "sockets": sockets() - own,
    }
    for each in (first, *waiting):
        each.cancel()
    await asyncio.gather(first, watch, *waiting, return_exceptions=True)
    return {**result, "left": sockets() - own}


if __name__ == "__main__":
    kind, url, *numbers = sys.argv[1:]
    waits, interval, seconds = map(float, numbers)
    wait = {"bare": bare, "provider": provider}[kind](url, interval)
    print(json.dumps(asyncio.run(measure(wait, url, int(waits), interval, seconds))))

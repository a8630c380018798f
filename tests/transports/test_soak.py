# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a process keeps that waits often, or for long: nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from flow_helpers import Log
from stand_in import Server, data

from airflow_provider_census.api import endpoints, waiters
from airflow_provider_census.api.flow import Sleep
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.driver import adrive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_census.api.flow import Flow

pytestmark = pytest.mark.soak

RUN = {"id": 94, "sync_id": 52, "status": "working", "records_processed": 7}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(data(RUN)) as server:
        conn = {"conn_type": "census", "host": server.url, "password": "token-of-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
        yield server


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def waits(polls: int, counts: dict[int, int], server: Server) -> Flow[None]:
    """Wait for a run that does not end, for so many polls; after some of them, count what is there."""
    waiter = waiters.SyncRunWaiter(94, Log(), time.time)
    flow = waiters.wait(waiter, WaitOptions(), now=time.time, rng=random.Random(1))
    result = None
    for poll in range(1, polls + 1):
        while isinstance(step := flow.send(result), Sleep):
            result = None
        result = yield step
        if poll in counts:
            server.received.clear()
            counts[poll] = objects()


def test_two_thousand_short_waits_leave_no_open_file(server: Server, transport: str) -> None:
    def briefly(number: int) -> None:
        for _ in range(number):
            assert CensusHook().get_sync_run(94) == RUN

    async def briefly_there(number: int) -> None:
        for _ in range(number):
            assert await CensusHook().arun(endpoints.get_sync_run(94)) == RUN

    def several(number: int) -> None:
        briefly(number) if transport == "worker" else asyncio.run(briefly_there(number))

    several(2)
    before = open_files()
    several(2000)
    assert open_files() < before + 100  # some of the server, whose threads take their time
    assert len(server.received) == 2002


def test_twenty_thousand_polls_take_no_memory(server: Server, transport: str) -> None:
    """A wait holds as many objects after twenty thousand polls as after two thousand."""
    counts = {2_000: 0, 20_000: 0}
    flow = waits(20_000, counts, server)
    hook = CensusHook()

    async def wait_there() -> None:
        async with hook.aopen() as client:
            await adrive(flow, client.send)

    hook.drive(flow) if transport == "worker" else asyncio.run(wait_there())
    assert counts[20_000] < counts[2_000] + 500

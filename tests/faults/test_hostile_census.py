# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""One table: what whoever is on the way can send, and what both transports make of it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from flow_helpers import Log
from hostile import ROWS, Row
from stand_in import CensusStandIn

from airflow_provider_census.api import endpoints, retries, triggering, waiters
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.driver import adrive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stand_in import Fault

    from airflow_provider_census.api.flow import Flow
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.triggering import RunsSnapshot

TOKEN = "secret-token:of-the-tests"
MEMORY = 64 * 1024 * 1024
"""Bytes that a request may take at most: eight times what it may read."""

cells = pytest.mark.parametrize(
    ("row", "operation"),
    [
        pytest.param(row, operation, id=f"{name}, {operation}")
        for name, row in ROWS.items()
        for operation in row.operations
    ],
)


@pytest.fixture(params=["worker", "triggerer"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "backoff", lambda *_, **__: 0.0)
    monkeypatch.setattr(WaitOptions, "interval", lambda *_, **__: 0.0)
    monkeypatch.setattr(triggering, "SEARCH_ATTEMPTS", 2)


@pytest.fixture
def census() -> Iterator[CensusStandIn]:
    with CensusStandIn(token=TOKEN, ends_after=0) as census:
        yield census


@pytest.fixture
def drive(place: str, census: CensusStandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Drive a flow over the transport of the place."""

    def drive(flow: Flow[Any], timeout: float, attempts: int = 1) -> Any:
        extra = {"timeout": timeout, "attempts": attempts, "api_version": "v1"}
        conn = {"conn_type": "census", "host": census.url, "password": TOKEN, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
        hook = CensusHook()
        if place == "worker":
            return hook.drive(flow)

        async def run() -> Any:
            async with hook.aopen() as transport:
                return await adrive(flow, transport.send)

        return asyncio.run(run())

    return drive


def single(request: Request[Any]) -> Flow[Any]:
    response = yield request
    return response.value


def starts(snapshot: RunsSnapshot | None = None) -> Flow[int]:
    return triggering.trigger_sync(
        endpoints.trigger_sync(52),
        52,
        full_sync=False,
        attempts=2,
        owned_run_ids=set(),
        log=Log(),
        now=time.time,
        rng=random.Random(1),
        snapshot=snapshot,
    )


def waits(run_id: int, log: Log) -> Flow[Any]:
    waiter = waiters.SyncRunWaiter(run_id, log, time.time)
    return waiters.wait(waiter, WaitOptions(), now=time.time, rng=random.Random(1))


def strike(census: CensusStandIn, operation: str, fault: Fault, times: float = float("inf")) -> None:
    """Let so many requests of an operation go wrong, from the next one on."""
    left = times

    def faults(asked: str, key: int, earlier: int) -> Fault | None:
        nonlocal left
        left -= asked == operation
        return fault if asked == operation and left >= 0 else None

    census.faults = faults


def check_words(text: str) -> None:
    """Check that a message can be shown anywhere."""
    assert text.isprintable()
    assert len(text) < 2500
    assert "of-the-tests" not in text


@cells
def test_one_request_reads_the_right_response_or_says_in_time_what_is_wrong(
    census: CensusStandIn, drive: Callable[..., Any], row: Row, operation: str
) -> None:
    run_id = drive(starts(), 5.0)
    strike(census, operation, row.fault(executed=True))
    requests: dict[str, Request[Any]] = {
        "run": endpoints.get_sync_run(run_id),
        "trigger": endpoints.trigger_sync(52),
        "cancel": endpoints.cancel_sync_run(run_id),
    }
    tracemalloc.start()
    began = time.monotonic()
    try:
        if row.error is None:
            value = drive(single(requests[operation]), row.timeout)
        else:
            with pytest.raises(CensusError) as caught:
                drive(single(requests[operation]), row.timeout)
        assert time.monotonic() - began < row.timeout + 3.0
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    if row.error is None:
        right = {"run": run_id, "trigger": max(census.runs), "cancel": None}[operation]
        assert (int(value["id"]) if operation == "run" else value) == right
        return
    check_words(str(caught.value))
    assert isinstance(caught.value, row.error)
    assert re.search(row.words, str(caught.value))
    assert retries.outcome_unknown(caught.value)


@pytest.mark.parametrize("executed", [True, False], ids=["started", "not started"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_whatever_comes_of_the_request_exactly_one_run_is_started(
    census: CensusStandIn, drive: Callable[..., Any], row: Row, executed: bool
) -> None:
    if "trigger" not in row.operations or (row.error is None and not executed):
        pytest.skip("nothing of that can be told from the response")
    earlier = drive(starts(), 5.0)
    strike(census, "trigger", row.fault(executed=executed), 1)
    snapshot = triggering.RunsSnapshot(earlier, None)
    run_id = drive(starts(snapshot), row.timeout)
    assert [*census.runs] == [earlier, run_id]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_wait_ends_with_the_right_run(census: CensusStandIn, drive: Callable[..., Any], row: Row) -> None:
    run_id = drive(starts(), 5.0)
    strike(census, "run", row.fault(executed=True), 1)
    log = Log()
    run = drive(waits(run_id, log), row.timeout)
    assert (int(run["id"]), run["status"]) == (run_id, "completed")
    for _, line in log.lines:
        check_words(line)
    assert log.count("Still waiting for sync run") <= (row.error is not None)

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""One table: what goes wrong on the way to Census, and what each part of the provider makes of it."""

from __future__ import annotations

import asyncio
import functools
import gzip
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import TaskDeferred
from stand_in import CLOSE, HANG, RESET, RESET_IN_BODY, CensusStandIn, Fault, response, says, sends

from airflow_provider_census.api import endpoints, retries, triggering
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConnectionError,
    CensusError,
    CensusNotFoundError,
    CensusRateLimitError,
)
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

TOKEN = "secret-token:of-the-tests"
HTML = b"<html><body><h1>Please log in</h1></body></html>"
Error = type[CensusError]
CUT_OFF = sends(response(b'{"status": "success"', Content_Length="1000"))
CHUNKS_CUT_OFF = sends(response(b'a\r\n{"status":\r\n', Transfer_Encoding="chunked"))


def much(status: int, megabytes: int) -> Fault:
    """A response of so many megabytes."""
    head = response(b"", status, Content_Length=str(megabytes * 1024 * 1024))
    return sends(head, *[b"<p>x</p>" * 128 * 1024] * megabytes)


def soon(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(time.time() + seconds, timezone.utc), usegmt=True)


@dataclass(frozen=True)
class Row:
    """
    A fault, and what comes of it; ``None`` where the provider gets over it.

    :ivar fault: what happens to a request.
    :ivar once: what ``hook.get_sync_run`` raises if it happens once.
    :ivar always: and if it always happens.
    :ivar trigger: what ``hook.trigger_sync`` raises if it happens once.
    :ivar executed: whether Census may have started the sync all the same.
    :ivar wait: what ends a wait, of a task of any kind, that meets it at some requests in a row.
    """

    fault: Fault | None
    once: Error | None
    always: Error
    trigger: Error | None = None
    executed: tuple[bool, ...] = (False, True)
    wait: Error | None = None


def passing(fault: Fault | None, always: Error, *executed: bool) -> Row:
    """A fault that the next request may not meet."""
    return Row(fault, None, always, executed=executed or (False, True))


LOST, API, RATE = CensusConnectionError, CensusApiError, CensusRateLimitError
AUTH, GONE = CensusAuthError, CensusNotFoundError
FAULTS = {
    # fault                                                  always  may the sync have been started?
    "refused": passing(None, LOST, False),
    "reset before the answer": passing(RESET, LOST),
    "reset in the body": passing(RESET_IN_BODY, LOST),
    "closed without a word": passing(CLOSE, LOST),
    "body cut off": passing(CUT_OFF, LOST),
    "chunks cut off": passing(CHUNKS_CUT_OFF, LOST),
    "hangs": passing(HANG, LOST),
    "408": passing(says(408, b""), API),
    "425": passing(says(425, b""), API),
    "429": passing(says(429, b"{}"), RATE, False),
    "429, in some seconds": passing(says(429, b"{}", Retry_After="7"), RATE, False),
    "429, at some time": passing(says(429, b"{}", Retry_After=soon(7)), RATE, False),
    "500": passing(says(500, b'{"status": "error", "message": "Oh no"}'), API),
    "502": passing(says(502, HTML), API),
    "503": passing(says(503, b""), API),
    "503, in some seconds": passing(says(503, b"", Retry_After="7"), API, False),
    "504": passing(says(504, HTML), API),
    "200 with a proxy's page": passing(says(200, HTML), API),
    "200 with broken JSON": passing(says(200, b'{"status": "succ'), API),
    "200 without a body": passing(says(200, b""), API),
    "200 with 50 MB": passing(much(200, 50), API),
    "500 with 10 MB": passing(much(500, 10), API),
    "redirected": Row(says(302, Location="http://elsewhere.invalid/"), API, API),
    "401": Row(says(401, b'{"status": 401}'), AUTH, AUTH, AUTH, (False,), AUTH),
    "403": Row(says(403, HTML), AUTH, AUTH, AUTH, (False,), AUTH),
    "404": Row(says(404, b'{"status": 404}'), GONE, GONE, GONE, (False,), GONE),
    "422": Row(says(422, b'{"status": "error", "message": "No"}'), API, API, API, (False,)),
}

triggers = pytest.mark.parametrize(
    ("row", "executed"),
    [
        pytest.param(row, executed, id=f"{name}, {'started all the same' if executed else 'not started'}")
        for name, row in FAULTS.items()
        for executed in row.executed
    ],
)
rows = pytest.mark.parametrize("row", FAULTS.values(), ids=FAULTS)


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[CensusStandIn]:
    if airflow.__version__.startswith("2."):  # it would look for the first poke in its database
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **_: None)
    hooks.OWNED_RUN_IDS.clear()  # whose ids are those of another test's Census
    census = CensusStandIn(token=TOKEN, ends_after=2)
    uri = f"census://:secret-token%3Aof-the-tests@127.0.0.1:{census.port}/http?attempts=2&timeout=1"
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uri)
    with census:
        yield census


@pytest.fixture(autouse=True)
def recovers(monkeypatch: pytest.MonkeyPatch, census: CensusStandIn) -> SimpleNamespace:
    """Nobody waits; where a refusing Census is to recover, it does at the second delay."""
    recovery = SimpleNamespace(after=1, delays=0)

    def delay(*_: Any, **__: Any) -> float:
        recovery.delays += 1
        if recovery.delays >= recovery.after:
            census.listen()
        return 0.0

    monkeypatch.setattr(retries, "backoff", delay)
    monkeypatch.setattr(WaitOptions, "interval", delay)
    monkeypatch.setattr(WaitOptions, "startup_jitter", lambda *_: 0.0)
    monkeypatch.setattr(triggering, "SEARCH_ATTEMPTS", 3)
    return recovery


def strike(
    census: CensusStandIn, row: Row, operation: str, times: float, *, first: int = 0, executed: bool = False
) -> None:
    """Let so many requests of an operation go wrong, from the first or a later one on."""
    if row.fault is None:
        census.refuse()
        return
    fault = replace(row.fault, executed=executed)
    census.faults = lambda asked, key, earlier: (
        fault if asked == operation and first <= earlier < first + times else None
    )


def started(census: CensusStandIn) -> int:
    """A run that is there before anything goes wrong."""
    return CensusHook().trigger_sync(52)


def expect(error: Error | None, act: Callable[[], Any]) -> Any:
    if error is None:
        return act()
    with pytest.raises(error) as raised:
        act()
    assert type(raised.value) is error
    assert TOKEN not in str(raised.value)
    assert len(str(raised.value)) < 2000
    return None


@rows
def test_reading_when_it_happens_once(census: CensusStandIn, row: Row) -> None:
    run_id = started(census)
    strike(census, row, "run", 1)
    run = expect(row.once, lambda: CensusHook().get_sync_run(run_id))
    assert row.once is not None or run["id"] == run_id


@rows
def test_reading_when_it_always_happens(census: CensusStandIn, recovers: SimpleNamespace, row: Row) -> None:
    run_id = started(census)
    recovers.after = 10**9
    strike(census, row, "run", float("inf"))
    expect(row.always, lambda: CensusHook().get_sync_run(run_id))


@triggers
def test_triggering_starts_exactly_one_run(census: CensusStandIn, row: Row, executed: bool) -> None:
    strike(census, row, "trigger", 1, executed=executed)
    run_id = expect(row.trigger, lambda: CensusHook().trigger_sync(52))
    assert [*census.runs] == ([] if row.trigger else [run_id])


def test_what_is_no_fault_is_none(census: CensusStandIn) -> None:
    def zips(connection: socket.socket, right: bytes) -> None:
        head, _, body = right.partition(b"\r\n\r\n")
        zipped = response(gzip.compress(body), int(head.split()[1]), Content_Encoding="gzip")
        sends(zipped).act(connection, right)

    census.faults = lambda *_: Fault("zips", zips, executed=True)
    run_id = CensusHook().trigger_sync(52)
    assert [*census.runs] == [run_id]
    assert CensusHook().get_sync_run(run_id)["id"] == run_id
    assert asyncio.run(CensusHook().arun(endpoints.get_sync_run(run_id)))["id"] == run_id


@pytest.mark.soak
@pytest.mark.parametrize(
    ("row", "executed"),
    [
        pytest.param(row, executed, id=f"{name}, {'started all the same' if executed else 'not started'}")
        for name, row in FAULTS.items()
        if row.trigger is None and "MB" not in name
        for executed in row.executed
    ],
)
def test_fifty_faults_start_exactly_fifty_runs(census: CensusStandIn, row: Row, executed: bool) -> None:

    def trigger(sync_id: int) -> int:
        return CensusHook().trigger_sync(sync_id)

    if row.fault is None:
        found = []
        for sync_id in range(1, 51):
            strike(census, row, "trigger", 1)
            found.append(trigger(sync_id))
    else:
        strike(census, row, "trigger", 1, executed=executed)
        with ThreadPoolExecutor(25) as pool:
            found = list(pool.map(trigger, range(1, 51)))
    assert sorted(census.triggers) == list(range(1, 51))
    assert [census.runs[run_id].sync_id for run_id in found] == list(range(1, 51))


def context() -> dict[str, Any]:
    ti = SimpleNamespace(
        task_id="task", dag_id="dag", run_id="run", map_index=-1, try_number=1, max_tries=0,
        xcom_push=lambda **_: None, get_first_reschedule_date=lambda _: datetime.now(timezone.utc),
    )  # fmt: skip
    return {"ti": ti}


def wait_in_the_triggerer(task: Any) -> Any:
    """Do what Airflow does with a task that defers itself."""
    known = context()
    run = functools.partial(task.execute, known)
    while True:
        try:
            return run()
        except TaskDeferred as deferral:
            _, arguments = deferral.trigger.serialize()
            resume, bounds = getattr(task, deferral.method_name), dict(deferral.kwargs or {})
        event = asyncio.run(first(CensusSyncRunTrigger(**arguments).run()))
        run = functools.partial(resume, known, event.payload, **bounds)


async def first(events: Any) -> Any:
    return await anext(events)


def wait_in_reschedule(task: Any) -> Any:
    while True:
        try:
            return task.execute(context())
        except AirflowRescheduleException:
            continue


def operator(census: CensusStandIn, **options: Any) -> Any:
    return CensusTriggerSyncOperator(task_id="task", sync_id=52, wait_for_completion=True, **options)


def sensor(census: CensusStandIn, **options: Any) -> Any:
    return CensusSyncRunSensor(task_id="task", sync_run_id=started(census), **options)


def on_the_worker(task: Any) -> Any:
    return task.execute(context())


WAITS: dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[[Any], Any]]] = {
    "operator on the worker": (operator, {}, on_the_worker),
    "operator deferred": (operator, {"deferrable": True}, wait_in_the_triggerer),
    "sensor, poke": (sensor, {}, on_the_worker),
    "sensor, reschedule": (sensor, {"mode": "reschedule"}, wait_in_reschedule),
    "sensor, deferred": (sensor, {"deferrable": True}, wait_in_the_triggerer),
}


def waiting(way: str, census: CensusStandIn) -> Callable[[], Any]:
    make, options, run = WAITS[way]
    task = make(census, **options)
    return lambda: run(task)


@pytest.mark.parametrize("way", WAITS)
@pytest.mark.parametrize("name", FAULTS)
def test_waiting_gets_over_whatever_passes(
    census: CensusStandIn, recovers: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    row = FAULTS[name]
    wait = waiting(way, census)
    if row.fault is None:
        # It is refused from the first poll of the run on, for some delays.
        recovers.after = 5

        def refuse_from_now_on(operation: str, key: int, earlier: int) -> Fault | None:
            if operation in {"trigger", "run"} and not recovers.delays:
                census.refuse()
            return None

        census.faults = refuse_from_now_on
    else:
        strike(census, row, "run", 3 if row.fault is HANG else 5)
    result = expect_task_error(row.wait, wait)
    (run_id,) = census.runs
    if row.wait is None:
        assert (result if isinstance(result, int) else result["id"]) == run_id
    assert census.cancels == []


def expect_task_error(error: Error | None, act: Callable[[], Any]) -> Any:
    if error is None:
        return act()
    with pytest.raises(error):
        act()
    return None


@pytest.mark.parametrize("way", [way for way in WAITS if way != "sensor, reschedule"])
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("times", [1, 2])
def test_waiting_gets_over_a_token_that_is_rejected_twice(
    census: CensusStandIn, way: str, status: int, times: int
) -> None:
    wait = waiting(way, census)
    # A poll that resumes a task stands alone, the one before it defers does not.
    strike(census, FAULTS[str(status)], "run", times)
    assert wait()


@pytest.mark.parametrize("status", [401, 403])
def test_a_poll_in_a_process_of_its_own_does_not_get_over_a_rejected_token(
    census: CensusStandIn, status: int
) -> None:
    wait = waiting("sensor, reschedule", census)
    strike(census, FAULTS[str(status)], "run", 1)
    with pytest.raises(CensusAuthError):
        wait()


@pytest.mark.parametrize("way", ["operator on the worker", "operator deferred"])
@triggers
def test_an_operator_starts_exactly_one_run(
    census: CensusStandIn, row: Row, way: str, executed: bool
) -> None:
    wait = waiting(way, census)
    strike(census, row, "trigger", 1, executed=executed)
    result = expect(row.trigger, wait)
    assert [*census.runs] == ([] if row.trigger else [result])


def test_the_token_does_not_travel_along_with_a_redirect(census: CensusStandIn) -> None:
    elsewhere = CensusStandIn()
    run_id = started(census)
    row = Row(says(302, Location=f"{elsewhere.url}/api/v1/syncs/1/trigger"), API, API)
    strike(census, row, "run", 9)
    with pytest.raises(CensusApiError, match="redirected to http://127"):
        CensusHook().get_sync_run(run_id)
    with pytest.raises(CensusApiError, match="redirected to http://127"):
        asyncio.run(CensusHook().arun(endpoints.get_sync_run(run_id)))
    assert elsewhere.received == []
    elsewhere.refuse()

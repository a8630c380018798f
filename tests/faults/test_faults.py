# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""One table: what goes wrong on the way to Census, and what each part of the provider makes of it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import airflow
import bad_census as bad
import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import TaskDeferred, timezone
from bad_census import BadCensus

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

TOKEN = "secret-token:of-the-tests"
HTML = b"<html><body><h1>Please log in</h1></body></html>"
Error = type[CensusError]


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

    fault: bad.Misbehaviour | None
    once: Error | None
    always: Error
    trigger: Error | None = None
    executed: tuple[bool, ...] = (False, True)
    wait: Error | None = None


def passing(fault: bad.Misbehaviour | None, always: Error, *executed: bool) -> Row:
    """A fault that the next request may not meet."""
    return Row(fault, None, always, executed=executed or (False, True))


LOST, API, RATE = CensusConnectionError, CensusApiError, CensusRateLimitError
AUTH, GONE = CensusAuthError, CensusNotFoundError
FAULTS = {
    # fault                                                  always  may the sync have been started?
    "refused": passing(None, LOST, False),
    "reset before the answer": passing(bad.resets_before_the_answer, LOST),
    "reset in the body": passing(bad.resets_in_the_body, LOST),
    "closed without a word": passing(bad.closes_without_a_word, LOST),
    "body cut off": passing(bad.cuts_the_body_off, LOST),
    "chunks cut off": passing(bad.cuts_the_chunks_off, LOST),
    "hangs": passing(bad.hangs, LOST),
    "408": passing(bad.says(408, b""), API),
    "425": passing(bad.says(425, b""), API),
    "429": passing(bad.says(429, b"{}"), RATE, False),
    "429, in some seconds": passing(bad.says(429, b"{}", "Retry-After: 7"), RATE, False),
    "429, at some time": passing(bad.says(429, b"{}", f"Retry-After: {bad.soon(7)}"), RATE, False),
    "500": passing(bad.says(500, b'{"status": "error", "message": "Oh no"}'), API),
    "502": passing(bad.says(502, HTML), API),
    "503": passing(bad.says(503, b""), API),
    "503, in some seconds": passing(bad.says(503, b"", "Retry-After: 7"), API, False),
    "504": passing(bad.says(504, HTML), API),
    "200 with a proxy's page": passing(bad.says(200, HTML), API),
    "200 with broken JSON": passing(bad.says(200, b'{"status": "succ'), API),
    "200 without a body": passing(bad.says(200, b""), API),
    "200 with 50 MB": passing(bad.sends_much(200, 50), API),
    "500 with 10 MB": passing(bad.sends_much(500, 10), API),
    "redirected": Row(bad.says(302, b"", "Location: http://elsewhere.invalid/"), API, API, API, (False,)),
    "401": Row(bad.says(401, b'{"status": 401}'), AUTH, AUTH, AUTH, (False,), AUTH),
    "403": Row(bad.says(403, HTML), AUTH, AUTH, AUTH, (False,), AUTH),
    "404": Row(bad.says(404, b'{"status": 404}'), GONE, GONE, GONE, (False,), GONE),
    "422": Row(bad.says(422, b'{"status": "error", "message": "No"}'), API, API, API, (False,)),
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
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadCensus]:
    if airflow.__version__.startswith("2."):  # it would look for the first poke in its database
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **_: None)
    hooks.OWNED_RUN_IDS.clear()  # whose ids are those of another test's Census
    census = BadCensus()
    uri = f"census://:secret-token%3Aof-the-tests@127.0.0.1:{census.port}/http?attempts=2&timeout=1"
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uri)
    yield census
    census.close()


@pytest.fixture(autouse=True)
def recovers(monkeypatch: pytest.MonkeyPatch, census: BadCensus) -> SimpleNamespace:
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


def strike(census: BadCensus, row: Row, kind: str, times: float, *, executes: bool = False) -> None:
    """Let the first requests of a kind go wrong."""
    census.fault, census.executes = row.fault, executes
    if row.fault is None:
        census.close()
    else:
        census.strikes = lambda asked, key, earlier: asked == kind and earlier < times


def started(census: BadCensus) -> int:
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
def test_reading_when_it_happens_once(census: BadCensus, row: Row) -> None:
    run_id = started(census)
    strike(census, row, "run", 1)
    run = expect(row.once, lambda: CensusHook().get_sync_run(run_id))
    assert row.once is not None or run["id"] == run_id


@rows
def test_reading_when_it_always_happens(census: BadCensus, recovers: SimpleNamespace, row: Row) -> None:
    run_id = started(census)
    recovers.after = 10**9
    strike(census, row, "run", float("inf"))
    expect(row.always, lambda: CensusHook().get_sync_run(run_id))


@triggers
def test_triggering_starts_exactly_one_run(census: BadCensus, row: Row, executed: bool) -> None:
    strike(census, row, "trigger", 1, executes=executed)
    run_id = expect(row.trigger, lambda: CensusHook().trigger_sync(52))
    assert [*census.runs] == ([] if row.trigger else [run_id])


def test_what_is_no_fault_is_none(census: BadCensus) -> None:
    census.fault, census.executes, census.strikes = bad.zips, True, lambda *_: True
    run_id = CensusHook().trigger_sync(52)
    assert [*census.runs] == [run_id]
    assert CensusHook().get_sync_run(run_id)["id"] == run_id
    assert asyncio.run(CensusHook().arun(endpoints.get_sync_run(run_id)))["id"] == run_id


@pytest.mark.parametrize(
    ("row", "executed"),
    [
        pytest.param(row, executed, id=f"{name}, {'started all the same' if executed else 'not started'}")
        for name, row in FAULTS.items()
        if row.trigger is None and "MB" not in name
        for executed in row.executed
    ],
)
def test_fifty_faults_start_exactly_fifty_runs(census: BadCensus, row: Row, executed: bool) -> None:

    def trigger(sync_id: int) -> int:
        return CensusHook().trigger_sync(sync_id)

    if row.fault is None:
        found = []
        for sync_id in range(1, 51):
            strike(census, row, "trigger", 1)
            found.append(trigger(sync_id))
    else:
        strike(census, row, "trigger", 1, executes=executed)
        with ThreadPoolExecutor(25) as pool:
            found = list(pool.map(trigger, range(1, 51)))
    assert sorted(census.triggers) == list(range(1, 51))
    assert [census.runs[run_id]["sync_id"] for run_id in found] == list(range(1, 51))


def context() -> dict[str, Any]:
    ti = SimpleNamespace(
        task_id="task", dag_id="dag", run_id="run", map_index=-1, try_number=1, max_tries=0,
        xcom_push=lambda **_: None, get_first_reschedule_date=lambda _: timezone.utcnow(),
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


def operator(census: BadCensus, **options: Any) -> Any:
    return CensusTriggerSyncOperator(task_id="task", sync_id=52, wait_for_completion=True, **options)


def sensor(census: BadCensus, **options: Any) -> Any:
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


def waiting(way: str, census: BadCensus) -> Callable[[], Any]:
    make, options, run = WAITS[way]
    task = make(census, **options)
    return lambda: run(task)


@pytest.mark.parametrize("way", WAITS)
@pytest.mark.parametrize("name", FAULTS)
def test_waiting_gets_over_whatever_passes(
    census: BadCensus, recovers: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    row = FAULTS[name]
    wait = waiting(way, census)
    if row.fault is None:
        # It is refused from the first poll of the run on, for some delays.
        recovers.after = 5
        carry_out = census._carry_out

        def refuse_from_now_on(kind: str, key: int) -> bytes:
            if kind in {"trigger", "run"} and not recovers.delays:
                census.close()
            return carry_out(kind, key)

        monkeypatch.setattr(census, "_carry_out", refuse_from_now_on)
    else:
        strike(census, row, "run", 3 if row.fault is bad.hangs else 5)
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
    census: BadCensus, way: str, status: int, times: int
) -> None:
    wait = waiting(way, census)
    census.fault = FAULTS[str(status)].fault
    first = 1 if "deferred" in way else 0  # before it defers, a task polls once
    census.strikes = lambda kind, _, earlier: kind == "run" and first <= earlier < first + times
    assert wait()


@pytest.mark.parametrize("way", ["operator deferred", "sensor, reschedule", "sensor, deferred"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_poll_that_stands_alone_does_not_get_over_a_rejected_token(
    census: BadCensus, way: str, status: int
) -> None:
    wait = waiting(way, census)
    strike(census, FAULTS[str(status)], "run", 1)
    with pytest.raises(CensusAuthError):
        wait()


@pytest.mark.parametrize("way", ["operator on the worker", "operator deferred"])
@triggers
def test_an_operator_starts_exactly_one_run(census: BadCensus, row: Row, way: str, executed: bool) -> None:
    wait = waiting(way, census)
    strike(census, row, "trigger", 1, executes=executed)
    result = expect(row.trigger, wait)
    assert [*census.runs] == ([] if row.trigger else [result])


def test_the_token_does_not_travel_along_with_a_redirect(census: BadCensus) -> None:
    elsewhere = BadCensus()
    run_id = started(census)
    row = Row(
        bad.says(302, b"", f"Location: http://127.0.0.1:{elsewhere.port}/api/v1/syncs/1/trigger"), API, API
    )
    strike(census, row, "run", 9)
    with pytest.raises(CensusApiError, match="redirected to http://127"):
        CensusHook().get_sync_run(run_id)
    with pytest.raises(CensusApiError, match="redirected to http://127"):
        asyncio.run(CensusHook().arun(endpoints.get_sync_run(run_id)))
    assert elsewhere.headers == []
    elsewhere.close()

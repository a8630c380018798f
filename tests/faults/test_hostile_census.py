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
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from flow_helpers import Log
from hostile import ROWS, Row, instead, with_body
from leaks import RECORD, SAID, TOKEN, as_reported, as_shown, everything_logged, found_in
from stand_in import CLOSE, CensusStandIn, Fault, response

from airflow_provider_census.api import endpoints, retries, triggering, waiters
from airflow_provider_census.api.flow import Sleep
from airflow_provider_census.api.pagination import fetch_all
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.triggering import RunsSnapshot
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.driver import adrive

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from airflow_provider_census.api.flow import Flow
    from airflow_provider_census.api.request import Request

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
    monkeypatch.setattr(triggering, "SEARCH_ATTEMPTS", 4)


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Whatever happens, no library logs the token, in whatever encoding Census repeats it."""
    with everything_logged() as said:
        yield
    assert found_in(said.getvalue().encode("utf-8", "replace")) == []


class TalkativeCensus(CensusStandIn):
    """Repeats the token in all that it says."""

    def _execute(self, *args: Any) -> tuple[int, dict[str, Any]]:
        status, body = super()._execute(*args)
        runs = body.get("data", {})
        for run in runs if isinstance(runs, list) else [runs]:
            run["current_step"] = SAID
        return status, body | {"message": SAID}


@pytest.fixture
def census() -> Iterator[CensusStandIn]:
    with TalkativeCensus(token=TOKEN, ends_after=0) as census:
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
    assert found_in(text.encode()) == []


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
    assert found_in(as_reported(caught.value)) == []
    assert isinstance(caught.value, row.error)
    assert re.search(row.words, str(caught.value))
    assert retries.outcome_unknown(caught.value)


@pytest.mark.parametrize(
    ("row", "executed"),
    [
        pytest.param(row, executed, id=f"{name}, {'started' if executed else 'not started'}")
        for name, row in ROWS.items()
        if "trigger" in row.operations
        for executed in ([True] if row.error is None else [True, False])
    ],
)
def test_whatever_comes_of_the_request_exactly_one_run_is_started(
    census: CensusStandIn, drive: Callable[..., Any], row: Row, executed: bool
) -> None:
    earlier = drive(starts(), 5.0)
    strike(census, "trigger", row.fault(executed=executed), 1)
    snapshot = RunsSnapshot(earlier, None)
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


CREATED: list[Any] = [
    None,
    7,
    True,
    "",
    "yesterday",
    "2026-13-45T99:00:00Z",
    "9999-12-31T23:59:59Z",
    "1e400",
    [],
    {},
]
DATES = [
    "",
    "yesterday",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Wed, 21 Oct 0000 07:28:00 GMT",
    "Wed, 21 Oct 2099 07:28:00 +2400",
    "an hour ahead",
    "an hour late",
]


@pytest.mark.parametrize("created", CREATED, ids=repr)
def test_a_lost_run_is_found_whatever_its_time(
    census: CensusStandIn, drive: Callable[..., Any], created: Any
) -> None:
    def dated(body: bytes) -> bytes:
        answer = json.loads(body)
        for run in answer["data"]:
            run["created_at"] = created
        return json.dumps(answer).encode()

    check_lost_run_is_found(census, drive, with_body(dated))


def test_a_run_of_another_sync_is_not_taken_for_the_lost_one(
    census: CensusStandIn, drive: Callable[..., Any]
) -> None:
    def foreign(body: bytes) -> bytes:
        answer = json.loads(body)
        answer["data"].insert(0, {**answer["data"][0], "id": 99_999, "sync_id": 53})
        return json.dumps(answer).encode()

    check_lost_run_is_found(census, drive, with_body(foreign))


@pytest.mark.parametrize("date", DATES, ids=repr)
def test_a_lost_run_is_found_whatever_the_clock_of_census(
    census: CensusStandIn, drive: Callable[..., Any], date: str
) -> None:
    if date.startswith("an hour"):
        date = formatdate(time.time() + (3600 if date.endswith("ahead") else -3600), usegmt=True)
    check_lost_run_is_found(census, drive, with_body(bytes, Date=date))


def check_lost_run_is_found(census: CensusStandIn, drive: Callable[..., Any], lists: Any) -> None:
    """Lose the response to the start of a run, and let all lists of runs be like this."""
    earlier = drive(starts(), 5.0)
    faults = {"trigger": replace(CLOSE, executed=True), "list": Fault("odd", lists, executed=True)}
    census.faults = lambda operation, key, before: faults.get(operation)

    def flow() -> Flow[int]:
        snapshot = RunsSnapshot.of((yield endpoints.newest_sync_runs(52)))
        assert snapshot.newest == earlier
        return (yield from starts(snapshot))

    run_id = drive(flow(), 5.0)
    assert [*census.runs] == [earlier, run_id]


AFTERS = [
    "0",
    "7",
    "-5",
    "1e9",
    "99999999999",
    "NaN",
    "inf",
    "7, 7",
    "soon",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "٣",
]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", AFTERS)
def test_no_retry_after_is_heeded_for_long(
    census: CensusStandIn, drive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, after: str, status: int
) -> None:
    act = instead(
        response(b"", status, Connection="close", Retry_After="AFTER").replace(b"AFTER", after.encode())
    )
    strike(census, "trigger", Fault("busy", act))
    with pytest.raises(CensusError) as caught:
        drive(single(endpoints.trigger_sync(52)), 5.0)
    monkeypatch.undo()
    for attempt in (1, 5, 50):
        assert 0.0 <= retries.backoff(attempt, caught.value, rng=random.Random(1)) <= 132.0


RECORDS = json.dumps({"status": "success", "data": [{"record_id": 7, "record_payload": RECORD}]}).encode()


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "body",
    [
        RECORDS[:-1],
        RECORDS[:-1] + b"!}",
        RECORDS.replace(b'"success"', b'"error"'),
        RECORDS.replace(b'"success"', b"500"),
        RECORDS.replace(b'"data"', b'"message": "no", "data"'),
        RECORDS.replace(b"[", b"").replace(b"]", b""),
        RECORDS.partition(b": [")[2][:-2],
        b"[" + RECORDS.partition(b": [")[2][:-2],
    ],
    ids=["broken off", "junk", "error", "status", "message", "object", "bare object", "half a list"],
)
def test_no_error_quotes_a_record(
    census: CensusStandIn, drive: Callable[..., Any], body: bytes, status: int
) -> None:
    strike(census, "", Fault("odd", instead(response(body, status, Connection="close"))))
    try:
        found = drive(single(endpoints.list_sync_run_records(94, page=1)), 5.0)
    except CensusError as error:
        said = as_shown(error)
    else:
        assert (status, found[0]["record_payload"]) == (200, RECORD)
        return
    assert found_in(said) == []


def test_a_list_is_not_read_on_another_host(census: CensusStandIn, drive: Callable[..., Any]) -> None:
    with CensusStandIn() as elsewhere:
        for following in (f"{elsewhere.url}/api/v1/syncs/52/sync_runs?page=2", "file:///etc/passwd?page=2"):
            body = {"data": [], "next": following}
            strike(census, "list", Fault("elsewhere", instead(response(body, Connection="close"))))
            with pytest.raises(CensusError, match="do not lead to its end: the next page is"):
                drive(fetch_all(endpoints.list_sync_runs(52), census.url), 5.0)
        assert elsewhere.received == []


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "later"])
@pytest.mark.parametrize("operation", ["run", "trigger"])
def test_a_response_too_many_is_not_taken_for_that_to_the_next_request(
    place: str, drive: Callable[..., Any], census: CensusStandIn, operation: str, pause: float
) -> None:
    """The connection is kept, and each request is answered twice."""
    census.keep_alive = True

    def twice(connection: socket.socket, right: bytes) -> None:
        connection.sendall(right)
        time.sleep(pause)
        connection.sendall(right)
        connection.settimeout(1.0)
        connection.recv(65536)

    first, second = (drive(starts(), 5.0) for _ in range(2))
    strike(census, "run", Fault("twice", twice, executed=True), 1)
    requests: dict[str, Request[Any]] = {
        "run": endpoints.get_sync_run(second),
        "trigger": endpoints.trigger_sync(52),
    }

    def flow() -> Flow[Any]:
        yield endpoints.get_sync_run(first)
        yield Sleep(2 * pause)
        return (yield requests[operation]).value

    value: Any = None
    with suppress(CensusError):  # that is so as well where the connection is seen to be out of step
        value = drive(flow(), 1.0)
    right: Any = {"id": second, "status": "completed"} if operation == "run" else max(census.runs)
    assert value is None or (value == right if operation == "trigger" else value.items() >= right.items())


@pytest.mark.parametrize("executed", [True, False], ids=["started", "not started"])
def test_a_kept_connection_that_the_server_closes_starts_one_run(
    census: CensusStandIn, drive: Callable[..., Any], executed: bool
) -> None:
    census.keep_alive = True
    earlier = drive(starts(), 5.0)
    strike(census, "trigger", replace(CLOSE, executed=executed), 1)

    def flow() -> Flow[int]:
        snapshot = RunsSnapshot.of((yield endpoints.newest_sync_runs(52)))
        return (yield from starts(snapshot))

    run_id = drive(flow(), 5.0)
    assert [*census.runs] == [earlier, run_id]


def test_a_run_that_goes_back_from_completed_to_working_has_completed(
    census: CensusStandIn, drive: Callable[..., Any]
) -> None:
    run_id = drive(starts(), 5.0)
    strike(census, "run", Fault("flaps", with_body(lambda body: body.replace(b'completed"', b'working"'))))
    faults = census.faults
    census.faults = lambda operation, key, earlier: faults(operation, key, earlier) if earlier != 2 else None
    log = Log()
    assert drive(waits(run_id, log), 5.0)["status"] == "completed"
    polls = [request for request in census.received if request.target.endswith(f"sync_runs/{run_id}")]
    assert len(polls) == 3

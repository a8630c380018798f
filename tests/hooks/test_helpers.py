# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the hook does beyond one operation of the API: going through lists, finding, waiting."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests_mock as mock

from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusError,
    CensusLookupError,
    CensusNotFoundError,
    CensusTimeoutError,
)
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.transports.worker import WorkerTransport

SOON = 0.03
"""Seconds between two looks."""

NEWER: dict[str, Any] = {
    "label": "Newer",
    "operation": "upsert",
    "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "mappings": [
        {"from": {"type": "column", "data": "EMAIL"}, "to": "external_id", "is_primary_identifier": True}
    ],
}
OLDER: dict[str, Any] = {
    "label": "Older",
    "operation": "mirror",
    "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
    "destination_attributes": {"connection_slug": "google-ads", "object": "user_data"},
    "mappings": [{"from": "email", "to": "user_identifier", "is_primary_identifier": True}],
}


class Log:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *values: Any) -> None:
        self.lines.append(message % values)

    warning = debug = info


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What hooks log."""
    log = Log()
    monkeypatch.setattr(CensusHook, "log", log)
    return log


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], mock.Mocker]]:
    """Make a Census with so many pages of a hundred things, the last one short."""
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", "census://:secret-token%3At@census.test")
    with mock.Mocker() as api:

        def serve(last: int) -> mock.Mocker:
            def page(request: Any, _: Any) -> dict[str, Any]:
                number = int(request.qs.get("page", ["1"])[0])
                first = 100 * (number - 1)
                following = number + 1 if number < last else None
                items = [{"id": first + each, "of_a_page": []} for each in range(1, 101 if following else 4)]
                return {"data": items, "pagination": {"page": number, "next_page": following}}

            api.get(mock.ANY, json=page)
            return api

        yield serve


def test_a_list_is_read_page_by_page(pages: Callable[[int], mock.Mocker]) -> None:
    api = pages(3)
    runs = CensusHook().iter_sync_runs(52, order="asc")
    assert api.call_count == 0
    seen = []
    for run in runs:
        seen.append(run["id"])
        assert api.call_count == (len(seen) - 1) // 100 + 1
    assert seen == list(range(1, 204))
    assert [sent.qs for sent in api.request_history] == [
        {"order": ["asc"], "per_page": ["100"]},
        {"order": ["asc"], "per_page": ["100"], "page": ["2"]},
        {"order": ["asc"], "per_page": ["100"], "page": ["3"]},
    ]


def test_who_stops_early_reads_no_further(pages: Callable[[int], mock.Mocker]) -> None:
    api = pages(1000)
    assert next(run["id"] for run in CensusHook().iter_sync_runs(52) if run["id"] % 150 == 0) == 150
    assert api.call_count == 2


def test_one_page_is_in_memory(pages: Callable[[int], mock.Mocker], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    send = WorkerTransport.send

    def counted(transport: WorkerTransport, request: Any) -> Any:
        gc.collect()
        kept.append(sum(type(each) is dict and "of_a_page" in each for each in gc.get_objects()))
        return send(transport, request)

    monkeypatch.setattr(WorkerTransport, "send", counted)
    pages(4)
    for run in CensusHook().iter_sync_runs(52):
        assert run
    assert len(kept) == 4
    assert max(kept) <= 1, (
        "when the next page is asked for, the caller has the last row, and nobody the others"
    )


def test_rows_belong_to_the_caller(pages: Callable[[int], mock.Mocker]) -> None:
    pages(3)
    runs = CensusHook().iter_sync_runs(52)
    assert [(run.pop("id"), run)[0] for run in runs] == list(range(1, 204))  # type: ignore[misc]


def test_a_page_that_fails_fails_the_list_when_it_is_reached(census: Sandbox) -> None:
    hook = CensusHook()
    for _ in range(3):
        hook.trigger_sync(58)
    runs = hook.iter_sync_runs(58, per_page=2)
    before = [next(runs), next(runs)]
    census.fail_next(status=400, path="/api/v1/syncs/58/sync_runs")
    with pytest.raises(CensusApiError, match="HTTP 400"):
        next(runs)
    assert before == hook.list_sync_runs(58)[:2]


def test_one_page_that_was_asked_for_is_all(pages: Callable[[int], mock.Mocker]) -> None:
    api = pages(3)
    assert [run["id"] for run in CensusHook().iter_sync_runs(52, page=2)][::99] == [101, 200]
    assert api.call_count == 1


def test_what_is_no_request_is_refused(census: Sandbox) -> None:
    with pytest.raises(ValueError, match=r"request must be made by .*api\.endpoints, not 'api/v1/syncs'"):
        CensusHook().run("api/v1/syncs")  # type: ignore[arg-type]


def test_the_latest_run_takes_one_request(census: Sandbox) -> None:
    hook = CensusHook()
    newest = hook.get_latest_sync_run(52)
    assert newest is not None
    assert newest["id"] == 94
    assert hook.get_latest_sync_run(53) is None
    assert len(census.requests) == 2
    with pytest.raises(CensusNotFoundError):
        hook.get_latest_sync_run(51)


def test_a_sync_is_found_by_its_label(census: Sandbox) -> None:
    hook = CensusHook()
    assert hook.find_sync("Completes")["id"] == 52
    assert hook.find_sync("Completes at once")["id"] == 58


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("completes", r"'Completes' \(sync 52\), 'Completes at once' \(sync 58\)"),
        ("Complete", r"'Completes' \(sync 52\)"),
        ("Rejected record", r"'Rejected records' \(sync 55\)"),
        ("Completes ", r"'Completes' \(sync 52\)"),
        ("xyz", "none"),
    ],
)
def test_a_label_that_no_sync_has_is_answered_with_near_ones(census: Sandbox, label: str, said: str) -> None:
    with pytest.raises(
        CensusLookupError, match=rf"^No sync has the label '{label}'. Near matches: {said}"
    ) as none:
        CensusHook().find_sync(label)
    assert isinstance(none.value, CensusError)
    assert isinstance(none.value, ValueError)
    assert "among 7 syncs" in str(none.value)


def test_a_label_that_several_syncs_have_is_none_of_them(census: Sandbox) -> None:
    hook = CensusHook()
    hook.update_sync(57, {"label": "Completes"})
    with pytest.raises(
        CensusLookupError, match=r"^Several syncs have the label 'Completes': 52, 57. Name the one"
    ):
        hook.find_sync("Completes")


def test_syncs_without_a_label_are_not_in_the_way(census: Sandbox) -> None:
    hook = CensusHook()
    hook.update_sync(57, {"label": None})
    hook.update_sync(56, {"label": ""})
    assert hook.find_sync("Fails")["id"] == 53
    with pytest.raises(CensusLookupError, match="Near matches: none"):
        hook.find_sync("None of these")


@pytest.mark.parametrize("label", [None, "", " ", 52, "{{ params.label }}"])
def test_what_cannot_be_a_label_is_not_looked_for(census: Sandbox, label: Any) -> None:
    with pytest.raises(ValueError, match=r"^label "):
        CensusHook().find_sync(label)
    assert census.requests == []


@pytest.mark.parametrize(
    ("sync_id", "status", "canceled"),
    [
        (52, "completed", False),
        (53, "failed", False),
        (54, "skipped", False),
        (58, "completed", False),
    ],
)
def test_a_run_is_waited_for_however_it_ends(
    census: Sandbox, log: Log, sync_id: int, status: str, canceled: bool
) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(sync_id)
    run = hook.wait_for_sync_run(sync_run_id, poll_interval=SOON)
    assert (run["id"], run["status"], run["canceled"]) == (sync_run_id, status, canceled)
    assert [line for line in log.lines if line.startswith(f"Sync run {sync_run_id} of sync {sync_id}: ")]
    assert status in log.lines[-1]


def test_a_cancelled_run_has_ended(census: Sandbox) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(57)
    hook.cancel_sync_run(sync_run_id)
    assert hook.wait_for_sync_run(str(sync_run_id), poll_interval=SOON)["canceled"] is True
    assert hook.wait_for_sync_run(hook.trigger_sync(56), poll_interval=SOON)["canceled"] is True


def test_the_log_tells_the_progress_of_a_run(census: Sandbox, log: Log) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(57)
    with pytest.raises(CensusTimeoutError):
        hook.wait_for_sync_run(sync_run_id, poll_interval=SOON, timeout=5 * SOON)
    told = [line for line in log.lines if line.startswith(f"Sync run {sync_run_id} of sync 57: ")]
    assert told
    assert len(told) == len(set(told))


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_a_wait_for_a_run_ends_in_time(census: Sandbox, timeout: float) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(57)
    with pytest.raises(
        CensusTimeoutError, match=f"^Sync run {sync_run_id} has not ended after 0 s\\b"
    ) as over:
        hook.wait_for_sync_run(sync_run_id, timeout=timeout, poll_interval=60)
    assert isinstance(over.value, TimeoutError)
    assert census.cancels == []
    assert len([path for _, path in census.requests if path.endswith(f"/{sync_run_id}")]) == (
        2 if timeout else 1
    )


def test_a_run_that_is_not_there_is_not_waited_for(census: Sandbox) -> None:
    with pytest.raises(CensusNotFoundError):
        CensusHook().wait_for_sync_run(1)
    assert len(census.requests) == 1


@pytest.mark.parametrize(
    ("refresh", "status", "args"),
    [
        ("refresh_source_tables", endpoints.get_refresh_source_tables_status, (4,)),
        ("refresh_model_columns", endpoints.get_refresh_model_columns_status, (4, 15)),
        ("refresh_table_columns", endpoints.get_refresh_table_columns_status, (4, 2)),
        ("refresh_destination_objects", endpoints.get_refresh_destination_objects_status, ("braze",)),
        (
            "refresh_destination_object_fields",
            endpoints.get_refresh_destination_object_fields_status,
            (15, "user"),
        ),
    ],
)
def test_a_refresh_is_waited_for(
    census: Sandbox, log: Log, refresh: str, status: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    hook = CensusHook()
    key = getattr(hook, refresh)(*args)
    hook.wait_for_refresh(status(*args, key), poll_interval=SOON, timeout=30)
    assert hook.run(status(*args, key)) == "completed"
    told = [line for line in log.lines if line.startswith("The refresh of /")]
    assert told[-1].endswith("_status: completed")
    # On a busy machine, the refresh may have ended before the first look.
    assert all(line.endswith("_status: processing") for line in told[:-1])


def test_a_refresh_that_takes_too_long(census: Sandbox) -> None:
    hook = CensusHook()
    status = endpoints.get_refresh_source_tables_status(4, hook.refresh_source_tables(4))
    with pytest.raises(
        CensusTimeoutError, match=r"^The refresh of /sources/4/refresh_tables_status has not ended"
    ):
        hook.wait_for_refresh(status, timeout=0)


def test_a_refresh_that_ends_otherwise(pages: Callable[[int], mock.Mocker]) -> None:
    pages(1).get(mock.ANY, json={"status": "failed"})
    with pytest.raises(CensusError, match="GET /sources/4/refresh_tables_status asks for ended as 'failed'"):
        CensusHook().wait_for_refresh(endpoints.get_refresh_source_tables_status(4, 7))


def test_a_refresh_that_nobody_started(census: Sandbox) -> None:
    with pytest.raises(CensusNotFoundError):
        CensusHook().wait_for_refresh(endpoints.get_refresh_source_tables_status(4, 7))


def test_a_sync_is_paused_and_resumed(census: Sandbox) -> None:
    hook = CensusHook()
    assert hook.pause_sync(52)["paused"] is True
    assert hook.get_sync("52")["paused"] is True
    assert hook.resume_sync(52)["paused"] is False
    assert hook.get_sync(52)["paused"] is False


@pytest.mark.parametrize(("payload", "path"), [(OLDER, "/api/v1/syncs/create"), (NEWER, "/api/v1/syncs")])
def test_a_sync_of_either_shape_is_created(census: Sandbox, payload: dict[str, Any], path: str) -> None:
    hook = CensusHook()
    sync_id = hook.create_sync(payload)
    assert census.requests == [("POST", path)]
    assert hook.find_sync(payload["label"])["id"] == sync_id
    hook.delete_sync(sync_id)
    with pytest.raises(CensusLookupError):
        hook.find_sync(payload["label"])

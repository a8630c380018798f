# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a run's status, flags, counts and times mean."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_census.api import sync_runs

URL = "https://app.getcensus.com/syncs/52/history?sync_run_id=94"
COUNTS = {
    "source_record_count": 100,
    "records_processed": 90,
    "records_updated": 80,
    "records_failed": 7,
    "records_invalid": 3,
}


def counted(status: str, **rest: Any) -> dict[str, Any]:
    return {"id": 94, "sync_id": 52, "status": status, "canceled": False, **COUNTS, **rest}


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (counted("queued"), None),
        (counted("working"), None),
        (counted("novel"), None),
        ({}, None),
        ({"status": None}, None),
        (counted("completed"), "completed"),
        (counted("failed"), "failed"),
        (counted("skipped"), "skipped"),
        (counted("cancelled"), "canceled"),
        (counted("canceled"), "canceled"),
        (counted("working", canceled=True), "canceled"),
        (counted("queued", canceled=True), "canceled"),
        (counted("failed", canceled=True), "canceled"),
        (counted("working", canceled=None), None),
    ],
)
def test_how_a_run_ended(run: dict[str, Any], outcome: str | None) -> None:
    assert sync_runs.outcome(run) == outcome


def test_where_a_run_is_shown_in_a_browser() -> None:
    assert sync_runs.browser_url("https://app.getcensus.com", counted("working")) == URL
    assert sync_runs.browser_url("https://x", {"sync_id": "a/b", "id": "?"}) == (
        "https://x/syncs/a%2Fb/history?sync_run_id=%3F"
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2021-10-22T20:20:47.153Z", 1634934047.154),
        ("2021-10-22T20:20:47Z", 1634934048.0),
        ("2021-10-22 20:20:47.5", 1634934047.6),
        ("2021-10-22", None),
        ("2021-13-22T20:20:47Z", None),
        ("", None),
        (None, None),
        (1634934047, None),
    ],
)
def test_when_a_run_was_created_at_the_latest(written: object, seconds: float | None) -> None:
    moments = sync_runs.time_range({"created_at": written}, "created_at")
    assert (moments and moments[1]) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        ("7.00", 7),
        (0, 0),
        *[(value, 0) for value in (None, True, "", "many", "٣", -1, 1.5, "1e3", "9" * 19, [7], float("nan"))],
    ],
)
def test_a_count_that_is_none_is_zero(value: object, count: int) -> None:
    assert sync_runs.count({"records_failed": value}, "records_failed") == count
    assert sync_runs.count({}, "records_failed") == 0


@pytest.mark.parametrize(
    ("run", "run_id"),
    [
        ({"id": 94}, 94),
        ({"id": "94"}, 94),
        ({"id": 94.0}, 94),
        ({"id": 2**63 - 1}, 2**63 - 1),
        *[
            ({"id": value}, 0)
            for value in (None, True, 0, -1, 94.5, float("nan"), 1e300, 2**63, "9" * 26, "x")
        ],
        ({}, 0),
    ],
)
def test_a_run_without_an_id_has_the_id_zero(run: dict[str, Any], run_id: int) -> None:
    assert sync_runs.run_id(run) == run_id


def test_a_summary_is_plain_json() -> None:
    ended = counted(
        "completed", created_at="2021-10-22T20:20:47.153Z", sync_trigger_reason={"ui_tag": "Manual"}
    )
    assert sync_runs.summary(ended, URL) == {
        "sync_id": 52,
        "sync_run_id": 94,
        "outcome": "completed",
        "status": "completed",
        **COUNTS,
        "created_at": "2021-10-22T20:20:47.153Z",
        "completed_at": None,
        "url": URL,
    }

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a run's status, flags and counts mean."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_census.api import sync_runs
from airflow_provider_census.api.sync_runs import Tolerance
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
)

URL = "https://app.getcensus.com/syncs/52/history?sync_run_id=94"
COUNTS = {
    "source_record_count": 100,
    "records_processed": 90,
    "records_updated": 80,
    "records_failed": 7,
    "records_invalid": 3,
}
SHOWN = (
    "source_record_count 100, records_processed 90, records_updated 80, records_failed 7, records_invalid 3."
)
NO_COUNTS = dict.fromkeys(COUNTS)
CAUSE = {"error_code": "JSON_ARRAY_ERROR", "error_message": "Not JSON: jim", "error_detail": "Row 7"}


def run(status: str, **rest: Any) -> dict[str, Any]:
    return {"id": 94, "sync_id": 52, "status": status, "canceled": False, **COUNTS, **rest}


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (run("queued"), None),
        (run("working"), None),
        (run("novel"), None),
        ({}, None),
        ({"status": None}, None),
        (run("completed"), "completed"),
        (run("failed"), "failed"),
        (run("skipped"), "skipped"),
        (run("cancelled"), "canceled"),
        (run("canceled"), "canceled"),
        (run("working", canceled=True), "canceled"),
        (run("queued", canceled=True), "canceled"),
        (run("failed", canceled=True), "canceled"),
        (run("working", canceled=None), None),
    ],
)
def test_how_a_run_ended(seen: dict[str, Any], outcome: str | None) -> None:
    assert sync_runs.outcome(seen) == outcome


@pytest.mark.parametrize(
    ("seen", "tolerance", "error", "words"),
    [
        (run("failed", **CAUSE), {}, CensusSyncRunFailed, "failed: JSON_ARRAY_ERROR: Not JSON: jim: Row 7."),
        (run("failed", error_message="Ends."), {}, CensusSyncRunFailed, "failed: Ends. Records"),
        (run("failed"), {}, CensusSyncRunFailed, "failed: Census gave no reason. Records"),
        (run("failed", error_message="a b", error_detail="b"), {}, CensusSyncRunFailed, "failed: a b. "),
        (run("working", canceled=True), {}, CensusSyncRunCanceled, "was cancelled. Records"),
        (run("skipped"), {}, CensusSyncRunSkipped, "was skipped by Census, because an earlier run"),
        (
            run("completed"),
            {"max_records_failed": 6},
            CensusSyncRunRejectedRecords,
            "records_failed is 7, allowed are 6. ",
        ),
        (
            run("completed"),
            {"max_records_failed": 0, "max_records_invalid": 0},
            CensusSyncRunRejectedRecords,
            "records_failed is 7, allowed are 0; records_invalid is 3, allowed are 0. ",
        ),
    ],
)
def test_what_fails_a_task_and_what_it_says(
    seen: dict[str, Any], tolerance: dict[str, Any], error: type[CensusSyncRunError], words: str
) -> None:
    verdict = sync_runs.judge(seen, Tolerance(**tolerance), URL)
    assert type(verdict.error) is error
    assert verdict.error.sync_run is seen
    assert str(verdict.error) == verdict.message
    assert "Sync run 94 of sync 52 " in verdict.message
    assert words in verdict.message
    assert verdict.message.endswith(URL)
    assert (SHOWN in verdict.message) == (error is not CensusSyncRunSkipped)


@pytest.mark.parametrize(
    ("seen", "tolerance", "skip", "warn"),
    [
        (run("completed", records_failed=0, records_invalid=0), {}, False, False),
        (run("completed", **NO_COUNTS), {"max_records_failed": 0}, False, False),
        (run("completed"), {}, False, True),
        (run("completed"), {"max_records_failed": 7, "max_records_invalid": 3}, False, True),
        (run("skipped"), {"on_skipped_run": "skip"}, True, True),
        (run("skipped"), {"on_skipped_run": "succeed"}, False, True),
    ],
)
def test_what_does_not_fail_a_task(
    seen: dict[str, Any], tolerance: dict[str, Any], skip: bool, warn: bool
) -> None:
    verdict = sync_runs.judge(seen, Tolerance(**tolerance), URL)
    assert (verdict.error, verdict.skip, verdict.warn) == (None, skip, warn)
    assert verdict.message.endswith(URL)


def test_counts_that_are_not_known_are_said_to_be_so() -> None:
    message = sync_runs.judge(run("failed", **NO_COUNTS), Tolerance(), URL).message
    assert "records_updated unknown" in message


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("on_skipped_run", "ignore"),
        ("on_skipped_run", None),
        ("max_records_failed", -1),
        ("max_records_failed", True),
        ("max_records_invalid", "3"),
        ("max_records_invalid", 0.5),
    ],
)
def test_a_tolerance_that_means_nothing_is_refused(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{argument} "):
        Tolerance(**{argument: value})


@pytest.mark.parametrize(
    ("seen", "progress"),
    [
        ({"status": "queued"}, "queued"),
        (run("working", records_processed=None), "working"),
        (run("working", current_step="Running sync"), "working, Running sync, 90 of 100 records (90 %)"),
        (run("working", source_record_count=None), "working, 90 records"),
        (run("working", records_processed=120), "working, 120 of 100 records (100 %)"),
    ],
)
def test_how_far_a_run_is(seen: dict[str, Any], progress: str) -> None:
    assert sync_runs.progress(seen) == progress


def test_where_a_run_is_seen_in_a_browser() -> None:
    assert sync_runs.browser_url("https://app.getcensus.com", run("working")) == URL
    assert sync_runs.browser_url("https://x", {"sync_id": "a/b", "id": "?"}) == (
        "https://x/syncs/a%2Fb/history?sync_run_id=%3F"
    )

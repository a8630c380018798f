# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox tells row by row what a run did, through v1 and v2."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from staging import START, Caller

DAY = 24 * 3600.0


def rows_of(census: Caller, sync_run_id: int, **filters: Any) -> list[dict[str, Any]]:
    """Every row, page by page."""
    rows: list[dict[str, Any]] = []
    page: int | None = 1
    while page:
        answer = census.call(
            "GET", f"/sync_runs/{sync_run_id}/records", params={"page": page, "per_page": 100, **filters}
        ).json()
        rows += answer["data"]
        page = answer["pagination"]["next_page"]
    return rows


def ended(census: Caller, sync_id: int) -> int:
    sync_run_id = census.trigger(sync_id)
    census.clock.now = START + 60
    return sync_run_id


def test_a_row_says_who_was_synced(either: Caller) -> None:
    assert either.data(f"/sync_runs/{ended(either, 55)}/records")[0] == {
        "record_payload": {
            "external_id": "ada.lovelace.1@example.com",
            "email": "ada.lovelace.1@example.com",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "phone": "+1-555-0100",
        },
        "identifier": "ada.lovelace.1@example.com",
        "batch_started_at": "2023-11-14T22:13:21.000Z",
        "batch_completed_at": "2023-11-14T22:13:21.400Z",
        "operation": "upsert",
        "status": "succeeded",
        "status_message": "",
    }


def test_rows_say_who_was_not_and_why(either: Caller) -> None:
    rows = rows_of(either, ended(either, 55))

    assert len(rows) == 1000
    assert Counter(row["status"] for row in rows) == {
        "succeeded": 995,
        "rejected": 3,
        "invalid": 1,
        "NULL": 1,
    }
    assert [
        (row["identifier"], row["status_message"].partition(":")[0])
        for row in rows
        if row["status"] != "succeeded"
    ] == [
        ("ada.turing.996 at example.com", "INVALID_EMAIL"),
        ("grace.turing.997 at example.com", "INVALID_EMAIL"),
        ("edsger.turing.998@example.com", "CONTACT_EXISTS"),
        ("barbara.turing.999@example.com", "The value of EMAIL is longer than 2000 characters"),
        (None, "The primary identifier is null"),
    ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 1000),
        ({"status": "succeeded"}, 995),
        ({"status": "rejected"}, 3),
        ({"status": "invalid"}, 2),
        ({"operation": "upsert"}, 990),
        ({"operation": "delete"}, 10),
        ({"status": "invalid", "operation": "delete"}, 1),
        ({"primary_identifier": "grace.turing.997 at example.com"}, 1),
        ({"primary_identifier": "nobody@example.com"}, 0),
    ],
    ids=str,
)
def test_rows_are_filtered_and_counted(either: Caller, filters: dict[str, str], count: int) -> None:
    sync_run_id = ended(either, 55)

    assert len(rows_of(either, sync_run_id, **filters)) == count
    counted = either.call("GET", f"/sync_runs/{sync_run_id}/records_count", params=filters)
    assert counted.json() == {"status": "success", "data": [{"record_count": count}]}


@pytest.mark.parametrize("what", ["records", "records_count", "records_export"])
@pytest.mark.parametrize("wrong", [{"status": "lost"}, {"operation": "insert"}], ids=str)
def test_a_filter_that_makes_no_sense_is_refused(census: Caller, what: str, wrong: dict[str, str]) -> None:
    answer = census.call("GET", f"/sync_runs/{ended(census, 55)}/{what}", params=wrong)

    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["message"]


@pytest.mark.parametrize(
    ("sync_id", "after", "count"),
    [(52, 0.5, 0), (52, 3.0, 500), (53, 60, 0), (54, 60, 0), (56, 60, 500)],
    ids=["queued", "halfway", "failed", "skipped", "cancelled"],
)
def test_there_is_a_row_for_each_record_that_a_run_has_processed(
    census: Caller, sync_id: int, after: float, count: int
) -> None:
    sync_run_id = census.trigger(sync_id)
    census.clock.now = START + after

    assert len(rows_of(census, sync_run_id)) == count


@pytest.mark.parametrize(
    ("what", "status_code"), [("records", 410), ("records_count", 410), ("records_export", 400)]
)
def test_rows_are_kept_for_14_days(either: Caller, what: str, status_code: int) -> None:
    sync_run_id = either.trigger(52)

    def asked(run: int, after: float) -> int:
        either.clock.now = START + after
        return either.call("GET", f"/sync_runs/{run}/{what}").status_code

    assert [asked(sync_run_id, 13.9 * DAY), asked(sync_run_id, 14.1 * DAY)] == [200, status_code]
    assert asked(94, 0) == status_code
    assert asked(1, 0) == 404


def test_an_export_takes_two_seconds_once_the_run_is_over(either: Caller) -> None:
    sync_run_id = either.trigger(55)

    def export(after: float) -> Any:
        either.clock.now = START + after
        return either.call("GET", f"/sync_runs/{sync_run_id}/records_export", params={"status": "rejected"})

    assert [export(after).status_code for after in (0, 4.9, 6.9, 7.0)] == [425, 425, 425, 200]
    assert export(4.9).json()["status"] == "error"
    assert export(7.0).json() == {
        "status": "success",
        "urls": [f"{either.url}/exports/{sync_run_id}/part-0.parquet?signature=made-up&status=rejected"],
    }

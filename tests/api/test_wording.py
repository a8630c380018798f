# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a person reads of syncs, runs and records."""

from __future__ import annotations

from typing import Any

import pytest
from flow_helpers import sync_run

from airflow_provider_census.api import wording
from airflow_provider_census.api.syncs import own_schedule
from airflow_provider_census.exceptions import CensusConnectionError

NOON = 1_769_860_800.0  # 2026-01-31T12:00:00Z
HALF_PAST = NOON + 1800


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (9.2, "9 s"),
        (59.6, "1 min"),
        (310, "5 min 10 s"),
        (7200, "2 h"),
        (7261, "2 h 1 min"),
        (86400, "1 day"),
        (90000, "1 day 1 h"),
        (86400 * 7, "7 days"),
        (86400 * 21 + 60, "21 days"),
        (-5, "0 s"),
    ],
)
def test_a_time_span(seconds: float, words: str) -> None:
    assert wording.span(seconds) == words


def counted(**fields: Any) -> dict[str, Any]:
    counts = {"source_record_count": 100, "records_processed": 90}
    return sync_run("working", **{**counts, **fields})


@pytest.mark.parametrize(
    ("run", "now", "words"),
    [
        ({"status": "queued"}, NOON, "queued"),
        (counted(records_processed=None), None, "working"),
        (counted(current_step="Running sync"), None, "90 %, 90 of 100 records, Running sync"),
        (counted(source_record_count=None), None, "90 records, working"),
        (counted(records_processed=120), None, "100 %, 120 of 100 records, working"),
        (
            counted(records_processed=60, created_at="2026-01-31T12:00:00Z"),
            HALF_PAST,
            "60 %, 60 of 100 records, for 30 min, about 20 min left, working",
        ),
        (
            counted(records_processed=2, created_at="2026-01-31T12:00:00Z"),
            HALF_PAST,
            "2 %, 2 of 100 records, for 30 min, working",
        ),
        (counted(created_at="2026-01-31T13:00:00Z"), HALF_PAST, "90 %, 90 of 100 records, working"),
    ],
)
def test_how_far_a_run_is(run: dict[str, Any], now: float | None, words: str) -> None:
    assert wording.progress(run, now) == words


@pytest.mark.parametrize(
    ("sync", "name"),
    [
        (None, ""),
        ({}, ""),
        ({"label": "Users", "destination_attributes": {"connection_slug": "braze"}}, "Users → braze"),
        (
            {
                "label": None,
                "source_attributes": {"connection_id": 4, "object": {"type": "model", "name": "customers"}},
                "destination_attributes": {"connection_id": 15, "object": "Contact"},
            },
            "customers → Contact",
        ),
        ({"source_attributes": {"type": "model", "model_name": "test_ads"}}, "test_ads"),
        ({"label": "x" * 99, "source_attributes": None}, "x" * 60 + "…"),
        ({"label": "a\n::group::b"}, "a : :group: :b"),
    ],
)
def test_the_name_of_a_sync(sync: Any, name: str) -> None:
    assert wording.sync_name(sync) == name


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "run 94: working"),
        ({"sync_trigger_reason": {"ui_tag": "Schedule"}}, "run 94, started by Schedule: working"),
        (
            {"created_at": "2026-01-31T12:00:00Z", "sync_trigger_reason": {"ui_tag": "Manual"}},
            "run 94, started 30 min ago by Manual: working",
        ),
        ({"sync_trigger_reason": "odd"}, "run 94: working"),
        (
            {
                "sync_trigger_reason": {
                    "ui_tag": "Manual",
                    "ui_detail": "Manually triggered by ada@example.com",
                }
            },
            "run 94, started by Manual: working (Manually triggered by ada@example.com)",
        ),
    ],
)
def test_another_run(fields: dict[str, Any], words: str) -> None:
    run = {"id": 94, "sync_id": 52, "status": "working", **fields}
    assert wording.other_run(run, HALF_PAST) == words


@pytest.mark.parametrize(
    ("sync", "schedule"),
    [
        ({}, ""),
        ({"schedule_frequency": "never"}, ""),
        ({"schedule_frequency": "hourly"}, "hourly"),
        ({"mode": {"type": "live"}}, "live"),
        ({"mode": {"type": "triggered", "triggers": {"schedule": {"frequency": "daily"}}}}, "on a schedule"),
        ({"mode": {"type": "triggered", "triggers": {"schedule": {"frequency": "never"}}}}, ""),
        ({"mode": {"type": "triggered", "triggers": {"dbt_cloud": {}}}}, ""),
        ({"triggers": {"schedule": {"frequency": "daily"}}}, "on a schedule"),
        ({"mode": "odd", "triggers": []}, ""),
        ({"schedule_frequency": "a\n::group::b"}, "a : :group: :b"),
    ],
)
def test_the_schedule_that_a_sync_has_of_its_own(sync: dict[str, Any], schedule: str) -> None:
    assert own_schedule(sync) == schedule


@pytest.mark.parametrize("connection", ["", "connection 'x' (https://app.getcensus.com, v2)"])
def test_an_outage_begins_with_what_it_is(connection: str) -> None:
    error = CensusConnectionError("Connection refused (GET /sync_runs/94).", sent=False)
    error.connection = connection
    assert wording.trouble(error) == "Connection refused (GET /sync_runs/94)" + (
        f" · {connection}" if connection else ""
    )
    assert str(error).startswith(connection)


def rejected(identifier: str, message: str | None) -> Any:
    return {
        "identifier": identifier,
        "status": "rejected",
        "status_message": message,
        "record_payload": {"email": "secret@example.com"},
    }


def test_rejected_records_are_grouped_by_reason_and_show_no_payload() -> None:
    records = [rejected(f"u{number}", "INVALID_EMAIL: no address") for number in range(7)]
    records += [rejected("u8", None), rejected("u9", "x" * 999)]
    lines = wording.rejected_records(records, 6)
    assert lines[0] == "7 \N{MULTIPLICATION SIGN} INVALID_EMAIL: no address (u0, u1, …)"
    assert lines[1:] == ["1 \N{MULTIPLICATION SIGN} rejected (u8)", lines[2]]
    assert len(lines[2]) < 350
    assert "secret" not in "".join(lines)

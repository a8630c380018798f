# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A run of the sandbox goes through the stages of a real one."""

from __future__ import annotations

from typing import Any

import pytest
from staging import NO_ERROR, START, Caller, Stage, run_of

from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sandbox.data import STEPS


def test_a_run_that_is_queued_has_counted_nothing(census: Caller) -> None:
    run = census.run(census.trigger(52), after=0.9)

    assert run == {
        "id": 1234567890,
        "sync_id": 52,
        "source_record_count": None,
        "records_processed": None,
        "records_updated": None,
        "records_failed": None,
        "records_invalid": 0,
        "created_at": "2023-11-14T22:13:20.000Z",
        "updated_at": "2023-11-14T22:13:20.000Z",
        "completed_at": None,
        "scheduled_execution_time": None,
        **NO_ERROR,
        "status": "queued",
        "canceled": False,
        "full_sync": False,
        "sync_trigger_reason": {"ui_tag": "API", "ui_detail": "Triggered through the API of the sandbox"},
    }


def test_a_run_that_works_walks_through_the_steps_and_processes_more_and_more(census: Caller) -> None:
    sync_run_id = census.trigger(52)
    runs = [census.run(sync_run_id, after=1.0 + eighth * 0.5) for eighth in range(8)]

    assert [run["current_step"] for run in runs] == list(STEPS)
    assert [run["records_processed"] for run in runs] == [0, 125, 250, 375, 500, 625, 750, 875]
    assert {(run["status"], run["source_record_count"], run["completed_at"]) for run in runs} == {
        ("working", 1000, None)
    }
    assert {(run["records_updated"], run["records_failed"]) for run in runs} == {(None, None)}


@pytest.mark.parametrize(
    ("sync_id", "ends"),
    [
        pytest.param(
            52,
            {
                "status": "completed",
                "completed_at": "2023-11-14T22:13:25.000Z",
                "records_processed": 1000,
                "records_updated": 1000,
                "records_failed": 0,
                "records_invalid": 0,
                **NO_ERROR,
            },
            id="52 completes",
        ),
        pytest.param(
            53,
            {
                "status": "failed",
                "current_step": "Running sync",
                "completed_at": None,
                "updated_at": "2023-11-14T22:13:25.000Z",
                "source_record_count": 1000,
                "records_processed": None,
                "records_updated": None,
                "records_failed": None,
                "records_invalid": 0,
                "error_code": "JSON_ARRAY_ERROR",
            },
            id="53 fails",
        ),
        pytest.param(
            54,
            {
                "status": "skipped",
                "completed_at": None,
                "source_record_count": None,
                "records_processed": None,
                "canceled": False,
                **NO_ERROR,
            },
            id="54 is skipped",
        ),
        pytest.param(
            55,
            {
                "status": "completed",
                "records_processed": 1000,
                "records_updated": 995,
                "records_failed": 3,
                "records_invalid": 2,
            },
            id="55 completes with rejected records",
        ),
        pytest.param(
            56,
            {
                "status": "completed",
                "canceled": True,
                "completed_at": "2023-11-14T22:13:24.000Z",
                "updated_at": "2023-11-14T22:13:24.000Z",
                "records_processed": 500,
                "records_updated": 500,
                "records_failed": 0,
            },
            id="56 is canceled",
        ),
        pytest.param(
            57,
            {"status": "working", "canceled": False, "completed_at": None},
            id="57 goes on and on",
        ),
    ],
)
def test_every_sync_ends_its_runs_in_its_own_way(census: Caller, sync_id: int, ends: dict[str, Any]) -> None:
    run = census.run(census.trigger(sync_id), after=60)

    assert run | ends == run


def test_a_failed_run_says_what_the_documentations_failed_run_says(census: Caller) -> None:
    run = census.run(census.trigger(53), after=60)
    documented = census.data("/sync_runs/93")

    assert run.keys() == documented.keys()
    assert {name: run[name] for name in NO_ERROR} == {name: documented[name] for name in NO_ERROR}


def test_a_completed_run_has_the_fields_of_the_documentations(census: Caller) -> None:
    assert census.run(census.trigger(52), after=60).keys() == census.data("/sync_runs/94").keys()


def test_a_run_of_58_has_completed_when_it_is_first_read(census: Caller) -> None:
    run = census.run(census.trigger(58), after=0)

    assert (run["status"], run["completed_at"]) == ("completed", "2023-11-14T22:13:20.000Z")
    assert run["records_updated"] == 1000


def test_a_canceled_run_says_so_while_its_status_is_still_working(census: Caller) -> None:
    sync_run_id = census.trigger(56)

    seen = [census.run(sync_run_id, after=after) for after in (2.9, 3.0, 3.9, 4.0)]

    assert [(run["status"], run["canceled"]) for run in seen] == [
        ("working", False),
        ("working", True),
        ("working", True),
        ("completed", True),
    ]


def test_a_canceled_run_has_the_status_that_one_client_expects_if_asked_for() -> None:
    with Sandbox(cancelled_as="cancelled", clock=lambda: START) as sandbox:
        sync_run_id = sandbox.start_run(57)
        sandbox.finish_run(sync_run_id, "cancelled")

        run = run_of(sandbox, sync_run_id)

    assert (run["status"], run["canceled"], run["completed_at"]) == ("cancelled", True, None)


def test_a_cancellation_stops_a_long_run(census: Caller) -> None:
    sync_run_id = census.trigger(57)
    census.clock.now = START + 901.0

    answer = census.call("POST", f"/sync_runs/{sync_run_id}/cancel")

    assert (answer.status_code, answer.json()) == (200, {"status": "cancelled", "data": {}})
    stopped = census.run(sync_run_id, after=1000)
    assert (stopped["status"], stopped["canceled"], stopped["records_processed"]) == ("completed", True, 500)


def test_a_run_canceled_in_the_queue_never_works(census: Caller) -> None:
    sync_run_id = census.trigger(52)
    census.call("POST", f"/sync_runs/{sync_run_id}/cancel")

    seen = [census.run(sync_run_id, after=after) for after in (0.5, 1.0)]

    assert [(run["status"], run["canceled"]) for run in seen] == [("queued", True), ("completed", True)]
    assert seen[-1]["records_processed"] is None


@pytest.mark.parametrize("sync_id", [52, 53, 54, 58])
def test_a_cancellation_changes_nothing_about_a_run_that_is_over(census: Caller, sync_id: int) -> None:
    sync_run_id = census.trigger(sync_id)
    ended = census.run(sync_run_id, after=60)

    assert census.call("POST", f"/sync_runs/{sync_run_id}/cancel").status_code == 200
    assert census.run(sync_run_id, after=120) == ended


def test_canceling_again_does_not_keep_a_run_alive(census: Caller) -> None:
    sync_run_id = census.trigger(57)
    for after in (10.0, 10.9):
        census.clock.now = START + after
        census.call("POST", f"/sync_runs/{sync_run_id}/cancel")

    assert census.run(sync_run_id, after=11.0)["status"] == "completed"


def test_a_run_is_skipped_while_an_earlier_one_of_its_sync_goes_on(census: Caller) -> None:
    first, second = census.trigger(52), census.trigger(52)
    other = census.trigger(55)
    census.clock.now = START + 5
    third = census.trigger(52)

    assert [census.run(run, after=60)["status"] for run in (first, second, third, other)] == [
        "completed",
        "skipped",
        "completed",
        "completed",
    ]


def test_a_skipped_run_is_no_reason_to_skip_the_next(census: Caller) -> None:
    census.trigger(52)
    census.clock.now = START + 4.5
    waiting = census.trigger(52)
    census.clock.now = START + 5
    later = census.trigger(52)

    assert census.run(waiting, after=5)["status"] == "queued"
    assert census.run(waiting, after=60)["status"] == "skipped"
    assert census.run(later, after=60)["status"] == "completed"


def test_triggered_runs_are_listed_before_the_older_ones(census: Caller) -> None:
    sync_run_id = census.trigger(52)

    assert [run["id"] for run in census.data("/syncs/52/sync_runs")] == [sync_run_id, 94, 93, 92]


def test_pace_shortens_every_stage(stage: Stage) -> None:
    census = stage.caller(pace=0.1)
    sync_run_id = census.trigger(52)

    seen = [census.run(sync_run_id, after=after)["status"] for after in (0.05, 0.3, 0.55)]

    assert seen == ["queued", "working", "completed"]


@pytest.mark.parametrize(
    ("options", "full_sync"),
    [
        ({}, False),
        ({"params": {"force_full_sync": "true"}}, True),
        ({"params": {"force_full_sync": "false"}}, False),
        ({"json": {"force_full_sync": True}}, True),
        ({"json": {"force_full_sync": False}}, False),
    ],
)
def test_a_full_sync_is_forced_in_the_query_or_in_the_body(
    census: Caller, options: dict[str, Any], full_sync: bool
) -> None:
    answer = census.call("POST", "/syncs/52/trigger", **options)

    assert answer.json() == {"status": "success", "data": {"sync_run_id": 1234567890}}
    assert census.run(1234567890, after=0)["full_sync"] is full_sync


@pytest.mark.parametrize(
    ("path", "options", "status_code"),
    [
        ("/syncs/99/trigger", {}, 404),
        ("/sync_runs/99/cancel", {}, 404),
        ("/syncs/52/trigger", {"params": {"force_full_sync": "perhaps"}}, 422),
        ("/syncs/52/trigger", {"json": ["force_full_sync"]}, 400),
        ("/syncs/52/trigger", {"data": "{", "headers": {"Content-Type": "application/json"}}, 400),
        ("/syncs/52/trigger", {"data": {"force_full_sync": "true"}}, 415),
    ],
)
def test_a_call_that_makes_no_sense_does_nothing(
    census: Caller, path: str, options: dict[str, Any], status_code: int
) -> None:
    answer = census.call("POST", path, **options)

    assert answer.status_code == status_code
    assert answer.json()["message"]
    assert [run["id"] for run in census.data("/syncs/52/sync_runs")] == [94, 93, 92]

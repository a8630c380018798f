# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox answers over a real socket as Census' documentation says."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
import requests
from staging import START, TOKEN, Caller, Stage

from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sandbox.__main__ import main
from airflow_provider_census.sandbox.data import STEPS
from airflow_provider_census.sandbox.outcomes import OUTCOMES

if TYPE_CHECKING:
    from pathlib import Path

NO_ERROR = {"error_code": None, "error_message": None, "error_detail": None}
BODY: dict[str, Any] = {  # the documentation's own example
    "label": "TEST 1",
    "operation": "mirror",
    "schedule_frequency": "daily",
    "destination_attributes": {"connection_slug": "google-ads", "object": "user_data"},
    "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
    "mappings": [
        {
            "from": "hashed_email",
            "to": "user_identifier.hashed_email_PREHASHED",
            "is_primary_identifier": True,
        },
        {"from": "list_id", "to": "list_id", "lookup_object": "user_list", "lookup_field": "name"},
        {"from": {"value": "cohort_1", "type": "text"}, "to": "cohort"},
    ],
}
NEWER_BODY: dict[str, Any] = {
    "operation": "upsert",
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
    "mappings": [
        {
            "from": {"type": "column", "data": "EMAIL"},
            "to": "external_id",
            "is_primary_identifier": True,
        },
        {
            "from": {"type": "constant_value", "data": {"value": "x", "basic_type": "text"}},
            "to": "first_name",
        },
    ],
}


def call(sandbox: Sandbox, method: str, path: str, **options: Any) -> requests.Response:
    options.setdefault("headers", {"Authorization": f"Bearer {sandbox.token}"})
    return requests.request(method, f"{sandbox.url}{path}", timeout=10, **options)


# Reading


@pytest.mark.parametrize(
    ("path", "ids"),
    [("/sources", [4, 10]), ("/destinations", [12, 6, 15, 14]), ("/syncs", list(OUTCOMES))],
)
def test_lists_hold_what_the_documentation_lists(census: Caller, path: str, ids: list[int]) -> None:
    assert [item["id"] for item in census.data(path)] == ids


@pytest.mark.parametrize("unlisted", ["data_sources", "objects"])
def test_lists_leave_the_details_to_the_single_answers(census: Caller, unlisted: str) -> None:
    assert not any(unlisted in item for path in ("/sources", "/destinations") for item in census.data(path))


@pytest.mark.parametrize(
    ("by_id", "by_slug"),
    [("/sources/4", "/sources/snowflake-xxxxxxx-us-east-1"), ("/destinations/15", "/destinations/braze")],
)
def test_a_connection_is_found_by_id_and_by_slug(census: Caller, by_id: str, by_slug: str) -> None:
    assert census.data(by_id) == census.data(by_slug)


def test_a_source_holds_its_tables_and_models(census: Caller) -> None:
    entries = census.data("/sources/4")["data_sources"]

    assert [(entry["type"], entry["id"]) for entry in entries] == [
        ("table", 2),
        ("model", 15),
        ("model", 18),
        ("model", 3),
    ]
    assert not any("columns" in entry for entry in entries)


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("/sources/4/models/18", ["ABOUT", "NAME", "COMPANY_ID", "INDUSTRIES"]),
        ("/sources/4/models/15", ["EMAIL", "RANDOM_PROP"]),
        ("/sources/4/models/3", ["EMAIL", "LIST_ID"]),
        ("/sources/snowflake-xxxxxxx-us-east-1/tables/2", ["ABOUT", "CUSTOMER_ID", "NAME", "INDUSTRIES"]),
    ],
)
def test_a_model_or_table_holds_its_columns(census: Caller, path: str, columns: list[str]) -> None:
    assert [column["name"] for column in census.data(path)["columns"]] == columns


def test_an_object_holds_its_fields(census: Caller) -> None:
    fields = census.data("/destinations/braze/objects/user")["fields"]

    assert [field["full_name"] for field in fields] == [
        "first_name",
        "last_name",
        "company",
        "external_id",
        "email",
    ]
    assert [field["full_name"] for field in fields if field["can_be_upsert_key"]] == ["external_id"]
    assert [field["lookup_object"] for field in fields if field["lookup_object"]] == ["company"]


def test_an_object_with_an_awkward_name_is_found_when_all_of_it_is_escaped(census: Caller) -> None:
    name = "a/b c?d#é"

    assert census.data(f"/destinations/hubspot/objects/{quote(name, safe='')}")["full_name"] == name
    assert census.call("GET", f"/destinations/hubspot/objects/{quote(name, safe='/')}").status_code == 404


def test_the_documentations_runs_are_there_newest_first(census: Caller) -> None:
    runs = census.data("/syncs/52/sync_runs")

    assert [(run["id"], run["status"], run["error_code"]) for run in runs] == [
        (94, "completed", None),
        (93, "failed", "JSON_ARRAY_ERROR"),
        (92, "completed", None),
    ]
    assert census.data("/sync_runs/93") == runs[1]


@pytest.mark.parametrize(
    "path",
    [
        "/sources/99",
        "/sources/99/models/18",
        "/sources/10/models/18",
        "/sources/4/models/2",
        "/sources/4/tables/18",
        "/destinations/nobody",
        "/destinations/braze/objects/nobody",
        "/syncs/99",
        "/syncs/99/sync_runs",
        "/sync_runs/1",
        "/sync_runs/abc",
        "/nothing",
        "/sources/",
    ],
)
def test_what_is_not_there_is_answered_with_404_as_a_number(census: Caller, path: str) -> None:
    answer = census.call("GET", path)

    assert (answer.status_code, answer.json()["status"]) == (404, 404)


# Pages


def test_a_list_says_which_page_it_is(census: Caller) -> None:
    assert census.call("GET", "/sources").json()["pagination"] == {
        "total_records": 2,
        "per_page": 25,
        "page": 1,
        "prev_page": None,
        "next_page": None,
        "last_page": 1,
    }


@pytest.mark.parametrize(
    ("page", "ids", "prev_page", "next_page"),
    [(1, [94, 93], None, 2), (2, [92], 1, None), (3, [], None, None)],
)
def test_runs_come_in_pages(
    census: Caller, page: int, ids: list[int], prev_page: int | None, next_page: int | None
) -> None:
    answer = census.call("GET", "/syncs/52/sync_runs", params={"page": page, "per_page": 2}).json()

    assert [run["id"] for run in answer["data"]] == ids
    assert answer["pagination"] == {
        "total_records": 3,
        "per_page": 2,
        "page": page,
        "prev_page": prev_page,
        "next_page": next_page,
        "last_page": 2,
    }


def test_a_list_of_v1_says_where_the_next_page_is(census: Caller) -> None:
    url = f"{census.url}/api/v1/syncs/52/sync_runs?order=asc&per_page=2"
    seen = []
    while url:
        answer = census.session.get(url, timeout=10).json()
        seen += [run["id"] for run in answer["data"]]
        url = answer["next"]

    assert seen == [92, 93, 94]
    assert "next" not in census.through("v2").call("GET", "/syncs").json()


def test_page_0_is_the_first(census: Caller) -> None:
    answer = census.call("GET", "/syncs/52/sync_runs", params={"page": "0", "per_page": 2}).json()

    assert [run["id"] for run in answer["data"]] == [94, 93]
    assert answer["pagination"]["page"] == 1


def test_runs_come_oldest_first_when_asked(census: Caller) -> None:
    assert [run["id"] for run in census.data("/syncs/52/sync_runs", order="asc")] == [92, 93, 94]


def test_a_page_never_holds_more_than_100(census: Caller) -> None:
    for _ in range(101):
        census.trigger(58)

    answer = census.call("GET", "/syncs/58/sync_runs", params={"per_page": 1000}).json()

    assert (len(answer["data"]), answer["pagination"]["per_page"]) == (100, 100)


@pytest.mark.parametrize(
    "wrong",
    [{"per_page": "many"}, {"page": "-1"}, {"page": "9" * 5000}, {"order": "newest"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_page_that_makes_no_sense_is_refused(census: Caller, wrong: dict[str, str]) -> None:
    answer = census.call("GET", "/syncs/52/sync_runs", params=wrong)

    assert (answer.status_code, answer.json()["status"]) == (422, "error")
    assert next(iter(wrong)) in answer.json()["message"]


# The token


@pytest.mark.parametrize(
    ("options", "status_code"),
    [
        ({"headers": {"Authorization": f"Bearer {TOKEN}"}}, 200),
        ({"headers": {"Authorization": f"bearer {TOKEN}"}}, 200),
        ({"auth": ("bearer", TOKEN)}, 200),
        ({"headers": {}}, 401),
        ({"headers": {"Authorization": TOKEN}}, 401),
        ({"headers": {"Authorization": "Bearer sandbox"}}, 401),
        ({"auth": (TOKEN, "")}, 401),
        ({"auth": ("bearer", "sandbox")}, 401),
    ],
)
def test_only_the_token_is_let_in(sandbox: Sandbox, options: dict[str, Any], status_code: int) -> None:
    options = {"headers": {}, **options}
    answer = call(sandbox, "GET", "/api/v1/sources", **options)

    assert answer.status_code == status_code
    if status_code == 401:
        assert answer.json()["status"] == 401
        assert "token" in answer.json()["message"]


# Runs


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


# Creating syncs


def newer(**changed: Any) -> dict[str, Any]:
    return {**NEWER_BODY, **changed}


def reading(origin: dict[str, Any]) -> dict[str, Any]:
    """The newer body, with a mapping that reads this."""
    return newer(mappings=[NEWER_BODY["mappings"][0], {"from": origin, "to": "first_name"}])


def source(**object_: Any) -> dict[str, Any]:
    return {"connection_id": 4, "object": object_}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY, id="older form"),
        pytest.param(NEWER_BODY, id="newer form"),
        pytest.param(newer(source_attributes=source(type="dataset", id=61)), id="dataset"),
        pytest.param(newer(source_attributes=source(type="segment", id=31)), id="segment"),
        pytest.param(newer(source_attributes=source(type="topic", id=1)), id="topic"),
        pytest.param(newer(source_attributes=source(type="cohort", id=1)), id="cohort"),
        pytest.param(
            newer(source_attributes={"object": {"type": "model", "name": "braze_test"}}),
            id="model without a connection",
        ),
        pytest.param(reading({"type": "sync_metadata", "data": "sync_run_id"}), id="sync_metadata"),
        pytest.param(
            reading({"type": "segment_membership", "data": {"identify_by": "name"}}), id="segment_membership"
        ),
        pytest.param(
            reading({"type": "liquid_template", "data": "{{ record['EMAIL'] }}"}), id="liquid_template"
        ),
        pytest.param(
            newer(
                operation="mirror",
                destination_attributes={"connection_id": 12, "object": "Sheet 1"},
                mappings=[{"from": {"type": "column", "data": "EMAIL"}, "to": "EMAIL"}],
            ),
            id="mirror to a sheet",
        ),
        pytest.param(newer(field_behavior="sync_all_properties", mappings=[]), id="all properties"),
        pytest.param(
            newer(mode={"type": "triggered", "triggers": {"schedule": {"frequency": "daily"}}}), id="mode"
        ),
    ],
)
def test_a_created_sync_can_be_read_and_its_runs_complete(census: Caller, body: dict[str, Any]) -> None:
    answer = census.call("POST", "/syncs/create", json=body)

    assert (answer.status_code, answer.json()) == (201, {"status": "created", "data": {"sync_id": 4545}})
    created = census.data("/syncs/4545")
    assert created | body == created
    assert (created["id"], created["created_at"]) == (4545, "2023-11-14T22:13:20.000Z")
    assert census.run(census.trigger(4545), after=60)["status"] == "completed"


@pytest.mark.parametrize(("body", "status_code"), [(BODY, 200), ({**BODY, "mappings": []}, 422)])
def test_a_sync_that_is_only_validated_is_not_created(
    census: Caller, body: dict[str, Any], status_code: int
) -> None:
    before = census.data("/syncs")

    assert census.call("POST", "/syncs", json={**body, "validate_only": True}).status_code == status_code
    assert census.data("/syncs") == before


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in BODY.items() if key != name}


def with_mapping(**mapping: Any) -> dict[str, Any]:
    return {**BODY, "mappings": [BODY["mappings"][0], mapping]}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (without("operation"), "operation is required"),
        (without("source_attributes"), "source_attributes is required"),
        (without("destination_attributes"), "destination_attributes is required"),
        (without("mappings"), "mappings is required"),
        ({**BODY, "mappings": []}, "mappings is required"),
        ({**BODY, "mappings": "all"}, "mappings must be a list of objects"),
        ({**BODY, "operation": "replace"}, "operation must be one of"),
        ({**BODY, "schedule_frequency": "often"}, "schedule_frequency must be one of"),
        ({**BODY, "schedule_frequency": "expression"}, "cron_expression is required"),
        ({**BODY, "schedule_day": "Caturday"}, "schedule_day must be one of"),
        ({**BODY, "schedule_hour": 25}, "schedule_hour must be a whole number from 0 to 24"),
        ({**BODY, "schedule_minute": "0"}, "schedule_minute must be a whole number from 0 to 59"),
        ({**BODY, "source_attributes": "bigquery"}, "source_attributes must be an object"),
        ({**BODY, "source_attributes": {"type": "table", "id": 2}}, "connection_id is required"),
        (
            {**BODY, "source_attributes": {"connection_slug": "snow", "type": "model", "model_name": "m"}},
            "there is no connection 'snow'",
        ),
        (
            {**BODY, "source_attributes": {"connection_id": 11, "object": {"type": "model", "id": 1}}},
            "there is no connection 11",
        ),
        (
            {**BODY, "source_attributes": {"connection_slug": "bigquery", "type": "view"}},
            "type must be one of table, model",
        ),
        (
            {**BODY, "source_attributes": {"connection_slug": "bigquery", "type": "model"}},
            "a model is named by",
        ),
        (
            {
                **BODY,
                "source_attributes": {"connection_slug": "bigquery", "type": "table", "table_name": "t"},
            },
            "a table is named by",
        ),
        ({**BODY, "destination_attributes": ["braze"]}, "destination_attributes must be an object"),
        ({**BODY, "destination_attributes": {"connection_slug": "braze"}}, "object is required"),
        (
            {**BODY, "destination_attributes": {"connection_slug": "brass", "object": "user"}},
            "there is no connection 'brass'",
        ),
        (with_mapping(to="name"), "mapping 2: from must be"),
        (with_mapping(**{"from": {"value": 1, "type": "int"}, "to": "name"}), "mapping 2: from must be"),
        (with_mapping(**{"from": {"type": "column"}, "to": "name"}), "mapping 2: from must be"),
        (with_mapping(**{"from": "name"}), "mapping 2: to is required"),
        ({**BODY, "mappings": BODY["mappings"][1:]}, "is_primary_identifier must be true for exactly one"),
        ({**BODY, "mappings": BODY["mappings"][:1] * 2}, "is_primary_identifier must be true for exactly"),
    ],
)
def test_a_sync_is_not_created_from_a_body_that_is_wrong(
    census: Caller, body: dict[str, Any], complaint: str
) -> None:
    answer = census.call("POST", "/syncs/create", json=body)

    assert (answer.status_code, answer.json()["status"]) == (422, "error")
    assert complaint in answer.json()["message"]
    assert census.call("GET", "/syncs/4545").status_code == 404


def test_an_append_sync_cannot_be_forced_to_a_full_sync(census: Caller) -> None:
    census.call("POST", "/syncs/create", json={**BODY, "operation": "append"})

    assert census.call("POST", "/syncs/4545/trigger", json={"force_full_sync": True}).status_code == 422
    assert census.call("POST", "/syncs/4545/trigger").status_code == 200


# The context manager


def test_every_answer_is_dated_and_names_the_sandbox(sandbox: Sandbox) -> None:
    answers = [call(sandbox, "GET", "/api/v1/sources"), call(sandbox, "GET", "/api/v1/nothing", headers={})]

    for answer in answers:
        assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None
        assert answer.headers["Server"] == "airflow-provider-census-sandbox"


def test_the_connection_uri_leads_to_the_sandbox(sandbox: Sandbox) -> None:
    uri = urlsplit(sandbox.connection_uri)

    assert sandbox.connection_uri == f"census://:secret-token%3Asandbox@127.0.0.1:{sandbox.port}/http"
    assert unquote(uri.password or "") == sandbox.token
    assert f"{uri.path.strip('/')}://{uri.hostname}:{uri.port}" == sandbox.url


def test_another_connection_uri_leads_through_v2(sandbox: Sandbox) -> None:
    uri = urlsplit(sandbox.connection_uri_v2)

    assert unquote(uri.password or "") == sandbox.personal_access_token
    assert f"{uri.path.strip('/')}://{uri.hostname}:{uri.port}" == sandbox.url
    assert dict(parse_qsl(uri.query)) == {"api_version": "v2", "group_id": "wandering_aimlessly"}


def test_it_tells_what_was_done_to_it(sandbox: Sandbox) -> None:
    first = call(sandbox, "POST", "/api/v1/syncs/57/trigger").json()["data"]["sync_run_id"]
    second = call(sandbox, "POST", "/api/v1/syncs/52/trigger?force_full_sync=true").json()["data"][
        "sync_run_id"
    ]
    call(sandbox, "POST", f"/api/v1/sync_runs/{first}/cancel")
    call(sandbox, "POST", "/api/v1/syncs/99/trigger")

    assert [(t.sync_id, t.sync_run_id, t.force_full_sync) for t in sandbox.triggers] == [
        (57, first, False),
        (52, second, True),
    ]
    assert sandbox.cancels == [first]
    assert sandbox.requests == [
        ("POST", "/api/v1/syncs/57/trigger"),
        ("POST", "/api/v1/syncs/52/trigger"),
        ("POST", f"/api/v1/sync_runs/{first}/cancel"),
        ("POST", "/api/v1/syncs/99/trigger"),
    ]


def test_a_planned_failure_is_in_census_form_and_has_no_other_effect(sandbox: Sandbox) -> None:
    sandbox.fail_next(2, headers={"Retry-After": "2"})

    answers = [call(sandbox, "POST", "/api/v1/syncs/58/trigger") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].json()["status"] == "error"
    assert answers[0].headers["Retry-After"] == "2"
    assert len(sandbox.triggers) == 1
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize(
    ("options", "method", "path", "status_code"),
    [
        ({"method": "POST"}, "GET", "/api/v1/syncs/52", 200),
        ({"method": "get"}, "GET", "/api/v1/syncs/52", 503),
        ({"path": "/api/v1/sync_runs"}, "GET", "/api/v1/syncs/52", 200),
        ({"path": "/api/v1/syncs"}, "GET", "/api/v1/syncs/52", 503),
        ({"path": "/api/v1/syncs", "method": "POST"}, "GET", "/api/v1/syncs/52", 200),
        ({"status": 429}, "GET", "/api/v1/syncs/52", 429),
    ],
)
def test_a_planned_failure_waits_for_the_call_it_is_meant_for(
    sandbox: Sandbox, options: dict[str, Any], method: str, path: str, status_code: int
) -> None:
    sandbox.fail_next(**options)

    assert call(sandbox, method, path).status_code == status_code


@pytest.mark.parametrize(
    ("body", "headers", "sent", "content_type"),
    [
        ({"status": 503}, None, b'{"status":503}', "application/json"),
        ("<h1>Bad</h1>", {"Content-Type": "text/html"}, b"<h1>Bad</h1>", "text/html"),
        ("out for lunch", None, b"out for lunch", "text/plain; charset=utf-8"),
        (b"\xff\xfe", None, b"\xff\xfe", "text/plain; charset=utf-8"),
        ("", None, b"", "text/plain; charset=utf-8"),
    ],
)
def test_a_planned_failure_can_say_anything(
    sandbox: Sandbox, body: Any, headers: dict[str, str] | None, sent: bytes, content_type: str
) -> None:
    sandbox.fail_next(body=body, headers=headers)
    answer = call(sandbox, "GET", "/api/v1/sources")

    assert (answer.content, answer.headers["Content-Type"]) == (sent, content_type)


@pytest.mark.parametrize("options", [{"times": 0}, {"path": "/syncs"}])
def test_a_failure_that_could_never_happen_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sandbox().fail_next(**options)


def test_failures_that_are_forgotten_do_not_happen(sandbox: Sandbox) -> None:
    sandbox.fail_next(9)
    assert call(sandbox, "GET", "/api/v1/sources").status_code == 503

    sandbox.stop_failing()

    assert call(sandbox, "GET", "/api/v1/sources").status_code == 200


def run_of(sandbox: Sandbox, sync_run_id: int) -> dict[str, Any]:
    run: dict[str, Any] = call(sandbox, "GET", f"/api/v1/sync_runs/{sync_run_id}").json()["data"]
    return run


def test_a_run_is_started_as_on_a_schedule(sandbox: Sandbox) -> None:
    sync_run_id = sandbox.start_run(57, full_sync=True)

    run = run_of(sandbox, sync_run_id)
    assert (run["sync_id"], run["status"], run["full_sync"]) == (57, "queued", True)
    assert run["sync_trigger_reason"]["ui_tag"] == "Schedule"
    assert sandbox.triggers == []


def test_a_run_of_a_sync_that_is_not_there_cannot_be_started(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="there is no sync 99"):
        sandbox.start_run(99)


@pytest.mark.parametrize(
    ("status", "counts", "ends"),
    [
        ("completed", {}, {"records_updated": 1000, "canceled": False, **NO_ERROR}),
        (
            "completed",
            {"records_failed": 30, "records_invalid": 20},
            {"records_updated": 950, "records_failed": 30, "records_invalid": 20},
        ),
        ("failed", {}, {"records_updated": None, "error_code": "JSON_ARRAY_ERROR", "completed_at": None}),
        ("skipped", {}, {"source_record_count": None, "completed_at": None, **NO_ERROR}),
        ("cancelled", {}, {"canceled": True, "records_processed": 500, "records_updated": 500}),
    ],
)
def test_a_run_is_finished_at_once_in_the_way_asked_for(
    sandbox: Sandbox, status: str, counts: dict[str, int], ends: dict[str, Any]
) -> None:
    sandbox.clock = lambda: START
    sync_run_id = sandbox.start_run(57)
    sandbox.clock = lambda: START + 901

    sandbox.finish_run(sync_run_id, status, **counts)

    run = run_of(sandbox, sync_run_id)
    assert run | ends == run
    assert (run["status"], run["updated_at"]) == (
        "completed" if status == "cancelled" else status,
        "2023-11-14T22:28:21.000Z",
    )
    assert run_of(sandbox, sandbox.start_run(57))["status"] == "queued", "the next one is not skipped"
    assert sandbox.cancels == []


def test_a_run_that_was_triggered_is_finished_as_well(sandbox: Sandbox) -> None:
    sync_run_id = call(sandbox, "POST", "/api/v1/syncs/53/trigger").json()["data"]["sync_run_id"]

    sandbox.finish_run(sync_run_id)

    run = run_of(sandbox, sync_run_id)
    assert (run["status"], run["error_code"]) == ("completed", None)


@pytest.mark.parametrize("of", ["ended", "documented", "none"])
def test_only_a_run_that_goes_on_can_be_finished(sandbox: Sandbox, of: str) -> None:
    sync_run_id = {"ended": sandbox.start_run(58), "documented": 94, "none": 1}[of]

    with pytest.raises(ValueError, match=f"no sync run {sync_run_id} is queued or working"):
        sandbox.finish_run(sync_run_id)


def test_a_run_cannot_end_in_a_way_that_there_is_not(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="status must be one of completed, failed, skipped, cancelled"):
        sandbox.finish_run(sandbox.start_run(57), "working")


def test_the_clock_may_be_given_and_may_go_by_the_requests() -> None:
    with Sandbox(clock=lambda: START + len(sandbox.requests)) as sandbox:
        sync_run_id = sandbox.start_run(52)

        seen = [run_of(sandbox, sync_run_id)["status"] for _ in range(6)]

    assert seen == [*["working"] * 4, *["completed"] * 2]


def test_a_token_that_was_rotated_is_the_only_one_let_in(sandbox: Sandbox) -> None:
    old = {"Authorization": f"Bearer {sandbox.token}"}
    sandbox.token = "secret-token:new"

    assert "secret-token%3Anew" in sandbox.connection_uri
    assert call(sandbox, "GET", "/api/v1/sources").status_code == 200
    assert call(sandbox, "GET", "/api/v1/sources", headers=old).status_code == 401


def test_a_personal_access_token_that_was_rotated_is_the_only_one_let_in(sandbox: Sandbox) -> None:
    tokens = [sandbox.personal_access_token, "new"]
    sandbox.personal_access_token = "new"

    assert ":new@" in sandbox.connection_uri_v2
    assert [
        call(sandbox, "GET", "/api/v2/sources", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in tokens
    ] == [401, 200]


def test_what_is_done_at_a_request_is_done_before_its_answer(sandbox: Sandbox) -> None:
    started: list[int] = []
    sandbox.on_request = lambda method, path: started.append(sandbox.start_run(52))

    runs = call(sandbox, "GET", "/api/v1/syncs/52/sync_runs").json()["data"]

    assert [runs[0]["id"]] == started
    assert sandbox.requests == [("GET", "/api/v1/syncs/52/sync_runs")]


def test_an_answer_can_be_held_back_and_others_are_not(sandbox: Sandbox) -> None:
    released = threading.Event()
    sandbox.on_request = lambda method, path: path.endswith("/52") and released.wait(30)
    try:
        with pytest.raises(requests.Timeout):
            requests.get(f"{sandbox.url}/api/v1/syncs/52", timeout=0.1)
        assert call(sandbox, "GET", "/api/v1/syncs/53").status_code == 200
    finally:
        released.set()


@pytest.mark.parametrize("pace", [0, -1.0, float("nan")])
def test_a_pace_that_is_not_above_0_is_refused(pace: float) -> None:
    with pytest.raises(ValueError, match="pace must be above 0"):
        Sandbox(pace=pace)


def test_callers_at_the_same_time_are_all_heard(sandbox: Sandbox) -> None:
    callers = [
        threading.Thread(target=call, args=(sandbox, "POST", "/api/v1/syncs/58/trigger")) for _ in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len({trigger.sync_run_id for trigger in sandbox.triggers}) == 20


def test_two_sandboxes_know_nothing_of_each_other(sandbox: Sandbox) -> None:
    with Sandbox(token="another") as other:
        assert call(other, "POST", "/api/v1/syncs/58/trigger").status_code == 200
        assert (
            call(sandbox, "GET", "/api/v1/syncs", headers={"Authorization": "Bearer another"}).status_code
            == 401
        )

        assert (len(other.triggers), sandbox.triggers) == (1, [])


def test_nothing_is_left_behind_when_the_block_raises() -> None:
    before = threading.active_count()
    session = requests.Session()  # stays open: an idle connection must not keep the server from ending

    def fail_inside() -> None:
        with Sandbox() as sandbox:
            url.append(sandbox.url)
            session.get(sandbox.url, timeout=10)
            raise RuntimeError("the test's own")

    url: list[str] = []
    with pytest.raises(RuntimeError, match="the test's own"):
        fail_inside()

    assert threading.active_count() == before
    with pytest.raises(requests.ConnectionError):
        requests.get(url[0], timeout=10)
    session.close()


def test_a_port_in_use_is_said_at_once(sandbox: Sandbox) -> None:
    expected = f"the Census sandbox cannot listen on 127.0.0.1 port {sandbox.port}"
    with pytest.raises(OSError, match=expected), Sandbox(port=sandbox.port):
        pass


def test_it_listens_on_ipv6_when_asked() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Sandbox(host="::1") as sandbox:
        assert sandbox.url == f"http://[::1]:{sandbox.port}"
        assert call(sandbox, "GET", "/api/v1/sources").status_code == 200


# The command

COMMAND = [sys.executable, "-m", "airflow_provider_census.sandbox"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_how_to_reach_it_and_ends_quietly(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = "".join(iter(process.stdout.readline, "Ctrl-C stops it.\n"))
        exported = re.findall(r"^export AIRFLOW_CONN_CENSUS_DEFAULT=(.+)$", said, re.MULTILINE)
        v1, v2 = (json.loads(*shlex.split(value)) for value in exported)
        token, url = v1["password"], v1["host"]
        answer = requests.get(f"{url}/api/v1/sources", auth=("bearer", token), timeout=10)
        process.send_signal(ending)
        rest, log = process.communicate(timeout=30)

    assert answer.status_code == 200
    assert f"Token: {token}" in said
    assert f"{url}/api/v1\n" in said
    assert v2 == {
        "conn_type": "census",
        "host": url,
        "password": "sandbox-personal-access-token",
        "extra": {"api_version": "v2", "group_id": "wandering_aimlessly"},
    }
    for sync_id, behavior in OUTCOMES.items():
        assert f"{sync_id}  {behavior.summary}\n" in said
    assert (process.returncode, rest) == (0, "")
    assert [line.split(maxsplit=2)[2] for line in log.splitlines()] == ["GET /api/v1/sources 200"]


def test_the_command_says_in_one_line_that_the_port_is_in_use(sandbox: Sandbox) -> None:
    ended = subprocess.run(
        [*COMMAND, "--port", str(sandbox.port)], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"the Census sandbox cannot listen on 127.0.0.1 port {sandbox.port}")
    assert len(ended.stderr.splitlines()) == 1


def test_the_command_refuses_a_port_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "65536"])
    assert "--port: must be from 0 to 65535, not 65536" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_the_command_says_in_one_line_what_is_not_installed(tmp_path: Path, missing: str) -> None:
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('gone', name={missing!r})\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = subprocess.run(
        COMMAND,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        f"The Census sandbox needs {missing}: pip install 'airflow-provider-census[sandbox]'\n"
    )


def test_the_sandbox_needs_neither_airflow_nor_the_providers_own_api_code() -> None:
    program = (
        "import sys, airflow_provider_census.sandbox.server, airflow_provider_census.sandbox.__main__\n"
        "print([name for name in sys.modules if name == 'airflow' or name.startswith('airflow.')\n"
        "       or name.startswith('airflow_provider_census.') and '.sandbox' not in name])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert said.stdout == "[]\n"

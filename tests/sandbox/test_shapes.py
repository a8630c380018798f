# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox' answers have the fields, and values of the kinds, that Census publishes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from staging import START, Caller

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
URL = re.compile(r"https?://\S+")

# What a value may be: a type, a pattern that all of a text matches, one of a set, or any of a tuple of these.
# A dict is an object with these fields at least, a list is one whose items are all so.
Shape = Any

TEXT_OR_NULL = (str, None)
COUNT = (int, None)
MOMENT_OR_NULL = (MOMENT, None)

RUN: Shape = {
    "id": int,
    "sync_id": int,
    "source_record_count": COUNT,
    "records_processed": COUNT,
    "records_updated": COUNT,
    "records_failed": COUNT,
    "records_invalid": COUNT,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "completed_at": MOMENT_OR_NULL,
    "scheduled_execution_time": MOMENT_OR_NULL,
    "error_code": TEXT_OR_NULL,
    "error_message": TEXT_OR_NULL,
    "error_detail": TEXT_OR_NULL,
    "status": {"queued", "working", "completed", "failed", "skipped"},
    "canceled": bool,
    "full_sync": bool,
    "sync_trigger_reason": {"ui_tag": str, "ui_detail": str},
}
SYNC: Shape = {
    "id": int,
    "label": TEXT_OR_NULL,
    "resource_identifier": str,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "operation": {"append", "insert", "mirror", "update", "upsert"},
    "paused": bool,
    "status": {"Ready", "ready", "up to date", "failing"},
    "schedule_frequency": str,
    "schedule_day": TEXT_OR_NULL,
    "schedule_hour": COUNT,
    "schedule_minute": COUNT,
    "source_attributes": {"connection_id": int, "object": {"type": str, "id": int}},
    "destination_attributes": {"connection_id": (int, str), "object": str},
    "mappings": [{"from": dict, "to": str, "is_primary_identifier": bool}],
}
SOURCE: Shape = {"id": int, "name": str, "label": TEXT_OR_NULL, "type": str, "credentials": dict}
DESTINATION: Shape = {
    "id": int,
    "name": str,
    "type": str,
    "created_at": MOMENT,
    "last_test_succeeded": (bool, None),
    "last_tested_at": MOMENT_OR_NULL,
}
ACTIVATION: Shape = {**DESTINATION, "id": str, "group_id": str}
LINK: Shape = {
    "id": int,
    "type": str,
    "uri": URL,
    "expiration": MOMENT,
    "revoked": bool,
    "created_at": MOMENT,
}
ROW: Shape = {
    "record_payload": dict,
    "identifier": TEXT_OR_NULL,
    "batch_started_at": MOMENT,
    "batch_completed_at": MOMENT,
    "operation": {"upsert", "delete"},
    "status": {"succeeded", "rejected", "invalid", "NULL", "DUPLICATE"},
    "status_message": str,
}
PAGINATION: Shape = {
    "total_records": int,
    "per_page": int,
    "page": int,
    "prev_page": COUNT,
    "next_page": COUNT,
    "last_page": int,
}


def wrong(value: Any, shape: Shape, where: str = "") -> list[str]:
    """Say where a value is not of the shape."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where} is no object: {value!r}"]
        return [
            each
            for name, inner in shape.items()
            for each in (
                wrong(value[name], inner, f"{where}.{name}")
                if name in value
                else [f"{where}.{name} is missing"]
            )
        ]
    if isinstance(shape, list):
        if not isinstance(value, list) or not value:
            return [f"{where} is no list, or an empty one: {value!r}"]
        return [each for item in value for each in wrong(item, shape[0], f"{where}[]")]
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return [] if any(is_a(value, kind) for kind in kinds) else [f"{where} is {value!r}"]


def is_a(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if isinstance(kind, re.Pattern):
        return isinstance(value, str) and kind.fullmatch(value) is not None
    if isinstance(kind, set):
        return value in kind
    return type(value) is kind


def test_what_is_wrong_is_found() -> None:
    run = dict.fromkeys(RUN)

    assert "run.id is None" in wrong(run, RUN, "run")
    assert wrong({}, RUN, "run")[0] == "run.id is missing"
    assert wrong({"id": True}, {"id": int}) == [".id is True"]
    assert wrong([], [int]) == [" is no list, or an empty one: []"]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("sync_id", [52, 53, 54, 55, 56, 57, 58])
@pytest.mark.parametrize("after", [0.5, 3.5, 60])
def test_a_run_at_every_stage(census: Caller, version: str, sync_id: int, after: float) -> None:
    caller = census.through(version)

    assert wrong(caller.run(caller.trigger(sync_id), after=after), RUN) == []


LISTS: list[tuple[str, str, Shape]] = [
    ("v1", "/syncs", SYNC),
    ("v2", "/syncs", SYNC),
    ("v1", "/syncs/52/sync_runs", RUN),
    ("v1", "/sources", SOURCE),
    ("v2", "/sources", {**SOURCE, "group_id": str}),
    ("v1", "/destinations", DESTINATION),
    ("v2", "/activations", ACTIVATION),
    ("v1", "/destination_connect_links", LINK),
    ("v2", "/activation_connect_links", LINK),
]


@pytest.mark.parametrize(("version", "path", "shape"), LISTS, ids=[f"{v} {path}" for v, path, _ in LISTS])
def test_lists_and_what_they_hold(census: Caller, version: str, path: str, shape: Shape) -> None:
    answer = census.through(version).call("GET", path, params={"per_page": 2}).json()
    whole = {"status": {"success"}, "data": [shape], "pagination": PAGINATION}

    assert wrong(answer, whole | ({"next": (URL, None)} if version == "v1" else {})) == []
    if "connect" not in path:
        (one,) = {f"{path.rpartition('/')[2]}/{answer['data'][0]['id']}"}
        assert wrong(census.through(version).data(f"/{one}"), shape) == []


def test_what_is_created(census: Caller) -> None:
    for path, body, shape in [
        (
            "/sources",
            {"connection": {"name": "New", "label": None, "type": "snowflake", "credentials": {}}},
            SOURCE,
        ),
        ("/destination_connect_links", {"type": "hubspot"}, LINK),
    ]:
        answer = census.call("POST", path, json=body)
        assert answer.status_code == 201
        assert wrong(answer.json()["data"], shape) == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_records(census: Caller, version: str) -> None:
    caller = census.through(version)
    sync_run_id = caller.trigger(55)
    census.clock.now = START + 60

    for status in ("succeeded", "rejected", "invalid"):
        answer = caller.call("GET", f"/sync_runs/{sync_run_id}/records", params={"status": status}).json()
        assert wrong(answer, {"status": {"success"}, "data": [ROW], "pagination": PAGINATION}) == []
    count = caller.call("GET", f"/sync_runs/{sync_run_id}/records_count").json()
    assert wrong(count, {"status": {"success"}, "data": [{"record_count": int}]}) == []
    export = caller.call("GET", f"/sync_runs/{sync_run_id}/records_export").json()
    assert wrong(export, {"status": {"success"}, "urls": [URL]}) == []


@pytest.mark.parametrize(
    ("method", "path", "status_code", "status"),
    [
        ("GET", "/syncs/99", 404, {404}),
        ("GET", "/nothing", 404, {404}),
        ("GET", "/syncs?order=odd", 422, {"error"}),
        ("POST", "/sync_runs/94/cancel", 200, {"cancelled"}),
    ],
)
def test_statuses(census: Caller, method: str, path: str, status_code: int, status: set[Any]) -> None:
    answer = census.call(method, path)

    assert answer.status_code == status_code
    assert wrong(answer.json(), {"status": status} | ({"message": str} if status_code >= 400 else {})) == []

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox creates syncs from the bodies that Census takes, and from no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from staging import Caller

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

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the document limits in the body that creates a sync, and what passes untouched."""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_census.api import endpoints

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

DOCUMENTED: dict[str, Any] = {
    "label": "TEST 1",
    "operation": "mirror",
    "schedule_frequency": "daily",
    "schedule_day": "Sunday",
    "schedule_hour": 24,
    "schedule_minute": 59,
    "destination_attributes": {"connection_slug": "google-ads", "object": "user_data"},
    "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
    "mappings": [
        {"from": "hashed_email", "to": "email", "is_primary_identifier": True},
        {"from": "list_id", "to": "list_id", "lookup_object": "user_list", "lookup_field": "name"},
        {"from": {"value": "cohort_1", "type": "text"}, "to": "cohort", "operation": "merge"},
    ],
}
TABLE = {"connection_slug": "bigquery", "type": "table", "table_name": "t", "table_schema": "s"}
CONSTANT = {"value": 1, "type": "number"}


def having(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(DOCUMENTED), **changes}


def mapping(**parts: Any) -> dict[str, Any]:
    return having(mappings=[{"from": "a", "to": "a"}, {"to": "b", **parts}])


def source(**parts: Any) -> dict[str, Any]:
    return having(source_attributes={"connection_slug": "bigquery", **parts})


@pytest.mark.parametrize(
    "payload",
    [
        DOCUMENTED,
        {},
        *[having(operation=word) for word in ("append", "insert", "mirror", "update", "upsert")],
        *[
            having(schedule_frequency=word)
            for word in ("never", "continuous", "quarter_hourly", "hourly", "weekly")
        ],
        having(schedule_frequency="expression", cron_expression="0 6 * * *"),
        having(schedule_day=None, schedule_hour=None, schedule_minute=None),
        having(schedule_hour=0, schedule_minute=0),
        having(source_attributes=TABLE),
        having(source_attributes={**TABLE, "table_catalog": "c", "model_name": None}),
        *[
            mapping(**{"from": {"value": None, "type": word}})
            for word in ("boolean", "datetime", "number", "text")
        ],
        # newer shapes
        having(source_attributes={"connection_id": 4, "object": {"type": "dataset", "id": 15}}),
        having(source_attributes={"connection_id": 4, "object": {"type": "table", "table_name": "t"}}),
        having(destination_attributes={"connection_id": 15, "object": "user"}),
        mapping(**{"from": {"type": "column", "data": "EMAIL"}, "operation": "whatever"}),
        mapping(**{"from": {"type": "constant_value", "data": {"value": 1, "basic_type": "integer"}}}),
        having(mode={"type": "triggered", "triggers": {"schedule": {"frequency": "yearly"}}}),
        # keys that nobody knows yet
        having(field_behavior="sync_all_properties", advanced={"a": [1, None, {"b": "ü"}]}),
        source(type="model", model_name="m", filter_segment={"id": 1}),
        mapping(**{"from": "a", "array_field": True}),
        MappingProxyType(DOCUMENTED),
    ],
)
def test_what_the_document_allows_or_does_not_know_is_sent_as_it_was_written(payload: Any) -> None:
    before = copy.deepcopy(dict(payload))
    assert endpoints.create_sync(payload).json == before
    assert dict(payload) == before


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (having(operation="copy"), "operation"),
        (having(operation=None), "operation"),
        (having(operation=["mirror"]), "operation"),
        (having(schedule_frequency="yearly"), "schedule_frequency"),
        (having(schedule_day="sunday"), "schedule_day"),
        (having(schedule_day=1), "schedule_day"),
        (having(schedule_hour=25), "schedule_hour"),
        (having(schedule_hour=-1), "schedule_hour"),
        (having(schedule_hour="7"), "schedule_hour"),
        (having(schedule_hour=True), "schedule_hour"),
        (having(schedule_minute=60), "schedule_minute"),
        (having(schedule_minute=1.5), "schedule_minute"),
        (having(mappings={"from": "a"}), "mappings"),
        (having(mappings=None), "mappings"),
        (having(mappings=[{"from": "a", "to": "a"}, "b"]), "mappings[1]"),
        (mapping(**{"from": {"value": 1, "type": "integer"}}), "mappings[1].from.type"),
        (mapping(**{"from": "a", "operation": "append"}), "mappings[1].operation"),
        (mapping(**{"from": CONSTANT, "operation": "append"}), "mappings[1].operation"),
        (source(), "source_attributes.type"),
        (source(type="dataset"), "source_attributes.type"),
        (source(type=["model"]), "source_attributes.type"),
        (source(type="model"), "source_attributes.model_name"),
        (source(type="model", model_name=""), "source_attributes.model_name"),
        (source(type="model", model_name=15), "source_attributes.model_name"),
        (source(type="model", model_name="m", table_name="t"), "source_attributes.table_name"),
        (source(type="table"), "source_attributes.table_name"),
        (source(type="table", table_name="t", model_name="m"), "source_attributes.model_name"),
        (having(label={1, 2}), "payload"),
        (having(label=float("nan")), "payload"),
        (["label"], "payload"),
        (None, "payload"),
    ],
)
def test_what_breaks_the_document_is_named_with_its_path(payload: Any, path: str) -> None:
    before = copy.deepcopy(payload)
    with pytest.raises(ValueError, match=r"must be|must name|no meaning|cannot be written") as refused:
        endpoints.create_sync(payload)
    message = str(refused.value).removeprefix("Census would refuse this payload: ")
    assert message.startswith(f"{path} ")
    assert "; " not in message
    assert repr(payload) == repr(before)


def test_one_error_lists_all_that_is_wrong() -> None:
    payload = having(
        operation="copy",
        schedule_hour=99,
        source_attributes={"connection_slug": "bigquery", "type": "model", "table_schema": "s"},
        mappings=[{"from": "a"}, 5, {"from": {"value": 1, "type": "int"}, "operation": "x"}],
    )
    with pytest.raises(ValueError, match="operation") as refused:
        endpoints.create_sync(payload)
    problems = str(refused.value).removeprefix("Census would refuse this payload: ").split("; ")
    assert [problem.partition(" ")[0] for problem in problems] == [
        "operation",
        "schedule_hour",
        "source_attributes.model_name",
        "source_attributes.table_schema",
        "mappings[1]",
        "mappings[2].from.type",
        "mappings[2].operation",
    ]


def test_the_sandbox_takes_the_documents_own_example(census: Sandbox) -> None:
    from airflow_provider_census.hooks.census import CensusHook

    assert CensusHook().create_sync(DOCUMENTED) > 0

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each method of the hook puts on the wire, and what it refuses to put there."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests_mock as mock

from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import CensusNotFoundError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.hooks.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_census.api.request import Request
    from airflow_provider_census.sandbox import Sandbox

AWKWARD = "a/b c?d#é"
RUN = {"id": 94, "sync_id": 52, "status": "completed"}
PAYLOAD: dict[str, Any] = {
    "operation": "mirror",
    "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
    "mappings": [{"from": "email", "to": "email"}, {"from": {"value": None, "type": "text"}, "to": "é"}],
    "of another time": {"id": 4},
}
NEWER: dict[str, Any] = {"label": "x", "source_attributes": {"connection_id": 4}, "mode": {"type": "live"}}
RECORD = {"identifier": "1", "status": "rejected", "record_payload": {"ID": 1}}
FILTERS: dict[str, Any] = {"status": "rejected", "operation": "upsert"}
FULL: dict[str, Any] = {"force_full_sync": True}
BODY: dict[str, Any] = {"name": "é"}
GROUPED = {**BODY, "group_id": "of_the_connection"}


class Row(NamedTuple):
    """
    What an operation puts on the wire.

    :ivar call: the method of the hook with its arguments.
    :ivar line: method and path, below the root of the API.
    :ivar query: the query.
    :ivar body: the body.
    :ivar response: what Census responds, besides its status.
    :ivar result: what the caller gets.
    :ivar v2: method and path in API v2, if they differ.
    :ivar v2_body: the body in API v2, if it differs.
    """

    call: functools.partial[Any]
    line: str
    query: dict[str, str]
    body: Any
    response: dict[str, Any]
    result: Any
    v2: str
    v2_body: Any

    @property
    def name(self) -> str:
        return str(self.call.func.__name__)


def row(
    method: Callable[..., Any],
    *args: Any,
    line: str,
    response: dict[str, Any],
    result: Any,
    query: dict[str, str] | None = None,
    body: Any = None,
    v2: str = "",
    v2_body: Any = None,
    **kwargs: Any,
) -> Row:
    call = functools.partial(method, *args, **kwargs)
    return Row(call, line, query or {}, body, response, result, v2 or line, v2_body or body)


ONE: dict[str, Any] = {"response": {"data": {"id": 4}}, "result": {"id": 4}}
LIST: dict[str, Any] = {
    "response": {"data": [{"id": 4}]},
    "result": [{"id": 4}],
    "query": {"per_page": "100"},
}
SENT: dict[str, Any] = {**ONE, "body": BODY}
LOCATOR: dict[str, Any] = {"table_catalog": "DEV", "table_schema": "a b", "table_name": "t&t"}
NOTHING: dict[str, Any] = {"response": {"status": "deleted"}, "result": None}
KEY: dict[str, Any] = {"response": {"refresh_key": 7}, "result": "7"}
PROGRESS: dict[str, Any] = {
    "response": {"status": "processing"},
    "result": "processing",
    "query": {"refresh_key": "7"},
}
RUNS: dict[str, Any] = {"response": {"data": [RUN]}, "result": [RUN]}
RECORDS: dict[str, Any] = {"response": {"data": [RECORD]}, "result": [RECORD]}
NEW_SYNC: dict[str, Any] = {"response": {"data": {"sync_id": 4545}}, "result": 4545}
NEW_RUN: dict[str, Any] = {"response": {"data": {"sync_run_id": "94"}}, "result": 94}

WIRE = [
    row(CensusHook.list_syncs, line="GET /syncs", **LIST),
    row(CensusHook.get_sync, 4, line="GET /syncs/4", **ONE),
    row(
        CensusHook.create_sync,
        PAYLOAD,
        line="POST /syncs/create",
        body=PAYLOAD,
        v2="POST /syncs",
        **NEW_SYNC,
    ),
    row(CensusHook.create_sync, NEWER, line="POST /syncs", body=NEWER, **NEW_SYNC),
    row(
        CensusHook.create_sync,
        {"label": "x", "validate_only": True},
        line="POST /syncs",
        body={"label": "x", "validate_only": True},
        response={"data": {}, "message": "Fine."},
        result={"status": "success", "data": {}, "message": "Fine."},
    ),
    row(CensusHook.test_sync, NEWER, line="POST /syncs/test", body=NEWER, **NEW_RUN),
    row(
        CensusHook.get_test_sync_status,
        94,
        line="GET /syncs/test_status",
        query={"sync_run_id": "94"},
        response={"data": {"status": "completed", "sample_record_failed": False}},
        result={"id": 94, "status": "completed", "sample_record_failed": False},
    ),
    row(CensusHook.update_sync, "52", BODY, line="PATCH /syncs/52", **SENT),
    row(CensusHook.pause_sync, 52, line="PATCH /syncs/52", body={"paused": True}, **ONE),
    row(CensusHook.resume_sync, 52, line="PATCH /syncs/52", body={"paused": False}, **ONE),
    row(CensusHook.delete_sync, 52, line="DELETE /syncs/52", **NOTHING),
    row(CensusHook.trigger_sync, 52, line="POST /syncs/52/trigger", **NEW_RUN),
    row(
        CensusHook.trigger_sync,
        "52",
        **FULL,
        line="POST /syncs/52/trigger",
        query={"force_full_sync": "true"},
        body=FULL,
        **NEW_RUN,
    ),
    row(CensusHook.list_sync_runs, 52, line="GET /syncs/52/sync_runs", query={"per_page": "100"}, **RUNS),
    row(
        CensusHook.list_sync_runs,
        "52",
        order="asc",
        page=2,
        per_page=1,
        line="GET /syncs/52/sync_runs",
        query={"order": "asc", "page": "2", "per_page": "1"},
        **RUNS,
    ),
    row(CensusHook.list_sync_runs, 52, page=1, line="GET /syncs/52/sync_runs", query={"page": "1"}, **RUNS),
    row(CensusHook.get_sync_run, 94, line="GET /sync_runs/94", response={"data": RUN}, result=RUN),
    row(CensusHook.cancel_sync_run, 94, line="POST /sync_runs/94/cancel", **NOTHING),
    row(
        CensusHook.list_sync_run_records,
        94,
        line="GET /sync_runs/94/records",
        query={"per_page": "100"},
        **RECORDS,
    ),
    row(
        CensusHook.list_sync_run_records,
        "94",
        **FILTERS,
        primary_identifier="a&b=é",
        page=2,
        per_page=5,
        line="GET /sync_runs/94/records",
        query={**FILTERS, "primary_identifier": "a&b=é", "page": "2", "per_page": "5"},
        **RECORDS,
    ),
    row(
        CensusHook.count_sync_run_records,
        94,
        **FILTERS,
        primary_identifier=7,
        line="GET /sync_runs/94/records_count",
        query={**FILTERS, "primary_identifier": "7"},
        response={"data": [{"record_count": 25}]},
        result=25,
    ),
    row(
        CensusHook.count_sync_run_records,
        94,
        line="GET /sync_runs/94/records_count",
        response={"data": {"record_count": 0}},
        result=0,
    ),
    row(
        CensusHook.export_sync_run_records,
        94,
        **FILTERS,
        line="GET /sync_runs/94/records_export",
        query=FILTERS,
        response={"urls": ["https://files.test/1.parquet?signature=x"]},
        result=["https://files.test/1.parquet?signature=x"],
    ),
    row(CensusHook.list_sources, line="GET /sources", **LIST),
    row(CensusHook.get_source, 4, line="GET /sources/4", **ONE),
    row(CensusHook.get_source, "big query", line="GET /sources/big%20query", **ONE),
    row(CensusHook.create_source, BODY, line="POST /sources", **SENT),
    row(CensusHook.update_source, "dwh", BODY, line="PATCH /sources/dwh", **SENT),
    row(CensusHook.delete_source, 4, line="DELETE /sources/4", **NOTHING),
    row(CensusHook.refresh_source_tables, 4, line="POST /sources/4/refresh_tables", **KEY),
    row(
        CensusHook.get_refresh_source_tables_status,
        4,
        7,
        line="GET /sources/4/refresh_tables_status",
        **PROGRESS,
    ),
    row(CensusHook.list_source_objects, 4, line="GET /sources/4/objects", **LIST),
    row(CensusHook.list_source_tables, 4, line="GET /sources/4/tables", **LIST),
    row(
        CensusHook.list_table_columns_by_locator,
        "dwh",
        **LOCATOR,
        line="GET /sources/dwh/tables/columns",
        response={"data": [{"name": "ID", "type": "text"}]},
        result=[{"name": "ID", "type": "text"}],
        query={"per_page": "100", **LOCATOR},
    ),
    row(
        CensusHook.refresh_table_columns_by_locator,
        4,
        **LOCATOR,
        line="POST /sources/4/tables/refresh_columns",
        query=LOCATOR,
        **KEY,
    ),
    row(
        CensusHook.get_refresh_table_columns_by_locator_status,
        4,
        7,
        **LOCATOR,
        line="GET /sources/4/tables/refresh_columns_status",
        query={"refresh_key": "7", **LOCATOR},
        response={"status": "processing"},
        result="processing",
    ),
    row(CensusHook.list_source_types, line="GET /source_types", **LIST),
    row(CensusHook.get_source_type, "snowflake", line="GET /source_types/snowflake", **ONE),
    row(CensusHook.list_models, 4, line="GET /sources/4/models", **LIST),
    row(CensusHook.get_model, "4", 18, line="GET /sources/4/models/18", **ONE),
    row(CensusHook.create_model, 4, BODY, line="POST /sources/4/models", **SENT),
    row(CensusHook.update_model, 4, 18, BODY, line="PATCH /sources/4/models/18", **SENT),
    row(CensusHook.delete_model, 4, 18, line="DELETE /sources/4/models/18", **NOTHING),
    row(CensusHook.refresh_model_columns, 4, 18, line="POST /sources/4/models/18/refresh_columns", **KEY),
    row(
        CensusHook.get_refresh_model_columns_status,
        4,
        18,
        "7",
        line="GET /sources/4/models/18/refresh_columns_status",
        **PROGRESS,
    ),
    row(CensusHook.get_table, "dwh", "2", line="GET /sources/dwh/tables/2", **ONE),
    row(CensusHook.refresh_table_columns, 4, 2, line="POST /sources/4/tables/2/refresh_columns", **KEY),
    row(
        CensusHook.get_refresh_table_columns_status,
        4,
        2,
        7,
        line="GET /sources/4/tables/2/refresh_columns_status",
        **PROGRESS,
    ),
    row(CensusHook.list_filter_segments, 4, line="GET /sources/4/filter_segments", **LIST),
    row(
        CensusHook.list_filter_segments,
        4,
        name="x y",
        line="GET /sources/4/filter_segments",
        response=LIST["response"],
        result=LIST["result"],
        query={"per_page": "100", "name": "x y"},
    ),
    row(CensusHook.get_filter_segment, 4, 31, line="GET /sources/4/filter_segments/31", **ONE),
    row(CensusHook.create_filter_segment, 4, BODY, line="POST /sources/4/filter_segments", **SENT),
    row(CensusHook.update_filter_segment, 4, 31, BODY, line="PATCH /sources/4/filter_segments/31", **SENT),
    row(CensusHook.delete_filter_segment, 4, 31, line="DELETE /sources/4/filter_segments/31", **NOTHING),
    row(CensusHook.list_destinations, line="GET /destinations", v2="GET /activations", **LIST),
    row(
        CensusHook.get_destination,
        "braze",
        line="GET /destinations/braze",
        v2="GET /activations/braze",
        **ONE,
    ),
    row(
        CensusHook.create_destination,
        BODY,
        line="POST /destinations",
        v2="POST /activations",
        v2_body=GROUPED,
        **SENT,
    ),
    row(
        CensusHook.create_destination,
        {"activation": BODY},
        group_id="of_the_call",
        body={"activation": BODY},
        line="POST /destinations",
        v2="POST /activations",
        v2_body={"activation": {**BODY, "group_id": "of_the_call"}},
        **ONE,
    ),
    row(
        CensusHook.update_destination,
        15,
        BODY,
        line="PATCH /destinations/15",
        v2="PATCH /activations/15",
        **SENT,
    ),
    row(
        CensusHook.delete_destination,
        15,
        line="DELETE /destinations/15",
        v2="DELETE /activations/15",
        **NOTHING,
    ),
    row(
        CensusHook.refresh_destination_objects,
        15,
        line="POST /destinations/15/refresh_objects",
        v2="POST /activations/15/refresh_objects",
        **KEY,
    ),
    row(
        CensusHook.get_refresh_destination_objects_status,
        15,
        7,
        line="GET /destinations/15/refresh_objects_status",
        v2="GET /activations/15/refresh_objects_status",
        **PROGRESS,
    ),
    row(
        CensusHook.list_destination_objects,
        15,
        line="GET /destinations/15/objects",
        v2="GET /activations/15/objects",
        **LIST,
    ),
    row(
        CensusHook.get_destination_object,
        14,
        AWKWARD,
        line="GET /destinations/14/objects/a%2Fb%20c%3Fd%23%C3%A9",
        v2="GET /activations/14/objects/a%2Fb%20c%3Fd%23%C3%A9",
        **ONE,
    ),
    row(
        CensusHook.get_destination_object,
        14,
        "../../sources",
        line="GET /destinations/14/objects/..%2F..%2Fsources",
        v2="GET /activations/14/objects/..%2F..%2Fsources",
        **ONE,
    ),
    row(
        CensusHook.create_destination_object,
        12,
        BODY,
        line="POST /destinations/12/objects",
        v2="POST /activations/12/objects",
        **SENT,
    ),
    row(
        CensusHook.list_destination_object_types,
        12,
        line="GET /destinations/12/object_types",
        v2="GET /activations/12/object_types",
        **LIST,
    ),
    row(
        CensusHook.refresh_destination_object_fields,
        14,
        "a/b",
        line="POST /destinations/14/objects/a%2Fb/refresh_fields",
        v2="POST /activations/14/objects/a%2Fb/refresh_fields",
        **KEY,
    ),
    row(
        CensusHook.get_refresh_destination_object_fields_status,
        14,
        "a/b",
        7,
        line="GET /destinations/14/objects/a%2Fb/refresh_fields_status",
        v2="GET /activations/14/objects/a%2Fb/refresh_fields_status",
        **PROGRESS,
    ),
    row(
        CensusHook.list_destination_connect_links,
        line="GET /destination_connect_links",
        v2="GET /activation_connect_links",
        **LIST,
    ),
    row(
        CensusHook.list_destination_connect_link_types,
        line="GET /destination_connect_links/types",
        v2="GET /activation_connect_links/types",
        **LIST,
    ),
    row(
        CensusHook.get_destination_connect_link,
        41,
        line="GET /destination_connect_links/41",
        v2="GET /activation_connect_links/41",
        **ONE,
    ),
    row(
        CensusHook.create_destination_connect_link,
        BODY,
        line="POST /destination_connect_links",
        v2="POST /activation_connect_links",
        v2_body=GROUPED,
        **SENT,
    ),
    row(
        CensusHook.create_destination_reauthorization_link,
        12,
        line="POST /destinations/12/connect_links",
        v2="POST /activations/12/activation_connect_links",
        **ONE,
    ),
    row(
        CensusHook.create_destination_reauthorization_link,
        12,
        BODY,
        line="POST /destinations/12/connect_links",
        v2="POST /activations/12/activation_connect_links",
        **SENT,
    ),
    row(
        CensusHook.revoke_destination_connect_link,
        41,
        line="POST /destination_connect_links/41/revoke",
        v2="POST /activation_connect_links/41/revoke",
        **NOTHING,
    ),
    row(CensusHook.list_connectors, line="GET /connectors", v2="GET /activation_types", **LIST),
    row(
        CensusHook.get_connector,
        "google_ads",
        line="GET /connectors/google_ads",
        v2="GET /activation_types/google_ads",
        **ONE,
    ),
    row(
        CensusHook.list_connector_object_types,
        "google_sheets",
        line="GET /connectors/google_sheets/object_types",
        v2="GET /activation_types/google_sheets/object_types",
        **LIST,
    ),
    row(CensusHook.list_datasets, line="GET /datasets", **LIST),
    row(
        CensusHook.list_datasets,
        type="sql",
        line="GET /datasets",
        response=LIST["response"],
        result=LIST["result"],
        query={"per_page": "100", "type": "sql"},
    ),
    row(CensusHook.refresh_dataset_columns, 61, line="POST /datasets/61/refresh_columns", **KEY),
    row(
        CensusHook.get_refresh_dataset_columns_status,
        61,
        7,
        line="GET /datasets/61/refresh_columns_status",
        **PROGRESS,
    ),
    row(CensusHook.get_dataset, 61, line="GET /datasets/61", **ONE),
    row(CensusHook.create_dataset, BODY, line="POST /datasets", v2_body=GROUPED, **SENT),
    row(CensusHook.update_dataset, 61, BODY, line="PATCH /datasets/61", **SENT),
    row(CensusHook.delete_dataset, 61, line="DELETE /datasets/61", **NOTHING),
    row(CensusHook.list_webhooks, line="GET /webhooks", **LIST),
    row(CensusHook.get_webhook, 61, line="GET /webhooks/61", **ONE),
    row(CensusHook.create_webhook, BODY, line="POST /webhooks", v2_body=GROUPED, **SENT),
    row(CensusHook.update_webhook, 61, BODY, line="PATCH /webhooks/61", **SENT),
    row(CensusHook.delete_webhook, 61, line="DELETE /webhooks/61", **NOTHING),
    row(CensusHook.get_workspace, line="GET /workspace", **ONE),
]

OPERATIONS: dict[str, Callable[..., Request[Any]]] = {
    name: function
    for name, function in inspect.getmembers(endpoints, inspect.isfunction)
    if function.__module__ == endpoints.__name__ and not name.startswith("_")
}
del OPERATIONS["newest_sync_runs"]  # a form of list_sync_runs
GOOD: dict[str, Any] = {
    **dict.fromkeys(["sync_id", "sync_run_id", "model_id", "table_id", "filter_segment_id"], 52),
    **dict.fromkeys(["destination_connect_link_id", "dataset_id", "webhook_id"], 52),
    **dict.fromkeys(["source", "destination", "refresh_key"], 52),
    **dict.fromkeys(["object_full_name", "service_name", "source_type"], "user"),
    **LOCATOR,
    "payload": BODY,
}
"""An argument of every name that is needed."""


def arguments(*names: str) -> list[Any]:
    """Every argument of every operation with one of these names, with good values for the others."""
    return [
        pytest.param(operation, {each: GOOD[each] for each in needed if each != argument}, argument)
        for operation in OPERATIONS.values()
        for needed in [
            [
                name
                for name, parameter in inspect.signature(operation).parameters.items()
                if parameter.default is inspect.Parameter.empty
            ]
        ]
        for argument in needed
        if argument in names
    ]


SLUGS = ("source", "destination", "refresh_key", "source_type")
IDS = tuple(name for name in GOOD if name.endswith("_id"))
NO_IDS = [
    None,
    "",
    " ",
    0,
    -1,
    True,
    1.5,
    b"5",
    [5],
    "{{ x }}",
    "{% x %}",
    "0",
    "00",
    "-1",
    "+1",
    " 5",
    "5\n",
    "\uff15",
    "²",
]
NO_NUMBERS = ["1.5", "0x10", "5_2", "52abc", "snowflake", "glimmering_donkey"]


def connect(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    uri = f"census://:secret-token%3At@census.test?api_version={version}&group_id=of_the_connection"
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uri)


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A version of the API, and a connection that names it."""
    connect(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture
def nowhere() -> Iterator[mock.Mocker]:
    """A Census that records what it is sent, and responds as a test wants."""
    with mock.Mocker() as census_api:
        yield census_api


@pytest.mark.parametrize("row", WIRE, ids=[f"{row.name}-{number}" for number, row in enumerate(WIRE)])
def test_a_method_sends_what_the_document_says(nowhere: mock.Mocker, version: str, row: Row) -> None:
    nowhere.register_uri(mock.ANY, mock.ANY, json={"status": "success", **row.response})
    assert row.call.func(CensusHook(), *row.call.args, **row.call.keywords) == row.result
    *snapshot, sent = nowhere.request_history
    assert len(snapshot) == (row.name == "trigger_sync")  # of the runs before, before one is started
    line, body = (row.line, row.body) if version == "v1" else (row.v2, row.v2_body)
    target = urlsplit(sent.url)
    assert (target.scheme, target.netloc) == ("https", "census.test")
    assert f"{sent.method} {target.path}" == line.replace(" /", f" /api/{version}/")
    assert dict(parse_qsl(target.query, strict_parsing=bool(row.query))) == row.query
    assert (sent.json() if sent.body else None) == body
    assert sent.headers["Authorization"] == "Bearer secret-token:t"
    assert sent.headers.get("Content-Type") == ("application/json" if body else None)


@pytest.mark.parametrize("row", [row for row in WIRE if row.name.startswith("list_")])
def test_the_lazy_twin_of_a_list_sends_the_same(nowhere: mock.Mocker, version: str, row: Row) -> None:
    nowhere.register_uri(mock.ANY, mock.ANY, json={"status": "success", **row.response})
    twin = getattr(CensusHook(), row.name.replace("list_", "iter_"))
    items = twin(*row.call.args, **row.call.keywords)
    assert not nowhere.called
    assert list(items) == row.result
    (sent,) = nowhere.request_history
    line = row.line if version == "v1" else row.v2
    assert f"{sent.method} {urlsplit(sent.url).path}" == line.replace(" /", f" /api/{version}/")
    assert dict(parse_qsl(urlsplit(sent.url).query)) == row.query


def test_every_operation_has_its_method_and_its_row() -> None:
    rows = {row.name for row in WIRE}
    assert rows == set(OPERATIONS)
    lifted = {name for name, method in vars(Operations).items() if hasattr(method, "__signature__")}
    twins = {name.replace("list_", "iter_", 1) for name in rows if name.startswith("list_")}
    assert lifted == rows - {"trigger_sync", "export_sync_run_records"} | twins


def by_worker(request: Request[Any]) -> Any:
    return CensusHook().run(request)


def by_triggerer(request: Request[Any]) -> Any:
    return asyncio.run(CensusHook().arun(request))


@pytest.mark.parametrize("send", [by_worker, by_triggerer])
def test_a_name_arrives_whole_whatever_characters_it_holds(
    census: Sandbox, send: Callable[[Request[Any]], Any]
) -> None:
    found = send(endpoints.get_destination_object("hubspot", AWKWARD))
    assert found["full_name"] == AWKWARD
    assert census.requests == [("GET", "/api/v1/destinations/hubspot/objects/a%2Fb%20c%3Fd%23%C3%A9")]


@pytest.mark.parametrize("send", [by_worker, by_triggerer])
def test_a_name_cannot_leave_its_segment(census: Sandbox, send: Callable[[Request[Any]], Any]) -> None:
    names = ["../../sources", "%2e%2e", "...", "a+b", "~", "a;b=c", "a&b", "\\..", "ü", " user", "x\ny"]
    for name in names:
        with pytest.raises(CensusNotFoundError) as missing:
            send(endpoints.get_destination_object(15, name))
        assert missing.value.message == f"there is no object {name!r}"
    assert len(census.requests) == len(names)


@pytest.mark.parametrize(("operation", "others", "argument"), arguments(*SLUGS, *IDS))
def test_what_cannot_be_an_id_is_refused_by_name(
    operation: Callable[..., Request[Any]], others: dict[str, Any], argument: str
) -> None:
    for value in NO_IDS:
        with pytest.raises(ValueError, match=rf"^{argument} "):
            operation(**others, **{argument: value})


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(("operation", "others", "argument"), arguments(*IDS))
def test_a_word_is_an_id_in_v2_only(
    nowhere: mock.Mocker,
    version: str,
    operation: Callable[..., Request[Any]],
    others: dict[str, Any],
    argument: str,
    value: str,
) -> None:
    nowhere.register_uri(mock.ANY, mock.ANY, json={"status": 404})
    request = operation(**others, **{argument: value})
    refused = pytest.raises(ValueError, match=rf"^{argument} must be .* in API v1; not '{value}'$")
    with refused if version == "v1" else pytest.raises(CensusNotFoundError):
        CensusHook().run(request)
    assert len(nowhere.request_history) == (0 if version == "v1" else 1)
    wanted = f"sync_run_id={value}" if operation is endpoints.get_test_sync_status else f"/{value}"
    assert all(wanted in sent.url for sent in nowhere.request_history)


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(("operation", "others", "argument"), arguments(*SLUGS))
def test_a_slug_will_do_for_sources_and_destinations(
    nowhere: mock.Mocker,
    version: str,
    operation: Callable[..., Request[Any]],
    others: dict[str, Any],
    argument: str,
    value: str,
) -> None:
    nowhere.register_uri(mock.ANY, mock.ANY, json={"status": 404})
    with pytest.raises(CensusNotFoundError):
        CensusHook().run(operation(**others, **{argument: value}))
    wanted = f"refresh_key={value}" if argument == "refresh_key" else f"/{value}"
    assert wanted in nowhere.request_history[-1].url


@pytest.mark.parametrize("value", [None, "", " ", 1.5, True, ".", "..", "{{ ti.xcom_pull() }}"])
@pytest.mark.parametrize(("operation", "others", "argument"), arguments("object_full_name", "service_name"))
def test_what_cannot_be_a_name_is_refused_by_name(
    operation: Callable[..., Request[Any]], others: dict[str, Any], argument: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument} "):
        operation(**others, **{argument: value})


@pytest.mark.parametrize("value", [None, "x", [BODY], {"x": object()}, {"x": float("nan")}])
@pytest.mark.parametrize(("operation", "others", "argument"), arguments("payload"))
def test_what_cannot_be_a_body_is_refused_by_name(
    operation: Callable[..., Request[Any]], others: dict[str, Any], argument: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=rf"\b{argument} (must be a mapping|cannot be written as JSON)"):
        operation(**others, **{argument: value})


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^payload must be a mapping with at least one property"):
        endpoints.update_sync(52, {})


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": "2"}, "page"),
        ({"page": True}, "page"),
        ({"page": 1.5}, "page"),
        ({"per_page": 0}, "per_page"),
        ({"per_page": 101}, "per_page"),
        ({"per_page": "10"}, "per_page"),
        ({"order": ""}, "order"),
        ({"order": "DESC"}, "order"),
        ({"order": 1}, "order"),
    ],
)
def test_what_cannot_be_a_page_is_refused_by_name(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        endpoints.list_sync_runs(52, **wrong)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"status": "failed"}, "status"),
        ({"status": "NULL"}, "status"),
        ({"operation": "insert"}, "operation"),
        ({"primary_identifier": ""}, "primary_identifier"),
        ({"primary_identifier": True}, "primary_identifier"),
        ({"primary_identifier": 1.5}, "primary_identifier"),
        ({"primary_identifier": "{{ x }}"}, "primary_identifier"),
        ({"page": 0}, "page"),
        ({"per_page": 101}, "per_page"),
    ],
)
def test_what_records_cannot_be_filtered_by_is_refused_by_name(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        endpoints.list_sync_run_records(94, **wrong)
    if name in {"status", "operation"}:
        with pytest.raises(ValueError, match=f"^{name} "):
            endpoints.export_sync_run_records(94, **wrong)
    if "page" not in name:
        with pytest.raises(ValueError, match=f"^{name} "):
            endpoints.count_sync_run_records(94, **wrong)


@pytest.mark.parametrize("value", [None, 1, "true", "{{ x }}"])
def test_force_full_sync_is_true_or_false(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^force_full_sync "):
        endpoints.trigger_sync(52, force_full_sync=value)


@pytest.mark.parametrize(
    "call",
    [
        lambda hook: hook.get_source(""),
        lambda hook: hook.get_model(4, "{{ x }}"),
        lambda hook: hook.get_destination_object(15, ".."),
        lambda hook: hook.get_sync_run(-1),
        lambda hook: hook.list_sync_runs(52, page=0),
        lambda hook: hook.trigger_sync(None),
        lambda hook: hook.trigger_sync(52, force_full_sync="yes"),
        lambda hook: hook.create_sync({"operation": "copy"}),
        lambda hook: hook.cancel_sync_run(0),
        lambda hook: hook.iter_sync_runs(52, order="newest"),
        lambda hook: hook.get_latest_sync_run(0),
        lambda hook: hook.wait_for_sync_run(None),
    ],
)
def test_nothing_is_sent_of_what_is_refused(
    nowhere: mock.Mocker, version: str, call: Callable[[CensusHook], Any]
) -> None:
    with pytest.raises(ValueError, match=r"must be|unrendered"):
        call(CensusHook())
    assert not nowhere.called


@pytest.mark.parametrize(
    "call",
    [
        lambda hook: hook.trigger_sync("snowflake"),
        lambda hook: hook.get_latest_sync_run("snowflake"),
        lambda hook: hook.wait_for_sync_run("snowflake"),
        lambda hook: next(hook.iter_sync_runs("snowflake")),
        lambda hook: hook.pause_sync("snowflake"),
        lambda hook: asyncio.run(hook.arun(endpoints.get_sync("snowflake"))),
    ],
)
def test_nothing_is_sent_of_what_v1_refuses(
    nowhere: mock.Mocker, monkeypatch: pytest.MonkeyPatch, call: Callable[[CensusHook], Any]
) -> None:
    connect(monkeypatch, "v1")
    with pytest.raises(ValueError, match=r"^sync(_run)?_id must be .* in API v1; not 'snowflake'$"):
        call(CensusHook())
    assert not nowhere.called

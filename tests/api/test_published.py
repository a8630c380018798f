# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What the vendor's published reference and real clients say that Census answers, and what is made of it.

Each row is the shape of a public source, on which nobody here has a say; where two sources disagree, both
have a row. The status of an answer, the envelope and the values are theirs.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests_mock as mock

from airflow_provider_census.api.sync_runs import outcome
from airflow_provider_census.exceptions import CensusApiError
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN: dict[str, Any] = {
    "id": 94,
    "sync_id": 52,
    "source_record_count": 15,
    "source_record_updates": 12,
    "source_record_deletes": 2,
    "source_record_invalids": 1,
    "records_processed": 14,
    "records_updated": 13,
    "records_failed": 1,
    "created_at": "2021-10-20T02:51:07.546Z",
    "updated_at": "2021-10-20T02:52:29.236Z",
    "completed_at": "2021-10-20T02:52:29.234Z",
    "scheduled_execution_time": "2021-10-20T02:52:29.234Z",
    "error_code": None,
    "error_message": None,
    "error_detail": None,
    "status": "completed",
    "canceled": False,
    "full_sync": True,
    "current_step": None,
}
TEST_RUN: dict[str, Any] = {
    "id": 94,
    "created_at": "2021-10-20T02:51:07.546Z",
    "completed_at": "2021-10-20T02:52:29.234Z",
    "status": "completed",
    "sample_record": {"ID": "id_1234", "NAME": "Hello World"},
    "sample_record_failed": False,
    "current_step": "Prepare Sync",
}
RECORD: dict[str, Any] = {
    "record_payload": {"ID": "id_1234", "NAME": "Hello World"},
    "identifier": "id_1234",
    "batch_started_at": "2024-06-28T21:33:54Z",
    "batch_completed_at": "2024-06-28T21:33:54Z",
    "operation": "upsert",
    "status": "succeeded",
    "status_message": "",
}
ACTIVATION: dict[str, Any] = {
    "id": "glimmering_donkey",
    "name": "My Salesforce Connection",
    "group_id": "abundant_giraffe",
    "source_connection": {"id": 4, "name": "Snowflake", "type": "snowflake"},
    "destination_connection": {"id": 15, "type": "salesforce", "last_test_succeeded": True},
}
LINK: dict[str, Any] = {
    "id": 41,
    "type": "hubspot",
    "uri": "https://app.getcensus.com/connect/abc",
    "redirect_uri": "http://example.com",
    "expiration": "2024-06-28T21:33:54Z",
    "expired": False,
    "revoked": False,
}
WEBHOOK: dict[str, Any] = {"id": 7, "name": "x", "endpoint": "https://a.test", "events": ["sync.failed"]}
NEW_SYNC: dict[str, Any] = {
    "label": "New Signups to Leads",
    "operation": "mirror",
    "destination_attributes": {"connection_id": 15, "object": "user_data"},
    "source_attributes": {"connection_id": 12, "object": {"type": "model", "name": "test_ads"}},
    "mappings": [
        {
            "from": {"type": "column", "data": "hashed_email"},
            "to": "user_identifier.hashed_email_PREHASHED",
            "is_primary_identifier": True,
        },
        {"from": {"type": "constant_value", "data": {"value": "c", "basic_type": "text"}}, "to": "cohort"},
    ],
    "mode": {"type": "triggered", "triggers": {"schedule": {"frequency": "daily", "hour": 10, "minute": 30}}},
    "field_behavior": "sync_all_properties",
    "field_normalization": "snake_case",
}
NEWER_BODIES: list[dict[str, Any]] = [
    NEW_SYNC,
    *[
        {**NEW_SYNC, "source_attributes": {"connection_id": 12, "object": {"type": kind, "id": 61}}}
        for kind in ("dataset", "segment", "topic", "cohort")
    ],
    {**NEW_SYNC, "source_attributes": {"object": {"type": "model", "name": "test_ads"}}},
    *[
        {**NEW_SYNC, "mappings": [{"from": origin, "to": "x", "is_primary_identifier": True}]}
        for origin in (
            {"type": "sync_metadata", "data": "sync_run_id"},
            {"type": "segment_membership", "data": {"identify_by": "name"}},
            {"type": "liquid_template", "data": "{{ record['EMAIL'] }}"},
        )
    ],
    {**NEW_SYNC, "mappings": []},
    {**NEW_SYNC, "mappings": [{"from": {"type": "column", "data": "A"}, "to": "A"}]},
    {"activation_id": "glimmering_donkey", "operation": "upsert", "mappings": []},
]
"""Bodies that Census takes; the last ones for a mirror to a sheet, and in API v2."""


def paged(*data: Any) -> dict[str, Any]:
    pagination = {
        "total_records": len(data),
        "per_page": 100,
        "prev_page": None,
        "page": 1,
        "next_page": None,
        "last_page": 1,
    }
    return {"status": "success", "pagination": pagination, "data": list(data)}


class Row(NamedTuple):
    """
    What a public source says.

    :ivar call: the method of the hook with its arguments.
    :ivar line: version, method and path, below the root of the API.
    :ivar http: the HTTP status of the answer.
    :ivar answer: its body.
    :ivar result: what the caller gets.
    :ivar query: the query.
    :ivar body: the body.
    """

    call: functools.partial[Any]
    line: str
    http: int
    answer: Any
    result: Any
    query: dict[str, str]
    body: Any


def row(
    line: str,
    call: functools.partial[Any],
    answer: Any,
    result: Any,
    *,
    http: int = 200,
    query: dict[str, str] | None = None,
    body: Any = None,
) -> Row:
    return Row(call, line, http, answer, result, query or {}, body)


HOOK = CensusHook
BOTH = ("v1", "v2")
ALL = {"per_page": "100"}
DELETED = {"status": "deleted"}
KEY = {"refresh_key": 1647978948}
LOCATOR: dict[str, Any] = {"table_catalog": "DEV", "table_schema": "PUBLIC", "table_name": "USERS"}
VALIDATED: dict[str, Any] = {**NEW_SYNC, "validate_only": True}
REDIRECT = {"redirect_uri": "http://example.com"}
RECORDS: dict[str, Any] = {"primary_identifier": "id_1234", "status": "succeeded", "operation": "upsert"}
FILES = ["https://files.test/part-0.parquet?signature=x"]
NEW_ACTIVATION: dict[str, Any] = {
    "activation": {"group_id": "abundant_giraffe", "name": "x", "type": "salesforce", "credentials": {}}
}
NEW_LINK = {"type": "hubspot", "group_id": "wandering_aimlessly", **REDIRECT}


def made(call: Callable[..., Any], *args: Any, **kwargs: Any) -> functools.partial[Any]:
    return functools.partial(call, *args, **kwargs)


def data(value: Any, word: str = "success") -> dict[str, Any]:
    return {"status": word, "data": value}


ROWS = [
    # One source has 201, another one 200.
    *[
        row(
            f"{version} POST /syncs", made(HOOK.create_sync, NEW_SYNC), answer, 4545, http=http, body=NEW_SYNC
        )
        for version in BOTH
        for http, answer in (
            (201, data({"sync_id": 4545}, "created")),
            (200, data({"sync_id": 4545})),
            (201, data({"id": 4545, "label": "New Signups to Leads"}, "created")),
        )
    ],
    row(
        "v1 POST /syncs",
        made(HOOK.create_sync, VALIDATED),
        {"status": "success"},
        {"status": "success"},
        body=VALIDATED,
    ),
    row("v2 POST /syncs", made(HOOK.create_sync, VALIDATED), data({}), data({}), body=VALIDATED),
    row("v1 POST /syncs/test", made(HOOK.test_sync, NEW_SYNC), data({"sync_run_id": 94}), 94, body=NEW_SYNC),
    *[
        row(
            f"{version} GET /syncs/test_status",
            made(HOOK.get_test_sync_status, 94),
            data(TEST_RUN),
            TEST_RUN,
            query={"sync_run_id": "94"},
        )
        for version in BOTH
    ],
    row(
        "v1 PATCH /syncs/52",
        made(HOOK.pause_sync, 52),
        data({"id": 52, "paused": True}, "updated"),
        {"id": 52, "paused": True},
        body={"paused": True},
    ),
    row("v1 DELETE /syncs/52", made(HOOK.delete_sync, 52), DELETED, None),
    row("v1 GET /sync_runs/94", made(HOOK.get_sync_run, 94), data(RUN), RUN),
    # The answer of the oldest document does not say which run it is.
    row(
        "v1 GET /sync_runs/94",
        made(HOOK.get_sync_run, 94),
        data({"status": "failed"}),
        {"status": "failed", "id": 94},
    ),
    row("v1 GET /syncs/52/sync_runs", made(HOOK.list_sync_runs, 52), paged(RUN), [RUN], query=ALL),
    row(
        "v1 POST /sync_runs/94/cancel",
        made(HOOK.cancel_sync_run, 94),
        data({}, "cancelled"),
        None,
    ),
    # The example of records has no pagination, the list of parameters a page.
    *[
        row(
            f"{version} GET /sync_runs/94/records",
            made(HOOK.list_sync_run_records, 94, **RECORDS),
            answer,
            [RECORD],
            query={**ALL, **RECORDS},
        )
        for version in BOTH
        for answer in (data([RECORD]), paged(RECORD))
    ],
    *[
        row(
            f"{version} GET /sync_runs/94/records_count",
            made(HOOK.count_sync_run_records, 94, status="rejected"),
            data([{"record_count": 25}]),
            25,
            query={"status": "rejected"},
        )
        for version in BOTH
    ],
    *[
        row(
            f"{version} GET /sync_runs/94/records_export",
            made(HOOK.export_sync_run_records, 94),
            {"status": "success", "urls": FILES},
            FILES,
        )
        for version in BOTH
    ],
    row(
        "v1 POST /sources/4/tables/refresh_columns",
        made(HOOK.refresh_table_columns_by_locator, 4, **LOCATOR),
        KEY,
        "1647978948",
        http=202,
        query=LOCATOR,
    ),
    row(
        "v1 GET /sources/4/tables/refresh_columns_status",
        made(HOOK.get_refresh_table_columns_by_locator_status, 4, 1647978948, **LOCATOR),
        {"status": "processing"},
        "processing",
        query={"refresh_key": "1647978948", **LOCATOR},
    ),
    row(
        "v1 GET /sources/4/tables/columns",
        made(HOOK.list_table_columns_by_locator, 4, **LOCATOR),
        paged({"name": "ID", "type": "text"}),
        [{"name": "ID", "type": "text"}],
        query={**ALL, **LOCATOR},
    ),
    # One version has 200, the other one 202.
    *[
        row(
            f"{version} POST /datasets/61/refresh_columns",
            made(HOOK.refresh_dataset_columns, 61),
            KEY,
            "1647978948",
            http=http,
        )
        for version, http in (("v1", 200), ("v2", 202))
    ],
    *[
        row(
            f"{version} GET /datasets/61/refresh_columns_status",
            made(HOOK.get_refresh_dataset_columns_status, 61, 1647978948),
            {"status": word},
            word,
            query={"refresh_key": "1647978948"},
        )
        for version in BOTH
        for word in ("processing", "completed")
    ],
    row(
        "v1 GET /connectors/google_sheets/object_types",
        made(HOOK.list_connector_object_types, "google_sheets"),
        data([{"type": "Sheet", "object_attributes": []}]),
        [{"type": "Sheet", "object_attributes": []}],
        query=ALL,
    ),
    row(
        "v2 POST /activations",
        made(HOOK.create_destination, NEW_ACTIVATION),
        data(ACTIVATION, "created"),
        ACTIVATION,
        http=201,
        body=NEW_ACTIVATION,
    ),
    row(
        "v2 PATCH /activations/glimmering_donkey",
        made(HOOK.update_destination, "glimmering_donkey", NEW_ACTIVATION),
        data(ACTIVATION, "updated"),
        ACTIVATION,
        body=NEW_ACTIVATION,
    ),
    row(
        "v2 GET /activations/glimmering_donkey",
        made(HOOK.get_destination, "glimmering_donkey"),
        data(ACTIVATION),
        ACTIVATION,
    ),
    row(
        "v1 POST /destinations/15/connect_links",
        made(HOOK.create_destination_reauthorization_link, 15, REDIRECT),
        data(LINK, "created"),
        LINK,
        http=201,
        body=REDIRECT,
    ),
    row(
        "v2 POST /activations/glimmering_donkey/activation_connect_links",
        made(HOOK.create_destination_reauthorization_link, "glimmering_donkey", REDIRECT),
        data(LINK, "created"),
        LINK,
        http=201,
        body=REDIRECT,
    ),
    row(
        "v2 POST /activation_connect_links",
        made(HOOK.create_destination_connect_link, NEW_LINK),
        data(LINK, "created"),
        LINK,
        http=201,
        body=NEW_LINK,
    ),
    # The vendor's OpenAPI file has a bare array, and all other lists an envelope.
    *[
        row(
            "v1 GET /destination_connect_links/types",
            made(HOOK.list_destination_connect_link_types),
            answer,
            ["hubspot", "braze"],
            query=ALL,
        )
        for answer in (["hubspot", "braze"], data(["hubspot", "braze"]))
    ],
    # One source has 200, another one 201.
    *[
        row(
            "v1 POST /destination_connect_links/41/revoke",
            made(HOOK.revoke_destination_connect_link, 41),
            data({**LINK, "revoked": True}),
            None,
            http=http,
        )
        for http in (200, 201)
    ],
    row("v2 GET /webhooks/7", made(HOOK.get_webhook, 7), data(WEBHOOK), WEBHOOK),
]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mocker]:
    """A Census of nobody's, behind the connection of a test."""
    with mock.Mocker() as mocker:
        yield mocker


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.line}-{number}" for number, row in enumerate(ROWS)])
def test_what_is_published_is_sent_and_understood(
    api: mock.Mocker, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    version, method, path = row.line.split(" ")
    connect(monkeypatch, version)
    api.register_uri(
        method, f"https://census.test/api/{version}{path}", status_code=row.http, json=row.answer
    )
    assert row.call.func(CensusHook(), *row.call.args, **row.call.keywords) == row.result
    (sent,) = api.request_history
    assert dict(parse_qsl(urlsplit(sent.url).query)) == row.query
    assert (sent.json() if sent.body else None) == row.body


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("body", NEWER_BODIES, ids=range(len(NEWER_BODIES)))
def test_a_body_of_today_is_sent_as_it_is(
    api: mock.Mocker, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], version: str
) -> None:
    connect(monkeypatch, version)
    api.post(
        f"https://census.test/api/{version}/syncs", status_code=201, json=data({"sync_id": 1}, "created")
    )
    assert CensusHook().create_sync(body) == 1
    (sent,) = api.request_history
    assert sent.json() == body


@pytest.mark.parametrize(
    ("run", "ended"),
    [
        # One client knows a status of its own, the published example a flag beside another status.
        ({**RUN, "status": "cancelled"}, "canceled"),
        ({**RUN, "canceled": True}, "canceled"),
        ({**RUN, "status": "failed"}, "failed"),
        ({**RUN, "status": "skipped"}, "skipped"),
        (RUN, "completed"),
        ({**RUN, "status": "queued"}, None),
        ({**RUN, "status": "working"}, None),
    ],
)
def test_how_a_run_has_ended(run: dict[str, Any], ended: str | None) -> None:
    assert outcome(run) == ended


@pytest.mark.parametrize(
    ("http", "answer", "said"),
    [
        (404, {"status": 404}, "no message"),
        (404, b"", "no message"),
        (400, {"status": "error", "message": "Failed to refresh source columns"}, "Failed to refresh"),
        (410, {"status": "error", "message": "Gone."}, "Gone"),
        (422, {"status": "unprocessable", "message": "operation is missing"}, "operation is missing"),
        (502, b"<html><h1>Bad Gateway</h1></html>", "Bad Gateway"),
        (200, {"status": 404}, "no message"),
    ],
)
def test_an_error_in_each_form_that_has_been_seen(
    api: mock.Mocker, monkeypatch: pytest.MonkeyPatch, http: int, answer: Any, said: str
) -> None:
    connect(monkeypatch, "v2", attempts=1)
    body = {"content": answer} if isinstance(answer, bytes) else {"json": answer}
    api.get("https://census.test/api/v2/datasets/61", status_code=http, **body)
    with pytest.raises(CensusApiError, match=re.escape(said)):
        CensusHook().get_dataset(61)


def connect(monkeypatch: pytest.MonkeyPatch, version: str, **extra: Any) -> None:
    fields = {"api_version": version, **extra}
    conn = {"conn_type": "census", "host": "census.test", "password": "secret-token:t", "extra": fields}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox serves every operation of the Census API, through v1 and v2."""

from __future__ import annotations

from typing import Any

import pytest
from staging import PERSONAL_ACCESS_TOKEN, TOKEN, Caller, Clock

from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sandbox.app import match
from airflow_provider_census.sandbox.operations import ROUTES

GROUP = "wandering_aimlessly"
SYNC: dict[str, Any] = {
    "label": "New",
    "operation": "upsert",
    "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "mappings": [
        {"from": {"type": "column", "data": "EMAIL"}, "to": "external_id", "is_primary_identifier": True}
    ],
}
NEW: dict[str, Any] = {"name": "New", "group_id": GROUP}
# One body for both roots: each finds its own object in it.
DESTINATION = {
    "service_connection": {"name": "New", "type": "braze", "credentials": {}},
    "activation": {"name": "New", "type": "braze", "credentials": {}, "group_id": GROUP},
}
KEY = {"refresh_key": "1647978948"}
LOCATOR = {"table_catalog": "public", "table_schema": "development", "table_name": "test"}

# Method, path in v1, path in v2 where that is another one, what is sent, HTTP status, and `status`.
OPERATIONS: list[tuple[str, str, str | None, dict[str, Any] | None, int, str | None]] = [
    ("GET", "/syncs", None, None, 200, "success"),
    ("POST", "/syncs", None, SYNC, 201, "created"),
    ("POST", "/syncs/create", "", SYNC, 201, "created"),
    ("GET", "/syncs/52", None, None, 200, "success"),
    ("PATCH", "/syncs/52", None, {"paused": True}, 200, "updated"),
    ("DELETE", "/syncs/52", None, None, 200, "deleted"),
    ("POST", "/syncs/52/trigger", None, None, 200, "success"),
    ("GET", "/syncs/52/sync_runs", None, None, 200, "success"),
    ("GET", "/sync_runs/94", None, None, 200, "success"),
    ("POST", "/sync_runs/94/cancel", None, None, 200, "cancelled"),
    ("GET", "/sync_runs/94/records", None, None, 410, "error"),
    ("GET", "/sync_runs/94/records_count", None, None, 410, "error"),
    ("GET", "/sync_runs/94/records_export", None, None, 400, "error"),
    ("GET", "/sources", None, None, 200, "success"),
    ("POST", "/sources", None, {"name": "New"}, 201, "created"),
    ("GET", "/sources/4", None, None, 200, "success"),
    ("PATCH", "/sources/4", None, {"name": "New"}, 200, "updated"),
    ("DELETE", "/sources/4", None, None, 200, "deleted"),
    ("POST", "/sources/4/refresh_tables", None, None, 200, None),
    ("GET", "/sources/4/refresh_tables_status", None, KEY, 200, "processing"),
    ("GET", "/sources/4/objects", None, None, 200, "success"),
    ("GET", "/sources/4/models", None, None, 200, "success"),
    ("POST", "/sources/4/models", None, {"name": "new", "query": "select 1"}, 201, "created"),
    ("GET", "/sources/4/models/15", None, None, 200, "success"),
    ("PATCH", "/sources/4/models/15", None, {"query": "select 1"}, 200, "updated"),
    ("DELETE", "/sources/4/models/15", None, None, 200, "deleted"),
    ("POST", "/sources/4/models/15/refresh_columns", None, None, 200, None),
    ("GET", "/sources/4/models/15/refresh_columns_status", None, KEY, 200, "processing"),
    ("GET", "/sources/4/tables", None, None, 200, "success"),
    ("GET", "/sources/4/tables/columns", None, LOCATOR, 200, "success"),
    ("POST", "/sources/4/tables/refresh_columns", None, LOCATOR, 200, None),
    ("GET", "/sources/4/tables/refresh_columns_status", None, {**LOCATOR, **KEY}, 200, "processing"),
    ("GET", "/sources/4/tables/2", None, None, 200, "success"),
    ("POST", "/sources/4/tables/2/refresh_columns", None, None, 200, None),
    ("GET", "/sources/4/tables/2/refresh_columns_status", None, KEY, 200, "processing"),
    ("GET", "/sources/4/filter_segments", None, None, 200, "success"),
    ("POST", "/sources/4/filter_segments", None, {"name": "New"}, 201, "created"),
    ("GET", "/sources/4/filter_segments/31", None, None, 200, "success"),
    ("PATCH", "/sources/4/filter_segments/31", None, {"name": "New"}, 200, "updated"),
    ("DELETE", "/sources/4/filter_segments/31", None, None, 200, "deleted"),
    ("GET", "/destinations", "/activations", None, 200, "success"),
    ("POST", "/destinations", "/activations", DESTINATION, 201, "created"),
    ("GET", "/destinations/15", "/activations/glimmering_donkey", None, 200, "success"),
    ("PATCH", "/destinations/15", "/activations/glimmering_donkey", DESTINATION, 200, "updated"),
    ("DELETE", "/destinations/15", "/activations/glimmering_donkey", None, 200, "deleted"),
    (
        "POST",
        "/destinations/15/refresh_objects",
        "/activations/glimmering_donkey/refresh_objects",
        None,
        200,
        None,
    ),
    (
        "GET",
        "/destinations/15/refresh_objects_status",
        "/activations/glimmering_donkey/refresh_objects_status",
        KEY,
        200,
        "processing",
    ),
    ("GET", "/destinations/15/objects", "/activations/glimmering_donkey/objects", None, 200, "success"),
    (
        "GET",
        "/destinations/15/objects/user",
        "/activations/glimmering_donkey/objects/user",
        None,
        200,
        "success",
    ),
    (
        "POST",
        "/destinations/15/objects/user/refresh_fields",
        "/activations/glimmering_donkey/objects/user/refresh_fields",
        None,
        200,
        None,
    ),
    (
        "GET",
        "/destinations/15/objects/user/refresh_fields_status",
        "/activations/glimmering_donkey/objects/user/refresh_fields_status",
        KEY,
        200,
        "processing",
    ),
    ("GET", "/destination_connect_links", "/activation_connect_links", None, 200, "success"),
    ("POST", "/destination_connect_links", "/activation_connect_links", NEW, 201, "created"),
    ("GET", "/destination_connect_links/types", "/activation_connect_links/types", None, 200, "success"),
    ("GET", "/destination_connect_links/41", "/activation_connect_links/41", None, 200, "success"),
    (
        "POST",
        "/destination_connect_links/41/revoke",
        "/activation_connect_links/41/revoke",
        None,
        201,
        "created",
    ),
    ("GET", "/connectors", "/activation_types", None, 200, "success"),
    ("GET", "/connectors/hubspot", "/activation_types/hubspot", None, 200, "success"),
    ("GET", "/datasets", None, None, 200, "success"),
    ("POST", "/datasets", None, NEW, 201, "created"),
    ("GET", "/datasets/61", None, None, 200, "success"),
    ("PATCH", "/datasets/61", None, {"name": "New"}, 200, "updated"),
    ("DELETE", "/datasets/61", None, None, 200, "deleted"),
    ("POST", "/datasets/61/refresh_columns", None, None, 200, None),
    ("GET", "/datasets/61/refresh_columns_status", None, KEY, 200, "processing"),
    ("GET", "/webhooks", None, None, 200, "success"),
    ("POST", "/webhooks", None, NEW, 201, "created"),
    ("GET", "/webhooks/71", None, None, 200, "success"),
    ("PATCH", "/webhooks/71", None, {"name": "New"}, 200, "updated"),
    ("DELETE", "/webhooks/71", None, None, 200, "deleted"),
    ("GET", "/workspace", None, None, 200, "success"),
]
CALLS = [
    ("v1", method, path, sent, status_code, status)
    for method, path, _, sent, status_code, status in OPERATIONS
] + [
    ("v2", method, path if renamed is None else renamed, sent, status_code, status)
    for method, path, renamed, sent, status_code, status in OPERATIONS
    if renamed != ""
]


# All operations


@pytest.mark.parametrize(
    ("version", "method", "path", "sent", "status_code", "status"),
    CALLS,
    ids=[f"{version} {method} {path}" for version, method, path, *_ in CALLS],
)
def test_every_operation_answers_in_its_form(
    census: Caller,
    version: str,
    method: str,
    path: str,
    sent: dict[str, Any] | None,
    status_code: int,
    status: str | None,
) -> None:
    caller = census.through(version)
    if path.endswith("_status"):
        caller.call("POST", path.removesuffix("_status"), params=sent)
    in_query = method == "GET" or sent is LOCATOR
    answer = caller.call(method, path, **{"params" if in_query else "json": sent})
    body = answer.json()

    if path.endswith("connect_links/types"):
        assert (answer.status_code, body) == (200, ["braze", "google_ads", "google_sheets", "hubspot"])
        return
    assert (answer.status_code, body.get("status")) == (status_code, status)
    if status in (None, "processing"):
        assert body == ({"status": status} if status else {"refresh_key": 1647978948})
    elif method == "DELETE":
        assert body == {"status": "deleted"}
    elif status == "error":
        assert body["message"]
    else:
        assert ("pagination" in body) == isinstance(body["data"], list)


@pytest.mark.parametrize(("version", "operations"), [("v1", 71), ("v2", 70)])
def test_no_operation_is_left_out_above(version: str, operations: int) -> None:
    routes = ROUTES[f"/api/{version}"]
    called = {
        next(
            (known, template)
            for known, template, _ in routes
            if known == method and match(template, path) is not None
        )
        for called_version, method, path, *_ in CALLS
        if called_version == version
    }

    assert called == {(method, template) for method, template, _ in routes}
    assert len(routes) == len(called) == operations


@pytest.mark.parametrize(
    ("version", "method", "path"),
    [
        ("v1", "GET", "/activations"),
        ("v1", "GET", "/activation_types"),
        ("v1", "GET", "/activation_connect_links"),
        ("v2", "GET", "/destinations"),
        ("v2", "GET", "/destinations/15/objects"),
        ("v2", "GET", "/connectors"),
        ("v2", "GET", "/destination_connect_links/types"),
        ("v2", "POST", "/syncs/create"),
        ("v2", "GET", "/source_connect_links"),
    ],
)
def test_a_root_does_not_know_the_names_of_the_other(
    census: Caller, version: str, method: str, path: str
) -> None:
    assert census.through(version).call(method, path).status_code == 404


def test_there_is_no_third_root(census: Caller) -> None:
    assert census.through("v3").call("GET", "/syncs").status_code == 404


# The tokens


@pytest.mark.parametrize(
    ("version", "options", "status_code"),
    [
        ("v1", {"headers": {"Authorization": f"Bearer {TOKEN}"}}, 200),
        ("v1", {"auth": ("bearer", TOKEN)}, 200),
        ("v1", {"headers": {"Authorization": f"Bearer {PERSONAL_ACCESS_TOKEN}"}}, 401),
        ("v1", {"auth": ("bearer", PERSONAL_ACCESS_TOKEN)}, 401),
        ("v2", {"headers": {"Authorization": f"Bearer {PERSONAL_ACCESS_TOKEN}"}}, 200),
        ("v2", {"auth": ("bearer", PERSONAL_ACCESS_TOKEN)}, 401),
        ("v2", {"headers": {"Authorization": f"Bearer {TOKEN}"}}, 401),
        ("v2", {"auth": ("bearer", TOKEN)}, 401),
        ("v2", {"headers": {"Authorization": ""}}, 401),
    ],
)
def test_each_root_lets_in_only_its_own_token(
    census: Caller, version: str, options: dict[str, Any], status_code: int
) -> None:
    answer = census.through(version).call("GET", "/syncs", **options)

    assert answer.status_code == status_code
    if status_code == 401:
        assert answer.json()["status"] == 401
        assert "token" in answer.json()["message"]


def test_the_tokens_are_those_that_the_sandbox_is_given() -> None:
    with Sandbox(token="mine", personal_access_token="also mine") as sandbox:
        for version, token in {"v1": "mine", "v2": "also mine"}.items():
            caller = Caller(sandbox.url, Clock(), version)
            caller.session.headers["Authorization"] = f"Bearer {token}"
            assert caller.data("/workspace")["name"] == "Sandbox"

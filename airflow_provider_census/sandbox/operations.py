# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The table of all calls of the Census API, and what those do that are like no other."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse, Response

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.calls import Call, Refusal, page, success
from airflow_provider_census.sandbox.collection import (
    CONNECT_LINKS,
    CONNECTORS,
    DATASETS,
    DESTINATIONS,
    FILTER_SEGMENTS,
    LOCATED_TABLES,
    MODELS,
    OBJECTS,
    SOURCES,
    SYNCS,
    TABLES,
    WEBHOOKS,
    data_sources,
)
from airflow_provider_census.sandbox.records import count_records, export_records, list_records
from airflow_provider_census.sandbox.workspace import Trigger, Workspace


def trigger_sync(workspace: Workspace, call: Call) -> Response:
    """Start a run, and answer with its id; :class:`Refusal` (422) when an append sync is forced full."""
    sync = SYNCS.find(workspace, call)
    forced = force_full_sync(call)
    if forced and sync["operation"] == "append":
        raise Refusal(422, "an append sync cannot be forced to a full sync")
    sync_run_id = workspace.runs.start(
        sync["id"], forced, data.THROUGH_THE_API, lambda: workspace.next_outcome(sync)
    )
    workspace.triggers.append(Trigger(sync["id"], sync_run_id, forced))
    return success({"sync_run_id": sync_run_id})


def force_full_sync(call: Call) -> bool:
    """Whether query or body ask for a full sync; :class:`Refusal` (422) when that is not true or false."""
    # Some clients send it in the query, some in the body.
    given = call.query.get("force_full_sync", call.body.get("force_full_sync", False))
    if given in (True, "true"):
        return True
    if given in (False, "false"):
        return False
    raise Refusal(422, f"force_full_sync must be true or false, not {given!r}")


def list_sync_runs(workspace: Workspace, call: Call) -> Response:
    """The page of a sync's runs that the query asks for, newest first unless it says so."""
    sync_id = SYNCS.find(workspace, call)["id"]
    runs = [run for run in workspace.runs.oldest_first() if run["sync_id"] == sync_id]
    return page(runs, call, order="desc")


def get_sync_run(workspace: Workspace, call: Call) -> Response:
    """The run that the path names, as it is now."""
    return success(workspace.runs.shown(call.path["sync_run"]))


def cancel_sync_run(workspace: Workspace, call: Call) -> Response:
    """Cancel a run; one that is over gets the same answer, and stays as it ended."""
    workspace.cancel(workspace.runs.shown(call.path["sync_run"])["id"])
    return JSONResponse({"status": "cancelled", "data": {}})


def list_source_objects(workspace: Workspace, call: Call) -> Response:
    """The page of a source's tables and models, in brief, that the query asks for."""
    return page(data_sources(SOURCES.find(workspace, call)), call)


def list_connect_link_types(workspace: Workspace, call: Call) -> Response:
    """The names of what connect links can be made for: of all answers, the only one that is a bare array."""
    return JSONResponse([connector["service_name"] for connector in CONNECTORS.items(workspace, call)])


def get_workspace(workspace: Workspace, call: Call) -> Response:
    """Census' workspace, which no call changes."""
    return success(data.WORKSPACE)


Operation = Callable[[Workspace, Call], Response]
Route = tuple[str, str, Operation]

# The first one that meets a call answers it.
V1_ROUTES: list[Route] = [
    ("GET", "/syncs", SYNCS.list_all),
    ("POST", "/syncs", SYNCS.create),
    ("POST", "/syncs/create", SYNCS.create),
    ("GET", "/syncs/{sync}", SYNCS.get),
    ("PATCH", "/syncs/{sync}", SYNCS.update),
    ("DELETE", "/syncs/{sync}", SYNCS.delete),
    ("POST", "/syncs/{sync}/trigger", trigger_sync),
    ("GET", "/syncs/{sync}/sync_runs", list_sync_runs),
    ("GET", "/sync_runs/{sync_run}", get_sync_run),
    ("POST", "/sync_runs/{sync_run}/cancel", cancel_sync_run),
    ("GET", "/sync_runs/{sync_run}/records", list_records),
    ("GET", "/sync_runs/{sync_run}/records_count", count_records),
    ("GET", "/sync_runs/{sync_run}/records_export", export_records),
    ("GET", "/sources", SOURCES.list_all),
    ("POST", "/sources", SOURCES.create),
    ("GET", "/sources/{source}", SOURCES.get),
    ("PATCH", "/sources/{source}", SOURCES.update),
    ("DELETE", "/sources/{source}", SOURCES.delete),
    ("POST", "/sources/{source}/refresh_tables", SOURCES.refresh),
    ("GET", "/sources/{source}/refresh_tables_status", SOURCES.refresh_status),
    ("GET", "/sources/{source}/objects", list_source_objects),
    ("GET", "/sources/{source}/models", MODELS.list_all),
    ("POST", "/sources/{source}/models", MODELS.create),
    ("GET", "/sources/{source}/models/{model}", MODELS.get),
    ("PATCH", "/sources/{source}/models/{model}", MODELS.update),
    ("DELETE", "/sources/{source}/models/{model}", MODELS.delete),
    ("POST", "/sources/{source}/models/{model}/refresh_columns", MODELS.refresh),
    ("GET", "/sources/{source}/models/{model}/refresh_columns_status", MODELS.refresh_status),
    ("GET", "/sources/{source}/tables", TABLES.list_all),
    ("GET", "/sources/{source}/tables/columns", LOCATED_TABLES.list_columns),
    ("POST", "/sources/{source}/tables/refresh_columns", LOCATED_TABLES.refresh),
    ("GET", "/sources/{source}/tables/refresh_columns_status", LOCATED_TABLES.refresh_status),
    ("GET", "/sources/{source}/tables/{table}", TABLES.get),
    ("POST", "/sources/{source}/tables/{table}/refresh_columns", TABLES.refresh),
    ("GET", "/sources/{source}/tables/{table}/refresh_columns_status", TABLES.refresh_status),
    ("GET", "/sources/{source}/filter_segments", FILTER_SEGMENTS.list_all),
    ("POST", "/sources/{source}/filter_segments", FILTER_SEGMENTS.create),
    ("GET", "/sources/{source}/filter_segments/{filter_segment}", FILTER_SEGMENTS.get),
    ("PATCH", "/sources/{source}/filter_segments/{filter_segment}", FILTER_SEGMENTS.update),
    ("DELETE", "/sources/{source}/filter_segments/{filter_segment}", FILTER_SEGMENTS.delete),
    ("GET", "/destinations", DESTINATIONS.list_all),
    ("POST", "/destinations", DESTINATIONS.create),
    ("GET", "/destinations/{destination}", DESTINATIONS.get),
    ("PATCH", "/destinations/{destination}", DESTINATIONS.update),
    ("DELETE", "/destinations/{destination}", DESTINATIONS.delete),
    ("POST", "/destinations/{destination}/refresh_objects", DESTINATIONS.refresh),
    ("GET", "/destinations/{destination}/refresh_objects_status", DESTINATIONS.refresh_status),
    ("GET", "/destinations/{destination}/objects", OBJECTS.list_all),
    ("GET", "/destinations/{destination}/objects/{object}", OBJECTS.get),
    ("POST", "/destinations/{destination}/objects/{object}/refresh_fields", OBJECTS.refresh),
    ("GET", "/destinations/{destination}/objects/{object}/refresh_fields_status", OBJECTS.refresh_status),
    ("GET", "/destination_connect_links", CONNECT_LINKS.list_all),
    ("POST", "/destination_connect_links", CONNECT_LINKS.create),
    ("GET", "/destination_connect_links/types", list_connect_link_types),
    ("GET", "/destination_connect_links/{destination_connect_link}", CONNECT_LINKS.get),
    ("POST", "/destination_connect_links/{destination_connect_link}/revoke", CONNECT_LINKS.revoke),
    ("GET", "/connectors", CONNECTORS.list_all),
    ("GET", "/connectors/{connector}", CONNECTORS.get),
    ("GET", "/datasets", DATASETS.list_all),
    ("POST", "/datasets", DATASETS.create),
    ("GET", "/datasets/{dataset}", DATASETS.get),
    ("PATCH", "/datasets/{dataset}", DATASETS.update),
    ("DELETE", "/datasets/{dataset}", DATASETS.delete),
    ("POST", "/datasets/{dataset}/refresh_columns", DATASETS.refresh),
    ("GET", "/datasets/{dataset}/refresh_columns_status", DATASETS.refresh_status),
    ("GET", "/webhooks", WEBHOOKS.list_all),
    ("POST", "/webhooks", WEBHOOKS.create),
    ("GET", "/webhooks/{webhook}", WEBHOOKS.get),
    ("PATCH", "/webhooks/{webhook}", WEBHOOKS.update),
    ("DELETE", "/webhooks/{webhook}", WEBHOOKS.delete),
    ("GET", "/workspace", get_workspace),
]

RENAMED_IN_V2 = {
    "destinations": "activations",
    "connectors": "activation_types",
    "destination_connect_links": "activation_connect_links",
}
GONE_IN_V2 = "/syncs/create"


def in_v2(template: str) -> str:
    """The path in v2 of an operation of v1."""
    first, *rest = template.removeprefix("/").split("/")
    return "/".join(["", RENAMED_IN_V2.get(first, first), *rest])


V1, V2 = "/api/v1", "/api/v2"

ROUTES: dict[str, list[Route]] = {
    V1: V1_ROUTES,
    V2: [
        (method, in_v2(template), operation)
        for method, template, operation in V1_ROUTES
        if template != GONE_IN_V2
    ],
}

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The operations of the API: one function each, from checked arguments to the request to send.

:class:`~airflow_provider_census.hooks.census.CensusHook` has each of them as a method of the same name that
sends the request and answers with what the annotation says. They are written in the terms of API v1;
:mod:`~airflow_provider_census.api.versions` knows what v2 calls otherwise. What they have in common:

- ``source``: id or slug of a source: a warehouse or database that Census reads.
- ``destination``: id or slug of a destination, a tool that Census writes to; API v2 calls it an activation.
- ``payload``: the body, passed on as it is; the reference of the API says what belongs in it.
- ``group_id``: id of the Fivetran group, only for API v2; without it, the connection's counts.
- ``refresh_key``: what the ``refresh_…`` function answered with.
- It raises ``ValueError`` before anything is sent, if an argument cannot be what it should; the error names
  the argument.
- It raises ``CensusApiError`` if Census answers with an error; ``CensusNotFoundError`` for what does not
  exist.

Every ``list_…`` reads all pages. The reference is at https://developers.getcensus.com/api-reference for v1,
and at https://fivetran.com/docs/activations/rest-api/api-reference for v2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from airflow_provider_census.api import new_sync
from airflow_provider_census.api.request import (
    Id,
    Request,
    any_id,
    body,
    name,
    one_of,
    path,
    slug_or_id,
    whole_number,
)
from airflow_provider_census.api.responses import (
    data_id,
    data_list,
    data_object,
    nothing,
    refresh_key_of,
    refresh_status,
)
from airflow_provider_census.api.types import (
    Destination,
    DestinationObject,
    Model,
    NewSync,
    Source,
    Sync,
    SyncRun,
    Table,
)

MOST_PER_PAGE = 100

Object = dict[str, Any]


def list_syncs() -> Request[list[Sync]]:
    """List the syncs of the workspace."""
    return _list("syncs")


def get_sync(sync_id: int | str) -> Request[Sync]:
    """Get one sync: its source, destination, mappings and schedule."""
    return _get("syncs", any_id("sync_id", sync_id))


def create_sync(payload: NewSync | Mapping[str, Any]) -> Request[int]:
    """
    Create a sync.

    :param payload: the sync, as :class:`~airflow_provider_census.api.types.NewSync`, or in the newer form,
        which names connections by ``connection_id`` and is passed on as it is.
    :returns: the id of the new sync.
    :raises ValueError: if the payload breaks the document's limits; one error lists everything that is wrong.
    """
    checked = new_sync.check(payload)
    parts = ("syncs",) if new_sync.is_newer(checked) else ("syncs", "create")
    return _send("POST", *parts, json=checked, answer=partial(data_id, ("sync_id", "id")))


def update_sync(sync_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """
    Change a sync.

    :param payload: the properties to change; the others stay.
    """
    return _send("PATCH", "syncs", any_id("sync_id", sync_id), json=body("payload", payload))


def pause_sync(sync_id: int | str) -> Request[Object]:
    """Pause a sync: its schedule starts no more runs. A run that goes on is not stopped."""
    return update_sync(sync_id, {"paused": True})


def resume_sync(sync_id: int | str) -> Request[Object]:
    """Let the schedule of a paused sync start runs again."""
    return update_sync(sync_id, {"paused": False})


def delete_sync(sync_id: int | str) -> Request[None]:
    """Delete a sync. What it has written stays in the destination."""
    return _send("DELETE", "syncs", any_id("sync_id", sync_id), answer=nothing)


def trigger_sync(sync_id: int | str, *, force_full_sync: bool = False) -> Request[int]:
    """
    Start a run of a sync.

    :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it.
    :returns: the id of the new run.
    """
    if not isinstance(force_full_sync, bool):
        raise ValueError(f"force_full_sync must be True or False, not {force_full_sync!r}")
    # Census' own clients disagree on where the flag belongs, so it goes both ways.
    return _send(
        "POST",
        "syncs",
        any_id("sync_id", sync_id),
        "trigger",
        params={"force_full_sync": "true"} if force_full_sync else {},
        json={"force_full_sync": True} if force_full_sync else None,
        answer=partial(data_id, ("sync_run_id",)),
    )


def list_sync_runs(
    sync_id: int | str, *, order: str | None = None, page: int | None = None, per_page: int | None = None
) -> Request[list[SyncRun]]:
    """
    List the runs of a sync.

    Without ``page`` this reads the whole history into memory, a request for every ``per_page`` runs; the
    hook's ``iter_sync_runs`` holds one page at a time, ``get_latest_sync_run`` needs only one run.

    :param order: ``asc`` or ``desc``, by the time of creation; without it, as Census likes.
    :param page: the one page to get, from 1; without it, all pages as one list.
    :param per_page: runs on a page, from 1 to 100; without it, 100 where all pages are read,
        else as Census likes.
    """
    params: dict[str, str | int] = {}
    if order is not None:
        params["order"] = one_of("order", order, ("asc", "desc"))
    if page is not None:
        params["page"] = whole_number("page", page, low=1)
    if per_page is not None:
        params["per_page"] = whole_number("per_page", per_page, low=1, high=MOST_PER_PAGE)
    parts = ("syncs", any_id("sync_id", sync_id), "sync_runs")
    return _list(*parts, params=params, paged=page is None)


def get_sync_run(sync_run_id: int | str) -> Request[SyncRun]:
    """Get one sync run: its status, counts and errors."""
    return _get("sync_runs", any_id("sync_run_id", sync_run_id), answer=_sync_run)


def cancel_sync_run(sync_run_id: int | str) -> Request[None]:
    """Cancel a sync run. What it has written stays written."""
    parts = ("sync_runs", any_id("sync_run_id", sync_run_id), "cancel")
    return _send("POST", *parts, answer=nothing, repeatable=True)


def list_sources() -> Request[list[Source]]:
    """List the sources; ``get_source`` adds their models and tables."""
    return _list("sources")


def get_source(source: int | str) -> Request[Source]:
    """Get one source, with its models and tables under ``data_sources``."""
    return _get("sources", slug_or_id("source", source))


def create_source(payload: Mapping[str, Any]) -> Request[Object]:
    """Connect a source."""
    return _send("POST", "sources", json=body("payload", payload))


def update_source(source: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a source."""
    return _send("PATCH", "sources", slug_or_id("source", source), json=body("payload", payload))


def delete_source(source: int | str) -> Request[None]:
    """Disconnect a source."""
    return _send("DELETE", "sources", slug_or_id("source", source), answer=nothing)


def refresh_source_tables(source: int | str) -> Request[str]:
    """Let Census read again which tables a source has; answers with the ``refresh_key``."""
    return _refresh("sources", slug_or_id("source", source), "refresh_tables")


def get_refresh_source_tables_status(source: int | str, refresh_key: int | str) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    return _refresh_status(refresh_key, "sources", slug_or_id("source", source), "refresh_tables_status")


def list_source_objects(source: int | str) -> Request[list[Object]]:
    """List what a source has to sync from."""
    return _list("sources", slug_or_id("source", source), "objects")


def list_models(source: int | str) -> Request[list[Model]]:
    """List the models of a source."""
    return _list("sources", slug_or_id("source", source), "models")


def get_model(source: int | str, model_id: int | str) -> Request[Model]:
    """Get one model of a source, with its query and columns."""
    return _get("sources", slug_or_id("source", source), "models", any_id("model_id", model_id))


def create_model(source: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Create a model of a source."""
    parts = ("sources", slug_or_id("source", source), "models")
    return _send("POST", *parts, json=body("payload", payload))


def update_model(source: int | str, model_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a model of a source."""
    parts = ("sources", slug_or_id("source", source), "models", any_id("model_id", model_id))
    return _send("PATCH", *parts, json=body("payload", payload))


def delete_model(source: int | str, model_id: int | str) -> Request[None]:
    """Delete a model of a source."""
    parts = ("sources", slug_or_id("source", source), "models", any_id("model_id", model_id))
    return _send("DELETE", *parts, answer=nothing)


def refresh_model_columns(source: int | str, model_id: int | str) -> Request[str]:
    """Let Census read again which columns a model has; answers with the ``refresh_key``."""
    parts = ("sources", slug_or_id("source", source), "models", any_id("model_id", model_id))
    return _refresh(*parts, "refresh_columns")


def get_refresh_model_columns_status(
    source: int | str, model_id: int | str, refresh_key: int | str
) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("sources", slug_or_id("source", source), "models", any_id("model_id", model_id))
    return _refresh_status(refresh_key, *parts, "refresh_columns_status")


def get_table(source: int | str, table_id: int | str) -> Request[Table]:
    """Get one table of a source, with its columns."""
    return _get("sources", slug_or_id("source", source), "tables", any_id("table_id", table_id))


def refresh_table_columns(source: int | str, table_id: int | str) -> Request[str]:
    """Let Census read again which columns a table has; answers with the ``refresh_key``."""
    parts = ("sources", slug_or_id("source", source), "tables", any_id("table_id", table_id))
    return _refresh(*parts, "refresh_columns")


def get_refresh_table_columns_status(
    source: int | str, table_id: int | str, refresh_key: int | str
) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("sources", slug_or_id("source", source), "tables", any_id("table_id", table_id))
    return _refresh_status(refresh_key, *parts, "refresh_columns_status")


def list_filter_segments(source: int | str) -> Request[list[Object]]:
    """List the filter segments of a source."""
    return _list("sources", slug_or_id("source", source), "filter_segments")


def get_filter_segment(source: int | str, filter_segment_id: int | str) -> Request[Object]:
    """Get one filter segment of a source."""
    return _get(*_filter_segment(source, filter_segment_id))


def create_filter_segment(source: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Create a filter segment of a source."""
    parts = ("sources", slug_or_id("source", source), "filter_segments")
    return _send("POST", *parts, json=body("payload", payload))


def update_filter_segment(
    source: int | str, filter_segment_id: int | str, payload: Mapping[str, Any]
) -> Request[Object]:
    """Change a filter segment of a source."""
    return _send("PATCH", *_filter_segment(source, filter_segment_id), json=body("payload", payload))


def delete_filter_segment(source: int | str, filter_segment_id: int | str) -> Request[None]:
    """Delete a filter segment of a source."""
    return _send("DELETE", *_filter_segment(source, filter_segment_id), answer=nothing)


def list_destinations() -> Request[list[Destination]]:
    """List the destinations; ``get_destination`` adds their objects."""
    return _list("destinations")


def get_destination(destination: int | str) -> Request[Destination]:
    """Get one destination, with its objects."""
    return _get("destinations", slug_or_id("destination", destination))


def create_destination(payload: Mapping[str, Any], *, group_id: str | None = None) -> Request[Object]:
    """Connect a destination."""
    return _send("POST", "destinations", json=body("payload", payload), group_id=group_id)


def update_destination(destination: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a destination."""
    parts = ("destinations", slug_or_id("destination", destination))
    return _send("PATCH", *parts, json=body("payload", payload))


def delete_destination(destination: int | str) -> Request[None]:
    """Disconnect a destination."""
    return _send("DELETE", "destinations", slug_or_id("destination", destination), answer=nothing)


def refresh_destination_objects(destination: int | str) -> Request[str]:
    """Let Census read again which objects a destination has; answers with the ``refresh_key``."""
    return _refresh("destinations", slug_or_id("destination", destination), "refresh_objects")


def get_refresh_destination_objects_status(destination: int | str, refresh_key: int | str) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("destinations", slug_or_id("destination", destination), "refresh_objects_status")
    return _refresh_status(refresh_key, *parts)


def list_destination_objects(destination: int | str) -> Request[list[DestinationObject]]:
    """List the objects of a destination."""
    return _list("destinations", slug_or_id("destination", destination), "objects")


def get_destination_object(destination: int | str, object_full_name: str) -> Request[DestinationObject]:
    """
    Get one object of a destination, with its fields.

    :param object_full_name: the object's ``full_name``, whatever characters it holds.
    """
    return _get(*_destination_object(destination, object_full_name))


def refresh_destination_object_fields(destination: int | str, object_full_name: str) -> Request[str]:
    """Let Census read again which fields an object has; answers with the ``refresh_key``."""
    return _refresh(*_destination_object(destination, object_full_name), "refresh_fields")


def get_refresh_destination_object_fields_status(
    destination: int | str, object_full_name: str, refresh_key: int | str
) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = _destination_object(destination, object_full_name)
    return _refresh_status(refresh_key, *parts, "refresh_fields_status")


def list_destination_connect_links() -> Request[list[Object]]:
    """List the links by which other people may connect a destination."""
    return _list("destination_connect_links")


def list_destination_connect_link_types() -> Request[list[Object]]:
    """List the kinds of destinations that connect links can be made for."""
    return _list("destination_connect_links", "types")


def get_destination_connect_link(destination_connect_link_id: int | str) -> Request[Object]:
    """Get one connect link."""
    link_id = any_id("destination_connect_link_id", destination_connect_link_id)
    return _get("destination_connect_links", link_id)


def create_destination_connect_link(
    payload: Mapping[str, Any], *, group_id: str | None = None
) -> Request[Object]:
    """Make a link by which somebody else may connect a destination."""
    return _send("POST", "destination_connect_links", json=body("payload", payload), group_id=group_id)


def revoke_destination_connect_link(destination_connect_link_id: int | str) -> Request[None]:
    """Revoke a connect link."""
    link_id = any_id("destination_connect_link_id", destination_connect_link_id)
    return _send("POST", "destination_connect_links", link_id, "revoke", answer=nothing)


def list_connectors() -> Request[list[Object]]:
    """List the kinds of destinations that Census can write to; API v2 calls them activation types."""
    return _list("connectors")


def get_connector(service_name: str) -> Request[Object]:
    """
    Get one kind of destination.

    :param service_name: its name, such as ``salesforce``.
    """
    return _get("connectors", name("service_name", service_name))


def list_datasets() -> Request[list[Object]]:
    """List the datasets."""
    return _list("datasets")


def get_dataset(dataset_id: int | str) -> Request[Object]:
    """Get one dataset."""
    return _get("datasets", any_id("dataset_id", dataset_id))


def create_dataset(payload: Mapping[str, Any], *, group_id: str | None = None) -> Request[Object]:
    """Create a dataset."""
    return _send("POST", "datasets", json=body("payload", payload), group_id=group_id)


def update_dataset(dataset_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a dataset."""
    return _send("PATCH", "datasets", any_id("dataset_id", dataset_id), json=body("payload", payload))


def delete_dataset(dataset_id: int | str) -> Request[None]:
    """Delete a dataset."""
    return _send("DELETE", "datasets", any_id("dataset_id", dataset_id), answer=nothing)


def list_webhooks() -> Request[list[Object]]:
    """List the webhooks: the addresses that Census tells what becomes of syncs."""
    return _list("webhooks")


def get_webhook(webhook_id: int | str) -> Request[Object]:
    """Get one webhook."""
    return _get("webhooks", any_id("webhook_id", webhook_id))


def create_webhook(payload: Mapping[str, Any], *, group_id: str | None = None) -> Request[Object]:
    """Create a webhook."""
    return _send("POST", "webhooks", json=body("payload", payload), group_id=group_id)


def update_webhook(webhook_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a webhook."""
    return _send("PATCH", "webhooks", any_id("webhook_id", webhook_id), json=body("payload", payload))


def delete_webhook(webhook_id: int | str) -> Request[None]:
    """Delete a webhook."""
    return _send("DELETE", "webhooks", any_id("webhook_id", webhook_id), answer=nothing)


def get_workspace() -> Request[Object]:
    """Get the workspace that the token belongs to."""
    return _get("workspace")


def _get(*parts: str, answer: Callable[[Object], Any] = data_object) -> Request[Any]:
    return _request("GET", *parts, answer=answer, repeatable=True)


def _list(*parts: str, params: Mapping[str, str | int] | None = None, paged: bool = True) -> Request[Any]:
    return _request("GET", *parts, answer=data_list, params=params or {}, repeatable=True, paged=paged)


def _send(
    method: str, *parts: str, answer: Callable[[Object], Any] = data_object, **more: Any
) -> Request[Any]:
    return _request(method, *parts, answer=answer, **more)


def _refresh(*parts: str) -> Request[str]:
    return _request("POST", *parts, answer=refresh_key_of)


def _refresh_status(refresh_key: int | str, *parts: str) -> Request[str]:
    params = {"refresh_key": any_id("refresh_key", refresh_key)}
    return _request("GET", *parts, answer=refresh_status, params=params, repeatable=True)


def _request(method: Any, *parts: str, answer: Callable[[Object], Any], **more: Any) -> Request[Any]:
    ids = tuple(part for part in parts if isinstance(part, Id))
    return Request(method, path(*parts), answer, ids=ids, **more)


def _filter_segment(source: int | str, filter_segment_id: int | str) -> tuple[str, ...]:
    segment_id = any_id("filter_segment_id", filter_segment_id)
    return "sources", slug_or_id("source", source), "filter_segments", segment_id


def _destination_object(destination: int | str, object_full_name: str) -> tuple[str, ...]:
    full_name = name("object_full_name", object_full_name)
    return "destinations", slug_or_id("destination", destination), "objects", full_name


def _sync_run(body: Object) -> Any:
    """Take a run, of which at least the id and the status must be known, or no wait for it would ever end."""
    run = data_object(body)
    if isinstance(run.get("id"), bool) or not isinstance(run.get("id"), (int, str)):
        raise TypeError("data.id should say which run it is")
    if not isinstance(run.get("status"), str):
        raise TypeError("data.status should say how the run is")
    return run

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The operations of the API: one function each, from checked arguments to the request to send.

:class:`~airflow_provider_census.hooks.census.CensusHook` has each of them as a method of the same name that
sends the request and returns what the annotation says. They are written in the terms of API v1;
:mod:`~airflow_provider_census.api.versions` knows what v2 calls otherwise. What they have in common:

- ``source``: id or slug of a source: a warehouse or database that Census reads.
- ``destination``: id or slug of a destination, a tool that Census writes to; API v2 calls it an activation.
- ``payload``: the body, passed on as it is; the reference of the API says what belongs in it.
- ``group_id``: id of the Fivetran group, only for API v2; without it, the connection's counts.
- ``refresh_key``: what the ``refresh_…`` function returned.
- It raises ``ValueError`` before anything is sent, if an argument cannot be what it should; the error names
  the argument.
- It raises ``CensusApiError`` if Census responds with an error; ``CensusNotFoundError`` for what does not
  exist.

Every ``list_…`` reads all pages. The reference is at https://developers.getcensus.com/api-reference for v1,
and at https://fivetran.com/docs/activations/rest-api/api-reference for v2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args
from urllib.parse import quote

from airflow_provider_census.api import sync_payload
from airflow_provider_census.api.request import Id, Request
from airflow_provider_census.api.responses import (
    data_id,
    data_list,
    data_object,
    everything,
    export_urls,
    nothing,
    record_count,
    refresh_key_of,
    refresh_status,
    to_id,
)
from airflow_provider_census.api.types import (
    Column,
    ConnectLink,
    Destination,
    DestinationObject,
    Model,
    NewSync,
    RecordOperation,
    RecordStatus,
    Source,
    Sync,
    SyncRun,
    SyncRunRecord,
    Table,
    TestSyncRun,
    Webhook,
)
from airflow_provider_census.api.validation import (
    check_bool,
    check_choice,
    check_id,
    check_int,
    check_json_body,
    check_name,
    check_slug_or_id,
    check_text,
)

MAX_PER_PAGE = 100

Object = dict[str, Any]


def list_syncs() -> Request[list[Sync]]:
    """List the syncs of the workspace."""
    return _list("syncs")


def get_sync(sync_id: int | str) -> Request[Sync]:
    """Get one sync: its source, destination, mappings and schedule."""
    checked = check_id("sync_id", sync_id)
    return _get("syncs", checked, about=("id", checked))


def create_sync(payload: NewSync | Mapping[str, Any]) -> Request[int]:
    """
    Create a sync.

    :param payload: the sync, as :class:`~airflow_provider_census.api.types.NewSync`, or in a newer form,
        which names connections by ``connection_id``, or an activation, and is passed on as it is. With
        ``validate_only``, nothing is created.
    :returns: the id of the new sync; with ``validate_only``, all that Census says, a dictionary.
    :raises ValueError: if the payload breaks the document's limits; one error lists everything that is wrong.
    """
    checked = sync_payload.check(payload)
    parts = ("syncs",) if sync_payload.is_newer(checked) else ("syncs", "create")
    if checked.get("validate_only"):
        return _post(*parts, json=checked, parse=everything, idempotent=True)
    return _post(*parts, json=checked, parse=partial(data_id, ("sync_id", "id")))


def test_sync(payload: Mapping[str, Any]) -> Request[int]:
    """
    Try a sync that need not exist: one record of it is written to the destination.

    :param payload: the sync, in the newer form of :func:`create_sync`.
    :returns: the id of the test run, of which :func:`get_test_sync_status` tells.
    """
    json = check_json_body("payload", payload)
    return _post("syncs", "test", json=json, parse=partial(data_id, ("sync_run_id", "id")))


def get_test_sync_status(sync_run_id: int | str) -> Request[TestSyncRun]:
    """
    Get how far a test run is, and which record it wrote, which is the personal data of a customer.

    :param sync_run_id: what :func:`test_sync` returned.
    """
    checked = check_id("sync_run_id", sync_run_id)
    return _get(
        "syncs", "test_status", params={"sync_run_id": checked}, parse=_sync_run, about=("id", checked)
    )


def update_sync(sync_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """
    Change a sync.

    :param payload: the properties to change; the others stay.
    """
    return _patch("syncs", check_id("sync_id", sync_id), json=check_json_body("payload", payload))


def pause_sync(sync_id: int | str) -> Request[Object]:
    """Pause a sync: its schedule starts no more runs. A run that is running is not stopped."""
    return update_sync(sync_id, {"paused": True})


def resume_sync(sync_id: int | str) -> Request[Object]:
    """Let the schedule of a paused sync start runs again."""
    return update_sync(sync_id, {"paused": False})


def delete_sync(sync_id: int | str) -> Request[None]:
    """Delete a sync. What it has written stays in the destination."""
    return _delete("syncs", check_id("sync_id", sync_id))


def trigger_sync(sync_id: int | str, *, force_full_sync: bool = False) -> Request[int]:
    """
    Start a run of a sync.

    :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it.
    :returns: the id of the new run.
    """
    check_bool("force_full_sync", force_full_sync)
    # Census' own clients disagree on where the flag belongs, so it goes both ways.
    return _post(
        "syncs",
        check_id("sync_id", sync_id),
        "trigger",
        params={"force_full_sync": "true"} if force_full_sync else {},
        json={"force_full_sync": True} if force_full_sync else None,
        parse=partial(data_id, ("sync_run_id",)),
    )


def list_sync_runs(
    sync_id: int | str, *, order: str | None = None, page: int | None = None, per_page: int | None = None
) -> Request[list[SyncRun]]:
    """
    List the runs of a sync.

    Without ``page`` this reads the whole history into memory, a request for every ``per_page`` runs; the
    hook's ``iter_sync_runs`` holds one page at a time, ``get_latest_sync_run`` needs only one run.

    :param order: ``asc`` or ``desc``, by the time of creation; without it, in Census' default order.
    :param page: the one page to get, from 1; without it, all pages as one list.
    :param per_page: runs on a page, from 1 to 100; without it, 100 where all pages are read,
        else Census' default.
    """
    params = _page(page, per_page)
    if order is not None:
        params["order"] = check_choice("order", order, ("asc", "desc"))
    checked = check_id("sync_id", sync_id)
    return _list("syncs", checked, "sync_runs", params=params, paged=page is None, about=("sync_id", checked))


def get_sync_run(sync_run_id: int | str) -> Request[SyncRun]:
    """Get one sync run: its status, counts and errors."""
    checked = check_id("sync_run_id", sync_run_id)
    return _get("sync_runs", checked, parse=_sync_run, about=("id", checked))


def cancel_sync_run(sync_run_id: int | str) -> Request[None]:
    """Cancel a sync run. What it has written stays written."""
    parts = ("sync_runs", check_id("sync_run_id", sync_run_id), "cancel")
    return _post(*parts, parse=nothing, idempotent=True)


def list_sync_run_records(
    sync_run_id: int | str,
    *,
    status: str | None = None,
    operation: str | None = None,
    primary_identifier: int | str | None = None,
    page: int | None = None,
    per_page: int | None = None,
) -> Request[list[SyncRunRecord]]:
    """
    List what a sync run did, record by record: which were synced, which were not, and why.

    Census keeps them for 14 days. They are the personal data of customers. A run may have millions, all of
    which this reads into memory without ``page``; the hook's ``iter_sync_run_records`` holds one page at a
    time.

    :param status: only the records that were ``succeeded``, ``rejected`` by the destination, or ``invalid``
        in the source.
    :param operation: only the records that Census was to ``upsert`` or to ``delete`` in the destination.
    :param primary_identifier: only the record that has it.
    :param page: the one page to get, from 1; without it, all pages as one list.
    :param per_page: records on a page, from 1 to 100; without it, 100 where all pages are read,
        else Census' default.
    """
    params = _page(page, per_page) | _record_filters(status, operation, primary_identifier)
    parts = ("sync_runs", check_id("sync_run_id", sync_run_id), "records")
    return _list(*parts, params=params, paged=page is None)


def count_sync_run_records(
    sync_run_id: int | str,
    *,
    status: str | None = None,
    operation: str | None = None,
    primary_identifier: int | str | None = None,
) -> Request[int]:
    """Count the records of a sync run that :func:`list_sync_run_records` lists, in one request."""
    params = _record_filters(status, operation, primary_identifier)
    parts = ("sync_runs", check_id("sync_run_id", sync_run_id), "records_count")
    return _get(*parts, params=params, parse=record_count)


def export_sync_run_records(
    sync_run_id: int | str, *, status: str | None = None, operation: str | None = None
) -> Request[list[str]]:
    """
    Get the addresses of Parquet files that hold the records of a sync run.

    Who knows an address can read the file. As long as the run, or the export, is not done, Census responds
    with HTTP 425, which is an error after a few attempts; the hook's method waits.

    :param status: as for :func:`list_sync_run_records`; Census announces this filter for later.
    :param operation: as for :func:`list_sync_run_records`; Census announces this filter for later.
    """
    params = _record_filters(status, operation)
    parts = ("sync_runs", check_id("sync_run_id", sync_run_id), "records_export")
    return _get(*parts, params=params, parse=export_urls)


def newest_sync_runs(sync_id: int | str) -> Request[list[SyncRun]]:
    """
    List the newest runs of a sync in one request, as many as Census sends at a time.

    No operation of its own, so the hook has no method for it.
    """
    checked = check_id("sync_id", sync_id)
    params = {"order": "desc", "page": 1, "per_page": MAX_PER_PAGE}
    return _list("syncs", checked, "sync_runs", params=params, paged=False, about=("sync_id", checked))


def list_sources() -> Request[list[Source]]:
    """List the sources; ``get_source`` adds their models and tables."""
    return _list("sources")


def get_source(source: int | str) -> Request[Source]:
    """Get one source, with its models and tables under ``data_sources``."""
    return _get("sources", check_slug_or_id("source", source))


def create_source(payload: Mapping[str, Any]) -> Request[Object]:
    """Connect a source."""
    return _post("sources", json=check_json_body("payload", payload))


def update_source(source: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a source."""
    return _patch("sources", check_slug_or_id("source", source), json=check_json_body("payload", payload))


def delete_source(source: int | str) -> Request[None]:
    """Disconnect a source."""
    return _delete("sources", check_slug_or_id("source", source))


def refresh_source_tables(source: int | str) -> Request[str]:
    """Let Census read again which tables a source has; returns the ``refresh_key``."""
    return _refresh("sources", check_slug_or_id("source", source), "refresh_tables")


def get_refresh_source_tables_status(source: int | str, refresh_key: int | str) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    return _refresh_status(
        refresh_key, "sources", check_slug_or_id("source", source), "refresh_tables_status"
    )


def list_source_objects(source: int | str) -> Request[list[Object]]:
    """List what a source has to sync from."""
    return _list("sources", check_slug_or_id("source", source), "objects")


def list_source_tables(source: int | str) -> Request[list[Table]]:
    """List the tables of a source."""
    return _list("sources", check_slug_or_id("source", source), "tables")


def list_table_columns_by_locator(
    source: int | str, *, table_catalog: str, table_schema: str, table_name: str
) -> Request[list[Column]]:
    """
    List the columns of a table that has no id, as Census last read them.

    :param table_catalog: its catalog, which some warehouses call a database.
    :param table_schema: its schema.
    :param table_name: its name.
    """
    params = _locator(table_catalog, table_schema, table_name)
    return _list("sources", check_slug_or_id("source", source), "tables", "columns", params=params)


def refresh_table_columns_by_locator(
    source: int | str, *, table_catalog: str, table_schema: str, table_name: str
) -> Request[str]:
    """
    Let Census read again which columns a table has that has no id; returns the ``refresh_key``.

    :param table_catalog: its catalog, which some warehouses call a database.
    :param table_schema: its schema.
    :param table_name: its name.
    """
    params = _locator(table_catalog, table_schema, table_name)
    parts = ("sources", check_slug_or_id("source", source), "tables", "refresh_columns")
    return _refresh(*parts, params=params)


def get_refresh_table_columns_by_locator_status(
    source: int | str,
    refresh_key: int | str,
    *,
    table_catalog: str,
    table_schema: str,
    table_name: str,
) -> Request[str]:
    """
    Get how far a refresh is: ``processing`` or ``completed``.

    :param table_catalog: the catalog of the table.
    :param table_schema: its schema.
    :param table_name: its name.
    """
    parts = ("sources", check_slug_or_id("source", source), "tables", "refresh_columns_status")
    return _refresh_status(refresh_key, *parts, **_locator(table_catalog, table_schema, table_name))


def list_source_types() -> Request[list[Object]]:
    """List the kinds of sources that Census can read."""
    return _list("source_types")


def get_source_type(source_type: int | str) -> Request[Object]:
    """
    Get one kind of source.

    :param source_type: its id, or its name.
    """
    return _get("source_types", check_slug_or_id("source_type", source_type))


def list_models(source: int | str) -> Request[list[Model]]:
    """List the models of a source."""
    return _list("sources", check_slug_or_id("source", source), "models")


def get_model(source: int | str, model_id: int | str) -> Request[Model]:
    """Get one model of a source, with its query and columns."""
    return _get("sources", check_slug_or_id("source", source), "models", check_id("model_id", model_id))


def create_model(source: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Create a model of a source."""
    parts = ("sources", check_slug_or_id("source", source), "models")
    return _post(*parts, json=check_json_body("payload", payload))


def update_model(source: int | str, model_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a model of a source."""
    parts = ("sources", check_slug_or_id("source", source), "models", check_id("model_id", model_id))
    return _patch(*parts, json=check_json_body("payload", payload))


def delete_model(source: int | str, model_id: int | str) -> Request[None]:
    """Delete a model of a source."""
    parts = ("sources", check_slug_or_id("source", source), "models", check_id("model_id", model_id))
    return _delete(*parts)


def refresh_model_columns(source: int | str, model_id: int | str) -> Request[str]:
    """Let Census read again which columns a model has; returns the ``refresh_key``."""
    parts = ("sources", check_slug_or_id("source", source), "models", check_id("model_id", model_id))
    return _refresh(*parts, "refresh_columns")


def get_refresh_model_columns_status(
    source: int | str, model_id: int | str, refresh_key: int | str
) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("sources", check_slug_or_id("source", source), "models", check_id("model_id", model_id))
    return _refresh_status(refresh_key, *parts, "refresh_columns_status")


def get_table(source: int | str, table_id: int | str) -> Request[Table]:
    """Get one table of a source, with its columns."""
    return _get("sources", check_slug_or_id("source", source), "tables", check_id("table_id", table_id))


def refresh_table_columns(source: int | str, table_id: int | str) -> Request[str]:
    """Let Census read again which columns a table has; returns the ``refresh_key``."""
    parts = ("sources", check_slug_or_id("source", source), "tables", check_id("table_id", table_id))
    return _refresh(*parts, "refresh_columns")


def get_refresh_table_columns_status(
    source: int | str, table_id: int | str, refresh_key: int | str
) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("sources", check_slug_or_id("source", source), "tables", check_id("table_id", table_id))
    return _refresh_status(refresh_key, *parts, "refresh_columns_status")


def list_filter_segments(source: int | str, *, name: str | None = None) -> Request[list[Object]]:
    """
    List the filter segments of a source.

    :param name: only the one of this name.
    """
    params = {} if name is None else {"name": check_text("name", name)}
    return _list("sources", check_slug_or_id("source", source), "filter_segments", params=params)


def get_filter_segment(source: int | str, filter_segment_id: int | str) -> Request[Object]:
    """Get one filter segment of a source."""
    return _get(*_filter_segment(source, filter_segment_id))


def create_filter_segment(source: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Create a filter segment of a source."""
    parts = ("sources", check_slug_or_id("source", source), "filter_segments")
    return _post(*parts, json=check_json_body("payload", payload))


def update_filter_segment(
    source: int | str, filter_segment_id: int | str, payload: Mapping[str, Any]
) -> Request[Object]:
    """Change a filter segment of a source."""
    return _patch(*_filter_segment(source, filter_segment_id), json=check_json_body("payload", payload))


def delete_filter_segment(source: int | str, filter_segment_id: int | str) -> Request[None]:
    """Delete a filter segment of a source."""
    return _delete(*_filter_segment(source, filter_segment_id))


def list_destinations() -> Request[list[Destination]]:
    """List the destinations; ``get_destination`` adds their objects."""
    return _list("destinations")


def get_destination(destination: int | str) -> Request[Destination]:
    """Get one destination, with its objects."""
    return _get("destinations", check_slug_or_id("destination", destination))


def create_destination(payload: Mapping[str, Any], *, group_id: str | None = None) -> Request[Object]:
    """Connect a destination."""
    return _post("destinations", json=check_json_body("payload", payload), group_id=group_id)


def update_destination(destination: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a destination."""
    parts = ("destinations", check_slug_or_id("destination", destination))
    return _patch(*parts, json=check_json_body("payload", payload))


def delete_destination(destination: int | str) -> Request[None]:
    """Disconnect a destination."""
    return _delete("destinations", check_slug_or_id("destination", destination))


def refresh_destination_objects(destination: int | str) -> Request[str]:
    """Let Census read again which objects a destination has; returns the ``refresh_key``."""
    return _refresh("destinations", check_slug_or_id("destination", destination), "refresh_objects")


def get_refresh_destination_objects_status(destination: int | str, refresh_key: int | str) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("destinations", check_slug_or_id("destination", destination), "refresh_objects_status")
    return _refresh_status(refresh_key, *parts)


def list_destination_objects(destination: int | str) -> Request[list[DestinationObject]]:
    """List the objects of a destination."""
    return _list("destinations", check_slug_or_id("destination", destination), "objects")


def get_destination_object(destination: int | str, object_full_name: str) -> Request[DestinationObject]:
    """
    Get one object of a destination, with its fields.

    :param object_full_name: the object's ``full_name``, whatever characters it holds.
    """
    return _get(*_destination_object(destination, object_full_name))


def create_destination_object(destination: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Create an object in a destination, such as a sheet; :func:`list_destination_object_types` says what."""
    parts = ("destinations", check_slug_or_id("destination", destination), "objects")
    return _post(*parts, json=check_json_body("payload", payload))


def list_destination_object_types(destination: int | str) -> Request[list[Object]]:
    """List the kinds of objects that can be created in a destination, and what each needs."""
    return _list("destinations", check_slug_or_id("destination", destination), "object_types")


def refresh_destination_object_fields(destination: int | str, object_full_name: str) -> Request[str]:
    """Let Census read again which fields an object has; returns the ``refresh_key``."""
    return _refresh(*_destination_object(destination, object_full_name), "refresh_fields")


def get_refresh_destination_object_fields_status(
    destination: int | str, object_full_name: str, refresh_key: int | str
) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = _destination_object(destination, object_full_name)
    return _refresh_status(refresh_key, *parts, "refresh_fields_status")


def list_destination_connect_links() -> Request[list[ConnectLink]]:
    """List the links by which other people may connect a destination."""
    return _list("destination_connect_links")


def list_destination_connect_link_types() -> Request[list[Any]]:
    """List the kinds of destinations that connect links can be made for: their names, or more of each."""
    return _list("destination_connect_links", "types")


def get_destination_connect_link(destination_connect_link_id: int | str) -> Request[ConnectLink]:
    """Get one connect link."""
    link_id = check_id("destination_connect_link_id", destination_connect_link_id)
    return _get("destination_connect_links", link_id)


def create_destination_connect_link(
    payload: Mapping[str, Any], *, group_id: str | None = None
) -> Request[ConnectLink]:
    """Make a link by which somebody else may connect a destination."""
    return _post("destination_connect_links", json=check_json_body("payload", payload), group_id=group_id)


def create_destination_reauthorization_link(
    destination: int | str, payload: Mapping[str, Any] | None = None
) -> Request[ConnectLink]:
    """
    Make a link by which somebody else may authorize a destination again, which is connected already.

    :param payload: the body, such as ``{"redirect_uri": "https://…"}``, if there is one.
    """
    parts = ("destinations", check_slug_or_id("destination", destination), "connect_links")
    return _post(*parts, json=None if payload is None else check_json_body("payload", payload))


def revoke_destination_connect_link(destination_connect_link_id: int | str) -> Request[None]:
    """Revoke a connect link."""
    link_id = check_id("destination_connect_link_id", destination_connect_link_id)
    return _post("destination_connect_links", link_id, "revoke", parse=nothing)


def list_connectors() -> Request[list[Object]]:
    """List the kinds of destinations that Census can write to; API v2 calls them activation types."""
    return _list("connectors")


def get_connector(service_name: str) -> Request[Object]:
    """
    Get one kind of destination.

    :param service_name: its name, such as ``salesforce``.
    """
    return _get("connectors", check_name("service_name", service_name))


def list_connector_object_types(service_name: str) -> Request[list[Object]]:
    """
    List the kinds of objects that can be created in a kind of destination, and what each needs.

    :param service_name: its name, such as ``google_sheets``.
    """
    return _list("connectors", check_name("service_name", service_name), "object_types")


def list_datasets(*, type: str | None = None) -> Request[list[Object]]:
    """
    List the datasets.

    :param type: only those of this kind, such as ``sql``.
    """
    return _list("datasets", params={} if type is None else {"type": check_text("type", type)})


def get_dataset(dataset_id: int | str) -> Request[Object]:
    """Get one dataset."""
    return _get("datasets", check_id("dataset_id", dataset_id))


def create_dataset(payload: Mapping[str, Any], *, group_id: str | None = None) -> Request[Object]:
    """Create a dataset."""
    return _post("datasets", json=check_json_body("payload", payload), group_id=group_id)


def update_dataset(dataset_id: int | str, payload: Mapping[str, Any]) -> Request[Object]:
    """Change a dataset."""
    return _patch("datasets", check_id("dataset_id", dataset_id), json=check_json_body("payload", payload))


def delete_dataset(dataset_id: int | str) -> Request[None]:
    """Delete a dataset."""
    return _delete("datasets", check_id("dataset_id", dataset_id))


def refresh_dataset_columns(dataset_id: int | str) -> Request[str]:
    """Let Census read again which columns a dataset has; returns the ``refresh_key``."""
    return _refresh("datasets", check_id("dataset_id", dataset_id), "refresh_columns")


def get_refresh_dataset_columns_status(dataset_id: int | str, refresh_key: int | str) -> Request[str]:
    """Get how far a refresh is: ``processing`` or ``completed``."""
    parts = ("datasets", check_id("dataset_id", dataset_id), "refresh_columns_status")
    return _refresh_status(refresh_key, *parts)


def list_webhooks() -> Request[list[Webhook]]:
    """List the webhooks: the addresses that Census tells what becomes of syncs."""
    return _list("webhooks")


def get_webhook(webhook_id: int | str) -> Request[Webhook]:
    """Get one webhook."""
    return _get("webhooks", check_id("webhook_id", webhook_id))


def create_webhook(payload: Mapping[str, Any], *, group_id: str | None = None) -> Request[Webhook]:
    """Create a webhook."""
    return _post("webhooks", json=check_json_body("payload", payload), group_id=group_id)


def update_webhook(webhook_id: int | str, payload: Mapping[str, Any]) -> Request[Webhook]:
    """Change a webhook."""
    return _patch("webhooks", check_id("webhook_id", webhook_id), json=check_json_body("payload", payload))


def delete_webhook(webhook_id: int | str) -> Request[None]:
    """Delete a webhook."""
    return _delete("webhooks", check_id("webhook_id", webhook_id))


def get_workspace() -> Request[Object]:
    """Get the workspace that the token belongs to."""
    return _get("workspace")


def _request(
    method: Any, *parts: str, parse: Callable[[Object], Any] = data_object, **more: Any
) -> Request[Any]:
    ids = tuple([part for part in (*parts, *more.get("params", {}).values()) if isinstance(part, Id)])
    # Each part stays one segment, whatever characters it holds.
    path = "".join(["/" + quote(part, safe="") for part in parts])
    return Request(method, path, parse, ids=ids, **more)


_get = partial(_request, "GET", idempotent=True)
_list = partial(_request, "GET", parse=data_list, idempotent=True, paged=True)
_post = partial(_request, "POST")
_patch = partial(_request, "PATCH")
_delete = partial(_request, "DELETE", parse=nothing)
_refresh = partial(_request, "POST", parse=refresh_key_of)


def _refresh_status(refresh_key: int | str, *parts: str, **params: str) -> Request[str]:
    key = str(check_id("refresh_key", refresh_key))  # a word, in any version
    return _get(*parts, parse=refresh_status, params={"refresh_key": key, **params})


def _locator(table_catalog: str, table_schema: str, table_name: str) -> dict[str, str]:
    return {
        "table_catalog": check_text("table_catalog", table_catalog),
        "table_schema": check_text("table_schema", table_schema),
        "table_name": check_text("table_name", table_name),
    }


def _page(page: int | None, per_page: int | None) -> dict[str, str | int]:
    params: dict[str, str | int] = {}
    if page is not None:
        params["page"] = check_int("page", page, low=1)
    if per_page is not None:
        params["per_page"] = check_int("per_page", per_page, low=1, high=MAX_PER_PAGE)
    return params


def _record_filters(
    status: str | None, operation: str | None, primary_identifier: int | str | None = None
) -> dict[str, str | int]:
    params: dict[str, str | int] = {}
    if status is not None:
        params["status"] = check_choice("status", status, get_args(RecordStatus))
    if operation is not None:
        params["operation"] = check_choice("operation", operation, get_args(RecordOperation))
    if primary_identifier is not None:
        params["primary_identifier"] = check_text("primary_identifier", primary_identifier)
    return params


def _filter_segment(source: int | str, filter_segment_id: int | str) -> tuple[str, ...]:
    segment_id = check_id("filter_segment_id", filter_segment_id)
    return "sources", check_slug_or_id("source", source), "filter_segments", segment_id


def _destination_object(destination: int | str, object_full_name: str) -> tuple[str, ...]:
    full_name = check_name("object_full_name", object_full_name)
    return "destinations", check_slug_or_id("destination", destination), "objects", full_name


def _sync_run(body: Object) -> Any:
    """Take a run, of which at least the id and the status must be known, or no wait for it would ever end."""
    run = data_object(body)
    if to_id(run.get("id")) is None:
        raise TypeError("data.id should say which run it is")
    if not isinstance(run.get("status"), str):
        raise TypeError("data.status should say how the run is")
    return run

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The operations of the API: one function each, from checked arguments to the request to send.

:class:`~airflow_provider_census.hooks.census.CensusHook` has each of them as a method of the same name that
sends the request and answers with what the annotation says. All are described at
https://developers.getcensus.com/api-reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from airflow_provider_census.api import new_sync
from airflow_provider_census.api.request import Request, name, one_of, path, whole_number
from airflow_provider_census.api.responses import data_id, data_list, data_object, nothing
from airflow_provider_census.api.types import (
    Destination,
    DestinationObject,
    Model,
    NewSync,
    Source,
    SyncRun,
    Table,
)
from airflow_provider_census.api.versions import id_or_slug, numeric_id

MOST_PER_PAGE = 100


def list_sources() -> Request[list[Source]]:
    """
    List the sources: the warehouses and databases that Census reads.

    :returns: every source of the workspace, on however many pages; ``get_source`` adds models and tables.
    :raises CensusApiError: if Census answers with an error.
    """
    return Request("GET", path("sources"), data_list, repeatable=True, paged=True)


def get_source(source: int | str) -> Request[Source]:
    """
    Get one source, with its models and tables under ``data_sources``.

    :param source: id or slug of the source.
    :raises ValueError: if that is neither.
    :raises CensusNotFoundError: if there is no such source.
    """
    return Request("GET", path("sources", id_or_slug("source", source)), data_object, repeatable=True)


def get_model(source: int | str, model_id: int | str) -> Request[Model]:
    """
    Get one model of a source, with its query and columns.

    :param source: id or slug of the source.
    :param model_id: id of the model.
    :raises ValueError: if one of these cannot be an id.
    :raises CensusNotFoundError: if there is no such model.
    """
    parts = ("sources", id_or_slug("source", source), "models", numeric_id("model_id", model_id))
    return Request("GET", path(*parts), data_object, repeatable=True)


def get_table(source: int | str, table_id: int | str) -> Request[Table]:
    """
    Get one table of a source, with its columns.

    :param source: id or slug of the source.
    :param table_id: id of the table.
    :raises ValueError: if one of these cannot be an id.
    :raises CensusNotFoundError: if there is no such table.
    """
    parts = ("sources", id_or_slug("source", source), "tables", numeric_id("table_id", table_id))
    return Request("GET", path(*parts), data_object, repeatable=True)


def list_destinations() -> Request[list[Destination]]:
    """
    List the destinations: the tools that Census writes to.

    :returns: every destination of the workspace, on however many pages; ``get_destination`` adds objects.
    :raises CensusApiError: if Census answers with an error.
    """
    return Request("GET", path("destinations"), data_list, repeatable=True, paged=True)


def get_destination(destination: int | str) -> Request[Destination]:
    """
    Get one destination, with its objects.

    :param destination: id or slug of the destination.
    :raises ValueError: if that is neither.
    :raises CensusNotFoundError: if there is no such destination.
    """
    parts = ("destinations", id_or_slug("destination", destination))
    return Request("GET", path(*parts), data_object, repeatable=True)


def get_destination_object(destination: int | str, object_full_name: str) -> Request[DestinationObject]:
    """
    Get one object of a destination, with its fields.

    :param destination: id or slug of the destination.
    :param object_full_name: the object's ``full_name``, whatever characters it holds.
    :raises ValueError: if one of these cannot be a name.
    :raises CensusNotFoundError: if there is no such object.
    """
    parts = ("destinations", id_or_slug("destination", destination), "objects")
    return Request(
        "GET", path(*parts, name("object_full_name", object_full_name)), data_object, repeatable=True
    )


def get_sync_run(sync_run_id: int | str) -> Request[SyncRun]:
    """
    Get one sync run: its status, counts and errors.

    :param sync_run_id: id of the run.
    :raises ValueError: if that cannot be an id.
    :raises CensusNotFoundError: if there is no such run.
    """
    return Request(
        "GET", path("sync_runs", numeric_id("sync_run_id", sync_run_id)), _sync_run, repeatable=True
    )


def list_sync_runs(
    sync_id: int | str, *, order: str | None = None, page: int | None = None, per_page: int | None = None
) -> Request[list[SyncRun]]:
    """
    List the runs of a sync.

    Without ``page`` this reads the whole history, a request for every ``per_page`` runs.

    :param sync_id: id of the sync.
    :param order: ``asc`` or ``desc``, by the time of creation; without it, as Census likes.
    :param page: the one page to get, from 1; without it, all pages as one list.
    :param per_page: runs on a page, from 1 to 100; without it, 100 where all pages are read,
        else as Census likes.
    :raises ValueError: if an argument is out of its bounds.
    :raises CensusNotFoundError: if there is no such sync.
    """
    params: dict[str, str | int] = {}
    if order is not None:
        params["order"] = one_of("order", order, ("asc", "desc"))
    if page is not None:
        params["page"] = whole_number("page", page, low=1)
    if per_page is not None:
        params["per_page"] = whole_number("per_page", per_page, low=1, high=MOST_PER_PAGE)
    return Request(
        "GET",
        path("syncs", numeric_id("sync_id", sync_id), "sync_runs"),
        data_list,
        params=params,
        repeatable=True,
        paged=page is None,
    )


def trigger_sync(sync_id: int | str, *, force_full_sync: bool = False) -> Request[int]:
    """
    Start a run of a sync.

    :param sync_id: id of the sync.
    :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it.
    :returns: the id of the new run.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusNotFoundError: if there is no such sync.
    """
    if not isinstance(force_full_sync, bool):
        raise ValueError(f"force_full_sync must be True or False, not {force_full_sync!r}")
    # Census' own clients disagree on where the flag belongs, so it goes both ways.
    return Request(
        "POST",
        path("syncs", numeric_id("sync_id", sync_id), "trigger"),
        partial(data_id, "sync_run_id"),
        params={"force_full_sync": "true"} if force_full_sync else {},
        json={"force_full_sync": True} if force_full_sync else None,
    )


def create_sync(payload: NewSync | Mapping[str, Any]) -> Request[int]:
    """
    Create a sync.

    :param payload: the sync, as :class:`~airflow_provider_census.api.types.NewSync` or in a newer form, which
        is passed on as it is.
    :returns: the id of the new sync.
    :raises ValueError: if the payload breaks the document's limits; one error lists everything that is wrong.
    """
    return Request("POST", path("syncs", "create"), partial(data_id, "sync_id"), json=new_sync.check(payload))


def cancel_sync_run(sync_run_id: int | str) -> Request[None]:
    """
    Cancel a sync run. What it has written stays written.

    :param sync_run_id: id of the run.
    :raises ValueError: if that cannot be an id.
    :raises CensusNotFoundError: if there is no such run.
    """
    parts = ("sync_runs", numeric_id("sync_run_id", sync_run_id), "cancel")
    return Request("POST", path(*parts), nothing, repeatable=True)


def _sync_run(body: dict[str, Any]) -> Any:
    """Take a run, of which at least the status must be known, or no wait for it would ever end."""
    run = data_object(body)
    if not isinstance(run.get("status"), str):
        raise TypeError("data.status should say how the run is")
    return run

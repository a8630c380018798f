# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Makes methods of the hook of the operations of the API."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_census.api import endpoints

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.hooks.census import CensusHook

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])


def lift(endpoint: Callable[P, Request[T]]) -> Callable[Concatenate[CensusHook, P], T]:
    """Turn an operation of the API into a method that sends it; name, docstring and signature stay."""

    def method(self: CensusHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(endpoint(*args, **kwargs))

    return _named(method, endpoint, endpoint.__name__)


def lift_lazily(
    endpoint: Callable[P, Request[list[T]]],
) -> Callable[Concatenate[CensusHook, P], Iterator[T]]:
    """Turn a listing operation into a method that reads a page whenever the one before it is used up."""

    def method(self: CensusHook, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.iterate(endpoint(*args, **kwargs))

    name = endpoint.__name__
    named = _named(method, endpoint, name.replace("list_", "iter_", 1), "Iterator")
    named.__doc__ = (
        f"Go through what :meth:`{name}` lists, one page in memory at a time; its arguments are the same."
    )
    return named


def _named(method: M, endpoint: Callable[..., Any], name: str, returned: str = "") -> M:
    """Give a method the signature, the annotations and the documentation of an operation."""
    functools.update_wrapper(method, endpoint)
    signature = inspect.signature(endpoint)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    returns = str(signature.return_annotation).removeprefix("Request[").removesuffix("]")
    returns = returned + returns.removeprefix("list") if returned else returns
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[this, *signature.parameters.values()], return_annotation=returns
    )
    method.__annotations__ = {**endpoint.__annotations__, "return": returns}
    method.__name__, method.__qualname__ = name, f"CensusHook.{name}"
    return method


class Operations:
    """The operations of the API that are methods of the hook as they are; it makes the others itself."""

    list_syncs = lift(endpoints.list_syncs)
    get_sync = lift(endpoints.get_sync)
    create_sync = lift(endpoints.create_sync)
    test_sync = lift(endpoints.test_sync)
    get_test_sync_status = lift(endpoints.get_test_sync_status)
    update_sync = lift(endpoints.update_sync)
    pause_sync = lift(endpoints.pause_sync)
    resume_sync = lift(endpoints.resume_sync)
    delete_sync = lift(endpoints.delete_sync)
    list_sync_runs = lift(endpoints.list_sync_runs)
    get_sync_run = lift(endpoints.get_sync_run)
    cancel_sync_run = lift(endpoints.cancel_sync_run)
    list_sync_run_records = lift(endpoints.list_sync_run_records)
    count_sync_run_records = lift(endpoints.count_sync_run_records)
    list_sources = lift(endpoints.list_sources)
    get_source = lift(endpoints.get_source)
    create_source = lift(endpoints.create_source)
    update_source = lift(endpoints.update_source)
    delete_source = lift(endpoints.delete_source)
    refresh_source_tables = lift(endpoints.refresh_source_tables)
    get_refresh_source_tables_status = lift(endpoints.get_refresh_source_tables_status)
    list_source_objects = lift(endpoints.list_source_objects)
    list_source_tables = lift(endpoints.list_source_tables)
    list_table_columns_by_locator = lift(endpoints.list_table_columns_by_locator)
    refresh_table_columns_by_locator = lift(endpoints.refresh_table_columns_by_locator)
    get_refresh_table_columns_by_locator_status = lift(endpoints.get_refresh_table_columns_by_locator_status)
    list_source_types = lift(endpoints.list_source_types)
    get_source_type = lift(endpoints.get_source_type)
    list_models = lift(endpoints.list_models)
    get_model = lift(endpoints.get_model)
    create_model = lift(endpoints.create_model)
    update_model = lift(endpoints.update_model)
    delete_model = lift(endpoints.delete_model)
    refresh_model_columns = lift(endpoints.refresh_model_columns)
    get_refresh_model_columns_status = lift(endpoints.get_refresh_model_columns_status)
    get_table = lift(endpoints.get_table)
    refresh_table_columns = lift(endpoints.refresh_table_columns)
    get_refresh_table_columns_status = lift(endpoints.get_refresh_table_columns_status)
    list_filter_segments = lift(endpoints.list_filter_segments)
    get_filter_segment = lift(endpoints.get_filter_segment)
    create_filter_segment = lift(endpoints.create_filter_segment)
    update_filter_segment = lift(endpoints.update_filter_segment)
    delete_filter_segment = lift(endpoints.delete_filter_segment)
    list_destinations = lift(endpoints.list_destinations)
    get_destination = lift(endpoints.get_destination)
    create_destination = lift(endpoints.create_destination)
    update_destination = lift(endpoints.update_destination)
    delete_destination = lift(endpoints.delete_destination)
    refresh_destination_objects = lift(endpoints.refresh_destination_objects)
    get_refresh_destination_objects_status = lift(endpoints.get_refresh_destination_objects_status)
    list_destination_objects = lift(endpoints.list_destination_objects)
    get_destination_object = lift(endpoints.get_destination_object)
    create_destination_object = lift(endpoints.create_destination_object)
    list_destination_object_types = lift(endpoints.list_destination_object_types)
    refresh_destination_object_fields = lift(endpoints.refresh_destination_object_fields)
    get_refresh_destination_object_fields_status = lift(
        endpoints.get_refresh_destination_object_fields_status
    )
    list_destination_connect_links = lift(endpoints.list_destination_connect_links)
    list_destination_connect_link_types = lift(endpoints.list_destination_connect_link_types)
    get_destination_connect_link = lift(endpoints.get_destination_connect_link)
    create_destination_connect_link = lift(endpoints.create_destination_connect_link)
    create_destination_reauthorization_link = lift(endpoints.create_destination_reauthorization_link)
    revoke_destination_connect_link = lift(endpoints.revoke_destination_connect_link)
    list_connectors = lift(endpoints.list_connectors)
    get_connector = lift(endpoints.get_connector)
    list_connector_object_types = lift(endpoints.list_connector_object_types)
    list_datasets = lift(endpoints.list_datasets)
    get_dataset = lift(endpoints.get_dataset)
    create_dataset = lift(endpoints.create_dataset)
    update_dataset = lift(endpoints.update_dataset)
    delete_dataset = lift(endpoints.delete_dataset)
    refresh_dataset_columns = lift(endpoints.refresh_dataset_columns)
    get_refresh_dataset_columns_status = lift(endpoints.get_refresh_dataset_columns_status)
    list_webhooks = lift(endpoints.list_webhooks)
    get_webhook = lift(endpoints.get_webhook)
    create_webhook = lift(endpoints.create_webhook)
    update_webhook = lift(endpoints.update_webhook)
    delete_webhook = lift(endpoints.delete_webhook)
    get_workspace = lift(endpoints.get_workspace)

    iter_syncs = lift_lazily(endpoints.list_syncs)
    iter_sync_runs = lift_lazily(endpoints.list_sync_runs)
    iter_sync_run_records = lift_lazily(endpoints.list_sync_run_records)
    iter_sources = lift_lazily(endpoints.list_sources)
    iter_source_objects = lift_lazily(endpoints.list_source_objects)
    iter_source_tables = lift_lazily(endpoints.list_source_tables)
    iter_table_columns_by_locator = lift_lazily(endpoints.list_table_columns_by_locator)
    iter_source_types = lift_lazily(endpoints.list_source_types)
    iter_models = lift_lazily(endpoints.list_models)
    iter_filter_segments = lift_lazily(endpoints.list_filter_segments)
    iter_destinations = lift_lazily(endpoints.list_destinations)
    iter_destination_objects = lift_lazily(endpoints.list_destination_objects)
    iter_destination_object_types = lift_lazily(endpoints.list_destination_object_types)
    iter_destination_connect_links = lift_lazily(endpoints.list_destination_connect_links)
    iter_destination_connect_link_types = lift_lazily(endpoints.list_destination_connect_link_types)
    iter_connectors = lift_lazily(endpoints.list_connectors)
    iter_connector_object_types = lift_lazily(endpoints.list_connector_object_types)
    iter_datasets = lift_lazily(endpoints.list_datasets)
    iter_webhooks = lift_lazily(endpoints.list_webhooks)

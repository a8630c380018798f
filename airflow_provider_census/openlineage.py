# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What a sync reads and writes, for OpenLineage, whose provider asks a task for it in the end.

Names are those that OpenLineage gives the same things elsewhere: another one would tear the lineage apart.
So what cannot be named for sure is left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.sync_runs import COUNTS
from airflow_provider_census.api.syncs import connection_of, source_object
from airflow_provider_census.exceptions import CensusError

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_census.api.request import Request
    from airflow_provider_census.hooks.census import CensusHook

T = TypeVar("T")

JsonObject = Mapping[str, Any]

log = logging.getLogger(__name__)

TIMEOUT = 1.5
"""Seconds for a request: three of them fit into the ten that OpenLineage's listener has for all its work."""

PORTS = {"postgres": ":5432", "redshift": ":5439", "databricks": ""}
"""What a namespace has behind the host, if the credentials do not name a port."""


class Name(NamedTuple):
    """What a dataset goes by in OpenLineage."""

    namespace: str
    name: str


def facets(
    hook: CensusHook,
    run: JsonObject | None,
    *,
    first_try: bool,
    sync: JsonObject | None = None,
    name: str = "",
) -> OperatorLineage[Any, Any]:
    """
    Report a sync run to OpenLineage; what is unknown is left out, and nothing is raised.

    :param run: the run; one that was only started has just its ids. ``None`` if there is no run.
    :param first_try: ask Census what the sync reads and writes, in at most three requests.
    :param sync: the definition of the sync, if it is known; that saves one of them.
    :param name: the name of the sync, if it is known.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    lineage: OperatorLineage[Any, Any] = OperatorLineage()
    if run is None:
        return lineage
    try:
        lineage.run_facets = {"census_sync_run": _run_facet(run, name)}
        if first_try:
            _add_datasets(lineage, hook, run, sync)
    except Exception as error:  # noqa: BLE001 - lineage is no reason to trouble anybody
        log.info("The lineage of sync run %s is incomplete: %r", run.get("id"), error)
    return lineage


def _run_facet(run: JsonObject, name: str) -> Any:
    import attr
    from airflow.providers.common.compat.openlineage.facet import RunFacet

    known = {key: run[key] for key in ("id", "sync_id", "status", *COUNTS) if key in run}
    known |= {"sync_name": name} if name else {}
    return attr.make_class("CensusSyncRunFacet", list(known), bases=(RunFacet,))(**known)


def _add_datasets(
    lineage: OperatorLineage[Any, Any], hook: CensusHook, run: JsonObject, sync: JsonObject | None
) -> None:
    from airflow.providers.common.compat.openlineage.facet import (
        ColumnLineageDatasetFacet,
        Fields,
        InputDataset,
        InputField,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )

    def ask(endpoint: Callable[[Any], Request[T]], key: object) -> T | None:
        try:
            return hook.run_once(endpoint(key), TIMEOUT)
        except (CensusError, ValueError) as error:
            log.info("The lineage of sync run %s is incomplete: %s", run.get("id"), error)
            return None

    sync = sync or ask(endpoints.get_sync, run["sync_id"])
    if sync is None:
        return
    source = ask(endpoints.get_source, connection_of(sync["source_attributes"]))
    read = None if source is None else source_name(sync, source)
    if read is not None:
        lineage.inputs = [InputDataset(*read)]
    destination = ask(endpoints.get_destination, connection_of(sync["destination_attributes"]))
    written = None if destination is None else destination_name(sync, destination, hook.settings.base_url)
    if written is None:
        return
    output = OutputDataset(*written)
    if read is not None and (mapped := columns(sync)):
        output.facets = {
            "columnLineage": ColumnLineageDatasetFacet(
                fields={
                    field: Fields(inputFields=[InputField(*read, column) for column in of])
                    for field, of in mapped.items()
                }
            )
        }
    if isinstance(run.get("records_updated"), int):
        output.outputFacets = {
            "outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=run["records_updated"])
        }
    lineage.outputs = [output]


def source_name(sync: JsonObject, source: JsonObject) -> Name | None:
    """
    Name the table or the model that a sync reads.

    A model is a query that only Census knows: it stands beside the tables of its warehouse, under a name
    that no table can have.

    :returns: the name; ``None`` if that cannot be told for sure.
    """
    warehouse = _warehouse(source)
    if warehouse is None:
        return None
    namespace, catalog = warehouse
    attributes = sync["source_attributes"]
    given = source_object(attributes)
    kind, number = given.get("type"), given.get("id")
    read = {"table_catalog": catalog}
    for each in source.get("data_sources", ()):
        if number is not None and (each.get("type"), each.get("id")) == (kind, number):
            read.update(each)
    read.update(given)
    if kind == "model":
        name = read.get("name", read.get("model_name"))
        return Name(namespace, f"model/{source['id']}/{name}") if name else None
    parts = [read.get(part) for part in ("table_catalog", "table_schema", "table_name")]
    return Name(namespace, ".".join(map(str, parts))) if kind == "table" and all(parts) else None


def _warehouse(source: JsonObject) -> tuple[str, Any] | None:
    """
    Tell the namespace of a source, and the database that its tables are in unless they name another one.

    :returns: ``None`` if its kind is not known, or its credentials do not say where it is.
    """
    known = source.get("connection_details") or source.get("credentials") or {}  # as newer and older ones say
    if known.get("project_id"):
        return "bigquery", known["project_id"]
    if known.get("account") and "warehouse" in known:
        from openlineage.common.provider.snowflake import fix_account_name

        return f"snowflake://{fix_account_name(known['account'])}", known.get("database")
    words = set(re.findall("[a-z]+", str(source.get("type") or source.get("slug")).lower()))
    kinds = PORTS.keys() & {"postgres" if word == "postgresql" else word for word in words}
    host = str(known.get("host") or known.get("hostname") or "")
    if len(kinds) != 1 or not re.fullmatch(r"[\w.-]+", host):
        return None
    (kind,) = kinds
    if kind == "redshift":
        host = re.sub(r"^([^.]+)\.[^.]+\.([^.]+)\.redshift\.amazonaws\.com$", r"\1.\2", host)
    port = f":{known['port']}" if known.get("port") and kind != "databricks" else PORTS[kind]
    return f"{kind}://{host}{port}", known.get("database")


def destination_name(sync: JsonObject, destination: JsonObject, base_url: str) -> Name | None:
    """
    Name the object that a sync writes to; OpenLineage has no names for business tools, so these are ours.

    :param base_url: the host of the connection.
    :returns: the name; ``None`` if the sync does not name an object.
    """
    written = sync["destination_attributes"].get("object")
    if not isinstance(written, str):
        return None
    # API v2 has no slugs; the id besides, for two workspaces may call their destinations the same.
    called = destination.get("slug") or "-".join(re.findall(r"\w+", str(destination.get("name", "")).lower()))
    label = f"{called}-{destination['id']}".lstrip("-")
    return Name(f"census://{urlsplit(base_url).netloc}", f"{label}.{written}")


def columns(sync: JsonObject) -> dict[str, list[str]]:
    """Tell which columns each field is filled from; one that gets a constant is left out."""
    mapped: dict[str, list[str]] = {}
    for mapping in sync.get("mappings", ()):
        column = mapping.get("from")
        if isinstance(column, Mapping):
            column = column.get("data") if column.get("type") == "column" else None
        if isinstance(column, str):
            mapped.setdefault(str(mapping.get("to")), []).append(column)
    return mapped

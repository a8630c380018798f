# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The asset that a sync keeps up to date, its URI, and its events. Airflow 2 calls it a dataset."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from airflow_provider_census.api.polling import EVENT_POLL_INTERVAL
from airflow_provider_census.api.settings import DEFAULT_HOST, LABEL
from airflow_provider_census.api.validation import check_id

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import Asset

SCHEME = "census"


def sync_asset(sync_id: int | str, *, host: str = DEFAULT_HOST, **arguments: Any) -> Asset:
    """
    Make the asset of a sync: for a DAG as its schedule, for a task as an outlet, for a trigger to watch.

    Nothing is asked for it, neither Census nor Airflow's database, so a DAG file may do so at will.

    :param sync_id: id of the sync.
    :param host: where the sync is, such as ``app-eu.getcensus.com``.
    :param arguments: what else an ``Asset`` takes, such as ``name`` (else the URI), ``group``, ``extra`` and
        ``watchers``.
    :raises ValueError: if the id or the host cannot be one.
    """
    from airflow.providers.common.compat.sdk import Asset

    checked = check_id("sync_id", sync_id)
    uri = sanitize_uri(urlsplit(f"{SCHEME}://{host}/syncs/{quote(checked, safe='')}"))
    return Asset(uri=urlunsplit(uri), **arguments)


def watched_sync_asset(
    sync_id: int | str,
    *,
    host: str = DEFAULT_HOST,
    census_conn_id: str = "census_default",
    include_failed: bool = False,
    since: datetime | str | None = None,
    poll_interval: timedelta | float = EVENT_POLL_INTERVAL,
    **arguments: Any,
) -> Asset:
    """
    Make the asset of a sync together with the watcher that makes an event of every run of it.

    Airflow keeps one watcher of an asset only as long as every DAG file that uses the asset has the same one:
    it drops the trigger when it parses a file without it, and makes it again when it parses one with it, at
    every parse. So call this with the same arguments in each of them, and never ``sync_asset`` beside it.

    :param sync_id: id of the sync.
    :param host: where the sync is, such as ``app-eu.getcensus.com``.
    :param census_conn_id: id of the Airflow connection with which the sync is polled.
    :param include_failed: also make events of the runs that failed or were cancelled.
    :param since: at the first start, also make events of the runs that have ended since this moment: a
        ``datetime``, or a text in ISO 8601. ``None`` for the moment of the start.
    :param poll_interval: seconds, or a ``timedelta``, between two polls of the sync.
    :param arguments: what else an ``Asset`` takes, such as ``name`` (else the URI), ``group`` and ``extra``.
    :raises ValueError: if an argument is not what it should be.
    :raises RuntimeError: on Airflow 2, which has no event triggers.
    """
    from airflow_provider_census.triggers.events import CensusSyncRunEventTrigger

    trigger = CensusSyncRunEventTrigger(
        sync_id=sync_id,
        census_conn_id=census_conn_id,
        include_failed=include_failed,
        since=since,
        poll_interval=poll_interval,
    )
    from airflow.sdk import AssetWatcher  # which Airflow 2 does not have

    watcher = AssetWatcher(name=f"census_sync_{trigger.sync_id}", trigger=trigger)
    return sync_asset(sync_id, host=host, watchers=[watcher], **arguments)


def sync_run_of(event: Any) -> dict[str, Any]:
    """
    Read the sync run that an asset event stands for, whether a watcher or a task made the event.

    :param event: one of ``triggering_asset_events`` or ``inlet_events``.
    :returns: the ids, outcome, counts, times and URL of the run.
    :raises ValueError: if the event is not about a sync run, such as one that somebody made in the UI.
    """
    extra = event.extra or {}
    run = extra if "sync_run_id" in extra else extra.get("payload")  # where Airflow puts what a trigger says
    if not isinstance(run, dict) or "sync_run_id" not in run:
        raise ValueError(f"no Census sync run stands in the extra of this asset event: {sorted(extra)}")
    return run


def to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Name the asset for OpenLineage; Airflow's OpenLineage provider calls it for inlets and outlets."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{uri.netloc}", name=uri.path.lstrip("/"))


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Give the one form of a URI that stands for a sync: ``census://app.getcensus.com/syncs/52``.

    Airflow calls it for every asset with this scheme.

    :raises ValueError: if it is the URI of no sync, or holds a user name or password, which might be a token.
    """
    if "@" in uri.netloc:
        raise ValueError(f"the URI of a Census sync has no user name or password: {SCHEME}://host/syncs/id")
    *before, last = uri.path.rstrip("/").split("/")
    try:
        port = uri.port
    except ValueError:  # whose message would quote it
        raise ValueError("the port in the URI of a Census sync must be a number") from None
    is_host = re.fullmatch(rf"{LABEL}(\.{LABEL})*|[0-9a-f:.]*:[0-9a-f:.]*", uri.hostname or "")
    if not uri.hostname or not is_host or before != ["", "syncs"] or uri.query:
        raise ValueError(
            f"the URI of a Census sync is such as {SCHEME}://{DEFAULT_HOST}/syncs/52; not {urlunsplit(uri)!r}"
        )
    sync_id = check_id("the id of the sync in the URI", last)
    host = f"[{uri.hostname}]" if ":" in uri.hostname else uri.hostname
    return SplitResult(
        SCHEME,
        host if port in {None, 443} else f"{host}:{port}",
        f"/syncs/{sync_id.lstrip('0') if sync_id.isdigit() else sync_id}",
        "",
        "",
    )

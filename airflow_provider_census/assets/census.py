# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The asset that a sync keeps up to date, and its URI. Airflow 2 calls it a dataset."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from airflow_provider_census.api.settings import DEFAULT_HOST, LABEL
from airflow_provider_census.api.validation import check_id

if TYPE_CHECKING:
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

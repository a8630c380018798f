# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a sync run's status, flags, counts and times mean."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow_provider_census.api.responses import to_id

if TYPE_CHECKING:
    from collections.abc import Mapping

Run = dict[str, Any]

Outcome = Literal["completed", "failed", "canceled", "skipped"]

RUNNING = frozenset({"queued", "working"})
ENDED: dict[str, Outcome] = {
    "completed": "completed",
    "failed": "failed",
    "skipped": "skipped",
    "canceled": "canceled",
    "cancelled": "canceled",
}
COUNTS = (
    "source_record_count",
    "records_processed",
    "records_updated",
    "records_failed",
    "records_invalid",
)


def outcome(run: Mapping[str, Any]) -> Outcome | None:
    """
    Tell how a run ended; ``None`` while it is running, also with a status that this release does not know.

    The flag ``canceled`` counts whatever ``status`` says: a cancelled run may be ``working`` for a while.
    """
    if run.get("canceled") is True:
        return "canceled"
    return ENDED.get(str(run.get("status")))


def sync_url(base_url: str, sync_id: object) -> str:
    """
    Tell where a sync is shown in a browser.

    :param base_url: scheme and host of Census, such as ``hook.settings.base_url``.
    """
    return f"{base_url}/syncs/{quote(str(sync_id), safe='', errors='replace')}"


def browser_url(base_url: str, run: Mapping[str, Any]) -> str:
    """
    Tell where a run is shown in a browser.

    :param base_url: scheme and host of Census, such as ``hook.settings.base_url``.
    :param run: the run, or as much of it as ``{"sync_id": 52, "id": 94}``.
    """
    if run.get("sync_id") is None:  # as in responses of old
        return f"{base_url}/syncs"
    run_id = quote(str(run.get("id")), safe="", errors="replace")
    return f"{sync_url(base_url, run['sync_id'])}/history?sync_run_id={run_id}"


def time_range(run: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """
    Tell between which moments something happened to a run, in seconds since the epoch on Census' clock.

    Census cuts times off, as a rule to milliseconds.

    :param key: what, such as ``created_at``.
    :returns: the two moments; ``None`` if it is not a time at all.
    """
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-]\d\d):?(\d\d))?",
        str(run.get(key)),
        re.ASCII,
    )
    if match is None:
        return None
    digits = match[2] or ""
    try:
        zone = f"{match[3]}:{match[4]}" if match[3] else "+00:00"
        earliest = datetime.fromisoformat(f"{match[1]}.{digits[:6]:0<6}{zone}").timestamp()
    except (ValueError, OverflowError):
        return None
    return earliest, earliest + 10.0 ** -len(digits)


def is_blocked_by(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether a run that was skipped may have been so because of another one, still running then."""
    if outcome(other) == "skipped" or other.get("id") == run.get("id"):
        return False
    created, updated = time_range(run, "created_at"), time_range(other, "updated_at")
    # One that was cancelled may run for a while.
    return str(other.get("status")) not in ENDED or (
        created is not None and updated is not None and updated[1] > created[0]
    )


def summary(run: Mapping[str, Any], url: str, name: str = "", message: str = "") -> dict[str, Any]:
    """
    Sum up a finished run for an event, in plain JSON.

    :param url: where the run is shown in a browser.
    :param name: the name of the sync; left out if it is not known.
    :param message: how the run ended, in a sentence; left out if there is none.
    """
    return {
        **({"message": message} if message else {}),
        **({"sync_name": name} if name else {}),
        "sync_id": run.get("sync_id"),
        "sync_run_id": run.get("id"),
        "outcome": outcome(run),
        **{key: run.get(key) for key in ("status", *COUNTS, "created_at", "completed_at")},
        "url": url,
    }


def count(run: Mapping[str, Any], key: str) -> int:
    """Read one of :data:`COUNTS`; 0 if it is unknown, or no count."""
    value = run.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return 0
    match = re.fullmatch(r"([0-9]{1,18})(?:\.0+)?", str(value))
    return int(match[1]) if match else 0


def run_id(run: Mapping[str, Any]) -> int:
    """Read the id of a run; 0 if it has none."""
    return to_id(run.get("id")) or 0

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a sync run's status, flags and counts mean: whether it ended, how, and what a task makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from airflow_provider_census.api.request import one_of, whole_number
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
)

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
    Tell how a run ended; ``None`` while it goes on, also with a status that this release does not know.

    The flag ``canceled`` counts whatever ``status`` says: a cancelled run may be ``working`` for a while.
    """
    if run.get("canceled") is True:
        return "canceled"
    return ENDED.get(str(run.get("status")))


@dataclass(frozen=True)
class Tolerance:
    """
    Which ends of a run a task takes for a success.

    :ivar on_skipped_run: what a run means that Census skipped because an earlier one was still going:
        ``fail``, ``skip`` (Airflow skips the task) or ``succeed``.
    :ivar max_records_failed: records that the destination may reject; ``None`` for any number.
    :ivar max_records_invalid: records that Census may leave out as invalid; ``None`` for any number.
    """

    on_skipped_run: str = "fail"
    max_records_failed: int | None = None
    max_records_invalid: int | None = None

    def __post_init__(self) -> None:
        one_of("on_skipped_run", self.on_skipped_run, ("fail", "skip", "succeed"))
        for argument in ("max_records_failed", "max_records_invalid"):
            if getattr(self, argument) is not None:
                whole_number(argument, getattr(self, argument), low=0)


@dataclass(frozen=True)
class Verdict:
    """
    What a task makes of a finished run.

    :ivar message: one line for the log or the error.
    :ivar error: what to raise, unless the run is a success.
    :ivar skip: whether Airflow should skip the task.
    :ivar warn: whether the success deserves a warning.
    """

    message: str
    error: CensusSyncRunError | None = None
    skip: bool = False
    warn: bool = False


def judge(run: dict[str, Any], tolerance: Tolerance, url: str) -> Verdict:
    """
    Judge a finished run.

    :param url: where the run is seen in a browser; part of every message.
    """
    ended = outcome(run)
    name = f"Sync run {run.get('id')} of sync {run.get('sync_id')}"
    if ended == "completed":
        return _judge_records(run, tolerance, name, url)
    if ended == "skipped":
        message = (
            f"{name} was skipped by Census, because an earlier run of the sync was still going: "
            f"this run synced nothing. {url}"
        )
        if tolerance.on_skipped_run == "fail":
            return Verdict(message, error=CensusSyncRunSkipped(message, run))
        return Verdict(message, skip=tolerance.on_skipped_run == "skip", warn=True)
    if ended == "canceled":
        message = f"{name} was cancelled. {_counts(run)} {url}"
        return Verdict(message, error=CensusSyncRunCanceled(message, run))
    message = f"{name} failed: {_cause(run)} {_counts(run)} {url}"
    return Verdict(message, error=CensusSyncRunFailed(message, run))


def _judge_records(run: dict[str, Any], tolerance: Tolerance, name: str, url: str) -> Verdict:
    message = f"{name} completed. {_counts(run)} {url}"
    excess = [
        f"{count} is {_count(run, count)}, allowed are {allowed}"
        for count, allowed in (
            ("records_failed", tolerance.max_records_failed),
            ("records_invalid", tolerance.max_records_invalid),
        )
        if allowed is not None and _count(run, count) > allowed
    ]
    if excess:
        message = (
            f"{name} completed, but with too many rejected records: {'; '.join(excess)}. {_counts(run)} {url}"
        )
        return Verdict(message, error=CensusSyncRunRejectedRecords(message, run))
    rejected = _count(run, "records_failed") + _count(run, "records_invalid")
    return Verdict(message, warn=rejected > 0)


def progress(run: Mapping[str, Any]) -> str:
    """Describe how far a run is: status, step, and the share of its records."""
    parts = [str(run.get("status"))]
    if run.get("current_step"):
        parts.append(str(run["current_step"]))
    done, of = _count(run, "records_processed"), _count(run, "source_record_count")
    if done and of:
        parts.append(f"{done} of {of} records ({min(100, 100 * done // of)} %)")
    elif done:
        parts.append(f"{done} records")
    return ", ".join(parts)


def browser_url(base_url: str, run: Mapping[str, Any]) -> str:
    """
    Tell where a run is seen in a browser.

    :param base_url: scheme and host of Census, such as ``hook.settings.base_url``.
    :param run: the run, or as much of it as ``{"sync_id": 52, "id": 94}``.
    """
    sync_id, run_id = (quote(str(run.get(key)), safe="", errors="replace") for key in ("sync_id", "id"))
    return f"{base_url}/syncs/{sync_id}/history?sync_run_id={run_id}"


def created_at(run: Mapping[str, Any]) -> float | None:
    """Tell when a run was created at the latest, in seconds since the epoch on Census' clock."""
    moments = between(run, "created_at")
    return None if moments is None else moments[1]


def between(run: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """
    Tell between which moments something happened to a run, in seconds since the epoch on Census' clock.

    :param key: what, such as ``created_at``.

    Census cuts times off, as a rule to milliseconds; ``None`` if it is not a time at all.
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


def displaced(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether a run that was skipped may have been so for another one, which was still going then."""
    if outcome(other) == "skipped" or other.get("id") == run.get("id"):
        return False
    created, updated = between(run, "created_at"), between(other, "updated_at")
    # One that was cancelled may go on for a while.
    return str(other.get("status")) not in ENDED or (
        created is not None and updated is not None and updated[1] > created[0]
    )


def summary(run: Mapping[str, Any], url: str) -> dict[str, Any]:
    """
    Sum up a finished run for those whom it is told to, in plain JSON.

    :param url: where the run is seen in a browser.
    """
    return {
        "sync_id": run.get("sync_id"),
        "sync_run_id": run.get("id"),
        "outcome": outcome(run),
        **{key: run.get(key) for key in ("status", *COUNTS, "created_at", "completed_at")},
        "url": url,
    }


def _count(run: Mapping[str, Any], key: str) -> int:
    value = run.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return 0
    return int(value) if re.fullmatch(r"[0-9]{1,18}(\.0+)?", str(value), re.ASCII) else 0


def _counts(run: Mapping[str, Any]) -> str:
    return "Records: " + ", ".join(f"{key} {_shown(run.get(key))}" for key in COUNTS) + "."


def _shown(count: object) -> str:
    return "unknown" if count is None else str(count)


def _cause(run: Mapping[str, Any]) -> str:
    """Join Census' code, message and detail, each of which may be missing or repeat the other."""
    code, message, detail = (
        str(run[key]).strip() if run.get(key) else ""
        for key in ("error_code", "error_message", "error_detail")
    )
    words = [code, message, "" if detail in message else detail]
    cause = ": ".join(word for word in words if word) or "Census gave no reason."
    return cause if cause.endswith(".") else cause + "."

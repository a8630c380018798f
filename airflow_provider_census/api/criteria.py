# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which ends of a sync run a task takes for a success, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api import wording
from airflow_provider_census.api.sync_runs import Outcome, count, outcome
from airflow_provider_census.api.validation import Check, check_choice, check_int, optional, to_builtin
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
    CensusSyncRunTooFewRecords,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_share(argument: str, value: object) -> float:
    """
    Check a share.

    :raises ValueError: if it is no number from 0 to 1.
    """
    share = to_builtin(value)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError(f"{argument} must be a share from 0 to 1, such as 0.05 for 5 %, not {value!r}")
    return float(share)


CHECKS: dict[str, Check] = {
    "on_skipped_run": partial(check_choice, allowed=("fail", "skip", "succeed")),
    "max_records_failed": optional(partial(check_int, low=0)),
    "max_records_invalid": optional(partial(check_int, low=0)),
    "max_failed_share": optional(check_share),
    "min_records_processed": optional(partial(check_int, low=0)),
}
"""The check of each criterion."""

THRESHOLDS = tuple(name for name in CHECKS if name != "on_skipped_run")
"""The criteria for a run that completed: all but ``on_skipped_run``."""


@dataclass(frozen=True)
class SuccessCriteria:
    """
    Which ends of a run a task takes for a success.

    :ivar on_skipped_run: what a run means that Census skipped because an earlier one was still running:
        ``fail``, ``skip`` (Airflow skips the task) or ``succeed``.
    :ivar max_records_failed: records that the destination may reject; ``None`` for any number.
    :ivar max_records_invalid: records that Census may leave out as invalid; ``None`` for any number.
    :ivar max_failed_share: share of the processed records, from 0 to 1, that may be rejected or invalid;
        ``None`` for any. Where Census counts more of these than it says it processed, the share is 1.
    :ivar min_records_processed: records that have to be processed; ``None`` for any number. A run of which
        Census does not say how many it processed has too few.
    """

    on_skipped_run: str = "fail"
    max_records_failed: int | None = None
    max_records_invalid: int | None = None
    max_failed_share: float | None = None
    min_records_processed: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """
    What a task makes of a finished run.

    :ivar outcome: how the run ended.
    :ivar message: one line for the log; what an error says has the address of the run besides.
    :ivar error: what to raise, unless the run is a success.
    :ivar skip: whether Airflow should skip the task.
    :ivar warn: whether the success deserves a warning.
    """

    outcome: Outcome
    message: str
    error: CensusSyncRunError | None = None
    skip: bool = False
    warn: bool = False


def evaluate(
    run: dict[str, Any], criteria: SuccessCriteria, url: str, name: str = "", blocking: str = ""
) -> Evaluation:
    """
    Evaluate a finished run.

    :param url: where the run is shown in a browser; part of every error.
    :param name: the name of the sync, if it is known.
    :param blocking: the run because of which Census skipped this one, in words, if it is known.
    """
    ended = outcome(run) or "failed"
    title, numbers, took = wording.title(run, name), wording.counts(run), wording.took(run, ended)
    about = f"{'; ' if numbers else ''}{numbers} · {title}"
    kind: type[CensusSyncRunError]
    if ended == "completed":
        rejected = count(run, "records_failed") + count(run, "records_invalid")
        excess, lack = _excess(run, criteria, rejected), _lack(run, criteria)
        if not excess and not lack:
            first = f"{rejected} records rejected or invalid. " if rejected else ""
            message = f"{first}Completed{took}{': ' if numbers else ''}{numbers} · {title}"
            return Evaluation(ended, message, warn=rejected > 0)
        kind = CensusSyncRunRejectedRecords if excess else CensusSyncRunTooFewRecords
        what = f"Too many rejected records: {excess}" if excess else f"Too few records: {lack}"
        message = f"{what}{about}"
    elif ended == "skipped":
        because = blocking or "an earlier run of the sync was still running"
        message = f"Skipped by Census, nothing was synced: {because} · {title}"
        if criteria.on_skipped_run != "fail":
            return Evaluation(ended, message, skip=criteria.on_skipped_run == "skip", warn=True)
        kind = CensusSyncRunSkipped
    elif ended == "canceled":
        kind, message = CensusSyncRunCanceled, f"Cancelled{took}{about}"
    else:
        kind, message = CensusSyncRunFailed, f"Failed{took}: {wording.cause(run)}{about}"
    return Evaluation(ended, message, error=kind(f"{message} {url}", run))


def _excess(run: Mapping[str, Any], criteria: SuccessCriteria, rejected: int) -> str:
    """
    Say which thresholds the rejected and invalid records of a run exceed; ``""`` for none.

    :param rejected: how many these are together.
    """
    limits = {"records_failed": criteria.max_records_failed, "records_invalid": criteria.max_records_invalid}
    exceeded = [
        f"{key} is {count(run, key)}, allowed are {limit}"
        for key, limit in limits.items()
        if limit is not None and count(run, key) > limit
    ]
    limit = criteria.max_failed_share
    processed = max(count(run, "records_processed"), rejected)
    if limit is not None and rejected and rejected / processed > limit:
        share = f"{100 * rejected / processed:.3g} % ({rejected} of {processed})"
        exceeded.append(f"{share}, allowed are {100 * limit:.3g} %")
    return "; ".join(exceeded)


def _lack(run: Mapping[str, Any], criteria: SuccessCriteria) -> str:
    """Say how many records a run lacks that were to be processed; ``""`` if it has enough."""
    wanted, processed = criteria.min_records_processed, count(run, "records_processed")
    if not wanted or processed >= wanted:
        return ""
    known = "unknown" if run.get("records_processed") is None else processed
    return f"records_processed is {known}, expected are at least {wanted}"

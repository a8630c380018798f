# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which ends of a sync run a task takes for a success, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_census.api.cleaning import plain
from airflow_provider_census.api.responses import MAX_MESSAGE
from airflow_provider_census.api.sync_runs import COUNTS, Outcome, count, outcome, title
from airflow_provider_census.api.validation import Check, check_choice, check_int, optional
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

OnSkippedRun = Literal["fail", "skip", "succeed"]

CHECKS: dict[str, Check] = {
    "on_skipped_run": partial(check_choice, allowed=get_args(OnSkippedRun)),
    "max_records_failed": optional(partial(check_int, low=0)),
    "max_records_invalid": optional(partial(check_int, low=0)),
}
"""What each of the criteria has to be."""


@dataclass(frozen=True)
class SuccessCriteria:
    """
    Which ends of a run a task takes for a success.

    :ivar on_skipped_run: what a run means that Census skipped because an earlier one was still running:
        ``fail``, ``skip`` (Airflow skips the task) or ``succeed``.
    :ivar max_records_failed: records that the destination may reject; ``None`` for any number.
    :ivar max_records_invalid: records that Census may leave out as invalid; ``None`` for any number.
    :raises ValueError: if one of them cannot be used.
    """

    on_skipped_run: str = "fail"
    max_records_failed: int | None = None
    max_records_invalid: int | None = None

    def __post_init__(self) -> None:
        for argument, check in CHECKS.items():
            check(argument, getattr(self, argument))


@dataclass(frozen=True)
class Evaluation:
    """
    What a task makes of a finished run.

    :ivar outcome: how the run ended.
    :ivar message: one line for the log or the error.
    :ivar error: what to raise, unless the run is a success.
    :ivar skip: whether Airflow should skip the task.
    :ivar warn: whether the success deserves a warning.
    """

    outcome: Outcome
    message: str
    error: CensusSyncRunError | None = None
    skip: bool = False
    warn: bool = False


def evaluate(run: dict[str, Any], criteria: SuccessCriteria, url: str) -> Evaluation:
    """
    Evaluate a finished run.

    :param url: where the run is shown in a browser; part of every message.
    """
    ended = outcome(run) or "failed"
    name = title(run)
    if ended == "completed":
        return _evaluate_records(run, criteria, name, url)
    if ended == "skipped":
        message = (
            f"{name} was skipped by Census, because an earlier run of the sync was still running: "
            f"this run synced nothing. {url}"
        )
        if criteria.on_skipped_run == "fail":
            return Evaluation(ended, message, error=CensusSyncRunSkipped(message, run))
        return Evaluation(ended, message, skip=criteria.on_skipped_run == "skip", warn=True)
    if ended == "canceled":
        message = f"{name} was cancelled. {_counts(run)} {url}"
        return Evaluation(ended, message, error=CensusSyncRunCanceled(message, run))
    message = f"{name} failed: {_cause(run)} {_counts(run)} {url}"
    return Evaluation(ended, message, error=CensusSyncRunFailed(message, run))


def _evaluate_records(run: dict[str, Any], criteria: SuccessCriteria, name: str, url: str) -> Evaluation:
    excess = [
        f"{key} is {count(run, key)}, allowed are {allowed}"
        for key, allowed in (
            ("records_failed", criteria.max_records_failed),
            ("records_invalid", criteria.max_records_invalid),
        )
        if allowed is not None and count(run, key) > allowed
    ]
    if excess:
        message = (
            f"{name} completed, but with too many rejected records: {'; '.join(excess)}. {_counts(run)} {url}"
        )
        return Evaluation("completed", message, error=CensusSyncRunRejectedRecords(message, run))
    rejected = count(run, "records_failed") + count(run, "records_invalid")
    return Evaluation("completed", f"{name} completed. {_counts(run)} {url}", warn=rejected > 0)


def _counts(run: Mapping[str, Any]) -> str:
    shown = (f"{key} {'unknown' if run.get(key) is None else plain(run[key], 50)}" for key in COUNTS)
    return f"Records: {', '.join(shown)}."


def _cause(run: Mapping[str, Any]) -> str:
    """Join Census' code, message and detail, each of which may be missing or repeat the other."""
    code, message, detail = (
        plain(run[key], MAX_MESSAGE) if run.get(key) else ""
        for key in ("error_code", "error_message", "error_detail")
    )
    words = [code, message, "" if detail in message else detail]
    cause = ": ".join(word for word in words if word) or "Census gave no reason."
    return cause if cause.endswith(".") else cause + "."

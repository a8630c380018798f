# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a task looks up and logs for those who read its log; none of it can fail the task."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from airflow_provider_census.api import wording
from airflow_provider_census.api.sync_runs import browser_url, count, outcome
from airflow_provider_census.exceptions import CensusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.types import Sync, SyncRunRecord
    from airflow_provider_census.api.waiters import RunWaiter
    from airflow_provider_census.hooks.census import CensusHook

T = TypeVar("T")

PAGE = 100
"""Records that are read at most to tell why some were rejected."""

TIMEOUT_NOTE = "Give it more time, or find out in Census what holds it up."
"""What to do about a timeout that is Airflow's."""

TIMEOUT = 10.0
"""Seconds for a request that is only there for the log."""


def _unless_it_fails(what: str, look_up: Callable[[], T], log: Log) -> T | None:
    try:
        return look_up()
    except Exception as error:  # noqa: BLE001 - whatever fails, the log only says less
        log.info("%s could not be read: %s", what, error)
        return None


def read_definition(hook: CensusHook, sync_id: Any, log: Log) -> Sync | None:
    """Read the definition of a sync, in one request; ``None`` if that fails."""
    from airflow_provider_census.api.endpoints import get_sync

    return _unless_it_fails("The name of the sync", lambda: hook.run_once(get_sync(sync_id), TIMEOUT), log)


def already_running_error(active: str, url: str) -> CensusError:
    """
    Make the error of a task that is not to start a sync while another run of it is running.

    :param active: that run, in words.
    """
    error = CensusError(f"{active}. No run was started (if_running='fail'). {url}")
    error.__notes__ = ["Wait for the end of that run, or set if_running to 'wait' or 'join'."]
    return error


def log_start(run: Run, url: str, joined: bool, log: Log, name: str = "", sync: Sync | None = None) -> None:
    """
    Say which run a task started or joined.

    :param name: the name of the sync, if it is known.
    :param sync: its definition, if that is known.
    """
    log.info("%s: %s", "Joined" if joined else "Started", wording.title(run, name))
    log.info("Open: %s", url)
    if not joined:
        warn_of_own_schedule(sync, name or f"sync {run['sync_id']}", log)


def warn_of_own_schedule(sync: Sync | None, name: str, log: Log) -> None:
    """Warn if Census starts the sync by itself, too, or does not start it at all."""
    from airflow_provider_census.api.syncs import own_schedule

    schedule = "" if sync is None else own_schedule(sync)
    if sync is not None and sync.get("paused"):
        log.warning("Paused in Census, and started nevertheless: %s.", name)
    elif schedule:
        log.warning(
            "Two schedules: Census also starts %s by itself (%s). A run that meets another one is skipped. "
            "Set the schedule in Census to manual, or see if_running.",
            name,
            schedule,
        )


def describe_blocking_run(hook: CensusHook, run: Run, now: float, log: Log) -> tuple[str, str]:
    """Describe the run because of which Census skipped another one, and where it is shown, if known."""
    from airflow_provider_census.api.endpoints import newest_sync_runs
    from airflow_provider_census.api.triggering import blocking_run

    def look_up() -> tuple[str, str]:
        runs = hook.run_once(newest_sync_runs(run["sync_id"]), TIMEOUT)
        blocking = blocking_run(run, runs)
        if blocking is None:
            return "", ""
        url = browser_url(hook.settings.base_url, blocking)
        return f"blocked by {wording.other_run(blocking, now)}", url

    return _unless_it_fails("The run that blocked this one", look_up, log) or ("", "")


def read_rejections(hook: CensusHook, run: Run, shown: int, log: Log) -> list[str]:
    """
    Say why records of a run were rejected or invalid, a line for each reason.

    One request for each of the two that the run has; a run that failed does not say how many it has.

    :param shown: identifiers at most; 0 to ask for nothing.
    """
    from airflow_provider_census.api.endpoints import list_sync_run_records

    counts = {"rejected": count(run, "records_failed"), "invalid": count(run, "records_invalid")}
    failed = outcome(run) == "failed"
    lines: list[str] = []
    for status, number in counts.items():
        unknown = failed and status == "rejected" and run.get("records_failed") is None
        if not shown or not (number or unknown):
            continue
        request = list_sync_run_records(run["id"], status=status, page=1, per_page=PAGE)
        look_up = partial(_reasons, hook, request, status, number, shown)
        lines += _unless_it_fails(f"Which records were {status}", look_up, log) or []
    return lines


def _reasons(
    hook: CensusHook, request: Request[list[SyncRunRecord]], status: str, number: int, shown: int
) -> list[str]:
    found = hook.run_once(request, TIMEOUT)
    of = f", of the first {len(found)}" if number > len(found) else ""
    return [f"{status}{of}: {line}" for line in wording.rejected_records(found, shown)]


def describe_timeout(waiter: RunWaiter[Any], kind: str, limit: timedelta | None) -> str:
    """
    Say that the time of a wait is over, and how far its run was.

    :param kind: which of the two timeouts that was.
    :param limit: how much time it had, if that is known.
    """
    within = f" within {wording.span(limit.total_seconds())}" if limit else ""
    seen = ""
    if waiter.run is not None:
        name = waiter.name_of(waiter.run)
        seen = f": {waiter.last_progress}" + (f" · {name}" if name else "")
    return f"{waiter} has not ended{within} ({kind}){seen}."


@contextmanager
def log_failure(log: Any, known: Callable[[], tuple[str, Sequence[str]]]) -> Iterator[None]:
    """
    Say in the log why a task fails or is skipped, before Airflow does.

    Airflow shows the exception later, and its UI leaves out the notes; a skip is in a folded group only.

    :param known: gives the URL in Census, if there is one, and further lines.
    """
    try:
        yield
    except AirflowSkipException as skipped:
        if skipped.__cause__ is not None:  # else that has been said
            url, _ = known()
            log.warning("Skipped, not failed: %s", str(skipped.__cause__).removesuffix(url).rstrip())
            if url:
                log.info("Open: %s", url)
        raise
    except (
        CensusError,
        ValueError,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowTaskTimeout,
    ) as error:
        url, details = known()
        note = next(iter(getattr(error, "__notes__", ())), "")
        cause = str(error).removesuffix(url).rstrip()
        for line in (cause, *details, url and f"Open: {url}", note and f"What to do: {note}"):
            if line:
                log.error("%s", line)
        raise

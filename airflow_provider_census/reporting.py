# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a task looks up for those who read its log; none of it can fail the task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_census.api import wording
from airflow_provider_census.api.sync_runs import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.types import Sync
    from airflow_provider_census.exceptions import CensusSyncRunError
    from airflow_provider_census.hooks.census import CensusHook

T = TypeVar("T")

PAGE = 100
"""Records that are read at most to tell why some were rejected."""


def _unless_it_fails(what: str, look_up: Callable[[], T], log: Log) -> T | None:
    try:
        return look_up()
    except Exception as error:  # noqa: BLE001 - whatever fails, the log only says less
        log.info("%s cannot be told: %s", what, error)
        return None


def _once(hook: CensusHook, request: Request[T]) -> T:
    return hook.run(replace(request, retry=False))


def definition(hook: CensusHook, sync_id: Any, log: Log) -> Sync | None:
    """Read the definition of a sync, in one request; ``None`` if that fails."""
    from airflow_provider_census.api.endpoints import get_sync

    return _unless_it_fails("The name of the sync", lambda: _once(hook, get_sync(sync_id)), log)


def warn_of_own_schedule(sync: Sync | None, name: str, log: Log) -> None:
    """Warn if Census starts the sync by itself, too, or does not start it at all."""
    if sync is None:
        return
    frequency = sync.get("schedule_frequency")
    if sync.get("paused"):
        log.warning("Paused in Census, and started nevertheless: %s.", name)
    elif frequency not in {None, "", "never"}:
        log.warning(
            "Two schedules: Census also starts %s by itself (%s). A run that meets another one is skipped. "
            "Set the schedule in Census to manual, or see if_running.",
            name,
            frequency,
        )


def blocking_run(hook: CensusHook, run: Run, now: float, log: Log) -> str:
    """Describe the run because of which Census skipped another one; ``""`` if that is not known."""
    from airflow_provider_census.api.triggering import find_blocking_run

    def look_up() -> str:
        blocking = hook.drive(find_blocking_run(run["sync_id"], run))
        return "" if blocking is None else f"blocked by {wording.other_run(blocking, now)}"

    return _unless_it_fails("The run that blocked this one", look_up, log) or ""


def rejected_records(hook: CensusHook, run: Run, shown: int, log: Log) -> list[str]:
    """
    Say why records of a run were rejected, a line for each reason.

    :param shown: identifiers at most; 0 to ask for nothing.
    """
    from airflow_provider_census.api.endpoints import list_sync_run_records

    statuses = {"rejected": count(run, "records_failed"), "invalid": count(run, "records_invalid")}
    lines: list[str] = []
    for status in (status for status, number in statuses.items() if number and shown):
        request = list_sync_run_records(run["id"], status=status, page=1, per_page=PAGE)
        found = _unless_it_fails(f"Which records were {status}", lambda each=request: _once(hook, each), log)  # type: ignore[misc]
        if found:
            of = f", of the first {PAGE}" if statuses[status] > len(found) else ""
            lines += [f"{status}{of}: {line}" for line in wording.rejected_records(found, shown)]
    return lines


def failure(error: CensusSyncRunError, message: str, details: list[str], url: str, log: Any) -> None:
    """Say in the log why a task will fail, before Airflow shows the exception."""
    for line in (message, *details, f"Open: {url}", f"What to do: {error.__notes__[0]}"):
        log.error("%s", line)

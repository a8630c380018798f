# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The life of a sync run, computed from the clock at every request.

What the fields of a run say depends on its ``status``:

``queued``
    No counts yet; ``completed_at`` is null.
``working``
    ``current_step`` walks through the steps, ``records_processed`` grows towards ``source_record_count``,
    the other counts wait for the end; ``completed_at`` is null.
``completed``
    Every count and ``completed_at`` are set; there is no ``current_step``.
``failed``
    ``error_code``, ``error_message`` and ``error_detail`` are set, ``current_step`` is the last one;
    ``records_processed``, ``records_updated``, ``records_failed`` and ``completed_at`` are null.
``skipped``
    As ``queued``: this run did nothing.
``completed`` with ``canceled``
    ``canceled`` is true, as it was since somebody asked, ``status`` notwithstanding; the counts say how
    far the run came. That is the published form; where the sandbox is told to say ``cancelled``, as one
    client expects it, ``completed_at`` is null.

``records_invalid`` is 0 rather than null before a run completes. Only failed runs have ``error_...``.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.calls import Refusal
from airflow_provider_census.sandbox.outcomes import Outcome, ending, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WINDING_DOWN = 1.0  # seconds at pace 1 between `canceled: true` and the end of the run

BLOCKED = skipped()  # the outcome of a run that is started while another one of its sync is running


@dataclass
class SyncRun:
    """One run; every ``..._at`` is in seconds since the epoch."""

    id: int
    sync_id: int
    full_sync: bool
    reason: Mapping[str, str]
    behavior: Outcome
    pace: float
    created_at: float

    def __post_init__(self) -> None:
        self.winds_down_for = WINDING_DOWN * self.pace
        self.begins_at = self.created_at + self.behavior.queued_for * self.pace
        self.ends_at = self.begins_at + self.behavior.working_for * self.pace
        self.canceled_at = self.created_at + self.behavior.canceled_after * self.pace

    @property
    def is_cut_short(self) -> bool:
        """Whether it is canceled, or will be, before it would end by itself."""
        return self.canceled_at < self.ends_at

    @property
    def stops_at(self) -> float:
        """When it is over, winding down included, in seconds since the epoch."""
        return self.canceled_at + self.winds_down_for if self.is_cut_short else self.ends_at

    def is_over(self, now: float) -> bool:
        """Whether it has ended, in whatever way."""
        return now >= self.stops_at

    def cancel(self, now: float) -> None:
        """Let it wind down from ``now`` on; without effect on one that has ended."""
        # Too late when it is not before `ends_at`, and without effect then.
        self.canceled_at = min(self.canceled_at, now)

    def finish(self, now: float, behavior: Outcome) -> None:
        """End now, in the way of this behavior, whose times do not count."""
        if math.isfinite(behavior.canceled_after):
            self.canceled_at, self.winds_down_for = min(self.canceled_at, now), 0.0
            return
        self.behavior = behavior
        self.begins_at, self.ends_at, self.canceled_at = min(self.begins_at, now), now, math.inf

    def status(self, now: float) -> str:
        """What Census gives as ``status``: ``queued``, ``working``, or how the run ended."""
        if self.is_cut_short and self.is_over(now):
            return "cancelled"
        if not self.has_begun(now):
            return "queued"
        return self.behavior.ends if self.is_over(now) else "working"

    def has_begun(self, now: float) -> bool:
        """Whether it left the queue; never so if it was canceled there."""
        return self.moment(now) >= self.begins_at

    def moment(self, now: float) -> float:
        """The last moment at which this run still did something."""
        return min(now, self.canceled_at, self.ends_at)

    def progress(self, now: float) -> float:
        """How much of its work it has done, from 0 to 1."""
        if not self.has_begun(now):
            return 0.0
        working_for = self.ends_at - self.begins_at
        return (self.moment(now) - self.begins_at) / working_for if working_for else 1.0

    def reaches(self, records: int) -> float:
        """When it has processed so many records, in seconds since the epoch."""
        return self.begins_at + (self.ends_at - self.begins_at) * records / self.behavior.source_records

    def current_step(self, now: float) -> str:
        """The step that its progress has come to."""
        reached = int(self.progress(now) * len(data.STEPS))
        return data.STEPS[min(reached, len(data.STEPS) - 1)]

    def counts(self, now: float) -> dict[str, int | None]:
        """Its counts of records, by Census' names for them; None where Census gives null."""
        status = self.status(now)
        total = self.behavior.source_records
        if not self.has_begun(now) or status == "skipped":
            return counted(None)
        if status == "failed":
            return counted(total)
        reached = int(self.progress(now) * total)
        if status == "working":
            return counted(total, reached)
        if status == "cancelled":
            return counted(total, reached, reached, 0)
        rejected, invalid = self.behavior.records_failed, self.behavior.records_invalid
        return counted(total, total, total - rejected - invalid, rejected, invalid)

    def as_census(self, now: float, cancelled_as: str) -> dict[str, Any]:
        """This run in the form of ``GET /sync_runs/{id}``.

        :param cancelled_as: its ``status`` once it is cancelled.
        """
        status = self.status(now)
        shown = cancelled_as if status == "cancelled" else status
        run = {
            "id": self.id,
            "sync_id": self.sync_id,
            **self.counts(now),
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(self.created_at if status == "queued" else min(now, self.stops_at)),
            "completed_at": timestamp(self.stops_at) if shown == "completed" else None,
            "scheduled_execution_time": None,
            **(self.behavior.error if status == "failed" else data.NO_ERROR),
            "status": shown,
            "canceled": self.is_cut_short and now >= self.canceled_at,
            "full_sync": self.full_sync,
            "sync_trigger_reason": self.reason,
        }
        if status in ("working", "failed"):
            run["current_step"] = self.current_step(now)
        return run


class SyncRuns:
    """All runs of a sandbox.

    :param clock: gives the time in seconds since the epoch.
    :param pace: every duration is multiplied by it.
    :param history: runs of long ago, as Census gives them, oldest first.
    :param cancelled_as: the ``status`` of runs that are cancelled: ``completed`` or ``cancelled``.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        pace: float,
        history: list[dict[str, Any]],
        cancelled_as: str,
    ) -> None:
        self.clock = clock
        self.pace = pace
        self.history = history
        self.cancelled_as = cancelled_as
        self._runs: dict[int, SyncRun] = {}
        self._ids = itertools.count(data.FIRST_SYNC_RUN_ID)

    def start(
        self, sync_id: int, full_sync: bool, reason: Mapping[str, str], behavior: Callable[[], Outcome]
    ) -> int:
        """
        Start a run, and return its id.

        :param behavior: asked for what it does, unless it is skipped because another one is running.
        """
        does = BLOCKED if self._is_busy(sync_id) else behavior()
        run = SyncRun(next(self._ids), sync_id, full_sync, reason, does, self.pace, self.clock())
        self._runs[run.id] = run
        return run.id

    def _is_busy(self, sync_id: int) -> bool:
        now = self.clock()
        return any(
            run.sync_id == sync_id and run.behavior.ends != "skipped" and not run.is_over(now)
            for run in self._runs.values()
        )

    def cancel(self, sync_run_id: int) -> None:
        """Cancel a run; one that is over stays as it ended."""
        if sync_run_id in self._runs:
            self._runs[sync_run_id].cancel(self.clock())

    def finish(self, sync_run_id: int, status: str | Outcome, rejected: int, invalid: int) -> None:
        """End a run now; :class:`ValueError` when it has ended, or was never started, or cannot end so."""
        now, run = self.clock(), self._runs.get(sync_run_id)
        if run is None or run.is_over(now):
            raise ValueError(f"no sync run {sync_run_id} is queued or working")
        if isinstance(status, str):
            status = ending(status, run.behavior.source_records, rejected, invalid)
        run.finish(now, status)

    def started(self) -> list[dict[str, Any]]:
        """Every run that was started, oldest first, as it is now."""
        now = self.clock()
        return [run.as_census(now, self.cancelled_as) for run in self._runs.values()]

    def started_here(self, sync_run_id: int) -> SyncRun | None:
        """A run by its id; None for one that is not there, and for those of long ago."""
        return self._runs.get(sync_run_id)

    def shown(self, sync_run_id: str) -> dict[str, Any]:
        """A run as it is now, by its id as a path has it; :class:`Refusal` (404) when there is none."""
        for run in self.oldest_first():
            if str(run["id"]) == sync_run_id:
                return run
        raise Refusal(404, f"there is no sync run {sync_run_id!r}")

    def oldest_first(self) -> list[dict[str, Any]]:
        """Every run as it is now, those of long ago among them."""
        return [*self.history, *self.started()]


def timestamp(seconds: float) -> str:
    """A time in seconds since the epoch as Census writes it: UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(
    total: int | None,
    processed: int | None = None,
    updated: int | None = None,
    failed: int | None = None,
    invalid: int = 0,
) -> dict[str, int | None]:
    """Counts of records by the names that Census has for them."""
    return {
        "source_record_count": total,
        "records_processed": processed,
        "records_updated": updated,
        "records_failed": failed,
        "records_invalid": invalid,
    }

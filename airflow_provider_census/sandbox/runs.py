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
``cancelled``
    ``canceled`` is true, as it was since somebody asked, ``status`` notwithstanding; the counts say how
    far the run came; ``completed_at`` is null.

``records_invalid`` is 0 rather than null before a run completes. Only failed runs have ``error_...``.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.calls import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WINDING_DOWN = 1.0  # seconds at pace 1 between `canceled: true` and the end of the run

ENDS = ("completed", "failed", "skipped", "cancelled")  # every `status` of a run that is over


@dataclass(frozen=True)
class Behavior:
    """What every run of a sync does; times are seconds at pace 1."""

    summary: str
    ends: str = "completed"
    queued_for: float = 1.0
    working_for: float = 4.0
    canceled_after: float = math.inf
    source_records: int = 1000
    records_failed: int = 0
    records_invalid: int = 0
    reasons: tuple[str, ...] = data.REASONS
    error: Mapping[str, str | None] = field(default_factory=lambda: data.NO_ERROR)


COMPLETES = Behavior("completes after 5 seconds")
SKIPPED = Behavior("is always skipped, as if an earlier run were running", ends="skipped", working_for=0)

BEHAVIORS: dict[int, Behavior] = {
    52: COMPLETES,
    53: Behavior("fails after 5 seconds with JSON_ARRAY_ERROR", ends="failed", error=data.JSON_ARRAY_ERROR),
    54: SKIPPED,
    55: Behavior(
        "completes after 5 seconds, with 3 records rejected by the destination and 2 invalid",
        records_failed=3,
        records_invalid=2,
    ),
    56: Behavior("is canceled by somebody halfway", canceled_after=3.0),
    57: Behavior("works for half an hour, or until it is canceled", working_for=1800.0),
    58: Behavior("has completed when it is first read", queued_for=0, working_for=0),
}


@dataclass
class SyncRun:
    """One run; every ``..._at`` is in seconds since the epoch."""

    id: int
    sync_id: int
    full_sync: bool
    reason: Mapping[str, str]
    behavior: Behavior
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

    def finish(self, now: float, ends: str, records_failed: int, records_invalid: int) -> None:
        """End now, otherwise than the behavior says."""
        if ends == "cancelled":
            self.canceled_at, self.winds_down_for = min(self.canceled_at, now), 0.0
            return
        self.behavior = replace(
            self.behavior,
            ends=ends,
            records_failed=records_failed,
            records_invalid=records_invalid,
            error=data.JSON_ARRAY_ERROR if ends == "failed" else data.NO_ERROR,
        )
        self.begins_at, self.ends_at, self.canceled_at = min(self.begins_at, now), now, math.inf

    def status(self, now: float) -> str:
        """What Census gives as ``status``: ``queued``, ``working`` or one of ``ENDS``."""
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

    def as_census(self, now: float) -> dict[str, Any]:
        """This run in the form of ``GET /sync_runs/{id}``."""
        status = self.status(now)
        run = {
            "id": self.id,
            "sync_id": self.sync_id,
            **self.counts(now),
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(self.created_at if status == "queued" else min(now, self.stops_at)),
            "completed_at": timestamp(self.stops_at) if status == "completed" else None,
            "scheduled_execution_time": None,
            **(self.behavior.error if status == "failed" else data.NO_ERROR),
            "status": status,
            "canceled": self.is_cut_short and now >= self.canceled_at,
            "full_sync": self.full_sync,
            "sync_trigger_reason": self.reason,
        }
        if status in ("working", "failed"):
            run["current_step"] = self.current_step(now)
        return run


class SyncRuns:
    """All runs of a sandbox, those of the document among them.

    :param clock: gives the time in seconds since the epoch.
    :param pace: every duration is multiplied by it.
    """

    def __init__(self, clock: Callable[[], float], pace: float) -> None:
        self.clock = clock
        self.pace = pace
        self._runs: dict[int, SyncRun] = {}
        self._ids = itertools.count(data.FIRST_SYNC_RUN_ID)

    def start(self, sync_id: int, full_sync: bool, reason: Mapping[str, str], like: int | None = None) -> int:
        """
        Start a run, and return its id.

        :param like: the sync whose runs it behaves like; its own unless given.
        """
        busy = self._is_busy(sync_id)
        behavior = SKIPPED if busy else BEHAVIORS.get(sync_id if like is None else like, COMPLETES)
        run = SyncRun(next(self._ids), sync_id, full_sync, reason, behavior, self.pace, self.clock())
        self._runs[run.id] = run
        return run.id

    def _is_busy(self, sync_id: int) -> bool:
        now = self.clock()
        return any(
            run.sync_id == sync_id and run.behavior is not SKIPPED and not run.is_over(now)
            for run in self._runs.values()
        )

    def cancel(self, sync_run_id: int) -> None:
        """Cancel a run; one that is over stays as it ended."""
        if sync_run_id in self._runs:
            self._runs[sync_run_id].cancel(self.clock())

    def finish(self, sync_run_id: int, ends: str, records_failed: int, records_invalid: int) -> None:
        """End a run now; :class:`ValueError` when it has ended, or was never started."""
        now = self.clock()
        if sync_run_id not in self._runs or self._runs[sync_run_id].is_over(now):
            raise ValueError(f"no sync run {sync_run_id} is queued or working")
        self._runs[sync_run_id].finish(now, ends, records_failed, records_invalid)

    def started(self) -> list[dict[str, Any]]:
        """Every run that was started, oldest first, as it is now."""
        now = self.clock()
        return [run.as_census(now) for run in self._runs.values()]

    def started_here(self, sync_run_id: int) -> SyncRun | None:
        """A run by its id; None for one that is not there, and for those of the document."""
        return self._runs.get(sync_run_id)

    def shown(self, sync_run_id: str) -> dict[str, Any]:
        """A run as it is now, by its id as a path has it; :class:`Refusal` (404) when there is none."""
        for run in self.oldest_first():
            if str(run["id"]) == sync_run_id:
                return run
        raise Refusal(404, f"there is no sync run {sync_run_id!r}")

    def oldest_first(self) -> list[dict[str, Any]]:
        """Every run as it is now, those of the document among them."""
        return [*data.SYNC_RUNS, *self.started()]


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

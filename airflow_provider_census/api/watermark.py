# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Up to where the runs of a sync have been reported, and which have ended since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api import endpoints, sync_runs
from airflow_provider_census.api.pagination import Pages
from airflow_provider_census.api.sync_runs import Run
from airflow_provider_census.exceptions import CensusNotFoundError

if TYPE_CHECKING:
    from airflow_provider_census.api.flow import Flow
    from airflow_provider_census.api.responses import Page

Runs = Mapping[int, Run]

MAX_RUNNING = 1000
"""Runs of a sync that are followed to their end, the newest ones. Census runs a sync once at a time."""


@dataclass(frozen=True)
class Watermark:
    """
    Up to where the runs of a sync have been reported.

    The highest id alone would lose a long run that ends after one that was created later, and, should Census
    once send an id that is too high, all runs from then on.

    :ivar since: a run that ended before does not count, in seconds since the epoch.
    :ivar newest: the highest id among the runs that were read; ``None`` before any was.
    :ivar open: ids of those among them that had not ended, or not been reported.
    :ivar created: when the last of them was created, in seconds since the epoch; ``None`` if that is unknown.
    """

    since: float
    newest: int | None = None
    open: frozenset[int] = frozenset()
    created: float | None = None

    @classmethod
    def parse(cls, stored: Any) -> Watermark | None:
        """Read what :meth:`as_dict` gave, also by another release; ``None`` if it is no watermark."""
        try:
            since, newest, still_open = float(stored["since"]), stored["newest"], frozenset(stored["open"])
            created = None if stored.get("created") is None else float(stored["created"])
        except (TypeError, KeyError, ValueError):
            return None
        ids = still_open if newest is None else {newest, *still_open}
        return cls(since, newest, still_open, created) if all(isinstance(each, int) for each in ids) else None

    def as_dict(self) -> dict[str, Any]:
        """Give the watermark as JSON."""
        return {
            "since": self.since,
            "newest": self.newest,
            "open": sorted(self.open),
            "created": self.created,
        }

    def is_within(self, runs: Runs) -> bool:
        """Tell whether no run below the newest ones that were read can be new, except an open one."""
        if self.newest is not None:
            return any(not self._is_newer(run_id, run) for run_id, run in runs.items())
        # Runs of a sync follow each other: what comes before one that ended too early ended even earlier.
        return any(
            sync_runs.outcome(run) not in {None, "skipped"} and self._is_past(run) for run in runs.values()
        )

    def new_runs(self, runs: Runs, is_wanted: Callable[[Run], bool]) -> tuple[list[Run], Watermark]:
        """
        Find what has ended since, oldest first.

        :param runs: what :func:`read_runs` read for this watermark.
        :param is_wanted: tells whether a run that has ended is to be reported.
        :returns: the runs, and the watermark, in which they stay open until they are :meth:`reported`.
        """
        new: list[Run] = []
        running: list[int] = []
        ended: set[int] = set()
        for run_id, run in sorted(runs.items()):
            if run_id not in self.open and not self._is_newer(run_id, run):
                continue
            if sync_runs.outcome(run) is None:
                running.append(run_id)
            elif is_wanted(run) and not (self.newest is None and self._is_past(run)):
                ended.add(run_id)
                new.append(run)
        newest = max([*runs, *([] if self.newest is None else [self.newest])], default=None)
        created = max(filter(None, [self.created, *map(_created, runs.values())]), default=None)
        return new, Watermark(self.since, newest, frozenset(ended.union(running[-MAX_RUNNING:])), created)

    def reported(self, runs: Iterable[Run]) -> Watermark:
        """Give the watermark as of when runs have been reported."""
        return replace(self, open=self.open - {run["id"] for run in runs})

    def _is_newer(self, run_id: int, run: Run) -> bool:
        """Tell whether a run is none of those that were read."""
        if self.newest is None or run_id > self.newest:
            return True
        return self.created is not None and (_created(run) or 0.0) > self.created

    def _is_past(self, run: Run) -> bool:
        # Only a completed run has a completed_at; an end at an unknown time counts as long ago.
        for key in ("completed_at", "updated_at", "created_at"):
            moments = sync_runs.time_range(run, key)
            if moments is not None:
                return moments[0] < self.since
        return True


def _created(run: Run) -> float | None:
    moments = sync_runs.time_range(run, "created_at")
    return None if moments is None else moments[0]


def _is_newest_first(runs: Runs) -> bool:
    """Tell whether Census heeds the order, by id or by time, such that no newer run follows."""
    ids, moments = list(runs), [_created(run) for run in runs.values()]
    known = [moment for moment in moments if moment is not None]
    return ids == sorted(ids, reverse=True) or moments == sorted(known, reverse=True)


def read_runs(sync_id: int | str, watermark: Watermark, base_url: str) -> Flow[Runs]:
    """
    Read the newest runs of a sync, as far back as any of them can be new, and the open ones.

    :param watermark: up to where they have been reported.
    :param base_url: the host of the connection; no page is read from another one.
    :returns: the runs by id; an open one that is missing does not exist any more.
    """
    runs: dict[int, Run] = {}
    pages = Pages(endpoints.list_sync_runs(sync_id, order="desc"), base_url)
    while pages.next is not None:
        # The first request of a poll is not retried: the next poll follows soon.
        page: Page[Any] = (yield pages.next if runs else replace(pages.next, retry=False)).value
        runs |= {
            sync_runs.run_id(run): {"sync_id": sync_id, **run}
            for run in pages.advance(page)
            if isinstance(run, dict) and sync_runs.run_id(run)
        }
        # Where Census does not heed the order, a newer run may be on any page.
        if _is_newest_first(runs) and watermark.is_within(runs):
            break
    for run_id in sorted(watermark.open - runs.keys()):
        try:
            runs[run_id] = {"sync_id": sync_id, **(yield endpoints.get_sync_run(run_id)).value}
        except CensusNotFoundError:
            continue
    return runs

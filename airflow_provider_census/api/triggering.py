# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Starting a run of a sync, exactly one, although Census has no idempotency key."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api import endpoints, retries, sync_runs
from airflow_provider_census.api.flow import Flow, Log, Sleep
from airflow_provider_census.exceptions import CensusConnectionError, CensusError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from airflow_provider_census.api.request import Request, Response
    from airflow_provider_census.api.sync_runs import Run

SEARCH_ATTEMPTS = 5
"""How often the run that a request may have started is searched for, in some fifteen seconds."""

MAX_OWNED_RUNS = 10_000
"""Runs of this process that are remembered: many more than can be started while one is searched for."""

CLOCK_SKEW = 60.0
"""Seconds that the clocks of Census may be apart: a proxy in front of it dates responses, and another machine
the runs."""


@dataclass(frozen=True)
class RunsSnapshot:
    """
    What was known of a sync's runs before a request to start one was sent.

    :ivar newest: the highest id of its runs; 0 if there were none.
    :ivar date: Census' clock at that moment, in seconds since the epoch, if it was known.
    :ivar active: the newest run that was running.
    """

    newest: int
    date: float | None
    active: Run | None = field(default=None, compare=False)

    @classmethod
    def of(cls, response: Response[list[Any]]) -> RunsSnapshot:
        """Take it from the response to ``endpoints.newest_sync_runs``."""
        runs = [run for run in response.value if isinstance(run, dict) and sync_runs.run_id(run)]
        active = [run for run in runs if sync_runs.outcome(run) is None]
        return cls(
            max(map(sync_runs.run_id, runs), default=0),
            response.date,
            max(active, key=sync_runs.run_id, default=None),
        )


@dataclass
class Submission:
    """
    What an operator adds to the start of a run.

    :ivar snapshot: what it knows of the sync's runs; ``None`` if that is to be taken.
    :ivar save_intent: called with it before the run is started.
    :ivar sleep: waits for so many seconds.
    """

    snapshot: RunsSnapshot | None
    save_intent: Callable[[RunsSnapshot], None]
    sleep: Callable[[float], None]


def trigger_sync(
    request: Request[int],
    sync_id: int | str,
    *,
    full_sync: bool,
    attempts: int,
    owned_run_ids: set[int],
    log: Log,
    now: Callable[[], float],
    rng: random.Random,
    snapshot: RunsSnapshot | None = None,
) -> Flow[int]:
    """
    Start a run of a sync, exactly one.

    The request is sent again if it was surely not processed. If its outcome is unknown, the sync's runs are
    searched for the one that it started; only if none appears is it sent again.

    :param request: what starts the run.
    :param sync_id: the sync that it starts.
    :param full_sync: whether it asks for a full sync.
    :param attempts: how often it is sent at most.
    :param owned_run_ids: ids of the runs that tasks of this process have; the new one is added.
    :param now: a clock, in seconds since the epoch.
    :param snapshot: what was known of the sync's runs before.
    :returns: the id of the run.
    :raises CensusApiError: if Census does not start the sync.
    :raises CensusConnectionError: if Census cannot be reached, or nobody knows what came of the request.
    """
    request = replace(request, retry=False)
    attempt = 0
    matcher: RunMatcher | None = None
    while True:
        attempt += 1
        yield Sleep(0.0)  # the last moment at which a task that is killed can leave it
        sent_at = now()
        try:
            run_id: int = (yield request).value
        except CensusError as error:
            if retries.outcome_unknown(error):
                # From the first request on whose outcome is unknown: its run may appear late.
                matcher = matcher or RunMatcher(sync_id, full_sync, snapshot, owned_run_ids, sent_at)
                found = yield from _find_after(error, matcher, log, now)
                if found is not None:
                    return sync_runs.run_id(found)
            elif not retries.not_processed(error):
                raise
            if attempt >= attempts:
                raise
            delay = retries.backoff(attempt, error, rng=rng)
            log.warning("%s (attempt %d of %d, the next one in %.1f s)", error, attempt, attempts, delay)
        else:
            own(owned_run_ids, run_id)
            return run_id
        yield Sleep(delay)


def own(owned_run_ids: set[int], run_id: int) -> None:
    """Remember that a run is that of a task, and forget the oldest one: no search goes back that far."""
    owned_run_ids.add(run_id)
    if len(owned_run_ids) > MAX_OWNED_RUNS:
        owned_run_ids.remove(min(owned_run_ids))


def _find_after(
    error: CensusError, matcher: RunMatcher, log: Log, now: Callable[[], float]
) -> Flow[Run | None]:
    """Find what came of a request to start a sync that failed such that it may have started a run."""
    log.warning(
        "%s It is unknown whether that started a run of sync %s; searching for it.", error, matcher.sync_id
    )
    try:
        found = yield from find_started(matcher, now)
    except CensusError as another:
        raise CensusConnectionError(
            f"Nobody knows whether a run of sync {matcher.sync_id} was started. {error} "
            f"Searching for the run failed, too: {another}",
            sent=True,
        ) from another
    if found is None:
        log.warning("No new run of sync %s has appeared: it was not started.", matcher.sync_id)
    else:
        log.warning(
            "Sync run %s was created at %s, after the request was sent: it is the one that was started.",
            found.get("id"),
            found.get("created_at"),
        )
    return found


def find_started(matcher: RunMatcher, now: Callable[[], float]) -> Flow[Run | None]:
    """
    Search for a run that a request may have started, for some fifteen seconds.

    :returns: the run, owned; ``None`` if none appeared.
    :raises CensusError: if the last attempt failed, so that nobody can tell.
    """
    for attempt in range(SEARCH_ATTEMPTS):
        yield Sleep(retries.backoff(attempt) if attempt else 0.0)
        try:
            response = yield from _newest_runs(matcher.sync_id)
        except CensusError:
            if attempt == SEARCH_ATTEMPTS - 1:
                raise
        else:
            found = matcher.match(response, now())
            if found is not None:
                return found
    return None


def find_active(sync_id: int | str, *, full_sync: bool, since: float) -> Flow[Run | None]:
    """
    Find a run of a sync that is running and was created after a moment, in one request.

    :param since: the moment, in seconds since the epoch.
    :returns: the run; ``None`` if there is none.
    """
    response = yield from _newest_runs(sync_id)
    active = [run for run in response.value if sync_runs.outcome(run) is None]
    matcher = RunMatcher(sync_id, full_sync, RunsSnapshot(0, since), set(), skew=0.0)
    return matcher.match(replace(response, value=active), since)


def blocking_run(run: Run, runs: list[Any]) -> Run | None:
    """Tell because of which of a sync's runs Census skipped another one; rather one that is running."""
    others = [other for other in runs if isinstance(other, dict) and sync_runs.is_blocked_by(run, other)]
    return max(
        others, key=lambda other: (sync_runs.outcome(other) is None, sync_runs.run_id(other)), default=None
    )


def _newest_runs(sync_id: int | str) -> Flow[Response[list[Run]]]:
    response: Response[list[Any]] = yield endpoints.newest_sync_runs(sync_id)
    return replace(response, value=[run for run in response.value if isinstance(run, dict)])


@dataclass(frozen=True)
class RunMatcher:
    """
    Recognizes the run that a request may have started.

    :ivar sync_id: the sync.
    :ivar full_sync: whether a full sync was asked for.
    :ivar snapshot: what was known of the sync's runs before, if anything.
    :ivar owned_run_ids: ids of the runs that tasks of this process have; the one that matches is added.
    :ivar sent_at: when the request was sent, in seconds of our clock, if that is known.
    :ivar skew: seconds by which the clock that dates responses may be ahead of the one that dates runs;
        counts where the runs of before are known, for ids tell ours from them.
    """

    sync_id: int | str
    full_sync: bool
    snapshot: RunsSnapshot | None
    owned_run_ids: set[int]
    sent_at: float | None = None
    skew: float = CLOCK_SKEW

    def match(self, response: Response[list[Run]], now: float) -> Run | None:
        """
        Find the run in a list of the sync's runs, and own it.

        Whether a run was created after our request was sent is a question of Census' clock: the one of the
        response, less the time that has passed here. Where ids tell which runs are older, the earlier one of
        Census' clock and ours counts, for either may be hours ahead. A run that was skipped only matches if
        there is no other.
        """
        snapshot = self.snapshot or RunsSnapshot(0, None)
        since = snapshot.date or 0.0
        if self.sent_at is not None:
            on_census_clock = self.sent_at if response.date is None else response.date - (now - self.sent_at)
            since = max(since, on_census_clock)
            if self.snapshot is not None:
                since = min(self.sent_at, on_census_clock)
        if self.snapshot is not None:
            since -= self.skew
        candidates: list[tuple[bool, float, Run]] = [
            (sync_runs.outcome(run) == "skipped", created, run)
            for run in response.value
            if sync_runs.run_id(run) > snapshot.newest
            and sync_runs.run_id(run) not in self.owned_run_ids
            and (created := self._created_at(run)) is not None
            and created >= since
            and (run.get("full_sync") is True or not self.full_sync)
        ]
        if not candidates:
            return None
        found = min(candidates, key=lambda candidate: candidate[:2])[2]
        own(self.owned_run_ids, sync_runs.run_id(found))
        return found

    def _created_at(self, run: Run) -> float | None:
        """
        Tell when a run was created at the latest.

        An odd time does not hide one that its id tells from older ones.
        """
        moments = sync_runs.time_range(run, "created_at")
        if moments is None:
            return None if self.snapshot is None else math.inf
        return moments[1]

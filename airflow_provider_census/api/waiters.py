# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Waiting for something in Census: what is polled, when it has ended, and what a failed poll means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_census.api import endpoints, polling, sync_runs, wording
from airflow_provider_census.api.cleaning import one_line
from airflow_provider_census.api.flow import Flow, Log, Sleep
from airflow_provider_census.api.pagination import Pages
from airflow_provider_census.api.retries import is_retryable
from airflow_provider_census.api.sync_runs import Run
from airflow_provider_census.api.triggering import RunsSnapshot
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusError,
    CensusNotFoundError,
    CensusTimeoutError,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from airflow_provider_census.api.polling import WaitOptions
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.responses import Page

T = TypeVar("T")

PROGRESS_INTERVAL = 300.0
"""Seconds at most between two log lines about a run that is running."""

MAX_AUTH_ERRORS = 3
"""Polls in a row at which the token must be rejected before the wait ends."""


class OutageLog:
    """
    Reports an outage when it begins, less and less often while it lasts, and when it ends.

    :param log: where.
    :param now: a clock, in seconds.
    :param service: what is out.
    """

    FIRST_SILENCE = 30.0
    """Seconds between the first two log lines about an outage; they double with each further one."""

    MAX_SILENCE = 600.0
    """Seconds at most between two log lines about an outage."""

    def __init__(self, log: Log, now: Callable[[], float], service: str = "Census") -> None:
        self._log = log
        self._now = now
        self._service = service
        self._since: float | None = None
        self._silence = self.FIRST_SILENCE
        self._silent_until = 0.0

    def failed(self, name: str, error: CensusError) -> None:
        """
        Take note of a poll that failed.

        :param name: what was polled, in words.
        """
        now = self._now()
        if self._since is None:
            self._since, self._silence = now, self.FIRST_SILENCE
            self._log.warning("%s. Still waiting for %s.", wording.trouble(error), name)
        elif now >= self._silent_until:
            self._log.warning(
                "%s. Still waiting for %s, after %s without a response.",
                wording.trouble(error),
                name,
                wording.span(now - self._since),
            )
            self._silence = min(2 * self._silence, self.MAX_SILENCE)
        else:
            return
        self._silent_until = now + self._silence

    def succeeded(self) -> None:
        """Take note of a poll that succeeded."""
        if self._since is not None:
            lasted = wording.span(self._now() - self._since)
            self._log.info("%s responds again, after %s.", self._service, lasted)
            self._since = None


class Waiter(ABC, Generic[T]):
    """
    Waits for something: what polls it, and what the polls before said.

    :ivar name: what is waited for, in words.
    :ivar if_abandoned: what becomes of it if nobody waits any more, in words.
    :param log: where progress and outages are reported.
    :param now: a clock, in seconds.
    :param silent_fail: keep waiting after errors that would end the wait, as Airflow's sensors do.
    """

    if_abandoned = "it keeps running in Census"

    def __init__(self, name: str, log: Log, now: Callable[[], float], *, silent_fail: bool = False) -> None:
        self.name = name
        self._log = log
        self._now = now
        self._silent_fail = silent_fail
        self._outage = OutageLog(log, now)
        self._auth_errors = 0

    def __str__(self) -> str:
        return self.name[0].upper() + self.name[1:]

    @property
    def abandoned(self) -> str:
        """Say what becomes of it if nobody waits any more."""
        return f"{self.if_abandoned[0].upper()}{self.if_abandoned[1:]}."

    @abstractmethod
    def poll(self) -> Flow[T]:
        """Poll once."""

    @abstractmethod
    def has_ended(self, polled: T) -> bool:
        """Tell whether what was polled has ended, and report its progress."""

    def succeeded(self, polled: T) -> bool:
        """Take note of a poll that succeeded; tell whether what is waited for has ended."""
        self._outage.succeeded()
        self._auth_errors = 0
        return self.has_ended(polled)

    def failed(self, error: CensusError, *, retry_auth: bool = True) -> None:
        """
        Take note of a poll that failed.

        An outage does not end the wait: what is waited for keeps running, and the next poll may see its end.

        :param retry_auth: whether a rejected token is final only at :data:`MAX_AUTH_ERRORS` polls in a row.
        :raises CensusError: if the wait is over: there is no such thing, or the token was rejected.
        """
        self._auth_errors = self._auth_errors + 1 if isinstance(error, CensusAuthError) else 0
        rejected = self._auth_errors >= (MAX_AUTH_ERRORS if retry_auth else 1)
        is_final = isinstance(error, CensusNotFoundError) or rejected
        if is_final and not self._silent_fail:
            raise error
        self._outage.failed(self.name, error)


class RunWaiter(Waiter[T]):
    """
    Follows sync runs.

    :ivar run: the run as last polled.
    :ivar sync_run_id: the run that is waited for, if it is known which.
    :ivar name_of: names the sync of a run, if that is known; only asked when there is something to report.
    :ivar is_resumed: whether another process began the wait, and has reported what the first poll finds. A
        triggerer's loop stands still while a thousand waits write a line at once.
    """

    if_abandoned = "the run keeps running in Census"
    run: Run | None = None
    sync_run_id: int | str | None = None
    name_of: Callable[[Run], str] = staticmethod(lambda _: "")
    is_resumed = False
    _reported: tuple[Any, ...] = ()
    _reported_at = 0.0
    _unknown = ""

    @property
    def last_progress(self) -> str:
        """How far the run was when it was last polled, in words; ``""`` if it never was."""
        return "" if self.run is None else wording.progress(self.run, self._now())

    def follow(self, polled: Run) -> bool:
        """Tell whether a run has ended; if it has not, report its progress when there is any."""
        self.run = run = polled
        if sync_runs.outcome(run) is not None:
            return True
        status, now = str(run.get("status")), self._now()
        done, of = sync_runs.count(run, "records_processed"), sync_runs.count(run, "source_record_count")
        reached = (run.get("id"), status, run.get("current_step"), 10 * done // of if of else 0)
        if reached == self._reported and now - self._reported_at < PROGRESS_INTERVAL:
            return False
        self._reported, self._reported_at = reached, now
        if self.is_resumed:
            self.is_resumed = False
            return False
        title = wording.title(run, self.name_of(run))
        if status not in sync_runs.RUNNING and status != self._unknown:
            self._unknown = status
            self._log.warning(
                "Status %r, which this release does not know; taken for running: %s", one_line(status), title
            )
        self._log.info("%s · %s", wording.progress(run, now), title)
        return False


class SyncRunWaiter(RunWaiter[Run]):
    """
    Waits for the end of a sync run.

    :param sync_run_id: the run.
    """

    def __init__(
        self, sync_run_id: int | str, log: Log, now: Callable[[], float], *, silent_fail: bool = False
    ) -> None:
        super().__init__(f"sync run {sync_run_id}", log, now, silent_fail=silent_fail)
        self.sync_run_id = sync_run_id
        self._request = replace(endpoints.get_sync_run(sync_run_id), retry=False)

    def poll(self) -> Flow[Run]:
        """Read the run."""
        run: Run = (yield self._request).value
        return run

    has_ended = RunWaiter.follow


class SyncWaiter(RunWaiter[Run | None]):
    """
    Waits for the end of a run of a sync that was created after a moment, whoever started it.

    A poll gives the newest of these runs that has ended; if none has, the newest that is running. One that
    was skipped synced nothing, and does not count.

    :param sync_id: the sync.
    :param since: the moment, in seconds since the epoch on Census' clock.
    :param base_url: the host of the connection.
    """

    def __init__(
        self,
        sync_id: int | str,
        since: float,
        base_url: str,
        log: Log,
        now: Callable[[], float],
        *,
        silent_fail: bool = False,
    ) -> None:
        moment = datetime.fromtimestamp(since, timezone.utc).isoformat(" ")
        super().__init__(f"a run of sync {sync_id} created after {moment}", log, now, silent_fail=silent_fail)
        self.since = since
        self.sync_id = sync_id
        self.if_abandoned = "there is none yet"
        self._request = replace(endpoints.list_sync_runs(sync_id, order="desc"), retry=False)
        self._base_url = base_url
        self._reported_none = False

    def poll(self) -> Flow[Run | None]:
        """Read the runs, newest first, until one is found that has ended, or none can follow."""
        found: list[tuple[float, int, Run]] = []
        pages = Pages(self._request, self._base_url)
        while pages.next is not None:
            page: Page[Any] = (yield pages.next).value
            dated = [
                (created[0], sync_runs.run_id(run), run)
                for run in pages.advance(page)
                if isinstance(run, dict) and (created := sync_runs.time_range(run, "created_at")) is not None
            ]
            found += [
                each for each in dated if each[0] > self.since and sync_runs.outcome(each[2]) != "skipped"
            ]
            ended = [each for each in found if sync_runs.outcome(each[2])]
            moments = [moment for moment, *_ in dated]
            # Where Census does not heed the order, a newer run may be on any page.
            newest_first = moments == sorted(moments, reverse=True)
            if newest_first and (ended or (moments and moments[-1] <= self.since)):
                break
        return max(ended or found, key=lambda each: each[:2])[2] if found else None

    def has_ended(self, polled: Run | None) -> bool:
        """Tell whether such a run has ended."""
        if polled is None:
            if not self._reported_none and not self.is_resumed:
                self._log.info("There is not yet %s.", self.name)
            self._reported_none, self.is_resumed = True, False
            return False
        self.if_abandoned = f"sync run {polled.get('id')} keeps running in Census"
        ended = self.follow(polled)
        if ended:
            self.sync_run_id = polled.get("id")
        return ended


class SyncIdleWaiter(RunWaiter[RunsSnapshot]):
    """
    Waits until no run of a sync is running, whoever started them.

    :param sync_id: the sync.
    """

    if_abandoned = "it keeps running in Census, and no run was started"

    def __init__(self, sync_id: int | str, log: Log, now: Callable[[], float]) -> None:
        super().__init__(f"another run of sync {sync_id}", log, now)
        self.sync_id = sync_id
        self._request = replace(endpoints.newest_sync_runs(sync_id), retry=False)

    def poll(self) -> Flow[RunsSnapshot]:
        """Take a snapshot of the sync's runs."""
        return RunsSnapshot.of((yield self._request))

    def has_ended(self, polled: RunsSnapshot) -> bool:
        """Tell whether no run is running."""
        return polled.active is None or self.follow(polled.active)


class RefreshWaiter(Waiter[str]):
    """
    Waits for a refresh of tables, columns, objects or fields.

    :param request: what asks for its status.
    """

    def __init__(self, request: Request[str], log: Log, now: Callable[[], float]) -> None:
        super().__init__(f"the refresh of {request.path}", log, now)
        self._request = replace(request, retry=False)

    def poll(self) -> Flow[str]:
        """Read the status of the refresh."""
        status: str = (yield self._request).value
        return status

    def has_ended(self, polled: str) -> bool:
        """Tell whether the refresh has ended."""
        self._log.info("%s: %s", self, one_line(polled))
        return polled != "processing"


class ExportWaiter(Waiter[list[str] | None]):
    """
    Waits for the export of a run's records.

    :param request: what asks for it.
    """

    TOO_EARLY = 425
    """The HTTP status while the export is not ready."""

    _reported = False

    def __init__(self, request: Request[list[str]], log: Log, now: Callable[[], float]) -> None:
        super().__init__(f"the export {request.path}", log, now)
        self._request = request

    def poll(self) -> Flow[list[str] | None]:
        """Ask for the addresses of the files; ``None`` while they are not ready."""
        try:
            urls: list[str] = (yield replace(self._request, retry=False)).value
        except CensusApiError as error:
            if error.status_code != self.TOO_EARLY:
                raise
            return None
        return urls

    def has_ended(self, polled: list[str] | None) -> bool:
        """Tell whether the files are ready."""
        if polled is None and not self._reported:
            self._reported = True
            self._log.info("%s is not ready yet.", self)
        return polled is not None

    def failed(self, error: CensusError, *, retry_auth: bool = True) -> None:
        """Take note of a poll that failed; that Census refuses the export ends the wait."""
        if not isinstance(error, CensusAuthError) and not is_retryable(self._request, error):
            raise error
        super().failed(error, retry_auth=retry_auth)


def poll_once(waiter: Waiter[T], *, retry_auth: bool = False) -> Flow[T | None]:
    """
    Poll once.

    :param retry_auth: whether another poll of this waiter follows, which a rejected token can wait for; else
        it is an error at once.
    :returns: what was polled if that has ended, such as the finished run; ``None`` if it has not, or the poll
        failed.
    :raises CensusNotFoundError: if there is no such thing.
    :raises CensusAuthError: if the token is rejected.
    """
    try:
        polled = yield from waiter.poll()
    except CensusError as error:
        waiter.failed(error, retry_auth=retry_auth)
        return None
    return polled if waiter.succeeded(polled) else None


def wait(
    waiter: Waiter[T],
    options: WaitOptions,
    *,
    now: Callable[[], float],
    rng: random.Random,
    first_success: bool = False,
    min_interval: Callable[[], float] = float,
) -> Flow[T]:
    """
    Poll until what is waited for has ended, however it has.

    A poll that fails is not retried by the transport, which knows no deadline; another one follows soon.

    :param options: how often, and until when.
    :param now: the clock of ``options``.
    :param first_success: return what the first poll that succeeds gives, whether it has ended or not.
    :param min_interval: seconds between two adaptive polls at least; more with more waits on a connection.
    :returns: what was polled when it had ended: the finished run, or the status of the refresh.
    :raises CensusTimeoutError: if it is still running at the first deadline.
    :raises CensusNotFoundError: if there is no such thing.
    :raises CensusAuthError: if the token is rejected at three polls in a row.
    """
    started = now() if options.started is None else options.started
    deadline = options.first_deadline
    polls = failures = 0
    while True:
        failure: CensusError | None = None
        began = now()
        try:
            polled = yield from waiter.poll()
        except CensusError as error:
            waiter.failed(error)
            failure, failures = error, failures + 1
        else:
            if waiter.succeeded(polled) or first_success:
                return polled
            failures = 0
        polls += 1
        moment = now()
        interval = options.interval(
            moment - started, polls, rng, took=moment - began, at_least=min_interval()
        )
        delay = polling.next_poll(interval, failures, failure, rng)
        if deadline is not None:
            if moment >= deadline:
                raise CensusTimeoutError(f"{waiter} has not ended after {wording.span(moment - started)}")
            delay = min(delay, deadline - moment)
        yield Sleep(delay)

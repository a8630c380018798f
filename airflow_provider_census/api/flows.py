# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What takes more than one request, as generators that a transport drives.

A flow yields a :class:`~airflow_provider_census.api.request.Request` and is sent the :class:`Answer` to it,
or thrown the :class:`~airflow_provider_census.exceptions.CensusError` that came instead; it yields a
:class:`Pause` and is sent nothing when that time is over; what it returns is the result.
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from airflow_provider_census.api import endpoints, responses, retries, sync_runs
from airflow_provider_census.api.polling import Polling
from airflow_provider_census.api.request import Request
from airflow_provider_census.api.responses import Page
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConfigError,
    CensusConnectionError,
    CensusError,
    CensusNotFoundError,
    CensusTimeoutError,
)

T = TypeVar("T")

Run = dict[str, Any]


@dataclass(frozen=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Answer(Generic[T]):
    """
    What came back.

    :ivar value: what the request declared as its answer.
    :ivar date: Census' clock when it answered, in seconds since the epoch, where it said so.
    """

    value: T
    date: float | None


class Log(Protocol):
    """Where a flow tells what goes on: any logger."""

    def info(self, message: str, /, *values: Any) -> Any:
        """Tell progress."""

    def warning(self, message: str, /, *values: Any) -> Any:
        """Tell trouble."""

    def exception(self, message: str, /, *values: Any) -> Any:
        """Tell trouble, with the error that is being handled."""


Flow = Generator[Request[Any] | Pause, Any, T]


def fetch(request: Request[T], base_url: str) -> Flow[T]:
    """
    Send one request; for a paged one follow the pages and join them to one list.

    :raises ValueError: if it is none, such as the path that ``run`` took in 2.x.
    """
    if not isinstance(request, Request):
        raise ValueError(
            f"request must be made by a function of airflow_provider_census.api.endpoints, not {request!r}"
        )
    if not request.paged:
        answer: Answer[T] = yield request
        return answer.value
    items: Any = []
    pages = Pages(request, base_url)
    while pages.next is not None:
        page: Page[Any] = (yield pages.next).value
        items += pages.took(page)
    result: T = items
    return result


class Pages:
    """
    How far a list that comes in pages has been read.

    :param request: the paged request.
    :param base_url: the host of the connection; no page is read from another one.
    :ivar next: what to ask for next; ``None`` at the end.
    """

    def __init__(self, request: Request[Any], base_url: str) -> None:
        self.next: Request[Page[Any]] | None = first_page(request)
        self._base_url = base_url
        self._before: int | None = None
        self._guessed = False
        self._asked: set[str] = set()

    def took(self, page: Page[Any]) -> list[Any]:
        """
        Go on after a page.

        :returns: what stands on it; nothing if it only repeats the one before it.
        :raises CensusApiError: if the pages do not move on, or lead to another host.
        """
        assert self.next is not None
        self._asked.add(_query(self.next))
        trace = hash(repr(page.items)) if page.items else None  # the page itself would stay in memory
        if trace is not None and trace == self._before:
            if self._guessed and not page.numbered:  # there was no further page to ask for
                self.next = None
                return []
            raise _lost(self.next, "a page repeats the one before it")
        following = next_page(self.next, page, self._base_url)
        if following is not None and _query(following) in self._asked:
            raise _lost(following, "a page leads back to one before it")
        self._guessed = not page.numbered
        self.next, self._before = following, trace
        return page.items


def _query(request: Request[Any]) -> str:
    return urlencode(sorted(request.params.items()))


def first_page(request: Request[Any]) -> Request[Page[Any]]:
    """Ask for the first page of a paged request, as long as pages may be."""
    params = {"per_page": endpoints.MOST_PER_PAGE, **request.params}
    return replace(request, params=params, answer=responses.page, paged=False)


def next_page(request: Request[Page[Any]], page: Page[Any], base_url: str) -> Request[Page[Any]] | None:
    """
    Tell what to ask for after a page; ``None`` after the last one.

    :param request: what the page is the answer to.
    :param base_url: the host of the connection; no page is read from another one.
    :raises CensusApiError: if the pages do not move on, or lead to another host.
    """
    known = str(request.params.get("page", 1))
    number = int(known) if re.fullmatch("[0-9]{1,9}", known) else 0  # a URL may name pages otherwise
    if page.number is not None and number and page.number != number:
        raise _lost(request, f"asked for page {number}, Census sent page {page.number}")
    if page.next_page is not None:
        if page.next_page <= number:
            raise _lost(request, f"after page {number} comes page {page.next_page}")
        return _with(request, {"page": page.next_page})
    if page.next_url is not None:
        try:
            target = urlsplit(page.next_url)
        except ValueError:
            raise _lost(request, "the address of the next page is none") from None
        if target.netloc and target.netloc != urlsplit(base_url).netloc:
            raise _lost(request, f"the next page is on another host, {target.hostname}")
        query = dict(parse_qsl(target.query))
        if not query or query.items() <= {key: str(value) for key, value in request.params.items()}.items():
            raise _lost(request, "the next page is the same one again")
        return _with(request, query)
    if page.numbered or not number or str(len(page.items)) != str(request.params["per_page"]):
        return None
    return _with(request, {"page": number + 1})


def _with(request: Request[Page[Any]], params: Mapping[str, str | int]) -> Request[Page[Any]]:
    return replace(request, params={**request.params, **params})


def _lost(request: Request[Any], problem: str) -> CensusApiError:
    return CensusApiError(
        f"{request}: the pages of this list do not lead to its end: {problem}",
        status_code=200,
        message=problem,
        method=request.method,
        path=request.path,
        unusable=True,
    )


AUTH_PAUSE = 1.0
"""Seconds after a rejected token before a look that is alone tries it again."""


class Lookout(ABC, Generic[T]):
    """
    What a wait remembers of the looks that failed, and says of them in the log.

    :ivar name: what is waited for, in words.
    :param request: what asks for it.
    :param log: where outages are told.
    :param now: a clock, in seconds.
    :param endure: go on after errors that would end the wait, as a sensor with ``silent_fail`` does.
    """

    AUTH_ERRORS = 3
    """Looks in a row that the token must be rejected at before the wait ends."""

    FIRST_SILENCE = 30.0
    LONGEST_SILENCE = 600.0
    """Seconds between two log lines about the same outage, at first and at most; they double in between."""

    def __init__(
        self, name: str, request: Request[Any], log: Log, now: Callable[[], float], *, endure: bool = False
    ) -> None:
        self.request = replace(request, once=True)
        self.name = name
        self._log = log
        self._now = now
        self._endure = endure
        self._auth_errors = 0
        self._out_since: float | None = None
        self._silence = self.FIRST_SILENCE
        self._silent_until = 0.0

    def __str__(self) -> str:
        return self.name[0].upper() + self.name[1:]

    def look(self) -> Flow[T]:
        """Look once."""
        answer: Answer[T] = yield self.request
        return answer.value

    def saw(self, now: T) -> bool:
        """Take note of a look that succeeded; tell whether what is waited for has ended."""
        if self._out_since is not None:
            self._log.info("Census answers again, after %.0f s.", self._now() - self._out_since)
        self._auth_errors = 0
        self._out_since = None
        return self._has_ended(now)

    @abstractmethod
    def _has_ended(self, now: T) -> bool:
        """Tell whether what was seen has ended, and its progress in the log."""

    def missed(self, error: CensusError) -> None:
        """
        Take note of a look that failed; raise the error if it ends the wait.

        An outage does not: what is waited for goes on without us, and the next look may tell its end.
        """
        self._auth_errors = self._auth_errors + 1 if isinstance(error, CensusAuthError) else 0
        final = isinstance(error, (CensusNotFoundError, CensusConfigError))
        if (final or self._auth_errors >= self.AUTH_ERRORS) and not self._endure:
            raise error
        now = self._now()
        if self._out_since is None:
            self._out_since, self._silence, self._silent_until = now, self.FIRST_SILENCE, now
        if now >= self._silent_until:
            self._log.warning(
                "Cannot see %s for %.0f s now; still waiting for it. %s",
                self.name,
                now - self._out_since,
                error,
            )
            self._silent_until = now + self._silence
            self._silence = min(2 * self._silence, self.LONGEST_SILENCE)


class RunLookout(Lookout[T]):
    """
    A wait that follows sync runs.

    :ivar run: the run as last seen.
    :ivar sync_run_id: the run that is waited for, if it is known which.
    :ivar fate: what becomes of the run if nobody waits for it any more, in words.
    """

    fate = "the run goes on"
    run: Run | None = None
    sync_run_id: int | str | None = None
    _progress = ""
    _unknown = ""

    def _follow(self, run: Run) -> bool:
        """Tell a run's progress in the log, and whether it has ended."""
        before, self.run = self.run, run
        ended = sync_runs.outcome(run) is not None
        if run == before:
            return ended
        name = f"Sync run {run.get('id')}"
        status = str(run.get("status"))
        if not ended and status not in sync_runs.RUNNING and status != self._unknown:
            self._unknown = status
            self._log.warning(
                "%s has the status %r, which this release does not know; taken for running.", name, status
            )
        progress = f"{name} of sync {run.get('sync_id')}: {sync_runs.progress(run)}"
        if progress != self._progress:
            self._progress = progress
            self._log.info("%s", progress)
        return ended


class Watch(RunLookout[Run]):
    """
    A wait for the end of a sync run.

    :param sync_run_id: the run.
    """

    def __init__(
        self, sync_run_id: int | str, log: Log, now: Callable[[], float], *, endure: bool = False
    ) -> None:
        request = endpoints.get_sync_run(sync_run_id)
        super().__init__(f"sync run {sync_run_id}", request, log, now, endure=endure)
        self.sync_run_id = sync_run_id

    def _has_ended(self, now: Run) -> bool:
        return self._follow(now)


class SyncWatch(RunLookout[Run | None]):
    """
    A wait for the end of a run of a sync that was created after a moment, whoever started it.

    A look sees the newest of these runs that has ended; if none has, the newest that goes on. One that was
    skipped synced nothing, and is passed over.

    :param sync_id: the sync.
    :param since: the moment, in seconds since the epoch on Census' clock.
    :param base_url: tells the host of the connection.
    """

    def __init__(
        self,
        sync_id: int | str,
        since: float,
        base_url: Callable[[], str],
        log: Log,
        now: Callable[[], float],
        *,
        endure: bool = False,
    ) -> None:
        moment = datetime.fromtimestamp(since, timezone.utc).isoformat(" ")
        request = endpoints.list_sync_runs(sync_id, order="desc")
        super().__init__(f"a run of sync {sync_id} created after {moment}", request, log, now, endure=endure)
        self.since = since
        self.sync_id = sync_id
        self.fate = "there is none yet"
        self._base_url = base_url
        self._none_told = False

    def look(self) -> Flow[Run | None]:
        """Read the runs, newest first, until one is found that has ended, or none can follow."""
        found: list[tuple[float, int, Run]] = []
        pages = Pages(self.request, self._base_url())
        while pages.next is not None:
            page: Page[Any] = (yield pages.next).value
            dated = [
                (created[0], _id(run), run)
                for run in pages.took(page)
                if isinstance(run, dict) and (created := sync_runs.between(run, "created_at")) is not None
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

    def _has_ended(self, now: Run | None) -> bool:
        if now is None:
            if not self._none_told:
                self._none_told = True
                self._log.info("%s is not there yet.", self)
            return False
        self.fate = f"sync run {now.get('id')} goes on"
        ended = self._follow(now)
        if ended:
            self.sync_run_id = now.get("id")
        return ended


class IdleWatch(RunLookout["Before"]):
    """
    A wait until no run of a sync goes on, whoever started them.

    :param sync_id: the sync.
    """

    fate = "it goes on, and no run was started"

    def __init__(self, sync_id: int | str, log: Log, now: Callable[[], float]) -> None:
        super().__init__(f"another run of sync {sync_id}", newest_runs(sync_id), log, now)

    def look(self) -> Flow[Before]:
        """Survey the sync."""
        answer: Answer[list[Any]] = yield self.request
        return _before(answer)

    def _has_ended(self, now: Before) -> bool:
        return now.active is None or self._follow(now.active)


class RefreshWatch(Lookout[str]):
    """
    A wait for a refresh.

    :param request: what asks how far it is.
    """

    def __init__(self, request: Request[str], log: Log, now: Callable[[], float]) -> None:
        super().__init__(f"the refresh of {request.path}", request, log, now)

    def _has_ended(self, now: str) -> bool:
        self._log.info("%s: %s", self, now)
        return now != "processing"


def look(watch: Lookout[T], *, alone: bool) -> Flow[T | None]:
    """
    Look once at what is waited for.

    :param alone: no later look remembers this one, so a rejected token gets its further chances now.
    :returns: what was seen if that has ended, such as the finished run; ``None`` if it goes on, or cannot be
        seen.
    :raises CensusNotFoundError: if there is no such thing.
    :raises CensusAuthError: if the token is rejected at three looks in a row.
    """
    for pause in (AUTH_PAUSE, 2 * AUTH_PAUSE, 0.0):
        try:
            seen = yield from watch.look()
        except CensusError as error:
            watch.missed(error)
            if not alone or not isinstance(error, CensusAuthError):
                return None
        else:
            return seen if watch.saw(seen) else None
        yield Pause(pause)
    return None


def wait(
    watch: Lookout[T],
    polling: Polling,
    *,
    started: float,
    deadline: float | None,
    now: Callable[[], float],
    rng: random.Random,
    until_seen: bool = False,
) -> Flow[T]:
    """
    Look at what is waited for until it has ended, however it has.

    A look that fails is not repeated by the transport, which knows no deadline; another one follows soon.

    :param started: when the wait began, in seconds of the clock.
    :param deadline: when the wait is over, in seconds of the clock; ``None`` for never.
    :param now: the clock.
    :param until_seen: only look until Census answers, whether it has ended or not.
    :returns: what was seen when it had ended: the finished run, or the status of the refresh.
    :raises CensusTimeoutError: if it goes on at the deadline.
    :raises CensusNotFoundError: if there is no such thing.
    :raises CensusAuthError: if the token is rejected at three looks in a row.
    """
    looks = missed = 0
    while True:
        failure: CensusError | None = None
        began = now()
        try:
            seen = yield from watch.look()
        except CensusError as error:
            watch.missed(error)
            failure, missed = error, missed + 1
        else:
            if watch.saw(seen) or until_seen:
                return seen
            missed = 0
        looks += 1
        moment = now()
        usual = polling.pause(moment - started, looks, rng, took=moment - began)
        pause = retries.next_look(usual, missed, failure, rng)
        if deadline is not None:
            if moment >= deadline:
                raise CensusTimeoutError(f"{watch} has not ended after {moment - started:.0f} s")
            pause = min(pause, deadline - moment)
        yield Pause(pause)


@dataclass(frozen=True)
class Before:
    """
    What was known of a sync before a request to start it left.

    :ivar newest: the highest id of its runs; 0 if there were none.
    :ivar date: Census' clock at that moment, in seconds since the epoch, if it was told.
    :ivar active: the newest run that went on.
    """

    newest: int
    date: float | None
    active: Run | None = field(default=None, compare=False)


def survey(sync_id: int | str, *, once: bool = False) -> Flow[Before]:
    """
    Take note of a sync's runs before starting another one.

    :param once: do not try again if that fails.
    """
    answer: Answer[list[Any]] = yield replace(newest_runs(sync_id), once=once)
    return _before(answer)


def _before(answer: Answer[list[Any]]) -> Before:
    runs = _runs(answer)
    active = [run for run in runs if _id(run) and sync_runs.outcome(run) is None]
    return Before(max(map(_id, runs), default=0), answer.date, max(active, key=_id, default=None))


def displacing(sync_id: int | str, run: Run) -> Flow[Run | None]:
    """Find the run for which Census skipped another one of the sync; rather one that goes on."""
    answer: Answer[list[Any]] = yield newest_runs(sync_id)
    others = [other for other in _runs(answer) if sync_runs.displaced(run, other)]
    return max(others, key=lambda other: (sync_runs.outcome(other) is None, _id(other)), default=None)


def newest_runs(sync_id: int | str) -> Request[Any]:
    """Ask for the newest runs of a sync."""
    return endpoints.list_sync_runs(sync_id, order="desc", page=1, per_page=endpoints.MOST_PER_PAGE)


def trigger_sync(
    sync_id: int | str,
    *,
    force_full_sync: bool,
    attempts: int,
    claimed: set[int],
    log: Log,
    now: Callable[[], float],
    rng: random.Random,
    before: Before | None = None,
) -> Flow[int]:
    """
    Start a run of a sync, exactly one, although Census has no way to mark two requests as the same.

    The request is sent again if it surely did nothing. If nobody knows whether it did, the sync's runs are
    searched for the one that it started; only if none appears is it sent again.

    :param attempts: how often the request is sent at most.
    :param claimed: ids of the runs that tasks of this process have; the new one is added.
    :param now: a clock, in seconds since the epoch.
    :param before: what was known of the sync before.
    :returns: the id of the run.
    :raises CensusApiError: if Census does not start the sync.
    :raises CensusConnectionError: if Census cannot be reached, or nobody knows what came of the request.
    """
    request = replace(endpoints.trigger_sync(sync_id, force_full_sync=force_full_sync), once=True)
    attempt = 0
    search: Search | None = None
    while True:
        attempt += 1
        yield Pause(0.0)  # the last moment at which a task that is killed can leave it
        departed = now()
        try:
            run_id: int = (yield request).value
        except CensusError as error:
            if retries.maybe_done(error):
                # From the first request on of which nobody knows: its run may appear late.
                search = search or Search(sync_id, force_full_sync, before, claimed, departed)
                found = yield from _find_after(error, search, log, now)
                if found is not None:
                    return _id(found)
            elif not retries.surely_not_done(error):
                raise
            if attempt >= attempts:
                raise
            pause = retries.pause(attempt, error, rng)
            log.warning("%s (attempt %d of %d, the next one in %.1f s)", error, attempt, attempts, pause)
        else:
            claimed.add(run_id)
            return run_id
        yield Pause(pause)


SEARCH_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look for a run that a request may have started."""


def _find_after(
    error: CensusError, search: Search, log: Log, now: Callable[[], float]
) -> Flow[dict[str, Any] | None]:
    """Find what came of a request to start a sync that failed such that it may have started a run."""
    log.warning(
        "%s Nobody knows whether that started a run of sync %s; looking for it.", error, search.sync_id
    )
    try:
        found = yield from find_started(search, now)
    except CensusError as another:
        raise CensusConnectionError(
            f"Nobody knows whether a run of sync {search.sync_id} was started. {error} "
            f"Looking for the run failed, too: {another}",
            sent=True,
        ) from another
    if found is None:
        log.warning(
            "No new run of sync %s in %.0f s: it was not started.", search.sync_id, sum(SEARCH_PAUSES)
        )
    else:
        log.warning(
            "Sync run %s was created at %s, after the request left: it is the one that was started.",
            found.get("id"),
            found.get("created_at"),
        )
    return found


def find_started(search: Search, now: Callable[[], float]) -> Flow[dict[str, Any] | None]:
    """
    Look for a run that a request may have started, for a while.

    :returns: the run, claimed; ``None`` if none appeared.
    :raises CensusError: if the last look failed, so that nobody can tell.
    """
    for pause in SEARCH_PAUSES:
        yield Pause(pause)
        try:
            answer: Answer[list[Any]] = yield newest_runs(search.sync_id)
        except CensusError:
            if pause == SEARCH_PAUSES[-1]:
                raise
        else:
            found = search.among(answer, now())
            if found is not None:
                return found
    return None


def find_active(sync_id: int | str, *, full_sync: bool, since: float) -> Flow[dict[str, Any] | None]:
    """
    Look once for a run of a sync that goes on and was created after a moment.

    :param since: the moment, in seconds since the epoch.
    :returns: the run; ``None`` if there is none.
    """
    answer: Answer[list[Any]] = yield newest_runs(sync_id)
    active = replace(answer, value=[run for run in _runs(answer) if sync_runs.outcome(run) is None])
    return Search(sync_id, full_sync, Before(0, since), set(), skew=0.0).among(active, since)


CLOCKS_APART = 60.0
"""Seconds that the clocks of Census may be apart: a proxy in front of it dates answers, and another machine
the runs."""


@dataclass(frozen=True)
class Search:
    """
    What is known of the run that a request may have started.

    :ivar sync_id: the sync.
    :ivar full_sync: whether a full sync was asked for.
    :ivar before: what was known of the sync before, if anything.
    :ivar claimed: ids of the runs that tasks of this process have; the one that is found is added.
    :ivar departed: when the request left, in seconds of our clock, if that is known.
    :ivar skew: seconds by which the clock that dates answers may be ahead of the one that dates runs; counts
        where the runs of before are known, for ids tell ours from them.
    """

    sync_id: int | str
    full_sync: bool
    before: Before | None
    claimed: set[int]
    departed: float | None = None
    skew: float = CLOCKS_APART

    def among(self, answer: Answer[list[Any]], now: float) -> dict[str, Any] | None:
        """
        Find the run in a list of the sync's runs, and claim it.

        Whether a run was created after our request left is a question of Census' clock: the one of the
        answer, less the time that has passed here. One that was skipped is only taken if there is no other.
        """
        before = self.before or Before(0, None)
        since = before.date or 0.0
        if self.departed is not None:
            since = max(since, self.departed if answer.date is None else answer.date - (now - self.departed))
        if self.before is not None:
            since -= self.skew
        candidates = [
            (sync_runs.outcome(run) == "skipped", created, run)
            for run in _runs(answer)
            if _id(run) > before.newest
            and _id(run) not in self.claimed
            and (created := sync_runs.created_at(run)) is not None
            and created >= since
            and (run.get("full_sync") is True or not self.full_sync)
        ]
        if not candidates:
            return None
        found = min(candidates, key=lambda candidate: candidate[:2])[2]
        self.claimed.add(_id(found))
        return found


def _runs(answer: Answer[list[Any]]) -> list[dict[str, Any]]:
    return [run for run in answer.value if isinstance(run, dict)]


def _id(run: dict[str, Any]) -> int:
    return run["id"] if isinstance(run.get("id"), int) else 0

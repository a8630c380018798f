# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Waiting for runs and refreshes: when they are polled, what ends the wait, what is logged."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from flow_helpers import Clock, FlowRunner, Log, api_error, connection_error, in_order, sync_run
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import endpoints, waiters
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.responses import Page
from airflow_provider_census.api.waiters import (
    RefreshWaiter,
    SyncIdleWaiter,
    SyncRunWaiter,
    SyncWaiter,
    Waiter,
    poll_once,
)
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConfigError,
    CensusNotFoundError,
    CensusTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SINCE = 1_700_000_000.0
EVERY_SECOND = WaitOptions(1.0)

AUTH, NO_SUCH_RUN, DOWN = api_error(401), api_error(404), api_error(503)
WORKING, COMPLETED = sync_run(), sync_run("completed")


class NoJitter(random.Random):
    """Always gives the highest number, so that delays can be foretold."""

    def uniform(self, a: float, b: float) -> float:
        return b


def sync_run_waiter(log: Log, clock: Clock, *, silent_fail: bool = False) -> SyncRunWaiter:
    return SyncRunWaiter(94, log, clock, silent_fail=silent_fail)


def sync_waiter(log: Log, clock: Clock) -> SyncWaiter:
    return SyncWaiter(52, SINCE, "https://census", log, clock)


def sync_idle_waiter(log: Log, clock: Clock) -> SyncIdleWaiter:
    return SyncIdleWaiter(52, log, clock)


class Wait:
    """A wait that begins now, and what it did."""

    def __init__(
        self,
        options: WaitOptions = EVERY_SECOND,
        make: Callable[[Log, Clock], Waiter[Any]] = sync_run_waiter,
        *,
        timeout: float | None = None,
        first_success: bool = False,
    ) -> None:
        self.clock = Clock()
        self.started = self.clock()
        self.log = Log(self.clock)
        self.runner = FlowRunner(self.clock)
        self.waiter: Any = make(self.log, self.clock)
        deadline = None if timeout is None else self.started + timeout
        self.flow = waiters.wait(
            self.waiter,
            WaitOptions(**{**options.as_dict(), "deadline": deadline}),
            now=self.clock,
            rng=NoJitter(),
            first_success=first_success,
        )

    def run(self, responses: Iterable[Any] | Callable[[Any], Any]) -> Any:
        return self.runner.run(self.flow, responses if callable(responses) else in_order(responses))

    @property
    def polled_at(self) -> list[float]:
        """Seconds after the beginning at which it polled."""
        return [round(moment - self.started, 6) for moment in self.runner.requested_at]


ENDED = [
    *(sync_run(status) for status in ("completed", "failed", "skipped", "canceled", "cancelled")),
    sync_run("working", canceled=True),
    sync_run("queued", canceled=True),
    sync_run("a status of the future", canceled=True),
]


@pytest.mark.parametrize("end", ENDED, ids=lambda run: f"{run['status']}, canceled: {run['canceled']}")
def test_it_ends_however_the_run_does(end: dict[str, Any]) -> None:
    wait = Wait()
    assert wait.run([sync_run("queued"), sync_run("working"), end]) is end
    assert wait.polled_at == [0, 1, 2]


@pytest.mark.parametrize(
    "status", ["queued", "working", "a status of the future", "COMPLETED", "", "None", "running"]
)
def test_every_other_status_is_waited_on(status: str) -> None:
    wait = Wait()
    wait.run([*[sync_run(status, canceled=None)] * 5, COMPLETED])
    assert len(wait.polled_at) == 6


def test_an_unknown_status_is_logged_once() -> None:
    wait = Wait()
    wait.run([*[sync_run("paused")] * 4, sync_run("working"), *[sync_run("paused")] * 3, COMPLETED])
    assert wait.log.count("does not know") == 1
    assert wait.log.count("'paused'") == 1


def test_progress_is_logged_when_something_changed_and_only_then() -> None:
    wait = Wait()
    wait.run(
        [
            *[sync_run("queued")] * 3,
            *[sync_run("working", current_step="Running sync", updated_at=moment) for moment in "abc"],
            *[sync_run("working", current_step="Running sync", records_processed=5)] * 2,
            *[sync_run("working", records_processed=500, source_record_count=1000)] * 3,
            sync_run("completed", records_processed=1000, source_record_count=1000),
        ]
    )
    assert wait.log.lines == [
        ("info", "queued · sync 52, run 94"),
        ("info", "Running sync · sync 52, run 94"),
        ("info", "50 %, 500 of 1000 records, working · sync 52, run 94"),
    ]


def test_progress_is_logged_at_each_tenth_and_every_five_minutes() -> None:
    wait = Wait(WaitOptions(60.0))
    shares = [0, 3, 9, 10, 19, 20, *[21] * 12]
    wait.run(
        [
            *[sync_run("working", records_processed=share, source_record_count=100) for share in shares],
            sync_run("completed"),
        ]
    )
    assert [line.partition(" %")[0] for _, line in wait.log.lines] == [
        "working · sync 52, run 94",
        "10",
        "20",
        "21",
        "21",
    ]


OUTAGES = [
    connection_error(sent=False),
    connection_error(sent=True),
    *(api_error(status) for status in (400, 408, 422, 429, 500, 502, 503, 504)),
    api_error(200, unusable=True),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_an_outage_is_survived_and_logged_ever_more_seldom(outage: CensusApiError) -> None:
    wait = Wait()
    wait.run([WORKING, *[outage] * 104, WORKING, COMPLETED])
    gaps = [after - before for before, after in itertools.pairwise(wait.log.warned_at)]
    assert gaps == [31, 60, 120, 240, 480, 600, 600, 600]
    assert wait.log.count(f"{outage} Still waiting for sync run 94.") == 1
    assert wait.log.count(f"{outage} Still waiting for sync run 94, after 31 s without a response.") == 1
    assert wait.log.count("Census responds again, after 50 min 1 s") == 1


def test_a_second_outage_is_logged_at_once_again() -> None:
    wait = Wait()
    down = [connection_error(sent=True)] * 2
    wait.run([*down, WORKING, *down, COMPLETED])
    assert wait.log.count("Still waiting for sync run 94.") == 2
    assert wait.log.count("Census responds again") == 2


@pytest.mark.parametrize(
    ("responses", "error", "polls"),
    [
        ([AUTH, AUTH, AUTH], CensusAuthError, 3),
        ([api_error(403), AUTH, api_error(403)], CensusAuthError, 3),
        ([WORKING, AUTH, AUTH, AUTH], CensusAuthError, 4),
        ([AUTH, AUTH, WORKING, AUTH, AUTH, COMPLETED], None, 6),
        ([AUTH, AUTH, DOWN, AUTH, AUTH, COMPLETED], None, 6),
        ([NO_SUCH_RUN], CensusNotFoundError, 1),
        ([WORKING, NO_SUCH_RUN], CensusNotFoundError, 2),
    ],
)
def test_what_ends_a_wait_early(responses: list[Any], error: type[Exception] | None, polls: int) -> None:
    wait = Wait()
    if error is None:
        assert wait.run(responses) == COMPLETED
    else:
        with pytest.raises(error):
            wait.run(responses)
    assert len(wait.polled_at) == polls
    silent = Wait(make=lambda log, clock: sync_run_waiter(log, clock, silent_fail=True))
    assert silent.run([*responses, COMPLETED]) == COMPLETED, "silent_fail waits whatever comes"


def test_a_connection_that_cannot_be_used_ends_a_wait() -> None:
    wait = Wait()
    with pytest.raises(CensusConfigError, match="'host'"):
        wait.run([WORKING, CensusConfigError("field 'host' is wrong")])
    assert wait.log.count("Still waiting") == 0


@pytest.mark.parametrize(
    ("poll_interval", "timeout", "response", "polled_at"),
    [
        (10, 25, WORKING, [0, 10, 20, 25]),
        (10, 30, WORKING, [0, 10, 20, 30]),
        (60, 1, WORKING, [0, 1]),
        (10, 70, DOWN, [0, 10, 20, 30, 40, 56, 70]),
        (10, 25, api_error(429, retry_after=10), [0, 11, 22, 25]),
        (10, 25, api_error(429, retry_after=90), [0, 25]),
        (5, 0, WORKING, [0]),
        (5, -100, WORKING, [0]),
    ],
    ids=str,
)
def test_the_last_poll_is_at_the_deadline(
    poll_interval: float, timeout: float, response: Any, polled_at: list[float]
) -> None:
    wait = Wait(WaitOptions(poll_interval), timeout=timeout)
    with pytest.raises(CensusTimeoutError, match="Sync run 94 has not ended"):
        wait.run(itertools.repeat(response))
    assert wait.polled_at == pytest.approx(polled_at)


def test_a_run_that_ends_at_the_deadline_has_ended() -> None:
    assert Wait(WaitOptions(10), timeout=25).run([*[WORKING] * 3, COMPLETED]) == COMPLETED


def test_an_outage_up_to_the_deadline_is_a_timeout_of_the_wait() -> None:
    with pytest.raises(CensusTimeoutError):
        Wait(timeout=50).run(itertools.repeat(connection_error(sent=False)))


@pytest.mark.parametrize(
    ("retry_after", "poll_interval", "delay"),
    [
        (40.0, 5, 44),
        (40.0, 60, 60),
        (0.0, 5, 5),
        (None, 5, 5),
        (None, 0.5, 1),
        (1e6, 5, 132),
        (1e6, 200, 200),
    ],
)
def test_it_polls_no_sooner_than_census_asks(
    retry_after: float | None, poll_interval: float, delay: float
) -> None:
    wait = Wait(WaitOptions(poll_interval))
    wait.run([api_error(429, retry_after=retry_after), COMPLETED])
    assert wait.runner.delays == [pytest.approx(delay)]


def test_an_interval_grows_with_the_time_since_the_wait_was_started_elsewhere() -> None:
    clock = Clock()
    runner, options = FlowRunner(clock), WaitOptions(started=clock() - 150)
    waiter = sync_run_waiter(Log(), clock)
    runner.run(waiters.wait(waiter, options, now=clock, rng=NoJitter()), in_order([WORKING, COMPLETED]))
    assert runner.delays == [pytest.approx(150 * 0.095 * 0.98)]


@given(duration=st.floats(0, 8 * 3600), took=st.floats(0, 0.15), seed=st.integers())
def test_the_end_is_noticed_soon_after_a_tenth_of_what_it_took(
    duration: float, took: float, seed: int
) -> None:
    clock = Clock(0.0)
    flow = waiters.wait(
        sync_run_waiter(Log(), clock), WaitOptions(started=0.0), now=clock, rng=random.Random(seed)
    )

    def slowly(_: Any) -> Any:
        run = COMPLETED if clock() >= duration else WORKING
        clock.time += took
        return run

    FlowRunner(clock).run(flow, slowly)
    assert clock() - duration <= max(0.1 * duration, 5.0)
    assert clock() - duration <= 60.0


def test_waits_that_were_held_up_together_do_not_poll_together_from_then_on() -> None:
    def polled_after(first: float) -> list[float]:
        """A wait that polls first so late, while Census hangs until the second 8."""
        wait = Wait(WaitOptions(5.0))
        wait.clock.time += first
        polled_at: list[float] = []

        def hang_at_first(_: Any) -> Any:
            polled_at.append(wait.clock() - wait.started)
            wait.clock.time = max(wait.clock.time, wait.started + 8.0)
            return COMPLETED if len(polled_at) == 4 else WORKING

        wait.run(hang_at_first)
        return polled_at

    assert polled_after(0.0) == pytest.approx([0.0, 15.0, 20.0, 25.0])
    assert polled_after(1.0) == pytest.approx([1.0, 11.0, 16.0, 21.0])
    assert polled_after(4.0) == pytest.approx([4.0, 14.0, 19.0, 24.0])


@pytest.mark.parametrize(
    ("responses", "value"),
    [([WORKING], WORKING), ([COMPLETED], COMPLETED), ([DOWN, DOWN, WORKING], WORKING)],
)
def test_the_first_poll_that_succeeds_may_be_all_that_is_wanted(responses: list[Any], value: Any) -> None:
    assert Wait(first_success=True).run(responses) is value


@pytest.mark.parametrize(
    ("retry_auth", "responses", "expected"),
    [
        *[
            (retry_auth, responses, expected)
            for retry_auth in (False, True)
            for responses, expected in (
                ([COMPLETED], [COMPLETED]),
                ([WORKING], [None]),
                ([DOWN], [None]),
                ([connection_error(sent=True)], [None]),
                ([NO_SUCH_RUN], [CensusNotFoundError]),
            )
        ],
        (False, [AUTH], [CensusAuthError]),
        (False, [api_error(403)], [CensusAuthError]),
        (True, [AUTH, AUTH, COMPLETED], [None, None, COMPLETED]),
        (True, [AUTH, AUTH, AUTH], [None, None, CensusAuthError]),
        (True, [AUTH, AUTH, DOWN, AUTH, AUTH], [None] * 5),
        (True, [AUTH, AUTH, WORKING, AUTH, AUTH], [None] * 5),
    ],
)
def test_polls_one_by_one(retry_auth: bool, responses: list[Any], expected: list[Any]) -> None:
    clock = Clock()
    runner = FlowRunner(clock)
    waiter: Waiter[Any] = sync_run_waiter(Log(), clock)
    for response, value in zip(responses, expected, strict=True):
        poll = poll_once(waiter, retry_auth=retry_auth)
        if isinstance(value, type):
            with pytest.raises(value):
                runner.run(poll, in_order([response]))
        else:
            assert runner.run(poll, in_order([response])) is value
    assert (len(runner.requested_at), runner.delays) == (len(responses), [])


@pytest.mark.parametrize("response", [AUTH, NO_SUCH_RUN, DOWN])
def test_a_poll_that_fails_silently_does_not_raise(response: Any) -> None:
    waiter: Waiter[Any] = sync_run_waiter(Log(), Clock(), silent_fail=True)
    assert FlowRunner().run(poll_once(waiter), in_order([response])) is None


@pytest.mark.parametrize("make", [sync_waiter, sync_idle_waiter])
@pytest.mark.parametrize(
    ("responses", "error"),
    [([NO_SUCH_RUN], CensusNotFoundError), ([AUTH, api_error(403), AUTH], CensusAuthError)],
    ids=["no such sync", "the token is rejected"],
)
def test_what_ends_every_wait_ends_that_for_a_sync(
    make: Any, responses: list[Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Wait(make=make).run(responses)


def run_at(seconds: float, run_id: int, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A run created so many seconds after the moment that is waited from."""
    moment = datetime.fromtimestamp(SINCE + seconds, timezone.utc)
    created = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**sync_run(status, id=run_id, created_at=created), **fields}


def paged(runs: list[Any], size: int, requested: list[int]) -> Callable[[Any], Any]:
    """A Census that gives its runs so many at a time."""

    def respond(request: Any) -> Any:
        number = request.params.get("page", 1)
        requested.append(number)
        assert (request.params["order"], request.retry, request.path) == (
            "desc",
            False,
            "/syncs/52/sync_runs",
        )
        items = runs[(number - 1) * size : number * size]
        following = number + 1 if number * size < len(runs) else None
        return Page(items, number, next_page=following, numbered=True)

    return respond


OLD = [run_at(-number, 50 - number) for number in range(1, 20)]
CASES: dict[str, tuple[list[Any], int | None, bool, list[int]]] = {
    # runs as Census gives them, four on a page; the one that is polled; whether it has ended; pages read
    "no run at all": ([], None, False, [1]),
    "only older runs": (OLD, None, False, [1]),
    "the newest that has ended": ([run_at(3, 93), run_at(2, 92), *OLD], 93, True, [1]),
    "a failed one as well": ([run_at(3, 93, "failed"), run_at(2, 92), *OLD], 93, True, [1]),
    "a cancelled one as well": ([run_at(3, 93, "working", canceled=True), *OLD], 93, True, [1]),
    "a completed one after a failed one": ([run_at(3, 93), run_at(2, 92, "failed")], 93, True, [1]),
    "not one that is running, if an older one has ended": (
        [run_at(3, 93, "working"), run_at(2, 92), *OLD],
        92,
        True,
        [1],
    ),
    "the newest that is running, if none has ended": (
        [run_at(3, 93, "queued"), run_at(2, 92, "working"), *OLD],
        93,
        False,
        [1],
    ),
    "a status of the future is running": ([run_at(3, 93, "paused"), *OLD], 93, False, [1]),
    "not one that was skipped": ([run_at(3, 93, "skipped"), run_at(2, 92), *OLD], 92, True, [1]),
    "none, if all were skipped": ([run_at(3, 93, "skipped"), *OLD], None, False, [1]),
    "not one from that very moment": ([run_at(0, 93), *OLD], None, False, [1]),
    "one from the millisecond after it": ([run_at(0.001, 93), *OLD], 93, True, [1]),
    "one on a later page": (
        [*(run_at(9 - number, 93 - number, "skipped") for number in range(5)), run_at(2, 77), *OLD],
        77,
        True,
        [1, 2],
    ),
    "no page after the moment": (
        [*(run_at(9 - number, 93 - number, "skipped") for number in range(5)), *OLD],
        None,
        False,
        [1, 2],
    ),
    "oldest first, the newest is on the last page": (
        [*reversed(OLD), run_at(2, 92, "failed"), run_at(3, 93)],
        93,
        True,
        [1, 2, 3, 4, 5, 6],
    ),
    "in no order on one page": ([run_at(2, 92, "failed"), run_at(3, 93), OLD[0]], 93, True, [1]),
    "of the same moment, the one that was created later": ([run_at(3, 92), run_at(3, 93)], 93, True, [1]),
    "nothing without a time": ([run_at(3, 93, created_at=None), run_at(2, 92), *OLD], 92, True, [1]),
    "nothing that is no run": (["", None, 5, run_at(2, 92)], 92, True, [1]),
}


@pytest.mark.parametrize(("runs", "run_id", "ended", "pages"), CASES.values(), ids=CASES)
def test_which_run_of_a_sync_is_polled(
    runs: list[Any], run_id: int | None, ended: bool, pages: list[int]
) -> None:
    clock, requested = Clock(), list[int]()
    waiter = sync_waiter(Log(clock), clock)
    polled = FlowRunner(clock).run(poll_once(waiter), paged(runs, 4, requested))
    assert (polled or {}).get("id") == (run_id if ended else None)
    assert (waiter.run or {}).get("id") == run_id
    assert waiter.sync_run_id == (run_id if ended else None)
    assert requested == pages


def test_it_waits_until_there_is_a_run_that_has_ended_and_logs_the_way_there() -> None:
    wait = Wait(make=sync_waiter)
    end = run_at(3, 93)
    none, working = Page(OLD), Page([run_at(3, 93, "working"), *OLD])
    assert wait.run([none, none, connection_error(sent=True), DOWN, working, working, Page([end])]) == end
    name = "a run of sync 52 created after 2023-11-14 22:13:20+00:00"
    assert [line for _, line in wait.log.lines] == [
        f"There is not yet {name}.",
        f"The connection broke. Still waiting for {name}.",
        "Census responds again, after 3 s.",
        "for 2 s, working · sync 52, run 93",
    ]


def test_a_wait_that_another_process_began_logs_what_changes_from_then_on() -> None:
    wait = Wait()
    wait.waiter.is_resumed = True
    step = sync_run("working", current_step="Running sync")
    assert wait.run([*[sync_run("working")] * 2, step, step, COMPLETED]) is COMPLETED
    assert [line.partition(" · ")[0].rpartition(", ")[2] for _, line in wait.log.lines] == ["Running sync"]

    wait = Wait(make=sync_waiter)
    wait.waiter.is_resumed = True
    none, working = Page(OLD), Page([run_at(3, 93, "working"), *OLD])
    wait.run([none, none, working, Page([run_at(3, 93)])])
    assert [line.rpartition(" · ")[2] for _, line in wait.log.lines] == ["sync 52, run 93"]


def test_pages_that_do_not_lead_to_their_end_are_polled_again() -> None:
    wait = Wait(make=sync_waiter)
    end = Page([run_at(3, 93)])
    assert wait.run([Page([], number=7, next_page=8, numbered=True), end])["id"] == 93
    assert wait.log.count("do not lead to its end") == 1


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (Page(OLD), "there is none yet"),
        (Page([run_at(3, 93, "working")]), "sync run 93 keeps running in Census"),
    ],
    ids=["none", "one that is running"],
)
def test_at_its_deadline_it_knows_what_is_abandoned(response: Any, words: str) -> None:
    wait = Wait(make=sync_waiter, timeout=0)
    with pytest.raises(
        CensusTimeoutError, match=r"A run of sync 52 created after .* has not ended after 0 s"
    ):
        wait.run([response])
    assert wait.waiter.if_abandoned == words


def test_idle_is_a_sync_of_which_no_run_is_running() -> None:
    wait = Wait(make=sync_idle_waiter)
    snapshot = wait.run(
        [
            connection_error(sent=False),
            [run_at(3, 93, "working"), run_at(2, 92)],
            [run_at(3, 93, "working"), run_at(2, 92)],
            [run_at(4, 94, "queued"), run_at(3, 93)],
            [run_at(4, 94, "failed"), run_at(3, 93, "working", canceled=True), run_at(1, 91, "skipped")],
        ]
    )
    assert (snapshot.newest, snapshot.active) == (94, None)
    assert len(wait.polled_at) == 5
    lines = [line for _, line in wait.log.lines if " · " in line]
    assert [line.partition(" · ")[2] for line in lines] == ["sync 52, run 93", "sync 52, run 94"]


@pytest.mark.parametrize("status", ["completed", "failed", "a status of the future"])
def test_a_refresh_has_ended_when_it_is_no_longer_processing(status: str) -> None:
    request = endpoints.get_refresh_source_tables_status(4, 7)
    wait = Wait(make=lambda log, clock: RefreshWaiter(request, log, clock))
    assert wait.run(["processing", DOWN, "processing", status]) == status
    assert len(wait.polled_at) == 4
    name = "The refresh of /sources/4/refresh_tables_status"
    assert wait.log.count(f"{name}: processing") == 2
    assert wait.log.count(f"{name}: {status}") == 1


@pytest.mark.parametrize(
    "make",
    [
        sync_run_waiter,
        sync_idle_waiter,
        lambda log, clock: RefreshWaiter(endpoints.get_refresh_source_tables_status(4, 7), log, clock),
    ],
)
def test_a_transport_does_not_retry_a_poll(make: Callable[[Log, Clock], Waiter[Any]]) -> None:
    request: Any = next(make(Log(), Clock()).poll())
    assert not request.retry

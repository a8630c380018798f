# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Waiting for a sync run: when it looks, what ends it, what it says."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import Clock, Log, Play, lost, one_by_one, refusal, sync_run

from airflow_provider_census.api import flows
from airflow_provider_census.api.polling import RESCHEDULED, Polling
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConfigError,
    CensusNotFoundError,
    CensusTimeoutError,
)

EVERY_SECOND = Polling(1.0)


class Highest(random.Random):
    """Chance that always gives the highest number, so that pauses can be foretold."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Wait:
    """A wait that begins now, and what can be told of it afterwards."""

    def __init__(
        self, polling: Polling = EVERY_SECOND, *, lasting: float | None = None, endure: bool = False
    ) -> None:
        self.clock = Clock()
        self.began = self.clock()
        self.log = Log(self.clock)
        self.play = Play(self.clock)
        self.watch = flows.Watch(94, self.log, self.clock, endure=endure)
        self.flow = flows.wait(
            self.watch,
            polling,
            started=self.began,
            deadline=None if lasting is None else self.began + lasting,
            now=self.clock,
            rng=Highest(),
        )

    def sees(self, answers: Iterable[Any] | Callable[[Any], Any]) -> Any:
        return self.play.run(self.flow, answers if callable(answers) else one_by_one(answers))

    @property
    def looks(self) -> list[float]:
        """Seconds after the beginning at which it looked."""
        return [round(moment - self.began, 6) for moment in self.play.looked_at]


ENDED = [
    *(sync_run(status) for status in ("completed", "failed", "skipped", "canceled", "cancelled")),
    sync_run("working", canceled=True),
    sync_run("queued", canceled=True),
    sync_run("a status of the future", canceled=True),
]


@pytest.mark.parametrize("end", ENDED, ids=lambda run: f"{run['status']}, canceled: {run['canceled']}")
def test_it_ends_however_the_run_does(end: dict[str, Any]) -> None:
    wait = Wait()
    assert wait.sees([sync_run("queued"), sync_run("working"), end]) is end
    assert wait.looks == [0, 1, 2]


@pytest.mark.parametrize(
    "status", ["queued", "working", "a status of the future", "COMPLETED", "", "None", "running"]
)
def test_every_other_status_is_waited_on(status: str) -> None:
    wait = Wait()
    wait.sees([*[sync_run(status, canceled=None)] * 5, sync_run("completed")])
    assert len(wait.looks) == 6


def test_an_unknown_status_is_said_once() -> None:
    wait = Wait()
    wait.sees([*[sync_run("paused")] * 4, sync_run("working"), *[sync_run("paused")] * 3, ENDED[0]])
    assert wait.log.said("does not know") == 1
    assert wait.log.said("'paused'") == 1


def test_progress_is_said_when_something_changed_and_only_then() -> None:
    seen = [
        *[sync_run("queued")] * 3,
        *[sync_run("working", current_step="Running sync", updated_at=moment) for moment in "abc"],
        *[sync_run("working", current_step="Running sync", records_processed=5)] * 2,
        *[sync_run("working", records_processed=500, source_record_count=1000)] * 3,
        sync_run("completed", records_processed=1000, source_record_count=1000),
    ]
    wait = Wait()
    wait.sees(seen)
    assert wait.log.lines == [
        ("info", "Sync run 94 of sync 52: queued"),
        ("info", "Sync run 94 of sync 52: working, Running sync"),
        ("info", "Sync run 94 of sync 52: working, Running sync, 5 records"),
        ("info", "Sync run 94 of sync 52: working, 500 of 1000 records (50 %)"),
        ("info", "Sync run 94 of sync 52: completed, 1000 of 1000 records (100 %)"),
    ]


OUTAGES = [
    lost(sent=False),
    lost(sent=True),
    *(refusal(status) for status in (400, 408, 422, 429, 500, 502, 503, 504)),
    refusal(200, unusable=True),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_an_outage_is_survived_and_told_ever_more_seldom(outage: CensusApiError) -> None:
    wait = Wait()
    wait.sees([sync_run(), *[outage] * 3000, sync_run(), sync_run("completed")])
    gaps = [after - before for before, after in itertools.pairwise(wait.log.warned_at)]
    assert gaps == [30, 60, 120, 240, 480, 600, 600, 600]
    assert wait.log.said("Cannot see sync run 94 for 0 s now; still waiting for it") == 1
    assert wait.log.said("Census answers again, after 3000 s") == 1


def test_a_second_outage_is_told_at_once_again() -> None:
    wait = Wait()
    wait.sees([*[lost(sent=True)] * 2, sync_run(), *[lost(sent=True)] * 2, sync_run("completed")])
    assert wait.log.said("for 0 s now") == 2
    assert wait.log.said("Census answers again") == 2


AUTH, GOOD, END, GONE, DOWN = refusal(401), sync_run(), sync_run("completed"), refusal(404), refusal(503)


@pytest.mark.parametrize(
    ("answers", "error", "looks"),
    [
        ([AUTH, AUTH, AUTH], CensusAuthError, 3),
        ([refusal(403), AUTH, refusal(403)], CensusAuthError, 3),
        ([GOOD, AUTH, AUTH, AUTH], CensusAuthError, 4),
        ([AUTH, AUTH, GOOD, AUTH, AUTH, END], None, 6),
        ([AUTH, AUTH, DOWN, AUTH, AUTH, END], None, 6),
        ([GONE], CensusNotFoundError, 1),
        ([GOOD, GONE], CensusNotFoundError, 2),
        ([CensusConfigError("field 'host' is wrong")], CensusConfigError, 1),
    ],
)
def test_what_ends_a_wait_early(answers: list[Any], error: type[Exception] | None, looks: int) -> None:
    wait = Wait()
    if error is None:
        assert wait.sees(answers) == END
    else:
        with pytest.raises(error):
            wait.sees(answers)
    assert len(wait.looks) == looks
    enduring = Wait(endure=True)
    assert enduring.sees([*answers, END]) == END, "silent_fail goes on whatever comes"


@pytest.mark.parametrize(
    ("every", "lasting", "answer", "looks"),
    [
        (10, 25, GOOD, [0, 10, 20, 25]),
        (10, 30, GOOD, [0, 10, 20, 30]),
        (60, 1, GOOD, [0, 1]),
        (10, 30, DOWN, [0, 1, 3, 7, 15, 25, 30]),  # soon again, ever less soon, never later than else
        (10, 25, refusal(429, retry_after=17), [0, 17, 25]),
        (10, 25, refusal(429, retry_after=90), [0, 25]),
        (5, 0, GOOD, [0]),
        (5, -100, GOOD, [0]),
    ],
    ids=str,
)
def test_the_last_look_is_at_the_deadline(
    every: float, lasting: float, answer: Any, looks: list[float]
) -> None:
    wait = Wait(Polling(every), lasting=lasting)
    with pytest.raises(CensusTimeoutError, match="Sync run 94 has not ended"):
        wait.sees(itertools.repeat(answer))
    assert wait.looks == looks


def test_a_run_that_ends_at_the_deadline_has_ended() -> None:
    assert Wait(Polling(10), lasting=25).sees([*[GOOD] * 3, END]) == END


def test_an_outage_up_to_the_deadline_is_a_timeout_of_the_wait() -> None:
    with pytest.raises(CensusTimeoutError):
        Wait(lasting=50).sees(itertools.repeat(lost(sent=False)))


@pytest.mark.parametrize(
    ("asked", "every", "pause"),
    [
        (40.0, 5, 40),
        (40.0, 60, 60),
        (0.0, 5, 5),
        (None, 5, 1),
        (None, 0.5, 0.5),
        (1e6, 5, 120),
        (1e6, 200, 200),
    ],
)
def test_it_looks_no_sooner_than_census_asks(asked: float | None, every: float, pause: float) -> None:
    wait = Wait(Polling(every))
    wait.sees([refusal(429, retry_after=asked), END])
    assert wait.play.pauses == [pause]


@given(duration=st.floats(0, 2 * 24 * 3600), answer=st.floats(0, 0.15), seed=st.integers())
def test_the_end_is_noticed_soon_after_a_tenth_of_what_it_took(
    duration: float, answer: float, seed: int
) -> None:
    clock = Clock(0.0)
    wait = flows.wait(
        flows.Watch(94, Log(), clock),
        Polling(),
        started=0.0,
        deadline=None,
        now=clock,
        rng=random.Random(seed),
    )

    def slowly(_: Any) -> Any:
        seen = END if clock() >= duration else GOOD
        clock.time += answer
        return seen

    Play(clock).run(wait, slowly)
    assert clock() - duration <= max(0.1 * duration, 5.0)
    assert clock() - duration <= 60.0


@given(st.floats(0, 1e7), st.integers(1, 10_000), st.integers())
def test_it_does_not_look_in_a_hurry_nor_seldom(waited: float, looks: int, seed: int) -> None:
    assert 4.2 < Polling().pause(waited, looks, random.Random(seed)) < 23.0


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.integers())
def test_the_pause_grows_with_the_time_waited(one: float, other: float, seed: int) -> None:
    pauses = [Polling().pause(waited, 1, random.Random(seed)) for waited in sorted((one, other))]
    assert pauses == sorted(pauses)


@given(st.floats(0, 1e7), st.integers(1, 10_000), st.integers())
def test_looks_that_take_a_process_each_are_a_minute_apart(waited: float, looks: int, seed: int) -> None:
    assert Polling(shortest=RESCHEDULED).pause(waited, looks, random.Random(seed)) == 60.0


@given(st.just(0.0) | st.floats(0.001, 1e6), st.floats(0, 1e7), st.integers(1, 10_000))
def test_an_interval_of_the_users_means_exactly_that(interval: float, waited: float, looks: int) -> None:
    assert Polling(interval).pause(waited, looks, random.Random()) == interval


@given(st.floats(0.001, 1e6), st.floats(0.0, 1e7))
def test_an_interval_counts_from_look_to_look_and_leaves_half_of_it_to_a_slow_census(
    interval: float, took: float
) -> None:
    pause = Polling(interval).pause(took, 1, random.Random(), took=took)
    assert interval / 2 <= pause <= 1.5 * interval
    intervals = (took + pause) / interval
    assert intervals == pytest.approx(round(intervals), rel=1e-6, abs=1e-6)


def test_waits_that_were_held_up_together_do_not_look_together_from_then_on() -> None:
    def looks_after(first: float) -> list[float]:
        """A wait that first looks so late, while Census is silent until the second 8."""
        wait = Wait(Polling(5.0))
        wait.clock.time += first
        at: list[float] = []

        def silent_at_first(_: Any) -> Any:
            at.append(wait.clock() - wait.began)
            wait.clock.time = max(wait.clock.time, wait.began + 8.0)
            return END if len(at) == 4 else GOOD

        wait.sees(silent_at_first)
        return at

    assert looks_after(0.0) == pytest.approx([0.0, 15.0, 20.0, 25.0])
    assert looks_after(1.0) == pytest.approx([1.0, 11.0, 16.0, 21.0])
    assert looks_after(4.0) == pytest.approx([4.0, 14.0, 19.0, 24.0])


@given(st.floats(0.001, 1e4), st.integers(1, 100_000), st.none() | st.floats(1, 1e4), st.integers())
def test_exponential_backoff_doubles_with_jitter_as_in_airflow(
    interval: float, looks: int, most: float | None, seed: int
) -> None:
    pause = Polling(interval, exponential_backoff=True, max_wait=most).pause(0.0, looks, random.Random(seed))
    least = max(int(interval * 2.0 ** min(looks - 2, 60)), 1)
    assert min(least, most or least) <= pause <= (2 * least if most is None else min(most, 2 * least))


@pytest.mark.parametrize(
    ("answers", "expected", "looks"),
    [
        ([END], END, 1),
        ([GOOD], None, 1),
        ([DOWN], None, 1),
        ([lost(sent=True)], None, 1),
        ([AUTH, END], END, 2),
        ([AUTH, AUTH, GOOD], None, 3),
        ([AUTH, DOWN], None, 2),
        ([AUTH, AUTH, AUTH], CensusAuthError, 3),
        ([GONE], CensusNotFoundError, 1),
    ],
)
def test_a_look_that_is_alone_gives_a_rejected_token_three_chances(
    answers: list[Any], expected: Any, looks: int
) -> None:
    clock = Clock()
    play, watch = Play(clock), flows.Watch(94, Log(), clock)
    if isinstance(expected, type):
        with pytest.raises(expected):
            play.run(flows.look(watch, alone=True), one_by_one(answers))
    else:
        assert play.run(flows.look(watch, alone=True), one_by_one(answers)) == expected
    assert len(play.looked_at) == looks


def test_looks_that_are_not_alone_count_rejections_together() -> None:
    clock = Clock()
    play, watch = Play(clock), flows.Watch(94, Log(), clock)
    for _ in range(2):
        assert play.run(flows.look(watch, alone=False), one_by_one([AUTH])) is None
    with pytest.raises(CensusAuthError):
        play.run(flows.look(watch, alone=False), one_by_one([AUTH]))
    assert play.pauses == []


def test_a_look_that_endures_does_not_raise() -> None:
    watch = flows.Watch(94, Log(), Clock(), endure=True)
    assert Play(Clock()).run(flows.look(watch, alone=True), one_by_one([AUTH] * 3)) is None
    assert Play(Clock()).run(flows.look(watch, alone=True), one_by_one([GONE])) is None

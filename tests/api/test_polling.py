# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""When something is polled: at first, from poll to poll, and after a poll that failed."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from flow_helpers import api_error, connection_error
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api.polling import WaitOptions, next_poll

if TYPE_CHECKING:
    from airflow_provider_census.exceptions import CensusError

SECONDS = st.floats(0, 1e7)
INTERVALS = st.floats(0.001, 1e6)
POLLS = st.integers(1, 10_000)
RNGS = st.integers().map(random.Random)


@given(SECONDS, POLLS, RNGS)
def test_an_adaptive_interval_is_neither_too_short_nor_too_long(
    waited: float, polls: int, rng: random.Random
) -> None:
    assert 4.2 < WaitOptions().interval(waited, polls, rng) < 23.0


@given(SECONDS, SECONDS, st.integers())
def test_an_adaptive_interval_grows_with_the_time_waited(one: float, other: float, seed: int) -> None:
    shorter, longer = (
        WaitOptions().interval(waited, 1, random.Random(seed)) for waited in sorted((one, other))
    )
    assert shorter <= longer


@given(INTERVALS, SECONDS, POLLS)
def test_an_interval_that_is_given_means_exactly_that(interval: float, waited: float, polls: int) -> None:
    assert WaitOptions(interval).interval(waited, polls, random.Random()) == interval


@given(INTERVALS, SECONDS)
def test_an_interval_counts_from_poll_to_poll_and_leaves_half_of_it_to_a_slow_census(
    interval: float, took: float
) -> None:
    delay = WaitOptions(interval).interval(took, 1, random.Random(), took=took)
    assert interval / 2 <= delay <= 1.5 * interval
    intervals = (took + delay) / interval
    assert intervals == pytest.approx(round(intervals), rel=1e-6, abs=1e-6)


@given(st.floats(0.001, 1e4), st.integers(1, 100_000), st.none() | st.floats(1, 1e4), RNGS)
def test_exponential_backoff_doubles_with_jitter_as_in_airflow(
    interval: float, polls: int, maximum: float | None, rng: random.Random
) -> None:
    options = WaitOptions(interval, exponential_backoff=True, max_wait=maximum)
    least = max(int(interval * 2.0 ** min(polls - 2, 60)), 1)
    most = 2 * least if maximum is None else min(maximum, 2 * least)
    assert min(least, most) <= options.interval(0.0, polls, rng) <= most


@pytest.mark.parametrize(
    ("poll_interval", "spread"), [(None, 1.0), (0.5, 0.5), (5.0, 5.0), (30.0, 5.0), (300.0, 5.0)]
)
def test_first_polls_are_spread_over_a_few_moments(poll_interval: float | None, spread: float) -> None:
    rng, options = random.Random(1), WaitOptions(poll_interval)
    moments = {options.startup_jitter(rng) for _ in range(500)}
    assert sorted(moments) == pytest.approx([fifth / 5 * spread for fifth in range(5)])


@pytest.mark.parametrize(
    ("deadline", "execution_deadline", "first_deadline", "first_timeout"),
    [
        (None, None, None, "timeout"),
        (10.0, None, 10.0, "timeout"),
        (None, 20.0, 20.0, "execution_timeout"),
        (10.0, 20.0, 10.0, "timeout"),
        (20.0, 10.0, 10.0, "execution_timeout"),
        (10.0, 10.0, 10.0, "execution_timeout"),
        (0.0, 10.0, 0.0, "timeout"),
    ],
)
def test_the_first_of_two_deadlines_counts(
    deadline: float | None, execution_deadline: float | None, first_deadline: float | None, first_timeout: str
) -> None:
    options = WaitOptions(deadline=deadline, execution_deadline=execution_deadline)
    assert (options.first_deadline, options.first_timeout) == (first_deadline, first_timeout)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        *[
            ({name: value}, name)
            for name in ("poll_interval", "max_wait")
            for value in (0, -1, True, "5", float("nan"), float("inf"), [5])
        ],
        ({"exponential_backoff": True}, "exponential_backoff"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} "):
        WaitOptions(**options)


def test_options_travel_as_json_and_leave_behind_what_is_unknown() -> None:
    options = WaitOptions(5.0, exponential_backoff=True, max_wait=60.0, silent_fail=True, started=1.0)
    stored = json.loads(json.dumps(options.as_dict()))
    assert WaitOptions.parse(stored) == options
    assert WaitOptions.parse({**stored, "of another release": 1}) == options
    assert WaitOptions.parse({}) == WaitOptions()


OUTAGES: list[CensusError] = [
    api_error(500),
    api_error(503),
    connection_error(sent=False),
    connection_error(sent=True),
]


@given(INTERVALS, st.integers(0, 10_000), RNGS)
def test_the_interval_counts_if_nothing_failed_and_if_the_token_was_rejected(
    interval: float, failures: int, rng: random.Random
) -> None:
    assert next_poll(interval, failures, None, rng) == interval
    assert next_poll(interval, failures, api_error(401), rng) == interval
    assert next_poll(interval, failures, api_error(403, retry_after=1.0), rng) == interval


@pytest.mark.parametrize("poll_interval", [None, 5.0, 30.0, 300.0])
@given(outage=st.sampled_from(OUTAGES), failures=st.integers(11, 10_000), rng=RNGS, waited=SECONDS)
def test_an_outage_is_polled_less_often_than_health_in_the_long_run(
    poll_interval: float | None, outage: CensusError, failures: int, rng: random.Random, waited: float
) -> None:
    interval = WaitOptions(poll_interval).interval(waited, 1, rng)
    delay = next_poll(interval, failures, outage, rng)
    assert max(interval, 15.0) <= delay <= max(2 * interval, 30.0)


@pytest.mark.parametrize("poll_interval", [5.0, 30.0, 300.0])
@given(outage=st.sampled_from(OUTAGES), seed=st.integers())
def test_an_outage_is_polled_no_sooner_than_health_and_less_and_less_soon(
    poll_interval: float, outage: CensusError, seed: int
) -> None:
    delays = [next_poll(poll_interval, number, outage, random.Random(seed)) for number in range(1, 20)]
    assert delays[0] == poll_interval
    assert all(before <= after for before, after in pairwise(delays))


@given(INTERVALS, st.floats(0, 1e6), st.integers(1, 10_000), RNGS)
def test_a_poll_is_no_sooner_than_census_asks_nor_than_the_interval(
    interval: float, asked: float, failures: int, rng: random.Random
) -> None:
    failure = api_error(429, retry_after=asked)
    delay = next_poll(interval, failures, failure, rng)
    assert max(interval, min(asked, 120.0)) <= delay <= max(2 * interval, 30.0, 1.1 * min(asked, 120.0))

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which failures are worth another try, and after how long."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from airflow_provider_census.api import endpoints, retries
from airflow_provider_census.exceptions import CensusApiError, CensusConfigError, CensusConnectionError

GET = endpoints.get_sync_run(94)
CANCEL = endpoints.cancel_sync_run(94)
TRIGGER = endpoints.trigger_sync(52)
CREATE = endpoints.create_sync({})


def answered(status: int, *, retry_after: float | None = None, unusable: bool = False) -> CensusApiError:
    return CensusApiError(
        "", status_code=status, message="", method="", path="", retry_after=retry_after, unusable=unusable
    )


# failure; are reading and cancelling repeated; are starting and creating; may it have been done
FAILURES: list[tuple[BaseException, bool, bool, bool]] = [
    (CensusConnectionError("refused", sent=False), True, True, False),
    (CensusConnectionError("broke off", sent=True), True, False, True),
    (answered(429), True, True, False),
    (answered(429, retry_after=7), True, True, False),
    (answered(503, retry_after=7), True, True, False),
    (answered(503, retry_after=0), True, True, False),
    (answered(503), True, False, True),
    *[(answered(status), True, False, True) for status in (408, 425, 500, 502, 504)],
    (answered(200, unusable=True), True, False, True),
    (answered(501), False, False, True),
    *[(answered(status), False, False, False) for status in (200, 302, 400, 401, 403, 404, 409, 422)],
    (CensusConfigError("no token"), False, False, False),
    (KeyboardInterrupt(), False, False, False),
]


@pytest.mark.parametrize(
    ("failure", "safe", "unsafe", "maybe_done"), FAILURES, ids=lambda value: repr(value)[:40]
)
def test_only_what_does_no_harm_is_sent_again(
    failure: BaseException, safe: bool, unsafe: bool, maybe_done: bool
) -> None:
    assert [retries.worth_repeating(request, failure) for request in (GET, CANCEL)] == [safe, safe]
    assert [retries.worth_repeating(request, failure) for request in (TRIGGER, CREATE)] == [unsafe, unsafe]
    assert not retries.worth_repeating(replace(GET, once=True), failure)
    assert retries.maybe_done(failure) == maybe_done


def test_every_operation_but_starting_and_creating_can_be_repeated() -> None:
    reading = [
        endpoints.list_sources(),
        endpoints.get_source(4),
        endpoints.get_model(4, 18),
        endpoints.get_table(4, 2),
        endpoints.list_destinations(),
        endpoints.get_destination(15),
        endpoints.get_destination_object(15, "user"),
        endpoints.list_sync_runs(52),
        GET,
        CANCEL,
    ]
    assert all(request.repeatable for request in reading)
    assert not TRIGGER.repeatable
    assert not CREATE.repeatable


@pytest.mark.parametrize(
    ("asked", "pause"), [(0.0, 0.0), (7.0, 7.0), (120.0, 120.0), (121.0, 120.0), (1e9, 120.0)]
)
def test_census_is_given_the_time_it_asks_for_within_reason(asked: float, pause: float) -> None:
    assert retries.pause(3, answered(429, retry_after=asked), random.Random()) == pause


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 30.0), (5_000, 30.0)]
)
def test_else_the_pause_is_somewhere_below_a_doubling_bound(attempt: int, most: float) -> None:
    rng = random.Random(1)
    pauses = [retries.pause(attempt, answered(500), rng) for _ in range(500)]
    assert 0 <= min(pauses) < most / 10
    assert most * 0.9 < max(pauses) <= most

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which failures are worth another attempt, and after how long."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from flow_helpers import api_error, connection_error

from airflow_provider_census.api import endpoints, retries
from airflow_provider_census.exceptions import CensusConfigError, CensusTaskKilled

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request

GET = endpoints.get_sync_run(94)
CANCEL = endpoints.cancel_sync_run(94)
TRIGGER = endpoints.trigger_sync(52)
CREATE = endpoints.create_sync({})


# failure; is reading and cancelling retried; is starting and creating; may it have been processed
FAILURES: list[tuple[BaseException, bool, bool, bool]] = [
    (connection_error(sent=False), True, True, False),
    (connection_error(sent=True), True, False, True),
    (api_error(429), True, True, False),
    (api_error(429, retry_after=7), True, True, False),
    (api_error(503, retry_after=7), True, True, False),
    (api_error(503, retry_after=0), True, True, False),
    (api_error(503), True, False, True),
    *[(api_error(status), True, False, True) for status in (408, 425, 500, 502, 504)],
    (api_error(200, unusable=True), True, False, True),
    (api_error(200, unusable=True, well_formed=True), False, False, True),
    (api_error(501), False, False, True),
    *[(api_error(status), False, False, True) for status in (200, 302, 304, 600)],
    *[(api_error(status), False, False, False) for status in (400, 401, 403, 404, 409, 422)],
    (CensusConfigError("no token"), False, False, False),
    (CensusTaskKilled("killed"), False, False, False),
    (KeyboardInterrupt(), False, False, False),
]


@pytest.mark.parametrize(
    ("failure", "idempotent", "other", "outcome_unknown"), FAILURES, ids=lambda value: repr(value)[:40]
)
def test_only_what_does_no_harm_is_sent_again(
    failure: BaseException, idempotent: bool, other: bool, outcome_unknown: bool
) -> None:
    assert [retries.is_retryable(request, failure) for request in (GET, CANCEL)] == [idempotent] * 2
    assert [retries.is_retryable(request, failure) for request in (TRIGGER, CREATE)] == [other] * 2
    assert not retries.is_retryable(replace(GET, retry=False), failure)
    assert retries.not_processed(failure) == other
    assert retries.outcome_unknown(failure) == outcome_unknown


def test_every_operation_but_starting_and_creating_is_idempotent() -> None:
    reading: list[Request[Any]] = [
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
    assert all(request.idempotent for request in reading)
    assert not TRIGGER.idempotent
    assert not CREATE.idempotent


MAX = retries.MAX_BACKOFF


class Highest(random.Random):
    """Always gives the highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(random.Random):
    """Always gives the lowest number."""

    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.mark.parametrize(
    ("attempt", "error", "maximum", "highest", "lowest"),
    [
        # it doubles, up to a maximum; jitter takes off up to half
        (1, None, MAX, 1.0, 0.5),
        (2, None, MAX, 2.0, 1.0),
        (3, None, MAX, 4.0, 2.0),
        (5, None, MAX, 16.0, 8.0),
        (6, None, MAX, 30.0, 15.0),
        (5_000, None, MAX, 30.0, 15.0),
        (6, None, 600.0, 32.0, 16.0),
        (5_000, None, 600.0, 600.0, 300.0),
        (1, None, 0.5, 0.5, 0.25),
        # whatever it failed with
        (3, api_error(500), MAX, 4.0, 2.0),
        (3, api_error(429), MAX, 4.0, 2.0),
        (3, connection_error(sent=True), MAX, 4.0, 2.0),
        (3, OSError("no metadata database"), MAX, 4.0, 2.0),
        # unless Census asks for a time, which is heeded within reason; jitter adds up to a tenth
        *[
            (3, api_error(status, retry_after=asked), maximum, highest, lowest)
            for asked, highest, lowest in (
                (0.0, 0.0, 0.0),
                (7.0, 7.7, 7.0),
                (120.0, 132.0, 120.0),
                (121.0, 132.0, 120.0),
                (1e9, 132.0, 120.0),
            )
            for status in (429, 503)
            for maximum in (MAX, 5.0)
        ],
    ],
)
def test_backoff(
    attempt: int, error: BaseException | None, maximum: float, highest: float, lowest: float
) -> None:
    assert lowest <= retries.backoff(attempt, error, maximum=maximum) <= highest
    assert retries.backoff(attempt, error, rng=Highest(), maximum=maximum) == pytest.approx(highest)
    assert retries.backoff(attempt, error, rng=Lowest(), maximum=maximum) == lowest
    assert lowest <= retries.backoff(attempt, error, rng=random.Random(), maximum=maximum) <= highest
    if maximum == MAX:
        assert retries.backoff(attempt, error) == retries.backoff(attempt, error, maximum=maximum)

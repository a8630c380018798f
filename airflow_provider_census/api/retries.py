# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which failures are worth another try, and after how long."""

from __future__ import annotations

import random
from typing import Any

from airflow_provider_census.api.request import Request
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConnectionError,
    CensusError,
)

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that a later try may not meet again."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
LONGEST_RETRY_AFTER = 120.0
LONGEST_IN_ALL = 300.0
"""Seconds: the pause before the second try, the longest pause of our own, the longest that Census may ask
for, and how long after the first try the last one may begin."""


def worth_repeating(request: Request[Any], error: BaseException) -> bool:
    """Tell whether to send this request again after this failure."""
    if request.once:
        return False
    if surely_not_done(error):
        return True
    if isinstance(error, CensusConnectionError):
        return request.repeatable
    return (
        isinstance(error, CensusApiError)
        and request.repeatable
        and (error.unusable or error.status_code in TEMPORARY)
    )


def surely_not_done(error: BaseException) -> bool:
    """
    Tell whether Census surely did not carry out a request that failed like this, yet may next time.

    That is so if no connection came about, and if Census turned the request away for being busy.
    """
    if isinstance(error, CensusConnectionError):
        return not error.sent
    if not isinstance(error, CensusApiError):
        return False
    return error.status_code == 429 or (error.status_code == 503 and error.retry_after is not None)


def maybe_done(error: BaseException) -> bool:
    """
    Tell whether Census may have carried out a request that failed like this.

    That is so if the connection broke after the request left, if a server or a proxy between gave up, and if
    the answer is unusable. An error of any other kind is Census' refusal.
    """
    if surely_not_done(error):
        return False
    if isinstance(error, CensusConnectionError):
        return True
    return isinstance(error, CensusApiError) and (
        error.unusable or error.status_code in TEMPORARY or error.status_code >= 500
    )


def pause(attempt: int, error: BaseException | None, rng: random.Random) -> float:
    """
    Seconds to wait after a failed try: what Census asked for, else exponential backoff with full jitter.

    :param attempt: the number of the try that failed, from 1.
    """
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return float(min(asked, LONGEST_RETRY_AFTER))
    return rng.uniform(0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 10)))


def next_look(interval: float, missed: int, failure: CensusError | None, rng: random.Random) -> float:
    """
    Seconds from one look at something to the next: as usual, but soon after one that failed.

    :param interval: what is usual.
    :param missed: how many looks in a row have failed.
    :param failure: what the last one failed with, if it did.
    """
    if getattr(failure, "retry_after", None) is not None:
        return max(interval, pause(missed, failure, rng))
    if failure is None or isinstance(failure, CensusAuthError):
        return interval
    return min(interval, pause(missed, failure, rng))

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which failures are worth another attempt, and after how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_census.exceptions import CensusApiError, CensusConnectionError

if TYPE_CHECKING:
    import random

    from airflow_provider_census.api.request import Request

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that a later attempt may not meet again."""

FIRST_BACKOFF = 1.0
"""Seconds before the second attempt, at most; they double with each further one."""

MAX_BACKOFF = 30.0
"""Seconds between two attempts at most, unless a caller names another limit."""

MAX_RETRY_AFTER = 120.0
"""Seconds at most that a ``Retry-After`` of Census' is heeded."""

MAX_RETRY_TIME = 300.0
"""Seconds after the first attempt within which a transport may begin the last one."""


def is_retryable(request: Request[Any], error: BaseException) -> bool:
    """Tell whether a transport may send this request again after this failure."""
    if not request.retry:
        return False
    if not_processed(error):
        return True
    if isinstance(error, CensusConnectionError):
        return request.idempotent
    return (
        isinstance(error, CensusApiError)
        and request.idempotent
        and not error.well_formed
        and (error.unusable or error.status_code in TEMPORARY)
    )


def not_processed(error: BaseException) -> bool:
    """
    Tell whether Census surely did not carry out a request that failed like this, yet may next time.

    That is so if no connection came about, and if Census turned the request away for being busy.
    """
    if isinstance(error, CensusConnectionError):
        return not error.sent
    if not isinstance(error, CensusApiError):
        return False
    return error.status_code == 429 or (error.status_code == 503 and error.retry_after is not None)


def outcome_unknown(error: BaseException) -> bool:
    """
    Tell whether Census may have carried out a request that failed like this.

    Only a final HTTP 4xx is surely Census' refusal. It is unknown if the connection broke after the request
    left, if a server or a proxy between gave up or redirects, and if the response is none to the request.
    """
    if not_processed(error):
        return False
    if isinstance(error, CensusConnectionError):
        return True
    return isinstance(error, CensusApiError) and (
        error.unusable or error.status_code in TEMPORARY or not 400 <= error.status_code < 500
    )


def backoff(
    attempt: int,
    error: BaseException | None = None,
    *,
    rng: random.Random | None = None,
    maximum: float = MAX_BACKOFF,
) -> float:
    """
    Seconds until the next attempt: what Census asked for, else exponential backoff with jitter.

    It is what everything waits by that tries again: a transport, a poll that failed, a connection that
    Airflow does not give, the search for a lost sync run.

    :param attempt: the number of the attempt that failed, from 1.
    :param error: what it failed with; its ``Retry-After`` counts.
    :param rng: source of the jitter; without it there is none. It takes off up to half, and adds up to
        a tenth to what Census asked for, or all whom it turned away would be back at once.
    :param maximum: seconds at most without a ``Retry-After``.
    """
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return float(min(asked, MAX_RETRY_AFTER)) * (1.0 if rng is None else rng.uniform(1.0, 1.1))
    delay = min(maximum, FIRST_BACKOFF * 2.0 ** min(attempt - 1, 20))
    return delay if rng is None else delay * rng.uniform(0.5, 1.0)

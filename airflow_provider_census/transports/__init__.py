# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Sockets: what carries a request on a worker, and what carries it in the triggerer."""

from __future__ import annotations

import functools
import os
import random
import re
from importlib.metadata import version
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay

from airflow_provider_census import __version__
from airflow_provider_census.api import responses, retries
from airflow_provider_census.api.connection import Settings
from airflow_provider_census.api.flows import Log
from airflow_provider_census.api.request import Request
from airflow_provider_census.exceptions import CensusConfigError, CensusConnectionError

LONGEST_ERROR = 64 * 1024
"""Bytes that are read of an error page."""

CHUNK = 64 * 1024
"""Bytes that are read at a time."""


@functools.cache
def user_agent() -> str:
    """Name this provider and Airflow with their versions."""
    return f"airflow-provider-census/{__version__} apache-airflow/{version('apache-airflow')}"


def ca_bundle() -> str:
    """
    Find the certificate authorities to trust, a file or a folder, alike for both transports.

    The usual environment variables name it; else it is the bundle that comes with ``requests``.

    :raises CensusConfigError: if it is not there.
    """
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        bundle = os.environ.get(variable)
        if bundle and not os.path.exists(bundle):
            raise CensusConfigError(f"{variable} names {bundle}, which does not exist")
        if bundle:
            return bundle
    return DEFAULT_CA_BUNDLE_PATH


def retry_policy(request: Request[Any], settings: Settings, log: Log) -> dict[str, Any]:
    """Hand the decisions of :mod:`~airflow_provider_census.api.retries` to tenacity."""
    rng = random.Random()

    def failure(state: RetryCallState) -> BaseException | None:
        return state.outcome.exception() if state.outcome else None

    def tell(state: RetryCallState) -> None:
        log.warning(
            "%s (attempt %d of %d, the next one in %.1f s)",
            failure(state),
            state.attempt_number,
            settings.attempts,
            state.upcoming_sleep,
        )

    return {
        "retry": retry_if_exception(functools.partial(retries.worth_repeating, request)),
        "wait": lambda state: retries.pause(state.attempt_number, failure(state), rng),
        "stop": stop_after_attempt(settings.attempts) | stop_before_delay(retries.LONGEST_IN_ALL),
        "before_sleep": tell,
        "reraise": True,
    }


def lost(
    request: Request[Any], settings: Settings, error: BaseException, *, sent: bool
) -> CensusConnectionError:
    """Tell that no complete answer arrived, from the innermost reason that the HTTP library gives."""
    reason = innermost(error)
    said = str(reason).removeprefix("400, message:")  # aiohttp says so of an answer that broke off
    words = " ".join(responses.hide(settings.token, said).split()).rstrip(".") or type(reason).__name__
    words = re.sub(r"://[^/@\s]*@", "://***@", words)  # the password of a proxy
    if isinstance(reason, TimeoutError) or "timed out" in words or "Timeout" in type(error).__name__:
        words = f"no answer within {settings.timeout:g} s"
    return CensusConnectionError(f"{request} to {settings.base_url} failed: {words}.", sent=sent)


def innermost(error: BaseException) -> BaseException:
    """Unwrap an error down to the one that HTTP libraries wrapped first; its context may be anything."""
    for inner in (getattr(error, "reason", None), error.__cause__, *error.args):
        if isinstance(inner, BaseException):
            return innermost(inner)
    return error

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What both transports share: user agent, certificate authorities, retry policy, lost responses."""

from __future__ import annotations

import functools
import http.client
import os
import random
import re
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from tenacity import RetryCallState, stop_after_attempt, stop_before_delay

from airflow_provider_census import __version__
from airflow_provider_census.api import retries
from airflow_provider_census.api.cleaning import one_line, redact
from airflow_provider_census.api.settings import is_loopback
from airflow_provider_census.exceptions import CensusConfigError, CensusConnectionError

if TYPE_CHECKING:
    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.settings import Settings

E = TypeVar("E", bound=BaseException)

QUOTED = re.compile(r"""\bb(['"]).*(?:\1|$)""", re.DOTALL)
"""Bytes that an HTTP library quotes."""

CONNECT_SHARE = 0.5
"""The share of a request's timeout in which an address of the host has to take a connection, on a worker."""

KEEPING_SETTINGS = "Cannot read the Airflow connection %r again; what was read before stays in use: %r"


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


def proxy(base_url: str) -> str | None:
    """
    Find the proxy of the environment, alike for both transports.

    Neither library asks the environment itself: that would also let a ``.netrc`` replace the token. Plain
    http to this machine never goes through a proxy, which would see the token.

    :raises CensusConfigError: if it is no address.
    """
    url = urlsplit(base_url)
    if url.scheme == "http" and is_loopback(url.hostname or ""):
        return None
    found = select_proxy(base_url, get_environ_proxies(base_url))
    if not found:
        return None
    address = found if "://" in found else f"http://{found}"
    with suppress(ValueError):
        parts = urlsplit(address)
        if parts.hostname and parts.port != 0 and parts.path in {"", "/"}:
            return address
    raise CensusConfigError(f"the proxy that the environment names for {base_url} is no URL")


def strip_traceback(error: E) -> E:
    """Take off an error what led to it: local variables of HTTP libraries hold the token."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def retry_policy(settings: Settings, log: Log) -> dict[str, Any]:
    """
    Hand the decisions of :mod:`~airflow_provider_census.api.retries` to tenacity.

    What tenacity calls takes the request as its first argument.
    """
    rng = random.Random()

    def report(state: RetryCallState) -> None:
        log.warning(
            "%s (attempt %d of %d, the next one in %.1f s)",
            _failure(state),
            state.attempt_number,
            settings.attempts,
            state.upcoming_sleep,
        )

    return {
        "retry": lambda state: (
            state.outcome.failed and retries.is_retryable(state.args[0], state.outcome.exception())
        ),
        "wait": lambda state: retries.backoff(state.attempt_number, _failure(state), rng=rng),
        "stop": stop_after_attempt(settings.attempts) | stop_before_delay(retries.MAX_RETRY_TIME),
        "before_sleep": report,
        "reraise": True,
    }


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def lost_response(
    request: Request[Any], settings: Settings, error: BaseException, *, sent: bool
) -> CensusConnectionError:
    """Say that no complete response arrived, from the innermost reason that the HTTP library gives."""
    reason = innermost(error)
    said = str(reason).removeprefix("400, message:")  # aiohttp says so of a response that broke off
    said = QUOTED.sub("…", said).rstrip("^ \n")  # what was sent, of which a quote may be any part
    if type(reason) in (http.client.BadStatusLine, http.client.UnknownProtocol):
        said = "the response does not begin as HTTP does"
    said = redact(settings.token, said.encode("utf-8", "replace")).decode("utf-8", "replace")
    words = one_line(said).rstrip(".") or type(reason).__name__
    words = re.sub(r"[^/@\s]*@", "***@", words)  # the password of a proxy
    if isinstance(reason, TimeoutError) or "timed out" in words or "Timeout" in type(error).__name__:
        is_connect = type(error).__name__ == "ConnectTimeout"
        words = (
            f"no connection within {settings.timeout * CONNECT_SHARE:g} s"
            if is_connect
            else f"no response within {settings.timeout:g} s"
        )
    words = re.sub(r"^\[Errno -?\d+\] ", "", words)
    lost = CensusConnectionError(f"{words} ({request}).", sent=sent)
    lost.connection = settings.name
    return lost


def innermost(error: BaseException) -> BaseException:
    """Unwrap an error down to the one that HTTP libraries wrapped first; its context may be anything."""
    for inner in (getattr(error, "reason", None), error.__cause__, *error.args):
        if isinstance(inner, BaseException):
            return innermost(inner)
    return error

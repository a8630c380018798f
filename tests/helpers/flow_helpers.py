# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Drives a flow without a socket and without waiting: a script responds, sleeping moves a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_census.api.request import Response
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConnectionError,
    CensusNotFoundError,
    CensusRateLimitError,
)
from airflow_provider_census.transports.driver import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_census.api.flow import Flow

T = TypeVar("T")

ERRORS = {401: CensusAuthError, 403: CensusAuthError, 404: CensusNotFoundError, 429: CensusRateLimitError}


def api_error(
    status: int, *, retry_after: float | None = None, unusable: bool = False, well_formed: bool = False
) -> CensusApiError:
    """An error response, as ``responses.parse`` raises it."""
    return ERRORS.get(status, CensusApiError)(
        f"Census responded with {status}.",
        status_code=status,
        message="no",
        method="POST",
        path="/somewhere",
        retry_after=retry_after,
        unusable=unusable,
        well_formed=well_formed,
    )


def connection_error(*, sent: bool) -> CensusConnectionError:
    """A request without a response."""
    return CensusConnectionError("The connection broke.", sent=sent)


def sync_run(status: str = "working", **fields: Any) -> dict[str, Any]:
    """A run as Census gives it."""
    return {"id": 94, "sync_id": 52, "status": status, "canceled": False, **fields}


@dataclass
class Clock:
    """A clock that only moves when it is set."""

    time: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Log:
    """Records the lines that are logged, and when the warnings among them were."""

    clock: Clock = field(default_factory=Clock)
    lines: list[tuple[str, str]] = field(default_factory=list)
    warned_at: list[float] = field(default_factory=list)

    def info(self, message: str, /, *values: Any) -> None:
        self.lines.append(("info", message % values))

    def warning(self, message: str, /, *values: Any) -> None:
        self.lines.append(("warning", message % values))
        self.warned_at.append(self.clock())

    def count(self, words: str) -> int:
        """How many lines hold these words."""
        return sum(words in line for _, line in self.lines)


@dataclass
class FlowRunner:
    """
    Drives flows over a script.

    :ivar requested_at: when requests were sent.
    :ivar delays: what the flows slept.
    """

    clock: Clock = field(default_factory=Clock)
    requested_at: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def run(self, flow: Flow[T], respond: Callable[[Any], Any]) -> T:
        """
        Drive a flow to its end.

        :param respond: gives the value or the response for a request, or the error to raise instead.
        """

        def send(request: Any) -> Response[Any]:
            self.requested_at.append(self.clock())
            response = respond(request)
            if isinstance(response, BaseException):
                raise response
            return response if isinstance(response, Response) else Response(response, None)

        def sleep(seconds: float) -> None:
            assert seconds >= 0
            self.delays.append(seconds)
            self.clock.time += seconds

        return drive(flow, send, sleep)


def in_order(responses: Iterable[Any]) -> Callable[[Any], Any]:
    """Respond with these, in their order, whatever is requested."""
    left = iter(responses)
    return lambda _request: next(left)

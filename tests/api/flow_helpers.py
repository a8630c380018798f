# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Plays a flow without a socket and without waiting: answers come from a script, pauses move a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_census.api.flows import Answer, Pause
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConnectionError,
    CensusError,
    CensusNotFoundError,
    CensusRateLimitError,
)

KINDS = {401: CensusAuthError, 403: CensusAuthError, 404: CensusNotFoundError, 429: CensusRateLimitError}


def refusal(status: int, *, retry_after: float | None = None, unusable: bool = False) -> CensusApiError:
    """An answer that is none, as the reader of answers tells of it."""
    return KINDS.get(status, CensusApiError)(
        f"Census answered with {status}.",
        status_code=status,
        message="no",
        method="POST",
        path="/somewhere",
        retry_after=retry_after,
        unusable=unusable,
    )


def lost(*, sent: bool) -> CensusConnectionError:
    """A request that came to no answer."""
    return CensusConnectionError("The connection broke.", sent=sent)


def sync_run(status: str = "working", **fields: Any) -> dict[str, Any]:
    """A run as Census gives it."""
    return {"id": 94, "sync_id": 52, "status": status, "canceled": False, **fields}


@dataclass
class Clock:
    """A clock that only moves when told."""

    time: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Log:
    """Remembers what was said, and when."""

    clock: Clock = field(default_factory=Clock)
    lines: list[tuple[str, str]] = field(default_factory=list)
    warned_at: list[float] = field(default_factory=list)

    def info(self, message: str, /, *values: Any) -> None:
        self.lines.append(("info", message % values))

    def warning(self, message: str, /, *values: Any) -> None:
        self.lines.append(("warning", message % values))
        self.warned_at.append(self.clock())

    exception = warning

    def said(self, words: str) -> int:
        """How many lines hold these words."""
        return sum(words in line for _, line in self.lines)


@dataclass
class Play:
    """What a flow did: when it looked, how long it paused."""

    clock: Clock
    looked_at: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def run(self, flow: Any, answer: Callable[[Any], Any]) -> Any:
        """Drive a flow as the hook does; ``answer`` gives the value for a request, or an error."""
        result: Any = None
        error: CensusError | None = None
        while True:
            try:
                step = flow.send(result) if error is None else flow.throw(error)
            except StopIteration as stop:
                return stop.value
            result = error = None
            if isinstance(step, Pause):
                assert step.seconds >= 0
                self.pauses.append(step.seconds)
                self.clock.time += step.seconds
                continue
            self.looked_at.append(self.clock())
            came = answer(step)
            if isinstance(came, CensusError):
                error = came
            else:
                result = came if isinstance(came, Answer) else Answer(came, None)


def one_by_one(answers: Iterable[Any]) -> Callable[[Any], Any]:
    """Give these answers in their order, whatever is asked."""
    left = iter(answers)
    return lambda _request: next(left)

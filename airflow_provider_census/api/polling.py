# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""When to poll something that is running in Census, and until when."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_census.api import retries
from airflow_provider_census.api.validation import to_seconds
from airflow_provider_census.exceptions import CensusAuthError, CensusError

if TYPE_CHECKING:
    import random

MIN_POLL_INTERVAL = 4.75
"""Seconds between two polls at least, where no interval is given."""

MAX_POLL_INTERVAL = 23.0
"""
Seconds between two polls at most, where no interval is given.

If it were longer, the end would be noticed later, on average, than by a poll every fifteen seconds; if it
were shorter, that would take more polls. See scripts/bench_simulation.py.
"""

POLL_FRACTION = 0.095
"""
The share of the time waited so far after which the next poll follows, between these two.

So, if a response takes up to 0.15 seconds, the end is noticed within a tenth of the time that it took, or
within five seconds if that is more.
"""

JITTER = (0.9, 0.98)
"""Chance takes an adaptive interval times something between these, so that waits which poll together part."""

STARTUP_SPREAD = 5.0
"""Seconds at most over which waits that begin together spread their first polls."""

ADAPTIVE_STARTUP_SPREAD = 1.0
"""The same where the interval is jittered, which by itself parts those that poll together."""

MAX_POLL_RATE = 100.0
"""Adaptive polls per second of all waits on one connection in one process at most, on average."""

MAX_RETURN_SPREAD = 25.0
"""Seconds at most over which the waits on one connection come back after a ``Retry-After``."""

RESCHEDULE_INTERVAL = 60.0
"""Seconds at least between two polls that each take a process of their own."""

EVENT_POLL_INTERVAL = 30.0
"""Seconds between two polls of a watched sync, unless the user says otherwise."""

MAX_FLAPPING_DELAY = 60.0
"""Seconds at most for which a run is left alone that was over for one who asked, and not for the next one."""

TimeoutKind = Literal["timeout", "execution_timeout"]


@dataclass(frozen=True)
class WaitOptions:
    """
    How to wait for something in Census, and until when.

    Operator, sensors, triggers and hook take these; a trigger carries them from the worker to the triggerer.

    :ivar poll_interval: seconds between two polls; ``None`` lets them grow with the time waited, from 4 to 23
        seconds, and with the number of waits on the same connection.
    :ivar exponential_backoff: double the delay at every poll, from ``poll_interval`` on, as Airflow's sensors
        do.
    :ivar max_wait: seconds between two polls at most with ``exponential_backoff``.
    :ivar silent_fail: keep waiting when the token is rejected or there is no such run.
    :ivar started: when the wait began, in seconds since the epoch; ``None`` for now.
    :ivar deadline: when the task's ``timeout`` is reached, in seconds since the epoch; ``None`` for never.
    :ivar execution_deadline: the same for the task's ``execution_timeout``.
    :ivar resume_after: before which a trigger does not report how its wait ended, in seconds since the epoch;
        ``None`` for at once.
    :raises ValueError: if one of them cannot be used.
    """

    poll_interval: float | None = None
    exponential_backoff: bool = False
    max_wait: float | None = None
    silent_fail: bool = False
    started: float | None = None
    deadline: float | None = None
    execution_deadline: float | None = None
    resume_after: float | None = None

    def __post_init__(self) -> None:
        if self.poll_interval is None and self.exponential_backoff:
            raise ValueError("exponential_backoff needs a poll_interval to begin with, not None")
        for name in ("poll_interval", "max_wait"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, to_seconds(name, getattr(self, name)))

    @classmethod
    def parse(cls, values: dict[str, Any]) -> WaitOptions:
        """Take what another process stored; it may be of another release, which has further options."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    def as_dict(self) -> dict[str, Any]:
        """Give the options as JSON."""
        return asdict(self)

    @property
    def first_deadline(self) -> float | None:
        """When the wait is over, in seconds since the epoch; ``None`` for never."""
        return min((end for end in (self.deadline, self.execution_deadline) if end is not None), default=None)

    @property
    def first_timeout(self) -> TimeoutKind:
        """Which of the two timeouts ends the wait."""
        return (
            "execution_timeout"
            if self.execution_deadline is not None and self.execution_deadline == self.first_deadline
            else "timeout"
        )

    def flapping(self, now: float) -> WaitOptions:
        """
        Continue a wait for a run that was over for the triggerer, and is not for the worker.

        It is left alone for a tenth of the time waited, within limits. So a run that goes back and forth all
        day makes a deferral a minute, and a response that was out of date makes a task hardly later.
        """
        delay = min(MAX_FLAPPING_DELAY, max(0.0, now - (self.started or now)) / 10)
        return replace(self, resume_after=min(now + delay, self.first_deadline or math.inf))

    def startup_jitter(self, rng: random.Random, at_least: float = 0.0) -> float:
        """
        Seconds before the first poll, so that not all waits poll at once when a triggerer starts.

        :param at_least: what :func:`min_interval` gives.
        """
        spread = (
            max(ADAPTIVE_STARTUP_SPREAD, at_least)
            if self.poll_interval is None
            else min(self.poll_interval, STARTUP_SPREAD)
        )
        # A few moments for all: to wake up for each of a thousand waits costs more than their polls do.
        moments = max(5, round(spread))
        return rng.randrange(moments) / moments * spread

    def interval(
        self, waited: float, polls: int, rng: random.Random, *, took: float = 0.0, at_least: float = 0.0
    ) -> float:
        """
        Seconds from one poll that succeeded to the next.

        :param waited: seconds since the wait began.
        :param polls: how many polls there were, from 1.
        :param took: seconds since the last of them began. An interval counts from there, in whole intervals
            if a response is slow: waits that all had to wait for Census do not poll together from then on.
        :param at_least: what :func:`min_interval` gives, for an adaptive interval.
        """
        if self.poll_interval is None:
            adaptive = min(MAX_POLL_INTERVAL, max(MIN_POLL_INTERVAL, POLL_FRACTION * waited))
            return max(at_least, adaptive) * rng.uniform(*JITTER)
        if not self.exponential_backoff:
            delay = self.poll_interval - (took % self.poll_interval)
            return delay if delay >= self.poll_interval / 2 else delay + self.poll_interval
        step = max(int(self.poll_interval * 2.0 ** min(polls - 2, 60)), 1)
        delay = step + rng.uniform(0, step)
        return delay if self.max_wait is None else min(self.max_wait, delay)


def min_interval(waits: int, max_requests_per_minute: int | None = None) -> float:
    """
    Seconds between two adaptive polls at least, so that many waits share what Census may be asked.

    :param waits: how many there are on one connection in this process.
    :param max_requests_per_minute: what the connection allows, if that is less than :data:`MAX_POLL_RATE`.
    """
    rate = MAX_POLL_RATE
    if max_requests_per_minute is not None:
        rate = min(rate, max_requests_per_minute / 60.0)
    return waits / rate / JITTER[0]


def return_spread(waits: int, asked: float) -> float:
    """
    Seconds over which the waits on one connection come back when Census asked all to hold back.

    :param waits: how many there are.
    :param asked: for how many seconds.
    """
    return min(MAX_RETURN_SPREAD, max(waits / MAX_POLL_RATE, asked / 10))


def next_poll(interval: float, failures: int, failure: CensusError | None, rng: random.Random) -> float:
    """
    Seconds until the next poll: the interval, and after polls that failed, less and less soon.

    Never sooner than in health, or a thousand waits would burden a Census that is down.

    :param interval: seconds after a poll that succeeded.
    :param failures: how many polls in a row have failed.
    :param failure: what the last one failed with, if it did.
    """
    if failure is None or isinstance(failure, CensusAuthError):
        return interval
    delay = retries.backoff(failures, failure, rng=rng, maximum=max(retries.MAX_BACKOFF, 2 * interval))
    return max(interval, delay)

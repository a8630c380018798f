# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""When to look again at something that goes on in Census."""

from __future__ import annotations

import random
from dataclasses import dataclass

SHORTEST = 4.75
LONGEST = 23.0
SHARE = 0.095
"""Without an interval of the user's: seconds at least and at most between two looks, and between these the
share of the time waited so far. So, if an answer takes up to 0.15 seconds, the end is noticed within a tenth
of the time that it took, or within five seconds if that is more.

If the longest pause were longer, the end would be noticed later, on average, than by a look every fifteen
seconds; if it were shorter, that would take more looks. See scripts/bench_simulation.py.
"""

JITTER = (0.9, 0.98)
"""Chance takes a pause times something between these, so that waits which look together part."""

LULL = 0.05
"""Seconds without a beginning after which a wait counts as alone."""

SPREAD = 5.0
"""Seconds at most that a wait which is not alone leaves to the others before its first look."""

JITTERED_SPREAD = 1.0
"""The same where the pauses are jittered, and so part by themselves those that look together."""

GROUPS = 5
"""Moments at which waits that begin together look, a group of them at each. A process that rested is slow at
first: waking up for every single one of a thousand would cost more than their looks do."""

PARTS = 2
BURST = 0.02
"""A group begins in so many parts, within this share of the time until the next one: a big group would hold
the event loop if it began as a whole."""

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it fill the space from 0 to 1 evenly, modulo 1, however many they are."""

RESCHEDULED = 60.0
"""Seconds at least between two looks that each take a process of their own."""


@dataclass(frozen=True)
class Polling:
    """
    How often to look.

    :ivar interval: seconds between two looks; ``None`` lets them grow with the time waited.
    :ivar shortest: seconds at least between two looks, where ``interval`` is ``None``.
    :ivar exponential_backoff: double the pause at every look, from ``interval`` on, as Airflow's sensors do.
    :ivar max_wait: seconds at most between two looks with ``exponential_backoff``.
    """

    interval: float | None = None
    shortest: float = 0.0
    exponential_backoff: bool = False
    max_wait: float | None = None

    @property
    def spread(self) -> float:
        """Seconds over which waits that begin together spread their first looks."""
        return JITTERED_SPREAD if self.interval is None else min(self.interval, SPREAD)

    def pause(self, waited: float, looks: int, rng: random.Random, *, took: float = 0.0) -> float:
        """
        Seconds until the next look.

        :param waited: seconds since the wait began.
        :param looks: how many looks there were, from 1.
        :param took: seconds since the last of them began. An interval counts from there, in whole intervals
            if an answer is slow: waits that all had to wait for Census do not look together from then on.
        """
        if self.interval is None:
            grown = min(LONGEST, max(SHORTEST, SHARE * waited))
            return max(self.shortest, grown * rng.uniform(*JITTER))
        if not self.exponential_backoff:
            pause = self.interval - (took % self.interval if self.interval else 0.0)
            return pause if pause >= self.interval / 2 else pause + self.interval
        step = max(int(self.interval * 2.0 ** min(looks - 2, 60)), 1)
        pause = step + rng.uniform(0, step)
        return pause if self.max_wait is None else min(self.max_wait, pause)


@dataclass
class Rush:
    """
    Waits that begin together, so that they look one after the other.

    :ivar first: when the first of them began, in seconds of some clock.
    :ivar last: when the last one did.
    :ivar waits: how many they are.
    """

    first: float = 0.0
    last: float = float("-inf")
    waits: int = 0

    def join(self, now: float, spread: float) -> float:
        """
        Tell how many seconds a wait that begins now leaves to the others before its first look.

        :param spread: seconds over which they spread.
        """
        if now > self.last + LULL:
            self.first, self.waits = now, 0
        group, place = divmod(self.waits * GOLDEN % 1 * GROUPS, 1)
        turn = (group + int(place * PARTS) / PARTS * BURST) / GROUPS
        self.last, self.waits = now, self.waits + 1
        return max(0.0, self.first + turn * spread - now)

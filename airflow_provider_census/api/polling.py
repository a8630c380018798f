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

    def pause(self, waited: float, looks: int, rng: random.Random) -> float:
        """
        Seconds until the next look.

        :param waited: seconds since the wait began.
        :param looks: how many looks there were, from 1.
        """
        if self.interval is None:
            grown = min(LONGEST, max(SHORTEST, SHARE * waited))
            return max(self.shortest, grown * rng.uniform(*JITTER))
        if not self.exponential_backoff:
            return self.interval
        step = max(int(self.interval * 2.0 ** min(looks - 2, 60)), 1)
        pause = step + rng.uniform(0, step)
        return pause if self.max_wait is None else min(self.max_wait, pause)

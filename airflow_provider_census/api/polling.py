# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""When to look again at something that goes on in Census."""

from __future__ import annotations

import random
from dataclasses import dataclass

SHORTEST = 5.0
LONGEST = 60.0
SHARE = 0.1
"""Without an interval of the user's: seconds at least and at most between two looks, and between these the
share of the time waited so far. So the end is noticed within a tenth of what it took, or five seconds."""


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
    shortest: float = SHORTEST
    exponential_backoff: bool = False
    max_wait: float | None = None

    def pause(self, waited: float, looks: int, rng: random.Random) -> float:
        """
        Seconds until the next look.

        :param waited: seconds since the wait began.
        :param looks: how many looks there were, from 1.
        """
        if self.interval is None:
            longest = max(LONGEST, self.shortest)
            return min(longest, max(self.shortest, SHARE * waited)) * rng.uniform(0.8, 1.0)
        if not self.exponential_backoff:
            return self.interval
        step = max(int(self.interval * 2.0 ** min(looks - 2, 60)), 1)
        pause = step + rng.uniform(0, step)
        return pause if self.max_wait is None else min(self.max_wait, pause)

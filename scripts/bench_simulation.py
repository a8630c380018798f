# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Simulate waits for runs of all lengths: with our own intervals, and with a poll every fifteen seconds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_provider_census.api import polling
from airflow_provider_census.api.polling import WaitOptions

SYNCS = 100
RUNS = 40
"""Syncs in a mix, and runs of each."""

SHORT, LONG = 5.0, 7200.0
"""Seconds that runs take."""

Interval = Callable[[float, int, random.Random], float]
"""Gives the seconds until the next poll, as ``WaitOptions.interval`` does."""

Sync = Callable[[float, random.Random], Iterator[float]]
"""Gives the lengths of a sync's runs, by its rank from 0 to 1 among the syncs of a mix."""


def about(seconds: float, chance: random.Random) -> float:
    """Take a time that is the same, give or take a twentieth."""
    return seconds * chance.uniform(0.95, 1.05)


def between(low: float, high: float, rank: float) -> float:
    """Take a time from a span in which every order of magnitude is as frequent, log-uniform."""
    return low * math.exp(rank * math.log(high / low))


def any_length(_: float, chance: random.Random) -> Iterator[float]:
    """Runs are log-uniform from 5 s to 2 h, whatever their sync."""
    while True:
        yield between(SHORT, LONG, chance.random())


def stable(rank: float, chance: random.Random) -> Iterator[float]:
    """Each sync has its length, log-uniform from 5 s to 2 h, and its runs keep to it ± 5 %."""
    while True:
        yield about(between(SHORT, LONG, rank), chance)


def bimodal(_: float, chance: random.Random) -> Iterator[float]:
    """One run in two has little to do and takes 30 s, the others take 30 min, ± 5 %."""
    while True:
        yield about(chance.choice([30.0, 1800.0]), chance)


def growing(rank: float, chance: random.Random) -> Iterator[float]:
    """Each sync begins with its length, log-uniform from 5 s to 1 h, and comes to twice that, ± 5 %."""
    for run in range(RUNS):
        yield about(between(SHORT, LONG / 2, rank) * 2.0 ** (run / (RUNS - 1)), chance)


def failing(rank: float, chance: random.Random) -> Iterator[float]:
    """As stable, but one run in twenty fails on its way."""
    for length in stable(rank, chance):
        yield length * chance.random() if chance.random() < 0.05 else length


def always(seconds: float) -> Sync:
    """One sync whose runs always take the same, ± 5 %."""

    def sync(_: float, chance: random.Random) -> Iterator[float]:
        while True:
            yield about(seconds, chance)

    return sync


MIXES: dict[str, Sync] = {
    "any length": any_length,
    "stable": stable,
    "bimodal": bimodal,
    "growing": growing,
}

ALWAYS: dict[str, Sync] = {
    "always 1 min": always(60.0),
    "always 5 min": always(300.0),
    "always 20 min": always(1200.0),
    "always 1 h": always(3600.0),
}


def fixed(waited: float, polls: int, chance: random.Random) -> float:
    """Poll every fifteen seconds."""
    return 15.0


def foreseen(before: list[float]) -> Interval:
    """Sleep through nine tenths of the shortest of the runs before; then poll as we do."""

    def interval(waited: float, polls: int, chance: random.Random) -> float:
        soonest = 0.9 * min(before, default=0.0)
        return soonest - waited if waited < soonest else WaitOptions().interval(waited, polls, chance)

    return interval


@dataclass
class Waits:
    """
    What the waits of a mix came to.

    :ivar polls: polls of a run, on average.
    :ivar delay: seconds from the end of a run to the poll that found it, on average.
    :ivar share: that delay as a share of the run's length, on average.
    :ivar late: seconds that one run in twenty was noticed later than.
    :ivar worst: seconds at worst.
    """

    polls: float
    delay: float
    share: float
    late: float
    worst: float


def wait(length: float, interval: Interval, chance: random.Random) -> tuple[int, float]:
    """Wait for a run; how many polls it took, and how many seconds after its end the last one was."""
    waited, polls = 0.0, 1
    while waited < length:
        waited += interval(waited, polls, chance)
        polls += 1
    return polls, waited - length


def simulate(sync: Sync, interval: Callable[[list[float]], Interval]) -> Waits:
    """
    Wait for all runs of a mix.

    :param interval: given the lengths of the last ten runs of the same sync, the intervals between two polls.
    """
    chance = random.Random(1)
    polls, delays, shares = [], [], []  # type: ignore[var-annotated]
    for number in range(SYNCS):
        runs = sync((number + 0.5) / SYNCS, chance)
        before: list[float] = []
        for _ in range(RUNS):
            length = next(runs)
            polled, delay = wait(length, interval(before[-10:]), random.Random(len(polls)))
            polls.append(polled)
            delays.append(delay)
            shares.append(delay / length)
            before.append(length)
    delays.sort()
    count = len(polls)
    return Waits(
        sum(polls) / count, sum(delays) / count, sum(shares) / count, delays[count * 19 // 20], delays[-1]
    )


def compare(mixes: dict[str, Sync]) -> dict[str, tuple[Waits, Waits]]:
    """Our own intervals, and a poll every fifteen seconds, on each mix."""
    return {
        name: (simulate(sync, lambda _: WaitOptions().interval), simulate(sync, lambda _: fixed))
        for name, sync in mixes.items()
    }


def table(mixes: dict[str, Sync]) -> str:
    """Write the comparison down as a Markdown table."""
    rows = [
        "| Runs | Polls a run | Noticed after, mean | as a share of the run | 95 of 100 within |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (ours, theirs) in compare(mixes).items():
        rows.append(
            f"| {name} | {ours.polls:.1f} (every 15 s: {theirs.polls:.1f}) "
            f"| {ours.delay:.1f} s ({theirs.delay:.1f} s) "
            f"| {100 * ours.share:.1f} % ({100 * theirs.share:.1f} %) "
            f"| {ours.late:.1f} s ({theirs.late:.1f} s) |"
        )
    return "\n".join(rows)


def table_of_many() -> str:
    """Write down how the intervals of many waits on one connection stretch, and what that costs."""
    rows = [
        "| Waits | Interval at first | after 4 minutes | Requests a second at first | after 4 minutes "
        "| End noticed later by, at worst |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    jitter = sum(polling.JITTER) / 2
    for waits in (100, 400, 1000, 2000, 5000, 10_000):
        least = polling.min_interval(waits)
        young, old = (max(least, each) for each in (polling.MIN_POLL_INTERVAL, polling.MAX_POLL_INTERVAL))
        later = young - polling.MIN_POLL_INTERVAL
        rows.append(
            f"| {waits:,} | {young * jitter:.0f} s | {old * jitter:.0f} s "
            f"| {waits / young / jitter:.0f} (alone: {waits / polling.MIN_POLL_INTERVAL / jitter:.0f}) "
            f"| {waits / old / jitter:.0f} (alone: {waits / polling.MAX_POLL_INTERVAL / jitter:.0f}) "
            f"| {later:.0f} s; after 4 minutes {old - polling.MAX_POLL_INTERVAL:.0f} s |"
        )
    return "\n".join(rows)


def table_of_foresight() -> str:
    """Write down what it would bring to know how long the last ten runs took."""
    rows = [
        "| Runs | Polls a run | Noticed after, mean | at worst |",
        "| --- | --- | --- | --- |",
    ]
    for name, sync in {**MIXES, "stable, 1 in 20 fails": failing}.items():
        ours, foresight = simulate(sync, lambda _: WaitOptions().interval), simulate(sync, foreseen)
        rows.append(
            f"| {name} | {foresight.polls:.1f} (without: {ours.polls:.1f}) "
            f"| {foresight.delay:.1f} s ({ours.delay:.1f} s) | {foresight.worst:.0f} s ({ours.worst:.0f} s) |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(MIXES), table(ALWAYS), table_of_foresight(), table_of_many(), sep="\n\n")

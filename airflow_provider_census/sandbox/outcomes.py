# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What runs do: the outcomes that a test gives to its syncs.

All of these functions return an :class:`Outcome`. Times are in seconds at pace 1; a run takes 5 of them, one
in the queue, unless it is said otherwise. Numbers that cannot be raise :class:`ValueError`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_provider_census.sandbox import data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUEUED_FOR = 1.0  # seconds at pace 1


@dataclass(frozen=True)
class Outcome:
    """What a run does, made by :func:`completes` and its like; times are seconds at pace 1."""

    summary: str
    ends: str = "completed"
    queued_for: float = QUEUED_FOR
    working_for: float = 4.0
    canceled_after: float = math.inf
    source_records: int = 1000
    records_failed: int = 0
    records_invalid: int = 0
    reasons: tuple[str, ...] = data.REASONS
    error: Mapping[str, str | None] = field(default_factory=lambda: data.NO_ERROR)

    def __post_init__(self) -> None:
        for name in ("source_records", "records_failed", "records_invalid"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"a number of records must be a whole number from 0 on, not {value!r}")
        if self.records_failed + self.records_invalid > self.source_records:
            raise ValueError(f"no more than all {self.source_records} records can be rejected or invalid")


def completes(records: int = 1000) -> Outcome:
    """Complete.

    :param records: how many the source has; all of them are synced.
    """
    with_records = "" if records == 1000 else f" with {records} records"
    return Outcome(f"completes after 5 seconds{with_records}", source_records=records)


def rejects(rejected: int = 1, *reasons: str, invalid: int = 0, records: int = 1000) -> Outcome:
    """Complete, but not all records are synced.

    :param rejected: how many records the destination rejects.
    :param reasons: why, in turn: the ``status_message`` of the rejected rows; some e-mail address is not
        valid, unless given.
    :param invalid: how many records are invalid in the source.
    :param records: how many the source has, those above among them.
    """
    summary = f"completes after 5 seconds, with {rejected} records rejected by the destination"
    return Outcome(
        summary + (f" and {invalid} invalid" if invalid else ""),
        source_records=records,
        records_failed=rejected,
        records_invalid=invalid,
        reasons=reasons or data.REASONS,
    )


def fails(
    code: str = "JSON_ARRAY_ERROR", message: str | None = None, *, detail: str | None = None
) -> Outcome:
    """Fail.

    :param code: the run's ``error_code``.
    :param message: the run's ``error_message``.
    :param detail: the run's ``error_detail``.
    """
    error: Mapping[str, str | None] = data.JSON_ARRAY_ERROR
    if (code, message, detail) != ("JSON_ARRAY_ERROR", None, None):
        message = message or f"The sandbox was told to fail with {code}"
        error = {"error_code": code, "error_message": message, "error_detail": detail}
    return Outcome(f"fails after 5 seconds with {code}", ends="failed", error=error)


def skipped() -> Outcome:
    """Be skipped, as if an earlier run of the sync were running."""
    return Outcome("is always skipped, as if an earlier run were running", ends="skipped", working_for=0)


def cancelled() -> Outcome:
    """Be cancelled by somebody halfway."""
    return Outcome("is canceled by somebody halfway", canceled_after=3.0)


def runs_for(seconds: float, then: Outcome | None = None) -> Outcome:
    """Take so long.

    :param seconds: from the start to the end; 0 for a run that has ended when it is first read.
    :param then: how the run ends; :func:`completes` unless given.
    """
    if not seconds >= 0:
        raise ValueError(f"a run takes 0 seconds or more, not {seconds!r}")
    then = then or completes()
    queued_for = min(QUEUED_FOR, seconds)
    took = then.queued_for + then.working_for
    return replace(
        then,
        summary=then.summary.replace("after 5 seconds", f"after {seconds:g} seconds"),
        queued_for=queued_for,
        working_for=seconds - queued_for,
        # Halfway stays halfway.
        canceled_after=then.canceled_after * seconds / took
        if math.isfinite(then.canceled_after)
        else math.inf,
    )


def never_ends() -> Outcome:
    """Run until it is cancelled, or ended by ``Sandbox.finish_run``."""
    return replace(runs_for(math.inf), summary="runs until it is canceled")


def ending(status: str, records: int, rejected: int, invalid: int) -> Outcome:
    """The outcome of a run that ends with this status now; :class:`ValueError` when none can."""
    endings = {
        "completed": rejects(rejected, invalid=invalid, records=records),
        "failed": fails(),
        "skipped": skipped(),
        "cancelled": cancelled(),
    }
    if status not in endings:
        raise ValueError(f"status must be one of {', '.join(endings)}, not {status!r}")
    return endings[status]


OUTCOMES: dict[int, Outcome] = {
    52: completes(),
    53: fails(),
    54: skipped(),
    55: rejects(3, invalid=2),
    56: cancelled(),
    57: replace(runs_for(1801), summary="works for half an hour, or until it is canceled"),
    58: replace(runs_for(0), summary="has completed when it is first read"),
}
"""What the runs of the syncs do that the sandbox has unless it is given others."""

# What each takes behind a colon on the command line, if anything; the last one takes all that follows.
WRITTEN: dict[str, tuple[Callable[..., Outcome], tuple[Callable[[str], object], ...]]] = {
    "completes": (completes, (int,)),
    "fails": (fails, (str, str)),
    "rejects": (rejects, (int, str)),
    "skipped": (skipped, ()),
    "cancelled": (cancelled, ()),
    "runs_for": (runs_for, (float,)),
    "never_ends": (never_ends, ()),
}


def parse(text: str) -> Outcome:
    """
    Read an outcome as it is written on the command line, such as ``fails:CODE:message`` or ``rejects:3``.

    :raises ValueError: when there is none that is written so.
    """
    name, *words = text.split(":", 2)
    if name not in WRITTEN:
        raise ValueError(f"an outcome is one of {', '.join(WRITTEN)}; {name!r} is none")
    make, types = WRITTEN[name]
    if len(words) > len(types):
        raise ValueError(f"{name} takes nothing behind {':'.join([name, *words[: len(types)]])!r}")
    try:
        read = [type_(word) for type_, word in zip(types, words, strict=False)]
    except ValueError:
        raise ValueError(f"{name} takes a number behind the colon, not {words[0]!r}") from None
    return make(*read)


def check_key(key: object) -> None:
    """:class:`ValueError` when a sync cannot be known by this id or label."""
    if not (isinstance(key, str) and key) and not (type(key) is int and 0 < key < 2**63):
        raise ValueError(f"a sync is known by a whole number above 0 or a label, not {key!r}")

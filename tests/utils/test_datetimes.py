# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What counts as a moment, whatever a DAG file, a template, a Param or a warehouse hands over."""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from airflow_provider_census.sensors.census import CensusSyncSensor
from airflow_provider_census.utils.datetimes import parse_datetime

MIDNIGHT = datetime(2026, 1, 31, tzinfo=timezone.utc)
SIX = MIDNIGHT.replace(hour=6)


class Moment(str, enum.Enum):
    SIX = "2026-01-31T06:00:00+00:00"


class Mere(enum.Enum):
    SIX = "2026-01-31T06:00:00+00:00"


class Stamp(datetime):
    """As pandas' ``Timestamp``."""


class NotATime(datetime):
    """As pandas' ``NaT``, which is a ``datetime`` and no moment."""

    def utcoffset(self) -> Any:
        raise ValueError("NaT has no offset")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (SIX, SIX),
        (SIX.replace(tzinfo=None), SIX),
        (SIX.astimezone(timezone(timedelta(hours=-8))), SIX),
        (Stamp(2026, 1, 31, 6, tzinfo=timezone.utc), SIX),
        (pendulum.datetime(2026, 1, 31, 6), SIX),
        (pendulum.datetime(2026, 1, 31, 7, tz="Europe/Berlin"), SIX),
        (pendulum.naive(2026, 1, 31, 6), SIX),
        (date(2026, 1, 31), MIDNIGHT),
        (pendulum.date(2026, 1, 31), MIDNIGHT),
        ("2026-01-31", MIDNIGHT),
        ("20260131", MIDNIGHT),
        ("2026-01-31T06:00:00Z", SIX),
        ("2026-01-31 06:00:00", SIX),
        ("2026-01-31T07:00:00+01:00", SIX),
        (Moment.SIX, SIX),
    ],
    ids=ascii,
)
def test_what_is_plainly_a_moment_counts(value: Any, moment: datetime) -> None:
    parsed = parse_datetime("since", value)
    assert (parsed, type(parsed), parsed.tzinfo) == (moment, datetime, timezone.utc)
    assert CensusSyncSensor(task_id="task", sync_id=52, since=value).since is value


@pytest.mark.parametrize(
    "value",
    [
        20260131,
        1769839200.0,
        Decimal(1769839200),
        True,
        "",
        "yesterday",
        "2026-02-30",
        "P1D",
        "1769839200",
        b"2026-01-31",
        Mere.SIX,
        time(6),
        timedelta(days=1),
        [SIX],
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-11))),
        NotATime(2026, 1, 31, tzinfo=timezone.utc),
        SimpleNamespace(),
    ],
    ids=ascii,
)
def test_anything_else_is_refused_when_the_dag_is_read(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^since must be a datetime, or a text such as"):
        CensusSyncSensor(task_id="task", sync_id=52, since=value)

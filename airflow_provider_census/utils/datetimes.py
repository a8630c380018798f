# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Moments in arguments: one rule for those that have no time zone."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

from airflow_provider_census.api.validation import check_rendered, to_builtin


def parse_datetime(argument: str, value: object) -> datetime:
    """
    Take a moment to UTC; without a time zone, it is in Airflow's ``default_timezone``.

    :param value: a ``datetime``, or a text in ISO 8601; a ``date`` is its first moment.
    :raises ValueError: if it is none of them, or too far away.
    """
    from airflow.providers.common.compat.sdk import timezone as airflow_timezone  # type: ignore[attr-defined]

    known: Any = to_builtin(value)
    if isinstance(known, str):
        check_rendered(argument, known)
    elif isinstance(known, date) and not isinstance(known, datetime):
        known = known.isoformat()
    try:
        if isinstance(known, str):
            known = airflow_timezone.parse(known, strict=True)
        if isinstance(known, datetime):
            return datetime.fromtimestamp(airflow_timezone.convert_to_utc(known).timestamp(), timezone.utc)
    except (ValueError, TypeError, OverflowError):  # no such text or day, or none that the clock knows in UTC
        pass
    raise ValueError(
        f"{argument} must be a datetime, or a text such as '2026-01-31T06:00:00+00:00'; not {value!r}"
    )

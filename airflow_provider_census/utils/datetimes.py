# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Moments in arguments: one rule for those that have no time zone."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from airflow_provider_census.api.validation import check_rendered


def parse_datetime(argument: str, value: object) -> datetime:
    """
    Take a moment to UTC; without a time zone, it is in Airflow's ``default_timezone``.

    :param value: a ``datetime``, or a text in ISO 8601.
    :raises ValueError: if it is neither.
    """
    from airflow.providers.common.compat.sdk import timezone as airflow_timezone  # type: ignore[attr-defined]

    known: Any = value
    if isinstance(value, str):
        check_rendered(argument, value)
        try:
            known = airflow_timezone.parse(value, strict=True)
        except ValueError:
            known = None
    if not isinstance(known, datetime):
        raise ValueError(
            f"{argument} must be a datetime, or a text such as '2026-01-31T06:00:00+00:00'; not {value!r}"
        )
    return datetime.fromtimestamp(airflow_timezone.convert_to_utc(known).timestamp(), timezone.utc)

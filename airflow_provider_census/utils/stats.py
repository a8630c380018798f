# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Metrics, which Airflow sends to where its own go. None of them can break a task."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)


def sync_run_started() -> None:
    """Count a run that a task has started."""
    try:
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr("census.sync_runs_started")
    except Exception:
        log.debug("A metric is lost.", exc_info=True)


def sync_run_finished(outcome: str, waiting_since: float | None) -> None:
    """
    Count a run that has ended, and the time that the task waited for it.

    :param outcome: how the run ended.
    :param waiting_since: when the wait began, in seconds since the epoch; ``None`` if nobody knows.
    """
    try:
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(f"census.sync_runs_finished.{outcome}")
        if waiting_since is not None:
            # As a timedelta, for what unit a number is taken for depends on the backend.
            Stats.timing("census.wait_seconds", timedelta(seconds=max(0.0, time.time() - waiting_since)))
    except Exception:
        log.debug("A metric is lost.", exc_info=True)


def first_reschedule(context: Context) -> float | None:
    """
    Tell when a sensor in mode ``reschedule`` began to wait, which was in another process.

    :returns: seconds since the epoch; ``None`` if it has just begun, or Airflow does not say.
    """
    ti = context["ti"]
    try:
        first = ti.get_first_reschedule_date(context) if AIRFLOW_V_3_0_PLUS else ti.start_date
        return None if first is None else float(first.timestamp())
    except Exception:
        log.debug("A metric is lost.", exc_info=True)
        return None

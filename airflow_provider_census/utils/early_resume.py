# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Keeps a deferred task from resuming so soon that Airflow fails it.

From Airflow 3.2 on, the scheduler may hear that the process which deferred a task has ended only when the
task is running again; it then takes the task for killed, and fails it, whatever its retries
(apache/airflow#71580, #72716, #67287). So a wait that is likely to be short stays on the worker, and no
trigger of a task fires before the scheduler has surely heard. When a release of Airflow has the fault no
more, that is the upper bound of ``HAS_FAULT``; when that release is the oldest supported one, this file and
what uses it can go.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

HAS_FAULT = AIRFLOW_V_3_2_PLUS

SHORT_WAIT = 10.0
"""Seconds for which a task polls on its worker before it defers."""

MIN_GRACE = 15.0
"""Seconds at least between a deferral and the event that ends it."""


def short_wait() -> float:
    """Seconds for which a deferrable task is to poll on its worker first; 0 for a single poll."""
    return SHORT_WAIT if HAS_FAULT else 0.0


def grace() -> float:
    """
    Seconds after a deferral before which its trigger is not to fire.

    A worker's supervisor notices the end of the process within one heartbeat, and the scheduler reads that in
    one of its next loops; three heartbeats leave room for a slow one.
    """
    if not HAS_FAULT:
        return 0.0
    heartbeats = ("workers", "min_heartbeat_interval"), ("scheduler", "scheduler_heartbeat_sec")
    return max(MIN_GRACE, *(3 * float(conf.get(*setting, fallback=5)) for setting in heartbeats))

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What has no effect in a task that starts a sync and does not wait for its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_provider_census.api.criteria import CHECKS, SuccessCriteria
from airflow_provider_census.utils.deprecation import warn

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_provider_census.operators.census import CensusTriggerSyncOperator


def warn_of_ineffective_options(task: CensusTriggerSyncOperator, default_timeout: timedelta) -> None:
    """Warn of what a DAG file sets on a task in vain."""
    may_wait = task.if_running not in ("trigger", "fail")  # a tuple, for an XComArg has no hash
    everywhere = conf.getboolean("operators", "default_deferrable", fallback=False)
    no_timeout = (default_timeout, default_timeout.total_seconds())
    ineffective = [
        option
        for option, is_set in {
            "deferrable": task.deferrable is True and not everywhere and not may_wait,
            "poll_interval": task.poll_interval is not None and not may_wait,
            "timeout": task.timeout not in no_timeout and not may_wait,
            **{name: getattr(task, name) != getattr(SuccessCriteria, name) for name in CHECKS},
            "cancel_on_timeout": task.cancel_on_timeout,
            "cancel_on_kill": not task.cancel_on_kill,
            "log_rejected_records": task.log_rejected_records != 5,
        }.items()
        if is_set
    ]
    if ineffective:
        warn(
            f"{', '.join(ineffective)} of task {task.task_id!r} will have no effect: "
            "the task does not wait for its sync run. Set wait_for_completion=True."
        )
    if task.outlets:
        warn(
            f"outlets of task {task.task_id!r} will announce data that is not there yet: "
            "the task does not wait for its sync run. Set wait_for_completion=True."
        )

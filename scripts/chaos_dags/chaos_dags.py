# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The DAGs of ``make chaos-local``; what they start is known to ``chaos.py`` and ``chaos_airflow.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

PATIENT: dict[str, Any] = {
    "wait_for_completion": True,
    "poll_interval": 1,
    "retries": 10,
    "retry_delay": timedelta(seconds=1),
}
ON_WORKER = {"deferrable": False, **PATIENT}
IN_TRIGGERER = {"deferrable": True, **PATIENT}

with DAG("faults", schedule=None):
    CensusTriggerSyncOperator.partial(task_id="on_worker", **ON_WORKER).expand(sync_id=[*range(101, 106)])
    CensusTriggerSyncOperator.partial(task_id="in_triggerer", **IN_TRIGGERER).expand(
        sync_id=[*range(201, 206)]
    )

with DAG("by_hand", schedule=None):
    CensusTriggerSyncOperator(task_id="on_worker", sync_id=301, **ON_WORKER)
    CensusTriggerSyncOperator(task_id="in_triggerer", sync_id=302, **IN_TRIGGERER)
    CensusTriggerSyncOperator(task_id="cleared", sync_id=303, **IN_TRIGGERER)

with DAG("takeover", schedule=None):
    CensusTriggerSyncOperator.partial(task_id="in_triggerer", **IN_TRIGGERER).expand(
        sync_id=[*range(401, 411)]
    )

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Start a Census sync in one task, wait for its run in another

`trigger` starts the sync and is done at once: green means *started*. Its return value is the id of the run,
which `wait` takes. Green there means *synced*.

Use two tasks if other tasks may run while the sync does, or if two DAGs share the work. Otherwise let the
operator wait: see the DAG `census_deferrable`.

**Needs** the connection `census_default`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

with DAG(
    dag_id="census_trigger_then_sensor",
    schedule=None,
    doc_md=__doc__,
    tags=["census", "example"],
):
    trigger = CensusTriggerSyncOperator(task_id="trigger", sync_id=61)

    # `trigger.output` also makes the sensor run after the trigger.
    CensusSyncRunSensor(
        task_id="wait",
        sync_run_id=trigger.output,
        mode="reschedule",
        timeout=timedelta(hours=2),
    )

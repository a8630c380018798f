# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Many Census syncs by dynamic task mapping

`trigger` and `wait` are mapped over a list of syncs: one task for each of them. A sync that fails fails its
own task only.

The list may also come from a task that runs before.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

with DAG(
    dag_id="census_mapped",
    schedule=None,
    doc_md=__doc__,
    tags=["census", "example"],
):
    trigger = CensusTriggerSyncOperator.partial(
        task_id="trigger",
        map_index_template="sync {{ task.sync_id }}",  # what the UI calls each instance
    ).expand(sync_id=[71, 72])

    CensusSyncRunSensor.partial(
        task_id="wait",
        deferrable=True,
        map_index_template="run {{ task.sync_run_id }}",
    ).expand(sync_run_id=trigger.output)

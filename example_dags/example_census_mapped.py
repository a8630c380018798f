# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Many Census syncs, of one workspace or of several

- `trigger` and `wait` are mapped over a list of syncs: one task for each of them. A sync that fails fails its
  own task only.
- `sync_workspaces` is mapped over syncs of different workspaces. A Census token belongs to one workspace, so
  each of them is an Airflow connection of its own.

The lists may also come from a task that runs before.

**Needs** the connections `census_default` and `census_eu`, and a running triggerer.
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
    trigger = CensusTriggerSyncOperator.partial(task_id="trigger").expand(sync_id=[52, 55])

    CensusSyncRunSensor.partial(task_id="wait", deferrable=True).expand(sync_run_id=trigger.output)

    CensusTriggerSyncOperator.partial(
        task_id="sync_workspaces",
        wait_for_completion=True,
        deferrable=True,
        map_index_template="{{ task.census_conn_id }}, sync {{ task.sync_id }}",
    ).expand_kwargs(
        [
            {"sync_id": 58, "census_conn_id": "census_default"},
            {"sync_id": 52, "census_conn_id": "census_eu"},
        ]
    )

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### The same sync in several Census workspaces

Each workspace is an Airflow connection of its own. The task is
mapped over workspaces and the syncs in them; one that fails fails its own task only.

The list may also come from a task that runs before.

**Needs** the connections `census_default` and `census_eu`, and a running triggerer.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

with DAG(
    dag_id="census_workspaces",
    schedule=None,
    doc_md=__doc__,
    tags=["census", "example"],
):
    CensusTriggerSyncOperator.partial(
        task_id="sync",
        wait_for_completion=True,
        deferrable=True,
        map_index_template="{{ task.census_conn_id }}, sync {{ task.sync_id }}",
    ).expand_kwargs(
        [
            {"census_conn_id": "census_default", "sync_id": 76},
            {"census_conn_id": "census_eu", "sync_id": 77},
        ]
    )

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Start a Census sync and wait for it in the triggerer

One task starts the sync and waits for its run. It waits deferred, in the triggerer: it holds no
worker slot, however long the sync takes. The task fails if the run does.

Which sync it is, is a parameter of the DAG: set `sync_id` when you trigger it.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

with DAG(
    dag_id="census_deferrable",
    schedule=None,
    params={"sync_id": Param(52, type="integer", minimum=1, description="Id of the Census sync to start.")},
    doc_md=__doc__,
    tags=["census", "example"],
):
    CensusTriggerSyncOperator(
        task_id="sync",
        sync_id="{{ params.sync_id }}",
        wait_for_completion=True,
        deferrable=True,
    )

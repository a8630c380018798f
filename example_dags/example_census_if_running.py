# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Start a sync that may be running already

Census runs a sync once at a time: it skips a run that is started while another one is running, and what was
loaded in between waits for the next.

- `sync_after_load` runs after `load`, so it must sync what that wrote. With `if_running="wait"` it waits
  for the end of the run that is running, then starts its own.
- `sync_somehow` only wants the sync to have run. With `if_running="join"` it waits for the run that is
  running, and starts one only if there is none.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

with DAG(
    dag_id="census_if_running",
    schedule=None,
    doc_md=__doc__,
    tags=["census", "example"],
):

    @task
    def load() -> None:
        """Write what is to be synced; see the DAG `census_after_load`."""

    sync_after_load = CensusTriggerSyncOperator(
        task_id="sync_after_load",
        sync_id=63,
        if_running="wait",
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=2),  # for both: the end of the other run, and of its own
    )

    CensusTriggerSyncOperator(
        task_id="sync_somehow",
        sync_id=64,
        if_running="join",
        wait_for_completion=True,
        deferrable=True,
    )

    load() >> sync_after_load

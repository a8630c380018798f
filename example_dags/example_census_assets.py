# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Asset events for what was synced

1. `census_assets` runs sync 79, waits for it, and makes an event of its asset.
2. `census_assets_report` is scheduled on that asset, and reads from its event what the sync run did.

**Needs** the connection `census_default`, and a running triggerer.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_census.assets.census import sync_asset, sync_run_of
from airflow_provider_census.operators.census import CensusTriggerSyncOperator

users = sync_asset(79)

with DAG(
    dag_id="census_assets",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule="@daily",
    catchup=False,
    doc_md=__doc__,
    tags=["census", "example"],
):
    CensusTriggerSyncOperator(
        task_id="sync", sync_id=79, wait_for_completion=True, deferrable=True, outlets=[users]
    )

with DAG(
    dag_id="census_assets_report",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=[users],
    doc_md=__doc__,
    tags=["census", "example"],
):

    @task(inlets=[users])
    def report(inlet_events: Any = None) -> str:
        """Report what the newest sync run did."""
        run = sync_run_of(inlet_events[users][-1])
        return f"Run {run['sync_run_id']}: {run['records_updated']} records, {run['url']}"

    report()

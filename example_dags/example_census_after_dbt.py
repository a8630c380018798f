# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Sync what dbt built, when it has built it

The DAG has no schedule of its own: it runs when dbt has updated both models, however dbt is run. All that the
two sides share are the assets, so this DAG needs no dbt.

**Needs** the connection `census_default`, a running triggerer, and another DAG that updates the assets.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

# As Cosmos names the table of a model; where dbt is run otherwise, the task that does names them as outlets.
CUSTOMERS = Asset("postgres://warehouse:5432/analytics/marts/customers")
ORDERS = Asset("postgres://warehouse:5432/analytics/marts/orders")

with DAG(
    dag_id="census_after_dbt",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=[CUSTOMERS, ORDERS],
    # One sync at a time: Census skips a run of a sync that is still running.
    max_active_runs=1,
    doc_md=__doc__,
    tags=["census", "example"],
):
    CensusTriggerSyncOperator(
        task_id="sync",
        sync_id=66,
        wait_for_completion=True,
        deferrable=True,
    )

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Fail when a sync is green, but did not do its work

A run that completed may have processed no record at all, or have lost some on the way.

- `customers` fails if the run processed nothing, which is what happens when the table was loaded too late,
  or if more than 5 % of the records were rejected or invalid.
- `every_invoice` waits for the run that `invoices` started, and fails if a single record was rejected.

All of them give a request two minutes instead of the connection's one, for they go through a slow proxy.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

with DAG(
    dag_id="census_thresholds",
    schedule=None,
    default_args={"hook_params": {"timeout": 120}},
    doc_md=__doc__,
    tags=["census", "example"],
):
    CensusTriggerSyncOperator(
        task_id="customers",
        sync_id=69,
        wait_for_completion=True,
        min_records_processed=1,
        max_failed_share=0.05,
        deferrable=True,
    )

    invoices = CensusTriggerSyncOperator(task_id="invoices", sync_id=70)
    CensusSyncRunSensor(
        task_id="every_invoice",
        sync_run_id=invoices.output,  # type: ignore[arg-type]
        max_records_failed=0,
        max_records_invalid=0,
        deferrable=True,
    )

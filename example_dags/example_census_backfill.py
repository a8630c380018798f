# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Load every day, sync only the latest

`load` writes the rows of one day, so a backfill runs it once for each day. A sync copies what the table holds
*now*: thirty loaded days need one sync, and `latest_only` lets only the run of the latest day continue to it.

A backfill must run its days one after another, or the latest day may be synced before the others are loaded:
`airflow backfill create --max-active-runs 1`, for the `max_active_runs` of a DAG does not count there.

**Needs** the connections `census_default` and `warehouse` (any SQL database), and a running triggerer.
"""

from __future__ import annotations

import logging

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

log = logging.getLogger(__name__)

try:
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
    from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
except ImportError as missing:
    log.warning("Left out, for it needs apache-airflow-providers-common-sql and -standard: %s", missing)
else:
    with DAG(
        dag_id="census_backfill",
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        schedule="@daily",
        catchup=False,
        max_active_runs=1,
        doc_md=__doc__,
        tags=["census", "example"],
    ):
        load = SQLExecuteQueryOperator(
            task_id="load",
            conn_id="warehouse",
            sql=[
                "CREATE TABLE IF NOT EXISTS orders (day VARCHAR(10), customer INTEGER, total INTEGER)",
                "DELETE FROM orders WHERE day = '{{ ds }}'",
                "INSERT INTO orders VALUES ('{{ ds }}', 1, 120), ('{{ ds }}', 2, 80)",
            ],
        )

        latest_only = LatestOnlyOperator(task_id="latest_only")

        sync = CensusTriggerSyncOperator(
            task_id="sync",
            sync_id=67,
            wait_for_completion=True,
            deferrable=True,
        )

        load >> latest_only >> sync

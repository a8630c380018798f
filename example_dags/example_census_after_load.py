# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Load a table, then let Census sync it

1. `load` writes the table `customers`. It is idempotent: it replaces what it wrote.
2. `sync` starts the Census sync that reads this table, and waits for the run. It fails if the destination
   rejects more than ten records.
3. `report` reads the counts of the finished run from the XCom `sync_run`.

**Needs** the connections `census_default` and `warehouse` (any SQL database), and a running triggerer.
"""

from __future__ import annotations

import logging
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

log = logging.getLogger(__name__)

try:
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
except ImportError as missing:
    log.warning("Left out, for it needs apache-airflow-providers-common-sql: %s", missing)
else:
    with DAG(
        dag_id="census_after_load",
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
                "CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, email VARCHAR(200))",
                "DELETE FROM customers",
                "INSERT INTO customers VALUES (1, 'ada@example.com'), (2, 'grace@example.com')",
            ],
        )

        sync = CensusTriggerSyncOperator(
            task_id="sync",
            sync_id=65,
            wait_for_completion=True,
            deferrable=True,
            max_records_failed=10,
        )

        @task
        def report(sync_run: dict[str, Any]) -> int:
            """Report what the run did; here it could be sent to other systems, too."""
            log.info(
                "Sync run %s: %s records updated, %s failed, %s invalid",
                sync_run["id"],
                sync_run["records_updated"],
                sync_run["records_failed"],
                sync_run["records_invalid"],
            )
            return sync_run["records_updated"]

        load >> sync >> report(sync.output["sync_run"])

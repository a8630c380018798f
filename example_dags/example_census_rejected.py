# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Give the rejected records to the team that owns the data

1. `sync` starts a sync and waits for it. Its log names a few of the rejected records.
2. `store` writes all of them to the table `rejected_records`, with the reason and what each record holds:
   one page of a hundred in memory at a time, however many there are. It also runs when `sync` failed. It is
   idempotent: it replaces what it wrote of the same run.

What a record holds is the personal data of your customers. Here it goes from Census to your warehouse, and
nowhere else: not into the log, nor into an XCom. Census keeps the records of a run for 14 days.

**Needs** the connections `census_default` and `warehouse` (any SQL database).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, BaseHook, task

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ["sync_run_id", "identifier", "reason", "record"]

with DAG(
    dag_id="census_rejected",
    schedule=None,
    params={"sync_id": 55},
    render_template_as_native_obj=True,
    doc_md=__doc__,
    tags=["census", "example"],
):
    sync = CensusTriggerSyncOperator(
        task_id="sync", sync_id="{{ params.sync_id }}", wait_for_completion=True, max_records_failed=0
    )

    @task(trigger_rule="all_done")
    def store(sync_run_id: int | None) -> None:
        """Write the records that the destination rejected to a table, page by page."""
        if sync_run_id is None:
            raise AirflowSkipException("No run was started.")

        def rows() -> Iterator[tuple[Any, ...]]:
            for record in CensusHook().iter_sync_run_records(sync_run_id, status="rejected"):
                held = json.dumps(record["record_payload"])
                yield sync_run_id, record["identifier"], record["status_message"], held

        warehouse = BaseHook.get_hook("warehouse")
        warehouse.run(
            [
                "CREATE TABLE IF NOT EXISTS rejected_records "
                "(sync_run_id BIGINT, identifier VARCHAR(500), reason VARCHAR(2000), record TEXT)",
                f"DELETE FROM rejected_records WHERE sync_run_id = {int(sync_run_id)}",
            ]
        )
        warehouse.insert_rows("rejected_records", rows(), target_fields=COLUMNS, commit_every=100)

    store(sync.output["sync_run_id"])

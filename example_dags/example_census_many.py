# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Many Census syncs, in order, a few at once

- Each group syncs objects of one kind, one mapped task for each sync. Contacts refer to accounts, so
  `contacts` waits for `accounts`; within a group, a sync that fails stops no other.
- The pool `census` bounds how many syncs run at once. Tasks that wait in the triggerer only count if the pool
  includes them: `airflow pools set census 2 "Syncs at once" --include-deferred`.
- `summarise` runs in any case, reports what each sync did, and fails if one did not complete. Without that,
  the DAG run would be a success whenever its last task is.

**Needs** the connection `census_default`, the pool `census`, and a running triggerer.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any

from airflow.providers.common.compat.sdk import DAG, TaskGroup, chain, task

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

log = logging.getLogger(__name__)

SYNCS = {"accounts": [73, 74], "contacts": [75]}

with DAG(
    dag_id="census_many",
    schedule=None,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["census", "example"],
):

    @task(trigger_rule="all_done")
    def summarise(ti: Any = None) -> None:
        """Report what every sync did; fail if one did not complete."""
        pulled = ti.xcom_pull(task_ids=[f"{name}.sync" for name in SYNCS], key="sync_run")
        runs = {run["sync_id"]: run for run in pulled if run}
        incomplete = []
        for sync_id in itertools.chain.from_iterable(SYNCS.values()):
            run = runs.get(sync_id, {"status": "not run to its end"})
            log.info("Sync %s: %s, %s records updated", sync_id, run["status"], run.get("records_updated"))
            if run["status"] != "completed":
                incomplete.append(f"sync {sync_id} ({run['status']})")
        if incomplete:
            raise RuntimeError(f"Not completed: {', '.join(incomplete)}")

    groups = []
    for name, sync_ids in SYNCS.items():
        with TaskGroup(name) as group:
            CensusTriggerSyncOperator.partial(
                task_id="sync",
                pool="census",
                wait_for_completion=True,
                deferrable=True,
                map_index_template="sync {{ task.sync_id }}",
            ).expand(sync_id=sync_ids)
        groups.append(group)

    chain(*groups)
    groups >> summarise()

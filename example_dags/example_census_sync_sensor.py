# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Wait for a sync that Census starts by itself

The sync has a schedule of its own in Census, or runs after a dbt Cloud job, or somebody starts it by hand.

1. `wait` polls until a run of it has completed that was created after the end of this DAG run's hour. It
   is deferred meanwhile, and fails if that run does, or if there is none within 50 minutes.
2. `report` reads the counts of the run, which is what `wait` returns.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_census.sensors.census import CensusSyncSensor

log = logging.getLogger(__name__)

with DAG(
    dag_id="census_sync_sensor",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule="@hourly",
    catchup=False,
    doc_md=__doc__,
    tags=["census", "example"],
):
    wait = CensusSyncSensor(
        task_id="wait",
        sync_id=62,
        deferrable=True,
        timeout=timedelta(minutes=50).total_seconds(),
    )

    @task
    def report(sync_run: dict[str, Any]) -> int:
        """Report what the run did; here it could be sent to other systems, too."""
        log.info("Sync run %s: %s records updated", sync_run["id"], sync_run["records_updated"])
        return sync_run["records_updated"]

    report(wait.output)

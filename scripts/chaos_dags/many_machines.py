# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The DAGs of ``make chaos`` on many machines: every way to wait, and a DAG that an event starts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetWatcher, task

from airflow_provider_census.assets.census import sync_asset
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.triggers.census import CensusSyncRunEventTrigger

RETRIES: dict[str, Any] = {"retries": 15, "retry_delay": timedelta(seconds=1)}
WAITING: dict[str, Any] = {"wait_for_completion": True, "poll_interval": 1, **RETRIES}
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}

with DAG("many_machines", schedule=None):
    on_worker = CensusTriggerSyncOperator.partial(task_id="on_worker", deferrable=False, **WAITING)
    on_worker.expand(sync_id=[*range(501, 506)])
    in_triggerer = CensusTriggerSyncOperator.partial(task_id="in_triggerer", deferrable=True, **WAITING)
    in_triggerer.expand(sync_id=[*range(601, 609)])
    for sync_id, (name, mode) in enumerate(MODES.items(), 701):
        start = CensusTriggerSyncOperator(task_id=f"start_{name}", sync_id=sync_id, **RETRIES)
        CensusSyncRunSensor(
            task_id=name,
            sync_run_id=start.output,  # type: ignore[arg-type] # as any XCom
            poke_interval=2,
            timeout=600,
            **mode,
            **RETRIES,
        )
    CensusTriggerSyncOperator(task_id="start_event", sync_id=801, **RETRIES)

watcher = AssetWatcher(name="sync_801", trigger=CensusSyncRunEventTrigger(sync_id=801, poll_interval=2))

with DAG("by_event", schedule=[sync_asset(801, watchers=[watcher])]):

    @task(**RETRIES)  # type: ignore[untyped-decorator]
    def told() -> None:
        """Be there."""

    told()

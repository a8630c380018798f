# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Event-driven scheduling on a sync, whoever started it

A trigger polls sync 52. Whenever one of its runs has completed, started by Census' schedule, by a person or
by a DAG, Airflow runs this DAG. `report` reads what the run did from the asset event.
Events are at-least-once.

**Needs** the connection `census_default`, a running triggerer, and Airflow 3.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, AssetWatcher, task

from airflow_provider_census.assets.census import sync_asset
from airflow_provider_census.triggers.census import CensusSyncRunEventTrigger

users = sync_asset(
    52, watchers=[AssetWatcher(name="census_sync_52", trigger=CensusSyncRunEventTrigger(sync_id=52))]
)

with DAG(
    dag_id="census_event",
    schedule=[users],
    doc_md=__doc__,
    tags=["census", "example"],
):

    @task
    def report(triggering_asset_events: dict[Any, Any] | None = None) -> list[str]:
        """Report what was synced; one DAG run may stand for several sync runs."""
        events_by_asset = (triggering_asset_events or {}).values()
        runs = [event.extra["payload"] for events in events_by_asset for event in events]
        return [f"Run {run['sync_run_id']}: {run['records_updated']} records, {run['url']}" for run in runs]

    report()

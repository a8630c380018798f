# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Event-driven scheduling on a sync, whoever started it

A trigger polls sync 80. Whenever one of its runs has completed, started by Census' schedule, by a person or
by a DAG, Airflow runs this DAG. `report` reads what the run did from the asset event.
Events are at-least-once.

Another DAG file that uses this asset must make it alike, with `watched_sync_asset(80)`, or Airflow drops the
trigger whenever it parses that file.

**Needs** the connection `census_default`, a running triggerer, and Airflow 3.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_census.assets.census import sync_run_of, watched_sync_asset

log = logging.getLogger(__name__)

try:
    from airflow.sdk import DAG, task
except ImportError as missing:
    log.warning("Left out, for it needs Airflow 3: %s", missing)
else:
    users = watched_sync_asset(80)

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
            runs = [sync_run_of(event) for events in events_by_asset for event in events]
            return [
                f"Run {run['sync_run_id']}: {run['records_updated']} records, {run['url']}" for run in runs
            ]

        report()

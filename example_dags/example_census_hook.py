# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### The Census hook in tasks of your own

The hook has a method for every operation of the Census API. Where there is no operator for what you want,
call it in a task.

- `sources` lists the databases that Census reads.
- `last_runs` reads how the last five runs of a sync ended.
- `assert_healthy` fails the DAG run if most of them did not complete.

**Needs** the connection `census_default`.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_census.hooks.census import CensusHook

with DAG(
    dag_id="census_hook",
    schedule=None,
    doc_md=__doc__,
    tags=["census", "example"],
):

    @task
    def sources() -> dict[str, str]:
        """Give the name of every source by its slug."""
        return {source["slug"]: source["name"] for source in CensusHook().list_sources()}

    @task
    def last_runs(sync_id: int) -> list[str]:
        """Give the status of the last five runs, newest first."""
        # One page is enough: without `page`, the hook would read the whole history.
        runs = CensusHook().list_sync_runs(sync_id, order="desc", page=1, per_page=5)
        return [run["status"] for run in runs]

    @task
    def assert_healthy(statuses: list[str]) -> None:
        """Fail if most of the runs did not complete."""
        if 2 * statuses.count("completed") < len(statuses):
            raise RuntimeError(f"Most of the last runs did not complete: {', '.join(statuses)}")

    sources()
    assert_healthy(last_runs(sync_id=52))

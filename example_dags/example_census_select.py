# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Start every sync that reads what was loaded

`select` finds the syncs of Census that read a model and are not paused; `sync` is mapped over them. So a
sync that somebody adds in Census tomorrow needs no change here. In the UI, each instance has the label of its
sync.

`census_select_after_load` does so for the table of the asset event that triggered it, whoever loaded that. In
Airflow 2 the events are `triggering_dataset_events`, by address.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.operators.select import CensusSelectSyncsOperator

with DAG(
    dag_id="census_select",
    schedule=None,
    params={"model": "braze_test", "label": "* at once"},
    doc_md=__doc__,
    tags=["census", "example"],
):
    select = CensusSelectSyncsOperator(
        task_id="select",
        model="{{ params.model }}",  # for a table: table="marts.customers"
        label="{{ params.label }}",
        paused=False,
        allow_empty=True,
    )

    CensusTriggerSyncOperator.partial(
        task_id="sync",
        wait_for_completion=True,
        deferrable=True,
        map_index_template="{{ ti.xcom_pull(task_ids='select', key='labels')[task.sync_id | string] }}",
    ).expand(sync_id=select.output)

with DAG(
    dag_id="census_select_after_load",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=[Asset("postgres://warehouse:5432/analytics/marts/customers")],
    max_active_runs=1,
    doc_md=__doc__,
    tags=["census", "example"],
):
    readers = CensusSelectSyncsOperator(
        task_id="select",
        table="{{ (triggering_asset_events | first).uri.split('/')[-2:] | join('.') }}",  # marts.customers
        paused=False,
    )

    CensusTriggerSyncOperator.partial(
        task_id="sync",
        wait_for_completion=True,
        deferrable=True,
        map_index_template="sync {{ task.sync_id }}",
    ).expand(sync_id=readers.output)

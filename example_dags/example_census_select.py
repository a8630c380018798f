# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Start every sync that reads what was loaded

`select` finds the syncs of Census that read a model and are not paused; `sync` is mapped over them. So a
sync that somebody adds in Census tomorrow needs no change here. In the UI, each instance has the label of its
sync.

**Needs** the connection `census_default` and a running triggerer.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

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

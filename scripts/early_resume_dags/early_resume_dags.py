# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The DAG of ``make early-resume``."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.utils import early_resume

if os.environ.get("UNGUARDED"):
    early_resume.HAS_FAULT = False

with DAG("early_resume", schedule=None):
    CensusTriggerSyncOperator.partial(
        task_id="sync", wait_for_completion=True, deferrable=True, retries=0
    ).expand(sync_id=[*range(int(os.environ["FIRST"]), int(os.environ["LAST"]) + 1)])

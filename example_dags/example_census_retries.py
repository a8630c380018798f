# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
### Retry only what a retry can help

A retry policy of Airflow's gets the error of each failed try: `sync` fails at once where another try
would meet the same error, and waits longer where time is what helps. Other errors are retried as ever.

**Needs** the connection `census_default`, a running triggerer, and Airflow 3.3.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import pendulum

from airflow_provider_census.exceptions import (
    CensusAuthError,
    CensusConfigError,
    CensusLookupError,
    CensusNotFoundError,
    CensusRateLimitError,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
)
from airflow_provider_census.operators.census import CensusTriggerSyncOperator

log = logging.getLogger(__name__)

try:
    from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError as missing:
    log.warning("Left out, for it needs Airflow 3.3: %s", missing)
else:
    ONLY_WHAT_HELPS = ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=[CensusAuthError, CensusConfigError, CensusLookupError, CensusNotFoundError],
                action=RetryAction.FAIL,
                reason="Somebody has to correct the connection or the DAG first",
            ),
            RetryRule(
                exception=CensusSyncRunRejectedRecords,
                action=RetryAction.FAIL,
                reason="The same records would be rejected again",
            ),
            RetryRule(
                exception=[CensusRateLimitError, CensusSyncRunSkipped],
                action=RetryAction.RETRY,
                retry_delay=timedelta(minutes=15),
                reason="Others are busy with Census",
            ),
        ]
    )

    with DAG(
        dag_id="census_retries",
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        schedule="@daily",
        catchup=False,
        doc_md=__doc__,
        tags=["census", "example"],
    ):
        CensusTriggerSyncOperator(
            task_id="sync",
            sync_id=78,
            wait_for_completion=True,
            deferrable=True,
            max_records_failed=10,
            retries=3,
            retry_delay=timedelta(minutes=1),
            retry_policy=ONLY_WHAT_HELPS,
        )

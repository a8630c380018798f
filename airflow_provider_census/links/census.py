# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The button on a task that opens its sync run in Census."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_census.utils.xcom import push

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

    from airflow_provider_census.api.flow import Log

XCOM_KEY = "_link_CensusSyncRunLink"


class CensusSyncRunLink(BaseOperatorLink):
    """Open the sync run in Census, also while the task still waits for it."""

    name = "Census sync run"

    @property
    def xcom_key(self) -> str:
        """Where the address is kept; the UI of Airflow 3 reads it there by itself."""
        return XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Read the address back; empty until the task knows its run."""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(ti_key=ti_key, key=XCOM_KEY) or ""


def publish(context: Context, url: str, log: Log) -> None:
    """Keep the address of the run where the link reads it."""
    push(context, XCOM_KEY, url, log)

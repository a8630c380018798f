# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The button on a task that opens its sync run in Census.

Airflow 3 reads the address of a button in its database and nowhere else; its worker stores it there, past a
custom XCom backend, but only when the task ends or is deferred. So that is also where :func:`publish` stores
it, and where :class:`CensusSyncRunLink` reads it.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

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
        xcom = base_xcom()
        if AIRFLOW_V_3_0_PLUS:
            return xcom.get_value(ti_key=ti_key, key=XCOM_KEY) or ""
        # In Airflow 2 get_value() of the plain class asks the custom backend, too.
        from airflow.utils.session import create_session

        with create_session() as session:
            found = xcom.get_many(
                key=XCOM_KEY,
                dag_ids=ti_key.dag_id,
                task_ids=ti_key.task_id,
                run_id=ti_key.run_id,
                map_indexes=ti_key.map_index,
                session=session,
            )
            stored = found.with_entities(xcom.value).first()
            return "" if stored is None else xcom.deserialize_value(stored) or ""


def publish(context: Context, url: str, log: Log) -> None:
    """Keep the address of the run where the link reads it; that this fails is no reason to fail a task."""
    if "ti" not in context:  # nobody runs the task but a unit test
        return
    ti = context["ti"]
    try:
        base_xcom().set(
            XCOM_KEY, url, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )
    except Exception as error:  # noqa: BLE001 - whatever Airflow fails with
        log.warning("The button %r has no address, %s: %r", CensusSyncRunLink.name, url, error)


@functools.cache
def base_xcom() -> Any:
    """Give Airflow's own XComs, which are in its database whatever ``[core] xcom_backend`` is."""
    return import_module("airflow.sdk.bases.xcom" if AIRFLOW_V_3_0_PLUS else "airflow.models.xcom").BaseXCom

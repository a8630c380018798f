# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Defers tasks, as their workers would, in the database of an Airflow, for ``make bench-triggerer``.

Arguments: whose triggers, and how many. Each with the interval that its operator has by default.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from bench_triggerer_server import FIRST


def ours(number: int) -> Any:
    from airflow_provider_census.triggers.census import CensusSyncRunTrigger

    return CensusSyncRunTrigger(number, started=time.time())


def vendor(number: int) -> Any:
    from airflow_provider_census.triggers.census import CensusTrigger

    return CensusTrigger(number)


def dbt(number: int) -> Any:
    from bench_references import DbtTrigger

    return DbtTrigger("dbt", number, time.time() + 86400, 60, 1)


def fivetran(number: int) -> Any:
    import pendulum
    from bench_references import FivetranTrigger

    began = pendulum.now("UTC").isoformat()
    return FivetranTrigger("wait", f"c{number}", "fivetran", xcom=began, poke_interval=15)


def defer(kind: str, count: int) -> None:
    """Create a DAG run whose tasks are all deferred."""
    from airflow._shared.timezones import timezone
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    make = globals()[kind]
    with create_session() as session:
        dag = SerializedDagModel.get("waits", session=session).dag  # type: ignore[union-attr]
        version = DagVersion.get_latest_version("waits", session=session)
        dag.create_dagrun(
            run_id=kind,
            run_after=timezone.utcnow(),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        session.flush()
        for each in range(count):
            trigger = Trigger.from_object(make(FIRST + each))
            session.add(trigger)
            session.flush()
            ti = TaskInstance(dag.get_task("wait"), version.id, kind, map_index=each)  # type: ignore[union-attr]
            ti.state = TaskInstanceState.DEFERRED
            ti.start_date = timezone.utcnow()
            ti.next_method = "execute_complete"
            ti.trigger_id = trigger.id
            session.add(ti)
            if each % 200 == 199:
                session.flush()


if __name__ == "__main__":
    defer(sys.argv[1], int(sys.argv[2]))

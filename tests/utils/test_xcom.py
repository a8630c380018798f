# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""An XCom that cannot be stored decides no task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from task_helpers import Log, TaskInstance, context, triggered

from airflow_provider_census.exceptions import CensusSyncRunFailed
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor
from airflow_provider_census.utils import xcom

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


class Full(TaskInstance):
    """A task instance whose XCom backend takes nothing, or nothing above a size."""

    limit = 0

    def xcom_push(self, key: str, value: Any) -> None:
        if len(str(value)) > self.limit:
            raise ConnectionError("the bucket is gone")
        super().xcom_push(key, value)


class Small(Full):
    limit = 80


full_or_small = pytest.mark.parametrize("ti", [Full, Small])


@full_or_small
@pytest.mark.parametrize("wait", [True, False])
def test_a_run_that_completes_is_a_success(census: Sandbox, ti: type[Full], wait: bool) -> None:
    known = context(ti())
    task = CensusTriggerSyncOperator(task_id="task", sync_id=52, wait_for_completion=wait)
    returned = task.execute(known)
    stored = known["ti"].xcoms
    assert returned == stored.get("return_value") == stored.get("sync_run_id")
    assert (returned is None) is (ti is Full)
    assert "sync_run" not in stored
    assert triggered(census) == [52]


@full_or_small
def test_a_run_that_fails_is_that_failure(census: Sandbox, ti: type[Full]) -> None:
    task = CensusTriggerSyncOperator(task_id="task", sync_id=53, wait_for_completion=True)
    with pytest.raises(CensusSyncRunFailed):
        task.execute(context(ti()))


@full_or_small
@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("of_sync", [True, False], ids=["sync sensor", "run sensor"])
def test_a_sensor_returns_nothing_then(
    census: Sandbox, ti: type[Full], deferrable: bool, of_sync: bool
) -> None:
    sync_run_id = census.start_run(52)
    census.finish_run(sync_run_id)
    sensor = (
        CensusSyncSensor(task_id="task", sync_id=52, since="2020-01-01T00:00:00Z", deferrable=deferrable)
        if of_sync
        else CensusSyncRunSensor(task_id="task", sync_run_id=sync_run_id, deferrable=deferrable)
    )
    assert sensor.execute(context(ti())) is None


def test_the_log_says_which_and_why() -> None:
    log = Log()
    assert xcom.push(context(Full()), "sync_run", {"id": 94}, log) is False
    assert log.lines == [
        (
            "warning",
            "XCom 'sync_run' could not be stored; the task continues without it: "
            "ConnectionError('the bucket is gone')",
        )
    ]


def test_a_task_that_pushes_nothing_pushes_no_return_value(census: Sandbox) -> None:
    known = context()
    task = CensusTriggerSyncOperator(task_id="task", sync_id=52, do_xcom_push=False)
    assert task.execute(known) is not None
    assert "return_value" not in known["ti"].xcoms

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A subclass that does something of its own when its task resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from task_helpers import Done, context, polls

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox

KINDS: list[tuple[type[Any], dict[str, Any]]] = [
    (CensusTriggerSyncOperator, {"wait_for_completion": True, "sync_id": 57}),
    (CensusTriggerSyncOperator, {"wait_for_completion": True, "sync_id": 57, "if_running": "join"}),
    (CensusSyncRunSensor, {}),
    (CensusSyncSensor, {"sync_id": 57}),
]


def as_documented(kind: type[Any]) -> type[Any]:
    """Override the method as the page of the operators says."""

    class Documented(kind):  # type: ignore[misc]
        def execute_complete(self, context: Any, event: Any = None, **kwargs: Any) -> Any:
            return super().execute_complete(context, event, **kwargs)

    return Documented


def as_of_2x(kind: type[Any]) -> type[Any]:
    """Override the method as 2.x had it, and as most providers have it."""

    class Of2x(kind):  # type: ignore[misc]
        def execute_complete(self, context: Any, event: Any = None) -> Any:
            return super().execute_complete(context, event)

    return Of2x


@pytest.mark.parametrize("overridden", [as_documented, as_of_2x])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_what_the_deferral_stored_is_not_lost(
    census: Sandbox, overridden: Callable[..., Any], kind: type[Any], options: dict[str, Any]
) -> None:
    if kind is not CensusTriggerSyncOperator or "if_running" in options:
        running = census.start_run(57)
        options = {"sync_run_id": running} if kind is CensusSyncRunSensor else options
    task = overridden(kind)(task_id="task", deferrable=True, timeout=1000, **options)
    known = context(data_interval_end=None)
    with pytest.raises(TaskDeferred) as first:
        task.execute(known)
    trigger = first.value.trigger
    event = {"sync_run_id": getattr(trigger, "sync_run_id", None), "event": "ended", "message": ""}
    again = overridden(kind)(task_id="task", deferrable=True, timeout=1000, **options)
    with pytest.raises(TaskDeferred) as second:  # for the run has not ended, whatever the event says
        again.resume_execution(first.value.method_name, {**(first.value.kwargs or {}), "event": event}, known)
    assert second.value.kwargs == first.value.kwargs
    assert getattr(second.value.trigger, "cancel_on_kill", None) == getattr(trigger, "cancel_on_kill", None)


@pytest.mark.parametrize("overridden", [as_documented, as_of_2x])
def test_it_gets_the_end_of_the_run(
    run_task: Callable[..., Done], census: Sandbox, overridden: Callable[..., Any]
) -> None:
    done = run_task(
        overridden(CensusTriggerSyncOperator), sync_id=52, wait_for_completion=True, deferrable=True
    )
    assert (done.state, done.xcom()) == ("success", census.triggers[0].sync_run_id)
    done = run_task(
        overridden(CensusSyncRunSensor), sync_run_id=CensusHook().trigger_sync(52), deferrable=True
    )
    assert (done.state, done.xcom()["status"]) == ("success", "completed")
    assert polls(census)

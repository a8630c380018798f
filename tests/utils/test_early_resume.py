# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""No deferred task resumes before Airflow's scheduler has heard of its deferral."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS
from task_helpers import TaskInstance, context

from airflow_provider_census.exceptions import CensusTimeoutError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor
from airflow_provider_census.triggers import census as triggers
from airflow_provider_census.triggers.census import CensusSyncRunTrigger
from airflow_provider_census.utils import early_resume

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox

has_fault = early_resume.HAS_FAULT

Task = Any


def operator(census: Sandbox, sync_id: int, **options: Any) -> Task:
    return CensusTriggerSyncOperator(
        task_id="task", sync_id=sync_id, wait_for_completion=True, deferrable=True, **options
    )


def when_idle(census: Sandbox, sync_id: int, **options: Any) -> Task:
    census.start_run(sync_id)
    return CensusTriggerSyncOperator(
        task_id="task", sync_id=sync_id, if_running="wait", deferrable=True, **options
    )


def run_sensor(census: Sandbox, sync_id: int, **options: Any) -> Task:
    return CensusSyncRunSensor(
        task_id="task", sync_run_id=census.start_run(sync_id), deferrable=True, **options
    )


def sync_sensor(census: Sandbox, sync_id: int, **options: Any) -> Task:
    census.start_run(sync_id)
    return CensusSyncSensor(
        task_id="task", sync_id=sync_id, since="2020-01-01T00:00:00Z", deferrable=True, **options
    )


TASKS = [operator, when_idle, run_sensor, sync_sensor]
every_task = pytest.mark.parametrize("make", TASKS, ids=lambda make: make.__name__)


@pytest.fixture(autouse=True)
def _guarded(monkeypatch: pytest.MonkeyPatch, unguarded: None) -> None:
    monkeypatch.setattr(early_resume, "HAS_FAULT", True)


def triggered_runs(census: Sandbox) -> list[int]:
    return [trigger.sync_run_id for trigger in census.triggers]


def endless(census: Sandbox) -> None:
    """No run of the sandbox ends any more."""
    census.pace = 1e9


def test_only_the_airflows_that_have_the_fault_are_guarded() -> None:
    assert has_fault is AIRFLOW_V_3_2_PLUS


@every_task
def test_a_wait_that_is_short_stays_on_the_worker(census: Sandbox, make: Callable[..., Task]) -> None:
    assert make(census, 52).execute(context()) is not None


@every_task
def test_a_longer_one_is_deferred_and_not_to_resume_at_once(
    census: Sandbox, make: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    endless(census)
    monkeypatch.setattr(early_resume, "SHORT_WAIT", 0.02)
    before = time.time()
    with pytest.raises(TaskDeferred) as deferral:
        make(census, 57).execute(context())
    path, arguments = deferral.value.trigger.serialize()
    assert before + 15.02 <= arguments["resume_after"] <= time.time() + 15
    assert deferral.value.trigger.options.resume_after == arguments["resume_after"]
    assert path.startswith("airflow_provider_census.triggers.census.")


@every_task
def test_what_would_have_to_resume_too_soon_is_not_deferred(
    census: Sandbox, make: Callable[..., Task]
) -> None:
    endless(census)
    error = CensusTimeoutError if "operator" in make.__name__ or make is when_idle else AirflowSensorTimeout
    with pytest.raises(error, match=r"has not ended within .*\(timeout\)"):
        make(census, 57, timeout=0.02).execute(context())


def test_a_run_that_has_no_time_left_is_cancelled_once(census: Sandbox) -> None:
    endless(census)
    with pytest.raises(CensusTimeoutError, match="The run was cancelled"):
        operator(census, 57, timeout=0.02, cancel_on_timeout=True).execute(context())
    assert census.cancels == triggered_runs(census)


def test_without_the_fault_one_poll_is_enough(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_resume, "HAS_FAULT", False)
    with pytest.raises(TaskDeferred) as deferral:
        run_sensor(census, 57).execute(context())
    assert deferral.value.trigger.options.resume_after is None
    assert sum("/sync_runs/" in path for _, path in census.requests) == 1


@pytest.mark.parametrize(
    ("setting", "seconds", "grace"),
    [
        ("WORKERS__MIN_HEARTBEAT_INTERVAL", 5, 15.0),
        ("WORKERS__MIN_HEARTBEAT_INTERVAL", 1, 15.0),
        ("WORKERS__MIN_HEARTBEAT_INTERVAL", 20, 60.0),
        ("SCHEDULER__SCHEDULER_HEARTBEAT_SEC", 30, 90.0),
    ],
)
def test_the_grace_follows_the_heartbeats(
    monkeypatch: pytest.MonkeyPatch, setting: str, seconds: int, grace: float
) -> None:
    monkeypatch.setenv(f"AIRFLOW__{setting}", str(seconds))
    assert early_resume.grace() == grace


def run(trigger: CensusSyncRunTrigger) -> tuple[dict[str, Any], float]:
    """Run a trigger to its end; its event, and when that came."""

    async def first() -> Any:
        return await trigger.run().__anext__()

    event = asyncio.run(first())
    return event.payload, time.time()


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, "ended"), ({"deadline": 1.0}, "timeout"), ({"census_conn_id": "no_such"}, "error")],
    ids=["ended", "timeout", "error"],
)
def test_no_event_comes_earlier_than_it_may(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], kind: str
) -> None:
    sync_run_id = census.start_run(57 if options else 52)
    resume_after = time.time() + 0.3
    payload, moment = run(CensusSyncRunTrigger(sync_run_id, resume_after=resume_after, **options))
    assert payload["event"] == kind
    assert moment >= resume_after


@pytest.mark.parametrize("ends", [True, False], ids=["ended", "still running"])
def test_a_kill_meanwhile_cancels_nothing(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """The run has ended, or its time is over: then the task resumes, and decides itself."""
    states = itertools.chain(["deferred"], itertools.repeat("failed"))
    monkeypatch.setattr(triggers, "task_state", lambda _ti: next(states))
    sync_run_id = census.start_run(52 if ends else 57)
    if ends:
        census.finish_run(sync_run_id)
    trigger = CensusSyncRunTrigger(
        sync_run_id, cancel_on_kill=True, deadline=None if ends else 1.0, resume_after=time.time() + 3600
    )
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]
    polled = CensusHook().get_sync_run(sync_run_id)
    assert (polled["status"] == "completed") is ends

    async def kill() -> None:
        running = asyncio.ensure_future(trigger.run().__anext__())
        while not sum("/sync_runs/" in path for _, path in census.requests) > 1:  # noqa: ASYNC110 - the sandbox lives in another thread
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        await trigger.on_kill()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(kill())
    assert census.cancels == []

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A trigger that Airflow ends while it waits: whose kill it was, and what is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import BaseTrigger
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import TaskInstance, polls

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.triggers import census as triggers
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


def start(sync_id: int) -> int:
    return CensusHook().trigger_sync(sync_id)


def killed(trigger: CensusSyncRunTrigger, census: Sandbox, times: int = 1) -> None:
    """End a trigger while it waits, as the triggerer does when its row is gone."""

    async def run() -> None:
        wait = asyncio.ensure_future(anext(trigger.run()))
        while not polls(census):  # noqa: ASYNC110 - the sandbox lives in another thread
            await asyncio.sleep(0.001)
        wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await wait
        assert wait.cancelled()
        if hasattr(BaseTrigger, "on_kill"):
            assert not census.cancels, "the triggerer alone knows whether it is stopping"
            for _ in range(times):
                await trigger.on_kill()

    asyncio.run(run())


def waiting_trigger(
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    state: str | Exception,
    at_start: str | Exception = "deferred",
    **options: Any,
) -> CensusSyncRunTrigger:
    states = itertools.chain([at_start] * triggers.TELLS_STATES_AT_ANY_TIME, itertools.repeat(state))

    def task_state(ti: Any) -> str:
        assert ti is trigger.task_instance
        state = next(states)
        if isinstance(state, Exception):
            raise state
        return state

    monkeypatch.setattr(triggers, "task_state", task_state)
    trigger = CensusSyncRunTrigger(start(57), **{"cancel_on_kill": True, **options})
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]
    return trigger


@pytest.mark.parametrize(
    ("state", "options", "cancels"),
    [
        ("failed", {}, 1),
        ("success", {}, 1),
        ("none", {}, 1),
        ("removed", {}, 1),
        ("scheduled", {}, 1),
        ("deleted", {}, 0),
        ("deferred", {}, 0),
        (RuntimeError("no response"), {}, 0),
        ("failed", {"cancel_on_kill": False}, 0),
    ],
)
def test_the_run_is_cancelled_if_a_user_killed_the_task(
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    state: str | Exception,
    options: dict[str, Any],
    cancels: int,
) -> None:
    trigger = waiting_trigger(census, monkeypatch, state, **options)
    killed(trigger, census, times=2)
    assert census.cancels == [trigger.sync_run_id] * cancels


@pytest.mark.skipif(not triggers.TELLS_STATES_AT_ANY_TIME, reason="before Airflow 3.3 nobody can ask")
@pytest.mark.parametrize("at_start", ["queued", "success", "failed", "none", "deleted"])
@pytest.mark.parametrize("state", ["queued", "success", "failed", "none", "deleted"])
def test_a_trigger_for_which_no_task_was_deferred_cancels_nothing(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, at_start: str, state: str
) -> None:
    killed(waiting_trigger(census, monkeypatch, state, at_start), census)
    assert census.cancels == []


def test_a_trigger_that_could_not_ask_when_it_began_was_waited_for(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = waiting_trigger(census, monkeypatch, "failed", RuntimeError("no response"))
    killed(trigger, census)
    assert census.cancels == [trigger.sync_run_id]


def test_a_kill_of_a_task_that_nobody_knows_cancels_nothing(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = waiting_trigger(census, monkeypatch, "failed")
    trigger.task_instance = None
    killed(trigger, census)
    assert census.cancels == []


@pytest.mark.parametrize(("seconds", "cancels"), [(-1, 1), (0, 0), (3600, 0)])
@pytest.mark.parametrize("limit", ["deadline", "execution_deadline"])
def test_once_its_first_deadline_has_passed_a_trigger_cancels_nothing(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, limit: str, seconds: int, cancels: int
) -> None:
    """Airflow 2.11 cancels a trigger whose time is over; the task resumes, and decides itself."""
    limits: dict[str, Any] = {"deadline": 1e12, "execution_deadline": 1e12, limit: time.time() + 600}
    trigger = waiting_trigger(census, monkeypatch, "scheduled", **limits)
    clock = SimpleNamespace(time=lambda: limits[limit] + seconds)
    monkeypatch.setattr(triggers, "time", clock)
    killed(trigger, census)
    assert census.cancels == [trigger.sync_run_id] * cancels


@pytest.mark.parametrize("of_airflow", [False, True], ids=["Airflow 2.11 has none", "Airflow 3.3 calls it"])
def test_on_kill_is_called_by_the_trigger_itself_where_airflow_does_not(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, of_airflow: bool
) -> None:
    calls: list[CensusSyncRunTrigger] = []

    async def on_kill(trigger: CensusSyncRunTrigger) -> None:
        calls.append(trigger)

    async def run() -> None:
        wait = asyncio.ensure_future(anext(trigger.run()))
        while not polls(census):  # noqa: ASYNC110 - the sandbox lives in another thread
            await asyncio.sleep(0.001)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait

    if of_airflow:
        monkeypatch.setattr(BaseTrigger, "on_kill", on_kill, raising=False)
    else:
        monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)
    monkeypatch.setattr(CensusSyncRunTrigger, "on_kill", on_kill)
    trigger = waiting_trigger(census, monkeypatch, "failed")
    asyncio.run(run())
    assert calls == ([] if of_airflow else [trigger])


def test_after_its_event_a_trigger_cancels_nothing(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = waiting_trigger(census, monkeypatch, "running", deadline=1.0)

    async def run() -> None:
        events = trigger.run()
        await anext(events)
        await trigger.on_kill()

    asyncio.run(run())
    assert census.cancels == []


def test_a_run_that_cannot_be_cancelled_is_no_error_of_the_triggerer(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = waiting_trigger(census, monkeypatch, "failed")
    census.fail_next(9, status=422, method="POST", path="/api/v1/sync_runs")
    killed(trigger, census)
    assert census.cancels == []


def test_whatever_goes_wrong_in_on_kill_is_said_and_does_no_harm(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def down(hook: CensusHook, sync_run_id: int) -> None:
        raise RuntimeError("the secrets backend is down")

    trigger = waiting_trigger(census, monkeypatch, "failed")
    monkeypatch.setattr(CensusHook, "acancel_at_once", down)
    monkeypatch.setattr(CensusSyncRunTrigger, "log", logging.getLogger("on_kill"))
    killed(trigger, census)
    assert "may keep running: RuntimeError('the secrets backend is down')" in caplog.text

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A task on a worker that is killed: by a user, by a worker that stops, by its execution_timeout."""

from __future__ import annotations

import copy
import itertools
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, TaskDeferred
from airflow.utils.state import TaskInstanceState
from task_helpers import AtFirstSleep, StateIs, Store, TaskInstance, context, triggered

from airflow_provider_census.exceptions import CensusTaskKilled
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators import census as operators
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.transports.requests import RequestsTransport
from airflow_provider_census.utils import kill

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context
    from task_helpers import Done

    from airflow_provider_census.sandbox import Sandbox


def waiting_operator(**options: Any) -> CensusTriggerSyncOperator:
    return CensusTriggerSyncOperator(task_id="task", sync_id=57, wait_for_completion=True, **options)


@pytest.mark.parametrize(
    ("state", "options", "cancels"),
    [
        ("failed", {}, 1),
        ("success", {}, 1),
        ("none", {}, 1),
        ("removed", {}, 1),
        ("running", {}, 0),
        (RuntimeError("no response"), {}, 0),
        (threading.Event().wait, {}, 0),
        ("failed", {"cancel_on_kill": False}, 0),
    ],
    ids=["failed", "success", "cleared", "removed", "running", "unknown", "no state in time", "not wanted"],
)
def test_a_users_kill_cancels_and_nothing_else_does(
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    at_first_sleep: AtFirstSleep,
    state_is: StateIs,
    state: Any,
    options: dict[str, Any],
    cancels: int,
) -> None:
    operator = waiting_operator(**options)
    state_is(state)
    if callable(state):
        monkeypatch.setattr(operators, "STATE_TIMEOUT", 0.01)
    at_first_sleep(operator.on_kill)
    with pytest.raises(CensusTaskKilled, match="killed while it waited"):
        operator.execute(context())
    assert census.cancels == [census.triggers[0].sync_run_id] * cancels


def test_a_kill_while_the_run_is_being_started_cancels_it(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, state_is: StateIs
) -> None:
    operator = waiting_operator()
    state_is("failed")
    send = RequestsTransport.send

    def send_and_die(transport: RequestsTransport, request: Any) -> Any:
        response = send(transport, request)
        if request.path.endswith("/trigger"):
            operator.on_kill()
        return response

    monkeypatch.setattr(RequestsTransport, "send", send_and_die)
    with pytest.raises(CensusTaskKilled, match="killed"):
        operator.execute(context())
    assert triggered(census) == [57]
    assert census.cancels == [census.triggers[0].sync_run_id]


def test_a_kill_before_the_run_is_started_leaves_it_so(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, state_is: StateIs
) -> None:
    operator = waiting_operator()
    state_is("failed")
    trigger_sync = CensusHook.trigger_sync

    def die_and_start(*known: Any, **options: Any) -> Any:
        operator.on_kill()
        return trigger_sync(*known, **options)

    monkeypatch.setattr(CensusHook, "trigger_sync", die_and_start)
    with pytest.raises(CensusTaskKilled, match="killed"):
        operator.execute(context())
    assert (triggered(census), census.cancels) == ([], [])


@pytest.mark.parametrize("state", ["up_for_retry", "scheduled", "queued", "deferred", "running"])
def test_a_worker_that_lost_its_heartbeats_leaves_the_run_to_the_retry(
    census: Sandbox, at_first_sleep: AtFirstSleep, state_is: StateIs, state: str
) -> None:
    operator = waiting_operator()
    state_is(state)
    at_first_sleep(operator.on_kill)
    with pytest.raises(CensusTaskKilled, match="killed"):
        operator.execute(context())
    assert census.cancels == []


def test_there_is_one_attempt_to_cancel(
    census: Sandbox, at_first_sleep: AtFirstSleep, state_is: StateIs
) -> None:
    operator = waiting_operator()
    state_is("failed")
    at_first_sleep(operator.on_kill)
    census.fail_next(9, status=503, headers={"Retry-After": "0"}, path="/api/v1/sync_runs", method="POST")
    with pytest.raises(CensusTaskKilled, match="killed"):
        operator.execute(context())
    assert sum(method == "POST" and path.endswith("/cancel") for method, path in census.requests) == 1
    assert census.cancels == []


def test_whatever_goes_wrong_in_on_kill_is_said_and_does_no_harm(
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    at_first_sleep: AtFirstSleep,
    state_is: StateIs,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def down(hook: CensusHook, sync_run_id: int, timeout: float) -> None:
        raise RuntimeError("the secrets backend is down")

    operator = waiting_operator()
    state_is("failed")
    at_first_sleep(operator.on_kill)
    monkeypatch.setattr(CensusHook, "cancel_at_once", down)
    monkeypatch.setattr(CensusTriggerSyncOperator, "log", logging.getLogger("on_kill"))
    with pytest.raises(CensusTaskKilled, match="killed"):
        operator.execute(context())
    expected = f"Sync run {census.triggers[0].sync_run_id} may keep running: the secrets backend is down"
    assert expected in caplog.messages


@pytest.mark.parametrize("state", ["failed", "none"])
def test_a_task_that_does_not_wait_cancels_nothing(census: Sandbox, state_is: StateIs, state: str) -> None:
    operator = CensusTriggerSyncOperator(task_id="task", sync_id=57)
    state_is(state)
    operator.execute(context())
    operator.on_kill()
    assert census.cancels == []


def test_after_the_end_of_its_wait_a_task_cancels_nothing(census: Sandbox, state_is: StateIs) -> None:
    operator = CensusTriggerSyncOperator(task_id="task", sync_id=52, wait_for_completion=True)
    state_is("failed")
    operator.execute(context())
    operator.on_kill()
    assert census.cancels == []


def test_the_execution_timeout_cancels_once_although_airflow_calls_on_kill_too(
    census: Sandbox, at_first_sleep: AtFirstSleep, state_is: StateIs
) -> None:
    def alarm() -> None:
        raise AirflowTaskTimeout("Timeout, PID: 1")

    operator = waiting_operator()
    state_is("failed")
    at_first_sleep(alarm)
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(context())
    operator.on_kill()
    assert census.cancels == [census.triggers[0].sync_run_id]


def test_a_sensor_never_cancels(census: Sandbox) -> None:
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=CensusHook().trigger_sync(57))
    assert sensor.poke(context()).is_done is False
    sensor.on_kill()
    assert census.cancels == []


STATES = [state.value for state in TaskInstanceState]


def documented() -> dict[str, tuple[str, str]]:
    """The table in the docstring of the module: what happens on a worker and in the triggerer, by state."""
    lines = str(kill.__doc__).splitlines()
    first, second, last = (index for index, line in enumerate(lines) if line.startswith("==="))
    starts = [column.start() for column in re.finditer("=+", lines[first])]
    rows: list[list[str]] = []
    for line in lines[second + 1 : last]:
        states, *verbs = (line[start:end].strip() for start, end in itertools.pairwise(starts))
        if verbs[0]:
            rows.append([states, *verbs])
        else:
            rows[-1][0] += f" {states}"
    found = {
        state.strip(): (worker, triggerer) for row, worker, triggerer in rows for state in row.split(",")
    }
    return {**dict.fromkeys(STATES, found.pop("and any other")), **found}


@pytest.mark.parametrize("state", [*STATES, "none", "deleted"])
def test_which_states_are_a_users_kill_is_as_documented(state: str) -> None:
    done = tuple(
        "cancel" if kill.was_killed_by_user(state, deferred=deferred) else "keep"
        for deferred in (False, True)
    )
    assert documented()[state] == done


def test_the_documented_states_are_those_of_airflow() -> None:
    assert documented().keys() == {*STATES, "none", "deleted"}
    assert len(set(documented().values())) == 4


def test_the_state_is_the_one_in_airflows_database(run_task: Callable[..., Done]) -> None:
    states: dict[str, str] = {}

    class Asks(BaseOperator):
        def execute(self, context: Context) -> None:
            ti = context["ti"]
            states["mine"] = kill.task_state(ti)
            for field, value in {
                "dag_id": "gone",
                "run_id": "gone",
                "task_id": "gone",
                "map_index": 7,
            }.items():
                other = copy.copy(ti)
                setattr(other, field, value)
                states[field] = kill.task_state(other)

    run_task(Asks)
    assert states.pop("mine") != "deleted"
    assert states == dict.fromkeys(("dag_id", "run_id", "task_id", "map_index"), "deleted")


def test_the_execution_timeout_while_the_run_is_noted_cancels_it(census: Sandbox) -> None:
    class SlowBackend(TaskInstance):
        def xcom_push(self, key: str, value: Any, **_: Any) -> None:
            if key == "sync_run_id":
                raise AirflowTaskTimeout("Timeout, PID: 1")

    task = CensusTriggerSyncOperator(task_id="task", sync_id=57, wait_for_completion=True)
    with pytest.raises(AirflowTaskTimeout, match="The run was cancelled"):
        task.execute(context(SlowBackend()))
    assert census.cancels == [census.triggers[0].sync_run_id]


def test_a_users_kill_cancels_the_run_of_an_earlier_try_that_is_out_of_reach(
    census: Sandbox, at_first_sleep: AtFirstSleep, state_is: StateIs
) -> None:
    state_is("failed")
    store = Store()
    first = CensusTriggerSyncOperator(task_id="task", sync_id=57, wait_for_completion=True, deferrable=True)
    with pytest.raises(TaskDeferred):
        first.execute(context(task_state_store=store))
    again = CensusTriggerSyncOperator(task_id="task", sync_id=57, wait_for_completion=True)
    census.fail_next(3, status=500, method="GET")
    at_first_sleep(again.on_kill)
    with pytest.raises(CensusTaskKilled):
        again.execute(context(TaskInstance(try_number=2), task_state_store=store))
    assert census.cancels == [census.triggers[0].sync_run_id]


def test_a_users_kill_before_airflow_knows_of_the_deferral_cancels(
    census: Sandbox, state_is: StateIs
) -> None:
    state_is("failed")
    task = CensusTriggerSyncOperator(task_id="task", sync_id=57, wait_for_completion=True, deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute(context())
    task.on_kill()
    assert census.cancels == [census.triggers[0].sync_run_id]

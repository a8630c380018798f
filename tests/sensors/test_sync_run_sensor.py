# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sensor in a real Airflow, in its three modes, against the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    TaskDeferred,
    TaskGroup,
)
from task_helpers import Done, context, polls, triggered

from airflow_provider_census.exceptions import (
    CensusAuthError,
    CensusNotFoundError,
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
    CensusSyncRunTooFewRecords,
)
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors import base as sensors
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}
NO_RETRIES_USED = {"retries": 3, "retry_delay": timedelta(0)}
"""There would be retries, but the evaluation is final."""
modes = pytest.mark.parametrize("mode", MODES)


def start(sync_id: int) -> int:
    return CensusHook().trigger_sync(sync_id)


ENDINGS: list[tuple[int, dict[str, Any], str, type[CensusSyncRunError] | None, str]] = [
    (52, {}, "success", None, ""),
    (53, {}, "failed", CensusSyncRunFailed, "JSON_ARRAY_ERROR"),
    (53, {"soft_fail": True}, "skipped", None, ""),
    (53, {"never_fail": True}, "skipped", None, ""),
    (54, {}, "failed", CensusSyncRunSkipped, "Skipped by Census"),
    (54, {"on_skipped_run": "skip"}, "skipped", None, ""),
    (54, {"on_skipped_run": "succeed"}, "success", None, ""),
    (55, {"max_records_failed": 2}, "failed", CensusSyncRunRejectedRecords, "records_failed is 3"),
    (55, {"max_failed_share": 0.004}, "failed", CensusSyncRunRejectedRecords, "0.5 % (5 of 1000)"),
    (52, {"min_records_processed": 1001}, "failed", CensusSyncRunTooFewRecords, "records_processed is 1000"),
    (56, {}, "failed", CensusSyncRunCanceled, "Cancelled"),
    (58, {}, "success", None, ""),
]


def noting(begun: list[str], method: Callable[..., Any]) -> Callable[..., Any]:
    def note(*known: Any, **named: Any) -> Any:
        begun.append(method.__name__)
        return method(*known, **named)

    return note


@modes
@pytest.mark.parametrize(("sync_id", "options", "state", "error", "words"), ENDINGS)
def test_the_sensor_ends_as_the_run_did(
    run_task: RunTask,
    census: Sandbox,
    triggers_run: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    sync_id: int,
    options: dict[str, Any],
    state: str,
    error: type[CensusSyncRunError] | None,
    words: str,
) -> None:
    sync_run_id = start(sync_id)
    begun: list[str] = []
    for method in ("execute", "resume_execution"):
        monkeypatch.setattr(CensusSyncRunSensor, method, noting(begun, getattr(CensusSyncRunSensor, method)))
    done = run_task(CensusSyncRunSensor, sync_run_id=sync_run_id, **NO_RETRIES_USED, **MODES[mode], **options)
    assert done.state == state
    address = f"{census.url}/syncs/{sync_id}/history?sync_run_id={sync_run_id}"
    assert done.link() == address
    if state == "success":
        assert (done.xcom()["id"], done.xcom()["sync_id"]) == (sync_run_id, sync_id)
    if error is not None:
        assert len(done.raised["task"]) == 1
        assert isinstance(done.error, error)
        assert isinstance(done.error, AirflowFailException)
        assert type(done.error).__name__ == error.__name__.replace("Census", "Final", 1)
        assert done.error.sync_run["id"] == sync_run_id
        assert words in str(done.error)
        assert address in str(done.error)
    is_running = sync_id not in {54, 58}
    assert bool(triggers_run) == (is_running and mode == "deferred")
    assert (len(begun) > 1) == (is_running and mode != "poke"), "it gave its worker slot back in between"
    assert triggered(census) == [sync_id]
    assert census.cancels == []


@modes
@pytest.mark.parametrize(
    ("options", "states"),
    [
        ({}, {"poke": "failed", "reschedule": "failed", "deferred": "failed"}),
        ({"soft_fail": True}, {"poke": "skipped", "reschedule": "skipped", "deferred": "skipped"}),
        ({"silent_fail": True}, {"poke": "failed", "reschedule": "failed", "deferred": "failed"}),
        # Airflow's own loop does not heed never_fail when the time is over; on resuming it does.
        ({"never_fail": True}, {"poke": "failed", "reschedule": "failed", "deferred": "skipped"}),
    ],
    ids=str,
)
def test_the_timeout_ends_the_wait_and_leaves_the_run_alone(
    run_task: RunTask, census: Sandbox, mode: str, options: dict[str, Any], states: dict[str, str]
) -> None:
    sync_run_id = start(57)
    done = run_task(
        CensusSyncRunSensor,
        sync_run_id=sync_run_id,
        timeout=0.05,
        **NO_RETRIES_USED,
        **MODES[mode],
        **options,
    )
    assert done.state == states[mode]
    if done.state == "failed":
        assert [type(error) for error in done.raised["task"]] == [AirflowSensorTimeout]
    assert census.cancels == []


MISSING = 404404


@modes
@pytest.mark.parametrize(
    ("options", "state"), [({}, "failed"), ({"soft_fail": True}, "failed"), ({"never_fail": True}, "skipped")]
)
def test_a_run_that_does_not_exist_is_an_error(
    run_task: RunTask, census: Sandbox, mode: str, options: dict[str, Any], state: str
) -> None:
    done = run_task(CensusSyncRunSensor, sync_run_id=MISSING, **MODES[mode], **options)
    assert done.state == state
    if state == "failed":
        assert type(done.error) is CensusNotFoundError
    assert polls(census) == 1


@modes
def test_silent_fail_keeps_waiting_when_the_run_does_not_exist(
    run_task: RunTask, census: Sandbox, mode: str
) -> None:
    done = run_task(CensusSyncRunSensor, sync_run_id=MISSING, silent_fail=True, timeout=0.05, **MODES[mode])
    assert type(done.error) is AirflowSensorTimeout
    assert polls(census) > 1


@pytest.mark.parametrize(
    ("mode", "rejections", "state"),
    [
        ("poke", 2, "success"),
        ("poke", 3, "failed"),  # in a row
        ("reschedule", 1, "failed"),  # each poke is a process of its own
        ("deferred", 3, "success"),  # at the first poll, and at two of the trigger
        ("deferred", 5, "failed"),  # at all three of the trigger, and when the task resumes
    ],
)
def test_a_token_that_is_rejected_is_given_up(
    run_task: RunTask, census: Sandbox, mode: str, rejections: int, state: str
) -> None:
    sync_run_id = start(58)
    census.fail_next(rejections, status=401, path="/api/v1/sync_runs")
    done = run_task(CensusSyncRunSensor, sync_run_id=sync_run_id, **MODES[mode])
    assert done.state == state
    if state == "failed":
        assert type(done.error) is CensusAuthError


@modes
def test_an_outage_is_not_the_end_of_the_run(run_task: RunTask, census: Sandbox, mode: str) -> None:
    sync_run_id = start(52)
    census.fail_next(12, status=502, path="/api/v1/sync_runs")
    assert run_task(CensusSyncRunSensor, sync_run_id=sync_run_id, **MODES[mode]).state == "success"


@modes
def test_the_id_may_come_from_the_operator(run_task: RunTask, census: Sandbox, mode: str) -> None:
    def make() -> None:
        trigger = CensusTriggerSyncOperator(task_id="a_trigger", sync_id=52)
        CensusSyncRunSensor(task_id="b_wait", sync_run_id=trigger.output, **MODES[mode])  # type: ignore[arg-type]

    done = run_task(make)
    assert done.states == ["success", "success"]
    (trigger,) = census.triggers
    assert done.xcom("return_value", done.instances[1])["id"] == trigger.sync_run_id


def test_mapped_and_templated(run_task: RunTask, census: Sandbox) -> None:
    ids = [start(sync_id) for sync_id in (58, 54, 55)]
    done = run_task(
        lambda: CensusSyncRunSensor.partial(task_id="task", deferrable=True).expand(
            sync_run_id=[ids[0], f"{{{{ {ids[1]} }}}}", str(ids[2])]
        )
    )
    assert done.states == ["success", "failed", "success"]
    assert done.xcom("return_value", done.instances[2])["id"] == ids[2]


@pytest.mark.parametrize(
    ("partial", "defaults", "interval"),
    [({"poke_interval": 7}, {}, 7.0), ({}, {"poke_interval": 7}, 7.0), ({}, {}, None)],
    ids=["partial", "default_args", "nowhere"],
)
def test_an_interval_of_a_mapped_sensor_is_the_users_wherever_it_stands(
    run_task: RunTask,
    census: Sandbox,
    triggers_run: list[Any],
    partial: dict[str, Any],
    defaults: dict[str, Any],
    interval: float | None,
) -> None:
    def make() -> None:
        with TaskGroup("group", default_args=defaults):  # type: ignore[arg-type]
            mapped = CensusSyncRunSensor.partial(task_id="task", deferrable=True, **partial)
            mapped.expand(sync_run_id=[start(52)])

    run_task(make)
    [trigger] = triggers_run
    assert trigger.options.poll_interval == interval


def test_only_on_a_worker_a_sensor_may_poke_without_a_delay() -> None:
    with pytest.raises(ValueError, match=r"poke_interval must be .* above 0, .* not 0"):
        CensusSyncRunSensor(task_id="task", sync_run_id=94, deferrable=True, poke_interval=0)
    assert CensusSyncRunSensor(task_id="task", sync_run_id=94, poke_interval=0).poke_interval == 0


def deferred_with(**options: Any) -> tuple[CensusSyncRunSensor, CensusSyncRunTrigger]:
    """A sensor that was deferred, and the trigger as the triggerer makes it."""
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=start(57), deferrable=True, **options)
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(context())
    assert deferral.value.method_name == "execute_complete"
    _, arguments = deferral.value.trigger.serialize()
    return sensor, CensusSyncRunTrigger(**arguments)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"poll_interval": None, "exponential_backoff": False, "max_wait": None}),
        ({"poke_interval": 7}, {"poll_interval": 7.0, "exponential_backoff": False}),
        ({"poke_interval": timedelta(minutes=2)}, {"poll_interval": 120.0}),
        ({"poke_interval": 60}, {"poll_interval": 60.0}),
        (
            {"exponential_backoff": True, "max_wait": timedelta(minutes=5)},
            {"poll_interval": 60.0, "exponential_backoff": True, "max_wait": 300.0},
        ),
        ({"exponential_backoff": True, "poke_interval": 3}, {"poll_interval": 3.0, "max_wait": None}),
        ({"silent_fail": True}, {"silent_fail": True}),
        ({"retries": 2}, {"silent_fail": False}),
    ],
    ids=str,
)
def test_the_trigger_takes_over_what_airflow_does_not_do(
    census: Sandbox, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    _, trigger = deferred_with(**options)
    assert trigger.cancel_on_kill is False
    assert {name: getattr(trigger.options, name) for name in expected} == expected


def test_the_time_limits_of_the_sensor_are_moments_in_the_trigger(census: Sandbox) -> None:
    _, trigger = deferred_with(timeout=100, execution_timeout=timedelta(seconds=900))
    options = trigger.options
    assert options.started is not None
    assert options.execution_deadline is not None
    assert options.deadline == options.started + 100
    assert 810 <= options.execution_deadline - options.started <= 900


def test_an_interval_in_default_args_is_the_users() -> None:
    with DAG(
        "defaults",
        schedule=None,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        default_args={"poke_interval": 33},
    ):
        sensor = CensusSyncRunSensor(task_id="task", sync_run_id=1)
    assert sensor._wait_options().poll_interval == 33.0  # noqa: SLF001 - what Airflow itself calls, or would be polled with


@pytest.mark.parametrize("kind", [CensusSyncRunSensor, CensusSyncSensor])
@pytest.mark.parametrize(
    ("policy", "mode", "expected"),
    [
        ({}, "poke", (0.001, None, False)),
        ({}, "reschedule", (60.0, None, False)),
        ({"poke_interval": 7}, "poke", (7.0, 7.0, False)),
        ({"poke_interval": 7}, "reschedule", (7.0, 7.0, False)),
        ({"mode": "reschedule"}, "poke", (60.0, None, False)),
        ({"mode": "poke"}, "reschedule", (0.001, None, False)),
        ({"mode": "reschedule", "poke_interval": 90}, "poke", (90.0, 90.0, False)),
        ({"exponential_backoff": True}, "poke", (None, 60.0, True)),
    ],
    ids=str,
)
def test_what_a_cluster_policy_sets_counts(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Any],
    policy: dict[str, Any],
    mode: str,
    expected: tuple[float | None, float | None, bool],
) -> None:
    """A policy may change a task once it is made: what it sets is an interval that somebody wants."""
    monkeypatch.setattr(sensors, "RESCHEDULE_INTERVAL", 60.0)
    of = {"sync_run_id": 1} if kind is CensusSyncRunSensor else {"sync_id": 52}
    sensor = kind(task_id="task", mode=mode, **of)
    for name, value in policy.items():
        setattr(sensor, name, value)
    between, poll_interval, exponential = expected
    if between is not None:
        assert sensor._get_next_poke_interval(5.0, lambda: 100.0, 2) == between  # noqa: SLF001 - what Airflow itself calls, or would be polled with
    options = sensor._wait_options()  # noqa: SLF001 - what Airflow itself calls, or would be polled with
    assert (options.poll_interval, options.exponential_backoff) == (poll_interval, exponential)


@pytest.mark.parametrize("timeout", [100, timedelta(seconds=100)], ids=str)
def test_a_timeout_of_a_cluster_policy_counts(census: Sandbox, timeout: Any) -> None:
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=start(57), deferrable=True)
    sensor.timeout = timeout
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(context())
    options = deferral.value.trigger.options
    assert options.deadline == options.started + 100
    event = {"sync_run_id": sensor.sync_run_id, "event": "timeout"}
    with pytest.raises(AirflowSensorTimeout, match=r"within 1 min 40 s \(timeout\)"):
        sensor.execute_complete(context(), event)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize(
    "options",
    [
        {"poke_interval": 7},
        {"exponential_backoff": True},
        {"exponential_backoff": True, "poke_interval": 3, "max_wait": 20},
    ],
    ids=str,
)
def test_the_interval_is_airflows_own_if_the_user_named_one(mode: str, options: dict[str, Any]) -> None:
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=1, mode=mode, **options)
    for poke_count in range(1, 9):
        known = (5.0, lambda: 100.0, poke_count)
        assert sensor._get_next_poke_interval(*known) == BaseSensorOperator._get_next_poke_interval(  # noqa: SLF001 - what Airflow itself calls, or would be polled with
            sensor, *known
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *(({"sync_run_id": wrong}, "sync_run_id must be") for wrong in (None, "", 0, True, 1.5, "-9")),
        *(({"census_conn_id": wrong}, "census_conn_id must be") for wrong in (None, "", 5.5)),
        ({"on_skipped_run": "ignore"}, "on_skipped_run must be one of"),
        ({"max_records_failed": -1}, "max_records_failed must be a whole number"),
        ({"max_records_invalid": "1"}, "max_records_invalid must be a whole number"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_when_the_dag_is_read(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CensusSyncRunSensor(task_id="task", **{"sync_run_id": 1, **options})

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What arrives at a StatsD server of what tasks count in a real Airflow."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import Stats
from task_helpers import RESCHEDULED, Done, TaskInstance, context

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
AIRFLOW = tuple(int(number) for number in airflow.__version__.split(".")[:2])
STARTED = "census.sync_runs_started:1|c"
FINISHED = "census.sync_runs_finished."
WAITED = re.compile(r"census\.wait_seconds:([0-9.]+)\|ms")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What Airflow sent of Census since it was last read, without the prefix of all its metrics."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        settings = {"ON": "true", "HOST": "127.0.0.1", "PORT": str(server.getsockname()[1])}
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)

        def read() -> list[str]:
            lines = []
            while True:
                try:
                    lines.append(server.recv(65536).decode())
                except BlockingIOError:
                    return [line.removeprefix("airflow.") for line in lines if "census" in line]

        configure(monkeypatch)
        yield read
        monkeypatch.undo()
        configure(monkeypatch)


def configure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow read its configuration again, as a process of its own does for a task."""
    if AIRFLOW < (3, 2):
        from airflow.metrics.statsd_logger import get_statsd_logger

        monkeypatch.setattr(type(Stats), "factory", get_statsd_logger)
        monkeypatch.setattr(Stats, "instance", None)
        return
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    if AIRFLOW == (3, 2):
        Stats.initialize(factory=get_stats_factory(Stats))  # type: ignore[call-arg]
    else:
        Stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


def split(lines: list[str]) -> tuple[list[str], list[float]]:
    """Take the times out: what was counted, and the milliseconds of every wait."""
    times = [float(found[1]) for line in lines if (found := WAITED.fullmatch(line))]
    return [line for line in lines if not WAITED.fullmatch(line)], times


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("sync_id", "options", "state", "outcome"),
    [
        (52, {}, "success", "completed"),
        (53, {}, "failed", "failed"),
        (54, {}, "failed", "skipped"),
        (54, {"on_skipped_run": "skip"}, "skipped", "skipped"),
        (55, {"max_records_failed": 0}, "failed", "completed"),
        (56, {}, "failed", "canceled"),
    ],
    ids=str,
)
def test_a_run_that_a_task_starts_and_waits_for_is_counted_at_both_ends(
    run_task: RunTask,
    census: Sandbox,
    sent: Callable[[], list[str]],
    sync_id: int,
    options: dict[str, Any],
    state: str,
    outcome: str,
    deferrable: bool,
) -> None:
    waits = {"wait_for_completion": True, "deferrable": deferrable, **options}
    assert run_task(CensusTriggerSyncOperator, sync_id=sync_id, **waits).state == state
    counted, waited = split(sent())
    assert counted == [STARTED, f"{FINISHED}{outcome}:1|c"]
    assert len(waited) == 1


@pytest.mark.parametrize("options", [{"mode": "poke"}, RESCHEDULED, {"deferrable": True}], ids=str)
def test_a_sensor_counts_the_end_of_a_run(
    run_task: RunTask, census: Sandbox, sent: Callable[[], list[str]], options: dict[str, Any]
) -> None:
    sync_run_id = CensusHook().trigger_sync(53)
    assert run_task(CensusSyncRunSensor, sync_run_id=sync_run_id, **options).state == "failed"
    counted, waited = split(sent())
    assert counted == [f"{FINISHED}failed:1|c"]
    assert len(waited) == 1


def test_a_run_that_nobody_waits_for_is_only_started(
    run_task: RunTask, census: Sandbox, sent: Callable[[], list[str]]
) -> None:
    assert run_task(CensusTriggerSyncOperator, sync_id=52).state == "success"
    assert sent() == [STARTED]


def test_every_try_that_starts_a_run_counts(
    run_task: RunTask, census: Sandbox, sent: Callable[[], list[str]]
) -> None:
    options = {"wait_for_completion": True, "retries": 1, "retry_delay": timedelta(0)}
    assert run_task(CensusTriggerSyncOperator, sync_id=53, **options).state == "failed"
    counted, waited = split(sent())
    assert counted == [STARTED, f"{FINISHED}failed:1|c"] * 2
    assert len(waited) == 2


def test_nothing_is_counted_that_did_not_happen(
    run_task: RunTask, census: Sandbox, sent: Callable[[], list[str]]
) -> None:
    assert run_task(CensusTriggerSyncOperator, sync_id=404404).state == "failed"
    sync_run_id = CensusHook().trigger_sync(57)
    assert run_task(CensusSyncRunSensor, sync_run_id=sync_run_id, timeout=0.05).state == "failed"
    assert sent() == []


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("task", ["operator", "sensor", "rescheduled sensor"])
def test_the_time_is_that_of_the_whole_wait(
    census: Sandbox, sent: Callable[[], list[str]], task: str
) -> None:
    sync_run_id = CensusHook().trigger_sync(58)
    begun = datetime.now(timezone.utc) - HOUR
    if task == "rescheduled sensor":
        ti = TaskInstance(start_date=begun, get_first_reschedule_date=lambda _: begun)
        sensor = CensusSyncRunSensor(task_id="task", sync_run_id=sync_run_id, mode="reschedule")
        assert sensor.poke(context(ti)).is_done
    else:
        resumed = {
            "operator": CensusTriggerSyncOperator(task_id="task", sync_id=58, wait_for_completion=True),
            "sensor": CensusSyncRunSensor(task_id="task", sync_run_id=sync_run_id),
        }[task]
        event = {"sync_run_id": sync_run_id, "event": "ended"}
        resumed.execute_complete(context(), event, started=begun.timestamp())  # type: ignore[attr-defined]
    (milliseconds,) = split(sent())[1]
    assert HOUR <= timedelta(milliseconds=milliseconds) < HOUR + timedelta(minutes=5)


@pytest.mark.parametrize("kind", [CensusTriggerSyncOperator, CensusSyncRunSensor])
def test_where_nobody_knows_when_a_wait_began_no_time_is_sent(
    census: Sandbox, sent: Callable[[], list[str]], kind: type[Any]
) -> None:
    """Airflow gave up the trigger, and with it what the task was to be resumed with."""
    sync_run_id = CensusHook().trigger_sync(58)
    operator = kind is CensusTriggerSyncOperator
    task = kind(task_id="task", **({"sync_id": 58} if operator else {"sync_run_id": sync_run_id}))
    ti = TaskInstance()
    ti.xcom_push("sync_run_id", sync_run_id)
    task.resume_execution("__fail__", {"error": "Trigger failure"}, context(ti))
    assert split(sent()) == ([f"{FINISHED}completed:1|c"], [])


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_wait_that_has_just_begun_takes_no_time(
    census: Sandbox, sent: Callable[[], list[str]], mode: str
) -> None:
    ti = TaskInstance(start_date=None, get_first_reschedule_date=lambda _: None)
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=CensusHook().trigger_sync(58), mode=mode)
    assert sensor.poke(context(ti)).is_done
    (milliseconds,) = split(sent())[1]
    assert timedelta(milliseconds=milliseconds) < timedelta(minutes=5)


def test_airflow_may_fail_to_report_when_a_wait_began(census: Sandbox, sent: Callable[[], list[str]]) -> None:
    sync_run_id = CensusHook().trigger_sync(58)
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=sync_run_id, mode="reschedule")
    assert sensor.poke(context(TaskInstance())).is_done
    assert f"{FINISHED}completed:1|c" in sent()


@pytest.mark.parametrize("fault", [OSError("no route"), ImportError("statsd"), ValueError("bad name")])
@pytest.mark.parametrize("method", ["incr", "timing"])
def test_no_metric_can_break_a_task(
    run_task: RunTask,
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    fault: Exception,
) -> None:
    failures = []

    def fail(name: str, *_: Any, **__: Any) -> None:
        if name.startswith("census."):
            failures.append(name)
            raise fault

    monkeypatch.setattr(Stats, method, fail, raising=False)
    assert run_task(CensusTriggerSyncOperator, sync_id=52, wait_for_completion=True).state == "success"
    assert failures

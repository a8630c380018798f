# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sensor for runs that no task of ours started, in a real Airflow, in its three modes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from task_helpers import Done, Log, context, run_of

from airflow_provider_census import __version__
from airflow_provider_census.exceptions import (
    CensusError,
    CensusLookupError,
    CensusNotFoundError,
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
)
from airflow_provider_census.sensors.census import CensusSyncSensor
from airflow_provider_census.triggers.census import CensusSyncTrigger

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}
NO_RETRIES_USED: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(0)}
modes = pytest.mark.parametrize("mode", MODES)
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(timezone.utc)


def ago() -> str:
    return (now() - HOUR).isoformat()


@pytest.fixture
def starts_itself(census: Sandbox) -> Callable[..., None]:
    """Let Census start a run of a sync when somebody polls its runs for the third time."""

    def arrange(*sync_ids: int) -> None:
        left = list(sync_ids)

        def start(method: str, path: str) -> None:
            if left and sum(path.endswith("/sync_runs") for _, path in census.requests) >= 3:
                census.start_run(left.pop(0))

        census.on_request = start

    return arrange


ENDINGS: list[tuple[int, dict[str, Any], str, type[CensusSyncRunError] | None]] = [
    (52, {}, "success", None),
    (53, {}, "failed", CensusSyncRunFailed),
    (53, {"soft_fail": True}, "skipped", None),
    (53, {"never_fail": True}, "skipped", None),
    (55, {"max_records_failed": 2}, "failed", CensusSyncRunRejectedRecords),
    (55, {"max_failed_share": 0.005, "min_records_processed": 1000}, "success", None),
    (56, {}, "failed", CensusSyncRunCanceled),
]


@modes
@pytest.mark.parametrize(("sync_id", "options", "state", "error"), ENDINGS)
def test_the_sensor_ends_as_a_run_did_that_census_started_meanwhile(
    run_task: RunTask,
    census: Sandbox,
    starts_itself: Callable[..., None],
    triggers_run: list[Any],
    mode: str,
    sync_id: int,
    options: dict[str, Any],
    state: str,
    error: type[CensusSyncRunError] | None,
) -> None:
    census.start_run(sync_id)  # before the DAG run, so of no interest
    starts_itself(sync_id)
    done = run_task(CensusSyncSensor, sync_id=sync_id, **NO_RETRIES_USED, **MODES[mode], **options)
    assert done.state == state
    _, run = census.runs
    address = f"{census.url}/syncs/{sync_id}/history?sync_run_id={run['id']}"
    if mode != "deferred":  # else it was unknown at the worker's first poll
        assert done.link() == address
    if state == "success":
        assert (done.xcom()["id"], done.xcom()["sync_id"]) == (run["id"], sync_id)
        assert done.link() == address
    if error is not None:
        (raised,) = done.raised["task"]
        assert isinstance(raised, error)
        assert isinstance(raised, AirflowFailException)
        assert raised.sync_run["id"] == run["id"]
        assert address in str(raised)
    assert bool(triggers_run) == (mode == "deferred")
    assert (census.triggers, census.cancels) == ([], [])


@modes
def test_the_newest_run_that_has_ended_is_the_result(run_task: RunTask, census: Sandbox, mode: str) -> None:
    _failed, completed, skipped = (census.start_run(57, like=like) for like in (53, 58, 54))
    for sync_run_id, status in ((_failed, "failed"), (completed, "completed"), (skipped, "skipped")):
        census.finish_run(sync_run_id, status)
    census.start_run(57)
    done = run_task(CensusSyncSensor, sync_id=57, since=ago(), **MODES[mode])
    assert done.state == "success"
    assert done.xcom()["id"] == completed


@modes
@pytest.mark.parametrize("options", [{}, {"soft_fail": True}], ids=str)
def test_a_run_from_before_is_no_run(
    run_task: RunTask, census: Sandbox, mode: str, options: dict[str, Any]
) -> None:
    census.start_run(58)
    done = run_task(CensusSyncSensor, sync_id=58, timeout=0.05, **NO_RETRIES_USED, **MODES[mode], **options)
    assert done.state == ("skipped" if options else "failed")
    if not options:
        assert [type(error) for error in done.raised["task"]] == [AirflowSensorTimeout]
    if mode == "deferred" and not options:
        assert "There is none yet." in str(done.error)
    assert done.link().endswith("/syncs/58")


@modes
@pytest.mark.parametrize(
    ("options", "state"), [({}, "failed"), ({"soft_fail": True}, "failed"), ({"never_fail": True}, "skipped")]
)
def test_a_sync_that_does_not_exist_is_an_error(
    run_task: RunTask, census: Sandbox, mode: str, options: dict[str, Any], state: str
) -> None:
    done = run_task(CensusSyncSensor, sync_id=404404, **MODES[mode], **options)
    assert done.state == state
    if state == "failed":
        assert type(done.error) is CensusNotFoundError


@modes
def test_silent_fail_keeps_waiting_when_the_sync_does_not_exist(
    run_task: RunTask, census: Sandbox, mode: str
) -> None:
    done = run_task(CensusSyncSensor, sync_id=404404, silent_fail=True, timeout=0.5, **MODES[mode])
    assert type(done.error) is AirflowSensorTimeout
    assert len(census.requests) > 1


def test_silent_fail_keeps_waiting_in_the_triggerer(census: Sandbox) -> None:
    started = census.start_run(58)
    census.fail_next(5, status=403, path="/api/v1/syncs/58")
    event = event_of(CensusSyncTrigger(58, AWARE.timestamp(), silent_fail=True))
    assert event == {"sync_run_id": started, "event": "ended", "message": ""}


@modes
def test_an_outage_is_not_the_end(run_task: RunTask, census: Sandbox, mode: str) -> None:
    sync_run_id = census.start_run(52)
    census.fail_next(12, status=502, path="/api/v1/syncs/52/sync_runs")
    done = run_task(CensusSyncSensor, sync_id=52, since=ago(), **MODES[mode])
    assert done.state == "success"
    assert done.xcom()["id"] == sync_run_id


@modes
def test_the_sync_may_be_named_by_its_label(run_task: RunTask, census: Sandbox, mode: str) -> None:
    census.start_run(52)
    done = run_task(CensusSyncSensor, sync_label="Completes", since=ago(), **MODES[mode])
    assert done.xcom()["sync_id"] == 52
    listed = [path for _, path in census.requests if path == "/api/v1/syncs"]
    assert len(listed) == 1 or mode == "reschedule"  # where every poke is a task of its own


def test_a_label_that_no_sync_has(run_task: RunTask, census: Sandbox) -> None:
    assert type(run_task(CensusSyncSensor, sync_label="completes").error) is CensusLookupError


@pytest.mark.parametrize("native", [False, True], ids=["as text", "native"])
@pytest.mark.parametrize(
    "since",
    [
        "{{ data_interval_end - macros.timedelta(hours=1) }}",
        "{{ ts }}",
        "{{ data_interval_end | ts_nodash_with_tz }}",
        "{{ macros.datetime(2024, 1, 31) }}",
    ],
)
def test_the_moment_is_a_template(
    run_dag: Callable[..., Any],
    census: Sandbox,
    starts_itself: Callable[..., None],
    since: str,
    native: bool,
) -> None:
    from airflow.providers.common.compat.sdk import DAG

    with DAG(
        "since_a_template",
        schedule=None,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        render_template_as_native_obj=native,
    ) as dag:
        CensusSyncSensor(task_id="task", sync_id="{{ 50 + 8 }}", since=since, mode="reschedule", timeout=60)
    starts_itself(58)
    done = Done(dag, run_dag(dag))
    assert done.state == "success"
    assert done.xcom()["sync_id"] == 58


AWARE = datetime(2026, 1, 31, 6, tzinfo=timezone(timedelta(hours=2)))
MOMENTS = [
    AWARE,
    datetime(2026, 1, 31, 4),  # noqa: DTZ001 - as Airflow, in its default_timezone
    "2026-01-31T04:00:00+00:00",
    "2026-01-31 04:00:00+00:00",
    "2026-01-31T06:00:00.000000+02:00",
    "2026-01-31T04:00:00Z",
    "20260131T040000+0000",
    "2026-01-31T04:00",
]


@pytest.mark.parametrize("since", MOMENTS, ids=str)
def test_what_is_a_moment(census: Sandbox, since: Any) -> None:
    sensor = CensusSyncSensor(task_id="task", sync_id=52, since=since)
    assert sensor._begin(context()).since == AWARE.timestamp()  # type: ignore[attr-defined]  # noqa: SLF001 - what it would wait for, without a poll


@pytest.mark.parametrize("since", ["", "None", "soon", "P1D", "1769832000", 1769832000, 1.5, True, b"2026"])
def test_what_is_no_moment_is_refused_when_the_dag_is_read(since: Any) -> None:
    with pytest.raises(ValueError, match=r"^since must be a datetime, or a text such as"):
        CensusSyncSensor(task_id="task", sync_id=52, since=since)


@pytest.mark.parametrize("since", ["", "None", None, "{{ ds }}"], ids=repr)
def test_what_a_template_may_render_to(census: Sandbox, since: str | None) -> None:
    sensor = CensusSyncSensor(task_id="task", sync_id=52, since="{{ dag_run.conf.since }}")
    sensor.since = since
    known = {**context(), "data_interval_end": AWARE}
    if since is None:
        assert sensor._begin(known).since == AWARE.timestamp()  # type: ignore[arg-type, attr-defined]  # noqa: SLF001 - what it would wait for, without a poll
    else:
        with pytest.raises(ValueError, match=r"^since "):
            sensor.execute(known)  # type: ignore[arg-type]
    assert census.requests == []


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"data_interval_end": AWARE}, AWARE),
        ({"data_interval_end": None, "run_after": AWARE}, AWARE),
        ({"run_after": AWARE}, AWARE),
        ({}, AWARE + HOUR),
    ],
    ids=["the end of the data interval", "none in the context", "when it was to start", "when it started"],
)
def test_without_a_moment_that_of_the_dag_run_counts(
    census: Sandbox, known: dict[str, Any], expected: datetime
) -> None:
    """When it started counts last, for that changes when a user clears the DAG run."""
    dag_run = SimpleNamespace(start_date=AWARE + HOUR)
    if "run_after" in known:
        dag_run.run_after = known.pop("run_after")
    sensor = CensusSyncSensor(task_id="task", sync_id=52)
    waiter = sensor._begin({**context(), "dag_run": dag_run, **known})  # type: ignore[typeddict-item]  # noqa: SLF001 - what it would wait for, without a poll
    assert waiter.since == expected.timestamp()  # type: ignore[attr-defined]


def test_without_any_moment_it_says_so(census: Sandbox) -> None:
    sensor = CensusSyncSensor(task_id="task", sync_id=52)
    with pytest.raises(ValueError, match=r"^since must be given"):
        sensor.execute({**context(), "dag_run": SimpleNamespace(start_date=None)})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sync_id": None}, "^sync_id must be"),
        ({"sync_id": 0}, "^sync_id must be"),
        ({"sync_label": "Completes"}, "^pass sync_id or sync_label, not both"),
        ({"max_records_failed": -1}, "max_records_failed must be a whole number"),
        ({"deferrable": "yes"}, "deferrable must be true or false"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_when_the_dag_is_read(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CensusSyncSensor(task_id="task", **{"sync_id": 52, **options})


def deferred(census: Sandbox, **options: Any) -> tuple[CensusSyncSensor, dict[str, Any], TaskDeferred]:
    """A sensor that was deferred, its context, and with what."""
    sensor = CensusSyncSensor(
        task_id="task", **{"sync_id": 57, "since": AWARE, "deferrable": True, "timeout": 1000, **options}
    )
    known = context()
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(known)
    return sensor, known, deferral.value


def event_of(trigger: CensusSyncTrigger) -> dict[str, Any]:
    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(run())
    assert json.loads(json.dumps(payload)) == payload
    return dict(payload)


def test_the_trigger_knows_the_sync_the_moment_and_how_to_wait(census: Sandbox) -> None:
    _, _, deferral = deferred(
        census,
        sync_id=None,
        sync_label="Runs long",
        poke_interval=7,
        exponential_backoff=True,
        max_wait=60,
        silent_fail=True,
        execution_timeout=HOUR,
    )
    path, arguments = deferral.trigger.serialize()
    assert path == "airflow_provider_census.triggers.census.CensusSyncTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    expected = {
        "sync_id": "57",
        "since": AWARE.timestamp(),
        "census_conn_id": "census_default",
        "poll_interval": 7.0,
        "exponential_backoff": True,
        "max_wait": 60.0,
        "silent_fail": True,
        **{name: deferral.kwargs[name] for name in ("started", "deadline", "execution_deadline")},  # type: ignore[index]
        "resume_after": None,
        "release": __version__,
    }
    assert arguments == expected
    assert CensusSyncTrigger(**arguments).serialize() == (path, arguments)
    assert deferral.kwargs["deadline"] == deferral.kwargs["started"] + 1000  # type: ignore[index]


def test_the_way_to_the_triggerer_and_back(census: Sandbox) -> None:
    sensor, known, deferral = deferred(census, sync_id=52)
    sync_run_id = census.start_run(52)
    event = event_of(CensusSyncTrigger(**deferral.trigger.serialize()[1]))
    assert event == {"sync_run_id": sync_run_id, "event": "ended", "message": ""}
    census.start_run(53)
    assert sensor.execute_complete(known, event, **deferral.kwargs)["id"] == sync_run_id  # type: ignore[arg-type, index]
    assert sensor.execute_complete(known, event)["id"] == sync_run_id  # type: ignore[arg-type, index]
    assert known["ti"].xcoms["_link_CensusSyncRunLink"].endswith(f"={sync_run_id}")


@pytest.mark.parametrize("kind", ["timeout", "execution_timeout", "error"])
def test_a_run_that_has_ended_meanwhile_counts_more_than_the_event(census: Sandbox, kind: str) -> None:
    sensor, known, deferral = deferred(census, sync_id=58)
    sync_run_id = census.start_run(58)
    event = {"sync_run_id": None, "event": kind, "message": "It was."}
    assert sensor.execute_complete(known, event, **deferral.kwargs)["id"] == sync_run_id  # type: ignore[arg-type, index]


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        (
            {"event": "timeout"},
            AirflowSensorTimeout,
            r"within 16 min 40 s \(timeout\). There is none yet",
        ),
        ({"event": "error", "message": "No!"}, CensusError, "ended early, there is none yet: No!"),
        ({"event": "ascended"}, CensusError, "ascended"),
    ],
    ids=str,
)
def test_how_a_wait_without_a_run_ends(
    census: Sandbox, event: dict[str, Any], error: type[Exception], words: str
) -> None:
    sensor, known, deferral = deferred(census)
    with pytest.raises(error, match=words):
        sensor.execute_complete(known, {"sync_run_id": None, **event}, **deferral.kwargs)  # type: ignore[arg-type]


def test_the_wait_continues_with_the_same_times_if_there_is_no_run_after_all(census: Sandbox) -> None:
    sensor, known, deferral = deferred(census, sync_id=None, sync_label="Runs long")
    with pytest.raises(TaskDeferred) as again:
        sensor.execute_complete(known, {"sync_run_id": None, "event": "ended"}, **deferral.kwargs)  # type: ignore[arg-type]
    assert again.value.kwargs == deferral.kwargs
    kind, arguments = again.value.trigger.serialize()
    assert (kind, {**arguments, "resume_after": None}) == deferral.trigger.serialize()
    assert [path for _, path in census.requests].count("/api/v1/syncs") == 1, "the label is resolved once"


def test_a_run_that_the_triggerer_polled_is_waited_for_when_the_worker_cannot_poll_it(
    census: Sandbox,
) -> None:
    sensor, known, deferral = deferred(census, sync_id=58)
    sync_run_id = census.start_run(58)
    census.fail_next(5, status=502, path="/api/v1/sync_runs")
    with pytest.raises(TaskDeferred) as again:
        sensor.execute_complete(known, {"sync_run_id": sync_run_id, "event": "ended"}, **deferral.kwargs)  # type: ignore[arg-type]
    assert again.value.trigger.sync_run_id == sync_run_id
    assert again.value.trigger.cancel_on_kill is False


@pytest.mark.parametrize(
    ("options", "failure", "error"),
    [
        ({}, {"error": "Trigger timeout"}, AirflowSensorTimeout),
        ({"soft_fail": True}, {"error": "Trigger timeout"}, AirflowSkipException),
        ({}, {"error": "Trigger failure", "traceback": ["ZeroDivisionError"]}, CensusError),
        ({"never_fail": True}, {"error": "Trigger failure"}, AirflowSkipException),
    ],
    ids=str,
)
def test_when_airflow_gave_up_the_trigger(
    census: Sandbox, options: dict[str, Any], failure: dict[str, Any], error: type[Exception]
) -> None:
    sensor, known, _ = deferred(census, **options)
    with pytest.raises(error):
        sensor.resume_execution("__fail__", failure, known)  # type: ignore[arg-type]


def test_when_airflow_gave_up_the_trigger_and_there_is_a_run(census: Sandbox) -> None:
    sensor, known, _ = deferred(census, sync_id=58)
    sync_run_id = census.start_run(58)
    assert sensor.resume_execution("__fail__", None, known)["id"] == sync_run_id  # type: ignore[arg-type]


def test_it_logs_which_run_it_took(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(CensusSyncSensor, "log", log)
    sync_run_id = census.start_run(58)
    created = run_of(census, sync_run_id)["created_at"]
    CensusSyncSensor(task_id="task", sync_id=58, since=AWARE).execute(context())
    words = f"The newest run of sync 58 that has ended is sync run {sync_run_id}, created at {created}."
    assert log.count(words) == 1


def test_an_outage_before_the_first_poll_is_waited_out(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    monkeypatch.setattr(CensusSyncSensor, "log", log)
    census.start_run(57)
    census.fail_next(3, status=500, path="/api/v1/syncs")
    sensor = CensusSyncSensor(
        task_id="task", sync_label="Runs long", since="2020-01-01T00:00:00Z", hook_params={"attempts": 1}
    )
    for _ in range(3):
        assert not sensor.poke(context()).is_done
    assert log.count("Still waiting for sync Runs long.") == 1, "not at every poll"
    assert sensor.execute(context())
    assert log.count("Census responds again") == 1


def test_never_fail_skips_what_cannot_begin(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")
    sensor = CensusSyncSensor(task_id="task", sync_id=57, since="2020-01-01T00:00:00Z", never_fail=True)
    with pytest.raises(AirflowSkipException):
        sensor.execute(context())

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The trigger, and the way from the worker to the triggerer and back."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import requests
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import context, polls

from airflow_provider_census import __version__
from airflow_provider_census.exceptions import CensusError, CensusNotFoundError, CensusTimeoutError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.triggers import base
from airflow_provider_census.triggers.census import CensusSyncRunTrigger, CensusSyncTrigger

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


def start(sync_id: int) -> int:
    return CensusHook().trigger_sync(sync_id)


def event_of(trigger: CensusSyncRunTrigger) -> dict[str, Any]:
    """Run a trigger to its end; the one event that it sends."""

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(run())
    assert json.loads(json.dumps(payload)) == payload
    return dict(payload)


EVERYTHING = {
    "sync_run_id": 94,
    "census_conn_id": "census_eu",
    "poll_interval": 7.5,
    "exponential_backoff": True,
    "max_wait": 60.0,
    "silent_fail": True,
    "started": 1.0,
    "deadline": 2.0,
    "execution_deadline": 3.0,
    "resume_after": 4.0,
    "cancel_on_kill": True,
}
OF_A_TASK = {"hook_params": {"timeout": 120.0, "api_version": "v2"}, "sync_name": "Users → braze"}


@pytest.mark.parametrize("given", [{"sync_run_id": 94}, {"sync_run_id": "94"}, {**EVERYTHING, **OF_A_TASK}])
def test_it_is_made_again_from_plain_json(given: dict[str, Any]) -> None:
    path, arguments = CensusSyncRunTrigger(**given).serialize()
    assert path == "airflow_provider_census.triggers.census.CensusSyncRunTrigger"
    assert arguments.keys() == {*EVERYTHING, *(OF_A_TASK.keys() & given.keys()), "release"}
    assert given.items() <= arguments.items()
    again = CensusSyncRunTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_no_secret_is_among_its_arguments(census: Sandbox) -> None:
    operator = waiting_operator(57)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context())
    written = json.dumps([deferral.value.trigger.serialize(), deferral.value.kwargs])
    assert census.token not in written


@pytest.mark.parametrize("kind", [CensusSyncRunTrigger, CensusSyncTrigger])
@pytest.mark.parametrize("release", [{}, {"release": None}, {"release": __version__}], ids=str)
def test_an_argument_that_there_is_not_is_refused(kind: type[Any], release: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="'poll_intervall'"):
        kind(94, poll_intervall=3, **release)


@pytest.mark.parametrize("kind", [CensusSyncRunTrigger, CensusSyncTrigger])
@pytest.mark.parametrize("release", ["2.9.9", "99.0.0"])
def test_what_another_release_stored_besides_is_dropped(kind: type[Any], release: str) -> None:
    expected = kind(94, poll_interval=7.5, deadline=2.0).serialize()
    stored = {**expected[1], "release": release, "of_the_future": {"a": 1}}
    assert kind(**stored).serialize() == expected, "and from then on it is stored by this release"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sync_run_id": 0}, "sync_run_id must be a positive whole number, .* not 0"),
        ({"sync_run_id": "{{ run }}"}, "sync_run_id is the unrendered template"),
        ({"poll_interval": 0}, "poll_interval must be .* above 0, .* not 0"),
        ({"poll_interval": -5.0}, "poll_interval must be .* not -5.0"),
        ({"poll_interval": float("nan")}, "poll_interval must be .* not nan"),
        ({"poll_interval": "5"}, "poll_interval must be .* not '5'"),
        ({"exponential_backoff": True}, "exponential_backoff needs a poll_interval"),
        ({"hook_params": {"password": "x"}}, "hook_params takes .*'timeout'.* not 'password'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CensusSyncRunTrigger(**{"sync_run_id": 94, **given})


@pytest.mark.parametrize("sync_id", [52, 53, 54, 55, 56, 58])
def test_it_reports_that_the_run_has_ended_and_nothing_of_how(census: Sandbox, sync_id: int) -> None:
    sync_run_id = start(sync_id)
    assert event_of(CensusSyncRunTrigger(sync_run_id)) == {
        "sync_run_id": sync_run_id,
        "event": "ended",
        "message": "",
    }


LONG_AGO, NEVER = 1.0, 1e12


@pytest.mark.parametrize(
    ("limits", "event"),
    [
        ({"deadline": LONG_AGO}, "timeout"),
        ({"deadline": LONG_AGO, "execution_deadline": NEVER}, "timeout"),
        ({"deadline": NEVER, "execution_deadline": LONG_AGO}, "execution_timeout"),
        ({"execution_deadline": LONG_AGO}, "execution_timeout"),
    ],
)
def test_it_reports_which_deadline_was_reached_after_a_last_poll(
    census: Sandbox, limits: dict[str, float], event: str
) -> None:
    sync_run_id = start(57)
    assert event_of(CensusSyncRunTrigger(sync_run_id, **limits)) == {  # type: ignore[arg-type]
        "sync_run_id": sync_run_id,
        "event": event,
        "message": "",
    }
    assert polls(census) == 1


def test_a_run_that_has_ended_counts_more_than_the_time(census: Sandbox) -> None:
    assert event_of(CensusSyncRunTrigger(start(58), deadline=LONG_AGO))["event"] == "ended"


def test_the_last_poll_does_not_hang(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(base, "adrive", hang)
    monkeypatch.setattr(base, "LAST_POLL", 0.001)
    assert event_of(CensusSyncRunTrigger(94, deadline=LONG_AGO))["event"] == "timeout"


@pytest.mark.parametrize(
    ("resumed", "lines"), [({}, 1), ({"started": LONG_AGO}, 0)], ids=["here", "on a worker"]
)
def test_how_far_the_run_is_at_first_is_logged_where_the_wait_began(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, resumed: dict[str, float], lines: int
) -> None:
    log = mock.Mock()
    monkeypatch.setattr(CensusSyncRunTrigger, "log", log)
    event_of(CensusSyncRunTrigger(start(57), deadline=LONG_AGO, **resumed))  # type: ignore[arg-type]
    assert polls(census) == 1
    assert log.info.call_count == lines


@pytest.mark.parametrize("status", [401, 403, 404])
def test_it_reports_why_it_gave_up(census: Sandbox, status: int) -> None:
    census.fail_next(3, status=status, body={"status": status, "message": "Rejected!"})
    event = event_of(CensusSyncRunTrigger(start_quietly(census)))
    assert event["event"] == "error"
    assert "Rejected!" in event["message"]


def start_quietly(census: Sandbox) -> int:
    """A run of the sandbox that no request started."""
    return census.start_run(57)


def test_it_reports_that_the_connection_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", "census://:token@a%20b")
    event = event_of(CensusSyncRunTrigger(94))
    assert event["event"] == "error"
    assert "'host'" in event["message"]


def test_nothing_that_blocks_is_done_on_the_event_loop(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_run_id = start(52)

    def blocks(*_: Any, **__: Any) -> None:
        raise AssertionError("this blocks the event loop")

    read = CensusHook.get_connection
    threads = []

    def reads(conn_id: str) -> Any:
        threads.append(threading.current_thread())
        return read(conn_id)

    monkeypatch.setattr(requests.Session, "send", blocks)
    monkeypatch.setattr(time, "sleep", blocks)
    monkeypatch.setattr(CensusHook, "get_connection", staticmethod(reads))
    assert event_of(CensusSyncRunTrigger(sync_run_id))["event"] == "ended"
    assert threads
    assert threading.main_thread() not in threads, "where the event loop runs"


def waiting_operator(sync_id: int, **options: Any) -> CensusTriggerSyncOperator:
    return CensusTriggerSyncOperator(
        task_id="task", sync_id=sync_id, wait_for_completion=True, deferrable=True, **options
    )


def waiting_sensor(sync_id: int, **options: Any) -> CensusSyncRunSensor:
    return CensusSyncRunSensor(task_id="task", sync_run_id=start(sync_id), deferrable=True, **options)


tasks_that_wait = pytest.mark.parametrize("make", [waiting_operator, waiting_sensor])
Make = Callable[..., Any]


def defer(task: Any) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Run a task until it is deferred: its context, what to resume it with, and the run."""
    known = context()
    with pytest.raises(TaskDeferred) as deferral:
        task.execute(known)
    return known, deferral.value.kwargs or {}, deferral.value.trigger.sync_run_id


@tasks_that_wait
def test_the_way_to_the_triggerer_and_back(census: Sandbox, make: Make) -> None:
    task = make(52)
    known, times, sync_run_id = defer(task)
    assert json.loads(json.dumps(times)) == times
    event = event_of(CensusSyncRunTrigger(sync_run_id))
    result = task.execute_complete(known, event, **times)
    assert (result if isinstance(result, int) else result["id"]) == sync_run_id


@tasks_that_wait
@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        [],
        "ended",
        7,
        {"event": "ended"},
        {"sync_run_id": 94},
        {"sync_run_id": None, "event": "ended"},
        {"sync_run_id": "-1", "event": "ended"},
        {"sync_run_id": 94, "event": "ascended"},
        {"sync_run_id": 94, "event": None},
        {"sync_run_id": 94, "event": ["ended"]},
    ],
    ids=repr,
)
def test_an_event_that_is_none_fails_loudly_with_what_came(census: Sandbox, make: Make, event: Any) -> None:
    task = make(57)
    known, times, _ = defer(task)
    before = polls(census)
    with pytest.raises(CensusError) as raised:
        task.execute_complete(known, event, **times)
    assert repr(event) in str(raised.value)
    assert polls(census) == before
    assert census.cancels == []


@tasks_that_wait
def test_the_end_of_another_triggers_wait_is_waited_on(census: Sandbox, make: Make) -> None:
    """The event says that the run has ended, but it has not: the wait continues, and its time with it."""
    task = make(57, timeout=1000)
    known, times, sync_run_id = defer(task)
    with pytest.raises(TaskDeferred) as deferral:
        task.execute_complete(known, {"sync_run_id": sync_run_id, "event": "ended"}, **times)
    assert deferral.value.kwargs == times
    for other in ("joined", "skips", "sync_name", "url"):
        times.pop(other, None)
    assert {name: getattr(deferral.value.trigger.options, name) for name in times} == times
    assert times["deadline"] == times["started"] + 1000


@tasks_that_wait
def test_a_wait_that_ended_in_an_error_raises_it(census: Sandbox, make: Make) -> None:
    task = make(57)
    known, times, sync_run_id = defer(task)
    event = {"sync_run_id": sync_run_id, "event": "error", "message": "The token was rejected."}
    with pytest.raises(CensusError, match=r"the run keeps running in Census: The token was rejected\."):
        task.execute_complete(known, event, **times)


@tasks_that_wait
@pytest.mark.parametrize("kind", ["timeout", "execution_timeout", "error"])
def test_a_run_that_has_ended_meanwhile_counts_more_than_the_event(
    census: Sandbox, make: Make, kind: str
) -> None:
    task = make(52)
    known, times, sync_run_id = defer(task)
    for _ in range(4):
        CensusHook().get_sync_run(sync_run_id)
    event = {"sync_run_id": sync_run_id, "event": kind, "message": "It was."}
    result = task.execute_complete(known, event, **times)
    assert (result if isinstance(result, int) else result["id"]) == sync_run_id


@tasks_that_wait
def test_an_outage_on_resuming_is_not_the_end(census: Sandbox, make: Make) -> None:
    task = make(52)
    known, times, sync_run_id = defer(task)
    census.fail_next(5, status=502, path="/api/v1/sync_runs")
    with pytest.raises(TaskDeferred):
        task.execute_complete(known, {"sync_run_id": sync_run_id, "event": "ended"}, **times)


@tasks_that_wait
def test_what_to_resume_with_may_come_from_another_release(census: Sandbox, make: Make) -> None:
    task = make(58) if make is waiting_sensor else make(57)
    known = context()
    event = {"sync_run_id": start(58), "event": "ended", "of_the_future": 1}
    assert task.execute_complete(known, event)
    assert task.execute_complete(known, event, of_the_future=1)


@tasks_that_wait
def test_what_only_another_release_knows_is_dropped_when_a_task_resumes(census: Sandbox, make: Make) -> None:
    task = make(57)
    known, times, sync_run_id = defer(task)
    event = {"sync_run_id": sync_run_id, "event": "ended"}
    with pytest.raises(TaskDeferred) as deferral:
        task.execute_complete(known, event, of_the_future=1, **times)
    assert deferral.value.kwargs == times


TIMEOUT = {"error": "Trigger timeout"}
CRASH = {"error": "Trigger failure", "traceback": ["Traceback (most recent call last):", "ZeroDivisionError"]}


@pytest.mark.parametrize(
    ("make", "options", "failure", "error", "words", "cancels"),
    [
        (waiting_operator, {}, TIMEOUT, CensusTimeoutError, "The run keeps running", 0),
        (waiting_operator, {"cancel_on_timeout": True}, TIMEOUT, CensusTimeoutError, "was cancelled", 1),
        (
            waiting_operator,
            {"execution_timeout": timedelta(hours=1)},
            TIMEOUT,
            AirflowTaskTimeout,
            "The run was cancelled",
            1,
        ),
        (
            waiting_operator,
            {"execution_timeout": timedelta(days=30)},
            TIMEOUT,
            CensusTimeoutError,
            "The run keeps running",
            0,
        ),
        (waiting_operator, {}, CRASH, CensusError, "ZeroDivisionError", 0),
        (waiting_operator, {}, {}, CensusError, "the run keeps running", 0),
        (waiting_sensor, {}, TIMEOUT, AirflowSensorTimeout, "The run keeps running", 0),
        (waiting_sensor, {"soft_fail": True}, TIMEOUT, AirflowSkipException, "", 0),
        (waiting_sensor, {}, CRASH, CensusError, "ZeroDivisionError", 0),
        (waiting_sensor, {"never_fail": True}, CRASH, AirflowSkipException, "ZeroDivisionError", 0),
    ],
)
def test_when_airflow_gave_up_the_trigger(
    census: Sandbox,
    make: Make,
    options: dict[str, Any],
    failure: dict[str, Any],
    error: type[BaseException],
    words: str,
    cancels: int,
) -> None:
    task = make(57, **options)
    known, _, sync_run_id = defer(task)
    with pytest.raises(error) as raised:
        task.resume_execution("__fail__", failure, known)
    assert words in str(raised.value)
    assert census.cancels == [sync_run_id] * cancels


@tasks_that_wait
@pytest.mark.parametrize("failure", [TIMEOUT, CRASH, None])
def test_when_airflow_gave_up_the_trigger_of_a_run_that_has_ended(
    census: Sandbox, make: Make, failure: dict[str, Any] | None
) -> None:
    task = make(52)
    known, _, sync_run_id = defer(task)
    for _ in range(4):
        CensusHook().get_sync_run(sync_run_id)
    result = task.resume_execution("__fail__", failure, known)
    assert (result if isinstance(result, int) else result["id"]) == sync_run_id


@tasks_that_wait
def test_a_run_that_is_gone_on_resuming_is_an_error(census: Sandbox, make: Make) -> None:
    task = make(57)
    known, times, _ = defer(task)
    with pytest.raises(CensusNotFoundError):
        task.execute_complete(known, {"sync_run_id": 404404, "event": "ended"}, **times)

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the operator does when a run of its sync is running already, started by somebody else."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from task_helpers import Done, Log, Store, TaskInstance, context, polls, run_of, triggered

from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusError,
    CensusNotFoundError,
    CensusSyncRunCanceled,
    CensusSyncRunFailed,
    CensusSyncRunSkipped,
    CensusTaskKilled,
    CensusTimeoutError,
)
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators import census as operators
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.triggers.census import CensusSyncRunTrigger, CensusSyncTrigger
from airflow_provider_census.utils import early_resume

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
on_worker_or_deferred = pytest.mark.parametrize(
    "deferrable", [False, True], ids=["on the worker", "deferred"]
)
waiting_or_not = pytest.mark.parametrize("wait", [False, True], ids=["not waiting", "waiting"])


def kinds(triggers_run: list[Any]) -> list[type]:
    return [type(trigger) for trigger in triggers_run]


@on_worker_or_deferred
@waiting_or_not
@pytest.mark.parametrize("foreign", [52, 53, 56], ids=["completes", "fails", "is cancelled"])
def test_it_waits_for_the_end_of_the_run_however_that_is_and_then_starts_its_own(
    run_task: RunTask,
    census: Sandbox,
    triggers_run: list[Any],
    deferrable: bool,
    wait: bool,
    foreign: int,
) -> None:
    others = census.start_run(58, like=foreign)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=58,
        if_running="wait",
        wait_for_completion=wait,
        deferrable=deferrable,
    )
    assert done.state == "success"
    (trigger,) = census.triggers
    assert run_of(census, trigger.sync_run_id)["created_at"] >= run_of(census, others)["updated_at"]
    assert run_of(census, trigger.sync_run_id)["status"] == "completed"
    assert done.xcom() == done.xcom("sync_run_id") == trigger.sync_run_id
    assert (done.xcom("sync_run") or {}).get("id") == (trigger.sync_run_id if wait else None)
    assert done.link().endswith(f"={trigger.sync_run_id}")
    # A cancelled run is over by the time of the first poll on the worker.
    assert kinds(triggers_run) == [CensusSyncTrigger] * (deferrable and foreign != 56)
    assert census.cancels == []


@on_worker_or_deferred
@pytest.mark.parametrize(
    ("sync_id", "error"), [(52, None), (53, CensusSyncRunFailed), (56, CensusSyncRunCanceled)]
)
def test_after_that_the_task_ends_as_its_own_run_does(
    run_task: RunTask,
    census: Sandbox,
    triggers_run: list[Any],
    deferrable: bool,
    sync_id: int,
    error: type[Exception] | None,
) -> None:
    others = census.start_run(sync_id)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=sync_id,
        if_running="wait",
        wait_for_completion=True,
        deferrable=deferrable,
    )
    assert done.state == ("failed" if error else "success")
    trigger = census.triggers[-1]  # while a cancelled run is not quite over, Census skips others
    assert done.xcom("sync_run")["id"] == trigger.sync_run_id != others
    if error:
        assert type(done.error) is error
        assert done.error.sync_run["id"] == trigger.sync_run_id  # type: ignore[attr-defined]
    expected = [CensusSyncRunTrigger] if sync_id == 56 else [CensusSyncTrigger, CensusSyncRunTrigger]
    assert kinds(triggers_run) == expected * deferrable
    assert census.cancels == []


@on_worker_or_deferred
@waiting_or_not
def test_it_joins_the_run(run_task: RunTask, census: Sandbox, deferrable: bool, wait: bool) -> None:
    others = census.start_run(52)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=52,
        if_running="join",
        wait_for_completion=wait,
        deferrable=deferrable,
    )
    assert done.state == "success"
    assert done.xcom() == done.xcom("sync_run_id") == others
    assert done.link().endswith(f"={others}")
    assert (done.xcom("sync_run") or {}).get("status") == ("completed" if wait else None)
    assert census.triggers == []
    assert bool(polls(census)) == wait


@on_worker_or_deferred
def test_a_run_that_it_joined_and_that_fails_fails_the_task(
    run_task: RunTask, census: Sandbox, deferrable: bool
) -> None:
    others = census.start_run(53)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=53,
        if_running="join",
        wait_for_completion=True,
        deferrable=deferrable,
    )
    assert type(done.error) is CensusSyncRunFailed
    assert done.error.sync_run["id"] == others


@on_worker_or_deferred
def test_a_run_that_is_not_full_is_waited_for_where_a_full_one_is_asked_for(
    run_task: RunTask, census: Sandbox, deferrable: bool
) -> None:
    others = census.start_run(52)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=52,
        force_full_sync=True,
        if_running="join",
        wait_for_completion=True,
        deferrable=deferrable,
    )
    assert done.state == "success"
    (trigger,) = census.triggers
    assert trigger.force_full_sync
    assert done.xcom() == trigger.sync_run_id != others


def test_a_full_run_is_joined_where_a_full_one_is_asked_for(census: Sandbox) -> None:
    others = census.start_run(57, full_sync=True)
    assert executed(if_running="join", force_full_sync=True) == others
    assert census.triggers == []


@waiting_or_not
def test_it_fails_and_names_the_run(run_task: RunTask, census: Sandbox, wait: bool) -> None:
    others = census.start_run(57)
    done = run_task(CensusTriggerSyncOperator, sync_id=57, if_running="fail", wait_for_completion=wait)
    assert done.state == "failed"
    assert type(done.error) is CensusError
    assert f"Running already: run {others}, started " in str(done.error)
    assert f"{census.url}/syncs/57/history?sync_run_id={others}" in str(done.error)
    assert census.triggers == []
    assert done.xcom("sync_run_id") is None


def test_by_default_it_starts_a_run_that_census_skips(run_task: RunTask, census: Sandbox) -> None:
    census.start_run(57)
    done = run_task(CensusTriggerSyncOperator, sync_id=57, wait_for_completion=True)
    assert type(done.error) is CensusSyncRunSkipped
    assert triggered(census) == [57]


@pytest.mark.parametrize("if_running", ["trigger", "wait", "join", "fail"])
def test_without_another_run_all_are_the_same_and_request_the_same(census: Sandbox, if_running: str) -> None:
    assert executed(58, if_running=if_running) == census.triggers[0].sync_run_id
    assert [path.rpartition("/")[2] for _, path in census.requests] == ["sync_runs", "trigger"]


@pytest.mark.parametrize("wrong", ["Wait", "", None, True, "skip"])
def test_a_word_that_is_none_is_refused_when_the_dag_is_read(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^if_running must be one of 'trigger', 'wait', 'join', 'fail'"):
        CensusTriggerSyncOperator(task_id="task", sync_id=52, if_running=wrong)


def test_how_to_wait_is_no_idle_option_then() -> None:
    for if_running, words in (("wait", []), ("join", []), ("fail", ["poll_interval, timeout of task"])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            CensusTriggerSyncOperator(
                task_id="task", sync_id=52, if_running=if_running, poll_interval=9, timeout=99
            )
        found = [str(warning.message) for warning in caught if "will have no effect" in str(warning.message)]
        assert [line[: len(word)] for line, word in zip(found, words, strict=True)] == words


def operator(sync_id: int = 57, **options: Any) -> CensusTriggerSyncOperator:
    return CensusTriggerSyncOperator(task_id="task", sync_id=sync_id, **options)


def executed(sync_id: int = 57, /, **options: Any) -> int | None:
    return operator(sync_id, **options).execute(context())


class AnotherRunComesFirst:
    """Lets Census start a run just before ours, some times, so that ours is skipped."""

    def __init__(self, census: Sandbox, *sync_ids: int) -> None:
        self.census, self.left, self.started = census, list(sync_ids), list[int]()
        census.on_request = self.start

    def start(self, method: str, path: str) -> None:
        if self.left and path.endswith("/trigger"):
            self.started.append(self.census.start_run(self.left.pop(0)))


@on_worker_or_deferred
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_run_that_is_skipped_nevertheless_is_started_again(
    run_task: RunTask, census: Sandbox, deferrable: bool, times: int
) -> None:
    others = AnotherRunComesFirst(census, *[52] * times)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=52,
        if_running="wait",
        wait_for_completion=True,
        deferrable=deferrable,
    )
    assert done.state == "success"
    assert len(others.started) == times
    assert triggered(census) == [52] * (times + 1)
    ours = census.triggers[-1].sync_run_id
    assert done.xcom() == done.xcom("sync_run_id") == done.xcom("sync_run")["id"] == ours
    assert done.link().endswith(f"={ours}")


def test_a_run_that_is_skipped_for_another_lets_the_task_join_that(census: Sandbox) -> None:
    others = AnotherRunComesFirst(census, 57)
    known = context()
    deferred = deferral(operator(if_running="join", wait_for_completion=True, deferrable=True), known)
    assert [deferred.trigger.sync_run_id] == others.started == [known["ti"].xcoms["sync_run_id"]]
    assert deferred.trigger.cancel_on_kill is False
    assert triggered(census) == [57]


@pytest.mark.parametrize("if_running", ["wait", "join"])
def test_a_run_that_is_skipped_for_no_other_is_the_result(census: Sandbox, if_running: str) -> None:
    with pytest.raises(CensusSyncRunSkipped):
        executed(54, if_running=if_running, wait_for_completion=True)
    assert triggered(census) == [54]


@pytest.mark.parametrize(("pace", "state"), [(200.0, 2), (1e9, 4)], ids=["over soon", "never over"])
def test_a_run_that_was_cancelled_and_is_not_quite_over(census: Sandbox, pace: float, state: int) -> None:
    """Nobody knows when it will be; so ours is started a few times, until Census does not skip it."""
    usual, census.pace = census.pace, pace
    CensusHook().cancel_sync_run(census.start_run(57))
    census.pace = usual
    if state == 4:
        with pytest.raises(CensusSyncRunSkipped):
            executed(57, if_running="wait", wait_for_completion=True, on_skipped_run="fail")
    else:
        with pytest.raises(TaskDeferred) as deferral:
            executed(57, if_running="wait", wait_for_completion=True, deferrable=True)
        assert deferral.value.trigger.sync_run_id == census.triggers[-1].sync_run_id
    assert len(census.triggers) == {2: 3, 4: 4}[state]


@on_worker_or_deferred
@pytest.mark.parametrize("if_running", ["wait", "join"])
@pytest.mark.parametrize("limit", ["timeout", "execution_timeout"])
def test_nobody_elses_run_is_cancelled_when_the_time_is_over(
    run_task: RunTask,
    census: Sandbox,
    hours_fly_by: None,
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
    if_running: str,
    limit: str,
) -> None:
    def alarm(_task: Any, seconds: float) -> None:
        if seconds:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    if limit == "execution_timeout" and not deferrable:
        monkeypatch.setattr(CensusTriggerSyncOperator, "_sleep", alarm)
    census.start_run(57)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=57,
        if_running=if_running,
        wait_for_completion=True,
        deferrable=deferrable,
        cancel_on_timeout=True,
        **{limit: timedelta(hours=3)},
    )
    assert done.state == "failed"
    assert type(done.error) is (CensusTimeoutError if limit == "timeout" else AirflowTaskTimeout)
    if if_running == "wait" and (deferrable or limit == "timeout"):
        assert "Another run of sync 57 has not ended within" in str(done.error)
        assert "It keeps running in Census, and no run was started." in str(done.error)
    assert (census.triggers, census.cancels) == ([], [])


def test_a_user_who_kills_the_task_cancels_its_own_run_after_another_was_waited_for(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    census.start_run(57, like=52)
    task = operator(if_running="wait", wait_for_completion=True)
    monkeypatch.setattr(operators, "task_state", lambda _: "failed")
    sleep = task._sleep  # noqa: SLF001 - a sleep is where a task is killed

    def die(seconds: float) -> None:
        if census.triggers:
            task.on_kill()
        sleep(seconds)

    monkeypatch.setattr(task, "_sleep", die)
    with pytest.raises(CensusTaskKilled, match="killed"):
        task.execute(context())
    assert census.cancels == [census.triggers[0].sync_run_id]


@pytest.mark.parametrize("if_running", ["wait", "join"])
def test_a_user_who_kills_the_task_on_the_worker_cancels_nobody_elses_run(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, if_running: str
) -> None:
    census.start_run(57)
    task = operator(if_running=if_running, wait_for_completion=True)
    monkeypatch.setattr(operators, "task_state", lambda _: "failed")
    sleep = task._sleep  # noqa: SLF001 - a sleep is where a task is killed

    def die(seconds: float) -> None:
        task.on_kill()
        sleep(seconds)

    monkeypatch.setattr(task, "_sleep", die)
    with pytest.raises(CensusTaskKilled, match="killed"):
        task.execute(context())
    assert (census.triggers, census.cancels) == ([], [])


def deferral(task: CensusTriggerSyncOperator, known: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(known)
    return deferred.value


def event_of(trigger: Any) -> dict[str, Any]:
    kind, arguments = type(trigger), json.loads(json.dumps(trigger.serialize()[1]))

    async def run() -> list[Any]:
        return [event.payload async for event in kind(**arguments).run()]

    (payload,) = asyncio.run(run())
    return dict(payload)


def test_the_times_travel_along_and_the_id_of_the_other_run_does_not(census: Sandbox) -> None:
    others = census.start_run(52)
    known = context()
    task = operator(
        52,
        if_running="wait",
        wait_for_completion=True,
        deferrable=True,
        timeout=1000,
        poll_interval=7,
        execution_timeout=timedelta(hours=1),
    )
    first = deferral(task, known)
    assert first.method_name == "execute_when_idle"
    path, arguments = first.trigger.serialize()
    assert path == "airflow_provider_census.triggers.census.CensusSyncTrigger"
    assert (arguments["sync_id"], arguments["since"], arguments["poll_interval"]) == ("52", None, 7.0)
    assert known["ti"].xcoms.keys() == {"_link_CensusSyncRunLink"}
    assert known["ti"].xcoms["_link_CensusSyncRunLink"].endswith(f"={others}")
    event = event_of(first.trigger)
    assert event == {"sync_run_id": None, "event": "ended", "message": ""}
    with pytest.raises(TaskDeferred) as second:
        task.execute_when_idle(known, event, **json.loads(json.dumps(first.kwargs)))
    (trigger,) = census.triggers
    assert second.value.method_name == "execute_complete"
    assert second.value.trigger.sync_run_id == trigger.sync_run_id == known["ti"].xcoms["sync_run_id"]
    assert second.value.trigger.cancel_on_kill is True
    for name in ("deadline", "execution_deadline"):
        assert second.value.kwargs[name] == first.kwargs[name] == getattr(second.value.trigger.options, name)  # type: ignore[index]
    assert second.value.kwargs["started"] > first.kwargs["started"], "ours is polled as frequently again"  # type: ignore[index]
    assert not hasattr(first.trigger, "cancel_on_kill")


def test_a_run_that_it_joined_is_not_cancelled_in_the_triggerer_nor_after(census: Sandbox) -> None:
    others = census.start_run(57)
    known = context()
    task = operator(if_running="join", wait_for_completion=True, deferrable=True, cancel_on_timeout=True)
    first = deferral(task, known)
    assert first.trigger.sync_run_id == others
    assert first.trigger.cancel_on_kill is False
    again = operator(if_running="join", wait_for_completion=True, deferrable=True, cancel_on_timeout=True)
    for kind, error in (("timeout", CensusTimeoutError), ("execution_timeout", AirflowTaskTimeout)):
        with pytest.raises(error, match="The run keeps running"):
            again.execute_complete(known, {"sync_run_id": others, "event": kind}, **first.kwargs)  # type: ignore[arg-type]
    with pytest.raises(CensusTimeoutError, match="The run keeps running"):
        again.resume_execution("__fail__", {"error": "Trigger timeout"}, known)
    with pytest.raises(TaskDeferred) as second:
        again.execute_complete(known, {"sync_run_id": others, "event": "ended"}, **first.kwargs)  # type: ignore[arg-type]
    assert second.value.kwargs == first.kwargs
    assert second.value.trigger.cancel_on_kill is False
    assert census.cancels == []


def test_a_label_is_resolved_once(census: Sandbox) -> None:
    census.start_run(57)
    known = context()
    task = CensusTriggerSyncOperator(
        task_id="task", sync_label="Runs long", if_running="wait", deferrable=True
    )
    first = deferral(task, known)
    with pytest.raises(TaskDeferred) as second:
        task.execute_when_idle(known, {"sync_run_id": None, "event": "ended"}, **first.kwargs)  # type: ignore[arg-type]
    assert second.value.kwargs["sync_id"] == "57"  # type: ignore[index]
    assert [path for _, path in census.requests].count("/api/v1/syncs") == 1


def test_what_another_release_deferred_is_resumed(census: Sandbox) -> None:
    census.start_run(57)
    known = context()
    task = operator(if_running="wait", wait_for_completion=True, deferrable=True)
    event = {"sync_run_id": None, "event": "ended", "of_the_future": 1}
    with pytest.raises(TaskDeferred) as deferred:
        task.execute_when_idle(known, event, of_the_future=1)
    assert deferred.value.kwargs["sync_id"] == "57"  # type: ignore[index]


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        ({"event": "timeout"}, CensusTimeoutError, "no run was started"),
        ({"event": "execution_timeout"}, AirflowTaskTimeout, "no run was started"),
        (
            {"event": "error", "message": "No!"},
            CensusError,
            "another run of sync 57 ended early, it keeps running in Census, and no run was started: No!",
        ),
        ({"event": "ascended"}, CensusError, "ascended"),
    ],
    ids=str,
)
def test_how_the_wait_for_another_run_may_end_otherwise(
    census: Sandbox, event: dict[str, Any], error: type[Exception], words: str
) -> None:
    census.start_run(57)
    known = context()
    task = operator(if_running="wait", deferrable=True)
    first = deferral(task, known)
    with pytest.raises(error, match=words):
        task.execute_when_idle(known, {"sync_run_id": None, **event}, **first.kwargs)  # type: ignore[arg-type]
    assert (census.triggers, census.cancels) == ([], [])


@pytest.mark.parametrize(
    ("failure", "error"),
    [({"error": "Trigger timeout"}, CensusTimeoutError), ({"error": "Trigger failure"}, CensusError)],
    ids=str,
)
def test_when_airflow_gave_up_the_trigger_of_another_run(
    census: Sandbox, failure: dict[str, Any], error: type[Exception]
) -> None:
    census.start_run(57)
    known = context()
    task = operator(if_running="wait", wait_for_completion=True, deferrable=True, cancel_on_timeout=True)
    deferral(task, known)
    with pytest.raises(error, match="no run was started"):
        task.resume_execution("__fail__", failure, known)
    assert (census.triggers, census.cancels) == ([], [])


def test_when_airflow_gave_up_the_trigger_of_another_run_that_has_ended(census: Sandbox) -> None:
    others = census.start_run(57)
    known = context()
    task = operator(if_running="wait", deferrable=True)
    deferral(task, known)
    census.finish_run(others)
    sync_run_id = task.resume_execution("__fail__", {"error": "Trigger failure"}, known)
    assert [trigger.sync_run_id for trigger in census.triggers] == [sync_run_id]


@pytest.mark.parametrize("if_running", ["wait", "join", "fail"])
def test_a_sync_that_does_not_exist_or_cannot_be_seen_fails_at_once(census: Sandbox, if_running: str) -> None:
    with pytest.raises(CensusNotFoundError):
        executed(404404, if_running=if_running)
    census.fail_next(9, status=500, path="/api/v1/syncs")
    with pytest.raises(CensusApiError):
        executed(if_running=if_running)
    assert census.triggers == []


class FailsOnceItWaits(Log):
    """Takes Census away as soon as the task logs that it waits."""

    def __init__(self, census: Sandbox) -> None:
        super().__init__()
        self.census = census

    def info(self, message: str, *values: Any) -> None:
        super().info(message, *values)
        if "Running already" in self.lines[-1][1]:
            self.census.fail_next(12, status=502, path="/api/v1/syncs/52/sync_runs")


@on_worker_or_deferred
def test_an_outage_while_another_run_is_running_is_not_the_end(
    run_task: RunTask, census: Sandbox, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    census.start_run(52)
    log = FailsOnceItWaits(census)
    monkeypatch.setattr(CensusTriggerSyncOperator, "log", log)
    done = run_task(CensusTriggerSyncOperator, sync_id=52, if_running="wait", deferrable=deferrable)
    assert done.state == "success"
    assert log.count("Running already") == 1
    assert triggered(census) == [52]


@pytest.mark.parametrize("skips", [2, 3])
def test_how_often_a_run_was_skipped_is_known_after_a_deferral(census: Sandbox, skips: int) -> None:
    others = census.start_run(57)
    skipped = CensusHook().trigger_sync(57)
    census.finish_run(others)
    task, known = operator(if_running="wait", wait_for_completion=True, deferrable=True), context()
    event = {"sync_run_id": skipped, "event": "ended"}
    if skips == 3:
        with pytest.raises(CensusSyncRunSkipped):
            task.execute_complete(known, event, skips=skips)
    else:
        with pytest.raises(TaskDeferred) as deferred:
            task.execute_complete(known, event, skips=skips)
        assert deferred.value.kwargs["skips"] == 3  # type: ignore[index]


def attempt(store: Store | None, number: int, sync_id: int = 57, **options: Any) -> int | None:
    """One try of the task, as in a process of its own."""
    hooks.OWNED_RUN_IDS.clear()
    ti = TaskInstance(try_number=number, max_tries=3)
    more = {} if store is None else {"task_state_store": store}
    return operator(sync_id, **options).execute({**context(ti, **more), "dag_run": DAG_RUN})  # type: ignore[typeddict-item]


DAG_RUN = context()["dag_run"]


def test_after_a_crash_while_another_run_is_running_a_retry_polls_it_again(census: Sandbox) -> None:
    store, others = Store(), census.start_run(57)
    for number in (1, 2):
        with pytest.raises(TaskDeferred) as deferred:
            attempt(store, number, if_running="wait", deferrable=True)
        assert isinstance(deferred.value.trigger, CensusSyncTrigger)
    assert store.stored == {}
    census.finish_run(others)
    first = attempt(store, 3, if_running="wait")
    assert [trigger.sync_run_id for trigger in census.triggers] == [first]


@pytest.mark.parametrize("if_running", ["wait", "join", "fail"])
def test_a_retry_reconnects_to_our_own_run_and_takes_it_for_nobody_elses(
    census: Sandbox, if_running: str
) -> None:
    store = Store()
    first = attempt(store, 1, if_running=if_running)
    with pytest.raises(TaskDeferred) as deferred:
        attempt(store, 2, if_running=if_running, wait_for_completion=True, deferrable=True)
    assert deferred.value.trigger.sync_run_id == first
    assert deferred.value.trigger.cancel_on_kill is True
    assert triggered(census) == [57]


def test_a_retry_joins_the_same_run_again_and_still_does_not_cancel_it(census: Sandbox) -> None:
    store, others = Store(), census.start_run(57)
    assert attempt(store, 1, if_running="join") == others
    for number in (2, 3):
        with pytest.raises(TaskDeferred) as deferred:
            attempt(store, number, if_running="join", wait_for_completion=True, deferrable=True)
        assert deferred.value.trigger.sync_run_id == others
        assert deferred.value.trigger.cancel_on_kill is False
    census.finish_run(others)
    assert attempt(store, 4, if_running="join", wait_for_completion=True) == others, "it has completed"
    assert census.triggers == []


def test_a_run_that_an_earlier_try_joined_is_nobodys_to_cancel_when_the_dag_no_longer_joins(
    census: Sandbox,
) -> None:
    store, others = Store(), census.start_run(57)
    assert attempt(store, 1, if_running="join") == others
    waits = {"wait_for_completion": True, "deferrable": True, "cancel_on_timeout": True}
    with pytest.raises(TaskDeferred) as deferred:
        attempt(store, 2, **waits)
    resumed = operator(57, **waits)
    with pytest.raises(CensusTimeoutError, match="The run keeps running"):
        resumed.execute_complete(
            context(), {"sync_run_id": others, "event": "timeout"}, **(deferred.value.kwargs or {})
        )
    assert census.cancels == []


def test_after_a_run_that_it_joined_has_failed_a_retry_submits_its_own(census: Sandbox) -> None:
    store, others = Store(), census.start_run(53)
    with pytest.raises(CensusSyncRunFailed):
        attempt(store, 1, 53, if_running="join", wait_for_completion=True)
    with pytest.raises(CensusSyncRunFailed) as raised:
        attempt(store, 2, 53, if_running="join", wait_for_completion=True)
    assert raised.value.sync_run["id"] == census.triggers[0].sync_run_id != others


@pytest.mark.parametrize(
    ("if_running", "expected"),
    [("trigger", "joined"), ("wait", "waits"), ("join", "joined"), ("fail", "joined")],
)
def test_without_a_store_a_retry_that_waits_takes_nothing(
    census: Sandbox, if_running: str, expected: str
) -> None:
    """The run that is running may be ours or another's, from before or after what was loaded."""
    first = attempt(None, 1, if_running=if_running)
    if expected == "joined":
        assert attempt(None, 2, if_running=if_running) == first
    else:
        with pytest.raises(TaskDeferred) as deferred:
            attempt(None, 2, if_running=if_running, deferrable=True)
        assert isinstance(deferred.value.trigger, CensusSyncTrigger)
    assert triggered(census) == [57]


def test_a_trigger_that_airflow_gave_up_while_another_run_was_waited_for_starts_nothing(
    census: Sandbox,
) -> None:
    others = census.start_run(57)
    skipped = CensusHook().trigger_sync(57)
    ti = TaskInstance()
    ti.xcoms["sync_run_id"] = skipped
    task = operator(if_running="wait", wait_for_completion=True, deferrable=True, timeout=60)
    with pytest.raises(CensusTimeoutError, match="no run was started"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
    census.finish_run(others)
    with pytest.raises(CensusTimeoutError):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
    assert triggered(census) == [57]


def test_a_subclass_that_takes_the_event_alone_keeps_the_deadline(census: Sandbox) -> None:
    class House(CensusTriggerSyncOperator):
        def execute_when_idle(self, context: Any, event: Any = None) -> int | None:  # type: ignore[override]
            return super().execute_when_idle(context, event)

    def make() -> House:
        return House(
            task_id="task",
            sync_id=57,
            if_running="wait",
            wait_for_completion=True,
            deferrable=True,
            timeout=3600,
        )

    others = census.start_run(57)
    first = deferral(make(), context())
    stored = {**(first.kwargs or {}), "deadline": first.kwargs["deadline"] - 1800, "skips": 2}  # type: ignore[index]
    census.finish_run(others)
    with pytest.raises(TaskDeferred) as second:
        make().resume_execution("execute_when_idle", {**stored, "event": ENDED}, context())
    assert second.value.kwargs["deadline"] == stored["deadline"]  # type: ignore[index]
    assert second.value.kwargs["skips"] == 2  # type: ignore[index]


ENDED = {"sync_run_id": None, "event": "ended"}


def test_a_run_that_was_skipped_and_whose_time_is_over_is_not_started_again(census: Sandbox) -> None:
    others = census.start_run(57)
    skipped = CensusHook().trigger_sync(57)
    census.finish_run(others)
    task = operator(if_running="wait", wait_for_completion=True, deferrable=True)
    with pytest.raises(CensusSyncRunSkipped):
        task.execute_complete(context(), {"sync_run_id": skipped, "event": "ended"}, deadline=1.0)
    assert triggered(census) == [57]


def test_between_a_skip_and_the_next_start_no_poll_interval_passes(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = census.start_run(57)
    skipped = CensusHook().trigger_sync(57)
    census.finish_run(others)
    slept: list[float] = []
    monkeypatch.setattr(WaitOptions, "interval", lambda self, *_, **__: self.poll_interval or 4.0)
    task = operator(if_running="wait", wait_for_completion=True, deferrable=True, poll_interval=1800)
    monkeypatch.setattr(task, "_sleep", slept.append)
    with pytest.raises(TaskDeferred):
        task.execute_complete(context(), {"sync_run_id": skipped, "event": "ended"})
    assert max(slept) == 4.0


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 keeps the execution_timeout itself")
def test_a_task_that_resumes_shortly_before_its_execution_timeout_keeps_it(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_resume, "HAS_FAULT", True)
    task = operator(
        if_running="wait", wait_for_completion=True, deferrable=True, execution_timeout=timedelta(hours=1)
    )
    times = {"started": 0.0, "deadline": time.time() + 86400, "execution_deadline": time.time() + 0.01}
    stored = {"sync_id": "57", "event": ENDED, **times}
    with pytest.raises(AirflowTaskTimeout, match=r"within 1 h \(execution_timeout\)"):
        task.resume_execution("execute_when_idle", stored, context())
    assert census.cancels == [census.triggers[0].sync_run_id]

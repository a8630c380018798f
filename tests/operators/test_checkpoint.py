# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a retry makes of the run that an earlier try started, with a task state store and without."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from task_helpers import AtFirstSleep, Done, Log, StateIs, Store, TaskInstance, context, triggered

from airflow_provider_census.api import retries
from airflow_provider_census.exceptions import (
    CensusConnectionError,
    CensusSyncRunCanceled,
    CensusSyncRunFailed,
    CensusTaskKilled,
    CensusTimeoutError,
)
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators import checkpoint
from airflow_provider_census.operators.census import CensusTriggerSyncOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox


class Killed(BaseException):
    """The worker is gone."""


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(CensusTriggerSyncOperator, "log", log)
    return log


def one_try(
    store: Store | None, number: int = 1, *, max_tries: int = 3, sync_id: int = 52, **options: Any
) -> tuple[CensusTriggerSyncOperator, Any]:
    """Make an operator, which knows no other run of this process, and its context."""
    hooks.OWNED_RUN_IDS.clear()
    operator = CensusTriggerSyncOperator(
        task_id="task", sync_id=sync_id, **{"wait_for_completion": True, **options}
    )
    more = {} if store is None else {"task_state_store": store}
    known = context(TaskInstance(try_number=number, max_tries=max_tries), **more)
    known["dag_run"] = DAG_RUN
    return operator, known


def attempt(store: Store | None, number: int = 1, **options: Any) -> int | None:
    """One try of the task."""
    operator, known = one_try(store, number, **options)
    return operator.execute(known)


DAG_RUN = context()["dag_run"]


@pytest.fixture
def crash_while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a first try that dies as soon as it waits."""

    def crash(store: Store | None, **options: Any) -> None:
        def die(*_: Any, **__: Any) -> Any:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(CensusTriggerSyncOperator, "_wait_here", die)
            with pytest.raises(Killed):
                attempt(store, **options)

    return crash


both = pytest.mark.parametrize("wait", [True, False], ids=["waiting", "not waiting"])


@both
def test_a_crash_after_the_request_and_before_the_checkpoint_starts_no_second_run(
    census: Sandbox, log: Log, wait: bool
) -> None:
    store = Store()
    store.fails_at[2] = Killed()
    with pytest.raises(Killed):
        attempt(store, wait_for_completion=wait)
    (trigger,) = census.triggers
    assert attempt(store, 2, wait_for_completion=wait) == trigger.sync_run_id
    assert triggered(census) == [52]
    assert log.count("An earlier try ended while it started sync 52; searching for its run.") == 1
    assert attempt(store, 3, wait_for_completion=wait) == trigger.sync_run_id
    assert log.count("searching for its run") == 1, "it is known now"


@both
def test_a_crash_before_the_request_starts_one_run(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    def die(*_: Any, **__: Any) -> int:
        raise Killed

    store = Store()
    with monkeypatch.context() as patched:
        patched.setattr("airflow_provider_census.hooks.census.trigger_sync", die)
        with pytest.raises(Killed):
            attempt(store, wait_for_completion=wait)
    assert store.writes == 1
    assert census.triggers == []
    found = attempt(store, 2, wait_for_completion=wait)
    assert [trigger.sync_run_id for trigger in census.triggers] == [found]


def test_what_a_subclass_starts_besides_is_not_the_run_of_the_task(census: Sandbox) -> None:
    class House(CensusTriggerSyncOperator):
        def execute(self, context: Any) -> int | None:
            sync_run_id = super().execute(context)
            for _ in range(2):
                self.hook.trigger_sync(53)
            return sync_run_id

    store = Store()
    _, known = one_try(store)
    started = House(task_id="task", sync_id=52).execute(known)
    assert attempt(store, 2) == started
    assert triggered(census) == [52, 53, 53]


def test_after_a_crash_before_the_request_a_run_from_before_is_not_ours(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = CensusHook().trigger_sync(57)
    store = Store()
    store.fails_at[1] = Killed()
    with pytest.raises(Killed):
        attempt(store, sync_id=57, wait_for_completion=False)
    assert attempt(store, 2, sync_id=57, wait_for_completion=False) != others


def test_a_retry_reconnects_after_a_crash_while_waiting(
    census: Sandbox, log: Log, crash_while_waiting: Callable[..., None]
) -> None:
    store = Store()
    crash_while_waiting(store)
    (trigger,) = census.triggers
    assert attempt(store, 2) == trigger.sync_run_id
    assert triggered(census) == [52]
    assert log.count(f"Reconnecting to sync run {trigger.sync_run_id} of sync 52") == 1


@both
def test_a_run_that_has_completed_meanwhile_is_the_result(
    census: Sandbox, log: Log, crash_while_waiting: Callable[..., None], wait: bool
) -> None:
    store = Store()
    crash_while_waiting(store, sync_id=58)
    (trigger,) = census.triggers
    assert attempt(store, 2, sync_id=58, wait_for_completion=wait) == trigger.sync_run_id
    assert triggered(census) == [58]
    assert log.count("Reconnecting to sync run") == 1


@pytest.mark.parametrize(
    ("sync_id", "options"),
    [(53, {}), (54, {}), (55, {"max_records_failed": 0}), (56, {})],
    ids=["failed", "skipped", "rejected records", "cancelled"],
)
def test_a_retry_resubmits_after_a_run_that_was_no_success(
    census: Sandbox, log: Log, sync_id: int, options: dict[str, Any]
) -> None:
    store = Store()
    for number in (1, 2):
        with pytest.raises(Exception, match=f"sync {sync_id}, run "):
            attempt(store, number, sync_id=sync_id, **options)
    assert triggered(census) == [sync_id, sync_id]
    assert log.count("Resubmitting after sync run") == 1


@both
def test_clearing_a_task_that_succeeded_syncs_again(census: Sandbox, log: Log, wait: bool) -> None:
    store = Store()
    first = attempt(store, sync_id=58, wait_for_completion=wait)
    second = attempt(store, 2, sync_id=58, max_tries=4, wait_for_completion=wait)
    assert first != second
    assert triggered(census) == [58, 58]
    assert log.count("The task was cleared to sync again") == 1
    assert attempt(store, 3, sync_id=58, max_tries=4) == second, "a retry of that is none"


@both
def test_clearing_a_task_whose_run_is_running_starts_no_second_one(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    """The triggerer is given time to cancel it, but may not be there."""
    monkeypatch.setattr(checkpoint, "CLEAR_TIMEOUT", 0.01)
    store = Store()
    first = attempt(store, sync_id=57, wait_for_completion=False)
    if wait:
        with pytest.raises(TaskDeferred) as deferral:
            attempt(store, 2, sync_id=57, max_tries=7, deferrable=True)
        assert deferral.value.trigger.sync_run_id == first
    else:
        assert attempt(store, 2, sync_id=57, max_tries=7, wait_for_completion=False) == first
    assert triggered(census) == [57]


def test_clearing_a_task_whose_run_is_being_cancelled_syncs_again(census: Sandbox) -> None:
    store = Store()
    first = attempt(store, sync_id=56, wait_for_completion=False)
    with pytest.raises(CensusSyncRunCanceled) as raised:
        attempt(store, 2, sync_id=56, max_tries=7)
    assert raised.value.sync_run["id"] != first
    assert triggered(census) == [56, 56]


@pytest.mark.parametrize(("joined", "ending"), [(False, "could not be cancelled"), (True, "keeps running")])
def test_a_retry_waits_for_census_to_respond_but_no_longer_than_its_timeout(
    census: Sandbox, hours_fly_by: None, joined: bool, ending: str
) -> None:
    store = Store()
    if joined:
        census.start_run(57)
    attempt(store, sync_id=57, wait_for_completion=False, if_running="join")
    census.fail_next(9999, status=502, path="/api/v1/sync_runs")
    with pytest.raises(CensusTimeoutError, match=r"within 3 h \(timeout\)") as raised:
        attempt(store, 2, sync_id=57, timeout=timedelta(hours=3), cancel_on_timeout=True)
    assert ending in str(raised.value)


def test_a_store_that_fails_after_the_start_does_not_fail_the_task(census: Sandbox, log: Log) -> None:
    store = Store()
    store.fails_at[2] = RuntimeError("the database is away")
    assert attempt(store) == census.triggers[0].sync_run_id
    assert triggered(census) == [52]
    assert log.count("cannot be stored now") == 1


def test_a_store_that_fails_before_the_start_starts_nothing(census: Sandbox) -> None:
    store = Store()
    store.fails_at[1] = RuntimeError("the database is away")
    with pytest.raises(RuntimeError):
        attempt(store)
    assert census.triggers == []


@pytest.mark.parametrize("store", [Store(), None], ids=["with a store", "without"])
def test_durable_false_starts_a_run_at_every_try(census: Sandbox, store: Store | None) -> None:
    for number in (1, 2):
        attempt(store, number, sync_id=57, durable=False, wait_for_completion=False)
    assert triggered(census) == [57, 57]
    assert store is None or store.writes == 0


@pytest.mark.parametrize("other", [{"sync_id": 52}, {"force_full_sync": True}], ids=str)
def test_a_run_of_another_kind_is_not_reconnected_to(census: Sandbox, other: dict[str, Any]) -> None:
    store = Store()
    attempt(store, sync_id=57, wait_for_completion=False)
    attempt(store, 2, **{"sync_id": 57, "wait_for_completion": False, **other})
    assert len(census.triggers) == 2


@pytest.mark.parametrize("garbage", [None, {}, [], "x", 7, {"of_the_future": 1}], ids=repr)
def test_a_checkpoint_that_nobody_understands_is_none(census: Sandbox, garbage: Any) -> None:
    store = Store()
    store.stored["census_sync_run"] = json.dumps(garbage)
    attempt(store, 2)
    assert triggered(census) == [52]


def test_after_a_run_that_is_gone_a_retry_resubmits(census: Sandbox, log: Log) -> None:
    store = Store()
    first = attempt(store, sync_id=58)
    stored = store.get("census_sync_run")
    store.stored["census_sync_run"] = json.dumps({**stored, "sync_run_id": 404404})
    assert attempt(store, 2, sync_id=58) != first
    assert log.count("is gone") == 1


def test_the_checkpoint_is_plain_and_holds_no_secret(census: Sandbox) -> None:
    store = Store()
    attempt(store)
    (stored,) = store.stored.values()
    assert census.token not in stored
    assert json.loads(stored)["sync_run_id"] == census.triggers[0].sync_run_id


def test_without_a_store_a_retry_takes_a_run_of_this_dag_run(
    census: Sandbox, log: Log, crash_while_waiting: Callable[..., None]
) -> None:
    crash_while_waiting(None)
    (trigger,) = census.triggers
    assert attempt(None, 2) == trigger.sync_run_id
    assert triggered(census) == [52]
    assert log.count("Try 2 of this task takes over sync run") == 1
    assert log.count("It may be another task's; durable=False starts a new one.") == 1


def test_without_a_store_the_first_try_takes_nothing(census: Sandbox) -> None:
    others = CensusHook().trigger_sync(57)
    assert attempt(None, 1, sync_id=57, wait_for_completion=False) != others


@pytest.mark.parametrize(("sync_id", "error"), [(58, None), (53, CensusSyncRunFailed)])
def test_without_a_store_a_run_that_has_ended_is_not_taken(
    census: Sandbox, sync_id: int, error: type[Exception] | None
) -> None:
    for number in (1, 2):
        if error is None:
            attempt(None, number, sync_id=sync_id)
        else:
            with pytest.raises(error):
                attempt(None, number, sync_id=sync_id)
    assert triggered(census) == [sync_id, sync_id]


def test_without_a_store_a_run_from_before_the_dag_run_is_not_taken(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = CensusHook().trigger_sync(57)
    later = context()["dag_run"]
    later.start_date += timedelta(hours=1)
    monkeypatch.setitem(globals(), "DAG_RUN", later)
    assert attempt(None, 2, sync_id=57, wait_for_completion=False) != others


@pytest.mark.parametrize(
    ("moment", "failures"),
    [("the backoff after the request", 0), ("the search for the run", 0), ("the search for the run", 9)],
    ids=["in the backoff", "in the search", "in a search that fails"],
)
@both
def test_a_kill_while_a_lost_run_is_recovered_leaves_the_checkpoint_to_a_retry(
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    at_first_sleep: AtFirstSleep,
    state_is: StateIs,
    log: Log,
    moment: str,
    failures: int,
    wait: bool,
) -> None:
    """Census started a run, responded with HTTP 502, and lists the run only once the task was killed."""

    def backoff(_attempt: int, error: BaseException | None = None, **_: Any) -> float:
        return 1.0 if (error is not None) == (moment == "the backoff after the request") else 0.0

    def fail_the_search(method: str, _path: str) -> None:
        if method == "POST" and failures:
            census.fail_next(failures, status=404, method="GET")

    def appear_and_kill() -> None:
        census.start_run(57)
        census.stop_failing()
        operator.on_kill()

    state_is("running")
    store = Store()
    census.on_request = fail_the_search
    census.fail_next(status=502, method="POST", path="/api/v1/syncs/57/trigger")
    operator, known = one_try(store, sync_id=57, wait_for_completion=wait)
    with monkeypatch.context() as patched:
        patched.setattr(retries, "backoff", backoff)
        at_first_sleep(appear_and_kill)
        with pytest.raises(CensusTaskKilled):
            operator.execute(known)
    checkpoint = store.get("census_sync_run")
    assert (checkpoint["sync_id"], checkpoint["sync_run_id"]) == ("57", None)
    (run,) = census.runs
    if wait:
        with pytest.raises(TaskDeferred) as deferral:
            attempt(store, 2, sync_id=57, deferrable=True)
        assert deferral.value.trigger.sync_run_id == run["id"]
    else:
        assert attempt(store, 2, sync_id=57, wait_for_completion=False) == run["id"]
    assert log.count("An earlier try ended while it started sync 57; searching for its run.") == 1
    assert [run["id"] for run in census.runs] == [store.get("census_sync_run")["sync_run_id"]]
    assert [path for method, path in census.requests if method == "POST"] == ["/api/v1/syncs/57/trigger"]


def test_in_a_real_airflow_a_retry_reconnects(
    run_task: Callable[..., Done], census: Sandbox, at_first_sleep: AtFirstSleep
) -> None:
    def lose_census() -> None:
        raise CensusConnectionError("The worker is in trouble.", sent=True)

    at_first_sleep(lose_census)
    done = run_task(
        CensusTriggerSyncOperator, sync_id=52, wait_for_completion=True, retries=1, retry_delay=timedelta(0)
    )
    assert [type(error) for error in done.raised["task"]] == [CensusConnectionError]
    assert done.state == "success"
    assert triggered(census) == [52]
    assert done.xcom() == done.xcom("sync_run")["id"] == census.triggers[0].sync_run_id
    assert done.link()

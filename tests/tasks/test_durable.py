# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a retry makes of the run that an earlier try started, with a task state store and without."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from task_helpers import Done, Log, Store, TaskInstance, context, triggered

from airflow_provider_census.exceptions import (
    CensusConnectionError,
    CensusSyncRunCanceled,
    CensusSyncRunFailed,
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


def attempt(
    store: Store | None, number: int = 1, *, max_tries: int = 3, sync_id: int = 52, **options: Any
) -> int:
    """One try of the task; every try has an operator of its own, and knows no other run of this process."""
    hooks.OWNED_RUN_IDS.clear()
    operator = CensusTriggerSyncOperator(
        task_id="task", sync_id=sync_id, **{"wait_for_completion": True, **options}
    )
    ti = TaskInstance(try_number=number, max_tries=max_tries)
    more = {} if store is None else {"task_state_store": store}
    return operator.execute({**context(ti, **more), "dag_run": DAG_RUN})


DAG_RUN = context()["dag_run"]


@pytest.fixture
def crash_while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the first try die while it waits."""

    def arrange() -> None:
        wait = CensusTriggerSyncOperator._wait_here

        def die(*_: Any, **__: Any) -> Any:
            monkeypatch.setattr(CensusTriggerSyncOperator, "_wait_here", wait)
            raise Killed

        monkeypatch.setattr(CensusTriggerSyncOperator, "_wait_here", die)

    return arrange


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
        patched.setattr(CensusHook, "trigger_sync", die)
        with pytest.raises(Killed):
            attempt(store, wait_for_completion=wait)
    assert store.writes == 1
    assert census.triggers == []
    found = attempt(store, 2, wait_for_completion=wait)
    assert [trigger.sync_run_id for trigger in census.triggers] == [found]


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
    census: Sandbox, log: Log, crash_while_waiting: Callable[[], None]
) -> None:
    store = Store()
    crash_while_waiting()
    with pytest.raises(Killed):
        attempt(store)
    (trigger,) = census.triggers
    assert attempt(store, 2) == trigger.sync_run_id
    assert triggered(census) == [52]
    assert log.count(f"Reconnecting to sync run {trigger.sync_run_id} of sync 52") == 1


@both
def test_a_run_that_has_completed_meanwhile_is_the_result(
    census: Sandbox, log: Log, crash_while_waiting: Callable[[], None], wait: bool
) -> None:
    store = Store()
    crash_while_waiting()
    with pytest.raises(Killed):
        attempt(store, sync_id=58)
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
        with pytest.raises(Exception, match=f"of sync {sync_id}"):
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
    census: Sandbox, log: Log, crash_while_waiting: Callable[[], None]
) -> None:
    crash_while_waiting()
    with pytest.raises(Killed):
        attempt(None)
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


def test_in_a_real_airflow_a_retry_reconnects(
    run_task: Callable[..., Done], census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = CensusTriggerSyncOperator._wait_here

    def lose_census(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(CensusTriggerSyncOperator, "_wait_here", wait)
        raise CensusConnectionError("The worker is in trouble.", sent=True)

    monkeypatch.setattr(CensusTriggerSyncOperator, "_wait_here", lose_census)
    done = run_task(
        CensusTriggerSyncOperator, sync_id=52, wait_for_completion=True, retries=1, retry_delay=timedelta(0)
    )
    assert done.state == "success"
    assert triggered(census) == [52]
    assert done.xcom() == done.xcom("sync_run")["id"] == census.triggers[0].sync_run_id
    assert done.link()

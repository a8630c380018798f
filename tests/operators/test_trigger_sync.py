# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The operator in a real Airflow, against the sandbox."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred
from task_helpers import (
    Done,
    Log,
    advance_clock_with_polls,
    context,
    polls,
    triggered,
)

from airflow_provider_census.exceptions import (
    CensusNotFoundError,
    CensusSyncRunCanceled,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
    CensusSyncRunTooFewRecords,
    CensusTimeoutError,
)
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
waiting = pytest.mark.parametrize("deferrable", [False, True], ids=["on the worker", "deferred"])


def address(census: Sandbox) -> str:
    (trigger,) = census.triggers
    return f"{census.url}/syncs/{trigger.sync_id}/history?sync_run_id={trigger.sync_run_id}"


@waiting
def test_by_default_the_id_is_returned_at_once(run_task: RunTask, census: Sandbox, deferrable: bool) -> None:
    done = run_task(CensusTriggerSyncOperator, sync_id=57, deferrable=deferrable)
    assert done.state == "success"
    (trigger,) = census.triggers
    assert (trigger.sync_id, trigger.force_full_sync) == (57, False)
    assert done.xcom() == done.xcom("sync_run_id") == trigger.sync_run_id
    assert type(done.xcom()) is int
    assert done.xcom("sync_run") is None
    assert done.link() == address(census)
    assert polls(census) == 0
    assert census.cancels == []


COUNTS = "995 updated, 3 rejected, 2 invalid"
ENDINGS: list[tuple[int, dict[str, Any], str, type[Exception] | None, list[str]]] = [
    (52, {}, "success", None, []),
    (
        53,
        {},
        "failed",
        CensusSyncRunFailed,
        [
            "JSON_ARRAY_ERROR",
            "does not appear to be valid JSON",
            'the field "custom_field:Users" with value "jim"',
            "0 invalid",
        ],
    ),
    (54, {}, "failed", CensusSyncRunSkipped, ["Skipped by Census, nothing was synced"]),
    (54, {"on_skipped_run": "skip"}, "skipped", None, []),
    (54, {"on_skipped_run": "succeed"}, "success", None, []),
    (55, {}, "success", None, []),
    (
        55,
        {"max_records_failed": 2},
        "failed",
        CensusSyncRunRejectedRecords,
        ["records_failed is 3, allowed are 2", COUNTS],
    ),
    (
        55,
        {"max_records_failed": 0, "max_records_invalid": 1},
        "failed",
        CensusSyncRunRejectedRecords,
        ["records_failed is 3, allowed are 0; records_invalid is 2, allowed are 1", COUNTS],
    ),
    (55, {"max_records_failed": 3, "max_records_invalid": 2}, "success", None, []),
    (52, {"max_records_failed": 0, "max_records_invalid": 0}, "success", None, []),
    (
        55,
        {"max_failed_share": 0.004},
        "failed",
        CensusSyncRunRejectedRecords,
        ["Too many rejected records: 0.5 % (5 of 1000), allowed are 0.4 %", COUNTS],
    ),
    (55, {"max_failed_share": 0.005, "min_records_processed": 1000}, "success", None, []),
    (
        52,
        {"max_failed_share": 0, "min_records_processed": 1001},
        "failed",
        CensusSyncRunTooFewRecords,
        ["Too few records: records_processed is 1000, expected are at least 1001"],
    ),
    (56, {}, "failed", CensusSyncRunCanceled, ["Cancelled"]),
    (58, {}, "success", None, []),
]


@waiting
@pytest.mark.parametrize(("sync_id", "options", "state", "error", "words"), ENDINGS)
def test_the_task_ends_as_the_run_did(
    run_task: RunTask,
    census: Sandbox,
    triggers_run: list[Any],
    deferrable: bool,
    sync_id: int,
    options: dict[str, Any],
    state: str,
    error: type[Exception] | None,
    words: list[str],
) -> None:
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=sync_id,
        wait_for_completion=True,
        deferrable=deferrable,
        **options,
    )
    assert done.state == state
    (trigger,) = census.triggers
    run = done.xcom("sync_run")
    assert (run["id"], run["sync_id"]) == (trigger.sync_run_id, sync_id)
    assert run["status"] not in {"queued", "working"} or run["canceled"]
    assert done.xcom("sync_run_id") == trigger.sync_run_id
    assert done.xcom() == (trigger.sync_run_id if state == "success" else None)
    assert done.link() == address(census)
    assert census.cancels == []
    if error is not None:
        assert type(done.error) is error
        assert done.error.sync_run == run  # type: ignore[attr-defined]
        for word in [*words, f"(sync {sync_id}, run {trigger.sync_run_id})", address(census)]:
            assert word in str(done.error)
    assert bool(triggers_run) == (deferrable and sync_id not in {54, 58})


@waiting
@pytest.mark.parametrize(("sync_id", "level"), [(52, "info"), (55, "warning")])
def test_rejected_records_within_limits_are_a_warning(
    run_task: RunTask,
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
    sync_id: int,
    level: str,
) -> None:
    log = Log()
    monkeypatch.setattr(CensusTriggerSyncOperator, "log", log)
    run_task(CensusTriggerSyncOperator, sync_id=sync_id, wait_for_completion=True, deferrable=deferrable)
    assert [loudness for loudness, line in log.lines if "Completed" in line and "updated" in line] == [level]


@waiting
def test_a_sync_that_does_not_exist_fails_the_task(
    run_task: RunTask, census: Sandbox, deferrable: bool
) -> None:
    done = run_task(
        CensusTriggerSyncOperator, sync_id=404404, wait_for_completion=True, deferrable=deferrable
    )
    assert done.state == "failed"
    assert type(done.error) is CensusNotFoundError
    assert census.triggers == []


def test_templates_and_xcoms_are_rendered(run_task: RunTask, census: Sandbox) -> None:
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id="{{ 50 + 2 }}",
        census_conn_id="census_{{ 'default' }}",
        force_full_sync="{{ 1 == 1 }}",
        wait_for_completion=True,
    )
    assert done.state == "success"
    assert [(trigger.sync_id, trigger.force_full_sync) for trigger in census.triggers] == [(52, True)]


def test_mapped_over_syncs_every_instance_has_its_own_run(run_task: RunTask, census: Sandbox) -> None:
    done = run_task(
        lambda: CensusTriggerSyncOperator.partial(
            task_id="task", wait_for_completion=True, deferrable=True
        ).expand(sync_id=[52, "53", 58])
    )
    assert done.states == ["success", "failed", "success"]
    assert sorted(triggered(census)) == [52, 53, 58]
    ids = {trigger.sync_id: trigger.sync_run_id for trigger in census.triggers}
    assert [done.xcom("sync_run_id", ti) for ti in done.instances] == [ids[52], ids[53], ids[58]]
    assert [done.xcom("sync_run", ti)["sync_id"] for ti in done.instances] == [52, 53, 58]
    assert [done.link(ti).rpartition("=")[2] for ti in done.instances] == [
        str(ids[sync_id]) for sync_id in (52, 53, 58)
    ]


def test_mapped_over_workspaces_every_instance_has_its_own_connection(
    run_task: RunTask, census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(token="secret-token:eu") as europe:
        advance_clock_with_polls(europe)
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_EU", europe.connection_uri_v1)
        pairs = [
            {"sync_id": 52, "census_conn_id": "census_default"},
            {"sync_id": 55, "census_conn_id": "census_eu"},
        ]
        done = run_task(
            lambda: CensusTriggerSyncOperator.partial(
                task_id="task", wait_for_completion=True, deferrable=True
            ).expand_kwargs(pairs)
        )
        assert done.states == ["success", "success"]
        assert (triggered(census), triggered(europe)) == ([52], [55])
        assert [done.link(ti) for ti in done.instances] == [address(census), address(europe)]


@waiting
@pytest.mark.parametrize("cancel", [False, True], ids=["left alone", "cancelled"])
def test_after_the_timeout_the_task_fails_and_the_run_is(
    run_task: RunTask, census: Sandbox, hours_fly_by: None, deferrable: bool, cancel: bool
) -> None:
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=57,
        wait_for_completion=True,
        deferrable=deferrable,
        timeout=timedelta(hours=3),
        cancel_on_timeout=cancel,
    )
    assert done.state == "failed"
    assert type(done.error) is CensusTimeoutError
    ending = "The run was cancelled." if cancel else "The run keeps running in Census."
    assert "has not ended within 3 h (timeout)" in str(done.error)
    assert f". {ending} {address(census)}" in str(done.error)
    assert census.cancels == ([census.triggers[0].sync_run_id] if cancel else [])


def test_when_the_run_cannot_be_cancelled_the_message_says_so(
    run_task: RunTask, census: Sandbox, hours_fly_by: None
) -> None:
    census.fail_next(5, status=500, method="POST", path="/api/v1/sync_runs")
    done = run_task(
        CensusTriggerSyncOperator, sync_id=57, wait_for_completion=True, timeout=3600, cancel_on_timeout=True
    )
    assert type(done.error) is CensusTimeoutError
    assert "could not be cancelled and may keep running in Census" in str(done.error)


def test_the_execution_timeout_cancels_on_the_worker(
    run_task: RunTask, census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alarm(_task: Any, seconds: float) -> None:
        if seconds:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    monkeypatch.setattr(CensusTriggerSyncOperator, "_sleep", alarm)
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=57,
        wait_for_completion=True,
        execution_timeout=timedelta(hours=1),
    )
    assert done.state == "failed"
    assert type(done.error) is AirflowTaskTimeout
    assert census.cancels == [census.triggers[0].sync_run_id]


def test_the_execution_timeout_cancels_while_deferred(
    run_task: RunTask, census: Sandbox, hours_fly_by: None
) -> None:
    done = run_task(
        CensusTriggerSyncOperator,
        sync_id=57,
        wait_for_completion=True,
        deferrable=True,
        execution_timeout=timedelta(hours=1),
        timeout=timedelta(days=7),
    )
    assert done.state == "failed"
    assert type(done.error) is AirflowTaskTimeout
    assert "has not ended within 1 h (execution_timeout): " in str(done.error)
    assert f". The run was cancelled. {address(census)}" in str(done.error)
    assert census.cancels == [census.triggers[0].sync_run_id]


def test_a_retry_resubmits_after_a_failed_run(run_task: RunTask, census: Sandbox) -> None:
    done = run_task(
        CensusTriggerSyncOperator, sync_id=53, wait_for_completion=True, retries=1, retry_delay=timedelta(0)
    )
    assert done.state == "failed"
    assert triggered(census) == [53, 53]
    assert [type(error) for error in done.raised["task"]] == [CensusSyncRunFailed] * 2
    assert done.xcom("sync_run_id") == census.triggers[1].sync_run_id


IDLE = {
    "deferrable": True,
    "poll_interval": 10,
    "timeout": 60,
    "on_skipped_run": "skip",
    "max_records_failed": 0,
    "max_records_invalid": 5,
    "cancel_on_timeout": True,
    "cancel_on_kill": False,
}


def warned(**options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CensusTriggerSyncOperator(task_id="task", sync_id=52, **options)
    found = [warning for warning in caught if "wait_for_completion" in str(warning.message)]
    assert {warning.filename for warning in found} <= {__file__}
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize("option", IDLE)
def test_an_option_that_has_no_effect_is_warned_of(option: str) -> None:
    (warning,) = warned(**{option: IDLE[option]})
    assert warning.startswith(f"{option} of task 'task' will have no effect")


def test_all_options_without_effect_are_listed_in_one_warning() -> None:
    (warning,) = warned(**IDLE)
    assert warning.startswith(", ".join(IDLE) + " of task")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"deferrable": False},
        {"deferrable": True, "if_running": "wait"},
        {"deferrable": "{{ params.deferrable }}"},
        {"durable": False},
        {"force_full_sync": True},
        {**IDLE, "wait_for_completion": True},
    ],
)
def test_nothing_else_is_warned_of(options: dict[str, Any]) -> None:
    assert warned(**options) == []


def test_where_airflow_is_to_defer_whatever_can_be_that_is_not_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert warned(deferrable=True) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *(
            ({"sync_id": wrong}, "sync_id must be a positive whole number")
            for wrong in (None, "", 0, -1, True, 1.5, "-52", " 52")
        ),
        *(
            ({option: wrong}, f"{option} must be a timedelta or a number of seconds above 0")
            for option in ("poll_interval", "timeout")
            for wrong in (0, -1, True, "60", float("nan"), float("inf"), timedelta(0))
        ),
        *(
            ({"census_conn_id": wrong}, "census_conn_id must be a non-empty string")
            for wrong in (None, "", " ", 5.5)
        ),
        *(
            ({"force_full_sync": wrong}, "force_full_sync must be true or false")
            for wrong in ("maybe", None, 1, "")
        ),
        *(
            ({"sync_id": None, "sync_label": wrong}, "sync_label must be a non-empty string")
            for wrong in ("", " ", 5.5)
        ),
        ({"on_skipped_run": "ignore"}, "on_skipped_run must be one of 'fail', 'skip', 'succeed'"),
        *(
            ({option: wrong}, f"{option} must be a whole number of at least 0")
            for option in ("max_records_failed", "max_records_invalid")
            for wrong in (-1, True, 1.5, "1")
        ),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_when_the_dag_is_read(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CensusTriggerSyncOperator(task_id="task", **{"sync_id": 52, "wait_for_completion": True, **options})


@pytest.mark.parametrize(
    ("word", "full"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("True", True),
        (" FALSE\n", False),
        ("None", None),
        ("yes", None),
        ("", None),
        (1, None),
    ],
)
def test_what_a_template_makes_of_force_full_sync(census: Sandbox, word: Any, full: bool | None) -> None:
    operator = CensusTriggerSyncOperator(task_id="task", sync_id=52, force_full_sync="{{ params.full }}")
    operator.force_full_sync = word
    if full is None:
        with pytest.raises(ValueError, match="force_full_sync must be true or false"):
            operator.execute(context())
        assert census.triggers == []
    else:
        operator.execute(context())
        assert [trigger.force_full_sync for trigger in census.triggers] == [full]


def test_a_template_that_nobody_rendered_is_refused_before_anything_is_sent(census: Sandbox) -> None:
    operator = CensusTriggerSyncOperator(task_id="task", sync_id="{{ var.value.sync }}")
    with pytest.raises(ValueError, match="sync_id is the unrendered template"):
        operator.execute(context())
    assert census.requests == []


@pytest.mark.parametrize("timeout", [100, timedelta(seconds=100)], ids=str)
@pytest.mark.parametrize("poll_interval", [7, timedelta(seconds=7)], ids=str)
def test_what_a_cluster_policy_sets_counts(census: Sandbox, timeout: Any, poll_interval: Any) -> None:
    operator = CensusTriggerSyncOperator(
        task_id="task", sync_id=57, wait_for_completion=True, deferrable=True
    )
    operator.timeout, operator.poll_interval = timeout, poll_interval
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context())
    options = deferral.value.trigger.options
    assert (options.poll_interval, options.deadline - options.started) == (7.0, 100.0)
    event = {"sync_run_id": deferral.value.trigger.sync_run_id, "event": "timeout"}
    with pytest.raises(CensusTimeoutError, match=r"within 1 min 40 s \(timeout\)"):
        operator.execute_complete(context(), event, **(deferral.value.kwargs or {}))


@pytest.mark.parametrize(
    ("waited", "deadline", "held"), [(0, None, 0), (300, None, 30), (86_400, None, 60), (86_400, 7, 7)]
)
def test_a_run_that_goes_back_and_forth_is_deferred_less_and_less_often(
    census: Sandbox, waited: float, deadline: float | None, held: float
) -> None:
    """The triggerer has seen that it is over, and the worker now sees that it is not."""
    operator = CensusTriggerSyncOperator(
        task_id="task", sync_id=57, wait_for_completion=True, deferrable=True
    )
    sync_run_id = CensusHook().trigger_sync(57)
    now = time.time()
    times: Any = {
        "started": now - waited,
        "deadline": deadline and now + deadline,
        "execution_deadline": None,
    }
    event = {"sync_run_id": sync_run_id, "event": "ended", "message": ""}
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute_complete(context(), event, **times)
    resumes = deferral.value.trigger.options.resume_after or now
    assert resumes - now == pytest.approx(held, abs=1.0)

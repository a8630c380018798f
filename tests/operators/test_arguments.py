# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Every argument of operator and sensors: kept under its name, and read when the task runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from task_helpers import RESCHEDULED, Done, every_argument_of

from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox

LONG_AGO = datetime(2020, 1, 31, tzinfo=timezone.utc)
CRITERIA = {
    "max_records_failed": 3,
    "max_records_invalid": 4,
    "max_failed_share": 0.5,
    "min_records_processed": 1,
}
HOOK_PARAMS = {"timeout": 120.0}

GIVEN: dict[type[Any], dict[str, Any]] = {
    CensusTriggerSyncOperator: {
        "sync_id": 52,
        "sync_label": None,
        "census_conn_id": "census_default",
        "hook_params": HOOK_PARAMS,
        "log_rejected_records": 3,
        "force_full_sync": True,
        "wait_for_completion": True,
        "deferrable": True,
        "poll_interval": timedelta(seconds=7),
        "timeout": 3600,
        "on_skipped_run": "skip",
        **CRITERIA,
        "cancel_on_timeout": True,
        "cancel_on_kill": False,
        "durable": False,
        "if_running": "wait",
    },
    CensusSyncRunSensor: {
        "sync_run_id": 94,
        "census_conn_id": "census_default",
        "hook_params": HOOK_PARAMS,
        "log_rejected_records": 3,
        "deferrable": True,
        "poke_interval": 7.0,
        "on_skipped_run": "skip",
        **CRITERIA,
    },
    CensusSyncSensor: {
        "sync_id": 52,
        "sync_label": None,
        "since": LONG_AGO,
        "census_conn_id": "census_default",
        "hook_params": HOOK_PARAMS,
        "log_rejected_records": 3,
        "deferrable": True,
        "poke_interval": 7.0,
        **CRITERIA,
    },
}
"""For each argument a value, where that is possible another one than its default."""

ALL = [pytest.param(kind, name, id=f"{kind.__name__} {name}") for kind in GIVEN for name in GIVEN[kind]]


def needed(kind: type[Any]) -> dict[str, Any]:
    """The arguments without which there is no such task."""
    return {name: GIVEN[kind][name] for name in ("sync_id", "sync_run_id") if name in GIVEN[kind]}


def in_words(value: Any) -> str:
    """What a template renders a value to."""
    return f"{value.total_seconds():g}" if isinstance(value, timedelta) else str(value)


@pytest.mark.parametrize("kind", GIVEN)
def test_no_argument_is_left_out_here(kind: type[Any]) -> None:
    assert every_argument_of(kind) == GIVEN[kind].keys()


@pytest.mark.parametrize("kind", GIVEN)
def test_an_argument_is_kept_as_it_was_given(kind: type[Any]) -> None:
    task = kind(task_id="task", **GIVEN[kind])
    assert {name: getattr(task, name) for name in GIVEN[kind]} == GIVEN[kind]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_template_and_the_result_of_a_task_are_kept_too(kind: type[Any], name: str) -> None:
    with DAG("kept", schedule=None):
        result = CensusTriggerSyncOperator(task_id="before", sync_id=52).output
        for number, value in enumerate(["{{ params.value }}", "{% if x %}1{% endif %}", result]):
            given = needed(kind) | {name: value}
            if name == "sync_label":
                del given["sync_id"]
            task = kind(task_id=f"task{number}", **given)
            assert getattr(task, name) is value


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_an_argument_may_be_set_later(kind: type[Any], name: str) -> None:
    task = kind(task_id="task", **needed(kind))
    setattr(task, name, "another")
    assert getattr(task, name) == "another"


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize("kind", GIVEN)
def test_all_arguments_may_be_templates_of_a_subclass(
    run_dag: Callable[..., Any], census: Sandbox, triggers_run: list[Any], kind: type[Any], native: bool
) -> None:
    arguments = {name: value for name, value in GIVEN[kind].items() if value is not None}
    if not native:
        del arguments["hook_params"]  # no text is a dict
    if kind is CensusSyncRunSensor:
        arguments["sync_run_id"] = census.start_run(52)
    else:
        census.start_run(52)
    seen: list[dict[str, Any]] = []

    class Templated(kind):  # type: ignore[misc]
        template_fields = tuple(arguments)

        def execute(self, context: Any) -> Any:
            try:
                return super().execute(context)
            finally:
                seen.append({name: getattr(self, name) for name in arguments})

    params = {name: in_words(value) for name, value in arguments.items()}
    with DAG("templated", schedule=None, params=params, render_template_as_native_obj=native) as dag:
        Templated(task_id="task", **{name: f"{{{{ params.{name} }}}}" for name in arguments})
    assert Done(dag, run_dag(dag)).state == "success"
    for name, value in arguments.items():
        if name in {"sync_id", "sync_run_id", "since"}:  # read by those who use them
            assert str(seen[0][name]) == str(value)
        else:
            assert seen[0][name] == (value.total_seconds() if isinstance(value, timedelta) else value)
    assert {trigger.options.poll_interval for trigger in triggers_run} <= {7.0}


@pytest.mark.parametrize(
    "spans",
    [
        {"poke_interval": 2, "timeout": timedelta(hours=2)},
        {"poke_interval": timedelta(seconds=2), "timeout": 7200},
        {"poke_interval": "2", "timeout": "7200"},
        {"poke_interval": 2.0, "timeout": 7200.0, "exponential_backoff": True, "max_wait": 60},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param({"mode": "poke"}, id="poke"),
        pytest.param(*RESCHEDULED.values, marks=RESCHEDULED.marks, id="reschedule"),
        pytest.param({"deferrable": True}, id="deferrable"),
    ],
)
def test_what_a_cluster_policy_sets_counts(
    run_task: Callable[..., Done],
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    mode: dict[str, Any],
    spans: dict[str, Any],
) -> None:
    waited: list[float] = []
    wait = CensusSyncRunSensor._get_next_poke_interval  # noqa: SLF001 - which Airflow itself calls

    def note(sensor: Any, *known: Any) -> float:
        waited.append(wait(sensor, *known))
        return 0.001

    monkeypatch.setattr(CensusSyncRunSensor, "_get_next_poke_interval", note)
    sync_run_id = census.start_run(52)

    def make() -> None:
        task = CensusSyncRunSensor(task_id="task", sync_run_id=sync_run_id)
        for name, value in {**mode, **spans}.items():
            setattr(task, name, value)

    assert run_task(make).state == "success"
    if "deferrable" not in mode and "max_wait" not in spans:
        assert set(waited) == {2.0}


class Sync(IntEnum):
    USERS = 52


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_an_id_of_a_neighbouring_type_goes_all_the_way(
    run_task: Callable[..., Done], census: Sandbox, deferrable: bool
) -> None:
    done = run_task(
        CensusTriggerSyncOperator, sync_id=Sync.USERS, wait_for_completion=True, deferrable=deferrable
    )
    assert (done.state, census.triggers[0].sync_id) == ("success", 52)
    sync_run_id = done.xcom()
    run = IntEnum("run", {"MINE": sync_run_id})
    for value in (run.MINE, float(sync_run_id), f"{sync_run_id}.0"):
        again = run_task(CensusSyncRunSensor, sync_run_id=value, deferrable=deferrable)
        assert (again.state, again.xcom()["id"]) == ("success", sync_run_id)

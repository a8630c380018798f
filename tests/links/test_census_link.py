# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The button on a task, with an XCom backend that keeps nothing in Airflow's database."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from airflow.utils.session import create_session
from airflow.utils.state import State
from task_helpers import PACE, RESCHEDULED, STEP, Done, Log, context

from airflow_provider_census import waiting
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.links import census as links
from airflow_provider_census.links.census import XCOM_KEY, CensusSyncRunLink
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_census.sandbox import Sandbox

POKE_MODES: list[Any] = [
    pytest.param({}, id="poke"),
    pytest.param(*RESCHEDULED.values, marks=RESCHEDULED.marks, id="reschedule"),
    pytest.param({"deferrable": True}, id="deferred"),
]


def button(ti: Any) -> str:
    """What the button of a task instance opens, as Airflow's web server finds it."""
    if airflow.__version__.startswith("2."):
        return CensusSyncRunLink().get_link(None, ti_key=ti.key)  # type: ignore[arg-type]
    try:
        from airflow.serialization.definitions.operatorlink import XComOperatorLink
    except ImportError:  # before 3.2
        from airflow.serialization.serialized_objects import XComOperatorLink  # type: ignore[attr-defined]

    return XComOperatorLink(CensusSyncRunLink.name, XCOM_KEY).get_link(None, ti_key=ti.key)  # type: ignore[arg-type]


def address(census: Sandbox) -> str:
    """Where the one run that was started is in Census."""
    (trigger,) = census.triggers
    return f"{census.url}/syncs/52/history?sync_run_id={trigger.sync_run_id}"


@pytest.fixture
def object_storage(
    airflow_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], list[Path]]]:
    """Keep every XCom in a file, as if Airflow had been started with that backend; the files."""
    from airflow.providers.common.compat.sdk import XCom
    from airflow.providers.common.io.xcom import backend

    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "0")
    for name, module in list(sys.modules.items()):
        if name.startswith("airflow.") and vars(module).get("XCom") is XCom:
            monkeypatch.setattr(module, "XCom", backend.XComObjectStorageBackend)
    settings = [getattr(backend, f"_get_{name}") for name in ("base_path", "compression", "threshold")]
    for setting in settings:
        setting.cache_clear()
    yield lambda: [path for path in tmp_path.rglob("*") if path.is_file()]
    for setting in settings:
        setting.cache_clear()


@pytest.fixture
def seen_while_waiting(census: Sandbox) -> list[str]:
    """What the button of a waiting task opened whenever that polled."""
    from airflow.models.taskinstance import TaskInstance

    seen: list[str] = []
    polls = 0

    def clock() -> float:
        nonlocal polls
        now_polls = sum(method == "GET" and "/sync_runs" in path for method, path in census.requests)
        if now_polls > polls:
            polls = now_polls
            with create_session() as session:
                waiting = [ti for ti in session.query(TaskInstance) if ti.state not in State.finished]
                seen.extend(map(button, waiting))
        return time.time() + PACE * STEP * polls

    census.clock = clock
    return seen


@pytest.mark.parametrize(
    "options",
    [{}, {"wait_for_completion": True}, {"wait_for_completion": True, "deferrable": True}],
    ids=["started", "on the worker", "deferred"],
)
def test_the_button_of_an_operator(
    census: Sandbox,
    run_task: Callable[..., Done],
    object_storage: Callable[[], list[Path]],
    seen_while_waiting: list[str],
    options: dict[str, Any],
) -> None:
    done = run_task(CensusTriggerSyncOperator, sync_id=52, **options)
    assert (done.state, done.link()) == ("success", address(census))
    assert object_storage()
    of_sync = f"{census.url}/syncs/52"
    assert set(seen_while_waiting) - {""} == {of_sync, *([address(census)] if options else [])}


@pytest.mark.parametrize("options", POKE_MODES)
@pytest.mark.parametrize("kind", [CensusSyncRunSensor, CensusSyncSensor])
def test_the_button_of_a_sensor(
    census: Sandbox,
    run_task: Callable[..., Done],
    object_storage: Callable[[], list[Path]],
    seen_while_waiting: list[str],
    kind: type[Any],
    options: dict[str, Any],
) -> None:
    since = datetime.now(timezone.utc) - timedelta(minutes=1)
    sync_run_id = CensusHook().trigger_sync(52)
    of_a_run = kind is CensusSyncRunSensor
    which: dict[str, Any] = {"sync_run_id": sync_run_id} if of_a_run else {"sync_id": 52, "since": since}
    done = run_task(kind, poke_interval=0.01, **which, **options)
    assert (done.state, done.link()) == ("success", address(census))
    assert object_storage()
    assert set(seen_while_waiting) <= {"", f"{census.url}/syncs/52", address(census)}
    if of_a_run and "mode" not in options:  # Airflow 3 forgets the XComs of a task that it reschedules
        assert address(census) in seen_while_waiting


@pytest.mark.parametrize("failure", [OSError("database is locked"), ValueError("no such DAG run")], ids=repr)
def test_a_link_that_cannot_be_kept_fails_no_task(
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(waiting, "publish", links.publish)
    monkeypatch.setattr(links, "base_xcom", fail)
    task = CensusTriggerSyncOperator(task_id="task", sync_id=52)
    log = Log()
    monkeypatch.setattr(CensusTriggerSyncOperator, "log", log)
    assert task.execute(context()) == census.triggers[0].sync_run_id
    warning = f"The button 'Census sync run' has no address, {address(census)}: {failure!r}"
    assert ("warning", warning) in log.lines

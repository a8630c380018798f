# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of tests that run a task in a real Airflow, or its methods by hand, and report what became of it.

Not in a conftest.py, for the folders that need them are not the only ones there are.
"""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from task_helpers import PACE, Done, TaskInstance, advance_clock_with_polls

from airflow_provider_census import waiting
from airflow_provider_census.api import retries
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.links import census as links
from airflow_provider_census.operators import census as operators
from airflow_provider_census.operators import checkpoint
from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sensors import base as sensors
from airflow_provider_census.triggers import base as triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = (
    "at_first_sleep",
    "census",
    "hours_fly_by",
    "impatient",
    "keeps_link",
    "run_task",
    "state_is",
    "triggers_run",
)

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll again soon, and try again at once."""
    monkeypatch.setattr(WaitOptions, "interval", lambda *_, **__: 0.001)
    monkeypatch.setattr(WaitOptions, "startup_jitter", lambda *_: 0.0)
    monkeypatch.setattr(sensors, "RESCHEDULE_INTERVAL", 0.0)
    monkeypatch.setattr(retries, "backoff", lambda *_, **__: 0.0)


@pytest.fixture(autouse=True)
def keeps_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the link of a task that is run by hand with its XComs, for Airflow knows nothing of it."""
    publish = links.publish

    def keep(context: Any, url: str, log: Any) -> None:
        if isinstance(context.get("ti"), TaskInstance):
            context["ti"].xcoms[links.XCOM_KEY] = url  # past any backend
        else:
            publish(context, url, log)

    monkeypatch.setattr(waiting, "publish", keep)


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A local Census behind ``census_default``, on whose clock time passes at every poll of a run."""
    with Sandbox(pace=PACE, strict=True) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri_v1)
        advance_clock_with_polls(sandbox)
        yield sandbox


@pytest.fixture
def hours_fly_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes pass whenever a task or a trigger asks for the time."""
    passed = itertools.count(0, 600)
    clock = SimpleNamespace(
        time=lambda: time.time() + next(passed), monotonic=time.monotonic, sleep=time.sleep
    )
    for module in (waiting, operators, checkpoint, triggers):
        monkeypatch.setattr(module, "time", clock)


@pytest.fixture
def at_first_sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let something happen when a task sleeps for the first time, as a signal does."""

    def arrange(happens: Callable[[], Any]) -> None:
        pending = [happens]

        def sleep(_seconds: float) -> None:
            if pending:
                pending.pop()()

        clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=sleep)
        monkeypatch.setattr(waiting, "time", clock)

    return arrange


@pytest.fixture
def state_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let Airflow say that the task has this state now."""

    def arrange(state: Any) -> None:
        def task_state(_ti: Any) -> str:
            if isinstance(state, Exception):
                raise state
            return str(state() if callable(state) else state)

        monkeypatch.setattr(operators, "task_state", task_state)

    return arrange


@pytest.fixture
def triggers_run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The triggers that were run."""
    found: list[Any] = []
    run = triggers.WaitTrigger.run

    def note(trigger: Any) -> Any:
        found.append(trigger)
        return run(trigger)

    monkeypatch.setattr(triggers.WaitTrigger, "run", note)
    return found


@pytest.fixture
def run_task(run_dag: Callable[..., Any]) -> Callable[..., Done]:
    """Run a DAG of one task, or of what a function makes."""

    def run(make: Callable[..., Any], /, **arguments: Any) -> Done:
        from airflow.providers.common.compat.sdk import DAG, AirflowTaskTimeout

        raised: dict[str, list[BaseException]] = {}

        def note(context: Any) -> None:
            raised.setdefault(context["ti"].task_id, []).append(context.get("exception"))

        callbacks = dict.fromkeys(("on_failure_callback", "on_retry_callback"), note)
        with DAG(
            f"tested_{next(NUMBERS)}",
            schedule=None,
            start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
            default_args=callbacks,
        ) as dag:
            if isinstance(make, type):
                make(task_id="task", **arguments)
            else:
                make(**arguments)
        try:
            return Done(dag, run_dag(dag), raised)
        except AirflowTaskTimeout:  # which dag.test() of Airflow 2 lets through
            return Done(dag, dag.get_last_dagrun(include_externally_triggered=True), raised)  # type: ignore[attr-defined]

    return run

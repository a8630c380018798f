# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What was written for the vendor's 2.x, and what its 2.1.0 left deferred, still works."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import AirflowProviderDeprecationWarning
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import Done, context, triggered

from airflow_provider_census.api.versions import default_version
from airflow_provider_census.exceptions import CensusNotFoundError, CensusSyncRunError, CensusSyncRunFailed
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusOperator, CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSensor, CensusSyncRunSensor
from airflow_provider_census.triggers.census import CensusSyncRunTrigger, CensusTrigger

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
NAMES = [
    ("hooks.census", "CensusHook"),
    ("operators.census", "CensusOperator"),
    ("sensors.census", "CensusSensor"),
    ("triggers.census", "CensusTrigger"),
    ("triggers", "CensusTrigger"),
    ("links.census", "CensusSyncRunLink"),
    ("links", "CensusSyncRunLink"),
]
TRIGGER = "airflow_provider_census.triggers.census.CensusTrigger"
"""What 2.1.0 wrote into Airflow's database of a sensor that it deferred, with these arguments."""


def stored(sync_run_id: int | str, poll_interval: float = 0.01) -> dict[str, Any]:
    return {
        "sync_run_id": str(sync_run_id),
        "census_conn_id": "census_default",
        "poll_interval": poll_interval,
    }


def made(path: str) -> Callable[..., Any]:
    """Find a class by its path, as the triggerer does."""
    module, _, name = path.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def start(sync_id: int) -> int:
    return CensusHook().trigger_sync(sync_id)


def finish(sync_run_id: int) -> None:
    CensusHook().wait_for_sync_run(sync_run_id)


def warned(use: Callable[[], Any]) -> tuple[Any, list[warnings.WarningMessage]]:
    """Use a name; what comes of it, and what warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = use()
    return got, [each for each in caught if each.category is AirflowProviderDeprecationWarning]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_of_2x_is_where_it_was(module: str, name: str) -> None:
    assert isinstance(getattr(importlib.import_module(f"airflow_provider_census.{module}"), name), type)


def test_to_import_a_name_warns_of_nothing() -> None:
    script = "; ".join(f"from airflow_provider_census.{module} import {name}" for module, name in NAMES)
    ours = "error::DeprecationWarning:airflow_provider_census"
    subprocess.run([sys.executable, "-W", ours, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("use", "instead"),
    [
        (lambda: CensusOperator(task_id="sync", sync_id=52), "CensusTriggerSyncOperator"),
        (lambda: CensusSensor(task_id="wait", sync_run_id="94"), "CensusSyncRunSensor"),
        (lambda: CensusTrigger(94), "CensusSyncRunTrigger"),
        (lambda: CensusHook().get_sync_run_info(94), "CensusHook.get_sync_run"),
        (
            lambda: CensusHook().get_sync_history_url(52),
            "airflow_provider_census.api.sync_runs.browser_url(hook.settings.base_url, run)",
        ),
        (lambda: CensusHook().get_api_base_url(), "hook.settings.base_url"),
    ],
)
def test_each_use_warns_once_and_in_place_what_to_write(
    census: Sandbox, use: Callable[[], Any], instead: str
) -> None:
    _, (warning,) = warned(use)
    assert str(warning.message).endswith(f" is deprecated, and removed in 4.0. Write {instead} instead.")
    assert (warning.filename, warning.lineno) == (__file__, use.__code__.co_firstlineno)


def test_a_subclass_warns_in_the_dag_file_too() -> None:
    class Ours(CensusOperator):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    _, (warning,) = warned(lambda: Ours(task_id="sync", sync_id=52))
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "use",
    [
        lambda: CensusTriggerSyncOperator(task_id="sync", sync_id=52),
        lambda: CensusSyncRunSensor(task_id="wait", sync_run_id="94"),
        lambda: CensusSyncRunTrigger(94),
    ],
)
def test_our_names_warn_of_nothing(use: Callable[[], Any]) -> None:
    assert warned(use)[1] == []


@pytest.fixture
def _quietly() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AirflowProviderDeprecationWarning)
        yield


quietly = pytest.mark.usefixtures("_quietly")


@quietly
@pytest.mark.parametrize(("given", "interval"), [(0, 1.0), (timedelta(milliseconds=10), 1.0), (5, 5.0)])
def test_a_deferred_sensor_polls_at_most_once_a_second(given: Any, interval: float) -> None:
    sensor = CensusSensor(task_id="task", sync_run_id="94", deferrable=True, poke_interval=given)
    assert sensor._wait_options().poll_interval == interval  # noqa: SLF001 - 2.x documented _get_hook; how it would poll


@quietly
@pytest.mark.parametrize(("given", "is_deferrable"), [(None, False), (0, False), (1, True), ("True", True)])
def test_any_value_is_a_flag_of_the_sensor(given: Any, is_deferrable: bool) -> None:
    assert CensusSensor(task_id="task", sync_run_id="94", deferrable=given).deferrable is is_deferrable


@quietly
def test_default_args_for_other_operators_are_none_of_the_old_operators_business() -> None:
    meant_for_others = {"wait_for_completion": True, "timeout": None, "poll_interval": 0, "deferrable": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        operator = CensusOperator(
            task_id="task", sync_id=52, default_args={**meant_for_others, "cancel_on_kill": False}
        )
    plain = CensusOperator(task_id="task", sync_id=52)
    for name in (*meant_for_others, "cancel_on_kill"):
        here, there = (getattr(each, name, None) for each in (operator, plain))
        assert here == there, name
    assert CensusOperator(task_id="task", sync_id=52, wait_for_completion=True).wait_for_completion


@quietly
def test_the_defaults_are_those_of_2x() -> None:
    operator, sensor = CensusOperator(task_id="a", sync_id=52), CensusSensor(task_id="b", sync_run_id="94")
    assert (operator.sync_id, operator.census_conn_id) == (52, "census_default")
    assert not operator.wait_for_completion
    assert (sensor.sync_run_id, sensor.census_conn_id) == ("94", "census_default")
    assert (sensor.deferrable, sensor.poke_interval) == (False, 60.0)
    assert sensor._wait_options().poll_interval == 60.0  # noqa: SLF001 - 2.x documented _get_hook; how it would poll
    assert isinstance(CensusSensor.template_fields, tuple)
    assert "sync_run_id" in CensusSensor.template_fields
    trigger = CensusTrigger("94")
    assert (trigger.census_conn_id, trigger.poll_interval) == ("census_default", 60.0)
    assert CensusHook.default_conn_name == CensusHook().census_conn_id == "census_default"


@quietly
@pytest.mark.parametrize("kind", [CensusOperator, CensusSensor])
def test_what_was_required_still_is(kind: type[Any]) -> None:
    with pytest.raises(Exception, match="missing keyword argument"):
        kind(task_id="task")


@quietly
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_dag_of_2x_runs_as_it_is(run_task: RunTask, census: Sandbox, deferrable: bool) -> None:
    class Counting(CensusOperator):  # type: ignore[misc]
        ui_color = "#fff"

        def execute(self, context: Any) -> Any:
            assert self._get_hook().test_connection()[0]
            return super().execute(context)

    class Patient(CensusSensor):  # type: ignore[misc]
        template_fields = (*CensusSensor.template_fields, "note")

        def __init__(self, note: str = "", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.note = note

        def poke(self, context: Any) -> Any:
            assert self.note == "task wait"
            assert self._get_hook().get_sync_run_info(self.sync_run_id)["id"] == int(self.sync_run_id)
            return super().poke(context)

    def make() -> None:
        sync = Counting(task_id="sync", sync_id=52, default_args={"census_conn_id": "census_default"})
        wait = Patient(
            task_id="wait",
            note="task {{ task.task_id }}",
            sync_run_id="{{ ti.xcom_pull(task_ids='sync') }}",
            deferrable=deferrable,
            poke_interval=0.01,
        )
        sync >> wait
        several = CensusOperator.partial(task_id="several").expand(sync_id=[53, 58])
        CensusSensor.partial(task_id="waits", deferrable=deferrable, poke_interval=0.01).expand(
            sync_run_id=several.output
        )

    done = run_task(make)
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in done.instances}
    assert states == {
        ("sync", -1): "success",
        ("wait", -1): "success",
        ("several", 0): "success",
        ("several", 1): "success",
        ("waits", 0): "failed",
        ("waits", 1): "success",
    }
    found = {ti.task_id: done.xcom(ti=ti) for ti in done.instances if ti.map_index == -1}
    assert isinstance(found["sync"], int)
    assert found["wait"]["id"] == found["sync"]
    assert sorted(triggered(census)) == [52, 53, 58]


@quietly
@pytest.mark.parametrize("deferrable", [False, True])
def test_the_hook_of_a_subclass_counts(
    run_task: RunTask, census: Sandbox, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_SUBCLASS", census.connection_uri_v1)
    monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")

    class Elsewhere:
        def _get_hook(self) -> CensusHook:
            return CensusHook("of_the_subclass")

    class Starts(Elsewhere, CensusOperator): ...  # type: ignore[misc]

    class Waits(Elsewhere, CensusSensor): ...  # type: ignore[misc]

    def make() -> None:
        sync = Starts(task_id="sync", sync_id=58)  # the triggerer would not use the subclass, as in 2.x
        Waits(task_id="wait", sync_run_id=sync.output, deferrable=deferrable)

    done = run_task(make)
    assert {str(ti.state) for ti in done.instances} == {"success"}


@quietly
def test_a_hook_that_starts_nothing_starts_nothing(run_task: RunTask, census: Sandbox) -> None:
    class DryRun(CensusHook):
        def trigger_sync(self, sync_id: Any, **_: Any) -> int:
            assert int(sync_id) == 52
            return 94

    class Starts(CensusOperator):  # type: ignore[misc]
        def _get_hook(self) -> CensusHook:
            return DryRun(self.census_conn_id)

    assert run_task(Starts, sync_id=52).xcom() == 94
    assert census.triggers == []


OLD_TASKS = [(CensusOperator, {"sync_id": 52}), (CensusSensor, {"sync_run_id": "94"})]


@quietly
@pytest.mark.parametrize(("kind", "of"), OLD_TASKS)
def test_a_task_makes_its_hook_once_and_takes_one_that_is_set(
    census: Sandbox, kind: type[Any], of: dict[str, Any]
) -> None:
    task = kind(task_id="task", census_conn_id="nowhere", **of)
    made = task._get_hook()  # noqa: SLF001 - 2.x documented _get_hook; how it would poll
    assert task.hook is task._get_hook() is made  # noqa: SLF001 - 2.x documented _get_hook; how it would poll
    task.hook = hook = CensusHook()
    assert task.hook is task._get_hook() is hook  # noqa: SLF001 - 2.x documented _get_hook; how it would poll
    assert task.poke(context()).is_done if kind is CensusSensor else task.execute(context())


@quietly
@pytest.mark.parametrize(("kind", "of"), OLD_TASKS)
def test_a_subclass_may_make_its_hook_as_2x_did(census: Sandbox, kind: type[Any], of: dict[str, Any]) -> None:
    class Ours(kind):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.hook: CensusHook | None = None

        def _get_hook(self) -> CensusHook:
            if self.hook is None:
                self.hook = CensusHook(census_conn_id="census_default")
            return self.hook

    task = Ours(task_id="task", census_conn_id="nowhere", **of)
    assert task.poke(context()).is_done if kind is CensusSensor else task.execute(context())
    assert task.hook is task._get_hook()  # noqa: SLF001 - 2.x documented _get_hook; how it would poll


@quietly
def test_a_hook_that_cannot_be_made_is_made_at_the_next_use(census: Sandbox) -> None:
    sensor = CensusSensor(task_id="task", sync_run_id="94", census_conn_id="{{ conn }}")
    with pytest.raises(ValueError, match="census_conn_id"):
        sensor.poke(context())
    sensor.census_conn_id = "census_default"
    assert sensor.poke(context()).is_done


@quietly
def test_a_failed_run_is_final(run_task: RunTask, census: Sandbox) -> None:
    options = {"retries": 3, "retry_delay": timedelta(0), "poke_interval": 0.01}
    done = run_task(CensusSensor, sync_run_id=start(53), **options)
    assert len(done.raised["task"]) == 1
    assert isinstance(done.error, CensusSyncRunFailed)
    assert isinstance(done.error, AirflowFailException)


@quietly
def test_the_trigger_is_stored_as_2x_stored_it() -> None:
    path, arguments = CensusTrigger(94, "census_eu", 7).serialize()
    assert (path, arguments) == (
        TRIGGER,
        {**stored(94, 7.0), "sync_run_id": 94, "census_conn_id": "census_eu"},
    )
    assert made(path)(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


@quietly
def test_a_subclass_of_the_trigger_adds_to_what_2x_stored() -> None:
    class Noted(CensusTrigger):
        def __init__(self, note: str = "", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.note = note

        def serialize(self) -> tuple[str, dict[str, Any]]:
            path, arguments = super().serialize()
            assert path == TRIGGER
            return "dags.Noted", {**arguments, "note": self.note}

    trigger = Noted("n", sync_run_id="94", poll_interval=7)
    assert trigger.serialize() == ("dags.Noted", {**stored(94, 7.0), "note": "n"})


ENDS = [
    (52, "completed", None),
    (53, "failed", "The array field being used does not appear to be valid JSON"),
    (54, "failed", "The run ended as skipped."),
    (56, "failed", "The run ended as canceled."),
]


def event_of(trigger: Any) -> dict[str, Any]:
    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(run())
    return dict(payload)


@quietly
@pytest.mark.parametrize(("sync_id", "status", "message"), ENDS)
def test_the_event_is_that_of_2x(census: Sandbox, sync_id: int, status: str, message: str | None) -> None:
    arguments = stored(start(sync_id))
    event = event_of(made(TRIGGER)(**arguments))
    assert event.keys() == {"sync_run_id", "status", "error_message"}
    assert (event["sync_run_id"], event["status"]) == (arguments["sync_run_id"], status)
    assert event["error_message"] is None if message is None else event["error_message"].startswith(message)


@quietly
def test_a_wait_that_ends_early_is_a_failure(census: Sandbox) -> None:
    event = event_of(CensusTrigger(404404, poll_interval=0.01))
    assert event["status"] == "failed"
    assert "HTTP 404" in event["error_message"]


class DeferredBy2x(CensusSensor):  # type: ignore[misc]
    """Is deferred as 2.1.0 deferred it, and resumed as the class that a DAG file names now."""

    def execute(self, context: Any) -> Any:
        self.defer(trigger=made(TRIGGER)(**stored(self.sync_run_id)), method_name="execute_complete")


@quietly
@pytest.mark.parametrize(
    ("sync_id", "state"), [(52, "success"), (53, "failed"), (54, "failed"), (56, "failed"), (58, "success")]
)
def test_what_2x_deferred_finishes(run_task: RunTask, census: Sandbox, sync_id: int, state: str) -> None:
    sync_run_id = start(sync_id)
    done = run_task(DeferredBy2x, sync_run_id=str(sync_run_id), deferrable=True)
    assert done.state == state
    if state == "success":
        assert done.xcom()["id"] == sync_run_id
    else:
        assert isinstance(done.error, CensusSyncRunError)


@quietly
@pytest.mark.parametrize("kind", [CensusSensor, CensusSyncRunSensor])
@pytest.mark.parametrize(
    ("sync_id", "status", "message"), [(52, "completed", None), (53, "failed", "JSON"), (53, "failed", None)]
)
def test_an_event_that_2x_sent_is_understood(
    census: Sandbox, kind: type[Any], sync_id: int, status: str, message: str | None
) -> None:
    sync_run_id = start(sync_id)
    finish(sync_run_id)
    task = kind(task_id="task", sync_run_id=str(sync_run_id), deferrable=True)
    event = {"sync_run_id": str(sync_run_id), "status": status, "error_message": message}
    if status == "completed":
        assert task.execute_complete(context(), event)["id"] == sync_run_id
    else:
        with pytest.raises(CensusSyncRunFailed, match="JSON_ARRAY_ERROR"):
            task.execute_complete(context(), event)


@quietly
def test_the_run_counts_and_not_what_the_event_says_of_it(census: Sandbox) -> None:
    sync_run_id = start(57)
    task = CensusSensor(task_id="task", sync_run_id=str(sync_run_id), deferrable=True, poke_interval=5)
    event = {"sync_run_id": str(sync_run_id), "status": "failed", "error_message": "The token was rejected."}
    with pytest.raises(TaskDeferred) as deferral:
        task.execute_complete(context(), event)
    assert type(deferral.value.trigger) is CensusSyncRunTrigger
    with pytest.raises(CensusNotFoundError):
        task.execute_complete(context(), {**event, "sync_run_id": "404404"})


@quietly
def test_the_methods_of_the_hook(census: Sandbox) -> None:
    hook = CensusHook()
    assert hook.get_sync_run_info("94") == hook.get_sync_run(94)
    assert hook.get_api_base_url() == census.url
    assert hook.get_sync_history_url(52) == f"{census.url}/syncs/52/history"
    assert hook.get_sync_history_url(52, 94) == f"{census.url}/syncs/52/history?sync_run_id=94"


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://app.getcensus.com"),
        ({"host": ""}, "https://app.getcensus.com"),
        ({"host": "app.getcensus.com"}, "https://app.getcensus.com"),
        ({"host": "app-eu.getcensus.com/"}, "https://app-eu.getcensus.com"),
        ({"host": "https://app-eu.getcensus.com/"}, "https://app-eu.getcensus.com"),
        ({"host": "http://localhost:8765"}, "http://localhost:8765"),
        ({"login": "", "schema": "", "port": None, "extra": ""}, "https://app.getcensus.com"),
        ({"host": "app.getcensus.com", "schema": "https"}, "https://app.getcensus.com"),
        ({"extra": {"timeout": 20, "verify": True}}, "https://app.getcensus.com"),
    ],
)
def test_a_connection_of_2x_works_as_it_is(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], base_url: str
) -> None:
    connection = {"conn_type": "census", "password": "secret-token:abc", **fields}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(connection))
    settings = CensusHook().settings
    assert (settings.base_url, settings.token) == (base_url, "secret-token:abc")
    assert settings.api_version == default_version()

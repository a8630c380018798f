# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Unit tests of DAG authors: what they patch counts, and what a Mock cannot do is said in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, patch

import pytest

from airflow_provider_census.exceptions import CensusConfigError, CensusError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusOperator, CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSensor, CensusSyncRunSensor, CensusSyncSensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox

OPERATORS = (CensusTriggerSyncOperator, CensusOperator)
HERE = "airflow_provider_census.operators.census.CensusHook"
pytestmark = pytest.mark.filterwarnings("ignore:Census(Operator|Sensor) is deprecated")


@pytest.fixture(params=OPERATORS)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make an operator, or that of 2.x."""

    def made(**kwargs: Any) -> Any:
        return request.param(task_id="sync", **{"sync_id": 52, **kwargs})

    return made


@pytest.mark.parametrize(
    "context", [{}, {"ti": MagicMock(try_number=1, max_tries=0)}], ids=["by hand", "with a Mock"]
)
def test_a_hook_that_is_patched_where_it_is_used(make: Callable[..., Any], context: Any) -> None:
    with patch(HERE) as hook:
        hook.return_value.trigger_sync.return_value = 94
        assert make(census_conn_id="mine").execute(context) == 94
    hook.assert_called_once_with("mine")
    hook.return_value.trigger_sync.assert_called_once_with(52)
    hook.return_value.snapshot_runs.assert_not_called()
    from airflow_provider_census.operators import census

    assert census.CensusHook is CensusHook


def test_a_method_that_is_patched_sends_nothing(make: Callable[..., Any], census: Sandbox) -> None:
    with patch.object(CensusHook, "trigger_sync", return_value=94) as trigger_sync:
        assert make().execute({}) == 94
    trigger_sync.assert_called_once_with(52)
    assert census.requests == []


@pytest.mark.parametrize("full_sync", [False, True])
def test_a_subclass_of_the_hook_counts(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, full_sync: bool
) -> None:
    asked: list[Any] = []

    class House(CensusHook):
        def trigger_sync(self, sync_id: Any, *, force_full_sync: bool = False) -> int:
            asked.append((sync_id, force_full_sync))
            return super().trigger_sync(sync_id, force_full_sync=force_full_sync)

    task = CensusTriggerSyncOperator(task_id="sync", sync_id="52", force_full_sync=full_sync)
    task.hook = House()
    assert task.execute({}) == census.triggers[-1].sync_run_id
    assert asked == [("52", full_sync)]
    assert [line for line in census.requests if line[0] == "POST"] == [("POST", "/api/v1/syncs/52/trigger")]


def test_a_hook_that_takes_the_sync_alone(census: Sandbox) -> None:
    class House(CensusHook):
        def trigger_sync(self, sync_id: Any) -> int:  # type: ignore[override]
            return 95

    task = CensusTriggerSyncOperator(task_id="sync", sync_id=52)
    task.hook = House()
    assert task.execute({}) == 95
    assert census.requests == []


def test_a_mock_that_gives_no_run(make: Callable[..., Any]) -> None:
    with patch(HERE), pytest.raises(CensusError, match=r"trigger_sync gave <MagicMock .*return_value = 94"):
        make().execute({})


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    "more",
    [{"wait_for_completion": True}, {"if_running": "wait"}, {"if_running": "join"}, {"if_running": "fail"}],
)
def test_a_mock_is_not_waited_with(more: dict[str, Any], deferrable: bool) -> None:
    for mocked in (MagicMock(), MagicMock(spec=CensusHook)):
        mocked.trigger_sync.return_value = 94
        task = CensusTriggerSyncOperator(task_id="sync", sync_id=52, deferrable=deferrable, **more)
        with patch(HERE, return_value=mocked), pytest.raises(CensusError, match=r"is a Mock, .* the sandbox"):
            task.execute({})


@pytest.mark.parametrize(
    ("sensor", "fields"),
    [
        (CensusSyncRunSensor, {"sync_run_id": 94}),
        (CensusSensor, {"sync_run_id": 94}),
        (CensusSyncSensor, {"sync_id": 52, "since": "2026-01-01"}),
    ],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_does_not_wait_with_a_mock(sensor: Any, fields: dict[str, Any], deferrable: bool) -> None:
    task = sensor(task_id="wait", deferrable=deferrable, **fields)
    with (
        patch("airflow_provider_census.sensors.census.CensusHook") as hook,
        pytest.raises(CensusError, match="is a Mock"),
    ):
        task.execute({"ti": MagicMock()})
    hook.assert_called_once_with("census_default")


def test_a_connection_that_is_a_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        patch.object(CensusHook, "get_connection", return_value=MagicMock(password="secret-token:t")),
        pytest.raises(CensusConfigError, match=r"field '\w+' must be "),
    ):
        CensusHook().list_syncs()

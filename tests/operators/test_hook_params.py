# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What tasks hand on to their hook, on a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from task_helpers import context

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.operators.select import CensusSelectSyncsOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox

NAMED: dict[type[Any], dict[str, Any]] = {
    CensusSyncRunSensor: {"sync_run_id": 94},
    CensusSelectSyncsOperator: {},
}
TASKS = [CensusTriggerSyncOperator, CensusSyncRunSensor, CensusSyncSensor, CensusSelectSyncsOperator]
tasks = pytest.mark.parametrize("kind", TASKS)


def make(kind: type[Any], **options: Any) -> Any:
    return kind(task_id="task", **NAMED.get(kind, {"sync_id": 52}), **options)


@tasks
def test_they_are_those_of_the_hook(census: Sandbox, kind: type[Any]) -> None:
    params = {"timeout": timedelta(minutes=2), "attempts": 3, "api_version": "v2"}
    settings = make(kind, hook_params=params).hook.settings
    assert (settings.timeout, settings.attempts, settings.api_version) == (120.0, 3, "v2")
    assert make(kind, hook_params={"timeout": None}).hook.settings == make(kind).hook.settings
    assert "hook_params" not in kind.template_fields


@tasks
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"password": "secret-x"}, r"hook_params takes 'api_version', 'timeout', 'attempts', not 'password'"),
        ({"token": "secret-x"}, "hook_params takes .* not 'token': .*token, belongs in the connection"),
        ({"census_conn_id": "secret-x"}, "hook_params takes .* not 'census_conn_id'"),
        ({"timeout": 0}, r"hook_params\['timeout'\] must be .* seconds above 0.* not 0"),
        ({"timeout": 86401}, r"hook_params\['timeout'\] must be at most 86400 seconds, not 86401"),
        ({"timeout": "{{ params.x }}"}, r"hook_params\['timeout'\] must be .* seconds"),
        ({"attempts": 101}, r"hook_params\['attempts'\] must be a whole number from 1 to 100, not 101"),
        ({"api_version": "v3"}, r"hook_params\['api_version'\] must be one of 'v1', 'v2', not 'v3'"),
        (["secret-x"], r"hook_params must be a dict such as \{'timeout': 120\}, not list"),
        (120, "hook_params must be a dict .* not int"),
    ],
    ids=str,
)
def test_what_a_hook_does_not_take_is_refused_when_the_dag_is_read(
    kind: type[Any], params: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        make(kind, hook_params=params)
    assert "secret-x" not in str(refused.value)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize("kind", TASKS[:3])
def test_they_go_all_the_way_through_a_deferral(
    run_task: Callable[..., Any],
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    triggers_run: list[Any],
    kind: type[Any],
    deferrable: bool,
) -> None:
    """With a token of API v2 and a connection that says v1, a request that leaves them out is rejected."""
    fields = {"conn_type": "census", "host": census.url, "password": census.personal_access_token}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps({**fields, "extra": {"api_version": "v1"}}))
    params = {"api_version": "v2", "timeout": 120}
    run = {"sync_run_id": census.start_run(57)} if kind is CensusSyncRunSensor else {"sync_id": 57}
    options = {"wait_for_completion": True} if kind is CensusTriggerSyncOperator else {}
    since = {"since": "2020-01-31T00:00:00Z"} if kind is CensusSyncSensor else {}
    if since:
        census.start_run(57)
    done = run_task(kind, **run, **options, **since, deferrable=deferrable, hook_params=params)
    assert done.state == "success"
    assert {path[:8] for _, path in census.requests} == {"/api/v2/"}
    assert [trigger.hook.settings.timeout for trigger in triggers_run] == [120.0] * deferrable


def test_a_trigger_gives_them_to_its_hook(census: Sandbox) -> None:
    trigger = CensusSyncRunTrigger(94, hook_params={"timeout": 7})
    again = CensusSyncRunTrigger(**json.loads(json.dumps(trigger.serialize()[1])))
    assert asyncio.run(again.hook.asettings()).timeout == 7.0


def test_a_mapped_task_has_its_own(run_task: Callable[..., Any], census: Sandbox) -> None:
    def of_each() -> None:
        CensusTriggerSyncOperator.partial(task_id="task", sync_id=52).expand(
            hook_params=[{"timeout": 7}, {"timeout": "secret-x"}]
        )

    done = run_task(of_each)
    assert sorted(done.states) == ["failed", "success"]


@pytest.mark.parametrize("given", [{"timeout": -1}, {"attempts": 0}, {"attempts": True}], ids=str)
def test_a_hook_refuses_what_cannot_be_right(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(given))} must be "):
        CensusHook(**given)


def test_a_task_without_them_makes_the_hook_as_ever(census: Sandbox) -> None:
    task = make(CensusSelectSyncsOperator, label="no such*", allow_empty=True)
    assert task.execute(context()) == []

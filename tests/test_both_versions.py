# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Everything that talks to Census, end to end, through the roots of API v1 and v2: DAGs stay as they are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import CensusApiError, CensusNotFoundError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor
from airflow_provider_census.triggers.base import WaitEvent
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

RunDag = Callable[..., Any]
NUMBERS = itertools.count()
NEWER: dict[str, Any] = {
    "label": "Newer",
    "operation": "upsert",
    "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "mappings": [
        {"from": {"type": "column", "data": "EMAIL"}, "to": "external_id", "is_primary_identifier": True}
    ],
}


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    """A version of the API."""
    return str(request.param)


@pytest.fixture
def census(version: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A local Census behind a connection for that version; nothing goes to the other one."""
    with Sandbox(pace=0.02, strict=True) as sandbox:
        uris = {"v1": sandbox.connection_uri_v1, "v2": sandbox.connection_uri}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uris[version])
        yield sandbox
        assert {path.split("/")[2] for _, path in sandbox.requests} == {version}


@pytest.fixture
def dag() -> DAG:
    """A DAG without a schedule."""
    start_date = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return DAG(f"both_versions_{next(NUMBERS)}", schedule=None, start_date=start_date)


def xcom(run: Any, task_id: str, key: str = "return_value") -> Any:
    (task,) = (task for task in run.get_task_instances() if task.task_id == task_id)
    return task.xcom_pull(task_ids=task_id, key=key)


def test_syncs_and_runs(census: Sandbox) -> None:
    hook = CensusHook()
    syncs = hook.list_syncs()
    assert syncs == list(hook.iter_syncs())
    assert hook.find_sync("Completes")["id"] == 52
    made = hook.create_sync(NEWER)
    assert hook.update_sync(made, {"label": "Renamed"})["label"] == "Renamed"
    assert hook.pause_sync(made)["paused"] is True
    assert hook.resume_sync(made)["paused"] is False
    hook.delete_sync(made)
    assert [sync["id"] for sync in hook.list_syncs()] == [sync["id"] for sync in syncs]
    run = hook.wait_for_sync_run(hook.trigger_sync(52, force_full_sync=True), poll_interval=0.05, timeout=30)
    assert (run["status"], run["full_sync"]) == ("completed", True)
    assert hook.get_latest_sync_run(52) == run
    hook.cancel_sync_run(hook.trigger_sync(57))
    assert len(census.cancels) == 1


def test_records_of_a_run(census: Sandbox) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(55)
    urls = hook.export_sync_run_records(sync_run_id, poll_interval=0.02, timeout=30)
    assert [urlsplit(url).path.rpartition(".")[2] for url in urls] == ["parquet"]
    run = hook.get_sync_run(sync_run_id)
    counts = {
        status: hook.count_sync_run_records(sync_run_id, status=status)
        for status in ("succeeded", "rejected", "invalid")
    }
    assert counts == {
        "succeeded": run["records_updated"],
        "rejected": run["records_failed"],
        "invalid": run["records_invalid"],
    }
    assert hook.count_sync_run_records(sync_run_id) == run["records_processed"]
    rejected = list(hook.iter_sync_run_records(sync_run_id, status="rejected", operation="upsert"))
    assert len(rejected) == hook.count_sync_run_records(sync_run_id, status="rejected", operation="upsert")
    assert {record["status"] for record in rejected} == {"rejected"}
    assert all(record["status_message"] for record in rejected)
    identifier = rejected[0]["identifier"]
    assert hook.list_sync_run_records(sync_run_id, primary_identifier=identifier) == rejected[:1]
    assert asyncio.run(hook.arun(endpoints.list_sync_run_records(sync_run_id, page=1, per_page=2)))


def test_sources_and_what_is_in_them(census: Sandbox) -> None:
    hook = CensusHook()
    made = hook.create_source({"connection": {"label": "x", "type": "postgres"}})["id"]
    assert hook.update_source(made, {"connection": {"label": "y"}})["label"] == "y"
    assert [source["id"] for source in hook.iter_sources()] == [4, 10, made]
    hook.delete_source(made)
    assert hook.get_source("4")["id"] == 4
    assert len(hook.list_source_objects(4)) == 4
    model = hook.create_model(4, {"name": "x", "query": "select 1"})["id"]
    assert hook.update_model(4, model, {"name": "y"})["name"] == "y"
    assert hook.get_model(4, model)["name"] == hook.list_models(4)[-1]["name"] == "y"
    hook.delete_model(4, model)
    with pytest.raises(CensusNotFoundError):
        hook.get_model(4, model)
    assert hook.get_table(4, 2)["columns"]
    segment = hook.create_filter_segment(4, {"name": "x"})["id"]
    assert hook.update_filter_segment(4, segment, {"name": "y"})["name"] == "y"
    assert hook.get_filter_segment(4, segment) in hook.list_filter_segments(4)
    hook.delete_filter_segment(4, segment)
    key = hook.refresh_source_tables(4)
    hook.wait_for_refresh(endpoints.get_refresh_source_tables_status(4, key), poll_interval=0.02)
    key = hook.refresh_model_columns(4, 15)
    hook.wait_for_refresh(endpoints.get_refresh_model_columns_status(4, 15, key), poll_interval=0.02)
    key = hook.refresh_table_columns(4, 2)
    hook.wait_for_refresh(endpoints.get_refresh_table_columns_status(4, 2, key), poll_interval=0.02)
    assert [table["id"] for table in hook.list_source_tables(4)] == [2]
    locator = {"table_catalog": "public", "table_schema": "development", "table_name": "test"}
    assert hook.list_table_columns_by_locator(4, **locator) == hook.get_table(4, 2)["columns"]
    key = hook.refresh_table_columns_by_locator(4, **locator)
    status = endpoints.get_refresh_table_columns_by_locator_status(4, key, **locator)
    hook.wait_for_refresh(status, poll_interval=0.02)
    with pytest.raises(CensusNotFoundError, match=r"no table .public\.development\.none"):
        hook.list_table_columns_by_locator(4, **{**locator, "table_name": "none"})
    key = hook.refresh_dataset_columns(61)
    hook.wait_for_refresh(endpoints.get_refresh_dataset_columns_status(61, key), poll_interval=0.02)


def test_destinations_are_activations(census: Sandbox, version: str) -> None:
    hook = CensusHook()
    (braze,) = (each["id"] for each in hook.list_destinations() if each["name"] == "Braze")
    assert braze == {"v1": 15, "v2": "glimmering_donkey"}[version]
    assert hook.get_destination(braze)["id"] == braze
    assert hook.update_destination(braze, {"name": "x"})["name"] == "x"
    objects = list(hook.iter_destination_objects(braze))
    assert [each["full_name"] for each in objects] == ["user", "event"]
    assert hook.get_destination_object(braze, "user")["fields"]
    key = hook.refresh_destination_objects(braze)
    status = endpoints.get_refresh_destination_objects_status(braze, key)
    hook.wait_for_refresh(status, poll_interval=0.02)
    key = hook.refresh_destination_object_fields(braze, "user")
    status = endpoints.get_refresh_destination_object_fields_status(braze, "user", key)
    hook.wait_for_refresh(status, poll_interval=0.02)
    wrapper = {"v1": "service_connection", "v2": "activation"}[version]
    made = hook.create_destination({wrapper: {"name": "y", "type": "hubspot"}})
    assert ("group_id" in made) == (version == "v2")
    hook.delete_destination(made["id"])
    with pytest.raises(CensusNotFoundError):
        hook.get_destination(made["id"])


def test_what_else_there_is(census: Sandbox, version: str) -> None:
    hook = CensusHook()
    assert hook.get_connector("braze") in hook.list_connectors()
    assert hook.list_destination_connect_link_types() == list(hook.iter_destination_connect_link_types())
    link = hook.create_destination_connect_link({"type": "hubspot"})["id"]
    hook.revoke_destination_connect_link(link)
    assert hook.get_destination_connect_link(link)["revoked"] is True
    assert len(hook.list_destination_connect_links()) == 2
    for noun in ("dataset", "webhook"):
        made = getattr(hook, f"create_{noun}")({"name": "x"}, group_id="mine")
        assert getattr(hook, f"get_{noun}")(made["id"]) == made
        assert made in getattr(hook, f"list_{noun}s")()
        assert getattr(hook, f"update_{noun}")(made["id"], {"name": "y"})["name"] == "y"
        getattr(hook, f"delete_{noun}")(made["id"])
    assert hook.get_workspace()["name"]


def test_a_census_that_is_not_there(census: Sandbox, version: str) -> None:
    hook = CensusHook()
    with pytest.raises(CensusNotFoundError, match="HTTP 404"):
        asyncio.run(hook.arun(endpoints.get_sync(51)))
    census.fail_next(status=410, body=b"", path=f"/api/{version}/syncs")
    with pytest.raises(CensusApiError, match="HTTP 410"):
        hook.get_sync(52)


@pytest.mark.parametrize("deferrable", [False, True])
def test_operator_and_sensor(
    census: Sandbox,
    version: str,
    dag: DAG,
    run_dag: RunDag,
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
) -> None:
    monkeypatch.setattr("airflow_provider_census.api.polling.WaitOptions.interval", lambda *_, **__: 0.05)
    with dag:
        started = CensusTriggerSyncOperator(task_id="start", sync_id=52)
        CensusSyncRunSensor(
            task_id="wait",
            sync_run_id=started.output,  # type: ignore[arg-type]
            deferrable=deferrable,
            poke_interval=0.05,
        )
        CensusTriggerSyncOperator(
            task_id="sync", sync_label="Completes at once", wait_for_completion=True, deferrable=deferrable
        )
        CensusTriggerSyncOperator(
            task_id="fail", sync_id="{{ 53 }}", wait_for_completion=True, deferrable=deferrable
        )
    run = run_dag(dag)
    states = {task.task_id: str(task.state) for task in run.get_task_instances()}
    assert states == {"start": "success", "wait": "success", "sync": "success", "fail": "failed"}
    assert sorted(trigger.sync_id for trigger in census.triggers) == [52, 53, 58]
    assert xcom(run, "wait")["id"] == xcom(run, "start")
    assert xcom(run, "sync", "sync_run")["sync_id"] == 58
    assert xcom(run, "fail", "sync_run")["status"] == "failed"


@pytest.mark.parametrize("deferrable", [False, True])
def test_runs_of_others(
    census: Sandbox, dag: DAG, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setattr("airflow_provider_census.api.polling.WaitOptions.interval", lambda *_, **__: 0.05)
    others = {sync_id: CensusHook().trigger_sync(sync_id) for sync_id in (52, 57)}
    with dag:
        CensusSyncSensor(
            task_id="sensor", sync_id=52, since="2026-01-01", deferrable=deferrable, poke_interval=0.05
        )
        CensusTriggerSyncOperator(task_id="join", sync_id=57, if_running="join", deferrable=deferrable)
        CensusTriggerSyncOperator(
            task_id="wait", sync_id=57, if_running="wait", deferrable=deferrable, timeout=0.2
        )
    run = run_dag(dag)
    states = {task.task_id: str(task.state) for task in run.get_task_instances()}
    assert states == {"sensor": "success", "join": "success", "wait": "failed"}
    assert (xcom(run, "sensor")["id"], xcom(run, "join")) == (others[52], others[57])
    assert [trigger.sync_id for trigger in census.triggers] == [52, 57]


@pytest.mark.parametrize("sync_id", [52, 53])
def test_trigger(census: Sandbox, sync_id: int) -> None:
    sync_run_id = CensusHook().trigger_sync(sync_id)
    trigger = CensusSyncRunTrigger(sync_run_id, poll_interval=0.05)

    async def first() -> Any:
        return await anext(aiter(trigger.run()))

    assert asyncio.run(first()).payload == WaitEvent("ended", sync_run_id).as_payload()
    assert CensusHook().get_sync_run(sync_run_id)["status"] in {"completed", "failed"}


def test_a_label_is_rendered(census: Sandbox, dag: DAG, run_dag: RunDag) -> None:
    with dag:
        CensusTriggerSyncOperator(task_id="sync", sync_label="Completes {{ dag_run.conf.when }}")
    run = run_dag(dag, run_conf={"when": "at once"})
    assert run.state == "success"
    assert [trigger.sync_id for trigger in census.triggers] == [58]

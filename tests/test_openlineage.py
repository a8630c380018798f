# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What OpenLineage's own provider makes of our tasks in a real Airflow, and the names that things get."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import RESCHEDULED, Done

from airflow_provider_census import openlineage
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]
Events = Callable[[], dict[str, dict[str, Any]]]

WAREHOUSE = "snowflake://xxxxxxx.us-east-1.aws"
TABLE = {"type": "table", "id": 2}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Events]:
    """What OpenLineage's listener reports of the task, by the type of the event; the last one counts."""
    try:
        from airflow.sdk.listener import get_listener_manager
    except ImportError:
        from airflow.listeners.listener import get_listener_manager  # type: ignore[assignment]

    # Before OpenLineage is configured, or its plugin would bring a listener of its own to stay.
    manager = get_listener_manager()
    log = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(log), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    # However slow this machine is just now.
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT", "120")
    monkeypatch.setattr(openlineage, "TIMEOUT", 30.0)
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener

    # What other tests of this process did in a database is not this task's.
    monkeypatch.setattr(ExtractorManager, "get_hook_lineage", lambda *_, **__: None)

    def read() -> dict[str, dict[str, Any]]:
        text = log.read_text()
        assert "secret-token" not in text
        reported = map(json.loads, text.splitlines())
        # Some versions also report DAG runs, from another process, sooner or later.
        return {event["eventType"]: event for event in reported if event["job"]["name"].endswith(".task")}

    listener = OpenLineageListener()
    manager.add_listener(listener)
    yield read
    manager.pm.unregister(listener)
    listener.before_stopping(component=None)


def requested(census: Sandbox) -> list[str]:
    """What was requested of Census for lineage, without the root of the API."""
    paths = [path.split("/", 3)[3] for method, path in census.requests if method == "GET"]
    return [path for path in paths if "sync_runs" not in path]


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["namespace"], each["name"]) for each in datasets]


def here(census: Sandbox) -> str:
    """The namespace of destinations."""
    return census.url.replace("http", "census")


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (CensusTriggerSyncOperator, {"wait_for_completion": True}),
        (CensusTriggerSyncOperator, {"wait_for_completion": True, "deferrable": True}),
        (CensusSyncRunSensor, {"mode": "poke"}),
        pytest.param(CensusSyncRunSensor, *RESCHEDULED.values, marks=RESCHEDULED.marks),
        (CensusSyncRunSensor, {"deferrable": True}),
    ],
)
def test_a_task_that_waits_reports_what_was_read_and_written_and_how_much(
    run_task: RunTask, census: Sandbox, events: Events, task: type[Any], options: dict[str, Any]
) -> None:
    of = (
        {"sync_id": 55}
        if task is CensusTriggerSyncOperator
        else {"sync_run_id": CensusHook().trigger_sync(55)}
    )
    assert run_task(task, **of, **options).state == "success"
    event = events()["COMPLETE"]
    read = (WAREHOUSE, "model/4/braze_test")
    assert names(event["inputs"]) == [read]
    (output,) = event["outputs"]
    assert names([output]) == [(here(census), "braze-15.user")]
    (column,) = output["facets"]["columnLineage"]["fields"]["external_id"]["inputFields"]
    assert (column["namespace"], column["name"], column["field"]) == (*read, "EMAIL")
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 995
    run = event["run"]["facets"]["census_sync_run"]
    assert {key: value for key, value in run.items() if not key.startswith("_")} == {
        "id": census.triggers[0].sync_run_id,
        "sync_id": 55,
        "status": "completed",
        "source_record_count": 1000,
        "records_processed": 1000,
        "records_updated": 995,
        "records_failed": 3,
        "records_invalid": 2,
        "sync_name": "Rejected records → user",
    }
    by_name = [path for path in requested(census) if path.startswith("syncs/")]
    assert set(by_name) == {"syncs/55"}
    assert len(by_name) <= 2, "after a deferral the definition is not there any more"
    assert requested(census)[len(by_name) :] == ["sources/4", "destinations/15"]


def test_a_task_that_only_starts_a_sync_reports_all_but_the_counts(
    run_task: RunTask, census: Sandbox, events: Events
) -> None:
    assert run_task(CensusTriggerSyncOperator, sync_id=52).state == "success"
    event = events()["COMPLETE"]
    assert names(event["inputs"]) == [(WAREHOUSE, "model/4/braze_test")]
    (output,) = event["outputs"]
    assert "columnLineage" in output["facets"]
    assert "outputStatistics" not in output["outputFacets"]
    assert event["run"]["facets"]["census_sync_run"]["id"] == census.triggers[0].sync_run_id


def test_in_api_v2_a_destination_is_an_activation(
    run_task: RunTask, census: Sandbox, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", census.connection_uri)
    assert run_task(CensusTriggerSyncOperator, sync_id=52).state == "success"
    event = events()["COMPLETE"]
    assert names(event["inputs"]) == [(WAREHOUSE, "model/4/braze_test")]
    assert names(event["outputs"]) == [(here(census), "braze-glimmering_donkey.user")]
    assert requested(census) == ["syncs/52", "sources/4", "activations/glimmering_donkey"]


def test_only_the_first_try_asks_census(run_task: RunTask, census: Sandbox, events: Events) -> None:
    options = {"wait_for_completion": True, "retries": 1, "retry_delay": timedelta(0)}
    assert run_task(CensusTriggerSyncOperator, sync_id=53, **options).state == "failed"
    assert len(census.triggers) == 2
    assert requested(census) == ["syncs/53", "sources/4", "destinations/15", "syncs/53"], (
        "the last for the log"
    )
    event = events()["FAIL"]
    assert (event["inputs"], event["outputs"]) == ([], [])
    assert event["run"]["facets"]["census_sync_run"]["status"] == "failed"


def test_a_task_without_a_run_reports_nothing_and_requests_nothing(
    run_task: RunTask, census: Sandbox, events: Events
) -> None:
    assert run_task(CensusTriggerSyncOperator, sync_id=404404).state == "failed"
    assert requested(census) == []
    assert (events()["FAIL"]["inputs"], events()["FAIL"]["outputs"]) == ([], [])


@pytest.mark.parametrize(("broken", "inputs", "outputs"), [("/sources", 0, 1), ("/destinations", 1, 0)])
@pytest.mark.parametrize("status", [404, 429])
def test_what_census_does_not_give_is_left_out_and_not_requested_again(
    run_task: RunTask,
    census: Sandbox,
    events: Events,
    broken: str,
    inputs: int,
    outputs: int,
    status: int,
) -> None:
    census.fail_next(99, status=status, path=f"/api/v1{broken}")
    assert run_task(CensusTriggerSyncOperator, sync_id=52).state == "success"
    event = events()["COMPLETE"]
    assert (len(event["inputs"]), len(event["outputs"])) == (inputs, outputs)
    assert all("columnLineage" not in output["facets"] for output in event["outputs"])
    assert requested(census) == ["syncs/52", "sources/4", "destinations/15"]


def of_run(run: dict[str, Any]) -> tuple[int, int]:
    """How many inputs and outputs are reported of a run."""
    found = openlineage.facets(CensusHook(), run, first_try=True)
    return len(found.inputs), len(found.outputs)


def test_without_the_sync_nothing_else_is_requested(census: Sandbox) -> None:
    census.fail_next(status=503)
    assert of_run({"id": 1, "sync_id": 52}) == (0, 0)
    assert requested(census) == ["syncs/52"]


def test_census_is_not_waited_for(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, openlineage.log.name)
    monkeypatch.setattr(openlineage, "TIMEOUT", 0.1)
    over = threading.Event()
    census.on_request = lambda method, path: over.wait()  # it accepts the request, and does not respond
    found = of_run({"id": 1, "sync_id": 52})
    over.set()
    assert found == (0, 0)
    assert "no response within 0.1 s" in caplog.text


@pytest.mark.parametrize(
    "run", [{}, {"sync_id": None}, {"sync_id": "{{ x }}"}, {"id": 1, "sync_id": ["52"]}], ids=str
)
def test_nonsense_from_census_is_no_error(
    census: Sandbox, run: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, openlineage.log.name)
    assert of_run(run) == (0, 0)
    assert "is incomplete" in caplog.text
    assert requested(census) == []


# Names

SNOWFLAKE = {"account": "xy12345.us-east-1", "warehouse": "TEST", "user": "DEV"}
HOST = {"host": "db.example.com", "database": "shop", "user": "census"}


@pytest.mark.parametrize(
    ("source", "namespace", "catalog"),
    [
        ({"credentials": SNOWFLAKE}, "snowflake://xy12345.us-east-1.aws", None),
        (
            {"credentials": {**SNOWFLAKE, "account": "acme-prod", "database": "SHOP"}},
            "snowflake://acme-prod",
            "SHOP",
        ),
        ({"credentials": {"project_id": "acme", "location": "US"}}, "bigquery", "acme"),
        ({"type": "postgres", "credentials": HOST}, "postgres://db.example.com:5432", "shop"),
        ({"slug": "postgresql-shop", "credentials": HOST}, "postgres://db.example.com:5432", "shop"),
        (
            {"slug": "postgres", "credentials": {"hostname": "10.0.0.1", "port": "6543"}},
            "postgres://10.0.0.1:6543",
            None,
        ),
        ({"slug": "my-redshift", "credentials": HOST}, "redshift://db.example.com:5439", "shop"),
        (
            {"type": "redshift", "credentials": {"host": "dwh.x1y2.eu-west-1.redshift.amazonaws.com"}},
            "redshift://dwh.eu-west-1:5439",
            None,
        ),
        (
            {"type": "databricks", "credentials": {"host": "dbc-1.cloud.databricks.com", "port": 443}},
            "databricks://dbc-1.cloud.databricks.com",
            None,
        ),
    ],
    ids=str,
)
def test_a_warehouse_has_the_namespace_that_it_has_elsewhere(
    source: dict[str, Any], namespace: str, catalog: str | None
) -> None:
    parts = {"table_schema": "public", "table_name": "users"}
    sync = {"source_attributes": {"connection_id": 4, "object": {**TABLE, "table_catalog": "crm", **parts}}}
    assert openlineage.source_name(sync, {"id": 4, **source}) == (namespace, "crm.public.users")
    sync = {"source_attributes": {"connection_slug": "it", "type": "table", **parts}}
    known = None if catalog is None else (namespace, f"{catalog}.public.users")
    assert openlineage.source_name(sync, {"id": 4, **source}) == known
    sync = {"source_attributes": {"connection_slug": "it", "type": "model", "model_name": "active"}}
    assert openlineage.source_name(sync, {"id": 4, **source}) == (namespace, "model/4/active")


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"credentials": None},
        {"credentials": {"account": "acme"}},
        {"slug": "elsewhere", "credentials": HOST},
        {"type": "mysql", "slug": "postgres", "credentials": HOST},
        {"slug": "postgres-copy-of-redshift", "credentials": HOST},
        {"slug": "postgres", "credentials": {}},
        {"slug": "postgres", "credentials": {"host": "user:password@db.example.com"}},
    ],
    ids=str,
)
def test_a_source_that_cannot_be_placed_is_no_input(source: dict[str, Any]) -> None:
    sync = {
        "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15, "name": "active"}}
    }
    assert openlineage.source_name(sync, {"id": 4, **source}) is None


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (TABLE, "shop.public.users"),
        ({"type": "model", "id": 3}, "model/4/active"),
        ({"type": "table", "id": 7}, None),
        ({"type": "filter_segment", "id": 2, "name": "new"}, None),
        ({"type": "table"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_source_knows_what_a_sync_only_names_by_its_id(read: dict[str, Any], name: str | None) -> None:
    users = {"table_catalog": "shop", "table_schema": "public", "table_name": "users"}
    listed = [{**TABLE, **users}, {"type": "model", "id": 3, "name": "active"}]
    source = {"id": 4, "credentials": SNOWFLAKE, "data_sources": listed}
    found = openlineage.source_name({"source_attributes": {"connection_id": 4, "object": read}}, source)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("destination", "written", "name"),
    [
        ({"id": 6, "slug": "google-ads-dev", "name": "Other"}, "user_data", "google-ads-dev-6.user_data"),
        ({"id": "calm_fox", "name": "Google Ads (Dev)"}, "user_data", "google-ads-dev-calm_fox.user_data"),
        ({"id": 6, "slug": "s3"}, "a/b c.d", "s3-6.a/b c.d"),
        ({"id": 6}, "user", "6.user"),
        ({"id": 6, "slug": "s3"}, None, None),
        ({"id": 6, "slug": "s3"}, {"id": 1}, None),
    ],
    ids=str,
)
def test_a_destination_has_a_name_of_our_own(
    destination: dict[str, Any], written: object, name: str | None
) -> None:
    sync = {"destination_attributes": {"connection_id": 6, "object": written}}
    found = openlineage.destination_name(sync, destination, "https://app.getcensus.com")
    assert found == (None if name is None else ("census://app.getcensus.com", name))


def test_columns_come_from_mappings_in_either_form() -> None:
    mappings = [
        {"from": "hashed_email", "to": "email"},
        {"from": {"type": "column", "data": "LIST_ID"}, "to": "list_id", "lookup_object": "user_list"},
        {"from": {"type": "column", "data": "ALIAS"}, "to": "email"},
        {"from": {"value": "cohort_1", "type": "text"}, "to": "cohort"},
        {"from": {"type": "constant_value", "data": {"value": 1, "basic_type": "number"}}, "to": "one"},
        {"to": "nothing"},
    ]
    assert openlineage.columns({"mappings": mappings}) == {
        "email": ["hashed_email", "ALIAS"],
        "list_id": ["LIST_ID"],
    }
    assert openlineage.columns({}) == {}


def test_without_openlineage_every_module_can_be_imported() -> None:
    script = """
import sys, pkgutil, importlib
sys.modules["openlineage"] = sys.modules["airflow.providers.openlineage.extractors"] = None
import airflow_provider_census as package
for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_newer_sources_say_in_details_where_they_are() -> None:
    sync = {"source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15, "name": "users"}}}
    source = {
        "id": 4,
        "type": "snowflake",
        "connection_details": {"account": "xy12345.us-east-1", "warehouse": "W"},
    }
    assert openlineage.source_name(sync, source) == ("snowflake://xy12345.us-east-1.aws", "model/4/users")

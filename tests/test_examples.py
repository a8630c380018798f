# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Every example DAG parses, explains itself, and does what it says against the sandbox."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_census.api.polling import Polling
from airflow_provider_census.links.census import CensusSyncRunLink
from airflow_provider_census.sandbox import Sandbox

EXAMPLES = Path(__file__).parent.parent / "example_dags"
DAG_IDS = {path.stem.removeprefix("example_") for path in EXAMPLES.glob("*.py")}

RunDag = Callable[..., Any]


@pytest.fixture(scope="module")
def examples(airflow_db: str) -> Any:
    """All example DAGs, by id."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        bag = DagBag(str(EXAMPLES))
    ours = (str(EXAMPLES), str(EXAMPLES.parent / "airflow_provider_census"))
    assert not bag.import_errors
    assert not [str(warning) for warning in seen if warning.filename.startswith(ours)]
    assert not bag.captured_warnings
    return bag.dags


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A local Census, slow enough for every kind of wait to have something to wait for."""
    with Sandbox(pace=0.2) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri)
        yield sandbox


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again soon, or a run of the sandbox would be over long before the second look."""
    monkeypatch.setattr(Polling, "pause", lambda *_: 0.1)


def outcome(run: Any) -> dict[str, str]:
    """The state of every task instance, mapped ones as ``task[0]``."""
    return {label(task): str(task.state) for task in run.get_task_instances()}


def label(task: Any) -> str:
    return task.task_id + (f"[{task.map_index}]" if task.map_index >= 0 else "")


def task_instance(run: Any, name: str) -> Any:
    (task,) = (task for task in run.get_task_instances() if label(task) == name)
    return task


def xcom(run: Any, name: str, key: str = "return_value") -> Any:
    task = task_instance(run, name)
    return task.xcom_pull(task_ids=task.task_id, key=key, map_indexes=task.map_index)


def link(run: Any, dag: Any, name: str) -> str:
    """What the button on a task opens, found as the UI finds it: from the serialized DAG."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

    operator = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task(name.partition("[")[0])
    return operator.get_extra_links(task_instance(run, name), CensusSyncRunLink.name)


def address(census: Sandbox, sync_id: int, sync_run_id: int) -> str:
    return f"{census.url}/syncs/{sync_id}/history?sync_run_id={sync_run_id}"


def triggered(census: Sandbox) -> list[int]:
    return [trigger.sync_id for trigger in census.triggers]


def test_there_is_a_dag_in_every_file_and_it_explains_itself(examples: Any) -> None:
    assert set(examples) == DAG_IDS
    for dag in examples.values():
        assert dag.doc_md.lstrip().startswith("### ")
        assert "**Needs** the connection" in dag.doc_md


@pytest.mark.parametrize(
    ("conf", "sync_id"),
    [pytest.param(None, 52, id="as it is"), pytest.param({"sync_id": 55}, 55, id="another sync")],
)
def test_deferrable(
    examples: Any, run_dag: RunDag, census: Sandbox, conf: dict[str, int] | None, sync_id: int
) -> None:
    dag = examples["census_deferrable"]
    run = run_dag(dag, run_conf=conf)
    assert outcome(run) == {"sync": "success"}
    (trigger,) = census.triggers
    assert trigger.sync_id == sync_id
    assert not trigger.force_full_sync
    assert xcom(run, "sync") == trigger.sync_run_id
    sync_run = xcom(run, "sync", "sync_run")
    assert (sync_run["id"], sync_run["status"]) == (trigger.sync_run_id, "completed")
    assert sync_run["records_updated"] == {52: 1000, 55: 995}[sync_id]
    assert link(run, dag, "sync") == address(census, sync_id, trigger.sync_run_id)
    looks = [path for _, path in census.requests if path == f"/api/v1/sync_runs/{trigger.sync_run_id}"]
    assert len(looks) > 2, "one before it defers, one after, and some in the triggerer"
    assert not census.cancels


def test_deferrable_fails_with_the_run(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    run = run_dag(examples["census_deferrable"], run_conf={"sync_id": 53})
    assert outcome(run) == {"sync": "failed"}
    assert triggered(census) == [53]
    assert xcom(run, "sync", "sync_run")["error_code"] == "JSON_ARRAY_ERROR"


def test_trigger_then_sensor(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    dag = examples["census_trigger_then_sensor"]
    run = run_dag(dag)
    assert outcome(run) == {"trigger": "success", "wait": "success"}
    (trigger,) = census.triggers
    assert xcom(run, "trigger") == trigger.sync_run_id
    assert xcom(run, "wait")["records_processed"] == 1000
    assert link(run, dag, "trigger") == link(run, dag, "wait") == address(census, 52, trigger.sync_run_id)


def test_after_load(
    examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f'{{"conn_type": "sqlite", "host": "{warehouse}"}}')
    for _ in range(2):
        run = run_dag(examples["census_after_load"])
        assert outcome(run) == {"load": "success", "sync": "success", "report": "success"}
        assert xcom(run, "report") == 1000
    with sqlite3.connect(warehouse) as database:
        assert database.execute("SELECT count(*) FROM customers").fetchone() == (2,)
    assert triggered(census) == [52, 52]


def test_after_load_does_not_sync_what_was_not_loaded(
    examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "sqlite", "host": "/nowhere/at/all.db"}')
    run = run_dag(examples["census_after_load"])
    assert outcome(run) == {"load": "failed", "sync": "upstream_failed", "report": "upstream_failed"}
    assert not census.triggers


def test_mapped(examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(token="secret-token:eu", pace=0.02) as europe:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_EU", europe.connection_uri)
        dag = examples["census_mapped"]
        run = run_dag(dag)
    tasks = [f"{task}[{index}]" for task in ("trigger", "wait", "sync_workspaces") for index in (0, 1)]
    assert outcome(run) == dict.fromkeys(tasks, "success")
    assert sorted(triggered(census)) == [52, 55, 58]
    assert triggered(europe) == [52]
    ids = {trigger.sync_id: trigger.sync_run_id for trigger in census.triggers}
    assert [xcom(run, f"trigger[{index}]") for index in (0, 1)] == [ids[52], ids[55]]
    assert [xcom(run, f"wait[{index}]")["id"] for index in (0, 1)] == [ids[52], ids[55]]
    assert link(run, dag, "wait[1]") == address(census, 55, ids[55])
    assert link(run, dag, "sync_workspaces[1]") == address(europe, 52, europe.triggers[0].sync_run_id)
    names = {task.rendered_map_index for task in run.get_task_instances()} - {None}
    assert {"census_default, sync 58", "census_eu, sync 52"} <= names


def test_hook(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    census.fail_next(2, path="/api/v1/syncs/52/sync_runs", headers={"Retry-After": "0"})
    run = run_dag(examples["census_hook"])
    assert outcome(run) == {"sources": "success", "last_runs": "success", "assert_healthy": "success"}
    assert xcom(run, "last_runs") == ["completed", "failed", "completed"], "the sandbox's old runs of sync 52"
    assert xcom(run, "sources")["bigquery-development"] == "BigQuery - Development"
    assert not census.triggers

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Every example DAG parses, explains itself, and does what it says against the sandbox."""

from __future__ import annotations

import json
import re
import shlex
import socketserver
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email import message_from_bytes
from functools import partial
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import pendulum
import pytest

from airflow_provider_census import exceptions
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.sync_runs import summary
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.links.census import CensusSyncRunLink
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sandbox import Sandbox, completes, rejects
from airflow_provider_census.sensors import base as sensors

EXAMPLES = Path(__file__).parent.parent / "example_dags"
AIRFLOW_2 = airflow.__version__.startswith("2.")
NEEDED = {"census_event": (3, 0), "census_retries": (3, 3)}
"""The Airflow that an example needs, where that is newer than the oldest that we support."""

AIRFLOW = tuple(int(number) for number in airflow.__version__.split(".")[:2])
DAG_IDS = {path.stem.removeprefix("example_") for path in EXAMPLES.glob("*.py")}
TOO_NEW = {dag_id for dag_id, needed in NEEDED.items() if needed > AIRFLOW}

RunDag = Callable[..., Any]


@pytest.fixture(scope="module")
def examples(airflow_db: str, dagbag: Any) -> Any:
    """All example DAGs, by id."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        bag = dagbag.DagBag(str(EXAMPLES))
    ours = (str(EXAMPLES), str(EXAMPLES.parent / "airflow_provider_census"))
    assert not bag.import_errors
    assert not [str(warning) for warning in seen if warning.filename.startswith(ours)]
    assert not bag.captured_warnings
    return bag.dags


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A local Census, slow enough for every kind of wait to have something to wait for."""
    with Sandbox(pace=0.2) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri_v1)
        yield sandbox


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll again soon, or a run of the sandbox would be over long before the second poll."""
    monkeypatch.setattr(WaitOptions, "interval", lambda *_, **__: 0.1)
    monkeypatch.setattr(sensors, "RESCHEDULE_INTERVAL", 0.1)


def outcome(run: Any) -> dict[str, str]:
    """The state of every task instance, mapped ones as ``task[0]``."""
    return {label(task): str(task.state) for task in run.get_task_instances()}


def label(task: Any) -> str:
    return str(task.task_id) + (f"[{task.map_index}]" if task.map_index >= 0 else "")


def task_instance(run: Any, name: str) -> Any:
    (task,) = (task for task in run.get_task_instances() if label(task) == name)
    return task


def xcom(run: Any, name: str, key: str = "return_value") -> Any:
    task = task_instance(run, name)
    return task.xcom_pull(task_ids=task.task_id, key=key, map_indexes=task.map_index)


def link(run: Any, dag: Any, name: str) -> str | None:
    """What the button on a task opens, found as the UI finds it: from the serialized DAG."""
    module: Any = import_module("airflow.serialization.serialized_objects")
    serialization = getattr(module, "DagSerialization", None) or module.SerializedDAG
    # Airflow leaves this off in the whole process when it clears a task.
    serialization._load_operator_extra_links = True  # noqa: SLF001 - there is no public one
    operator = serialization.from_dict(serialization.to_dict(dag)).get_task(name.partition("[")[0])
    found: str | None = operator.get_extra_links(task_instance(run, name), CensusSyncRunLink.name)
    return found


def address(census: Sandbox, sync_id: int, sync_run_id: int) -> str:
    return f"{census.url}/syncs/{sync_id}/history?sync_run_id={sync_run_id}"


def airflow_command(words: list[str]) -> Any:
    """Do what a command of Airflow's does; its arguments."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(words)
    arguments.func(arguments)
    return arguments


def triggered(census: Sandbox) -> list[int]:
    return [trigger.sync_id for trigger in census.triggers]


def test_there_is_a_dag_in_every_file_and_it_explains_itself(examples: Any) -> None:
    assert {Path(dag.fileloc).stem.removeprefix("example_") for dag in examples.values()} == DAG_IDS - TOO_NEW
    assert set(examples) >= DAG_IDS - TOO_NEW
    for dag in examples.values():
        assert dag.doc_md.lstrip().startswith("### ")
        assert "**Needs** the connection" in dag.doc_md


def test_no_two_examples_start_the_same_sync(examples: Any) -> None:
    started: list[Any] = []
    for dag in examples.values():
        for task in dag.tasks:
            if isinstance(task, CensusTriggerSyncOperator):
                started.append(dag.params["sync_id"] if "params" in str(task.sync_id) else task.sync_id)
            elif getattr(task, "operator_class", None) is CensusTriggerSyncOperator:
                mapped = task.expand_input.value
                rows = (
                    mapped if isinstance(mapped, list) else [{"sync_id": each} for each in syncs_of(mapped)]
                )
                started += [row["sync_id"] for row in rows]
    assert len(started) > 12
    assert len(set(map(str, started))) == len(started)


def syncs_of(mapped: dict[str, Any]) -> list[int]:
    """The syncs over which a task is mapped, if the file names them."""
    return mapped["sync_id"] if isinstance(mapped["sync_id"], list) else []


def test_every_mapped_task_says_what_each_instance_is(examples: Any) -> None:
    mapped = [task for dag in examples.values() for task in dag.tasks if hasattr(task, "partial_kwargs")]
    assert len(mapped) > 5
    assert all(task.partial_kwargs.get("map_index_template") for task in mapped)


@pytest.mark.parametrize("name", ["after_load", "alerts", "backfill"])
def test_an_example_is_left_out_without_what_it_needs(
    dagbag: Any, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (
        "common.sql.operators.sql",
        "slack.notifications.slack_webhook",
        "smtp.notifications.smtp",
    ):
        monkeypatch.setitem(sys.modules, f"airflow.providers.{module}", None)
    bag = dagbag.DagBag(str(EXAMPLES / f"example_census_{name}.py"))
    assert (bag.import_errors, bag.dags) == ({}, {})
    assert "Left out, for it needs apache-airflow-providers-" in caplog.text


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
    polls = [path for _, path in census.requests if path == f"/api/v1/sync_runs/{trigger.sync_run_id}"]
    assert len(polls) > 2, "one before it defers, one after, and some in the triggerer"
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
    assert link(run, dag, "trigger") == link(run, dag, "wait") == address(census, 61, trigger.sync_run_id)


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
    assert triggered(census) == [65, 65]


def test_after_load_does_not_sync_what_was_not_loaded(
    examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "sqlite", "host": "/nowhere/at/all.db"}')
    run = run_dag(examples["census_after_load"])
    assert outcome(run) == {"load": "failed", "sync": "upstream_failed", "report": "upstream_failed"}
    assert not census.triggers


def test_after_dbt(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    dag = examples["census_after_dbt"]
    models = {f"postgres://warehouse:5432/analytics/marts/{name}" for name in ("customers", "orders")}
    timetable = dag.timetable
    waits_for = timetable.dataset_condition if AIRFLOW_2 else timetable.asset_condition
    assert {asset.uri for asset in waits_for.objects} == models
    assert outcome(run_dag(dag)) == {"sync": "success"}
    assert triggered(census) == [66]


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A database behind the connection ``warehouse``."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


@pytest.mark.skipif(
    AIRFLOW == (3, 0), reason="dag.test() of Airflow 3.0 keeps no DAG that could be backfilled"
)
@pytest.mark.parametrize(
    ("until", "days", "today", "syncs"),
    [
        pytest.param("2026-03-01", 7, "2026-03-01T12:00", [67], id="a week until the latest"),
        pytest.param("2026-05-01", 3, "2026-06-01T12:00", [], id="days long gone"),
    ],
)
def test_backfill(
    examples: Any,
    run_dag: RunDag,
    census: Sandbox,
    warehouse: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: str,
    days: int,
    today: str,
    syncs: list[int],
) -> None:
    clock = SimpleNamespace(now=lambda _: pendulum.parse(today), instance=pendulum.instance)
    monkeypatch.setattr("airflow.providers.standard.operators.latest_only.pendulum", clock)
    # The latest run bears the date at which it starts in Airflow 3, and the day before in Airflow 2.
    last = datetime.fromisoformat(until).replace(tzinfo=timezone.utc) - timedelta(days=int(AIRFLOW_2))
    dates = [last - timedelta(days=before) for before in reversed(range(days))]
    dag = examples["census_backfill"]
    backfill = backfill_2 if AIRFLOW_2 else backfill_3
    outcomes = [outcome(run) for run in backfill(dag, run_dag, monkeypatch, dates)]
    assert [states["load"] for states in outcomes] == ["success"] * days
    last_state = "success" if syncs else "skipped"
    assert [states["sync"] for states in outcomes] == ["skipped"] * (days - 1) + [last_state]
    assert triggered(census) == syncs
    with sqlite3.connect(warehouse) as database:
        loaded = [day for (day,) in database.execute("SELECT DISTINCT day FROM orders ORDER BY day")]
    assert loaded == [f"{date:%Y-%m-%d}" for date in dates]


def backfill_3(
    dag: Any, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, dates: list[datetime]
) -> Iterator[Any]:
    """Run a backfill that Airflow's own command made, one day after another as a scheduler would."""
    from airflow.models.backfill import Backfill
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState

    with monkeypatch.context() as here:
        here.setattr(type(dag), "test", lambda _: None)
        run_dag(dag)  # only to make Airflow know it
    command = ["backfill", "create", "--dag-id", dag.dag_id, "--max-active-runs", "1"]
    command += ["--from-date", dates[0].isoformat(), "--to-date", dates[-1].isoformat()]
    airflow_command(command)

    def made(*, dag: Any, logical_date: datetime, session: Any, **_: Any) -> Any:
        (run,) = session.query(DagRun).filter_by(dag_id=dag.dag_id, logical_date=logical_date)
        assert run.run_type == "backfill"
        run.dag, run.state = dag, DagRunState.RUNNING
        session.commit()
        return run

    monkeypatch.setattr("airflow.models.dagrun.get_or_create_dagrun", made)
    with create_session() as session:
        made_runs: Any = session.query(DagRun).filter_by(
            dag_id=dag.dag_id, run_type="backfill", state="queued"
        )
        assert sorted(run.logical_date for run in made_runs) == dates
        # A DAG may only have one that is not complete.
        session.query(Backfill).update({Backfill.completed_at: dates[-1]})
        session.commit()
    for date in dates:
        yield dag.test(logical_date=date)


def backfill_2(
    dag: Any, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, dates: list[datetime]
) -> Iterator[Any]:
    """Run what a backfill of Airflow 2 would: runs that look like its own."""
    from airflow.models import dag as module

    create = module._get_or_create_dagrun  # noqa: SLF001 - the only place that an Airflow 2 asks

    def made(*, execution_date: datetime, **kwargs: Any) -> Any:
        interval = (execution_date, execution_date + timedelta(days=1))
        kwargs |= {"run_id": f"backfill__{execution_date.isoformat()}", "data_interval": interval}
        run = create(execution_date=execution_date, **kwargs)
        assert run.run_type == "backfill"
        return run

    monkeypatch.setattr(module, "_get_or_create_dagrun", made)
    for date in dates:
        yield run_dag(dag, execution_date=date)


@pytest.fixture
def pool(examples: Any) -> None:
    """The pool of ``census_many``, made by the command in its documentation."""
    (command,) = re.findall("`airflow (pools set census [^`]+)`", examples["census_many"].doc_md)
    assert airflow_command(shlex.split(command)).include_deferred


@pytest.mark.usefixtures("pool")
def test_many(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    dag = examples["census_many"]
    assert {dag.get_task(f"{group}.sync").pool for group in ("accounts", "contacts")} == {"census"}
    run = run_dag(dag)
    tasks = ["accounts.sync[0]", "accounts.sync[1]", "contacts.sync[0]", "summarise"]
    assert outcome(run) == dict.fromkeys(tasks, "success")
    assert sorted(triggered(census)[:2]) == [73, 74]
    assert triggered(census)[2:] == [75]


@pytest.mark.usefixtures("pool")
def test_many_tells_which_sync_did_not_complete(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    census.fail_next(100, status=403, method="POST", path="/api/v1/syncs/74/trigger")
    dag = examples["census_many"]
    run = run_dag(dag)
    assert outcome(run) == {
        "accounts.sync[0]": "success",
        "accounts.sync[1]": "failed",
        "contacts.sync[0]": "upstream_failed",
        "summarise": "failed",
    }
    assert run.state == "failed"
    assert triggered(census) == [73]
    pulled = SimpleNamespace(xcom_pull=lambda **_: [xcom(run, "accounts.sync[0]", "sync_run")])
    with pytest.raises(RuntimeError, match=re.escape("sync 74 (not run to its end), sync 75 (not")):
        dag.get_task("summarise").python_callable(ti=pulled)


@pytest.mark.skipif(AIRFLOW_2, reason="the events of Airflow 2 have another name")
def test_select_after_load(
    examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import comms, task_runner
    from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

    dag = examples["census_select_after_load"]
    (asset,) = dag.timetable.asset_condition.objects
    event = comms.AssetEventDagRunReferenceResult(
        asset={"name": asset.name, "uri": asset.uri, "extra": {}},  # type: ignore[arg-type]
        extra={},
        timestamp=datetime.now(timezone.utc),
        **dict.fromkeys(("source_task_id", "source_dag_id", "source_run_id", "source_map_index")),
        source_aliases=[],
    )
    given = task_runner.RuntimeTaskInstance.get_template_context

    def triggered_by_the_event(ti: Any) -> Any:
        return {**given(ti), "triggering_asset_events": TriggeringAssetEventsAccessor.build([event])}

    monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_template_context", triggered_by_the_event)
    for sync_id, name in ((201, "customers"), (202, "orders"), (203, "customers")):
        table = {"type": "table", "table_catalog": "analytics", "table_schema": "marts", "table_name": name}
        census.add_sync(sync_id, completes(), source_attributes={"connection_id": 4, "object": table})
    assert outcome(run_dag(dag)) == {"select": "success", "sync[0]": "success", "sync[1]": "success"}
    assert sorted(triggered(census)) == [201, 203]


def test_select(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    dag = examples["census_select"]
    run = run_dag(dag)
    assert outcome(run) == {"select": "success", "sync[0]": "success"}
    assert triggered(census) == [58]
    assert [task.rendered_map_index for task in run.get_task_instances() if task.map_index == 0] == [
        "Completes at once"
    ]


def test_mapped(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    dag = examples["census_mapped"]
    run = run_dag(dag)
    tasks = [f"{task}[{index}]" for task in ("trigger", "wait") for index in (0, 1)]
    assert outcome(run) == dict.fromkeys(tasks, "success")
    assert sorted(triggered(census)) == [71, 72]
    ids = {trigger.sync_id: trigger.sync_run_id for trigger in census.triggers}
    assert [xcom(run, f"trigger[{index}]") for index in (0, 1)] == [ids[71], ids[72]]
    assert [xcom(run, f"wait[{index}]")["id"] for index in (0, 1)] == [ids[71], ids[72]]
    names = {task.rendered_map_index for task in run.get_task_instances()}
    assert names == {"sync 71", "sync 72", f"run {ids[71]}", f"run {ids[72]}"}
    assert link(run, dag, "wait[1]") == address(census, 72, ids[72])


def test_workspaces(examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(token="secret-token:eu", pace=0.02) as europe:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_EU", europe.connection_uri_v1)
        dag = examples["census_workspaces"]
        run = run_dag(dag)
    assert outcome(run) == dict.fromkeys(["sync[0]", "sync[1]"], "success")
    assert (triggered(census), triggered(europe)) == ([76], [77])
    assert link(run, dag, "sync[1]") == address(europe, 77, europe.triggers[0].sync_run_id)
    names = {task.rendered_map_index for task in run.get_task_instances()}
    assert names == {"census_default, sync 76", "census_eu, sync 77"}


@pytest.mark.parametrize(("rejected", "state"), [(0, "success"), (250, "failed")])
def test_rejected(
    examples: Any, run_dag: RunDag, census: Sandbox, warehouse: Path, rejected: int, state: str
) -> None:
    census.add_sync(90, rejects(rejected, records=1000) if rejected else completes())
    for _ in range(2):
        run = run_dag(examples["census_rejected"], run_conf={"sync_id": 90})
        assert outcome(run) == {"sync": state, "store": "success"}
    ids = [trigger.sync_run_id for trigger in census.triggers]
    with sqlite3.connect(warehouse) as database:
        stored = database.execute(
            "SELECT sync_run_id, identifier, reason, record FROM rejected_records"
        ).fetchall()
    assert [row[0] for row in stored] == [each for each in ids for _ in range(rejected)]
    assert all(reason for _, _, reason, _ in stored)
    assert all(json.loads(record)["external_id"] == identifier for _, identifier, _, record in stored)
    asked = [path for _, path in census.requests if path.endswith(f"/{ids[0]}/records")]
    assert len(asked) == (4 if rejected else 1), "a page for the log, and three for the table"


def test_alerts(examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    dag = examples["census_alerts"]
    task = dag.get_task("sync")
    monkeypatch.setattr(task, "sync_id", 53)
    monkeypatch.setattr(task, "retries", 0)
    slack: list[bytes] = []
    mail: list[bytes] = []
    with listening(partial(Slack, slack)) as slack_port, listening(partial(Mail, mail)) as smtp_port:
        address: dict[str, Any] = {
            "conn_type": "slackwebhook",
            "host": f"http://127.0.0.1:{slack_port}",
            "password": "T/B/x",
        }
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps(address))
        extra = {"from_email": "airflow@example.com", "disable_ssl": True, "disable_tls": True}
        address = {"conn_type": "smtp", "host": "127.0.0.1", "port": smtp_port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(address))
        assert outcome(run_dag(dag)) == {"sync": "failed"}
    (trigger,) = census.triggers
    why = ": JSON_ARRAY_ERROR: The array field"
    where = f"{census.url}/syncs/53/history?sync_run_id={trigger.sync_run_id}"
    (posted,) = slack
    message = message_from_bytes(b"".join(mail))
    assert message["Subject"] == "sync of census_alerts failed"
    assert message["To"] == "data-team@example.com"
    (part,) = (part for part in message.walk() if part.get_content_type() == "text/html")
    html = part.get_payload(decode=True)
    assert isinstance(html, bytes)
    for said in (json.loads(posted)["text"], html.decode()):
        assert why in said
        assert where in said
        if AIRFLOW != (3, 0):  # whose dag.test() knows no log
            assert "census_alerts" in said.partition(where)[2], "the address of the log"


@contextmanager
def listening(handler: Any) -> Iterator[int]:
    """Serve connections, each with a handler; gives the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Slack(BaseHTTPRequestHandler):
    """Takes what is posted to a webhook."""

    def __init__(self, posted: list[bytes], *args: Any) -> None:
        self.posted = posted
        super().__init__(*args)

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")


class Mail(socketserver.StreamRequestHandler):
    """Takes mails by SMTP, in as few words as that takes."""

    def __init__(self, mail: list[bytes], *args: Any) -> None:
        self.mail = mail
        super().__init__(*args)

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while command := self.rfile.readline().strip().upper():
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) != b".\r\n":
                    self.mail.append(line)
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")


def test_hook(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    census.fail_next(2, path="/api/v1/syncs/52/sync_runs", headers={"Retry-After": "0"})
    run = run_dag(examples["census_hook"])
    assert outcome(run) == {"sources": "success", "last_runs": "success", "assert_healthy": "success"}
    assert xcom(run, "last_runs") == ["completed", "failed", "completed"], "the sandbox's old runs of sync 52"
    assert xcom(run, "sources")["bigquery-development"] == "BigQuery - Development"
    assert not census.triggers


def test_sync_sensor(
    examples: Any, run_dag: RunDag, census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag, started = examples["census_sync_sensor"], list[int]()

    def start_by_itself(method: str, path: str) -> None:
        """Census' own schedule comes at the second request."""
        if len(census.requests) > 1 and not started:
            started.append(census.start_run(62))

    census.on_request = start_by_itself
    run = run_dag(dag)
    assert outcome(run) == {"wait": "success", "report": "success"}
    assert [xcom(run, "wait")["id"]] == started
    assert xcom(run, "report") == 1000
    assert link(run, dag, "wait") == address(census, 62, started[0])
    assert not census.triggers


def test_if_running(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    dag = examples["census_if_running"]
    pace, census.pace = census.pace, 2.0  # still there when the tasks begin, however long that takes Airflow
    others = {sync_id: CensusHook().trigger_sync(sync_id) for sync_id in (63, 64)}
    census.pace = pace
    run = run_dag(dag)
    assert outcome(run) == {"load": "success", "sync_after_load": "success", "sync_somehow": "success"}
    assert triggered(census) == [63, 64, 63]
    ours = census.triggers[-1].sync_run_id
    assert xcom(run, "sync_after_load") == ours != others[63]
    ended = CensusHook().get_sync_run(others[63])["completed_at"]
    assert xcom(run, "sync_after_load", "sync_run")["created_at"] >= ended
    assert xcom(run, "sync_somehow") == others[64]
    assert link(run, dag, "sync_somehow") == address(census, 64, others[64])


def test_assets(examples: Any, run_dag: RunDag, census: Sandbox) -> None:
    report = examples["census_assets_report"]
    for _ in range(2):
        run = run_dag(examples["census_assets"])
        assert outcome(run) == {"sync": "success"}
        run = run_dag(report)
        newest = census.triggers[-1].sync_run_id
        assert xcom(run, "report") == f"Run {newest}: 1000 records, {address(census, 79, newest)}"


@pytest.mark.skipif("census_event" in TOO_NEW, reason="event triggers came with Airflow 3.0")
def test_event(examples: Any, run_dag: RunDag) -> None:
    dag = examples["census_event"]
    assert outcome(run_dag(dag)) == {"report": "success"}, "also by hand, without an event"
    [asset] = dag.timetable.asset_condition.objects
    [watcher] = asset.watchers
    assert watcher.trigger.serialize()[1]["sync_id"] == 80
    payloads = [
        summary({"id": run_id, "sync_id": 80, "status": "completed", "records_updated": 7}, "https://see")
        for run_id in (94, 95)
    ]
    events = [SimpleNamespace(extra={"from_trigger": True, "payload": payload}) for payload in payloads]
    events.append(SimpleNamespace(extra=summary({"id": 96, "sync_id": 80}, "https://see")))  # of a task
    told = dag.get_task("report").python_callable(triggering_asset_events={"the asset": events})
    assert told == [
        "Run 94: 7 records, https://see",
        "Run 95: 7 records, https://see",
        "Run 96: None records, https://see",
    ]


@pytest.mark.parametrize(
    ("of_customers", "of_invoices", "states"),
    [
        (completes(), completes(), ("success", "success")),
        (completes(records=0), rejects(1), ("failed", "failed")),
        (rejects(50), completes(records=0), ("success", "success")),
        (rejects(51), rejects(0, invalid=1), ("failed", "failed")),
    ],
    ids=["all synced", "none and one rejected", "5 % and none", "5.1 % and one invalid"],
)
def test_thresholds(
    examples: Any,
    run_dag: RunDag,
    census: Sandbox,
    of_customers: Any,
    of_invoices: Any,
    states: tuple[str, str],
) -> None:
    census.add_sync(69, of_customers)
    census.add_sync(70, of_invoices)
    customers, every_invoice = states
    assert outcome(run_dag(examples["census_thresholds"])) == {
        "customers": customers,
        "invoices": "success",
        "every_invoice": every_invoice,
    }


@pytest.mark.skipif("census_retries" in TOO_NEW, reason="retry policies came with Airflow 3.3")
@pytest.mark.parametrize("status", [401, 403, 404])
def test_retries_not_what_cannot_help(examples: Any, run_dag: RunDag, census: Sandbox, status: int) -> None:
    census.fail_next(99, status=status, method="POST")
    run = run_dag(examples["census_retries"])
    assert outcome(run) == {"sync": "failed"}
    task = task_instance(run, "sync")
    assert (task.try_number, task.max_tries) == (1, 3)


@pytest.mark.skipif("census_retries" in TOO_NEW, reason="retry policies came with Airflow 3.3")
@pytest.mark.parametrize(
    ("error", "action", "minutes"),
    [
        (exceptions.CensusConfigError("no"), "fail", None),
        (exceptions.CensusLookupError("no"), "fail", None),
        (exceptions.CensusSyncRunRejectedRecords("no", {}), "fail", None),
        (exceptions.CensusSyncRunSkipped("no", {}), "retry", 15),
        (exceptions.CensusSyncRunFailed("no", {}), "default", None),
        (exceptions.CensusConnectionError("no", sent=True), "default", None),
        (exceptions.CensusTimeoutError("no"), "default", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_retries_what_may_help(examples: Any, error: Exception, action: str, minutes: int | None) -> None:
    from airflow.sdk import ExceptionRetryPolicy

    policy = ExceptionRetryPolicy.deserialize(
        json.loads(json.dumps(examples["census_retries"].get_task("sync").retry_policy.serialize()))
    )
    decision = policy.evaluate(error, 1, 3)
    assert decision.action.value == action
    assert decision.retry_delay == (minutes and timedelta(minutes=minutes))

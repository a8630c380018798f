# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A throw-away Airflow for the tests, made before any of them imports Airflow."""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from base64 import urlsafe_b64encode
from collections import Counter
from contextlib import closing
from datetime import datetime, timezone
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from airflow_provider_census.sandbox import Sandbox

# What is imported and collected stays: to look for garbage in it costs a fifth of the time that this takes.
gc.disable()

HOME = tempfile.mkdtemp(prefix="airflow-provider-census-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = HOME
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(HOME) / "dags")
# Else a process that begins before there is an airflow.cfg has another, and cannot read what others write.
os.environ["AIRFLOW__CORE__FERNET_KEY"] = urlsafe_b64encode(os.urandom(32)).decode()
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/airflow.db"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "false"
for variable in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
    del os.environ[variable]
(Path(HOME) / "dags").mkdir()

LONGEST = (
    "tests/e2e/",
    "tests/faults/test_hostile_census.py",
    "tests/operators/test_if_running.py",
    "tests/test_cli.py",
    "tests/test_examples.py",
    "tests/transports/",
)
"""What is begun with, so that no process waits for another one in the end."""

THREADS_OF_AIRFLOW = ("InProcessExecutionAPI", "AnyIO worker")
"""Those in which ``dag.test()`` has the API of the tasks: none of our code, but most of the work."""

if measure := threading.gettrace():

    def measure_ours(frame: FrameType, event: str, arg: Any, measure: Callable[..., Any] = measure) -> Any:
        """Measure no coverage where only Airflow is at work, which would take it twice the time."""
        if threading.current_thread().name.startswith(THREADS_OF_AIRFLOW):
            return sys.settrace(None)
        return measure(frame, event, arg)

    threading.settrace(measure_ours)

PACE = 0.02
"""Runs of the sandbox take a fiftieth of their time."""


def pytest_report_header() -> str:
    return f"Airflow {version('apache-airflow')} on Python {platform.python_version()}"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: compressed ones hold a time, and ids must be the same in all processes."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage from now on, and only in what the tests leave."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs more of Airflow than its modules, and begin with what takes longest."""
    for item in items:
        if not {"airflow_db", "browser"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("airflow")
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One table of what ran: a row for each folder, and for each file that is in none."""
    outcomes = ("passed", "skipped", "failed", "error")
    table: dict[str, Counter[str]] = {}
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if isinstance(report, pytest.TestReport | pytest.CollectReport):
                area = "/".join(report.nodeid.partition("::")[0].split("/")[:2])
                row = table.setdefault(area, Counter())
                row["seconds"] += getattr(report, "duration", 0)
                row["failed" if outcome == "error" else outcome] += outcome in outcomes
    terminalreporter.section(pytest_report_header())
    columns = (*outcomes[:-1], "seconds")
    terminalreporter.line(f"{'':32}" + "".join(f"{column:>10}" for column in columns))
    table = dict(sorted(table.items()))
    for area, row in (table | {"all": sum(table.values(), Counter())}).items():
        terminalreporter.line(f"{area:32}" + "".join(f"{round(row[column]):10}" for column in columns))


@pytest.fixture(scope="session")
def airflow_db(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of Airflow's, made once for all processes that share the tests, and copied; its home."""
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "airflow.db"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            airflow = Path(sys.executable).parent / "airflow"
            env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
            run = subprocess.run(
                [airflow, "db", "migrate"], env=env, capture_output=True, text=True, check=False
            )
            assert run.returncode == 0, run.stdout + run.stderr
            copy_db(f"{HOME}/airflow.db", f"{made}.new")
            Path(f"{made}.new").rename(made)
        else:
            copy_db(str(made), f"{HOME}/airflow.db")
    return HOME


def copy_db(there: str, here: str) -> None:
    """Copy a database of SQLite with what is not yet in its file."""
    with closing(sqlite3.connect(there)) as source, closing(sqlite3.connect(here)) as target:
        source.backup(target)


@pytest.fixture(autouse=True)
def before_v1_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that names no version is one of v1, on whatever day the tests run."""
    from airflow_provider_census.api import versions

    day = datetime(2026, 10, 1, tzinfo=timezone.utc).timestamp()
    monkeypatch.setattr(versions, "time", SimpleNamespace(time=lambda: day))


@pytest.fixture(scope="session", autouse=True)
def authorities_are_read_once() -> Iterator[None]:
    """Read each file of certificate authorities once: that takes longer than all else that a request does."""
    from airflow_provider_census.transports import shared_client

    with pytest.MonkeyPatch.context() as here:
        read = functools.cache(shared_client._ssl_context)  # noqa: SLF001 - nobody else reads them
        here.setattr(shared_client, "_ssl_context", read)
        yield


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defer and resume at once, for without a scheduler there is none that could hear of it too late."""
    from airflow_provider_census.utils import early_resume

    monkeypatch.setattr(early_resume, "HAS_FAULT", False)


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A local Census behind the connection ``census_default``."""
    from airflow_provider_census.sandbox import Sandbox

    with Sandbox(pace=PACE, strict=True) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri_v1)
        yield sandbox


@pytest.fixture(scope="session")
def dagbag() -> Any:
    """Airflow's module that reads DAG files."""
    try:
        return import_module("airflow.dag_processing.dagbag")
    except ImportError:  # before 3.2
        return import_module("airflow.models.dagbag")


@pytest.fixture
def run_dag(airflow_db: str, dagbag: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a DAG through ``dag.test()``; the DAG run that it gives tells states and XComs."""
    airflow = version("apache-airflow")
    if airflow.startswith(("3.0.", "3.1.", "3.2.")):
        from airflow.sdk.execution_time import task_runner

        finalize = task_runner.finalize

        # The callbacks are told of the exception by a worker, but not by dag.test() of these versions.
        def tell(ti: Any, state: Any, context: Any, log: Any, error: BaseException | None = None) -> None:
            context["exception"] = error
            finalize(ti, state, context, log, error)

        monkeypatch.setattr(task_runner, "finalize", tell)

    if airflow.startswith("3.0."):
        import pendulum

        rescheduled = task_runner.RuntimeTaskInstance.get_first_reschedule_date

        # Between worker and supervisor it is read out of JSON, but not in dag.test().
        def first_rescheduled(ti: Any, context: Any) -> Any:
            moment: Any = rescheduled(ti, context)
            return pendulum.parse(moment) if isinstance(moment, str) else moment

        monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_first_reschedule_date", first_rescheduled)

    def run(dag: Any, **kwargs: Any) -> Any:
        if airflow.startswith("2."):
            dag.sync_to_db()  # datasets are only known from there
            return dag.test(**kwargs)
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        DagBundlesManager().sync_bundles_to_db()
        bag = dagbag.DagBag(dag_folder=os.devnull)
        bag.bag_dag(dag)
        if airflow.startswith("3.0."):
            dag.relative_fileloc = "dag.py"  # a DAG without a file is not expected
            bag.sync_to_db("dags-folder", None)
        else:
            dagbag.sync_bag_to_db(bag, "dags-folder", None)
        return dag.test(**kwargs)

    return run

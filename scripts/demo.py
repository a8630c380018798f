# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
``make demo``: one Census sync through a real Airflow.

Starts a local Census (the sandbox) and an Airflow of its own in a temporary directory, runs the example DAG
``census_deferrable`` through scheduler and triggerer, and shows what became of it. What it started is gone
afterwards, however it ends, and so is what it wrote, except that the logs of a failure stay.

With ``CENSUS_API_TOKEN`` and ``CENSUS_SYNC_ID`` in the environment it starts that sync at the real Census
(``CENSUS_HOST`` if that is not app.getcensus.com; ``CENSUS_API_VERSION=v1`` with the key of a workspace).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from real_airflow import (
    LOOPBACK,
    SIGNALS,
    Airflow,
    ProgramError,
    free_ports,
    program,
    say,
    standalone,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLE_DAGS = Path(__file__).resolve().parent.parent / "example_dags"
DAG_ID = "census_deferrable"
RUN_ID = "demo"
COUNTED = ("processed", "updated", "failed", "invalid")

# Seconds. A sync at the real Census takes as long as it takes.
SANDBOX_RUN_LIMIT = 180

EXPLAINED = {
    "running": "running in a worker",
    "deferred": "deferred: waits in the triggerer and holds no worker slot",
    "up_for_retry": "failed; will be tried again",
}


class DemoError(ProgramError):
    """Why the demo did not come to a good end."""


class Stopped(BaseException):
    """Ctrl-C, or its like from another program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@dataclass(frozen=True)
class Census:
    """Where the sync is, and what opens the door."""

    host: str
    token: str
    sync_id: int
    sandbox_port: int | None = None
    api_version: str = "v2"

    @property
    def connection(self) -> str:
        """The Airflow connection to it, as JSON."""
        extra = {"api_version": self.api_version}
        return json.dumps({"conn_type": "census", "host": self.host, "password": self.token, "extra": extra})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="leave Airflow's UI up until Ctrl-C")
    keep = parser.parse_args().keep

    # Set even where a shell made us deaf to Ctrl-C, as it does to what it starts in the background.
    for number in SIGNALS:
        signal.signal(number, stop)
    home = Path(tempfile.mkdtemp(prefix="census-demo-"))
    try:
        demo(home, keep=keep)
    except ProgramError as error:
        say(f"FAILED: {error}")
        show_log(home)
        return 1
    except Stopped as stopped:
        forget(home)
        say("Stopped.")
        return stopped.exit_code
    forget(home)
    say("Done." if keep else "Done, and all of it is gone. To open these links: make demo KEEP=1")
    return 0


def demo(home: Path, *, keep: bool) -> None:
    """
    Run the DAG once and show what became of it.

    :param home: an empty directory for everything that is written.
    :param keep: leave the UI up until a signal comes.
    :raises DemoError: if not every task succeeded.
    """
    (sandbox_port,) = free_ports(1)
    census = chosen_census(sandbox_port)
    with ExitStack() as programs:
        if census.sandbox_port:
            say(f"Starting the sandbox, a local Census, on {census.host}")
            programs.enter_context(sandbox(census.sandbox_port, home))
        else:
            say(f"Using the real Census, {census.host}, sync {census.sync_id}")
        say("Starting Airflow with scheduler and triggerer; takes about a minute")
        connections = {
            "AIRFLOW_CONN_CENSUS_DEFAULT": census.connection,
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(home / "warehouse.db")}),
        }
        airflow = programs.enter_context(standalone(home, EXAMPLE_DAGS, connections))
        programs.callback(say, "Stopping what was started")
        say(f"Airflow is up: {airflow.url}")
        failed = run_dag(airflow, census, home)
        if keep:
            say(f"The UI stays up until Ctrl-C: {airflow.url}/dags/{DAG_ID}")
            if census.sandbox_port:
                say(f"So does the sandbox, with the run that the links lead to: {census.host}")
            with suppress(Stopped):
                while airflow.process.poll() is None:
                    time.sleep(1)
    if failed:
        raise DemoError(f"{', '.join(failed)} did not succeed.")


def chosen_census(sandbox_port: int) -> Census:
    """
    Choose the real Census if the environment has a token for it, the sandbox otherwise.

    :raises DemoError: if it is not said which of the real syncs to start.
    """
    token, sync_id = os.environ.get("CENSUS_API_TOKEN"), os.environ.get("CENSUS_SYNC_ID", "")
    if not token:
        host = f"http://{LOOPBACK}:{sandbox_port}"
        return Census(host, "sandbox-personal-access-token", int(sync_id or 52), sandbox_port)
    if not sync_id.isdigit():
        raise DemoError("with CENSUS_API_TOKEN, CENSUS_SYNC_ID must be the id of the sync to start.")
    host = os.environ.get("CENSUS_HOST") or "app.getcensus.com"
    return Census(host, token, int(sync_id), api_version=os.environ.get("CENSUS_API_VERSION") or "v2")


@contextmanager
def sandbox(port: int, home: Path) -> Iterator[None]:
    """Keep a local Census up."""
    command = [sys.executable, "-m", "airflow_provider_census.sandbox", "--port", str(port)]
    with program(command, os.environ, home / "sandbox.log") as process:

        def answers() -> bool:
            if process.poll() is not None:
                raise DemoError(f"the sandbox ended by itself; see {home / 'sandbox.log'}")
            with socket.socket() as probe:
                return probe.connect_ex((LOOPBACK, port)) == 0

        wait_for("the sandbox", answers)
        yield


def run_dag(airflow: Airflow, census: Census, home: Path) -> list[str]:
    """
    Run the example DAG and show its progress and what came of it.

    :return: the tasks that did not succeed.
    """
    dag_path = f"/api/v2/dags/{DAG_ID}"

    def is_loaded() -> bool:
        for broken in (airflow.get("/api/v2/importErrors") or {}).get("import_errors", []):
            raise DemoError(f"{broken['filename']} cannot be imported:\n{broken['stack_trace']}")
        return airflow.get(dag_path) is not None

    wait_for(f"the DAG {DAG_ID}", is_loaded)
    wait_for("an unpaused DAG", lambda: bool(airflow.send("PATCH", dag_path, {"is_paused": False})))
    conf = {"sync_id": census.sync_id}
    run = {"dag_run_id": RUN_ID, "logical_date": None, "conf": conf}
    run_path = f"{dag_path}/dagRuns/{RUN_ID}"
    wait_for(
        "a DAG run", lambda: bool(airflow.get(run_path) or airflow.send("POST", f"{dag_path}/dagRuns", run))
    )
    say(f"Started the DAG {DAG_ID} with {json.dumps(conf)}")

    seen: dict[str, str | None] = {}
    tasks: list[dict[str, Any]] = []

    def has_ended() -> bool:
        # The run first: once it has ended, so have its tasks.
        found = airflow.get(run_path), airflow.get(f"{run_path}/taskInstances")
        if None in found:  # on a busy machine, an answer may not come in time
            return False
        state, tasks[:] = found[0]["state"], found[1]["task_instances"]
        for task in tasks:
            name, now = task["task_display_name"], task["state"]
            if now and seen.get(name) != now:
                say(f"  {name}: {EXPLAINED.get(now, now)}")
            seen[name] = now
        return state in {"success", "failed"}

    wait_for("the end of the DAG run", has_ended, SANDBOX_RUN_LIMIT if census.sandbox_port else None)
    print()
    for task in tasks:
        show_outcome(airflow, f"{run_path}/taskInstances/{task['task_id']}", task, home)
    print(flush=True)
    return [task["task_id"] for task in tasks if task["state"] != "success"]


def show_outcome(airflow: Airflow, path: str, task: Mapping[str, Any], home: Path) -> None:
    task_id, state = task["task_id"], task["state"]
    rows = {}
    if xcom := airflow.get(f"{path}/xcomEntries/sync_run"):
        counts = {what: xcom["value"].get(f"records_{what}") for what in COUNTED}
        rows["Records"] = ", ".join(f"{'?' if n is None else n} {what}" for what, n in counts.items())
    rows |= (airflow.get(f"{path}/links") or {}).get("extra_links", {})
    rows["In Airflow"] = f"{airflow.url}/dags/{DAG_ID}/runs/{RUN_ID}/tasks/{task_id}"
    if state != "success":
        run_logs = home / "logs" / f"dag_id={DAG_ID}" / f"run_id={RUN_ID}"
        log = run_logs / f"task_id={task_id}" / f"attempt={task['try_number']}.log"
        rows |= {"Error": error_in(log), "All of its log": str(log)}
    print(f"{task_id}: {state}")
    for label, value in rows.items():
        if value is None:  # a button that leads nowhere yet
            continue
        print(f"  {label:16}  {value}")


def error_in(log: Path) -> str:
    """The last exception in a task's log, which is lines of JSON."""
    found = "not in its log, perhaps in airflow.log"
    with suppress(OSError, ValueError):
        for line in log.read_text(errors="replace").splitlines():
            for error in json.loads(line).get("error_detail") or []:
                found = f"{error['exc_type']}: {error['exc_value']}"
    return found


def stop(number: int, _: object) -> NoReturn:
    # Once is enough: what is stopping shall not be stopped.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def show_log(home: Path) -> None:
    """Say where the logs of a failure are, and show the end of Airflow's; without any, leave nothing."""
    log = home / "airflow.log"
    if not log.exists():
        forget(home)
        return
    print("\nThe end of Airflow's log:")
    lines = [line for line in log.read_text(errors="replace").splitlines() if "[http.access]" not in line]
    for line in lines[-15:]:
        print(f"  {line[:300]}")
    print(f"All logs are in {home}")


def forget(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

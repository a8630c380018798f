# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
``make chaos``: an Airflow on many machines, each part of which fails, and no sync is lost or run twice.

CeleryExecutor with Redis and PostgreSQL, two workers, two triggerers and two schedulers, each with a host
name of its own, on loopback. Redis and PostgreSQL are Debian's; where they are missing and cannot be
installed, it is ``make chaos-local`` that runs, on the LocalExecutor, and it says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chaos
import psycopg2
from chaos import STARTED_502
from chaos_airflow import SETTINGS, Chaos, await_that, expect, kill, name_of, play, postgresql_programs
from real_airflow import LOOPBACK, free_ports, members, say, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

DAG_ID = "many_machines"
SENSORS = ("poke", "reschedule", "deferrable")

# What the DAG starts.
ON_WORKER, IN_TRIGGERER, WITH_SENSOR, WITH_EVENT = range(501, 506), range(601, 609), range(701, 704), (801,)
ALL = (*ON_WORKER, *IN_TRIGGERER, *WITH_SENSOR, *WITH_EVENT)

OUTAGE = 20.0
"""Seconds that the broker and the API server are down."""

CELERY = {
    **SETTINGS,
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": "40",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "chaos_host.name",
    "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
    "AIRFLOW__CELERY__WORKER_ENABLE_REMOTE_CONTROL": "False",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    # A task that a dead worker took along is not lost for ten minutes.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "10",
}

NO_REDIS = """
*** NOT TESTED: CeleryExecutor. It needs Redis and PostgreSQL, and apt-get cannot install them here.
*** On Debian or Ubuntu:  apt-get update && apt-get install -y redis-server postgresql
*** What follows is the LocalExecutor.
"""


def main() -> int:
    if not is_installed():
        print(NO_REDIS, file=sys.stderr, flush=True)
        return chaos.main()
    machines = Machines(Path(tempfile.mkdtemp(prefix="census-chaos-")), settings=CELERY)
    done = "no sync was lost, none was run twice, none cancelled but by hand."
    return play(machines, machines.play, done)


def is_installed() -> bool:
    """Tell whether Redis and PostgreSQL are here; install them if that is possible."""
    if shutil.which("redis-server") is None or postgresql_programs() is None:
        say("Installing Redis and PostgreSQL")
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        # Their services are not started: the test starts what it needs.
        install = [
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "RUNLEVEL=1",
            "apt-get",
            "-qq",
            "install",
            "--yes",
        ]
        packages = ["--no-install-recommends", "redis-server", "postgresql"]
        for command in (["apt-get", "-qq", "update"], [*install, *packages]):
            if shutil.which([*as_root, *command][0]) is not None:
                subprocess.run([*as_root, *command], **quiet)  # type: ignore[call-overload]
    return shutil.which("redis-server") is not None and postgresql_programs() is not None


class Machines(Chaos):
    """An Airflow of two workers, two triggerers and two schedulers."""

    def play(self) -> None:
        self.start()
        self.faults()
        self.by_hand()
        self.check_that_nothing_came_late()

    def start(self, dag_id: str = DAG_ID) -> None:
        (self.broker_port,) = free_ports(1)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.schedulers: list[subprocess.Popen[bytes]] = []
        (self.home / "redis").mkdir()
        say("Starting a Redis")
        self.launch_broker()
        super().start(dag_id)
        for host in ("worker-1", "worker-2"):
            self.launch_worker(host)
        self.await_triggerer(self.launch_triggerer())
        self.launch_scheduler()
        wait_for("two schedulers", lambda: len(self.jobs("SchedulerJob")) == 2)
        say("Two workers, two triggerers, two schedulers")

    def launch_broker(self) -> None:
        command = ["redis-server", "--bind", LOOPBACK, "--port", str(self.broker_port), "--save", ""]
        # What was in it is there again when it comes back.
        options = ["--dir", str(self.home / "redis"), "--appendonly", "yes"]
        self.broker = self.programs.start("redis", [*command, *options])

    def launch_api_server(self, port: int) -> None:
        database = self.programs.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        self.programs.env |= {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "AIRFLOW__CELERY__BROKER_URL": f"redis://{LOOPBACK}:{self.broker_port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
        }
        self.port = port
        super().launch_api_server(port)

    def launch_scheduler(self) -> subprocess.Popen[bytes]:
        scheduler = super().launch_scheduler()
        self.schedulers.append(scheduler)
        return scheduler

    def launch_worker(self, host: str) -> None:
        command = ["env", f"CHAOS_HOST={host}", "airflow", "celery", "worker", "--skip-serve-logs"]
        options = ["--celery-hostname", f"{host}@localhost", "--concurrency", "10", "--without-mingle"]
        self.workers[host] = self.programs.start(host, [*command, *options, "--without-gossip"])

    def host_of(self, task: Mapping[str, Any]) -> str:
        """The worker that a task runs on."""
        host = task["hostname"]
        expect(host in self.workers, f"{name_of(task)} should run on one of {[*self.workers]}, not {host!r}")
        return str(host)

    def faults(self) -> None:
        """Seventeen syncs at once; then one part after the other goes wrong."""
        self.census.plans |= {ON_WORKER[0]: [self.census.hold(ON_WORKER[0])]}
        self.census.plans |= {sync: [STARTED_502] for sync in (ON_WORKER[1], IN_TRIGGERER[1])}
        say(f"{len(ALL)} syncs: on workers, deferred, by sensors in all modes, and by event")
        self.run_dag(DAG_ID)
        await_that("a sync that is started without a response", lambda: self.census.held == {ON_WORKER[0]})
        self.kill_worker(self.host_of(self.task(DAG_ID, "on_worker", 0)), "amid POST")
        self.census.release()
        await_that(
            "what it had to be tried again",
            lambda: self.task(DAG_ID, "on_worker", 0).get("try_number", 0) > 1,
        )
        self.await_polls(ALL[:-1], 2)

        self.kill_worker(self.host_of(self.task(DAG_ID, "on_worker", 2)), "amid its waits")
        self.await_polls(ALL[:-1], 2)

        say(f"  kill -9 the broker, {OUTAGE:.0f} s without; two runs end meanwhile")
        kill(self.broker, signal.SIGKILL)
        self.end(IN_TRIGGERER[:2])
        self.pause(OUTAGE)
        self.launch_broker()

        triggerer = self.triggerers.pop(next(iter(self.triggerers)))
        say("  kill -9 a triggerer, and a scheduler; new ones")
        kill(triggerer, signal.SIGKILL)
        kill(self.schedulers.pop(0), signal.SIGKILL)
        self.await_triggerer(self.launch_triggerer())
        self.launch_scheduler()
        self.await_polls(ALL[2:5], 2)

        say(f"  kill -9 the API server, {OUTAGE:.0f} s without")
        kill(self.airflow.process, signal.SIGKILL)
        self.pause(OUTAGE)
        self.launch_api_server(self.port)
        self.await_api()

        say(f"  the database cuts {self.cut_connections()} connections")
        self.pause(5.0)
        self.tend()
        self.await_polls(IN_TRIGGERER[2:], 2)

        self.freeze_worker()
        self.end(ALL)
        self.await_end(DAG_ID)
        self.check(DAG_ID, ALL, {"on_worker": ON_WORKER, "in_triggerer": IN_TRIGGERER})
        await_that("the DAG that the event starts", lambda: self.dag_runs("by_event") == {"success"})

    def kill_worker(self, host: str, when: str) -> None:
        say(f"  kill -9 {host} with all of its tasks, {when}; a new one")
        kill(self.workers[host], signal.SIGKILL)
        self.launch_worker(host)

    def cut_connections(self) -> int:
        folder = str(self.home / "postgresql")
        with psycopg2.connect(host=folder, user="airflow", dbname="postgres") as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            count = len(cursor.fetchall())
        connection.close()
        return count

    def tend(self) -> None:
        """Start again what has ended by itself, as systemd or Kubernetes would."""
        for job, process in [*self.triggerers.items()]:
            if process.poll() is not None:
                say("  a triggerer had ended by itself; a new one")
                del self.triggerers[job]
                self.await_triggerer(self.launch_triggerer())
        for scheduler in [*self.schedulers]:
            if scheduler.poll() is not None:
                say("  a scheduler had ended by itself; a new one")
                self.schedulers.remove(scheduler)
                self.launch_scheduler()

    def freeze_worker(self) -> None:
        """A worker stands still until its tasks run elsewhere, and then goes on as if nothing were."""
        running = [task for task in self.tasks(DAG_ID) if task["state"] == "running"]
        hosts = Counter(map(self.host_of, running))
        expect(bool(hosts), "some task should run on a worker")
        host, count = hosts.most_common(1)[0]
        frozen = {name_of(task): task["try_number"] for task in running if task["hostname"] == host}
        say(f"  freezing {host} with {count} tasks, past its heartbeat")
        processes = members(self.workers[host].pid)
        for process in processes:
            process.suspend()

        def has_moved() -> bool:
            tries = {name_of(task): task["try_number"] for task in self.tasks(DAG_ID)}
            return all(tries[name] > before for name, before in frozen.items())

        await_that("all of its tasks to be tried again", has_moved)
        say(f"  all of them are tried again; thawing {host}")
        for process in processes:
            process.resume()
        self.pause(10.0)

    def dag_runs(self, dag_id: str) -> set[str]:
        found = self.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns") or {"dag_runs": []}
        return {run["state"] for run in found["dag_runs"]}


if __name__ == "__main__":
    sys.exit(main())

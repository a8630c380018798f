# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What ``make chaos``, ``make chaos-local`` and ``make early-resume`` share: an Airflow in parts.

It lives in a temporary directory, and runs syncs against a Census of ours that misbehaves and counts. What
was started is gone afterwards, however it ends; the logs of a failure stay.
"""

from __future__ import annotations

import base64
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from demo import Census, Stopped, error_in, forget, stop
from real_airflow import (
    LOOPBACK,
    SIGNALS,
    Airflow,
    ProgramError,
    environment,
    free_ports,
    members,
    say,
    undisturbed,
    wait_for,
)
from stand_in import CensusStandIn, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DAGS = Path(__file__).resolve().parent / "chaos_dags"
RUN_ID = "chaos"

# What the DAG by_hand starts.
MARKED_ON_WORKER, MARKED_IN_TRIGGERER, CLEARED = range(301, 302), range(302, 303), range(303, 304)

TOKEN = "secret-token:chaos"

LIMIT = 150
"""Seconds for each step."""

# So low that all is over soon, so high that a busy machine does not look like a dead one.
SETTINGS = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "12",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
}


class ChaosError(ProgramError):
    """What the provider did wrong, or did not do in time."""


@dataclass
class Programs:
    """What this test has started, each in a session of its own; nothing of it outlives the ``with`` block."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():
            # PostgreSQL was started first; it may clean up after itself.
            for process in reversed(self.running):
                if "postgres" in str(process.args):
                    process.send_signal(signal.SIGQUIT)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(5)
                kill(process, signal.SIGKILL)
                process.wait()

    def start(self, name: str, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self.running.append(process)
        return process

    def run(self, name: str, command: Sequence[str], **options: Any) -> None:
        process = self.start(name, command, **options)
        wait_for(f"the end of {command[0]}", lambda: process.poll() is not None)
        if process.returncode:
            raise ProgramError(f"{' '.join(command)} failed; see {self.home / name}.log")


class Chaos:
    def __init__(self, home: Path, dags: Path = DAGS, settings: Mapping[str, str] = SETTINGS) -> None:
        self.home = home
        self.dags = dags
        self.settings = settings
        self.census = CensusStandIn(token=TOKEN, keep_alive=True)
        self.programs = Programs(home)
        self.postgresql = postgresql_programs()
        self.triggerers: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def has_postgresql(self) -> bool:
        return self.postgresql is not None

    def start(self, dag_id: str = "takeover") -> None:
        """Start an Airflow with one triggerer, and wait until it knows its last DAG."""
        (port,) = free_ports(1)
        connection = {
            "AIRFLOW_CONN_CENSUS_DEFAULT": Census(self.census.url, TOKEN, 0, api_version="v1").connection
        }
        self.programs.env = connection | environment(port, self.home, self.dags)
        self.programs.env |= {**self.settings, **shared_secrets()}
        if self.postgresql is not None:
            say("Starting a PostgreSQL")
            self.programs.env |= database(self.programs, self.postgresql)
        say(f"Starting an Airflow on {'PostgreSQL' if self.has_postgresql else 'SQLite'}")
        self.programs.run("migrate", ["airflow", "db", "migrate"])
        self.launch_api_server(port)
        self.launch_scheduler()
        self.programs.start("dag-processor", ["airflow", "dag-processor"])
        triggerer = self.launch_triggerer()
        self.await_api()
        self.await_triggerer(triggerer)
        wait_for("the scheduler", lambda: self.jobs("SchedulerJob"))  # type: ignore[arg-type, return-value]
        wait_for("the DAGs", lambda: self.airflow.get(f"/api/v2/dags/{dag_id}") is not None)

    # Airflow

    def launch_api_server(self, port: int) -> None:
        command = ["airflow", "api-server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
        server = self.programs.start("api-server", command)
        self.airflow = Airflow(f"http://{LOOPBACK}:{port}", server, self.home / "api-server.log")

    def await_api(self) -> None:
        wait_for("Airflow's API", lambda: self.airflow.get("/api/v2/monitor/health") is not None)
        self.airflow.token = self.airflow.get("/auth/token")["access_token"]

    def launch_scheduler(self) -> subprocess.Popen[bytes]:
        return self.programs.start("scheduler", ["airflow", "scheduler", "--skip-serve-logs"])

    def launch_triggerer(self) -> subprocess.Popen[bytes]:
        return self.programs.start("triggerer", ["airflow", "triggerer", "--skip-serve-logs"])

    def await_triggerer(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until a triggerer lives; give the number that Airflow has for it."""
        wait_for("the triggerer", lambda: set(self.jobs("TriggererJob")) - set(self.triggerers))  # type: ignore[arg-type, return-value]
        (job,) = set(self.jobs("TriggererJob")) - set(self.triggerers)
        self.triggerers[job] = process
        return job

    def jobs(self, kind: str) -> list[int]:
        jobs = self.airflow.get(f"/api/v2/jobs?is_alive=true&job_type={kind}")
        return [job["id"] for job in jobs["jobs"]] if jobs else []

    def run_dag(self, dag_id: str) -> None:
        body = {"dag_run_id": RUN_ID, "logical_date": None}
        self.airflow.send("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)

    def tasks(self, dag_id: str) -> list[dict[str, Any]]:
        answer = self.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{RUN_ID}/taskInstances?limit=100")
        return answer["task_instances"] if answer else []

    def task(self, dag_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        for task in self.tasks(dag_id):
            if (task["task_id"], task["map_index"]) == (task_id, map_index):
                return task
        return {"state": None}

    def triggers_of(self, dag_id: str) -> list[int | None]:
        """The triggerer of every deferred task."""
        return [task["trigger"]["triggerer_id"] for task in self.tasks(dag_id) if task["trigger"]]

    def await_all_waiting(self, dag_id: str, count: int) -> None:
        def are_waiting() -> bool:
            states = Counter((task["task_id"], task["state"]) for task in self.tasks(dag_id))
            return count == sum(
                number
                for (task_id, state), number in states.items()
                if state == ("running" if task_id == "on_worker" else "deferred")
            )

        await_that(f"all {count} tasks of {dag_id} to wait", are_waiting)

    def await_triggers_of(self, dag_id: str, triggerers: set[int]) -> None:
        await_that(f"all triggers to be of {triggerers}", lambda: set(self.triggers_of(dag_id)) <= triggerers)

    def await_end(self, dag_id: str) -> list[dict[str, Any]]:
        await_that(f"the end of {dag_id}", lambda: self.has_ended(dag_id))
        return self.tasks(dag_id)

    def has_ended(self, dag_id: str) -> bool:
        run = self.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{RUN_ID}") or {}
        return run.get("end_date") is not None

    def count_in_trigger_logs(self, dag_id: str, triggerer: int, text: str) -> int:
        logs = (self.home / "logs" / f"dag_id={dag_id}").rglob(f"*.trigger.{triggerer}.log")
        return sum(text in log.read_text(errors="replace") for log in logs)

    # Census

    def runs(self, syncs: Sequence[int]) -> list[Run]:
        return self.census.of(syncs)

    def await_polls(self, syncs: Sequence[int], count: int) -> None:
        """Wait until the newest run of every sync was polled so often from now on."""

        def newest() -> dict[int, Run]:
            return {run.sync_id: run for run in self.runs(syncs)}

        before = {run.id: run.polls for run in newest().values()}
        await_that(
            f"{count} polls of every run of {[*syncs]}",
            lambda: (
                newest().keys() == set(syncs)
                and all(run.polls - before.get(run.id, 0) >= count for run in newest().values())
            ),
        )

    def end(self, syncs: Sequence[int]) -> None:
        for run in self.runs(syncs):
            run.ended = True

    # What both kinds of chaos do and check

    def pause(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        wait_for("the end of the outage", lambda: time.monotonic() > over)

    def by_hand(self) -> None:
        """What a user does is no accident: a killed task takes its run along, a cleared one syncs again."""
        say("Three syncs, to be marked and cleared by hand")
        self.run_dag("by_hand")
        self.await_all_waiting("by_hand", 3)
        self.await_polls([*MARKED_ON_WORKER, *MARKED_IN_TRIGGERER, *CLEARED], 2)
        self.end(CLEARED)
        await_that("cleared to succeed", lambda: self.task("by_hand", "cleared")["state"] == "success")
        path = f"/api/v2/dags/by_hand/dagRuns/{RUN_ID}/taskInstances"
        for task_id, syncs in (("on_worker", MARKED_ON_WORKER), ("in_triggerer", MARKED_IN_TRIGGERER)):
            self.airflow.send("PATCH", f"{path}/{task_id}", {"new_state": "failed"})
            await_that("a cancel", lambda syncs=syncs: self.census.cancels_of(syncs))  # type: ignore[misc]
            say(f"  {task_id} marked as failed: Census was asked to cancel its run")
        body = {"dry_run": False, "dag_run_id": RUN_ID, "task_ids": ["cleared"], "only_failed": False}
        self.airflow.send("POST", "/api/v2/dags/by_hand/clearTaskInstances", body)
        await_that("a second run", lambda: len(self.census.of(CLEARED)) == 2)
        say("  cleared after its success: Census was asked for a second run")
        self.end(CLEARED)
        states = {task["task_id"]: task["state"] for task in self.await_end("by_hand")}
        wanted = {"on_worker": "failed", "in_triggerer": "failed", "cleared": "success"}
        expect(states == wanted, f"the tasks should be {wanted}, not {states}")

    def check(self, dag_id: str, syncs: Sequence[int], values: Mapping[str, Sequence[int]]) -> None:
        """
        What must come of any chaos: every task a success, with the one run of its own sync.

        :param values: by task, the syncs whose runs its instances returned.
        """
        tasks, runs = self.tasks(dag_id), self.runs(syncs)
        states = Counter(task["state"] for task in tasks)
        cancels = [run.id for run in runs if run.id in self.census.cancels]
        say(f"  Airflow: {dict(states)}. Census: {len(runs)} runs, {len(cancels)} cancels")
        tries = [f"{name_of(task)} {task['try_number']}" for task in tasks if task["try_number"] > 1]
        say(f"  Tries, where it took more than one: {', '.join(tries) or 'none'}")
        expect(set(states) == {"success"}, "not all tasks are a success")
        expect(Counter(run.sync_id for run in runs) == Counter(syncs), f"not one run for each sync: {runs}")
        expect(not cancels, f"the runs {cancels} were cancelled")
        by_sync = {run.sync_id: run.id for run in runs}
        for task_id, of_task in values.items():
            right = {index: by_sync[sync] for index, sync in enumerate(of_task)}
            returned = {task["map_index"]: self.value(task) for task in tasks if task["task_id"] == task_id}
            expect(returned == right, f"{task_id} returned {returned}, not {right}")

    def value(self, task: Mapping[str, Any]) -> int:
        """What a task returned."""
        path = f"/api/v2/dags/{task['dag_id']}/dagRuns/{RUN_ID}/taskInstances/{task['task_id']}"
        found = self.airflow.get(f"{path}/xcomEntries/return_value?map_index={task['map_index']}") or {}
        return int(found["value"])

    def check_that_nothing_came_late(self) -> None:
        runs, cancels = Counter(self.census.triggers), self.census.cancels
        wanted = {MARKED_ON_WORKER[0], MARKED_IN_TRIGGERER[0]}
        canceled = [
            run.sync_id for run in self.census.runs.values() for run_id in cancels if run_id == run.id
        ]
        say(f"Census had {runs.total()} runs of {len(runs)} syncs, and {len(cancels)} cancels, in all")
        expect(
            sorted(canceled) == sorted(wanted), f"runs of {wanted} should be cancelled once, not {canceled}"
        )
        twice = {sync for sync, count in runs.items() if count > 1}
        expect(twice == set(CLEARED), f"of {twice} there was more than one run")


def play(chaos: Chaos, scenario: Callable[[], None], done: str) -> int:
    """
    Play a scenario to its end, whatever that is; the exit code.

    :param done: what it showed if it came to a good end.
    """
    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        with chaos.census, chaos.programs:
            scenario()
    except ProgramError as error:
        say(f"FAILED: {error}")
        show_logs(chaos)
        return 1
    except Stopped as stopped:
        forget(chaos.home)
        say("Stopped.")
        return stopped.exit_code
    forget(chaos.home)
    say(f"Done: {done}")
    return 0


def name_of(task: Mapping[str, Any]) -> str:
    return f"{task['task_id']}[{task['map_index']}]"


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ChaosError(otherwise)


def await_that(what: str, has_come: Callable[[], Any]) -> None:
    wait_for(what, has_come, LIMIT)


def kill(leader: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a program and everything it started."""
    for process in members(leader.pid):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def shared_secrets() -> dict[str, str]:
    """What every part of an Airflow has to know alike."""
    return {
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def postgresql_programs() -> Path | None:
    """Where PostgreSQL's programs are; Debian does not put them on the PATH."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def database(programs: Programs, postgresql: Path) -> dict[str, str]:
    """Start a PostgreSQL that listens on a socket file only; tell Airflow where."""
    folder = programs.home / "postgresql"
    folder.mkdir(mode=0o700)
    owner: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        # PostgreSQL does not run as root.
        users = {user.pw_name: user for user in pwd.getpwall()}
        user = users.get("postgres") or users["nobody"]
        os.chown(folder, user.pw_uid, user.pw_gid)
        programs.home.chmod(0o711)
        owner |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = str(folder / "data")
    command = [f"{postgresql}/initdb", "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8", "--no-sync"]
    programs.run("postgresql", [*command, "--locale=C"], **owner)
    options = {
        "listen_addresses": "",
        "unix_socket_directories": folder,
        "max_connections": 300,
        "fsync": "off",
    }
    command = [f"{postgresql}/postgres", "-D", data]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    programs.start("postgresql", command, **owner)
    wait_for("PostgreSQL", lambda: (folder / ".s.PGSQL.5432").exists())
    where = f"airflow@/postgres?host={folder}"
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{where}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{where}",
    }


def show_logs(chaos: Chaos) -> None:
    """Show what a failure came from, as far as that can be told, and say where the rest is."""
    home = chaos.home
    print("\nThe last requests at Census:")
    for line in chaos.census.log[-30:]:
        print(f"  {line}")
    (home / "census.log").write_text("\n".join(chaos.census.log))
    for log in sorted((home / "logs").rglob("attempt=*.log")):
        print(f"{log.relative_to(home)}: {error_in(log)}")
    for log in sorted(home.glob("*.log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if "[http.access]" not in line]
        print(f"The end of {log.name}:")
        for line in lines[-8:]:
            print(f"  {line[:300]}")
    print(f"All logs are in {home}")

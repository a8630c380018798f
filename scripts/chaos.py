# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
``make chaos-local``: what starts, runs or watches a sync is killed, and no sync is lost or run twice.

A real Airflow (scheduler, LocalExecutor, triggerers, API server, DAG processor) in a temporary directory runs
syncs against a Census of ours that misbehaves and counts. With PostgreSQL's programs on this machine, the
database is a PostgreSQL of our own, and two triggerers take over from each other; without, it is SQLite, on
which that part cannot run. What was started is gone afterwards, however it ends; the logs of a failure stay.
"""

from __future__ import annotations

import base64
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from stand_in import RESET, CensusStandIn, Run, says

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DAGS = Path(__file__).resolve().parent / "chaos_dags"
RUN_ID = "chaos"

# What the DAGs start.
ON_WORKER, IN_TRIGGERER = range(101, 106), range(201, 206)
MARKED_ON_WORKER, MARKED_IN_TRIGGERER, CLEARED = range(301, 302), range(302, 303), range(303, 304)
TAKEN_OVER = range(401, 411)

TOKEN = "secret-token:chaos"

# Of a request to start a sync; whether the run is started is part of the name.
STARTED_502 = replace(says(502, b"<html>Bad gateway</html>"), name="started, 502", executed=True)
STARTED_RESET = replace(RESET, name="started, reset", executed=True)
BUSY = replace(says(503, b'{"status": "error", "message": "busy"}', Retry_After="1"), name="not started, 503")

# Of any request, one after the other.
OUTAGE = (
    says(503),
    says(500, b"<html>Bad gateway</html>"),
    RESET,
    says(502, b"<html>Bad gateway</html>"),
    BUSY,
    says(200, b"<html>back soon</html>", Content_Type="text/html"),
    says(200),
)

# Seconds.
OUTAGE_IN_ALL = 20
LIMIT = 150

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

NO_POSTGRESQL = """
*** SKIPPED: two triggerers. They need a database with row locks, and PostgreSQL is not installed here.
*** On Debian or Ubuntu:  apt-get update && apt-get install -y postgresql
"""


class ChaosError(ProgramError):
    """What the provider did wrong, or did not do in time."""


def main() -> int:
    for number in SIGNALS:
        signal.signal(number, stop)
    home = Path(tempfile.mkdtemp(prefix="census-chaos-"))
    chaos = Chaos(home)
    try:
        with chaos.census, chaos.programs:
            chaos.start()
            chaos.faults()
            if chaos.has_postgresql:
                second = chaos.launch_triggerer()
                chaos.by_hand()
                chaos.takeover(second)
            else:
                chaos.by_hand()
                print(NO_POSTGRESQL, file=sys.stderr, flush=True)
            chaos.check_that_nothing_came_late()
    except ProgramError as error:
        say(f"FAILED: {error}")
        show_logs(home, chaos)
        return 1
    except Stopped as stopped:
        forget(home)
        say("Stopped.")
        return stopped.exit_code
    forget(home)
    say(
        "Done: no sync was lost, none was run twice." + ("" if chaos.has_postgresql else " (Partly skipped.)")
    )
    return 0


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

    def faults(self) -> None:
        """Ten syncs at once; then everything goes wrong."""
        syncs = [*ON_WORKER, *IN_TRIGGERER]
        # The first of each kind is killed while the response to its request is on its way.
        for of_kind in (ON_WORKER, IN_TRIGGERER):
            held = self.census.hold(of_kind[0])
            faults = [[held], [STARTED_502], [STARTED_RESET], [BUSY, BUSY, STARTED_502]]
            self.census.plans |= dict(zip(of_kind, faults, strict=False))
        say("Ten syncs at once, five waiting on a worker, five deferred; most requests to start one go wrong")
        self.run_dag("faults")
        killed = {ON_WORKER[0], IN_TRIGGERER[0]}
        await_that("Census to have started two syncs without a response", lambda: self.census.held == killed)
        for task_id in ("on_worker", "in_triggerer"):
            pid = self.task("faults", task_id, 0)["pid"]
            say(f"  kill -9 {pid}: {task_id}[0] has started its sync and does not know it yet")
            end_at_once(task_process(pid))
        self.census.release()
        self.await_all_waiting("faults", 10)
        self.await_polls(syncs, 2)

        pid = self.task("faults", "on_worker", 4)["pid"]
        child = task_process(pid)
        worker = child.parent()
        say(f"  kill -9 {worker.pid} {pid}: on_worker[4] and the worker it runs in, in mid-wait")
        end_at_once(worker, child)

        (old,) = self.triggerers
        say("  SIGTERM to the triggerer, and a new one")
        self.triggerers[old].terminate()
        await_that("the triggerer to end", lambda: self.triggerers[old].poll() is not None)
        del self.triggerers[old]
        new = self.await_triggerer(self.launch_triggerer())
        self.await_triggers_of("faults", {new})
        self.await_polls(IN_TRIGGERER, 2)

        say(f"  {OUTAGE_IN_ALL} s without Census: 500, 502, 503, resets, HTML, no body, refused connections")
        self.outage(syncs)
        self.await_polls(syncs, 2)
        self.end(syncs)
        tasks = self.await_end("faults")
        self.check(tasks, syncs)
        retried = {name_of(task) for task in tasks if task["try_number"] > 1}
        to_be_retried = {"on_worker[0]", "on_worker[4]", "in_triggerer[0]"}
        expect(
            retried == to_be_retried,
            f"only what was killed should have been tried again, not {sorted(retried)}",
        )

    def outage(self, syncs: Sequence[int]) -> None:
        for run in self.runs(syncs):
            run.failures = 0
        parts = (self.census.outage(*OUTAGE), self.census.absence(), self.census.outage(*OUTAGE))
        for part in parts:
            with part:
                over = time.monotonic() + OUTAGE_IN_ALL / len(parts)
                wait_for("the end of the outage", lambda over=over: time.monotonic() > over)  # type: ignore[misc]
        noticed_by = [run.sync_id for run in self.runs(syncs) if run.failures]
        say(f"  Census is back; {sum(run.failures for run in self.runs(syncs))} polls failed")
        expect(set(noticed_by) >= set(syncs) - {ON_WORKER[4]}, f"the outage was only noticed by {noticed_by}")

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

    def takeover(self, second: subprocess.Popen[bytes]) -> None:
        """Two triggerers; one is frozen until it has lost its triggers, then the other is killed."""
        self.await_triggerer(second)
        say(f"Ten deferred syncs, two triggerers, {' and '.join(map(str, self.triggerers))}")
        self.run_dag("takeover")
        self.await_all_waiting("takeover", 10)
        self.await_polls(TAKEN_OVER, 2)
        share = Counter(self.triggers_of("takeover"))
        (frozen, _), *_ = share.most_common()
        (other,) = set(self.triggerers) - {frozen}
        say(f"  freezing triggerer {frozen}, which has {share[frozen]} of them")
        kill(self.triggerers[frozen], signal.SIGSTOP)  # type: ignore[index]
        self.await_triggers_of("takeover", {other})
        self.await_polls(TAKEN_OVER, 2)
        say(f"  triggerer {other} has all of them; thawing {frozen}, which takes that for the work of a user")
        kill(self.triggerers[frozen], signal.SIGCONT)  # type: ignore[index]
        await_that(
            "the thawed triggerer to give up its triggers",
            lambda: self.count_in_trigger_logs("takeover", frozen, "invoking on_kill") >= share[frozen],  # type: ignore[arg-type]
        )
        wait_for("both triggerers", lambda: {frozen, other} <= set(self.jobs("TriggererJob")))
        say(f"  kill -9 triggerer {other}, and five runs end while nobody polls")
        kill(self.triggerers.pop(other), signal.SIGKILL)
        self.end(TAKEN_OVER[:5])
        self.await_triggers_of("takeover", {frozen})  # type: ignore[arg-type]
        self.await_polls(TAKEN_OVER[5:], 2)
        self.end(TAKEN_OVER)
        tasks = self.await_end("takeover")
        self.check(tasks, TAKEN_OVER)
        retried = [name_of(task) for task in tasks if task["try_number"] > 1]
        expect(not retried, f"no task should have been tried again, not {retried}")

    def check(self, tasks: Sequence[Mapping[str, Any]], syncs: Sequence[int]) -> None:
        """What must come of any chaos: every task a success, with the one run of its own sync."""
        states = Counter(task["state"] for task in tasks)
        runs = self.runs(syncs)
        cancels = [run_id for run_id in self.census.cancels if run_id in {run.id for run in runs}]
        ends = ", ".join(f"{count} {state}" for state, count in states.items())
        say(f"  Airflow: {ends}. Census: {len(runs)} runs, {len(cancels)} cancels")
        tries = [f"{name_of(task)} {task['try_number']}" for task in tasks if task["try_number"] > 1]
        say(f"  Tries, where it took more than one: {', '.join(tries) or 'none'}")
        expect(states == {"success": len(syncs)}, "not all tasks are a success")
        expect(Counter(run.sync_id for run in runs) == Counter(syncs), f"not one run for each sync: {runs}")
        expect(not cancels, f"the runs {cancels} were cancelled")
        for task in tasks:
            path = f"{task_path(task)}/xcomEntries/return_value?map_index={task['map_index']}"
            value = int((self.airflow.get(path) or {})["value"])
            right = {run.id for run in runs if run.sync_id == sync_of(task)}
            expect(
                {value} == right,
                f"{task['task_id']}[{task['map_index']}] returned {value}, not {right}",
            )

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


def sync_of(task: Mapping[str, Any]) -> int:
    first = {
        ("faults", "on_worker"): ON_WORKER,
        ("faults", "in_triggerer"): IN_TRIGGERER,
        ("takeover", "in_triggerer"): TAKEN_OVER,
    }
    return first[task["dag_id"], task["task_id"]][task["map_index"]]  # type: ignore[no-any-return]


def name_of(task: Mapping[str, Any]) -> str:
    return f"{task['task_id']}[{task['map_index']}]"


def task_path(task: Mapping[str, Any]) -> str:
    return f"/api/v2/dags/{task['dag_id']}/dagRuns/{RUN_ID}/taskInstances/{task['task_id']}"


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ChaosError(otherwise)


def await_that(what: str, has_come: Callable[[], Any]) -> None:
    wait_for(what, has_come, LIMIT)


def task_process(pid: int) -> psutil.Process:
    process = psutil.Process(pid)
    title = " ".join(process.cmdline())
    expect(title.startswith("airflow worker"), f"{pid} is no task, but {title}")
    return process


def end_at_once(*processes: psutil.Process) -> None:
    for process in processes:
        process.kill()


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


def show_logs(home: Path, chaos: Chaos) -> None:
    """Show what a failure came from, as far as that can be told, and say where the rest is."""
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


if __name__ == "__main__":
    sys.exit(main())

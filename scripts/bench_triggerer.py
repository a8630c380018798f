# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
``make bench-triggerer``: what a thousand waits cost in a real triggerer, ours beside those of others.

A triggerer of Airflow on PostgreSQL runs the triggers of a thousand deferred tasks, first ours, then those of
the vendor's airflow-provider-census 2.1.0, dbt Cloud's and Fivetran's, each against a stand-in of its API and
with the interval that its operator has by default. The others are in a virtual environment of their own.

Arguments: the Python of that environment, and how many waits. From 2,000 on, two triggerers share them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import psycopg2
from chaos_airflow import Programs, database, postgresql_programs, shared_secrets
from demo import Stopped, forget, stop
from real_airflow import LOOPBACK, SIGNALS, ProgramError, environment, free_ports, members, say, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCRIPTS = Path(__file__).resolve().parent
KINDS = ("ours", "vendor", "dbt", "fivetran")
MEASURED = 60.0
"""Seconds that are measured while all wait."""

ENDING = 20.0
"""Seconds over which the runs end."""

POLLED, LATEST = 240.0, 180.0
"""Seconds for each thousand waits: until all have polled, and until all ends have been noticed."""

ROWS = {
    "cpu": "CPU of a wait in a minute, ms",
    "memory": "memory of a wait, KB",
    "sockets": "sockets",
    "held": "event loop held, s",
    "late": "end noticed after, mean, s",
    "latest": "end noticed after, at worst, s",
    "requests": "requests in a minute",
    "polls": "CPU of a request, ms",
}


def main() -> int:
    for number in SIGNALS:
        signal.signal(number, stop)
    others, waits = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    home = Path(tempfile.mkdtemp(prefix="census-bench-"))
    try:
        with Programs(home) as programs:
            measure_all(programs, others, waits)
    except ProgramError as error:
        say(f"FAILED: {error}; the logs are in {home}")
        return 1
    except Stopped as stopped:
        forget(home)
        return stopped.exit_code
    forget(home)
    return 0


def measure_all(programs: Programs, others: Path, waits: int) -> None:
    postgresql = postgresql_programs()
    if postgresql is None:
        raise ProgramError("PostgreSQL is not installed here; on Debian: apt-get install postgresql")
    (port,) = free_ports(1)
    programs.env = environment(port, programs.home, SCRIPTS / "bench_triggerer_dags")
    programs.env |= {**shared_secrets(), **database(programs, postgresql)}
    server = [sys.executable, str(SCRIPTS / "bench_triggerer_server.py")]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as api:
        try:
            assert api.stdout is not None
            where = f"{LOOPBACK}:{int(api.stdout.readline())}"
            programs.env |= settings(where, waits)
            programs.run("migrate", ["airflow", "db", "migrate"])
            programs.run("dags", ["airflow", "dags", "reserialize"])
            results: dict[str, dict[str, float]] = {}
            for kind in KINDS:
                try:
                    results[kind] = measure(
                        programs, where, kind, sys.executable if kind == "ours" else str(others), waits
                    )
                except ProgramError as error:
                    if kind == "ours":  # what the others are compared with
                        raise
                    say(f"  *** NOT MEASURED: {kind}: {error}")
                else:
                    # Five thousand waits may take an hour, and somebody may have only half of it.
                    say(table(results, waits))
        finally:
            api.kill()


def settings(where: str, waits: int) -> dict[str, str]:
    census = {"conn_type": "census", "host": f"http://{where}", "password": "secret-token:bench"}
    return {
        "AIRFLOW_CONN_CENSUS_DEFAULT": json.dumps(census),
        "AIRFLOW_CONN_DBT": json.dumps({"conn_type": "dbt_cloud", "host": "here", "password": "x"}),
        "AIRFLOW_CONN_FIVETRAN": json.dumps({"conn_type": "fivetran", "login": "x", "password": "x"}),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__TRIGGERER__CAPACITY": str(waits),
        "BENCH_API": where,
    }


def ask(where: str, path: str) -> Any:
    with urlopen(f"http://{where}{path}", timeout=30) as response:
        return json.load(response)


def query(programs: Programs, text: str, *values: Any) -> list[Any]:
    folder = str(programs.home / "postgresql")
    connection = psycopg2.connect(host=folder, user="airflow", dbname="postgres")
    try:
        with connection.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall())
    finally:
        connection.close()


def usage(triggerers: Sequence[subprocess.Popen[bytes]]) -> dict[str, float]:
    """CPU seconds, KB of memory and sockets to the API, of triggerers with all their processes."""
    found = {"cpu": 0.0, "memory": 0.0}
    for process in [each for triggerer in triggerers for each in members(triggerer.pid)]:
        times = process.cpu_times()
        found["cpu"] += times.user + times.system
        found["memory"] += process.memory_info().rss / 1024
    return found


def sockets(where: str, triggerers: Sequence[subprocess.Popen[bytes]]) -> int:
    port = int(where.rpartition(":")[2])
    processes = [each for triggerer in triggerers for each in members(triggerer.pid)]
    return sum(
        bool(each.raddr) and each.raddr.port == port and each.status == "ESTABLISHED"
        for process in processes
        for each in process.net_connections("tcp")
    )


def measure(programs: Programs, where: str, kind: str, python: str, waits: int) -> dict[str, float]:
    """Run a thousand waits of one kind to their end."""
    say(f"{kind}: {waits} waits")
    ask(where, "/reset")
    env = dict(programs.env)
    path = [str(SCRIPTS)] + ([str(SCRIPTS.parent)] if kind == "ours" else [])
    programs.env |= {
        "PATH": f"{Path(python).parent}{os.pathsep}{env['PATH']}",
        "PYTHONPATH": os.pathsep.join(path),
    }
    log = programs.home / f"triggerer-{kind}.log"
    triggerers = []
    try:
        airflow = str(Path(python).parent / "airflow")
        for _ in range(1 if waits < 2000 else 2):
            triggerers.append(
                programs.start(log.stem, [airflow, "triggerer", "--skip-serve-logs"], cwd=programs.home)
            )
        alive = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
        wait_for("the triggerer", lambda: query(programs, alive)[0][0] >= len(triggerers), 120)
        time.sleep(10.0)
        empty = usage(triggerers)["memory"]
        rows = [python, str(SCRIPTS / "bench_triggerer_rows.py"), kind, str(waits)]
        programs.run(f"rows-{kind}", rows, cwd=programs.home)
        thousands = max(1.0, waits / 1000)
        polled = POLLED * thousands
        wait_for("all waits to poll", lambda: ask(where, "/counts")["polled"] >= waits, polled)
        ask(where, "/counts")
        before, begun = usage(triggerers), time.monotonic()
        most = 0
        while time.monotonic() - begun < MEASURED:
            time.sleep(5.0)
            most = max(most, sockets(where, triggerers))
        after, minutes = usage(triggerers), (time.monotonic() - begun) / 60
        requests = ask(where, "/counts")["requests"]
        first, step = time.time() + 1.0, ENDING / waits
        ask(where, f"/end/{first}/{step}")
        left = "SELECT count(*) FROM task_instance WHERE run_id = %s AND state = 'deferred'"
        latest = ENDING + LATEST * thousands
        wait_for("all ends to be noticed", lambda: query(programs, left, kind)[0][0] == 0, latest)
        noticed = query(
            programs,
            "SELECT map_index, extract(epoch FROM updated_at) FROM task_instance "
            "WHERE run_id = %s AND map_index >= 0",
            kind,
        )
        late = [float(at) - (first + step * index) for index, at in noticed]
        held = re.findall(r"blocked for ([0-9.]+) seconds", log.read_text(errors="replace"))
        return {
            "cpu": 1000 * (after["cpu"] - before["cpu"]) / waits / minutes,
            "memory": (after["memory"] - empty) / waits,
            "sockets": most,
            "held": sum(map(float, held)),
            "late": sum(late) / len(late),
            "latest": max(late),
            "requests": requests / minutes,
            "polls": 1000 * (after["cpu"] - before["cpu"]) / max(1, requests),
        }
    finally:
        for triggerer in triggerers:
            for process in members(triggerer.pid):
                process.kill()
            triggerer.wait()
        programs.env = env
        clean = psycopg2.connect(host=str(programs.home / "postgresql"), user="airflow", dbname="postgres")
        with clean, clean.cursor() as cursor:
            cursor.execute("UPDATE job SET end_date = now(), state = 'failed' WHERE end_date IS NULL")
            cursor.execute(
                "UPDATE task_instance SET trigger_id = NULL, state = 'failed' WHERE state = 'deferred'"
            )
        clean.close()


def table(results: Mapping[str, Mapping[str, float]], waits: int) -> str:
    """Write down the ratios of each to ours."""
    names = [kind for kind in KINDS if kind in results]
    lines = [f"{waits} waits; ratio to ours", f"{'':34}" + "".join(f"{name:>12}" for name in names)]
    for key, title in ROWS.items():
        own = results["ours"][key]
        cells = [
            f"{results[name][key] / own:12.2f}" if own else f"{results[name][key]:12.2f}" for name in names
        ]
        lines.append(f"{title:34}" + "".join(cells) + f"   (ours: {own:.2f})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

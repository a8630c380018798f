# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A real Airflow that lives in one directory, for the demo, the chaos and the tests in a browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import psutil  # comes with Airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOOPBACK = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Seconds.
START_LIMIT = 400
STOP_LIMIT = 20

began = time.monotonic()


class ProgramError(Exception):
    """Why what was started did not come to a good end."""


@dataclass
class Airflow:
    """A running ``airflow standalone`` and its REST API."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    token: str = ""

    def has_logged(self, text: str) -> bool:
        self.check()
        return text in self.log.read_text(errors="replace")

    def check(self) -> None:
        if self.process.poll() is not None:
            raise ProgramError(f"Airflow ended by itself with exit code {self.process.returncode}.")

    def get(self, path: str) -> Any:
        """What is at a path; None if there is nothing, or nobody to ask yet."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        self.check()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = Request(self.url + path, data, headers, method=method)
        try:
            # A proxy, if one is set, could not reach this machine's loopback.
            with build_opener(ProxyHandler({})).open(request, timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            if error.code == 404:
                return None
            answer = error.read().decode(errors="replace")
            raise ProgramError(f"Airflow answered {method} {path} with {error.code}: {answer}") from None
        except (URLError, ConnectionError, TimeoutError):
            return None


def environment(port: int, home: Path, dags: Path) -> dict[str, str]:
    """What tells an Airflow to live in ``home`` alone; of another one's settings it knows nothing."""
    url = f"http://{LOOPBACK}:{port}"
    inherited = {
        name: value
        for name, value in os.environ.items()
        # Nor of the measuring of the tests' coverage, which would take it twice the time.
        if not name.startswith(("AIRFLOW_", "_AIRFLOW_", "COVERAGE_")) and name != "CENSUS_API_TOKEN"
    }
    no_proxy = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), LOOPBACK]))
    return inherited | {
        # Airflow starts its parts by the name "airflow".
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }


@contextmanager
def standalone(home: Path, dags: Path, settings: Mapping[str, str]) -> Iterator[Airflow]:
    """
    Keep an Airflow 3 up, with everything it consists of.

    :param home: the directory in which it lives.
    :param dags: its DAGs folder.
    :param settings: more of its environment.
    :raises ProgramError: if it does not come up.
    """
    port, *log_ports = free_ports(3)
    env = environment(port, home, dags) | {
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[0]),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[1]),
        **settings,
    }
    log = home / "airflow.log"
    with program(["airflow", "standalone"], env, log) as process:
        airflow = Airflow(f"http://{LOOPBACK}:{port}", process, log)

        def healthy() -> bool:
            try:
                health = airflow.get("/api/v2/monitor/health") or {}
            except ProgramError:  # Airflow 3.0 answers 500 for a while
                airflow.check()
                return False
            parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
            return all(health.get(part, {}).get("status") == "healthy" for part in parts)

        wait_for("Airflow's database", lambda: airflow.has_logged("Database ready"))
        say("Its database is made; waiting for all parts to be healthy")
        wait_for("Airflow", healthy)
        # The first request makes the API that tasks talk to, and holds the server meanwhile: on a busy
        # machine for longer than a task would wait.
        wait_for("the API of the tasks", lambda: airflow.get("/execution/health") is not None)
        airflow.token = airflow.get("/auth/token")["access_token"]
        yield airflow


@contextmanager
def program(command: list[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a program up, in a session of its own, and leave nothing of that session."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with undisturbed():
            end_session(process)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Be deaf to Ctrl-C and its like."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """
    End a program and everything it started.

    The program is asked first, as by Ctrl-C, to end and collect its own; then all that is left of its
    session is told to. (Of the session, not of the process group: Airflow gives every task its own group.)
    """
    leader.send_signal(signal.SIGINT)
    if is_gone(leader):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in members(leader.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if is_gone(leader):
            return


def is_gone(leader: subprocess.Popen[bytes]) -> bool:
    """Wait for the end of a whole session, up to a limit."""
    deadline = time.monotonic() + STOP_LIMIT
    while leader.poll() is None or members(leader.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def members(session: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(OSError):
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        # All held at once, so that no two are the same.
        held = [sockets.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]


def wait_for(what: str, has_come: Callable[[], bool], limit: float | None = START_LIMIT) -> None:
    began_waiting = time.monotonic()
    while not has_come():
        if limit is not None and time.monotonic() - began_waiting > limit:
            raise ProgramError(f"{what} did not come within {limit:.0f} seconds.")
        time.sleep(0.5)


def say(text: str) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

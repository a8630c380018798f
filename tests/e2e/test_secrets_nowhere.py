# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Neither the token nor what is in records lies anywhere in an Airflow that has met every kind of fault."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import airflow
import psutil
import pytest
from hostile import ROWS
from leaks import RECORD, SAID, TOKEN, found_in
from stand_in import Fault, Received, Server, data, response, sends

if airflow.__version__.startswith("2."):
    pytest.skip("it needs an Airflow 3", allow_module_level=True)

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from cryptography.fernet import Fernet
from real_airflow import Airflow, standalone, wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow

FAULTS = list(ROWS.values())
WAITS = {"worker": (1, 3, 5), "triggerer": (2, 4)}
"""The syncs whose runs are waited for there; each wait meets its share of the faults."""

FAILS, REJECTS, REFUSED = {3, 4}, {5}, {6, 7}

ASKED = {"worker": 1000, "triggerer": 2000}
"""From which sync, or run, on each meets its fault once, over the transport of that place."""

DAG = f"""
import asyncio
import logging
from datetime import datetime

from airflow.sdk import DAG, task
from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

NUMBERS = [*range({len(FAULTS)})] * 2  # again, for on a busy machine a request may not even be sent in time

def report(error):
    logging.getLogger("airflow.task").error("%r", error, exc_info=error)

with DAG("secrets", schedule=None, start_date=datetime(2024, 1, 1)):
    for sync_id in range(1, 8):
        sync = CensusTriggerSyncOperator(
            task_id=f"sync_{{sync_id}}", sync_id=sync_id, wait_for_completion=True, poll_interval=1,
            deferrable=sync_id in (2, 4, 7),
        )
        if sync_id == 1:
            sync >> CensusSyncRunSensor(task_id="sensor", sync_run_id=sync.output, poke_interval=1)

    @task
    def worker():
        hook = CensusHook("census_impatient")
        for number in NUMBERS:
            for operation in (hook.trigger_sync, hook.cancel_sync_run):
                try:
                    operation({ASKED["worker"]} + number)
                except CensusError as error:
                    report(error)

    @task
    def triggerer():
        async def ask():
            async with CensusHook("census_impatient").aopen() as transport:
                for number in NUMBERS:
                    for operation in (endpoints.trigger_sync, endpoints.cancel_sync_run):
                        try:
                            await transport.send(operation({ASKED["triggerer"]} + number))
                        except CensusError as error:
                            report(error)

        asyncio.run(ask())

    worker()
    triggerer()
"""

LIBRARIES = ("urllib3.connectionpool", "aiohttp.client", "aiohttp.internal", "asyncio")

LOCAL_SETTINGS = f"""
import logging
from airflow_provider_census.api import retries, triggering
from airflow_provider_census.api.polling import WaitOptions

def interval(*_, **__):
    for name in {LIBRARIES}:
        logging.getLogger(name).debug("%s is at DEBUG", name)
    return 0.05

retries.backoff = lambda *_, **__: 0.0
triggering.SEARCH_ATTEMPTS = 2
WaitOptions.interval = interval
"""
"""Every process of Airflow reads this: nobody waits for long, and libraries say that they are at DEBUG."""

RUN = re.compile("/sync_runs/[0-9]+")


class Census(Server):
    """Repeats the token wherever it can, and lets its requests meet every fault; notes which did."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[tuple[str, str]] = Counter()
        self.met: dict[tuple[str, str], set[int]] = {}

    def respond(self, request: Received) -> tuple[bytes, Fault | None]:
        path = request.target.partition("?")[0].removeprefix("/api/v1")
        number = int(re.sub(r"\D", "", path) or 0)
        # Of the two, only aiohttp leaves it to HTTP/1.1 that a connection is kept.
        place = "worker" if "connection" in request.headers else "triggerer"
        with self.lock:
            self.asked[path, place] += 1
            right, fault = self._right(path, number), self._fault(path, number, place)
            if fault is not None:
                operation = path.rpartition("/")[2] if number >= 1000 else "run"
                self.met.setdefault((place, operation), set()).add(fault)
        if isinstance(right, Fault):
            return b"", right
        return right, None if fault is None else FAULTS[fault].fault(executed=True)

    def _fault(self, path: str, number: int, place: str) -> int | None:
        """Choose what a request meets: every other poll of a run something, or they would get rare."""
        asked = self.asked[path, place]
        if number >= 1000:
            return number % 1000 if asked == 1 and path.endswith(("trigger", "cancel")) else None
        waits = WAITS[place]
        if number not in waits or asked % 2 or not RUN.fullmatch(path):
            return None
        fault = waits.index(number) + len(waits) * (asked // 2 - 1)
        return fault if fault < len(FAULTS) else None

    def _right(self, path: str, number: int) -> bytes | Fault:
        if path.endswith("/trigger"):
            if number in REFUSED:
                return response({"message": SAID}, 401, Connection="close")
            return data({"sync_run_id": number}, Connection="close")
        if path.endswith("/cancel"):
            return response({"status": "cancelled", "message": SAID}, Connection="close")
        if path.endswith("/records"):
            reason = {"record_id": "7", "status": "rejected", "status_reason": f"no {TOKEN}"}
            records = data([reason | {"record_payload": RECORD}])
            return records if self.asked[path, "worker"] == 1 else sends(records[:-2])
        if RUN.fullmatch(path):
            return self._run(path, number)
        if re.fullmatch("/syncs/[0-9]+", path):
            return data({"id": number, "label": f"Sync {SAID}", "source_attributes": {"message": SAID}})
        return data([])

    def _run(self, path: str, number: int) -> bytes:
        run = {"id": number, "sync_id": number, "status": "working", "current_step": SAID}
        if any(
            number in waits and self.asked[path, place] > 2 * len(FAULTS) / len(waits) + 2
            for place, waits in WAITS.items()
        ):
            run |= (
                {"status": "failed", "error_message": SAID, "error_detail": SAID}
                if number in FAILS
                else {"status": "completed"}
            )
            run |= {"records_failed": 1, "records_invalid": 1} if number in REJECTS else {}
        return data(run, Connection="close")


def triggers(home: Path, fernet: Fernet) -> str:
    """What the rows of triggers hold just now."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(home / "airflow.db")) as db:
        rows = db.execute("select classpath, kwargs from trigger").fetchall()
        encrypted = {kwargs for _, kwargs in rows if not kwargs.startswith("{")}  # as in some releases
        plain = {kwargs: fernet.decrypt(kwargs.encode()).decode() for kwargs in encrypted}
        return "\n".join(f"{path} {plain.get(kwargs, kwargs)}" for path, kwargs in rows)
    return ""


def arguments(airflow: Airflow) -> str:
    """With which arguments all processes of an Airflow were started."""
    lines = []
    for process in psutil.Process(airflow.process.pid).children(recursive=True):
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return "\n".join(lines)


def test_no_secret_is_anywhere(tmp_path: Path) -> None:
    home, dags = tmp_path / "home", tmp_path / "dags"
    home.mkdir()
    dags.mkdir()
    (home / "config").mkdir()
    (home / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS)
    (dags / "secrets_dag.py").write_text(DAG)
    key = Fernet.generate_key()
    seen_triggers: set[str] = set()
    seen_arguments: set[str] = set()
    with Census() as census:
        conn, impatient = (
            {
                "conn_type": "census",
                "host": census.url,
                "password": TOKEN,
                "extra": {"attempts": 1, "timeout": timeout},
            }
            for timeout in (1.0, 0.3)
        )
        lineage = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
        settings = {
            "AIRFLOW_CONN_CENSUS_DEFAULT": json.dumps(conn),
            "AIRFLOW_CONN_CENSUS_IMPATIENT": json.dumps(impatient),
            "AIRFLOW__CORE__FERNET_KEY": key.decode(),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "urllib3=DEBUG aiohttp=DEBUG asyncio=DEBUG",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        }
        with standalone(home, dags, settings) as airflow:
            path = "/api/v2/dags/secrets"
            wait_for("the DAG", lambda: airflow.get(path) is not None)
            run = {"dag_run_id": "run", "logical_date": None}
            wait_for("a DAG run", lambda: airflow.send("POST", f"{path}/dagRuns", run) is not None)

            def has_ended() -> bool:
                seen_triggers.add(triggers(home, Fernet(key)))
                seen_arguments.add(arguments(airflow))
                state = (airflow.get(f"{path}/dagRuns/run") or {}).get("state")
                return state in {"success", "failed"}

            wait_for("the end of the DAG run", has_ended)
            tasks = airflow.get(f"{path}/dagRuns/run/taskInstances")["task_instances"]
    states = {task["task_id"]: task["state"] for task in tasks}
    good = {"sync_1", "sensor", "sync_2", "sync_5", "worker", "triggerer"}
    assert states == {name: "success" if name in good else "failed" for name in states}
    everything = set(range(len(FAULTS)))
    for place in ("worker", "triggerer"):
        for operation in ("run", "trigger", "cancel"):
            assert everything - census.met[place, operation] == set()
    assert "CensusSyncRunTrigger" in "".join(seen_triggers)
    assert "airflow" in "".join(seen_arguments)
    places = {"triggers": "\n".join(seen_triggers).encode(), "arguments": "\n".join(seen_arguments).encode()}
    files = (file for file in home.rglob("*") if file.is_file() and not file.is_symlink())
    places |= {str(file.relative_to(home)): file.read_bytes() for file in files}
    assert {place: found for place, text in places.items() if (found := found_in(text))} == {}
    # Airflow 3.0 writes no line of a library at DEBUG into the log of a task or a trigger.
    libraries = LIBRARIES if AIRFLOW_V_3_1_PLUS or not AIRFLOW_V_3_0_PLUS else ()
    at_debug = [f"{name} is at DEBUG".encode() for name in libraries]
    for name, held in {
        "airflow.db": (b"secrets_dag.py", b"sync_run_summary", b"***"),
        "lineage.jsonl": (b"COMPLETE",),
        ".trigger.": at_debug,
        "task_id=sync_1": at_debug,
        "task_id=sync_5": (b"rejected: 1 \xc3\x97 rejected", b"Which records were invalid"),
        "": (b"urllib3.connectionpool", b"HTTP 500", b"***"),
    }.items():
        text = b"".join(text for place, text in places.items() if name in place)
        assert [each for each in held if each not in text] == [], "there is what could hold them"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Neither the token nor what is in records lies anywhere in an Airflow that has met every kind of fault."""

from __future__ import annotations

import base64
import html
import json
import re
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import airflow
import psutil
import pytest
from stand_in import RESET, RESET_IN_BODY, Fault, Received, Server, data, response, says

if airflow.__version__.startswith("2."):
    pytest.skip("it needs an Airflow 3", allow_module_level=True)

from cryptography.fernet import Fernet
from real_airflow import Airflow, standalone, wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow

TOKEN = 'secret-token:Zk4/vB7+qH2=mT9"xW5\\cR8&jL3'
RECORD = {"email": "ada@records.test", "phone": "+1 555 0147", "note": "owes 4711 crowns"}

DAG = """
from datetime import datetime
from airflow.sdk import DAG
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor

with DAG("secrets", schedule=None, start_date=datetime(2024, 1, 1)):
    for sync_id, options in {
        1: {}, 2: {"deferrable": True}, 3: {}, 4: {"deferrable": True}, 5: {"log_rejected_records": 5},
        6: {}, 7: {"deferrable": True},
    }.items():
        sync = CensusTriggerSyncOperator(
            task_id=f"sync_{sync_id}", sync_id=sync_id, wait_for_completion=True, poll_interval=1, **options
        )
        if sync_id == 1:
            sync >> CensusSyncRunSensor(task_id="sensor", sync_run_id=sync.output, poke_interval=1)
"""

FAILS, REJECTS, REFUSED = {3, 4}, {5}, {6, 7}


def encodings(secret: str) -> set[bytes]:
    """A text as it is, and as what stores or sends it may write it."""
    plain = {secret, quote(secret, safe=""), quote(secret), html.escape(secret), json.dumps(secret)[1:-1]}
    plain |= {json.dumps(each)[1:-1] for each in plain} | {repr(each)[1:-1] for each in plain}
    found = {each.encode() for each in plain}
    for before in ("", "x", "Bearer ", ":"):
        encoded = base64.b64encode((before + secret).encode())
        whole = encoded[4 * ((len(before) + 2) // 3) : -4]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


SECRETS = {form: secret for secret in (TOKEN, *RECORD.values()) for form in encodings(secret)}
TAIL = TOKEN.rpartition("&")[2].encode()
"""The end of the token, which no encoding but base64 changes."""


def quoting() -> dict[str, Any]:
    """What Census may say of a token, in each of its texts."""
    said = f"{TOKEN} | Bearer {TOKEN} | {quote(TOKEN, safe='')} | {html.escape(TOKEN)}"
    return {"message": f"{said} | {base64.b64encode(f'Bearer {TOKEN}'.encode()).decode()}"}


class Census(Server):
    """Quotes the token wherever it can; each run is met by every fault first."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked: Counter[str] = Counter()
        said = quoting()
        text = json.dumps(said).encode()
        self.faults: list[bytes | Fault] = [
            response(said, 503, Retry_After="0"),
            response(said, 500),
            RESET_IN_BODY,
            says(502, text),
            RESET,
            response(text + b"!"),
            response(said, 302, Location=f"http://{quote(TOKEN, safe='')}@elsewhere.test/"),
            response(text, Content_Encoding="gzip"),
            says(429, text, Retry_After="0", X_Token=quote(TOKEN)),
        ]

    def _answer(self, request: Received) -> bytes | Fault:
        path = request.target.partition("?")[0].removeprefix("/api/v1")
        number = int(re.sub(r"\D", "", path) or 0)
        with self.lock:
            self.asked[path] += 1
            asked = self.asked[path]
        if path.endswith("/trigger"):
            return (
                says(401, json.dumps(quoting()).encode())
                if number in REFUSED
                else data({"sync_run_id": number})
            )
        if path.endswith("/records"):
            return data(
                [
                    {
                        "record_id": "7",
                        "status": "rejected",
                        "status_reason": f"no {TOKEN}",
                        "record_payload": RECORD,
                    }
                ]
            )
        if re.fullmatch("/sync_runs/[0-9]+", path):
            return self._run(number, asked)
        if re.fullmatch("/syncs/[0-9]+", path):
            return data({"id": number, "label": f"Sync {TOKEN}", "source_attributes": quoting()})
        return data([])

    def _run(self, number: int, asked: int) -> bytes | Fault:
        if asked <= 2 * len(self.faults) and asked % 2:  # every other poll, or they would get rare
            # Each of those that wait in the triggerer meets others first, while it is on its worker.
            return self.faults[(asked // 2 + 2 * number) % len(self.faults)]
        said = quoting()["message"]
        run = {"id": number, "sync_id": number, "status": "working", "current_step": said}
        if asked > 2 * len(self.faults):
            run |= (
                {"status": "failed", "error_message": said, "error_detail": said}
                if number in FAILS
                else {"status": "completed"}
            )
            run |= {"records_failed": 1} if number in REJECTS else {}
        return data(run)


def found_in(text: bytes) -> list[str]:
    return [form.decode() for form in (*SECRETS, TAIL) if form in text]


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
    (dags / "secrets_dag.py").write_text(DAG)
    key = Fernet.generate_key()
    seen_triggers: set[str] = set()
    seen_arguments: set[str] = set()
    with Census() as census:
        conn = {"conn_type": "census", "host": census.url, "password": TOKEN, "extra": {"attempts": 2}}
        lineage = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
        settings = {
            "AIRFLOW_CONN_CENSUS_DEFAULT": json.dumps(conn),
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
    good = {"sync_1", "sensor", "sync_2", "sync_5"}
    assert states == {name: "success" if name in good else "failed" for name in states}
    assert "CensusSyncRunTrigger" in "".join(seen_triggers)
    assert "airflow" in "".join(seen_arguments)
    places = {"triggers": "\n".join(seen_triggers).encode(), "arguments": "\n".join(seen_arguments).encode()}
    files = (file for file in home.rglob("*") if file.is_file() and not file.is_symlink())
    places |= {str(file.relative_to(home)): file.read_bytes() for file in files}
    for name, held in {
        "airflow.db": (b"secrets_dag.py", b"sync_run_summary", b"***"),
        "lineage.jsonl": (b"COMPLETE",),
        "": (b"urllib3.connectionpool", b"HTTP 503", b"***"),
    }.items():
        text = b"".join(text for place, text in places.items() if name in place)
        assert all(each in text for each in held), "there is what could hold them"
    assert {place: found for place, text in places.items() if (found := found_in(text))} == {}

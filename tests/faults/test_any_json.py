# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Whatever JSON Census sends of a run, its status decides the task, and what the task stores is stored."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from chaos_airflow import Programs, database, postgresql_programs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stand_in import Received, Server, data
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import TaskInstance, context

from airflow_provider_census.api.types import SyncRun
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunSkipped,
)
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERDICTS: dict[str, type[CensusSyncRunError] | None] = {
    "completed": None,
    "failed": CensusSyncRunFailed,
    "cancelled": CensusSyncRunCanceled,
    "skipped": CensusSyncRunSkipped,
}
STATUSES = sorted(VERDICTS)
DECISIVE = {"id", "sync_id", "status", "canceled"}

characters = st.characters() | st.sampled_from(["\0", "\ud83d", "\ude00", "\x1b", "\n", "\u2028"])
texts = st.text(characters, max_size=12)
numbers = st.integers() | st.integers(2**62, 2**70) | st.floats()
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
fields = st.sampled_from(sorted(set(SyncRun.__annotations__) - DECISIVE)) | texts.filter(
    lambda name: name not in DECISIVE
)
odd_runs = st.dictionaries(fields, values, max_size=6)

DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def store(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], None]]:
    """Store a value as Airflow's columns do, on one kind of database."""
    if request.param == "SQLite":
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("CREATE TABLE xcom (value JSON)")
            yield lambda value: connection.execute(  # type: ignore[misc]
                "INSERT INTO xcom VALUES (json(?))", [json.dumps(value, allow_nan=False)]
            )
        return
    if (programs := postgresql_programs()) is None:
        pytest.skip("PostgreSQL is not installed here")
    import psycopg2

    # Not in a directory of pytest's, which is closed to the user that PostgreSQL runs as.
    with TemporaryDirectory() as home, Programs(Path(home), dict(os.environ)) as running:
        where = database(running, programs)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        connection = psycopg2.connect(where.replace("+psycopg2", ""))
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE xcom (value JSONB)")
            yield lambda value: cursor.execute(
                "INSERT INTO xcom VALUES (%s)", [json.dumps(value, allow_nan=False)]
            )


class Storing(TaskInstance):
    """A task instance whose XComs go to a database."""

    def xcom_push(self, key: str, value: Any) -> None:
        try:
            self.store(value)
        except Exception as error:
            self.lost.append((key, error))
            raise
        super().xcom_push(key, value)


class OddCensus(Server):
    """Has one run, with whatever fields."""

    run: dict[str, Any]

    def respond(self, request: Received) -> tuple[bytes, None]:
        if request.target.endswith("/trigger"):
            return data({"sync_run_id": 94}), None
        return data([] if "/syncs/" in request.target else self.run), None


@pytest.fixture(scope="module")
def odd_census() -> Iterator[OddCensus]:
    with OddCensus() as census:
        yield census


@pytest.fixture
def _connected(odd_census: OddCensus, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"census://:token@127.0.0.1:{odd_census.port}/http"
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uri)


def verdict(execute: Callable[[], Any], store: Callable[[Any], None]) -> type[CensusSyncRunError] | None:
    """How a task ends; the text of its error can be stored, too."""
    try:
        execute()
    except CensusSyncRunError as error:
        store(str(error))
        store(error.sync_run)
        (kind,) = {type(error), *type(error).__bases__} & {*VERDICTS.values()}
        return kind
    return None


@pytest.mark.usefixtures("_connected")
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(status="completed", odd={"error_detail": "custom field \ud83d"})
@example(status="failed", odd={"error_message": "custom field \ud83d", "error_code": "\0"})
@example(status="failed", odd={"error_message": {"a": ["\0"]}, "records_failed": float("nan")})
@example(status="completed", odd={"records_failed": 10**400, "records_updated": 2**63})
@example(status="completed", odd={"source_record_count": float("inf"), "sync_trigger_reason": DEEP})
@example(status="skipped", odd={"created_at": "\ud83d", "updated_at": -(10**30), "completed_at": {}})
@given(status=st.sampled_from(STATUSES), odd=odd_runs)
def test_the_status_decides_and_everything_is_stored(
    odd_census: OddCensus, store: Callable[[Any], None], status: str, odd: dict[str, Any]
) -> None:
    odd_census.run = {**odd, "id": 94, "sync_id": 52, "status": status}
    lost: list[Any] = []
    known = context(Storing(store=store, lost=lost))
    operator = CensusTriggerSyncOperator(task_id="task", sync_id=52, wait_for_completion=True)
    sensor = CensusSyncRunSensor(task_id="task", sync_run_id=94)
    for task in (operator, sensor):
        assert verdict(lambda task=task: task.execute(known), store) is VERDICTS[status]  # type: ignore[misc]
    assert lost == []

    async def events() -> list[Any]:
        return [event.payload async for event in CensusSyncRunTrigger(94).run()]

    (payload,) = asyncio.run(events())
    assert payload["event"] == "ended"
    store(payload)

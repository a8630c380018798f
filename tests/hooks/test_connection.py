# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The one way to a connection: on a worker, on an event loop, for the Test button and in ``dag.test()``."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook, Connection
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import PACE, advance_clock_with_polls

from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import CensusConfigError
from airflow_provider_census.hooks import connection
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = endpoints.list_sources()
HOUSE: list[Sandbox] = []
"""The Census of those who keep connections in a place of their own."""


def of_the_house() -> Any:
    [census] = HOUSE
    return Connection(conn_id="any", conn_type="house", host=census.url, password=census.token)


class House(CensusHook):
    """Replaces the class method, as it is in Airflow."""

    conn_type = "house"

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Give the connection of the house."""
        return of_the_house()


class OnObjects(CensusHook):
    """Replaces it by a method of objects."""

    conn_type = "house"

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override] # as some do
        """Give the connection of the house."""
        return of_the_house()


class OnLoops(CensusHook):
    """Replaces what Airflow has for event loops, from 3.1 on, and nothing else."""

    conn_type = "house"

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Any:
        """Give the connection of the house."""
        await asyncio.sleep(0)
        return of_the_house()


class OnBoth(OnLoops):
    """Replaces both."""

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override] # as some do
        """Give the connection of the house."""
        return of_the_house()


class Inherits(OnBoth):
    """Replaces none, but a parent does."""


WAYS = [House, OnObjects, OnLoops, OnBoth, Inherits]


@pytest.fixture
def house() -> Iterator[Sandbox]:
    with Sandbox(pace=PACE) as sandbox:
        advance_clock_with_polls(sandbox)
        HOUSE.append(sandbox)
        yield sandbox
        HOUSE.clear()


def on_a_worker(hook: CensusHook) -> None:
    hook.run(GET)


def on_a_loop(hook: CensusHook) -> None:
    asyncio.run(hook.arun(GET))


def by_the_button(hook: CensusHook) -> None:
    works, message = hook.test_connection()
    assert works, message


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("ask", [on_a_worker, on_a_loop, by_the_button])
def test_a_way_of_ones_own_is_taken_everywhere(
    census: Sandbox, house: Sandbox, kind: type[CensusHook], ask: Callable[[CensusHook], None]
) -> None:
    ask(kind())
    assert (len(census.requests), len(house.requests)) == (0, 1)
    ask(CensusHook())
    assert (len(census.requests), len(house.requests)) == (1, 1)


@pytest.mark.parametrize(("kind", "own"), [(CensusHook, False), *[(kind, True) for kind in WAYS]])
def test_who_has_a_way_of_ones_own(kind: type[CensusHook], own: bool) -> None:
    assert connection.overrides_get_connection(kind) is own


class TriggersInTheHouse(CensusTriggerSyncOperator):
    """An operator of the house."""

    kind: type[CensusHook] = House

    @cached_property
    def hook(self) -> CensusHook:
        """The hook of the house."""
        return self.kind(self.census_conn_id)


@pytest.mark.airflow
@pytest.mark.parametrize("kind", WAYS)
def test_a_deferred_task_goes_the_way_of_its_hook(
    census: Sandbox,
    house: Sandbox,
    run_task: Callable[..., Any],
    triggers_run: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[CensusHook],
) -> None:
    monkeypatch.setattr(TriggersInTheHouse, "kind", kind)
    done = run_task(TriggersInTheHouse, sync_id=52, wait_for_completion=True, deferrable=True)
    assert done.state == "success"
    assert len(triggers_run) == 1
    assert census.requests == []
    assert len(house.triggers) == 1


def test_a_hook_that_the_triggerer_does_not_have_ends_the_wait_at_once() -> None:
    async def event() -> Any:
        return (await anext(CensusSyncRunTrigger(94, hook_class="no_such_house:Hook").run())).payload

    payload = asyncio.run(event())
    assert payload["event"] == "error"
    assert payload["message"].startswith(
        "The triggerer cannot import no_such_house:Hook, the hook of the task"
    )


def test_a_trigger_names_no_hook_but_one_with_a_way_of_its_own() -> None:
    class Chatty(CensusHook):
        """Changes something else."""

    for hook in (CensusHook(), Chatty()):
        assert "hook_class" not in CensusSyncRunTrigger(94).connect_as(hook).serialize()[1]
    trigger = CensusSyncRunTrigger(94).connect_as(House())
    again = CensusSyncRunTrigger(**trigger.serialize()[1])
    assert type(again.hook) is House
    assert again.serialize() == trigger.serialize()


@pytest.mark.airflow
def test_dag_test_finds_a_connection_of_the_database(
    census: Sandbox,
    airflow_db: str,
    run_task: Callable[..., Any],
    triggers_run: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = ["connections", "add", "of_dag_test", "--conn-type", "census", "--conn-host", census.url]
    added = subprocess.run(
        [sys.executable, "-m", "airflow", *add, "--conn-password", census.token],
        capture_output=True,
        text=True,
        check=False,
    )
    assert added.returncode == 0, added.stderr
    monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")
    arguments = {"sync_id": 52, "wait_for_completion": True, "deferrable": True}
    done = run_task(CensusTriggerSyncOperator, census_conn_id="of_dag_test", **arguments)
    assert done.state == "success"
    assert len(triggers_run) == 1


@pytest.mark.parametrize("ask", [on_a_worker, on_a_loop])
def test_a_connection_of_another_type_is_refused(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[CensusHook], None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://AKIA:my-aws-secret@127.0.0.1:1/http")
    hook = CensusHook("aws_default")
    with pytest.raises(
        CensusConfigError, match="aws_default cannot be used: field 'conn_type' must be census"
    ):
        ask(hook)
    works, message = hook.test_connection()
    assert not works
    assert "field 'conn_type'" in message
    assert "my-aws-secret" not in message


@pytest.mark.parametrize("uri", ["//:{token}@{host}/http", '{{"host": "{url}", "password": "{token}"}}'])
def test_a_connection_that_says_no_type_is_one_of_census(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    written = uri.format(token=census.token, url=census.url, host=census.url.removeprefix("http://"))
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", written)
    on_a_worker(CensusHook())


@pytest.mark.parametrize("ask", [on_a_worker, on_a_loop, by_the_button])
def test_digits_are_a_port(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, ask: Callable[[CensusHook], None]
) -> None:
    def of_a_backend(_: type[BaseHook], conn_id: str) -> Any:
        port = census.url.rpartition(":")[2]
        found = Connection(conn_id=conn_id, conn_type="census", host="127.0.0.1", schema="http")
        found.port, found.password = port, census.token  # type: ignore[assignment]
        found.extra = json.dumps({"timeout": "30", "attempts": "2"})
        return found

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(of_a_backend))
    ask(CensusHook())
    assert len(census.requests) == 1


@pytest.mark.parametrize("read", ["on a worker", "on an event loop"])
def test_a_short_extra_field_is_no_secret_that_airflow_warns_of(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, read: str
) -> None:
    maskers = [logging.getLogger(name) for name in connection.MASKERS]

    class Masks(CensusHook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            for masker in maskers:
                masker.warning("Skipping masking for a secret as it's too short (<%d chars)", 5)
                masker.warning("Another matter")
            return CensusHook.get_connection(conn_id)

    if read == "on a worker":
        assert Masks().settings.token == census.token
    else:
        assert asyncio.run(Masks().asettings()).token == census.token
    maskers[0].warning("Skipping masking for a secret as it's too short (<%d chars)", 5)
    said = [record.getMessage() for record in caplog.records if record.name in connection.MASKERS]
    assert [words.partition(" ")[0] for words in said] == ["Another", "Another", "Skipping"]

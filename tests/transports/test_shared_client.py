# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What all who use the same Census on an event loop share: the sockets, and reads of the connection."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from copy import copy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from stand_in import HANG, Received, Server, data, response

from airflow_provider_census.api import endpoints, polling
from airflow_provider_census.exceptions import CensusAuthError, CensusConfigError
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks import connection
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports import aiohttp as aiohttp_transport
from airflow_provider_census.transports import shared_client as shared
from airflow_provider_census.triggers import base as triggers
from airflow_provider_census.triggers import census as census_triggers
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from airflow_provider_census.transports.shared_client import SharedClient

T = TypeVar("T")
GET = endpoints.get_sync_run(94)
RUN = {"id": 94, "status": "working"}


class Log:
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str, *values: Any) -> None:
        self.warnings.append(message % values)

    def info(self, *_: Any) -> None:
        """Keep nothing else."""

    debug = info


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What hooks log, in a process that has told of the end of v1."""
    log = Log()
    monkeypatch.setattr(CensusHook, "log", log)
    monkeypatch.setattr(hooks, "NOTIFIED", {"census_default"})
    return log


@dataclass
class Airflow:
    """
    Where hooks read the connection.

    :ivar reads: how often it was read.
    :ivar failure: what reading fails with.
    :ivar may_read: reading takes until this is set.
    """

    set: Callable[..., None]
    reads: int = 0
    failure: Exception | None = None
    may_read: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_read.set()

    def point_to(self, server: Server, token: str) -> None:
        """Have all connections lead to a server, with a token."""
        conn = {"conn_type": "census", "host": server.url, "password": token, "extra": {"attempts": 1}}
        for name in ("DEFAULT", "OTHER"):
            self.set(f"AIRFLOW_CONN_CENSUS_{name}", json.dumps(conn))


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow(monkeypatch.setenv)
    read = BaseHook.get_connection

    def counted(_: type[BaseHook], conn_id: str) -> Any:
        airflow.reads += 1
        airflow.may_read.wait(10)
        if airflow.failure is not None:
            raise copy(airflow.failure)  # a traceback keeps all alive that it leads through
        return read(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(counted))
    return airflow


class Guarded(Server):
    """A Census that takes one token only."""

    def __init__(self, token: str) -> None:
        super().__init__(self._check)
        self.token = token
        self.run = RUN

    def _check(self, request: Received) -> bytes:
        good = request.headers["authorization"] == f"Bearer {self.token}"
        return data(self.run) if good else response({"message": "Who?"}, 401)

    @property
    def rejected(self) -> int:
        return sum(request.headers["authorization"] != f"Bearer {self.token}" for request in self.received)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop of its own, to which no error is left that nobody asked for."""
    reports: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        return await main

    result = asyncio.run(watched())
    gc.collect()
    assert reports == []
    return result


async def send(number: int) -> list[Any]:
    """Send a request with so many hooks at the same time; results or errors."""
    return await asyncio.gather(*(CensusHook().arun(GET) for _ in range(number)), return_exceptions=True)


def clients() -> dict[Any, SharedClient]:
    return shared.CLIENTS.get(asyncio.get_running_loop(), {})


async def read_ended() -> None:
    """Wait until the connection is not being read any more."""
    await until(lambda: not any(connection.READS.values()))


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells when it is so
        await asyncio.sleep(0.001)


def test_all_users_share_one_session_and_the_last_one_closes_it(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[aiohttp.ClientSession] = []
    open_session = shared._open_session  # noqa: SLF001 - nobody else can tell

    async def opening(ca_bundle: str) -> aiohttp.ClientSession:
        opened.append(await open_session(ca_bundle))
        return opened[-1]

    async def twice() -> None:
        async with CensusHook().aopen() as transport:
            await transport.settings()
            assert await send(20) == [RUN] * 20
            assert [session.closed for session in opened] == [False]
        assert clients() == {}
        assert [session.closed for session in opened] == [True]
        assert await send(1) == [RUN]
        assert clients() == {}
        assert [session.closed for session in opened] == [True, True]

    monkeypatch.setattr(shared, "_open_session", opening)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(twice())


def test_a_session_that_cannot_be_opened_is_an_error_until_it_can(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "authorities.pem"

    async def recover() -> None:
        for _ in range(2):
            assert {type(error) for error in await send(5)} == {CensusConfigError}
            assert clients() == {}
        bundle.touch()
        assert {type(error) for error in await send(5)} == {CensusConfigError}
        shutil.copy(DEFAULT_CA_BUNDLE_PATH, bundle)
        assert await send(5) == [RUN] * 5
        assert clients() == {}

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(recover())


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("staying", [0, 1])
def test_who_leaves_while_the_session_is_opened_takes_it_from_nobody(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, failing: bool, staying: int
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    make_context = shared._ssl_context  # noqa: SLF001 - nobody else can tell

    def slowly(ca_bundle: str) -> Any:
        begun.set()
        may_end.wait(10)
        if failing:
            raise CensusConfigError("no authorities")
        return make_context(ca_bundle)

    async def leave() -> list[Any]:
        leaving, *others = (asyncio.create_task(CensusHook().arun(GET)) for _ in range(1 + staying))
        await asyncio.to_thread(begun.wait)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        may_end.set()
        results = await asyncio.gather(*others, return_exceptions=True)
        assert clients() == {}
        return results

    monkeypatch.setattr(shared, "_ssl_context", slowly)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        results = run(leave())
    assert [type(result) for result in results] == [CensusConfigError if failing else dict] * staying


def test_many_users_take_few_sockets(airflow: Airflow) -> None:
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert run(send(shared.MAX_CONNECTIONS + 50)) == [RUN] * (shared.MAX_CONNECTIONS + 50)
    assert server.connections <= shared.MAX_CONNECTIONS


@pytest.mark.parametrize("failure", [None, ConnectionError("no backend")], ids=["read", "down"])
def test_all_who_ask_for_a_connection_at_the_same_time_share_one_read(
    airflow: Airflow, failure: Exception | None
) -> None:
    async def ask() -> list[Any]:
        airflow.may_read.clear()
        reads = airflow.reads
        asking = [asyncio.create_task(connection.aread(CensusHook(), "census_default")) for _ in range(30)]
        await until(lambda: airflow.reads > reads)
        asking += [asyncio.create_task(connection.aread(CensusHook(), "census_default")) for _ in range(30)]
        asking[0].cancel()
        await asyncio.sleep(0)
        airflow.may_read.set()
        return await asyncio.gather(*asking[1:], return_exceptions=True)

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        for reads in (1, 2):
            airflow.failure = failure
            results = run(ask())
            assert airflow.reads == reads
            if failure is None:
                assert {each.host for each in results} == {server.url}
            else:
                assert [repr(each) for each in results] == [repr(failure)] * 59


class OfAClass(CensusHook):
    """A hook that has a connection of its own."""

    url = ""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Give it."""
        return Connection(conn_id=conn_id, conn_type="census", host=cls.url, password="one")


class OfItsOwn(CensusHook):
    """A hook each of whose objects has a connection of its own."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override] # as some do
        """Give it."""
        return Connection(conn_id=conn_id, conn_type="census", host=self.url, password="one")


def test_who_reads_one_id_in_different_ways_shares_nothing(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_of_them(*hooks: CensusHook) -> list[Any]:
        return await asyncio.gather(*(hook.arun(GET) for hook in hooks))

    with Guarded("one") as first, Guarded("one") as second, Guarded("one") as third:
        airflow.point_to(first, "one")
        monkeypatch.setattr(OfAClass, "url", second.url)
        hooks = (CensusHook(), OfAClass(), OfItsOwn(third.url), OfItsOwn(first.url), CensusHook())
        assert run(all_of_them(*hooks)) == [RUN] * 5
    assert [len(server.received) for server in (first, second, third)] == [3, 1, 1]


@pytest.mark.parametrize(("other", "number"), [("token", 1), ("proxy", 2), ("host", 2)])
def test_sockets_are_shared_by_what_they_connect_to(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, other: str, number: int
) -> None:
    async def both() -> None:
        async with CensusHook().aopen() as first, CensusHook("census_other").aopen() as second:
            await first.settings()
            if other == "proxy":
                monkeypatch.setenv("HTTPS_PROXY", "127.0.0.1:1")
            await second.settings()
            assert len(clients()) == number

    for name in ("default", "other"):
        conn = {"conn_type": "census", "host": "census.test", "password": "one"}
        if name == "other":
            conn |= {"host": {"host": "other.test"}, "token": {"password": "two"}}.get(other, {})
        airflow.set(f"AIRFLOW_CONN_CENSUS_{name.upper()}", json.dumps(conn))
    run(both())


def test_each_sends_its_own_token_over_shared_sockets(airflow: Airflow) -> None:
    async def both() -> None:
        async with CensusHook().aopen() as first, CensusHook("census_other").aopen() as second:
            await asyncio.gather(first.send(GET), second.send(GET))
            assert len(clients()) == 1

    with Server(data(RUN)) as server:
        airflow.point_to(server, "one")
        conn = {"conn_type": "census", "host": server.url, "password": "two"}
        airflow.set("AIRFLOW_CONN_CENSUS_OTHER", json.dumps(conn))
        run(both())
    tokens = {request.headers["authorization"] for request in server.received}
    assert tokens == {"Bearer one", "Bearer two"}


def test_who_begins_after_the_host_has_changed_uses_the_new_one(airflow: Airflow) -> None:
    async def move() -> None:
        async with CensusHook().aopen() as transport:
            await transport.send(GET)
            airflow.point_to(there, "two")
            assert await send(2) == [RUN] * 2
            await transport.send(GET)

    with Guarded("one") as here, Guarded("two") as there:
        airflow.point_to(here, "one")
        run(move())
    assert (len(here.received), len(there.received)) == (2, 2)


def test_a_version_of_the_hook_is_not_that_of_others(airflow: Airflow) -> None:
    async def version(hook: CensusHook) -> str:
        async with hook.aopen() as transport:
            return (await transport.settings()).api_version

    async def both() -> list[str]:
        async with CensusHook().aopen(), CensusHook(api_version="v2").aopen():
            return [await version(CensusHook(api_version=each)) for each in (None, "v2")]

    with Server() as server:
        airflow.point_to(server, "one")
        assert run(both()) == ["v1", "v2"]


def test_a_rotated_token_is_picked_up_by_all(airflow: Airflow) -> None:
    async def before_and_after() -> None:
        async with AsyncExitStack() as stack:
            transports = [await stack.enter_async_context(CensusHook().aopen()) for _ in range(30)]

            async def send_all() -> list[Any]:
                responses = await asyncio.gather(*(each.send(GET) for each in transports))
                return [response.value for response in responses]

            assert await send_all() == [RUN] * 30
            server.token = "two"
            airflow.point_to(server, "two")
            assert await send_all() == [RUN] * 30
            reads = airflow.reads
            assert await send_all() == [RUN] * 30
            assert airflow.reads == reads
            assert len(clients()) == 1

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(before_and_after())
    assert server.rejected == 60  # thirty that were not rejected at that time, and thirty that were


def test_a_token_that_stays_wrong_is_sent_once_by_each(airflow: Airflow) -> None:
    async def in_vain() -> list[Any]:
        async with CensusHook().aopen():
            return [*await send(30), *await send(30), *await send(1)]

    with Guarded("two") as server:
        airflow.point_to(server, "one")
        results = run(in_vain())
    assert {type(result) for result in results} == {CensusAuthError}
    assert len(server.received) == len(results), "nobody sends the same token twice"


def test_a_token_that_was_wrong_is_read_again(airflow: Airflow) -> None:
    async def late() -> None:
        async with CensusHook().aopen() as transport:
            with pytest.raises(CensusAuthError):
                await transport.send(GET)
            airflow.point_to(server, "two")
            assert (await transport.send(GET)).value == RUN

    with Guarded("two") as server:
        airflow.point_to(server, "one")
        run(late())


@pytest.mark.parametrize("failure", [None, ConnectionError("no backend")], ids=["gone", "down"])
def test_a_read_that_fails_at_a_401_leaves_the_token_as_it_was(
    airflow: Airflow, log: Log, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    async def rejected() -> None:
        async with CensusHook().aopen() as transport:
            assert (await transport.send(GET)).value == RUN
            server.token = "two"
            airflow.failure = failure
            monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")
            with pytest.raises(CensusAuthError):
                await transport.send(GET)
            server.token = "one"
            assert (await transport.send(GET)).value == RUN

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(rejected())
    [warning] = log.warnings
    assert warning.startswith(
        "Cannot read the Airflow connection 'census_default' again; what was read before stays in use: "
    )
    assert ("census_default" if failure is None else "no backend") in warning


def test_a_read_that_takes_too_long_at_a_401_does_not_hold_up_the_wait(
    airflow: Airflow, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rejected() -> None:
        async with CensusHook().aopen() as transport:
            assert (await transport.send(GET)).value == RUN
            server.token = "two"
            airflow.point_to(server, "two")
            airflow.may_read.clear()
            for _ in range(2):
                with pytest.raises(CensusAuthError):
                    await transport.send(GET)
            assert airflow.reads == 2, "the second one waits for the same"
            airflow.may_read.set()
            await read_ended()
            assert (await transport.send(GET)).value == RUN

    monkeypatch.setattr(aiohttp_transport, "READ_CONNECTION_TIMEOUT", 0.02)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(rejected())
    assert len(log.warnings) == 2
    assert "TimeoutError" in log.warnings[0]


def test_the_connection_is_not_read_for_each_request(airflow: Airflow) -> None:
    async def often() -> None:
        hook = CensusHook()
        for _ in range(5):
            await hook.arun(GET)
        async with CensusHook().aopen() as transport:
            for _ in range(5):
                await transport.send(GET)

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(often())
    assert airflow.reads == 2


def test_the_last_user_leaves_while_the_connection_is_read(airflow: Airflow) -> None:
    async def leave() -> None:
        airflow.may_read.clear()
        alone = asyncio.create_task(CensusHook().arun(GET))
        await until(lambda: airflow.reads)
        alone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await alone
        assert clients() == {}
        airflow.may_read.set()
        await read_ended()
        assert await send(1) == [RUN]

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(leave())
    assert airflow.reads == 2


def test_a_connection_that_moves_to_another_host_takes_a_wait_along(airflow: Airflow) -> None:
    async def move() -> None:
        async with CensusHook().aopen() as transport:
            assert (await transport.send(GET)).value == RUN
            here.token = "none"
            airflow.point_to(there, "two")
            assert (await transport.send(GET)).value == RUN
            assert (await transport.send(GET)).value == RUN
        assert clients() == {}

    with Guarded("one") as here, Guarded("two") as there:
        airflow.point_to(here, "one")
        run(move())
    assert len(there.received) == 2


def test_event_loops_share_nothing(airflow: Airflow) -> None:
    results: list[Any] = []

    def work() -> None:
        results.extend(run(send(3)))

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [RUN] * 60


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_loops_that_are_closed_amid_a_request_leave_nothing_behind(airflow: Airflow) -> None:
    def amid() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # of a task that was destroyed, as is the point
        sending = loop.create_task(CensusHook().arun(GET))
        reached = len(hanging.received)
        while len(hanging.received) == reached:
            loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        del sending

    async def meanwhile() -> None:
        assert await send(2) == [RUN] * 2
        assert len(shared.CLIENTS) == 1

    with Guarded("one") as server, Server(HANG) as hanging:
        airflow.point_to(hanging, "one")
        amid()
        before = open_files()
        for _ in range(10):
            amid()
        assert open_files() < before + 10  # those of the server, whose threads take their time
        airflow.point_to(server, "one")
        asyncio.run(meanwhile())
    for _ in range(5):  # what is collected may hold what is to be
        gc.collect()


async def payload_of(trigger: CensusSyncRunTrigger) -> Any:
    return (await anext(trigger.run())).payload


async def event_of(trigger: CensusSyncRunTrigger) -> str:
    return str((await payload_of(trigger))["event"])


def test_waits_go_on_with_a_rotated_token(airflow: Airflow) -> None:
    async def rotate() -> list[str]:
        waits = [
            asyncio.create_task(event_of(CensusSyncRunTrigger(94, poll_interval=0.02))) for _ in range(20)
        ]
        for token in ("two", "three"):
            enough = len(server.received) + 3 * len(waits)
            while len(server.received) < enough:  # noqa: ASYNC110 - the server is a thread
                await asyncio.sleep(0.001)
            airflow.point_to(server, token)
            server.token = token
        server.run = {"id": 94, "status": "completed"}
        return await asyncio.gather(*waits)

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert run(rotate()) == ["ended"] * 20


@pytest.fixture
def delays(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no delay take any time; Airflow can be asked again after the first of a minute. The delays."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float, *args: Any) -> Any:
        made.append(seconds)
        if seconds == triggers.MAX_CONNECTION_BACKOFF:
            airflow.failure = None
        return await sleep(0, *args)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    return made


UNREAD = [ConnectionError("no backend"), AirflowNotFoundException("no backend")]
"""What Airflow says of a connection that it cannot read; mostly the latter, also while a backend is down."""


@pytest.mark.parametrize("failure", UNREAD, ids=["said", "hidden"])
def test_waits_that_begin_while_airflow_cannot_be_asked_begin_later(
    airflow: Airflow, delays: list[float], failure: Exception
) -> None:
    async def outage() -> list[str]:
        airflow.failure = failure
        waits = [CensusSyncRunTrigger(94, started=time.time()) for _ in range(5)]
        return await asyncio.gather(*map(event_of, waits))

    with Guarded("one") as server:
        server.run = {"id": 94, "status": "completed"}
        airflow.point_to(server, "one")
        assert run(outage()) == ["ended"] * 5
    assert triggers.MAX_CONNECTION_BACKOFF in delays


def test_what_is_waited_for_is_in_the_log_at_once(
    airflow: Airflow, delays: list[float], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def outage() -> str:
        airflow.failure = UNREAD[1]
        monkeypatch.setattr(CensusSyncRunTrigger, "log", log)
        return await event_of(CensusSyncRunTrigger(94, started=time.time()))

    with Guarded("one") as server:
        server.run = {"id": 94, "status": "completed"}
        airflow.point_to(server, "one")
        assert run(outage()) == "ended"
    expected = "Waiting for the Airflow connection census_default, which cannot be read: "
    assert log.warnings[0].startswith(expected)


def test_a_connection_that_nobody_ever_had_is_an_error_at_once(
    airflow: Airflow, delays: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FOUND", set())
    airflow.failure = AirflowNotFoundException("The conn_id `census_default` isn't defined")
    payload = run(payload_of(CensusSyncRunTrigger(94)))
    assert payload["event"] == "error"
    assert "census_default" in payload["message"]
    assert airflow.reads == 1


def test_a_connection_that_this_process_had_is_waited_for(airflow: Airflow, delays: list[float]) -> None:
    async def outage() -> str:
        assert await send(1) == [server.run]
        airflow.failure = UNREAD[1]
        return await event_of(CensusSyncRunTrigger(94))

    with Guarded("one") as server:
        server.run = {"id": 94, "status": "completed"}
        airflow.point_to(server, "one")
        assert run(outage()) == "ended"
    assert triggers.MAX_CONNECTION_BACKOFF in delays


def test_a_connection_that_is_deleted_is_an_error_in_the_end(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "CONNECTION_PATIENCE", 0.0)
    airflow.failure = AirflowNotFoundException("The conn_id `census_default` isn't defined")
    payload = run(payload_of(CensusSyncRunTrigger(94, started=time.time())))
    assert payload["event"] == "error"


@pytest.mark.parametrize("named", connection.FIELDS)
def test_a_field_that_cannot_be_used_ends_a_wait_at_once(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    def of_a_backend(_: type[BaseHook], conn_id: str) -> Any:
        airflow.reads += 1
        good = {"host": "census.invalid", "password": "token"}
        return SimpleNamespace(**{**dict.fromkeys(connection.FIELDS), **good, named: b"bytes"})

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(of_a_backend))
    payload = run(payload_of(CensusSyncRunTrigger(94, started=time.time())))
    assert payload["event"] == "error"
    assert f"field '{named}'" in payload["message"]
    assert airflow.reads == 1
    works, message = CensusHook().test_connection()
    assert not works
    assert f"field '{named}'" in message
    with pytest.raises(CensusConfigError, match=f"field '{named}'"):
        CensusHook().get_sync_run(94)


@pytest.mark.parametrize(
    ("interval", "spread", "parts"),
    [(None, polling.min_interval(500), 6), (0.5, 0.5, 5), (5, 5.0, 5), (600, 5.0, 5)],
    ids=["adaptive", "0.5", "5", "600"],
)
def test_waits_that_begin_together_do_not_poll_together(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, interval: float | None, spread: float, parts: int
) -> None:
    first: list[float] = []
    jitter = polling.WaitOptions.startup_jitter

    def at_once(options: polling.WaitOptions, rng: Any, at_least: float) -> float:
        assert airflow.reads, "the delay begins when a wait has the connection"
        first.append(jitter(options, rng, at_least))
        return 0.0

    async def begin() -> None:
        await asyncio.gather(
            *(event_of(CensusSyncRunTrigger(94, poll_interval=interval)) for _ in range(500))
        )

    monkeypatch.setattr(polling.WaitOptions, "startup_jitter", at_once)
    with Guarded("one") as server:
        server.run = {"id": 94, "status": "completed"}
        airflow.point_to(server, "one")
        run(begin())
    moments = Counter(first)
    assert sorted(moments) == pytest.approx([each * spread / parts for each in range(parts)])
    assert max(moments.values()) < 150, "at no moment do much more of them poll than at another"


def test_a_kill_does_not_queue_behind_the_polls_of_others(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling_ = threading.Event()

    def only_a_cancel(request: Received) -> bytes:
        if request.method == "POST":
            return data({})
        polling_.set()
        return HANG  # type: ignore[return-value]

    async def kill() -> None:
        trigger = CensusSyncRunTrigger(94, cancel_on_kill=True)
        trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
            task_id="task", dag_id="dag", run_id="run", map_index=-1, try_number=1
        )
        waits = [asyncio.create_task(event_of(each)) for each in (CensusSyncRunTrigger(95), trigger)]
        await asyncio.to_thread(polling_.wait)
        await trigger.on_kill()
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)

    monkeypatch.setattr(polling.WaitOptions, "startup_jitter", lambda *_: 0.0)
    monkeypatch.setattr(shared, "MAX_CONNECTIONS", 1)
    # The first is asked for at the start, where Airflow tells it then.
    states = iter(["deferred", "failed"] if census_triggers.TELLS_STATES_AT_ANY_TIME else ["failed"])
    monkeypatch.setattr(census_triggers, "task_state", lambda ti: next(states))
    with Server(only_a_cancel) as server:
        airflow.point_to(server, "one")
        run(kill())
    cancels = [request for request in server.received if request.method == "POST"]
    assert [request.target for request in cancels] == ["/api/v1/sync_runs/94/cancel"]


def test_the_time_of_a_request_begins_when_it_has_a_socket(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = most = 0
    request = aiohttp.ClientSession._request  # noqa: SLF001 - nobody else can tell

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await request(*args, **options)
        finally:
            at_once -= 1

    monkeypatch.setattr(shared, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", counted)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert run(send(20)) == [RUN] * 20
    assert most == 3

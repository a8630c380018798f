# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What all waits of an Airflow connection share on an event loop: its credentials, and the sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import threading
import time
from collections import Counter
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from stand_in import HANG, Received, Server, data, response

from airflow_provider_census.api import endpoints, polling
from airflow_provider_census.api.settings import Settings
from airflow_provider_census.exceptions import CensusAuthError, CensusConfigError
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports import shared_client as shared
from airflow_provider_census.transports.shared_client import SharedClient, shared_client
from airflow_provider_census.triggers import base as triggers
from airflow_provider_census.triggers import census as census_triggers
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

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
    monkeypatch.setattr(hooks, "NOTIFIED", {"v1"})
    return log


@dataclass
class Airflow:
    """Where hooks read the connection: what it says, how often it was read, and what reading fails with."""

    set: Callable[..., None]
    reads: int = 0
    failure: Exception | None = None

    def point_to(self, server: Server, token: str) -> None:
        """Have all connections lead to a server, with a token."""
        conn = {"conn_type": "census", "host": server.url, "password": token, "extra": {"attempts": 1}}
        for name in ("DEFAULT", "OTHER"):
            self.set(f"AIRFLOW_CONN_CENSUS_{name}", json.dumps(conn))


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow(monkeypatch.setenv)
    read = hooks.get_async_connection  # type: ignore[attr-defined]

    async def counted(conn_id: str) -> Any:
        airflow.reads += 1
        await asyncio.sleep(0.01)  # as long as it takes others to ask for the same
        if airflow.failure is not None:
            raise copy(airflow.failure)  # a traceback keeps all alive that it leads through
        return await read(conn_id)

    monkeypatch.setattr(hooks, "get_async_connection", counted)
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
    [client] = clients().values()
    await until(lambda: client._reading is None or client._reading.done())  # noqa: SLF001 - nobody else can tell


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells when it is so
        await asyncio.sleep(0.001)


def test_all_users_share_one_session_and_the_last_one_closes_it(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[aiohttp.ClientSession] = []
    open_session = shared._open_session  # noqa: SLF001 - nobody else can tell

    async def opening() -> aiohttp.ClientSession:
        opened.append(await open_session())
        return opened[-1]

    async def twice() -> None:
        async with CensusHook().aopen():
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

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(recover())
    assert airflow.reads == 1


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


def test_many_users_take_few_sockets_and_read_the_connection_once(airflow: Airflow) -> None:
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert run(send(shared.MAX_CONNECTIONS + 50)) == [RUN] * (shared.MAX_CONNECTIONS + 50)
    assert server.connections <= shared.MAX_CONNECTIONS
    assert airflow.reads == 1


def test_connections_of_airflow_do_not_share(airflow: Airflow) -> None:
    async def both() -> None:
        async with CensusHook().aopen(), CensusHook("census_other").aopen():
            assert len(clients()) == 2
            await asyncio.gather(CensusHook().arun(GET), CensusHook("census_other").arun(GET))

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(both())
    assert airflow.reads == 2


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


def test_a_rotated_token_is_picked_up_by_all_with_one_read(airflow: Airflow) -> None:
    async def before_and_after() -> None:
        async with CensusHook().aopen():
            assert await send(30) == [RUN] * 30
            server.token = "two"
            airflow.point_to(server, "two")
            assert await send(30) == [RUN] * 30
            assert (airflow.reads, server.rejected) == (2, 60)
            assert await send(30) == [RUN] * 30

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(before_and_after())
    assert airflow.reads == 2
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


@pytest.mark.parametrize("token", ["one", "two"], ids=["the same", "another"])
def test_all_that_are_rejected_meanwhile_share_one_read(token: str) -> None:
    says = ["one", token]
    reads = 0

    async def read_connection() -> Settings:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)
        return Settings("https://census.test", says[min(reads, 2) - 1])

    async def reject() -> None:
        async with shared_client("a name", read_connection) as client:
            rejected = await client.credentials()
            renewed = await asyncio.gather(*(client.renew(rejected, Log()) for _ in range(30)))
            assert reads == 2
            assert {each.settings.token for each in renewed} == {token}
            assert {each is rejected for each in renewed} == {token == "one"}
            # Who was rejected with what has been renewed since then need not read it again.
            assert await client.renew(rejected, Log()) is renewed[0]
            assert reads == (3 if token == "one" else 2)

    run(reject())


def test_a_token_that_was_wrong_is_read_again(airflow: Airflow) -> None:
    async def late() -> None:
        async with CensusHook().aopen():
            assert [type(error) for error in await send(2)] == [CensusAuthError] * 2
            airflow.point_to(server, "two")
            assert await send(2) == [RUN] * 2

    with Guarded("two") as server:
        airflow.point_to(server, "one")
        run(late())


@pytest.mark.parametrize("failure", [None, ConnectionError("no backend")], ids=["gone", "down"])
def test_a_read_that_fails_at_a_401_leaves_the_token_as_it_was(
    airflow: Airflow, log: Log, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    async def rejected() -> None:
        async with CensusHook().aopen():
            assert await send(2) == [RUN] * 2
            server.token = "two"
            airflow.failure = failure
            monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")
            assert [type(error) for error in await send(2)] == [CensusAuthError] * 2
            server.token = "one"
            assert await send(2) == [RUN] * 2

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(rejected())
    assert len(log.warnings) == 2
    reason = "census_default" if failure is None else "no backend"
    for warning in log.warnings:
        assert warning.startswith("Cannot read the connection again; what it said before still counts. ")
        assert reason in warning


def test_a_read_that_takes_too_long_at_a_401_holds_nobody_up_and_counts_later(
    airflow: Airflow, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: list[asyncio.Event] = []
    read = hooks.get_async_connection  # type: ignore[attr-defined]

    async def slowly(conn_id: str) -> Any:
        for event in slow:
            await event.wait()
        return await read(conn_id)

    async def rejected() -> None:
        async with CensusHook().aopen():
            assert await send(1) == [RUN]
            slow.append(asyncio.Event())
            server.token = "two"
            airflow.point_to(server, "two")
            assert [type(error) for error in await send(2)] == [CensusAuthError] * 2
            slow[0].set()
            await read_ended()
            assert await send(2) == [RUN] * 2
            server.token = "three"
            airflow.failure = ConnectionError("no backend")
            for _ in range(2):  # it fails after all who waited for it have gone, and is begun anew
                slow[:] = [asyncio.Event()]
                assert [type(error) for error in await send(2)] == [CensusAuthError] * 2
                slow[0].set()
                await read_ended()

    monkeypatch.setattr(hooks, "get_async_connection", slowly)
    monkeypatch.setattr(shared, "READ_CONNECTION_TIMEOUT", 0.02)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(rejected())
    assert airflow.reads == 4
    assert log.warnings == []


def test_the_connection_is_not_read_for_each_request(airflow: Airflow) -> None:
    async def often() -> None:
        async with CensusHook().aopen():
            for _ in range(20):
                await send(1)

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(often())
    assert airflow.reads == 1


def test_a_read_that_fails_fails_all_that_wait_for_it(airflow: Airflow) -> None:
    async def outage() -> None:
        airflow.failure = ConnectionError("no backend")
        async with CensusHook().aopen():
            for reads in (1, 2):
                assert [repr(error) for error in await send(10)] == [repr(airflow.failure)] * 10
                assert airflow.reads == reads
            airflow.failure = None
            assert await send(10) == [RUN] * 10

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(outage())
    assert airflow.reads == 3


@pytest.mark.parametrize("failure", [None, ConnectionError("no backend")], ids=["read", "down"])
def test_who_began_a_read_may_leave_before_it_is_done(airflow: Airflow, failure: Exception | None) -> None:
    async def leave() -> Any:
        airflow.failure = failure
        async with CensusHook().aopen() as transport:
            first, second = (asyncio.create_task(CensusHook().arun(GET)) for _ in range(2))
            await until(lambda: airflow.reads)
            first.cancel()
            [result] = await asyncio.gather(second, return_exceptions=True)
            for reads in (2, 3) if failure is not None else ():  # soon, nobody at all waits for it
                alone = asyncio.create_task(transport.settings())
                while airflow.reads < reads:  # noqa: ASYNC110 - it is begun in one step, and told by nobody
                    await asyncio.sleep(0)
                alone.cancel()
                await read_ended()
            return result

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert repr(run(leave())) == repr(failure or RUN)
    assert airflow.reads == (1 if failure is None else 3)


def test_the_last_user_leaves_while_the_connection_is_read(airflow: Airflow) -> None:
    async def leave() -> None:
        alone = asyncio.create_task(CensusHook().arun(GET))
        await until(lambda: airflow.reads)
        alone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await alone
        assert clients() == {}
        assert await send(1) == [RUN]

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        run(leave())
    assert airflow.reads == 2


def test_a_connection_that_moves_to_another_host_takes_its_users_along(airflow: Airflow) -> None:
    async def move() -> None:
        async with CensusHook().aopen():
            assert await send(1) == [RUN]
            here.token = "none"
            airflow.point_to(there, "two")
            assert await send(2) == [RUN] * 2

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
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [RUN] * 9
    assert airflow.reads == 3


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ends_amid_its_work_leaves_nothing_behind(airflow: Airflow) -> None:
    opened = CensusHook().aopen()

    async def amid() -> None:
        transport = await opened.__aenter__()
        await transport.settings()

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(amid())
        loop.close()
        assert asyncio.run(send(2)) == [RUN] * 2
        gc.collect()
    assert loop not in shared.CLIENTS
    assert airflow.reads == 2


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
    assert airflow.reads == 3


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


def test_a_connection_that_nobody_ever_had_is_soon_an_error(airflow: Airflow, delays: list[float]) -> None:
    airflow.failure = AirflowNotFoundException("The conn_id `census_default` isn't defined")
    payload = run(payload_of(CensusSyncRunTrigger(94)))
    assert payload["event"] == "error"
    assert "census_default" in payload["message"]
    assert max(delays) < triggers.NEW_CONNECTION_PATIENCE


@pytest.mark.parametrize(("interval", "spread"), [(None, 1.0), (0.5, 0.5), (5, 5.0), (600, 5.0)])
def test_waits_that_begin_together_do_not_poll_together(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, interval: float | None, spread: float
) -> None:
    first: list[float] = []
    jitter = polling.WaitOptions.startup_jitter

    def at_once(options: polling.WaitOptions, rng: Any) -> float:
        assert airflow.reads == 1, "the delay begins when all have the connection"
        first.append(jitter(options, rng))
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
    assert sorted(moments) == pytest.approx([each * spread / 5 for each in range(5)])
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
    monkeypatch.setattr(census_triggers, "task_state", lambda ti: "failed")
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

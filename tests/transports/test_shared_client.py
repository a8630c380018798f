# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What all users of an Airflow connection share on an event loop: its look-ups, and the sockets to Census."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from servers import HANG, Received, Server, answer, data

from airflow_provider_census.api import endpoints, polling
from airflow_provider_census.exceptions import CensusAuthError, CensusConfigError
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports import triggerer
from airflow_provider_census.triggers import census as triggers
from airflow_provider_census.triggers.census import CensusSyncRunTrigger

GET = endpoints.get_sync_run(94)
RUN = {"id": 94, "status": "working"}


@dataclass
class Airflow:
    """Where hooks look the connection up: what it says, and how often it was asked."""

    set: Callable[..., None]
    look_ups: int = 0
    failure: Exception | None = None

    def point_to(self, server: Server, token: str) -> None:
        """Have all connections lead to a server, with a token."""
        conn = {"conn_type": "census", "host": server.url, "password": token, "extra": {"attempts": 1}}
        for name in ("DEFAULT", "OTHER"):
            self.set(f"AIRFLOW_CONN_CENSUS_{name}", json.dumps(conn))


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow(monkeypatch.setenv)
    look_up = hooks.get_async_connection

    async def counted(conn_id: str) -> Any:
        airflow.look_ups += 1
        await asyncio.sleep(0.01)  # as long as it takes others to ask for the same
        if airflow.failure is not None:
            raise airflow.failure
        return await look_up(conn_id)

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
        return data(self.run) if good else answer({"message": "Who?"}, 401)

    @property
    def rejected(self) -> int:
        return sum(request.headers["authorization"] != f"Bearer {self.token}" for request in self.received)


async def ask(number: int) -> list[Any]:
    """Ask with so many hooks at the same time; answers or errors."""
    return await asyncio.gather(*(CensusHook().arun(GET) for _ in range(number)), return_exceptions=True)


def lines() -> dict[Any, triggerer.Line]:
    return triggerer.LINES.get(asyncio.get_running_loop(), {})


@pytest.mark.parametrize("failing", [False, True])
def test_all_users_share_one_session_and_the_last_one_closes_it(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    opened: list[aiohttp.ClientSession] = []
    open_session = triggerer._session

    async def opening() -> aiohttp.ClientSession:
        if failing:
            raise CensusConfigError("no authorities")
        opened.append(await open_session())
        return opened[-1]

    async def twice() -> list[Any]:
        answers = [*await ask(20), *await ask(1)]
        assert lines() == {}
        return answers

    monkeypatch.setattr(triggerer, "_session", opening)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        answers = asyncio.run(twice())
    assert {type(answer) for answer in answers} == {CensusConfigError if failing else dict}
    assert [session.closed for session in opened] == ([] if failing else [True, True])


def test_many_users_take_few_sockets_and_one_look_up(airflow: Airflow) -> None:
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert asyncio.run(ask(triggerer.MOST_CONNECTIONS + 50)) == [RUN] * (triggerer.MOST_CONNECTIONS + 50)
    assert server.connections <= triggerer.MOST_CONNECTIONS
    assert airflow.look_ups == 1


def test_connections_of_airflow_do_not_share(airflow: Airflow) -> None:
    async def both() -> None:
        async with CensusHook().aopen(), CensusHook("census_other").aopen():
            assert len(lines()) == 2
            await asyncio.gather(CensusHook().arun(GET), CensusHook("census_other").arun(GET))

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        asyncio.run(both())
    assert airflow.look_ups == 2


def test_a_version_of_the_hook_is_not_that_of_others(airflow: Airflow) -> None:
    async def both() -> list[str]:
        async with CensusHook().aopen(), CensusHook(api_version="v2").aopen():
            return [
                (await CensusHook(api_version=version).asettings()).api_version for version in (None, "v2")
            ]

    with Server() as server:
        airflow.point_to(server, "one")
        assert asyncio.run(both()) == ["v1", "v2"]


def test_a_rotated_token_is_picked_up_by_all_with_one_look_up(airflow: Airflow) -> None:
    async def before_and_after() -> None:
        async with CensusHook().aopen():
            assert await ask(30) == [RUN] * 30
            server.token = "two"
            airflow.point_to(server, "two")
            assert await ask(30) == [RUN] * 30
            assert (airflow.look_ups, server.rejected) == (2, 60)
            assert await ask(30) == [RUN] * 30

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        asyncio.run(before_and_after())
    assert airflow.look_ups == 2
    assert server.rejected == 60  # thirty that were not rejected at that time, and thirty that were


def test_a_token_that_stays_wrong_is_looked_up_once_more_for_all(airflow: Airflow) -> None:
    async def in_vain() -> list[Any]:
        async with CensusHook().aopen():
            return [*await ask(30), *await ask(30), *await ask(1)]

    with Guarded("two") as server:
        airflow.point_to(server, "one")
        answers = asyncio.run(in_vain())
    assert {type(answer) for answer in answers} == {CensusAuthError}
    assert airflow.look_ups == 2
    assert len(server.received) == len(answers), "nobody is asked twice with a token that is the same"


def test_a_token_that_is_wrong_for_long_is_looked_up_again(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late() -> None:
        async with CensusHook().aopen():
            assert [type(answer) for answer in await ask(2)] == [CensusAuthError] * 2
            airflow.point_to(server, "two")
            assert await ask(2) == [RUN] * 2

    monkeypatch.setattr(triggerer, "VAIN", 0.0)
    with Guarded("two") as server:
        airflow.point_to(server, "one")
        asyncio.run(late())


@pytest.mark.parametrize("failure", [None, ConnectionError("no backend")], ids=["gone", "down"])
def test_a_look_up_that_fails_at_a_401_leaves_the_token_as_it_was(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    async def rejected() -> None:
        async with CensusHook().aopen():
            assert await ask(2) == [RUN] * 2
            server.token = "two"
            airflow.failure = failure
            monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")
            assert [type(answer) for answer in await ask(2)] == [CensusAuthError] * 2
            server.token = "one"
            assert await ask(2) == [RUN] * 2

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        asyncio.run(rejected())


async def looked(airflow: Airflow, times: int) -> None:
    """Go on asking until there were so many look-ups, and the last one has ended."""
    while airflow.look_ups < times:
        await ask(1)
    [line] = lines().values()
    if line._looking is not None:
        await asyncio.wait({line._looking})


def test_what_is_no_longer_fresh_is_looked_up_again_before_anybody_is_rejected(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rotate() -> None:
        async with CensusHook().aopen():
            assert await ask(2) == [RUN] * 2
            airflow.point_to(server, "two")
            await looked(airflow, 3)
            server.token = "two"
            assert await ask(2) == [RUN] * 2

    monkeypatch.setattr(triggerer, "FRESH", 0.0)
    monkeypatch.setattr(triggerer, "VAIN", 0.0)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        asyncio.run(rotate())
    assert {request.headers["authorization"] for request in server.received} == {"Bearer one", "Bearer two"}


def test_what_is_fresh_is_not_looked_up_again(airflow: Airflow) -> None:
    async def often() -> None:
        async with CensusHook().aopen():
            for _ in range(20):
                await ask(1)

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        asyncio.run(often())
    assert airflow.look_ups == 1


def test_while_airflow_cannot_be_asked_what_the_connection_said_before_counts(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []

    class Log:
        def warning(self, message: str, *values: Any) -> None:
            warnings.append(message % values)

    async def outage() -> None:
        async with CensusHook().aopen():
            assert await ask(1) == [RUN]
            airflow.failure = ConnectionError("no backend")
            await looked(airflow, 3)
            assert await ask(2) == [RUN] * 2

    monkeypatch.setattr(CensusHook, "log", Log())
    monkeypatch.setattr(hooks, "TOLD", {"v1"})
    monkeypatch.setattr(triggerer, "FRESH", 0.0)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        monkeypatch.setattr(triggerer, "VAIN", 0.0)
        asyncio.run(outage())
    assert warnings
    assert all("no backend" in warning for warning in warnings)


def test_a_look_up_that_fails_fails_all_that_wait_for_it_and_is_not_repeated_in_a_hurry(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def outage() -> None:
        airflow.failure = ConnectionError("no backend")
        async with CensusHook().aopen():
            assert await ask(10) == [airflow.failure] * 10
            assert await ask(10) == [airflow.failure] * 10
            assert airflow.look_ups == 1
            airflow.failure = None
            monkeypatch.setattr(triggerer, "VAIN", 0.0)
            monkeypatch.setattr(next(iter(lines().values())), "_look_again_at", 0.0)
            assert await ask(10) == [RUN] * 10

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        asyncio.run(outage())
    assert airflow.look_ups == 2


def test_who_began_a_look_up_may_leave_before_it_is_done(airflow: Airflow) -> None:
    async def leave() -> Any:
        async with CensusHook().aopen():
            first, second = (asyncio.create_task(CensusHook().arun(GET)) for _ in range(2))
            while not airflow.look_ups:  # noqa: ASYNC110 - it is begun in one step, and told by nobody
                await asyncio.sleep(0)
            first.cancel()
            return await second

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert asyncio.run(leave()) == RUN
    assert airflow.look_ups == 1


def test_a_connection_that_moves_to_another_host_takes_its_users_along(airflow: Airflow) -> None:
    async def move() -> None:
        async with CensusHook().aopen():
            assert await ask(1) == [RUN]
            here.token = "none"
            airflow.point_to(there, "two")
            assert await ask(2) == [RUN] * 2

    with Guarded("one") as here, Guarded("two") as there:
        airflow.point_to(here, "one")
        asyncio.run(move())
    assert len(there.received) == 2


def test_event_loops_share_nothing(airflow: Airflow) -> None:
    answers: list[Any] = []

    def work() -> None:
        answers.extend(asyncio.run(ask(3)))

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [RUN] * 9
    assert airflow.look_ups == 3


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ends_amid_its_work_leaves_nothing_behind(airflow: Airflow) -> None:
    async def amid() -> None:
        await CensusHook().aopen().__aenter__()
        await CensusHook().asettings()

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(amid())
        loop.close()
        assert asyncio.run(ask(2)) == [RUN] * 2
        gc.collect()
    assert loop not in triggerer.LINES
    assert airflow.look_ups == 2


async def payload_of(trigger: CensusSyncRunTrigger) -> Any:
    return (await anext(trigger.run())).payload


async def event_of(trigger: CensusSyncRunTrigger) -> Any:
    return (await payload_of(trigger))["event"]


def test_waits_go_on_with_a_rotated_token(airflow: Airflow) -> None:
    async def rotate() -> list[str]:
        waits = [
            asyncio.create_task(event_of(CensusSyncRunTrigger(94, poll_interval=0.02))) for _ in range(20)
        ]
        for token in ("two", "three"):
            seen = len(server.received)
            while len(server.received) < seen + 3 * len(waits):  # noqa: ASYNC110 - the server is a thread
                await asyncio.sleep(0.001)
            airflow.point_to(server, token)
            server.token = token
        server.run = {"id": 94, "status": "completed"}
        return await asyncio.gather(*waits)

    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert asyncio.run(rotate()) == ["ended"] * 20
    assert airflow.look_ups == 3


@pytest.fixture
def hurried(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no pause take any time; Airflow can be asked again after the first of a minute. The pauses."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float, *args: Any) -> Any:
        made.append(seconds)
        if seconds == 60.0:
            airflow.failure = None
        return await sleep(0, *args)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    monkeypatch.setattr(triggerer, "VAIN", 0.0)
    return made


UNSEEN = [ConnectionError("no backend"), AirflowNotFoundException("no backend")]
"""What Airflow says of a connection that it cannot get; mostly the latter, also while a backend is down."""


@pytest.mark.parametrize("failure", UNSEEN, ids=["said", "hidden"])
def test_waits_that_begin_while_airflow_cannot_be_asked_begin_later(
    airflow: Airflow, hurried: list[float], failure: Exception
) -> None:
    async def outage() -> list[str]:
        airflow.failure = failure
        waits = [CensusSyncRunTrigger(94, started=time.time()) for _ in range(5)]
        return await asyncio.gather(*map(event_of, waits))

    with Guarded("one") as server:
        server.run = {"id": 94, "status": "completed"}
        airflow.point_to(server, "one")
        assert asyncio.run(outage()) == ["ended"] * 5
    assert 60.0 in hurried


def test_a_connection_that_nobody_ever_had_is_soon_an_error(airflow: Airflow, hurried: list[float]) -> None:
    airflow.failure = AirflowNotFoundException("The conn_id `census_default` isn't defined")
    payload = asyncio.run(payload_of(CensusSyncRunTrigger(94)))
    assert payload["event"] == "error"
    assert "census_default" in payload["message"]
    assert max(hurried) < triggers.LITTLE_PATIENCE


def first_pauses(waits: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[float]:
    """Let waits begin together; the seconds that each leaves to the others before its first look."""
    made: list[float] = []

    async def never(seconds: float, *_: Any) -> None:
        made.append(seconds)
        await asyncio.Event().wait()

    async def begin() -> None:
        waiting = [
            asyncio.ensure_future(event_of(CensusSyncRunTrigger(each + 1, **options)))
            for each in range(waits)
        ]
        while len(made) < waits:
            await asyncio.wait(waiting, timeout=0)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", never)
        patched.setattr(polling, "LULL", 60.0)
        asyncio.run(begin())
    return made


def test_a_wait_that_is_alone_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_pauses(1, monkeypatch) == [0.0]
    assert first_pauses(1, monkeypatch, poll_interval=60) == [0.0]


@pytest.mark.parametrize(("interval", "spread"), [(None, 1.0), (0.5, 0.5), (5, 5.0), (600, 5.0)])
def test_waits_that_begin_together_do_not_look_together(
    monkeypatch: pytest.MonkeyPatch, interval: float | None, spread: float
) -> None:
    rush = polling.Rush()
    pauses = [rush.join(0.0, spread) for _ in range(1000)]
    assert 0.8 * spread < max(pauses) < spread
    assert min(pauses) == 0.0
    tenths = [sum(int(10 * pause / spread) == tenth for pause in pauses) for tenth in range(10)]
    assert max(tenths) < 210, "in no tenth of the time does more than a fifth of them look"
    assert max(map(pauses.count, pauses)) < 110, "nor more than a tenth at the same moment"
    few = first_pauses(4, monkeypatch, poll_interval=interval)
    assert max(few) - min(few) > spread / 2
    assert len(set(few)) == 4


def test_waits_that_all_had_to_wait_for_the_connection_do_not_look_together(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[float] = []
    join = polling.Rush.join
    monkeypatch.setattr(triggers, "LULL", 0.0)

    def counted(rush: polling.Rush, now: float, spread: float) -> float:
        joined.append(now)
        return join(rush, now, spread)

    monkeypatch.setattr(polling.Rush, "join", counted)
    with Guarded("one") as server:
        server.run = {"id": 94, "status": "completed"}
        airflow.point_to(server, "one")
        assert asyncio.run(event_of(CensusSyncRunTrigger(94))) == "ended"
    first, second = joined
    assert second - first > 0.009, "again after the look-up, which takes a hundredth of a second here"


def test_a_kill_does_not_queue_behind_the_looks_of_others(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = threading.Event()

    def only_a_cancel(request: Received) -> bytes:
        if request.method == "POST":
            return data({})
        looking.set()
        return HANG

    async def kill() -> None:
        trigger = CensusSyncRunTrigger(94, cancel_on_kill=True)
        trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
            task_id="task", dag_id="dag", run_id="run", map_index=-1, try_number=1
        )
        waits = [asyncio.create_task(event_of(each)) for each in (CensusSyncRunTrigger(95), trigger)]
        await asyncio.to_thread(looking.wait)
        await trigger.on_kill()
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)

    monkeypatch.setattr(triggerer, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(triggers, "task_state", lambda ti: "failed")
    with Server(only_a_cancel) as server:
        airflow.point_to(server, "one")
        asyncio.run(kill())
    cancels = [request for request in server.received if request.method == "POST"]
    assert [request.target for request in cancels] == ["/api/v1/sync_runs/94/cancel"]


def test_the_time_of_a_request_begins_when_it_has_a_connection(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = most = 0
    request = aiohttp.ClientSession._request

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await request(*args, **options)
        finally:
            at_once -= 1

    monkeypatch.setattr(triggerer, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", counted)
    with Guarded("one") as server:
        airflow.point_to(server, "one")
        assert asyncio.run(ask(20)) == [RUN] * 20
    assert most == 3

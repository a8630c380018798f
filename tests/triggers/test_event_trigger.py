# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The event trigger against the sandbox: alone, and in the shared stream of a real Airflow 3.3."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from airflow_provider_census.api import retries
from airflow_provider_census.api.waiters import OutageLog
from airflow_provider_census.api.watermark import Watermark
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.shared_client import CLIENTS
from airflow_provider_census.triggers import census as triggers
from airflow_provider_census.triggers import events
from airflow_provider_census.triggers.events import CensusSyncRunEventTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_census.sandbox import Sandbox

CLASS_PATH = "airflow_provider_census.triggers.events.CensusSyncRunEventTrigger"

if not AIRFLOW_V_3_0_PLUS:
    pytest.skip("Airflow 2 has no event triggers", allow_module_level=True)
airflow_3_3 = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="shared streams and state stores came in 3.3")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll again soon, and leave no time between events."""
    monkeypatch.setattr(events, "SPACING", 0.0)
    monkeypatch.setattr(retries, "backoff", lambda *_, **__: 0.001)


def watch(sync_id: int | str = 52, **arguments: Any) -> CensusSyncRunEventTrigger:
    return CensusSyncRunEventTrigger(sync_id, **{"poll_interval": 0.005, **arguments})


def start(census: Sandbox, sync_id: int = 52) -> int:
    """A run that no request of ours started."""
    return census.start_run(sync_id)


def ended(census: Sandbox, sync_id: int = 52) -> int:
    """A run that has ended before anybody polls."""
    sync_run_id = start(census, sync_id)
    while CensusHook().get_sync_run(sync_run_id)["status"] in {"queued", "working"}:
        pass
    return sync_run_id


def polls(census: Sandbox, sync_id: int = 52) -> int:
    return census.requests.count(("GET", f"/api/v1/syncs/{sync_id}/sync_runs"))


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - the sandbox lives in another thread
        await asyncio.sleep(0.001)


async def some_polls(census: Sandbox, sync_id: int = 52, times: int = 4) -> None:
    before = polls(census, sync_id)
    await until(lambda: polls(census, sync_id) >= before + times)


class Store:
    """What Airflow keeps of assets, reached over the messages that the triggerer sends its supervisor."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.faults = 0
        self.error: Exception = RuntimeError("the supervisor does not respond")

    async def asend(self, message: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time import comms

        if self.faults:
            self.faults -= 1
            raise self.error
        if isinstance(message, comms.SetAssetStateStoreByName):
            assert message.key.startswith("census_sync_runs/census_default/")
            self.values[message.name] = json.loads(json.dumps(message.value))
        elif message.name in self.values:
            return comms.AssetStateStoreResult(value=self.values[message.name])
        else:
            return comms.ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND)
        return None


class Triggerer:
    """
    Runs triggers as Airflow does; what it calls persisted is in Airflow's database.

    :param store: the state store; none before Airflow 3.3, where triggers run alone.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        self.persists = True
        self.stalls_after: int | None = None
        self.payloads: dict[CensusSyncRunEventTrigger, list[dict[str, Any]]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Triggerer:
        if self.store is not None:
            from airflow.triggers.shared_stream import SharedStreamManager

            self.manager = SharedStreamManager()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        for done in await asyncio.gather(*self.tasks, return_exceptions=True):
            assert isinstance(done, asyncio.CancelledError), "an event trigger ends by no other way"
        assert not any(CLIENTS.values()), "the sockets to Census are closed"

    def run(self, trigger: CensusSyncRunEventTrigger, *assets: str) -> CensusSyncRunEventTrigger:
        path, arguments = trigger.serialize()
        assert path == CLASS_PATH
        again = CensusSyncRunEventTrigger(**json.loads(json.dumps(arguments)))
        again.trigger_id = len(self.tasks)
        self.payloads[again] = []
        if self.store is not None:
            from airflow.sdk import Asset
            from airflow.sdk.execution_time.context import AssetStateStoreAccessors

            watched = [Asset(name=name) for name in assets or ("asset",)]
            again.asset_state_store = AssetStateStoreAccessors(inlets=watched)
        self.tasks.append(asyncio.create_task(self._run(again)))
        return again

    async def _run(self, trigger: CensusSyncRunEventTrigger) -> None:
        if self.store is None:
            async for event in trigger.run():
                self.payloads[trigger].append(event.payload)
            return
        key, number = trigger.shared_stream_key(), trigger.trigger_id
        assert number is not None
        shared = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(shared):
                if len(self.payloads[trigger]) == self.stalls_after:
                    await asyncio.sleep(3600)  # as the triggerer writes to its log
                sequence = self.manager.bind_pending_event(trigger_id=number, key=key)
                assert sequence is not None
                if self.persists:
                    self.payloads[trigger].append(event.payload)
                    self.manager.confirm_persisted([sequence])
        finally:
            await self.manager.unsubscribe(number, key)

    def emitted(self, trigger: CensusSyncRunEventTrigger) -> list[int]:
        return [payload["sync_run_id"] for payload in self.payloads[trigger]]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Airflow's state store, which outlives a triggerer."""
    from airflow.sdk.execution_time import task_runner

    found = Store()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


@pytest.fixture(params=["alone", pytest.param("shared", marks=airflow_3_3)])
def triggerer(request: pytest.FixtureRequest) -> Triggerer:
    """Both ways in which Airflow runs the trigger."""
    return Triggerer(request.getfixturevalue("store") if request.param == "shared" else None)


def play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 60))


@pytest.mark.parametrize(
    ("sync_id", "include_failed", "outcome"),
    [
        (52, False, "completed"),
        (53, False, None),
        (53, True, "failed"),
        (54, True, None),
        (55, False, "completed"),
        (56, False, None),
        (56, True, "canceled"),
        (58, False, "completed"),
    ],
)
def test_runs_that_have_ended_are_reported(
    census: Sandbox, triggerer: Triggerer, sync_id: int, include_failed: bool, outcome: str | None
) -> None:
    async def scene() -> None:
        async with triggerer:
            trigger = triggerer.run(watch(sync_id, include_failed=include_failed))
            await until(lambda: polls(census, sync_id))
            sync_run_id = start(census, sync_id)
            if outcome is None:
                await asyncio.to_thread(ended, census, 58)
                await asyncio.to_thread(wait_for, sync_run_id)
                await some_polls(census, sync_id)
                assert triggerer.payloads[trigger] == []
                return
            await until(lambda: triggerer.payloads[trigger])
            await some_polls(census, sync_id)
            [payload] = triggerer.payloads[trigger]
            run = await asyncio.to_thread(CensusHook().get_sync_run, sync_run_id)
            assert (payload["sync_id"], payload["sync_run_id"], payload["outcome"]) == (
                sync_id,
                sync_run_id,
                outcome,
            )
            assert payload["url"] == f"{census.url}/syncs/{sync_id}/history?sync_run_id={sync_run_id}"
            assert json.loads(json.dumps(payload)) == payload
            if outcome == "completed":
                assert (
                    payload.items() - {("outcome", outcome), ("url", payload["url"])}
                    <= {
                        **run,
                        "sync_run_id": run["id"],
                    }.items()
                )
                assert payload["completed_at"]

    play(scene())


def wait_for(sync_run_id: int) -> None:
    CensusHook().wait_for_sync_run(sync_run_id, poll_interval=0.001)


@pytest.mark.parametrize(
    "since",
    [
        None,
        lambda: datetime.now(timezone.utc) - timedelta(hours=1),
        lambda: (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat(),
    ],
    ids=["from now on", "moment", "text"],
)
def test_what_ended_before_it_began_is_only_reported_since_a_moment(
    census: Sandbox, triggerer: Triggerer, since: Callable[[], Any] | None
) -> None:
    old = [ended(census), ended(census)]
    going = start(census)

    async def scene() -> None:
        async with triggerer:
            trigger = triggerer.run(watch(since=since and since()))
            expected = [*(old if since else []), going]
            await until(lambda: len(triggerer.emitted(trigger)) >= len(expected))
            await some_polls(census)
            assert triggerer.emitted(trigger) == expected

    play(scene())


def test_after_a_long_outage_every_run_is_reported_oldest_first(
    census: Sandbox, triggerer: Triggerer
) -> None:
    async def scene() -> None:
        async with triggerer:
            trigger = triggerer.run(watch(58))
            await until(lambda: polls(census, 58))
            census.fail_next(1000, status=503, path="/api/v1/syncs/58")
            new = [start(census, 58) for _ in range(230)]
            await some_polls(census, 58)
            census.stop_failing()
            await until(lambda: len(triggerer.emitted(trigger)) >= len(new))
            await some_polls(census, 58)
            assert triggerer.emitted(trigger) == new

    play(scene())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 503}, "HTTP 503"),
        ({"status": 429, "headers": {"Retry-After": "0"}}, "HTTP 429"),
        ({"status": 401}, "HTTP 401"),
        ({"status": 403}, "HTTP 403"),
        ({"status": 404}, "HTTP 404"),
        ({"status": 200, "body": "no JSON"}, "not JSON"),
        ({"status": 200, "body": {"status": "success", "data": {}}}, "data should be a list"),
    ],
    ids=str,
)
def test_no_response_of_census_ends_it(
    census: Sandbox,
    triggerer: Triggerer,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    words: str,
) -> None:
    async def scene() -> None:
        caplog.set_level(logging.INFO, events.__name__)
        census.fail_next(9, path="/api/v1/syncs/52", **fault)
        async with triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: polls(census) >= 5)
            sync_run_id = start(census)  # amid the outage, and before the first poll
            await until(lambda: triggerer.emitted(trigger))
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())
    said = [record.getMessage() for record in caplog.records if record.name == events.__name__]
    assert len([line for line in said if "Still waiting for runs of sync 52" in line and words in line]) == 1
    assert len([line for line in said if "Census responds again" in line]) == 1
    assert census.token not in caplog.text


@pytest.mark.parametrize("uri", [None, "census://:token@a%20b", "census://:old@127.0.0.1:1/http"], ids=str)
def test_nor_does_a_connection_that_cannot_be_used(
    census: Sandbox, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch, uri: str | None
) -> None:
    right = census.connection_uri_v1
    if uri is None:
        monkeypatch.delenv("AIRFLOW_CONN_CENSUS_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uri)

    async def scene() -> None:
        failures: list[Exception] = []
        monkeypatch.setattr(OutageLog, "failed", lambda *args: failures.append(args[2]))
        async with triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: len(failures) >= 3)
            monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", right)
            sync_run_id = start(census)
            await until(lambda: triggerer.emitted(trigger))
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())


def test_it_picks_up_a_new_token(
    census: Sandbox, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: polls(census))
            new = census.connection_uri_v1.replace("sandbox@", "new@")
            monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", new)
            census.token = "secret-token:new"
            sync_run_id = start(census)
            await until(lambda: triggerer.emitted(trigger))
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())


def test_events_are_spaced_so_that_airflow_schedules_by_the_last_of_them(
    census: Sandbox, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SPACING", 3600.0)
    new = [ended(census, 58) for _ in range(4)]

    async def scene() -> None:
        async with triggerer:
            trigger = triggerer.run(watch(58, since="2020-01-01T00:00:00Z"))
            await until(lambda: triggerer.emitted(trigger))
            await some_polls(census, 58)
            assert triggerer.emitted(trigger) == new[:-1]

    play(scene())


@airflow_3_3
def test_no_run_is_lost_or_reported_twice_over_a_restart(census: Sandbox, store: Store) -> None:
    async def until_restart(known: int) -> tuple[list[int], int]:
        """Report the run that ended meanwhile and another one; leave one that keeps running."""
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: len(triggerer.emitted(trigger)) == known)
            sync_run_id = start(census)
            await until(lambda: sync_run_id in triggerer.emitted(trigger))
            await until(lambda: store.values["asset"]["newest"] == sync_run_id)
            await until(lambda: not store.values["asset"]["open"])
            going = start(census)
            await some_polls(census)
            return triggerer.emitted(trigger), going

    async def scene() -> None:
        first, going = await until_restart(0)
        await asyncio.to_thread(wait_for, going)
        second, last = await until_restart(1)
        await asyncio.to_thread(wait_for, last)
        third, _ = await until_restart(1)
        assert second[0] == going
        assert third[0] == last
        emitted = first + second + third
        assert len(emitted) == len(set(emitted)) == 5

    play(scene())


@airflow_3_3
def test_a_run_that_ended_before_the_first_poll_is_reported_after_a_restart(
    census: Sandbox, store: Store
) -> None:
    census.fail_next(3, status=503, path="/api/v1/syncs/52")

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            triggerer.run(watch())
            await until(lambda: polls(census))
        sync_run_id = await asyncio.to_thread(ended, census)
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: triggerer.emitted(trigger))
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())


@airflow_3_3
def test_the_watermark_passes_a_run_when_its_event_is_in_the_database_and_not_before(
    census: Sandbox, store: Store
) -> None:
    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            triggerer.run(watch())
            await until(lambda: store.values.get("asset", {}).get("newest"))
            triggerer.persists = False
            sync_run_id = await asyncio.to_thread(ended, census)
            await some_polls(census)
            watermark = store.values["asset"]
            assert watermark["newest"] < sync_run_id or watermark["open"] == [sync_run_id]
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: store.values["asset"] == {**watermark, "newest": sync_run_id, "open": []})
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())


@airflow_3_3
def test_an_event_that_never_gets_into_the_database_is_emitted_again(census: Sandbox, store: Store) -> None:
    """Airflow fails the trigger then, and starts it anew."""
    from airflow.triggers.shared_stream import AckTimeout, SharedStreamManager

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            triggerer.manager = SharedStreamManager(ack_timeout=0.5)
            triggerer.persists = False
            triggerer.run(watch())
            await until(lambda: store.values.get("asset", {}).get("newest"))
            sync_run_id = start(census)
            [failed] = await asyncio.gather(triggerer.tasks.pop(), return_exceptions=True)
            assert isinstance(failed, AckTimeout)
            triggerer.persists = True
            again = triggerer.run(watch())
            await until(lambda: triggerer.emitted(again))
            assert triggerer.emitted(again) == [sync_run_id]

    play(scene())


@airflow_3_3
def test_a_trigger_that_is_cancelled_amid_the_events_of_a_poll_loses_none(
    census: Sandbox, store: Store
) -> None:
    new = [ended(census, 58) for _ in range(5)]

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            triggerer.stalls_after = 2
            trigger = triggerer.run(watch(58, since="2020-01-01T00:00:00Z"))
            await until(lambda: len(triggerer.emitted(trigger)) == 2)
            await some_polls(census, 58)
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch(58, since="2020-01-01T00:00:00Z"))
            await until(lambda: store.values["asset"]["newest"] == new[-1])
            await until(lambda: not store.values["asset"]["open"])
            assert triggerer.emitted(trigger) == new

    play(scene())


@airflow_3_3
def test_a_poll_is_only_committed_if_all_before_it_are(census: Sandbox, store: Store) -> None:
    """Also if Airflow takes the events of the later ones."""
    from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

    async def scene() -> None:
        saved: list[Watermark] = []

        async def save(watermark: Watermark) -> None:
            saved.append(watermark)

        trigger = watch()
        trigger.save = save  # type: ignore[method-assign]
        stream = events.PollStream()
        stream.trigger.set_result(trigger)
        polls = [events.Poll([], Watermark(0.0, newest), is_emitted=True) for newest in range(4)]
        taken, failed = AdvanceOutcome(acked=1, failed=0), AdvanceOutcome(acked=0, failed=1)
        await stream.advance([AdvanceItem(None, taken), AdvanceItem(polls[0], taken)])
        await stream.advance([AdvanceItem(polls[1], failed), AdvanceItem(polls[2], taken)])
        await stream.advance([AdvanceItem(polls[3], taken)])
        assert saved == [polls[0].watermark]

    play(scene())


@airflow_3_3
def test_watchers_of_one_sync_have_a_stream_and_a_watermark_each(census: Sandbox, store: Store) -> None:
    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            completed = triggerer.run(watch(53), "a")
            everything = triggerer.run(watch(53, include_failed=True), "b")
            await until(lambda: len(store.values) == 2)
            failed = start(census, 53)
            await until(lambda: triggerer.emitted(everything))
            await until(lambda: all(value["newest"] == failed for value in store.values.values()))
            assert triggerer.emitted(everything) == [failed]
            assert triggerer.emitted(completed) == []

    play(scene())


@airflow_3_3
def test_for_several_assets_airflow_stores_no_watermark_and_says_so_once(
    census: Sandbox, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch(), "a", "b")
            await until(lambda: polls(census))
            sync_run_id = start(census)
            await until(lambda: triggerer.emitted(trigger))
            await some_polls(census)
            assert triggerer.emitted(trigger) == [sync_run_id]
            assert store.values == {}

    play(scene())
    logged = [record.getMessage() for record in caplog.records if record.name == events.__name__]
    assert len([line for line in logged if "stores no watermark of sync 52" in line]) == 1
    assert len([line for line in logged if "watermark" in line]) == 1


@airflow_3_3
@pytest.mark.parametrize(
    "error", [RuntimeError("no response"), json.JSONDecodeError("no JSON", "", 0)], ids=repr
)
def test_a_watermark_that_cannot_be_read_is_awaited_however_long(
    census: Sandbox, store: Store, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """To begin anew would lose runs; and what takes long is no event that Airflow fails for it."""
    from airflow.triggers.shared_stream import SharedStreamManager

    old = ended(census)
    store.values["asset"] = {"since": 0.0, "newest": old - 1, "open": []}
    store.faults, store.error = 1000, error

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            triggerer.manager = SharedStreamManager(ack_timeout=0.05)
            trigger = triggerer.run(watch())
            await until(lambda: store.faults <= 900)
            await asyncio.sleep(0.2)
            store.faults = 0
            await until(lambda: triggerer.emitted(trigger))
            assert triggerer.emitted(trigger) == [old]

    play(scene())
    logged = [record.getMessage() for record in caplog.records if record.name == events.__name__]
    assert len([line for line in logged if "Still waiting for runs of sync 52" in line]) == 1


@airflow_3_3
def test_a_run_that_ends_while_the_first_watermark_cannot_be_read_is_reported(
    census: Sandbox, store: Store
) -> None:
    store.faults = 1000

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: store.faults < 1000)
            sync_run_id = await asyncio.to_thread(ended, census)
            store.faults = 0
            await until(lambda: triggerer.emitted(trigger))
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())


@airflow_3_3
def test_a_store_that_takes_nothing_for_long_is_in_the_log_twice(
    census: Sandbox, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, events.__name__)

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: store.values.get("asset", {}).get("newest"))
            store.faults = 1000
            sync_run_id = start(census)
            await until(lambda: store.faults < 990)
            store.faults = 0
            await until(lambda: store.values["asset"]["newest"] == sync_run_id)
            await until(lambda: not store.values["asset"]["open"])
            assert triggerer.emitted(trigger) == [sync_run_id]

    play(scene())
    logged = [record.getMessage() for record in caplog.records if record.name == events.__name__]
    assert len([line for line in logged if "Cannot store the watermark of sync 52" in line]) == 1
    assert len([line for line in logged if "Airflow responds again" in line]) == 1


@airflow_3_3
@pytest.mark.parametrize("faults", [1, 3])
def test_a_store_that_fails_for_a_while_loses_nothing(census: Sandbox, store: Store, faults: int) -> None:
    old = ended(census)
    store.values["asset"] = {"since": 0.0, "newest": old - 1, "open": []}
    store.faults = faults

    async def scene() -> None:
        async with Triggerer(store) as triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: triggerer.emitted(trigger))
            store.faults = faults
            sync_run_id = start(census)
            await until(lambda: store.values["asset"]["newest"] == sync_run_id)
            await until(lambda: not store.values["asset"]["open"])
            assert triggerer.emitted(trigger) == [old, sync_run_id]

    play(scene())


def test_nothing_that_blocks_is_done_on_the_event_loop(
    census: Sandbox, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocks(*_: Any, **__: Any) -> None:
        raise AssertionError("this blocks the event loop")

    monkeypatch.setattr(requests.Session, "send", blocks)
    monkeypatch.setattr(time, "sleep", blocks)
    read = CensusHook.get_connection
    loop_thread = threading.get_ident()

    def read_in_a_thread(conn_id: str) -> Any:
        assert threading.get_ident() != loop_thread, "this blocks the event loop"
        return read(conn_id)

    monkeypatch.setattr(CensusHook, "get_connection", staticmethod(read_in_a_thread))

    async def scene() -> None:
        async with triggerer:
            trigger = triggerer.run(watch())
            await until(lambda: polls(census))
            start(census)
            await until(lambda: triggerer.emitted(trigger))

    play(scene())


def test_it_is_where_users_expect_it_and_its_path_is_stable() -> None:
    assert triggers.CensusSyncRunEventTrigger is CensusSyncRunEventTrigger
    path, arguments = CensusSyncRunEventTrigger(52).serialize()
    assert path == CLASS_PATH
    assert arguments == {
        "sync_id": 52,
        "census_conn_id": "census_default",
        "include_failed": False,
        "since": None,
        "poll_interval": 30.0,
    }
    given: dict[str, Any] = {"since": "2026-01-31T01:00:00+01:00", "poll_interval": timedelta(minutes=1)}
    assert CensusSyncRunEventTrigger(52, since="2026-01-31").serialize() == (
        CensusSyncRunEventTrigger(52, since=datetime(2026, 1, 31)).serialize()  # noqa: DTZ001
    )
    _, arguments = CensusSyncRunEventTrigger("0052", "eu", include_failed=True, **given).serialize()
    assert arguments == {
        "sync_id": 52,
        "census_conn_id": "eu",
        "include_failed": True,
        "since": "2026-01-31T00:00:00+00:00",
        "poll_interval": 60.0,
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sync_id": 0}, "sync_id"),
        ({"sync_id": "{{ params.sync }}"}, "sync_id"),
        ({"sync_id": None}, "sync_id"),
        ({"sync_id": True}, "sync_id"),
        ({"census_conn_id": ""}, "census_conn_id"),
        ({"census_conn_id": None}, "census_conn_id"),
        ({"include_failed": "yes"}, "include_failed"),
        ({"since": "yesterday"}, "since"),
        ({"since": 7}, "since"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"poll_interval": "60"}, "poll_interval"),
        ({"poll_interval": None}, "poll_interval"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_at_once(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words} must be|^{words} is the unrendered"):
        CensusSyncRunEventTrigger(**{"sync_id": 52, **arguments})

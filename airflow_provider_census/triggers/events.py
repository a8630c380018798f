# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The event trigger: an asset event for every run of a sync that has ended. It needs Airflow 3."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_census.api import retries, sync_runs
from airflow_provider_census.api.polling import next_poll
from airflow_provider_census.api.validation import check_bool, check_id, check_name, to_seconds
from airflow_provider_census.api.waiters import OutageLog
from airflow_provider_census.api.watermark import Runs, Watermark, read_runs
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.driver import adrive
from airflow_provider_census.utils.datetimes import parse_datetime

if TYPE_CHECKING or AIRFLOW_V_3_0_PLUS:
    from airflow.triggers.base import BaseEventTrigger
else:
    BaseEventTrigger = BaseTrigger
if TYPE_CHECKING or AIRFLOW_V_3_3_PLUS:
    from airflow.triggers.shared_stream import SharedStreamProducer
else:
    SharedStreamProducer = object
if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_census.transports.aiohttp import AiohttpTransport

log = logging.getLogger(__name__)

RNG = random.Random()

DEFAULT_POLL_INTERVAL = 30.0
"""Seconds between two polls of a sync."""

SPACING = 10.0
"""
Seconds before the event that ends a row of them.

A DAG run takes the events up to the first one that waits for the scheduler; those behind it wait for another
event (https://github.com/apache/airflow/issues/54659).
"""

MAX_STORE_BACKOFF = 60.0
"""Seconds at most between two attempts to read a watermark from Airflow."""


class CensusSyncRunEventTrigger(BaseEventTrigger):
    """
    Make an asset event for every run of a Census sync that has completed, whoever started it.

    It is for the ``AssetWatcher`` of an asset, and runs for ever. The tasks of a DAG that it schedules find
    the ids, outcome, counts, times and link of the run in the ``extra["payload"]`` of the asset event.

    Events are at-least-once: no run is lost while the triggerer is down, and one is only reported twice if
    the triggerer dies in the second between the event and its watermark. That is so from Airflow 3.3 on,
    which stores a watermark for an asset; before, every start of the triggerer begins at ``since``.

    No error ends it. What keeps it from reading the runs is in the log of the triggerer, less and less often.

    :param sync_id: id of the sync.
    :param census_conn_id: id of the Airflow connection, of type ``census``.
    :param include_failed: also report the runs that failed or were cancelled. A run that Census skipped is
        never reported, for it did nothing.
    :param since: at the first start, also report the runs that have ended since this moment: a ``datetime``,
        or a text in ISO 8601; without a time zone, in Airflow's ``default_timezone``. ``None`` for the moment
        of the start.
    :param poll_interval: seconds, or a ``timedelta``, between two polls of the sync.
    :raises ValueError: if an argument is not what it should be.
    :raises RuntimeError: on Airflow 2, which has no event triggers.
    """

    def __init__(
        self,
        sync_id: int | str,
        census_conn_id: str = "census_default",
        include_failed: bool = False,
        since: datetime | str | None = None,
        poll_interval: timedelta | float = DEFAULT_POLL_INTERVAL,
    ) -> None:
        if not AIRFLOW_V_3_0_PLUS:
            raise RuntimeError("CensusSyncRunEventTrigger needs Airflow 3: Airflow 2 has no event triggers")
        super().__init__()  # type: ignore[no-untyped-call]
        checked = check_id("sync_id", sync_id)
        self.sync_id = int(checked) if checked.isdigit() else str(checked)
        self.census_conn_id = check_name("census_conn_id", census_conn_id)
        check_bool(include_failed=include_failed)
        self.include_failed = include_failed
        self.since = None if since is None else parse_datetime("since", since)
        self.poll_interval = to_seconds("poll_interval", poll_interval)
        self._stored: Watermark | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the arguments from which the triggerer makes this trigger again."""
        return f"{__name__}.CensusSyncRunEventTrigger", {
            "sync_id": self.sync_id,
            "census_conn_id": self.census_conn_id,
            "include_failed": self.include_failed,
            "since": None if self.since is None else self.since.isoformat(),
            "poll_interval": self.poll_interval,
        }

    def shared_stream_key(self) -> Hashable:
        """
        Name a stream that is this trigger's alone.

        Not for sharing, for equal triggers are one in Airflow anyway, but for what comes with it from Airflow
        3.3 on: word of when an event is stored, before which no watermark must be.
        """
        return tuple(self.serialize()[1].items())

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> PollStream:
        """Make what polls the sync."""
        trigger = cls(**kwargs)
        return PollStream(trigger.sync_id, trigger.census_conn_id, trigger.poll_interval)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Poll]) -> AsyncIterator[TriggerEvent]:
        """Make events of what the polls read."""
        async for poll in shared_stream:
            async for event in self._events(poll):
                yield event

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same where Airflow says nothing of what it has stored."""
        stream = PollStream(self.sync_id, self.census_conn_id, self.poll_interval)
        async for poll, _ in stream.open_stream():
            async for event in self._events(poll):
                yield event
            await poll.commit()

    async def _events(self, poll: Poll) -> AsyncIterator[TriggerEvent]:
        poll.trigger = self
        watermark = poll.watermark
        if watermark is None:  # before the first poll
            poll.next(await self._load())
            return
        found, watermark = watermark.new_runs(poll.runs, self._is_wanted)
        due = (found[:-1] or found) if time.monotonic() >= poll.free_at else []
        free_at = time.monotonic() + SPACING if due else poll.free_at
        for run in due:
            yield TriggerEvent(sync_runs.summary(run, sync_runs.browser_url(poll.base_url, run)))
        poll.has_events = bool(due)
        poll.next(watermark.reported(due), free_at, is_behind=len(due) < len(found))

    def _is_wanted(self, run: dict[str, Any]) -> bool:
        outcome = sync_runs.outcome(run)
        return outcome == "completed" or (self.include_failed and outcome != "skipped")

    async def _load(self) -> Watermark:
        """Read the watermark from Airflow; to begin anew because Airflow cannot give it would lose runs."""
        attempt = 0
        while True:
            try:
                stored = None if self._store is None else await self._store.aget(self._key)
                break
            except ValueError as error:
                log.warning("Airflow stores no watermark of sync %s: %s", self.sync_id, error)
                stored = None
                break
            except Exception as error:  # noqa: BLE001 - whatever the store fails with
                log.warning("Cannot read the watermark of sync %s yet: %r", self.sync_id, error)
            attempt += 1
            await asyncio.sleep(retries.backoff(attempt, maximum=MAX_STORE_BACKOFF))
        self._stored = Watermark.parse(stored)
        start = time.time() if self.since is None else self.since.timestamp()
        watermark = self._stored or Watermark(start)
        await self.save(watermark)
        return watermark

    async def save(self, watermark: Watermark) -> None:
        """Store the watermark; if that fails, the next poll makes up for it."""
        if watermark == self._stored or self._store is None:
            return
        try:
            await self._store.aset(self._key, watermark.as_dict())
        except Exception as error:  # noqa: BLE001 - whatever the store fails with
            log.warning("Cannot store the watermark of sync %s: %r", self.sync_id, error)
        else:
            self._stored = watermark

    @property
    def _key(self) -> str:
        return f"census_sync_runs/{self.census_conn_id}/{self.sync_id}"

    @property
    def _store(self) -> Any:
        """The store of the asset that is watched; before Airflow 3.3 there is none."""
        return getattr(self, "asset_state_store", None)


@dataclass
class Poll:
    """
    What one poll of a sync read, and what its trigger makes of it.

    :ivar runs: the runs by id.
    :ivar base_url: the host of Census.
    :ivar watermark: up to where the runs had been reported before; ``None`` if only the trigger knows.
    :ivar free_at: when the next event may follow, in seconds of the monotonic clock.
    :ivar trigger: who took it.
    :ivar has_events: whether it made events.
    :ivar done: the watermark as of after it, when the next event may follow, and whether one is waiting.
    """

    runs: Runs = field(default_factory=dict)
    base_url: str = ""
    watermark: Watermark | None = None
    free_at: float = 0.0
    trigger: CensusSyncRunEventTrigger | None = None
    has_events: bool = False
    done: asyncio.Future[tuple[Watermark, float, bool]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def next(self, watermark: Watermark, free_at: float = 0.0, *, is_behind: bool = False) -> None:
        """Let the next poll begin at this watermark; soon, if events are waiting."""
        if not self.done.done():
            self.done.set_result((watermark, free_at, is_behind))

    async def commit(self) -> None:
        """Store the watermark: the events of this poll are stored."""
        if self.trigger is not None:
            watermark, *_ = await self.done
            await self.trigger.save(watermark)


class PollStream(SharedStreamProducer):
    """
    Poll a sync for a trigger, poll after poll, whatever happens.

    Airflow calls :meth:`advance` when the events of a poll are in its database: a watermark that is stored
    before would lose them if the triggerer dies.

    :param sync_id: the sync.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two polls.
    """

    def __init__(self, sync_id: int | str, census_conn_id: str, poll_interval: float) -> None:
        self._sync_id = sync_id
        self._census_conn_id = census_conn_id
        self._poll_interval = poll_interval
        self._runs: Runs = {}

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """
        Store the watermark of polls whose events Airflow has stored.

        :raises CensusError: if an event may not have arrived: later watermarks would pass over it, so Airflow
            is to start the trigger anew, which begins at the last one stored.
        """
        for item in batch:
            poll: Poll = item.broker_payload
            if item.outcome.failed and poll.has_events:
                raise CensusError(f"Airflow did not take an event of sync {self._sync_id}; sending it again.")
            await poll.commit()

    async def open_stream(self) -> AsyncIterator[tuple[Poll, Poll]]:
        """Poll the sync again and again; the first value is no poll yet, but asks for the watermark."""
        outage = OutageLog(log, time.time)
        failures = 0
        poll = Poll()
        yield poll, poll
        watermark, free_at, _ = await poll.done
        hook = CensusHook(self._census_conn_id)
        async with AsyncExitStack() as stack:
            transport: AiohttpTransport | None = None
            while True:
                failure: CensusError | None = None
                try:
                    if transport is None:
                        transport = await stack.enter_async_context(hook.aopen())
                    poll = await self._poll(transport, watermark, free_at)
                except CensusError as error:
                    failure = error
                except Exception as error:  # noqa: BLE001 - a secrets backend may fail with anything
                    failure = CensusError(f"Connection {self._census_conn_id}: {error!r}")
                failures = 0 if failure is None else failures + 1
                interval = self._poll_interval * RNG.uniform(0.9, 1.0)
                delay = next_poll(interval, failures, failure, RNG)
                if failure is None:
                    outage.succeeded()
                    yield poll, poll
                    watermark, free_at, is_behind = await poll.done
                    if is_behind:
                        delay = min(delay, max(0.0, free_at - time.monotonic()))
                else:
                    outage.failed(f"runs of sync {self._sync_id}", failure)
                await asyncio.sleep(delay)

    async def _poll(self, transport: AiohttpTransport, watermark: Watermark, free_at: float) -> Poll:
        base_url = (await transport.settings()).base_url
        flow = read_runs(self._sync_id, watermark, base_url, self._runs)
        self._runs = await adrive(flow, transport.send)
        return Poll(self._runs, base_url, watermark, free_at)

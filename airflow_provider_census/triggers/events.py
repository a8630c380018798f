# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The event trigger: an asset event for every run of a sync that has ended. It needs Airflow 3."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_census.api import sync_runs
from airflow_provider_census.api.polling import EVENT_POLL_INTERVAL, next_poll
from airflow_provider_census.api.validation import check_bool, check_id, check_name, to_seconds
from airflow_provider_census.api.waiters import OutageLog
from airflow_provider_census.api.watermark import Watermark, read_runs
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
    from collections.abc import AsyncIterator, Hashable, Sequence
    from datetime import datetime, timedelta

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_census.api.sync_runs import Run

log = logging.getLogger(__name__)

RNG = random.Random()

SPACING = 10.0
"""
Seconds before the event that ends a row of them.

A DAG run takes the events up to the first one that waits for the scheduler; those behind it wait for another
event (https://github.com/apache/airflow/issues/54659).
"""


class CensusSyncRunEventTrigger(BaseEventTrigger):
    """
    Make an asset event for every run of a Census sync that has completed, whoever started it.

    It is for the ``AssetWatcher`` of an asset, and runs for ever. The tasks of a DAG that it schedules find
    the ids, outcome, counts, times and link of the run in the ``extra["payload"]`` of the asset event.

    Events are at-least-once: no run is lost while the triggerer is down, and one is only reported twice if
    the triggerer dies in the second between the event and its watermark. That is so from Airflow 3.3 on,
    which stores a watermark for a trigger that watches one asset. Otherwise every start of the triggerer
    begins at ``since``. Make the asset with :func:`~airflow_provider_census.assets.census.watched_sync_asset`
    wherever it is used: a DAG file that has it without this watcher makes Airflow drop the trigger.

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

    asset_state_store: Any = None
    """Airflow's store for the asset that is watched; before 3.3 there is none."""

    def __init__(
        self,
        sync_id: int | str,
        census_conn_id: str = "census_default",
        include_failed: bool = False,
        since: datetime | str | None = None,
        poll_interval: timedelta | float = EVENT_POLL_INTERVAL,
    ) -> None:
        if not AIRFLOW_V_3_0_PLUS:
            raise RuntimeError("CensusSyncRunEventTrigger needs Airflow 3: Airflow 2 has no event triggers")
        super().__init__()  # type: ignore[no-untyped-call]
        checked = check_id("sync_id", sync_id)
        self.sync_id = int(checked) if checked.isdigit() else str(checked)
        self.census_conn_id = check_name("census_conn_id", census_conn_id)
        check_bool("include_failed", include_failed)
        self.include_failed = include_failed
        self.since = None if since is None else parse_datetime("since", since)
        self.poll_interval = to_seconds("poll_interval", poll_interval)
        self._key = f"census_sync_runs/{self.census_conn_id}/{self.sync_id}"
        self._stored: Watermark | None = None
        self._store_outage = OutageLog(log, time.time, "Airflow")

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

        It is for what comes with a shared stream, from Airflow 3.3 on: :meth:`PollStream.advance` is called
        when events are stored, before which no watermark must be.
        """
        return __name__, self.trigger_id

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> PollStream:
        """Make the stream of this trigger's polls."""
        return PollStream()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Emit the events of the polls; the stream begins with itself, to learn whose it is."""
        stream: PollStream = await anext(shared_stream)
        stream.trigger.set_result(self)
        async for poll in shared_stream:
            for payload in poll.payloads:
                yield TriggerEvent(payload)
            poll.is_emitted = True

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Emit the events of the polls where Airflow stores no watermark."""
        async for poll in self.polls():
            for payload in poll.payloads:
                yield TriggerEvent(payload)

    async def polls(self) -> AsyncIterator[Poll]:
        """Poll the sync again and again, whatever happens; after a failure, read the connection anew."""
        start = time.time() if self.since is None else self.since.timestamp()
        outage = OutageLog(log, time.time)
        watermark: Watermark | None = None
        failures, free_at = 0, 0.0
        while True:
            try:
                if watermark is None:
                    watermark = await self._load(start)
                async with CensusHook(self.census_conn_id).aopen() as transport:
                    while True:
                        base_url = (await transport.settings()).base_url
                        runs = await adrive(read_runs(self.sync_id, watermark, base_url), transport.send)
                        found, watermark = watermark.new_runs(runs, self._is_wanted)
                        due = (found[:-1] or found) if time.monotonic() >= free_at else []
                        free_at = time.monotonic() + SPACING if due else free_at
                        urls = [sync_runs.browser_url(base_url, run) for run in due]
                        payloads = list(map(sync_runs.summary, due, urls))
                        watermark = watermark.reported(due)
                        outage.succeeded()
                        failures = 0
                        yield Poll(payloads, watermark)
                        delay = self.poll_interval * RNG.uniform(0.9, 1.0)
                        if len(due) < len(found):
                            delay = min(delay, max(0.0, free_at - time.monotonic()))
                        await asyncio.sleep(delay)
            except Exception as error:  # noqa: BLE001 - Airflow may fail with anything
                failures += 1
                failure = CensusError(f"Cannot poll with connection {self.census_conn_id}: {error!r}.")
                failure = error if isinstance(error, CensusError) else failure
                outage.failed(f"runs of sync {self.sync_id}", failure)
            await asyncio.sleep(next_poll(self.poll_interval, failures, failure, RNG))

    def _is_wanted(self, run: Run) -> bool:
        outcome = sync_runs.outcome(run)
        return outcome == "completed" or (self.include_failed and outcome != "skipped")

    async def _load(self, start: float) -> Watermark:
        """
        Read the watermark from Airflow.

        :param start: where to begin if there is none.
        :raises Exception: whatever the store fails with; to begin anew for that would lose runs.
        """
        try:
            store = self.asset_state_store
            stored = None if store is None else await store.aget(self._key)
        except ValueError as error:
            if type(error) is not ValueError:  # the error of a parser
                raise
            log.warning("Airflow stores no watermark of sync %s: %s", self.sync_id, error)
            stored = self.asset_state_store = None
        self._stored = Watermark.parse(stored)
        watermark = self._stored or Watermark(start)
        await self.save(watermark)
        return watermark

    async def save(self, watermark: Watermark) -> None:
        """Store the watermark; if that fails, the next poll makes up for it."""
        store = self.asset_state_store
        if watermark == self._stored or store is None:
            return
        try:
            await store.aset(self._key, watermark.as_dict())
        except Exception as error:  # noqa: BLE001 - whatever the store fails with
            failure = CensusError(f"Cannot store the watermark of sync {self.sync_id}: {error!r}.")
            self._store_outage.failed("Airflow to store it", failure)
        else:
            self._stored = watermark
            self._store_outage.succeeded()


@dataclass
class Poll:
    """
    What one poll of a sync found.

    :ivar payloads: of an event for each run that has ended since the poll before.
    :ivar watermark: up to where the runs have been reported with these events.
    :ivar is_emitted: whether Airflow was given all of the events.
    """

    payloads: list[dict[str, Any]]
    watermark: Watermark
    is_emitted: bool = False


class PollStream(SharedStreamProducer):
    """
    The polls of a trigger, and the commit of each when Airflow has stored its events.

    :ivar trigger: whose polls they are, and that Airflow gave the store of its asset.
    """

    def __init__(self) -> None:
        self.trigger: asyncio.Future[CensusSyncRunEventTrigger] = asyncio.get_running_loop().create_future()
        self._is_intact = True

    async def open_stream(self) -> AsyncIterator[tuple[PollStream | Poll, Poll | None]]:
        """Begin with the stream itself, and continue with the polls of the trigger that took it."""
        yield self, None
        trigger = await self.trigger
        async for poll in trigger.polls():
            yield poll, poll

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """
        Store the watermarks of polls whose events Airflow has stored.

        After a poll of which an event may be missing none is stored, for it would pass over that event:
        Airflow ends such a trigger, and starts it anew at the last watermark.
        """
        for item in batch:
            poll: Poll | None = item.broker_payload
            if poll is None:
                continue
            self._is_intact = self._is_intact and poll.is_emitted and item.outcome.is_clean
            if self._is_intact:
                await self.trigger.result().save(poll.watermark)

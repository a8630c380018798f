# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The event trigger: tells an asset of every run of a sync that has ended. It needs Airflow 3."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_census.api import flows, news, retries, sync_runs
from airflow_provider_census.api.news import Mark, Runs
from airflow_provider_census.api.request import any_id, flag, name, seconds
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.loading import load

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

    from airflow_provider_census.hooks.census import CensusHook

log = logging.getLogger(__name__)

RNG = random.Random()

DEFAULT_INTERVAL = 30.0
"""Seconds between two looks at a sync."""

GATHERING = 0.5
"""Seconds after a trigger began to listen in which others may, to be served by the same look."""

SPACING = 10.0
"""Seconds before the event that ends a row of them. A DAG run takes the events up to the first one that waits
for the scheduler; those behind it wait for another event (https://github.com/apache/airflow/issues/54659)."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two attempts to read a watermark from Airflow, at first and at most."""


class CensusSyncRunEventTrigger(BaseEventTrigger):
    """
    Tell an asset of every run of a Census sync that has completed, whoever started it.

    It is for the ``AssetWatcher`` of an asset, and goes on for ever. The tasks of a DAG that it schedules
    find the ids, outcome, counts, times and link of the run in the ``extra["payload"]`` of the asset event.

    No run is lost while the triggerer is down, and a run is only told twice if the triggerer dies in the
    second between the event and the note of it: from Airflow 3.3 on, which keeps such notes. Before, every
    start of the triggerer begins at ``since``.

    No error ends it. What keeps it from seeing the runs is in the log of the triggerer, less and less often.

    :param sync_id: id of the sync.
    :param census_conn_id: id of the Airflow connection, of type ``census``.
    :param include_failed: also tell of the runs that failed or were cancelled. A run that Census skipped is
        never told, for it did nothing.
    :param since: at the first start, also tell of the runs that have ended since this moment: a ``datetime``
        with a time zone, or one in ISO 8601. ``None`` for the moment of the start.
    :param poll_interval: seconds, or a ``timedelta``, between two looks at the sync. Of triggers that watch
        the same sync, the smallest counts.
    :raises ValueError: if an argument is not what it should be.
    :raises RuntimeError: on Airflow 2, which has no event triggers.
    """

    def __init__(
        self,
        sync_id: int | str,
        census_conn_id: str = "census_default",
        include_failed: bool = False,
        since: datetime | str | None = None,
        poll_interval: timedelta | float = DEFAULT_INTERVAL,
    ) -> None:
        if not AIRFLOW_V_3_0_PLUS:
            raise RuntimeError("CensusSyncRunEventTrigger needs Airflow 3: Airflow 2 has no event triggers")
        super().__init__()  # type: ignore[no-untyped-call]
        checked = any_id("sync_id", sync_id)
        self.sync_id = int(checked) if checked.isdigit() else str(checked)
        self.census_conn_id = name("census_conn_id", census_conn_id)
        flag("include_failed", include_failed)
        self.include_failed = include_failed
        self.since = None if since is None else moment("since", since)
        self.poll_interval = seconds("poll_interval", poll_interval)
        self._kept: Mark | None = None

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
        """Name the sync: those who watch the same one share its looks, from Airflow 3.3 on."""
        return "census", self.census_conn_id, self.sync_id

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> RunStream:
        """Make what looks at the sync for all who watch it."""
        trigger = cls(**kwargs)
        return RunStream(trigger.census_conn_id, trigger.sync_id, audience(trigger.shared_stream_key()))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Take from the looks what is news to this trigger."""
        async for event in self._tell(shared_stream, audience(self.shared_stream_key())):
            yield event

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same alone, where Airflow shares no streams."""
        listeners = Audience()
        stream = RunStream(self.census_conn_id, self.sync_id, listeners)
        async for event in self._tell(stream.alone(), listeners):
            yield event

    async def _tell(self, looks: AsyncIterator[Look], listeners: Audience) -> AsyncIterator[TriggerEvent]:
        loop = asyncio.get_running_loop()
        free_at = 0.0
        mark = await self._recall()
        listeners.add(self, mark)
        try:
            async for look in looks:
                if look.marks.get(self) != mark:  # it began before this trigger listened
                    continue
                found, mark = mark.news(look.runs, self._is_wanted)
                telling = (found[:-1] or found) if loop.time() >= free_at else []
                for run in telling:
                    look.has_news = True
                    free_at = loop.time() + SPACING
                    yield TriggerEvent(sync_runs.summary(run, sync_runs.browser_url(look.base_url, run)))
                if len(telling) < len(found):
                    listeners.want_look(free_at)
                mark = mark.told(telling)
                listeners.marks[self] = look.told[self] = mark
        finally:
            listeners.marks.pop(self, None)

    def _is_wanted(self, run: dict[str, Any]) -> bool:
        outcome = sync_runs.outcome(run)
        return outcome == "completed" or (self.include_failed and outcome != "skipped")

    async def _recall(self) -> Mark:
        """Read how far the runs have been told; to begin anew because Airflow cannot tell would lose some."""
        start = time.time() if self.since is None else self.since.timestamp()
        pause = FIRST_PAUSE
        while True:
            try:
                stored = [await store.aget(self._key) for store in self._stores()]
                break
            except Exception as error:  # noqa: BLE001 - whatever the store fails with
                log.warning("Cannot read yet how far sync %s has been told: %r", self.sync_id, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        # An event goes to all assets at once, so one that knows of it speaks for those that do not.
        marks = [Mark.read(each) for each in stored]
        furthest = max(
            (mark for mark in marks if mark is not None),
            key=lambda mark: (mark.newest or 0, -len(mark.open)),
            default=Mark(start),
        )
        self._kept = furthest if all(mark == furthest for mark in marks) else None
        await self.keep(furthest)
        return furthest

    async def keep(self, mark: Mark) -> None:
        """Write down how far the runs have been told; if that fails, the next look makes up for it."""
        if mark == self._kept:
            return
        try:
            for store in self._stores():
                await store.aset(self._key, mark.written())
        except Exception as error:  # noqa: BLE001 - whatever the store fails with
            log.warning("Cannot write down how far sync %s has been told: %r", self.sync_id, error)
        else:
            self._kept = mark

    @property
    def _key(self) -> str:
        return f"census_sync_runs/{self.census_conn_id}/{self.sync_id}"

    def _stores(self) -> Sequence[Any]:
        """Find the store of each asset that is watched."""
        stores = getattr(self, "asset_state_store", None)
        if stores is None:  # before Airflow 3.3
            return []
        # Airflow gives no other way to ask which assets these are; the whole serves if there is only one.
        if not hasattr(stores, "_by_name"):
            return [stores]
        return [*stores._by_name.values(), *stores._by_uri.values()]


class Audience:
    """
    The triggers that listen to a stream, and when its next look is due.

    :ivar marks: how far each of them has been told.
    """

    def __init__(self) -> None:
        self.marks: dict[CensusSyncRunEventTrigger, Mark] = {}
        self._due = math.inf
        self._sooner = asyncio.Event()

    @property
    def interval(self) -> float:
        """Seconds between two looks for them."""
        return min((trigger.poll_interval for trigger in self.marks), default=DEFAULT_INTERVAL)

    def add(self, trigger: CensusSyncRunEventTrigger, mark: Mark) -> None:
        """Let a trigger listen, from a look of its own on."""
        self.marks[trigger] = mark
        self.want_look(asyncio.get_running_loop().time() + GATHERING)

    def want_look(self, at: float) -> None:
        """Let the next look be at this time of the event loop's clock, unless it is sooner anyway."""
        if at < self._due:
            self._due = at
            self._sooner.set()

    async def next_look(self) -> None:
        """Wait until the next look is due; none is, until somebody wants it."""
        while (left := self._due - asyncio.get_running_loop().time()) > 0:
            self._sooner.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), None if left == math.inf else left)
        self._due = math.inf


AUDIENCES: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[Hashable, Audience]]
AUDIENCES = WeakKeyDictionary()
"""Those who listen on an event loop, by the key of their stream; Airflow does not show them to the stream."""


def audience(key: Hashable) -> Audience:
    """Find those who listen to a stream."""
    audiences = AUDIENCES.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    found = audiences.get(key)
    if found is None:
        found = audiences[key] = Audience()
    return found


@dataclass
class Look:
    """
    What one look at a sync saw.

    :ivar runs: the runs by id.
    :ivar base_url: the host of Census.
    :ivar marks: for which triggers it was made, and how far each of them had been told.
    :ivar told: how far each of them has been told after it.
    :ivar has_news: whether any of them had something to tell.
    """

    runs: Runs
    base_url: str
    marks: Mapping[CensusSyncRunEventTrigger, Mark]
    told: dict[CensusSyncRunEventTrigger, Mark] = field(default_factory=dict)
    has_news: bool = False

    async def settle(self) -> None:
        """Let the triggers write down how far they have been told."""
        for trigger, mark in self.told.items():
            await trigger.keep(mark)


class RunStream(SharedStreamProducer):
    """
    Look at a sync for all triggers that watch it.

    Airflow calls :meth:`advance` when the events of a look are in its database: what is noted before, a
    triggerer that dies would lose.

    :param census_conn_id: id of the Airflow connection.
    :param sync_id: the sync.
    :param listeners: the triggers.
    """

    def __init__(self, census_conn_id: str, sync_id: int | str, listeners: Audience) -> None:
        self._census_conn_id = census_conn_id
        self._sync_id = sync_id
        self._listeners = listeners

    async def alone(self) -> AsyncIterator[Look]:
        """Give the looks to a single trigger, which has told of one when it asks for the next."""
        async for look, _ in self.open_stream():
            yield look
            await look.settle()

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """
        Let the triggers note what they have told.

        :raises CensusError: if an event may not have arrived: later notes would pass over it, so Airflow is
            to start the triggers anew, which go on from their last ones.
        """
        for item in batch:
            look: Look = item.broker_payload
            if item.outcome.failed and look.has_news:
                raise CensusError(f"Airflow did not take an event of sync {self._sync_id}; telling it again.")
            await look.settle()

    async def open_stream(self) -> AsyncIterator[tuple[Look, Look]]:
        """Look at the sync again and again, whatever happens."""
        loop = asyncio.get_running_loop()
        outage = Outage(self._sync_id)
        missed = 0
        known: Runs = {}
        async with AsyncExitStack() as line:
            hook: CensusHook | None = None
            while True:
                await self._listeners.next_look()
                failure: CensusError | None = None
                try:
                    hook = hook or await self._open(line)
                    look = await self._look(hook, known)
                except CensusError as error:
                    failure = error
                except Exception as error:  # noqa: BLE001 - a secrets backend may fail with anything
                    failure = CensusError(f"Connection {self._census_conn_id}: {error!r}")
                missed = 0 if failure is None else missed + 1
                interval = self._listeners.interval * RNG.uniform(0.9, 1.0)
                self._listeners.want_look(loop.time() + retries.next_look(interval, missed, failure, RNG))
                if failure is None:
                    known = look.runs
                    outage.saw(known)
                    yield look, look
                else:
                    outage.missed(failure)

    async def _open(self, line: AsyncExitStack) -> CensusHook:
        """Keep a line to Census open, which picks up what becomes of the connection in Airflow."""
        module = await load("airflow_provider_census.hooks.census")
        hook: CensusHook = module.CensusHook(self._census_conn_id)
        await line.enter_async_context(hook.aopen())
        return hook

    async def _look(self, hook: CensusHook, known: Runs) -> Look:
        settings = await hook.asettings()
        marks = dict(self._listeners.marks)
        runs = await hook.adrive(news.look(self._sync_id, set(marks.values()), settings.base_url, known))
        return Look(runs, settings.base_url, marks)


class Outage(flows.Lookout[Runs]):
    """What a stream says of the looks that failed: it goes on after every one."""

    def __init__(self, sync_id: int | str) -> None:
        name = f"the runs of sync {sync_id}"
        super().__init__(name, flows.newest_runs(sync_id), log, time.time, endure=True)

    def _has_ended(self, now: Runs) -> bool:
        return False


def moment(argument: str, value: object) -> datetime:
    """
    Take a moment to UTC.

    :raises ValueError: if it is neither a ``datetime`` nor one in ISO 8601, or has no time zone.
    """
    found = value
    if isinstance(value, str):
        with suppress(ValueError):
            found = datetime.fromisoformat(value.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValueError(
            f"{argument} must be a datetime with a time zone, or such as '2026-01-31T00:00:00+00:00'; "
            f"not {value!r}"
        )
    return datetime.fromtimestamp(found.timestamp(), timezone.utc)

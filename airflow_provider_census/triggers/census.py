# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The trigger: waits for a sync run in the triggerer."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_census.api import flows, sync_runs
from airflow_provider_census.api.polling import LULL, Polling, Rush
from airflow_provider_census.api.request import any_id, name, seconds
from airflow_provider_census.exceptions import CensusError, CensusTimeoutError
from airflow_provider_census.loading import load
from airflow_provider_census.task_state import DEFERRED, task_state
from airflow_provider_census.triggers.events import CensusSyncRunEventTrigger
from airflow_provider_census.warning import deprecated

if TYPE_CHECKING:
    from airflow_provider_census.hooks.census import CensusHook

__all__ = ["CensusSyncRunEventTrigger", "CensusSyncRunTrigger", "CensusTrigger"]

LAST_LOOK = 5.0
"""Seconds after the end of a wait that its last look may still take."""

STATE_TIME = 20.0
CANCEL_TIME = 8.0
"""Seconds that Airflow may take to tell the state of a task that may have been killed, and Census to cancel
its run; in all less than the 30 that Airflow gives (``[triggerer] on_kill_timeout``)."""

PATIENCE = 600.0
"""Seconds for which Airflow is asked for a connection that it says it has not, if the worker had it: that is
also what it says while its secrets backend is down."""

LITTLE_PATIENCE = 10.0
"""The same if no worker began the wait, so that nobody ever had the connection."""

RNG = random.Random()


RUSHES: WeakKeyDictionary[asyncio.AbstractEventLoop, Rush] = WeakKeyDictionary()
"""The waits that begin together on an event loop, as all do when a triggerer starts."""


class WaitTrigger(BaseTrigger):
    """
    A wait for sync runs, of which a subclass says which; its arguments are what is serialized.

    The event says how the wait ended and, where it is known, for which run, nothing else: the worker reads
    the run itself.
    """

    def __init__(
        self,
        census_conn_id: str,
        poll_interval: float | None,
        exponential_backoff: bool,
        max_wait: float | None,
        silent_fail: bool,
        started: float | None,
        deadline: float | None,
        execution_deadline: float | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known_hook: CensusHook | None = None
        if poll_interval is not None:
            seconds("poll_interval", poll_interval)
        elif exponential_backoff:
            raise ValueError("exponential_backoff needs a poll_interval to begin with, not None")
        self.census_conn_id = name("census_conn_id", census_conn_id)
        self.poll_interval = poll_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.silent_fail = silent_fail
        self.started = started
        self.deadline = deadline
        self.execution_deadline = execution_deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the arguments from which the triggerer makes this trigger again."""
        kind = type(self)
        parameters = inspect.signature(kind).parameters.values()
        names = [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
        return f"{kind.__module__}.{kind.__qualname__}", {name: getattr(self, name) for name in names}

    @abstractmethod
    def _lookout(self, hook: CensusHook) -> flows.RunLookout[Any]:
        """Make what is waited with."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how the wait ended."""
        hook = await self._hook()
        lookout = self._lookout(hook)
        end = await self._wait(hook, lookout)
        yield TriggerEvent({"sync_run_id": lookout.sync_run_id, **end})

    async def _wait(self, hook: CensusHook, lookout: flows.RunLookout[Any]) -> dict[str, str]:
        polling = Polling(
            self.poll_interval, exponential_backoff=self.exponential_backoff, max_wait=self.max_wait
        )
        deadlines = [moment for moment in (self.deadline, self.execution_deadline) if moment is not None]
        deadline = min(deadlines, default=None)
        wait = flows.wait(
            lookout,
            polling,
            started=time.time() if self.started is None else self.started,
            deadline=deadline,
            now=time.time,
            rng=RNG,
        )
        await self._let_others_go_first(polling.spread)
        left = None if deadline is None else max(0.0, deadline - time.time()) + LAST_LOOK
        try:
            await asyncio.wait_for(self._look_up_and(hook, wait, polling.spread), left)
        except (CensusTimeoutError, asyncio.TimeoutError):
            return {"event": "execution_timeout" if deadline == self.execution_deadline else "timeout"}
        except (CensusError, AirflowNotFoundException) as error:
            return {"event": "error", "message": str(error)}
        return {"event": "ended"}

    async def _let_others_go_first(self, spread: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(RUSHES.setdefault(loop, Rush()).join(loop.time(), spread))

    async def _hook(self) -> CensusHook:
        if self._known_hook is None:
            module = await load("airflow_provider_census.hooks.census")
            self._known_hook = module.CensusHook(self.census_conn_id)
        return self._known_hook

    async def _look_up_and(self, hook: CensusHook, wait: flows.Flow[Any], spread: float) -> None:
        """
        Carry out the wait, once Airflow, or its secrets backend, gives the connection.

        :param spread: seconds over which those that begin together spread their first looks.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        until = begun + (LITTLE_PATIENCE if self.started is None else PATIENCE)
        pause = 1.0
        async with hook.aopen():
            while True:
                try:
                    await hook.asettings()
                    break
                except CensusError:
                    raise
                except Exception as error:
                    if isinstance(error, AirflowNotFoundException) and loop.time() + pause > until:
                        raise
                    self.log.warning("Cannot get the connection %s yet: %r", self.census_conn_id, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 60.0)
            if loop.time() > begun + LULL:  # all that had to wait for it have the connection at once
                await self._let_others_go_first(spread)
            await hook.adrive(wait)


class CensusSyncRunTrigger(WaitTrigger):
    """
    Wait until a sync run has ended, however it has, or the wait is over.

    :param sync_run_id: id of the run.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two looks; ``None`` lets them grow with the time waited.
    :param exponential_backoff: double the pause at every look, from ``poll_interval`` on.
    :param max_wait: seconds at most between two looks with ``exponential_backoff``.
    :param silent_fail: go on waiting when the token is rejected or the run does not exist.
    :param started: when the wait began, in seconds since the epoch; ``None`` for now.
    :param deadline: when the wait is over, in seconds since the epoch; ``None`` for never.
    :param execution_deadline: the same for the task's ``execution_timeout``.
    :param cancel_on_kill: cancel the run when a user marks the waiting task as failed or success, clears or
        deletes it.
    """

    def __init__(
        self,
        sync_run_id: int | str,
        census_conn_id: str = "census_default",
        poll_interval: float | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        started: float | None = None,
        deadline: float | None = None,
        execution_deadline: float | None = None,
        cancel_on_kill: bool = False,
        **_of_another_release: Any,
    ) -> None:
        super().__init__(
            census_conn_id,
            poll_interval,
            exponential_backoff,
            max_wait,
            silent_fail,
            started,
            deadline,
            execution_deadline,
        )
        self.sync_run_id = sync_run_id
        any_id("sync_run_id", sync_run_id)
        self.cancel_on_kill = cancel_on_kill
        self._waiting = False

    def _lookout(self, hook: CensusHook) -> flows.Watch:
        return flows.Watch(self.sync_run_id, self.log, time.time, endure=self.silent_fail)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how the wait ended."""
        self._waiting = True
        try:
            async for event in super().run():
                self._waiting = False
                yield event
        except asyncio.CancelledError:
            # From Airflow 3.3 on, the triggerer calls on_kill by itself, and not when it stops.
            if not hasattr(BaseTrigger, "on_kill"):
                await self.on_kill()
            raise

    async def on_kill(self) -> None:
        """
        Cancel the run if a user killed the task.

        The triggerer also ends a trigger that another triggerer took over, or all of them when it stops: then
        the task is still deferred, and its run goes on.
        """
        if not self.cancel_on_kill or not self._waiting or self.task_instance is None:
            return
        self._waiting = False
        work = asyncio.create_task(self._cancel_if_killed())
        # The triggerer cancels a trigger anew every second until it is done, which would cut this short. When
        # it stops, it cancels the work itself.
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({work})
        await work

    async def _cancel_if_killed(self) -> None:
        try:
            # On Python 3.10 and 3.11 a blocking call is only possible in a thread here.
            state = await asyncio.wait_for(asyncio.to_thread(task_state, self.task_instance), STATE_TIME)
        except Exception as error:  # noqa: BLE001 - whatever Airflow could not tell, the run must not suffer for it
            self.log.warning("Cannot tell whether the task was killed; its sync run goes on: %r", error)
            return
        if state == DEFERRED:
            return
        self.log.warning("The task is %s now: cancelling sync run %s.", state, self.sync_run_id)
        cancel = (await self._hook()).acancel_at_once(self.sync_run_id)
        try:
            await asyncio.wait_for(cancel, CANCEL_TIME)
        except (CensusError, asyncio.TimeoutError) as error:
            self.log.warning("Sync run %s may go on: %r", self.sync_run_id, error)


class CensusTrigger(CensusSyncRunTrigger):
    """
    The trigger of 2.x, whose event tells how the run ended: ``status`` ``completed`` or ``failed``.

    Deprecated: write :class:`CensusSyncRunTrigger`. The tasks that 2.x deferred wait in this one.

    :param sync_run_id: id of the run.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self, sync_run_id: int | str, census_conn_id: str = "census_default", poll_interval: float = 60.0
    ) -> None:
        deprecated("CensusTrigger", "CensusSyncRunTrigger")
        super().__init__(sync_run_id, census_conn_id, float(poll_interval))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what 2.x gave, to which subclasses add their own."""
        names = ("sync_run_id", "census_conn_id", "poll_interval")
        path = f"{CensusTrigger.__module__}.{CensusTrigger.__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    def _lookout(self, hook: CensusHook) -> flows.Watch:
        self._watch = super()._lookout(hook)
        return self._watch

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how the run ended; a wait that ends early counts as a failed run."""
        async for event in super().run():
            run = self._watch.run or {}
            ended = sync_runs.outcome(run)
            why = event.payload.get("message") or run.get("error_message") or run.get("error_detail")
            completed = ended == "completed"
            yield TriggerEvent(
                {
                    "sync_run_id": self.sync_run_id,
                    "status": "completed" if completed else "failed",
                    "error_message": why or (None if completed else f"The run ended as {ended}."),
                }
            )

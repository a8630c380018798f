# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The triggers of waiting tasks: for a sync run, and for whatever run of a sync."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from airflow_provider_census.api.validation import check_bool, check_id, to_builtin
from airflow_provider_census.api.waiters import RunWaiter, SyncIdleWaiter, SyncRunWaiter, SyncWaiter
from airflow_provider_census.triggers.base import WaitTrigger
from airflow_provider_census.triggers.events import CensusSyncRunEventTrigger
from airflow_provider_census.utils.deprecation import old_names
from airflow_provider_census.utils.kill import DEFERRED, task_state, was_killed_by_user

if TYPE_CHECKING:
    from airflow_provider_census.deprecated import CensusTrigger as CensusTrigger

__all__ = ["CensusSyncRunEventTrigger", "CensusSyncRunTrigger", "CensusSyncTrigger"]

STATE_TIMEOUT = 20.0
"""Seconds that Airflow may take to give the state of a task that may have been killed."""

TELLS_STATES_AT_ANY_TIME = AIRFLOW_V_3_3_PLUS or not AIRFLOW_V_3_0_PLUS
"""Whether a trigger may ask for a state while others ask for something, too."""

CANCEL_TIMEOUT = 8.0
"""
Seconds that Census may take to cancel the run of a killed task.

Together with the state this is less than the 30 that Airflow gives (``[triggerer] on_kill_timeout``).
"""


class CensusSyncRunTrigger(WaitTrigger):
    """
    Wait until a sync run has ended, however it has, or the wait is over.

    :param sync_run_id: id of the run.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two polls; ``None`` lets them grow with the time waited.
    :param cancel_on_kill: cancel the run when a user marks the waiting task as failed or success, or
        clears it.
    :param release: the release of this provider that stored the arguments; leave it out.
    :param options: the other fields of :class:`~airflow_provider_census.api.polling.WaitOptions`:
        ``exponential_backoff``, ``max_wait``, ``silent_fail``, ``started``, ``deadline`` and
        ``execution_deadline``.
    """

    def __init__(
        self,
        sync_run_id: int | str,
        census_conn_id: str = "census_default",
        poll_interval: float | None = None,
        *,
        cancel_on_kill: bool = False,
        release: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(census_conn_id, release, {"poll_interval": poll_interval, **options})
        if release is None:  # else it was checked before it was stored
            check_id("sync_run_id", sync_run_id)
            check_bool("cancel_on_kill", cancel_on_kill)
            sync_run_id = to_builtin(sync_run_id)
        self.sync_run_id = sync_run_id
        self.cancel_on_kill = cancel_on_kill
        self._state_at_start: asyncio.Task[str | Exception] | None = None

    def _arguments(self) -> dict[str, Any]:
        return {"sync_run_id": self.sync_run_id, "cancel_on_kill": self.cancel_on_kill}

    def _waiter(self, base_url: str) -> RunWaiter[Any]:
        assert self.sync_run_id is not None
        return SyncRunWaiter(self.sync_run_id, self.log, time.time, silent_fail=self.options.silent_fail)

    def _begin(self) -> None:
        if self.cancel_on_kill and self.task_instance is not None and TELLS_STATES_AT_ANY_TIME:
            self._state_at_start = asyncio.create_task(self._state())

    async def on_kill(self) -> None:
        """
        Cancel the run if a user killed the task.

        The triggerer also ends a trigger that another triggerer took over, or all of them when it stops: see
        :mod:`~airflow_provider_census.utils.kill`.
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
        deadline = self.options.first_deadline
        if deadline is not None and time.time() >= deadline:
            return  # the task resumes, and decides itself
        state = await self._state()
        if isinstance(state, Exception):
            self.log.warning("Cannot tell whether the task was killed; its sync run keeps running: %r", state)
            return
        if not was_killed_by_user(state, deferred=True) or not await self._was_waited_for():
            return
        self.log.warning("The task is %s now: cancelling sync run %s.", state, self.sync_run_id)
        assert self.sync_run_id is not None
        try:
            await asyncio.wait_for(self.hook.acancel_at_once(self.sync_run_id), CANCEL_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - also what a secrets backend fails with; the kill continues
            self.log.warning("Sync run %s may keep running: %r", self.sync_run_id, error)

    async def _was_waited_for(self) -> bool:
        """Tell whether the task was deferred when this trigger began; if nobody knows, it was."""
        state = DEFERRED if self._state_at_start is None else await self._state_at_start
        if state == DEFERRED or isinstance(state, Exception):
            return True
        self.log.info("Nobody waited here for sync run %s: the task was %s.", self.sync_run_id, state)
        return False

    async def _state(self) -> str | Exception:
        """Ask Airflow for the state of the task; the error if it does not say."""
        try:
            # On Python 3.10 and 3.11 a blocking call is only possible in a thread here.
            return await asyncio.wait_for(asyncio.to_thread(task_state, self.task_instance), STATE_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - whatever Airflow fails with, the run must not suffer for it
            return error


class CensusSyncTrigger(WaitTrigger):
    """
    Wait until a run of a sync has ended that was created after a moment, or until no run of it is running.

    :param sync_id: id of the sync.
    :param since: the moment, in seconds since the epoch; ``None`` to wait until no run is running.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two polls; ``None`` lets them grow with the time waited.
    :param release: the release of this provider that stored the arguments; leave it out.
    :param options: the other fields of :class:`~airflow_provider_census.api.polling.WaitOptions`.
    """

    def __init__(
        self,
        sync_id: int | str,
        since: float | None = None,
        census_conn_id: str = "census_default",
        poll_interval: float | None = None,
        *,
        release: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(census_conn_id, release, {"poll_interval": poll_interval, **options})
        if release is None:  # else it was checked before it was stored
            check_id("sync_id", sync_id)
            sync_id = to_builtin(sync_id)
        self.sync_id = sync_id
        self.since = since

    def _arguments(self) -> dict[str, Any]:
        return {"sync_id": self.sync_id, "since": self.since}

    def _waiter(self, base_url: str) -> RunWaiter[Any]:
        if self.since is None:
            return SyncIdleWaiter(self.sync_id, self.log, time.time)
        return SyncWaiter(
            self.sync_id,
            self.since,
            base_url,
            self.log,
            time.time,
            silent_fail=self.options.silent_fail,
        )


__getattr__ = old_names(__name__, "CensusTrigger")

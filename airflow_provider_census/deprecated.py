# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The classes of 2.x, each of them removed in 4.0; their old modules find them here.

What they do otherwise than those of today is what 2.x did.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import TriggerEvent

from airflow_provider_census.api import sync_runs
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.triggers.census import CensusSyncRunTrigger
from airflow_provider_census.utils.deprecation import deprecated
from airflow_provider_census.waiting import DEFAULT_CONN_ID, WaitsForSyncRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_census.hooks.census import CensusHook


class HookOf2x(WaitsForSyncRun):
    """The part of a task that has its hook as in 2.x, for operator and sensor to be mixed into."""

    _hook: CensusHook | None = None
    _is_making_hook = False

    @property
    def hook(self) -> CensusHook:
        """The hook of the connection; ``None`` while ``_get_hook`` makes it, which asks for it first."""
        if self._hook is None and not self._is_making_hook:
            self._is_making_hook = True
            try:
                self._hook = self._get_hook()
            finally:
                self._is_making_hook = False
        return cast("CensusHook", self._hook)

    @hook.setter
    def hook(self, hook: CensusHook | None) -> None:
        self._hook = hook

    def _get_hook(self) -> CensusHook:
        """Make the hook once, as subclasses of 2.x may do in their own way."""
        if self._hook is None:
            self._hook = self._make_hook()
        return self._hook


class CensusOperator(HookOf2x, CensusTriggerSyncOperator):
    """
    The operator of 2.x.

    Deprecated, removed in 4.0: write :class:`CensusTriggerSyncOperator`.
    """

    def __init__(self, *, sync_id: int | str, census_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        deprecated("CensusOperator", "CensusTriggerSyncOperator")
        # 2.x had none of these, so default_args that name them are meant for other operators.
        ours = inspect.signature(CensusTriggerSyncOperator.__init__).parameters.values()
        defaults = {each.name: each.default for each in ours if each.default is not each.empty}
        super().__init__(**{**defaults, **kwargs, "sync_id": sync_id, "census_conn_id": census_conn_id})


class CensusSensor(HookOf2x, CensusSyncRunSensor):
    """
    The sensor of 2.x, which polls once a minute, at most once a second if deferred.

    It defers only with ``deferrable=True``. Deprecated, removed in 4.0: write :class:`CensusSyncRunSensor`.
    """

    def __init__(
        self,
        *,
        sync_run_id: int | str,
        census_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = False,
        poke_interval: timedelta | float = 60.0,
        **kwargs: Any,
    ) -> None:
        deprecated("CensusSensor", "CensusSyncRunSensor")
        if deferrable:  # as in 2.x
            span = poke_interval.total_seconds() if isinstance(poke_interval, timedelta) else poke_interval
            poke_interval = max(span, 1.0)
        super().__init__(
            sync_run_id=sync_run_id,
            census_conn_id=census_conn_id,
            deferrable=bool(deferrable),  # 2.x took any value for a flag
            poke_interval=poke_interval,
            **kwargs,
        )


class CensusTrigger(CensusSyncRunTrigger):
    """
    The trigger of 2.x, whose event says how the run ended: ``status`` ``completed`` or ``failed``.

    The tasks that 2.x deferred wait in this one. Deprecated, removed in 4.0: write
    :class:`CensusSyncRunTrigger`.

    :param sync_run_id: id of the run.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two polls.
    """

    def __init__(
        self, sync_run_id: int | str, census_conn_id: str = DEFAULT_CONN_ID, poll_interval: float = 60.0
    ) -> None:
        deprecated("CensusTrigger", "CensusSyncRunTrigger")
        self.poll_interval = float(poll_interval)
        super().__init__(sync_run_id, census_conn_id, self.poll_interval)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what 2.x gave, to which subclasses add their own."""
        names = ("sync_run_id", "census_conn_id", "poll_interval")
        path = "airflow_provider_census.triggers.census.CensusTrigger"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and report how the run ended; a wait that ends early counts as a failed run."""
        async for event in super().run():
            run = self.finished_run or {}
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

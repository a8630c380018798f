# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The operator: starts a sync, and waits for its run if asked to."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_census import tasks
from airflow_provider_census.api.polling import Polling
from airflow_provider_census.api.sync_runs import Tolerance, browser_url
from airflow_provider_census.exceptions import CensusTimeoutError
from airflow_provider_census.links.census import CensusSyncRunLink, publish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.hooks.census import CensusHook

SEVEN_DAYS = timedelta(days=7)


class CensusTriggerSyncOperator(tasks.WaitsForSyncRun, BaseOperator):
    """
    Start a run of a Census sync.

    By default the task is done as soon as the run is started: green means *started*, not *synced*. With
    ``wait_for_completion=True`` it waits, and fails if the run does not complete.

    The task's return value is the id of the run. When it waited, the XCom ``sync_run`` holds the finished run.

    :param sync_id: id of the sync (templated).
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it
        (templated: ``true`` and ``false``).
    :param wait_for_completion: wait until the run has ended. All that follows only matters then.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two looks at the run; ``None`` lets them grow with the time waited,
        from 5 to 60 seconds.
    :param timeout: seconds, or a ``timedelta``, to wait at most; then the task fails, the run goes on.
    :param on_skipped_run: what it means if Census skipped the run because an earlier run of the sync was still
        going: ``"fail"``, ``"skip"`` (the task) or ``"succeed"``.
    :param max_records_failed: fail if the destination rejected more records; ``None`` for any number.
    :param max_records_invalid: fail if Census left out more records as invalid; ``None`` for any number.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusApiError: if Census does not start the sync.
    :raises CensusSyncRunError: if the run ended in another way than it should.
    :raises CensusTimeoutError: if the run goes on after ``timeout``.
    """

    template_fields: Sequence[str] = ("sync_id", "census_conn_id", "force_full_sync")
    operator_extra_links = (CensusSyncRunLink(),)
    ui_color = "#f5e9ff"
    silent_fail = False

    def __init__(
        self,
        *,
        sync_id: int | str,
        census_conn_id: str = tasks.DEFAULT_CONN_ID,
        force_full_sync: bool | str = False,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        timeout: timedelta | float = SEVEN_DAYS,
        on_skipped_run: str = "fail",
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        tasks.early_id("sync_id", sync_id)
        self.sync_id = sync_id
        self.census_conn_id = census_conn_id
        self.force_full_sync = force_full_sync
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.polling = Polling(
            None if poll_interval is None else tasks.seconds("poll_interval", poll_interval)
        )
        self.timeout = tasks.seconds("timeout", timeout)
        self.tolerance = Tolerance(on_skipped_run, max_records_failed, max_records_invalid)
        if not wait_for_completion:
            self._warn_of_idle_options()

    def _warn_of_idle_options(self) -> None:
        idle = [
            option
            for option, is_set in {
                "poll_interval": self.polling != Polling(),
                "timeout": self.timeout != SEVEN_DAYS.total_seconds(),
                "on_skipped_run": self.tolerance.on_skipped_run != "fail",
                "max_records_failed": self.tolerance.max_records_failed is not None,
                "max_records_invalid": self.tolerance.max_records_invalid is not None,
            }.items()
            if is_set
        ]
        if idle:
            warnings.warn(
                f"{', '.join(idle)} of task {self.task_id!r} will have no effect: "
                "the task does not wait for its sync run. Set wait_for_completion=True.",
                UserWarning,
                stacklevel=3,
            )

    def execute(self, context: Context) -> int:
        """Start the sync, and wait for the run if asked to."""
        hook = self._hook()
        sync_run_id = hook.trigger_sync(self.sync_id, force_full_sync=self._force_full_sync())
        url = browser_url(hook.settings.base_url, {"id": sync_run_id, "sync_id": self.sync_id})
        self.log.info("Started sync run %s of sync %s. %s", sync_run_id, self.sync_id, url)
        publish(context, url)
        if not self.wait_for_completion:
            return sync_run_id
        bounds = self._bounds()
        if self.deferrable:
            run = self._look_or_defer(context, hook, sync_run_id, bounds)
        else:
            run = self._wait_here(hook, sync_run_id, bounds)
        return self._conclude(context, hook, run)

    def execute_complete(self, context: Context, event: Any = None, **bounds: Any) -> int:
        """Take over from the triggerer: read the run again, and judge it."""
        hook = self._hook()
        return self._conclude(context, hook, self._resume(context, hook, event, self._bounds(bounds)))

    def _wait_here(self, hook: CensusHook, sync_run_id: int, bounds: tasks.Bounds) -> dict[str, Any]:
        from airflow_provider_census.api import flows

        wait = flows.wait_for_sync_run(
            self._watch(sync_run_id),
            self.polling,
            started=bounds.started,
            deadline=bounds.deadline,
            now=time.time,
            rng=random.Random(),
        )
        try:
            return hook.drive(wait)
        except CensusTimeoutError as error:
            raise self._timeout_error(f"{error}; it goes on in Census.") from error

    def _timeout_error(self, message: str) -> CensusTimeoutError:
        return CensusTimeoutError(f"{message} The task waits {self.timeout:g} s at most (timeout).")

    def _conclude(self, context: Context, hook: CensusHook, run: dict[str, Any]) -> int:
        context["ti"].xcom_push(key="sync_run", value=run)
        if error := self._verdict(context, hook, run):
            raise error
        return int(run["id"])

    def _force_full_sync(self) -> bool:
        """Read the flag, which a template renders to a word."""
        words = {"true": True, "false": False}
        word = str(self.force_full_sync).strip().lower()
        if word not in words:
            raise ValueError(f"force_full_sync must be true or false, not {self.force_full_sync!r}")
        return words[word]

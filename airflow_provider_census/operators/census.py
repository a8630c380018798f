# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The operator: starts a sync, and waits for its run if asked to."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, conf

from airflow_provider_census import reporting
from airflow_provider_census.api import wording
from airflow_provider_census.api.criteria import CHECKS
from airflow_provider_census.api.hook_params import check_hook_params
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.retries import outcome_unknown
from airflow_provider_census.api.sync_runs import browser_url, outcome, sync_url
from airflow_provider_census.api.validation import (
    check_choice,
    check_defaults,
    check_int,
    check_literals,
    check_name,
    check_sync,
    is_literal,
    optional,
    take_arguments,
    to_bool,
    to_seconds,
)
from airflow_provider_census.exceptions import CensusError, CensusTaskKilled, CensusTimeoutError
from airflow_provider_census.links.census import CensusSyncRunLink
from airflow_provider_census.operators.checkpoint import CheckpointStore, ResumableSyncRun
from airflow_provider_census.operators.ineffective import warn_of_ineffective_options
from airflow_provider_census.utils import stats, xcom
from airflow_provider_census.utils.deprecation import old_names
from airflow_provider_census.utils.kill import call_with_timeout, task_state, was_killed_by_user
from airflow_provider_census.waiting import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.triggering import RunsSnapshot
    from airflow_provider_census.api.validation import Check
    from airflow_provider_census.api.waiters import RunWaiter, SyncIdleWaiter
    from airflow_provider_census.triggers.base import WaitTrigger

RUN_ID_KEY = "sync_run_id"
"""The XCom that holds the id of the run as soon as there is one."""

STATE_TIMEOUT = 1.5
"""Seconds that Airflow may take to give the state of a task that is being killed."""

CANCEL_TIMEOUT = 1.25
"""Seconds to connect, and again to get the response, when the run of a killed task is cancelled."""

MAX_SKIPS = 3
"""Runs of a task that Census may skip because of one that has ended by then, until the task gives up."""

SEVEN_DAYS = timedelta(days=7)

IF_RUNNING = ("trigger", "wait", "join", "fail")


class CensusTriggerSyncOperator(ResumableSyncRun, BaseOperator):
    """
    Start a run of a Census sync.

    By default the task is done as soon as the run is started: green means *started*, not *synced*. With
    ``wait_for_completion=True`` it waits, and fails if the run does not complete.

    The task's return value is the id of the run, which the XCom ``sync_run_id`` also holds while it waits.
    When it waited, the XCom ``sync_run`` holds the finished run.

    :param sync_id: id of the sync (templated).
    :param sync_label: the sync's label, exactly, instead of its id (templated).
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param hook_params: what the hook takes besides the connection, such as ``{"timeout": 120}``.
    :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it
        (templated: ``true`` and ``false``).
    :param durable: in a retry, reconnect to the run that an earlier try started, as long as it did not fail.
        From Airflow 3.3 on, the task remembers its run; before, a retry takes over any run of the sync that
        is running and was created in the time of this DAG run.
    :param if_running: what to do if a run of the sync is running already, because of which Census would skip
        another one: ``"trigger"`` it nevertheless; ``"wait"`` until none is running, then start one, which
        syncs all that was loaded before this task; ``"join"``, take that run for ours (it is never cancelled;
        one that is not full is waited for if ``force_full_sync``); or ``"fail"`` (templated).
    :param wait_for_completion: wait until the run has ended. All that follows only matters then; with
        ``if_running`` as ``"wait"`` or ``"join"``, the next three also while the task waits for another run.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two polls of the run; ``None`` lets them grow with the time waited,
        from 4 to 23 seconds.
    :param timeout: seconds, or a ``timedelta``, to wait at most (templated); then the task fails, and the run
        keeps running unless ``cancel_on_timeout``.
    :param on_skipped_run: what it means if Census skipped the run because an earlier run of the sync was
        still running: ``"fail"``, ``"skip"`` (the task) or ``"succeed"`` (templated).
    :param max_records_failed: fail if the destination rejected more; ``None`` for any number (templated).
    :param max_records_invalid: fail if Census left out more as invalid; ``None`` for any number (templated).
    :param max_failed_share: fail if more than this share of the processed records, from 0 to 1, was rejected
        or invalid; ``None`` for any (templated).
    :param min_records_processed: fail if the run processed fewer records; ``None`` for any number
        (templated).
    :param cancel_on_timeout: cancel the run when ``timeout`` is reached. It always is when Airflow's
        ``execution_timeout`` is.
    :param cancel_on_kill: cancel the run when a user marks the waiting task as failed or success, or
        clears it. A worker or triggerer that stops is none of these.
    :param log_rejected_records: how many rejected records the log names at most, by identifier and reason;
        0 for none.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusApiError: if Census does not start the sync.
    :raises CensusError: if a run is running and ``if_running`` is ``"fail"``.
    :raises CensusSyncRunError: if the run ended in another way than it should.
    :raises CensusTimeoutError: if the run is still running after ``timeout``.
    """

    template_fields: Sequence[str] = (
        *("sync_id", "sync_label", "census_conn_id", "force_full_sync", "if_running", "timeout"),
        *CHECKS,
    )
    operator_extra_links = (CensusSyncRunLink(),)
    ui_color = "#f5e9ff"
    silent_fail = False
    timeout_error = CensusTimeoutError
    _hook_module = __name__
    checks: ClassVar[dict[str, Check]] = {
        **CHECKS,
        "force_full_sync": to_bool,
        "wait_for_completion": to_bool,
        "deferrable": to_bool,
        "poll_interval": optional(to_seconds),
        "timeout": to_seconds,
        "cancel_on_timeout": to_bool,
        "cancel_on_kill": to_bool,
        "durable": to_bool,
        "if_running": partial(check_choice, allowed=IF_RUNNING),
        "log_rejected_records": partial(check_int, low=0),
        "hook_params": optional(check_hook_params),
    }
    poll_interval: Any
    _skips = 0

    def __init__(
        self,
        *,
        sync_id: int | str | None = None,
        sync_label: str | None = None,
        census_conn_id: str = DEFAULT_CONN_ID,
        force_full_sync: bool | str = False,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        timeout: timedelta | float = SEVEN_DAYS,
        on_skipped_run: str = "fail",
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        max_failed_share: float | None = None,
        min_records_processed: int | None = None,
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        durable: bool = True,
        if_running: str = "trigger",
        log_rejected_records: int = 5,
        hook_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sync_id = sync_id
        self.sync_label = sync_label
        self.census_conn_id = census_conn_id
        self.force_full_sync = force_full_sync
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_skipped_run = on_skipped_run
        self.max_records_failed = max_records_failed
        self.max_records_invalid = max_records_invalid
        self.max_failed_share = max_failed_share
        self.min_records_processed = min_records_processed
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.if_running = if_running
        self.log_rejected_records = log_rejected_records
        self.hook_params = hook_params
        # Refused when Airflow reads the DAG file, if it gives them itself.
        self._checked = check_literals(self, self.checks, self._defaults)
        check_sync(sync_id, sync_label)
        if is_literal(census_conn_id):
            check_name("census_conn_id", census_conn_id)
        _, waits = self._checked.get("wait_for_completion", (None, True))
        if not waits:
            warn_of_ineffective_options(self, SEVEN_DAYS)

    _defaults = check_defaults(__init__, checks)

    @property
    def _poll_interval(self) -> float | None:
        interval: float | None = self.poll_interval  # of a task that has taken its arguments
        return interval

    def execute(self, context: Context) -> int | None:
        """Start the sync, and wait for the run if asked to."""
        with self._log_failure():
            take_arguments(self, self.checks, self._checked)
            self._skips = 0
            sync_id = self._find_sync_id()
            self._publish(context, sync_url(self.hook.settings.base_url, sync_id))
            checkpoints = self._checkpoints(context, sync_id)
            reconnected = self._reconnect(context, checkpoints)
            if reconnected is None:
                return self._submit(context, sync_id, checkpoints)
            sync_run_id, joined = reconnected
            return self._continue_with(context, sync_id, sync_run_id, joined)

    def execute_when_idle(
        self, context: Context, event: Any = None, *, sync_id: str | None = None, **stored: Any
    ) -> int | None:
        """Resume after the triggerer: start the sync, of which no other run is running any more."""
        from airflow_provider_census.triggers.base import WaitEvent

        take_arguments(self, self.checks, self._checked)
        stored = {**self._stored, **stored}
        self._skips = stored.get("skips", 0)
        sync_id = sync_id or stored.get("sync_id") or self._find_sync_id()
        self._raise_unless_ended(self._idle_waiter(sync_id), WaitEvent.parse(event, run_known=False))
        # The time that another run took says nothing of how long ours will.
        options = replace(self._wait_options(stored), started=time.time())
        return self._submit(context, sync_id, self._checkpoints(context, sync_id), options)

    def execute_complete(self, context: Context, event: Any = None, **stored: Any) -> int | None:
        """Resume after the triggerer: read the run again, and evaluate it."""
        from airflow_provider_census.triggers.base import WaitEvent

        take_arguments(self, self.checks, self._checked)
        stored = {**self._stored, **stored}
        self.joined = stored.get("joined", self.if_running == "join")
        self._skips = stored.get("skips", 0)
        options = self._wait_options(stored)
        wait_event = WaitEvent.parse(event)
        run = self._resume(context, self._run_waiter(wait_event.sync_run_id), wait_event, options)
        return self._complete(context, run, options)

    def _resume_without_event(self, context: Context, failure: dict[str, Any] | None) -> int | None:
        from airflow_provider_census.triggers.base import WaitEvent

        take_arguments(self, self.checks, self._checked)
        ti, options = context["ti"], self._wait_options({"started": None})  # which nobody knows any more
        event = WaitEvent.of_trigger_failure(failure, options.first_timeout)
        sync_run_id = ti.xcom_pull(task_ids=self.task_id, key=RUN_ID_KEY, map_indexes=ti.map_index)
        if sync_run_id is None:  # the wait was for another run
            sync_id = self._find_sync_id()
            self._resume(context, self._idle_waiter(sync_id), event, options)
            return self._submit(context, sync_id, self._checkpoints(context, sync_id))
        self.joined = self.if_running == "join"
        run = self._resume(context, self._run_waiter(sync_run_id), event, options)
        if self._waits_for_others and outcome(run) == "skipped":  # the wait was for the one that blocked it
            self._raise_unless_ended(self._idle_waiter(str(run.get("sync_id"))), event)
        return self._complete(context, run, options)

    @property
    def _waits_for_others(self) -> bool:
        return self.if_running in {"wait", "join"}

    def _submit(
        self,
        context: Context,
        sync_id: str,
        checkpoints: CheckpointStore,
        options: WaitOptions | None = None,
    ) -> int | None:
        """Start a run and continue with it, or do what is to be done if another one is running."""
        snapshot: RunsSnapshot | None = None  # then the hook takes it
        full_sync = checkpoints.checkpoint.full_sync
        if self.if_running != "trigger":
            self._check_hook()
            snapshot = self.hook.snapshot_runs(sync_id)
        if snapshot is not None and snapshot.active is not None:
            url = browser_url(self.hook.settings.base_url, snapshot.active)
            active = f"Running already: {wording.other_run(snapshot.active, time.time())}"
            if self.if_running == "fail":
                self._url, name = url, self._name_of(snapshot.active) or f"sync {sync_id}"
                raise reporting.already_running_error(f"{active} · {name}", url)
            self.log.info("%s (if_running=%r)", active, self.if_running)
            self.log.info("Open: %s", url)
            is_enough = snapshot.active.get("full_sync") is True or not full_sync
            if self.if_running == "join" and is_enough:
                sync_run_id = int(snapshot.active["id"])
                checkpoints.save_run(sync_run_id, joined=True)
                return self._continue_with(context, sync_id, sync_run_id, True, options)
            self._publish(context, url)
            options = options or self._wait_options()
            snapshot = self._wait_until_idle(context, sync_id, options)
            options = replace(options, started=time.time())
        try:
            sync_run_id = self._trigger_sync(sync_id, full_sync, snapshot, checkpoints)
        except CensusError as error:
            if not outcome_unknown(error):
                checkpoints.discard()
            raise
        checkpoints.save_run(sync_run_id, joined=False)
        stats.sync_run_started()
        return self._continue_with(context, sync_id, sync_run_id, False, options)

    def _wait_until_idle(self, context: Context, sync_id: str, options: WaitOptions) -> RunsSnapshot:
        """Wait until no run of the sync is running; nothing is cancelled, for none of them is ours."""
        waiter = self._idle_waiter(sync_id)
        if self.deferrable:
            return self._wait_or_defer(context, waiter, options, "execute_when_idle")
        return self._wait_until_timeout(waiter, options)

    def _idle_waiter(self, sync_id: str) -> SyncIdleWaiter:
        from airflow_provider_census.api.waiters import SyncIdleWaiter

        waiter = SyncIdleWaiter(sync_id, self.log, time.time)
        waiter.name_of = self._name_of
        return waiter

    def _resume_kwargs(self, waiter: RunWaiter[Any]) -> dict[str, Any]:
        from airflow_provider_census.api.waiters import SyncIdleWaiter

        if isinstance(waiter, SyncIdleWaiter):
            return {"sync_id": waiter.sync_id, "skips": self._skips}
        return {"joined": self.joined, "skips": self._skips}

    def _trigger(self, waiter: RunWaiter[Any], options: WaitOptions) -> WaitTrigger:
        from airflow_provider_census.api.waiters import SyncIdleWaiter
        from airflow_provider_census.triggers.census import CensusSyncTrigger

        if isinstance(waiter, SyncIdleWaiter):
            return CensusSyncTrigger(waiter.sync_id, None, self.census_conn_id, **options.as_dict())
        return super()._trigger(waiter, options)

    def _continue_with(
        self,
        context: Context,
        sync_id: str,
        sync_run_id: int,
        joined: bool,
        options: WaitOptions | None = None,
    ) -> int | None:
        """Say which run it is, and wait for it if asked to."""
        self.joined = joined
        self._run = {"id": sync_run_id, "sync_id": sync_id}
        waiter = self._run_waiter(sync_run_id)
        if self.wait_for_completion:
            self._own(context, sync_run_id, joined=joined)
        try:
            url = browser_url(self.hook.settings.base_url, self._run)
            xcom.push(context, RUN_ID_KEY, sync_run_id, self.log)
            self._publish(context, url)
            if not self.wait_for_completion:
                reporting.log_start(self._run, url, joined, self.log)
                return xcom.return_value(self, context, sync_run_id)
            options = options or self._wait_options()
            name = self._name_of(self._run)
            reporting.log_start(self._run, url, joined, self.log, name, self._sync)
            if self._killed:  # while the run was being started or joined
                self.on_kill()
                raise CensusTaskKilled(
                    f"The task was killed before it waited for sync run {sync_run_id}. {url}"
                )
            if self.deferrable:
                run = self._wait_or_defer(context, waiter, options)
            else:
                run = self._wait_until_timeout(waiter, options)
        except AirflowTaskTimeout as error:
            if not self.wait_for_completion or hasattr(error, "__notes__"):  # ours, and the run has been left
                raise
            raise self._timed_out(waiter, "execution_timeout") from None
        self._cancellable = None
        return self._complete(context, run, options)

    def _complete(self, context: Context, run: Run, options: WaitOptions) -> int | None:
        """Evaluate a finished run, unless Census skipped it for one that is to be waited for or joined."""
        is_over = options.first_deadline is not None and options.first_deadline <= time.time()
        if self._waits_for_others and outcome(run) == "skipped" and not is_over:
            from airflow_provider_census.api.endpoints import newest_sync_runs
            from airflow_provider_census.api.triggering import blocking_run

            sync_id = str(run.get("sync_id") or self._find_sync_id())
            blocking = blocking_run(run, self.hook.run(newest_sync_runs(sync_id)))
            if blocking is not None and (outcome(blocking) is None or self._skips < MAX_SKIPS):
                by = wording.other_run(blocking, time.time())
                self.log.info("Skipped by Census: run %s was blocked by %s", run["id"], by)
                self.log.info("Open: %s", browser_url(self.hook.settings.base_url, blocking))
                if outcome(blocking) is not None:  # it may have been cancelled and is not quite over
                    self._skips += 1
                    self._sleep(WaitOptions().interval(0.0, 1, random.Random()))
                return self._submit(context, sync_id, self._checkpoints(context, sync_id), options)
        try:
            self._finish(context, run)
        finally:
            xcom.push(context, "sync_run", run, self.log)
        return xcom.return_value(self, context, int(run["id"]))

    def _abandon(self, waiter: RunWaiter[Any], kind: str) -> str:
        """Cancel a run that has no time left, if it is ours."""
        self._cancellable = None
        sync_run_id = waiter.sync_run_id
        if sync_run_id is None or self.joined or (kind == "timeout" and not self.cancel_on_timeout):
            return super()._abandon(waiter, kind)
        try:
            self.hook.cancel_sync_run(sync_run_id)
        except CensusError as error:
            return f"The run could not be cancelled and may keep running in Census: {error}"
        self.log.warning("Cancelled sync run %s: its time is over.", sync_run_id)
        return "The run was cancelled."

    def on_kill(self) -> None:
        """
        Cancel the run if a user killed the task; not if the worker stops, for a retry reconnects to it.

        Airflow gives little time for this, so there is one attempt, over a connection of its own.
        """
        self._killed = True
        if self._cancellable is None or not self.cancel_on_kill:
            return
        (sync_run_id, ti), self._cancellable = self._cancellable, None
        state = call_with_timeout(STATE_TIMEOUT, lambda: task_state(ti))
        if state is None or not was_killed_by_user(state, deferred=False):
            self.log.warning("Killed, but by no user: sync run %s keeps running.", sync_run_id)
            return
        self.log.warning("The task is %s now: cancelling sync run %s.", state, sync_run_id)

        def cancel() -> str:
            try:
                self.hook.cancel_at_once(sync_run_id, CANCEL_TIMEOUT)
            except Exception as error:  # noqa: BLE001 - whatever a secrets backend fails with
                return str(error) or repr(error)
            return ""

        failure = call_with_timeout(2 * CANCEL_TIMEOUT, cancel)
        if failure != "":
            reason = failure or "Census did not take the cancellation in time."
            self.log.warning("Sync run %s may keep running: %s", sync_run_id, reason)


__getattr__ = old_names(__name__, "CensusOperator")

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What a task remembers of the run that it started, over a crash and a retry.

The words are those of Airflow's ``ResumableJobMixin``: a first try *submits*, a retry *reconnects* or
*resubmits*. Why this is not that mixin: docs/decisions.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_census.api.criteria import evaluate
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.sync_runs import outcome
from airflow_provider_census.exceptions import CensusError, CensusNotFoundError, CensusTimeoutError
from airflow_provider_census.waiting import WaitsForSyncRun

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.flow import Log
    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.triggering import RunsSnapshot

CLEAR_TIMEOUT = 15.0
"""Seconds within which the triggerer cancels the run of a task that was cleared, if it does at all."""

EXTERNAL_ID_KEY = "census_sync_run"
"""Under which the checkpoint is in Airflow's task state store."""


@dataclass(frozen=True)
class Checkpoint:
    """
    What is stored before and after a sync is started.

    :ivar sync_id: the sync.
    :ivar full_sync: whether a full sync was asked for.
    :ivar max_tries: the task instance's ``max_tries``, which changes when a user clears the task.
    :ivar newest: the highest id among the sync's runs before.
    :ivar date: Census' clock before, in seconds since the epoch, if it was known.
    :ivar sync_run_id: the run; ``None`` as long as it is only intended.
    :ivar joined: the run was started by somebody else.
    """

    sync_id: str
    full_sync: bool
    max_tries: int
    newest: int = 0
    date: float | None = None
    sync_run_id: int | None = None
    joined: bool = False

    @classmethod
    def parse(cls, stored: Any) -> Checkpoint | None:
        """Read what was stored, also by another release; ``None`` if it is no checkpoint."""
        try:
            return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})
        except (TypeError, KeyError):
            return None


class CheckpointStore:
    """
    Stores the checkpoint of a task instance.

    An intent is stored before the request to start a run is sent, and the id of the run after. So whenever
    the task dies, the next try knows which run is its own, or where to search for it.

    :ivar store: Airflow's task state store; ``None`` if there is none, or the task is not durable.
    :param log: where trouble is reported.
    :ivar checkpoint: the checkpoint of this try, with no run yet.
    """

    def __init__(self, store: Any, log: Log, checkpoint: Checkpoint) -> None:
        self.store = store
        self._log = log
        self.checkpoint = checkpoint
        self._is_intended = False

    def load(self) -> Checkpoint | None:
        """Load the checkpoint of an earlier try; ``None`` if there is none that this try could go by."""
        stored = Checkpoint.parse(self.store.get(EXTERNAL_ID_KEY))
        wanted = self.checkpoint
        if stored is None or (stored.sync_id, stored.full_sync) != (wanted.sync_id, wanted.full_sync):
            return None
        return stored

    def was_cleared(self, earlier: Checkpoint) -> bool:
        """Tell whether a user has cleared the task since."""
        return earlier.max_tries != self.checkpoint.max_tries

    def save_intent(self, snapshot: RunsSnapshot) -> None:
        """
        Store that a run is about to be started; what an earlier try did is forgotten.

        :param snapshot: what is known of the sync's runs.
        """
        self._is_intended = True
        # Census' clock may be hours ahead, and would hide the run from a retry.
        date = snapshot.date and min(snapshot.date, time.time())
        self.checkpoint = replace(self.checkpoint, newest=snapshot.newest, date=date)
        if self.store is not None:
            self.store.set(EXTERNAL_ID_KEY, asdict(self.checkpoint))

    def save_run(self, sync_run_id: int, *, joined: bool) -> None:
        """Store the run; that this fails is no reason to give up a run that has started."""
        if self.store is None:
            return
        try:
            run = replace(self.checkpoint, sync_run_id=sync_run_id, joined=joined)
            self.store.set(EXTERNAL_ID_KEY, asdict(run))
        except Exception as error:  # noqa: BLE001 - whatever the store fails with
            self._log.warning(
                "A retry will have to search for sync run %s, which cannot be stored now: %r",
                sync_run_id,
                error,
            )

    def discard(self) -> None:
        """Forget the intent, or a retry would search for a run that surely does not exist; nothing worse."""
        if self.store is None or not self._is_intended:
            return
        try:
            self.store.delete(EXTERNAL_ID_KEY)
        except Exception as error:  # noqa: BLE001 - whatever the store fails with
            self._log.warning("A retry will search for a run that does not exist: %r", error)


class ResumableSyncRun(WaitsForSyncRun):
    """
    The part of a task that finds the run of an earlier try again.

    :ivar force_full_sync: whether a full sync is asked for; a word until the task has taken its arguments.
    :ivar wait_for_completion: whether the task waits for the end of its run.
    :ivar durable: whether a retry reconnects at all.
    :ivar if_running: what to do if a run is running already.
    """

    force_full_sync: bool | str
    wait_for_completion: bool
    durable: bool
    if_running: str
    _cancellable: tuple[int, Any] | None = None

    def _own(self, context: Context, sync_run_id: int, *, joined: bool) -> None:
        """Have a run cancelled if a user kills the task from now on, unless somebody else started it."""
        self._cancellable = None if joined else (sync_run_id, context.get("ti"))

    def _checkpoints(self, context: Context, sync_id: str) -> CheckpointStore:
        store: Any = context.get("task_state_store") if self.durable else None
        max_tries = context["ti"].max_tries if "ti" in context else 0
        return CheckpointStore(store, self.log, Checkpoint(sync_id, bool(self.force_full_sync), max_tries))

    def _trigger_sync(
        self, sync_id: str, full_sync: bool, snapshot: RunsSnapshot | None, checkpoints: CheckpointStore
    ) -> int:
        """Call the method of the hook as anybody does, so that a subclass and a patch count."""
        from airflow_provider_census.api.responses import to_id
        from airflow_provider_census.api.triggering import Submission

        self.hook.submission = Submission(snapshot, checkpoints.save_intent, self._sleep)
        named = sync_id if self.sync_id is None else self.sync_id
        options: dict[str, Any] = {"force_full_sync": True} if full_sync else {}
        try:
            sync_run_id: Any = self.hook.trigger_sync(named, **options)
        finally:
            self.hook.submission = None
        if to_id(sync_run_id) is None:
            raise CensusError(
                f"hook.trigger_sync gave {sync_run_id!r}, which is no id of a run. If the hook is a Mock, "
                "let it give one: trigger_sync.return_value = 94."
            )
        return int(sync_run_id)

    def _reconnect(self, context: Context, checkpoints: CheckpointStore) -> tuple[int, bool] | None:
        """
        Find the run of an earlier try that makes another one needless.

        :returns: its id, and whether that try had joined it.
        """
        if checkpoints.store is None:
            # To wait for a run that may be ours or another's, or to join it, is for if_running.
            is_retry = "ti" in context and context["ti"].try_number != 1
            if not self.durable or not is_retry or self.if_running in {"wait", "join"}:
                return None
            found = self._find_active_run(context, checkpoints.checkpoint)
            return None if found is None else (found, False)
        earlier = checkpoints.load()
        run = None if earlier is None else self._find_run(context, earlier)
        if earlier is None or run is None:
            return None
        if not self._is_usable(run, earlier.joined, cleared=checkpoints.was_cleared(earlier)):
            return None
        checkpoints.save_run(int(run["id"]), joined=earlier.joined)
        return int(run["id"]), earlier.joined

    def _find_run(self, context: Context, earlier: Checkpoint) -> Run | None:
        """Read the run of an earlier try, or search for what that try may have started."""
        from airflow_provider_census.api.triggering import RunMatcher, RunsSnapshot, find_started

        if earlier.sync_run_id is None:
            self.log.warning(
                "An earlier try ended while it started sync %s; searching for its run.", earlier.sync_id
            )
            snapshot = RunsSnapshot(earlier.newest, earlier.date)
            matcher = RunMatcher(earlier.sync_id, earlier.full_sync, snapshot, owned_run_ids=set())
            return self.hook.drive(find_started(matcher, time.time), self._sleep)
        try:
            if not self.wait_for_completion:
                return dict(self.hook.get_sync_run(earlier.sync_run_id))
            # A task that waits for the end of its run also waits for Census to respond.
            self.joined = earlier.joined
            self._own(context, earlier.sync_run_id, joined=earlier.joined)
            waiter = self._run_waiter(earlier.sync_run_id)
            return self._wait_until_timeout(waiter, self._wait_options(), first_success=True)
        except AirflowTaskTimeout:
            raise self._timed_out(waiter, "execution_timeout") from None
        except CensusNotFoundError:
            self.log.warning("Sync run %s of an earlier try is gone.", earlier.sync_run_id)
            return None
        finally:
            self._cancellable = None

    def _is_usable(self, run: Run, joined: bool, *, cleared: bool) -> bool:
        """Tell whether the run of an earlier try makes another one needless."""
        did = "joined" if joined else "started"
        earlier = f"sync run {run['id']} of sync {run.get('sync_id')}, which an earlier try {did}"
        if (
            cleared
            and outcome(run) is None
            and self.cancel_on_kill
            and self.wait_for_completion
            and not joined
        ):
            run = self._read_after_clear(run)
        if outcome(run) is None:
            self.log.info("Reconnecting to %s.", earlier)
            return True
        if cleared:
            self.log.info("The task was cleared to sync again: not counting %s.", earlier)
            return False
        succeeded = evaluate(run, self._criteria(), "").error is None
        how = "Reconnecting to" if succeeded else "Resubmitting after"
        self.log.info("%s %s: %s.", how, earlier, run.get("status"))
        return succeeded

    def _read_after_clear(self, run: Run) -> Run:
        """Give the triggerer, which cancels the run of a waiting task that is cleared, the time to do so."""
        now = time.time()
        waiter = self._run_waiter(run["id"])
        options = WaitOptions(CLEAR_TIMEOUT / 10, started=now, deadline=now + CLEAR_TIMEOUT)
        with suppress(CensusTimeoutError):
            return self._wait_here(waiter, options)
        return waiter.run or run

    def _find_active_run(self, context: Context, wanted: Checkpoint) -> int | None:
        """Find what an earlier try may have started, on an Airflow without a task state store."""
        from airflow_provider_census.api.triggering import find_active

        since = context["dag_run"].start_date
        if since is None:
            return None
        flow = find_active(wanted.sync_id, full_sync=wanted.full_sync, since=since.timestamp())
        run = self.hook.drive(flow)
        if run is None:
            return None
        self.log.warning(
            "Try %s of this task takes over sync run %s, which is running since %s. "
            "It may be another task's; durable=False starts a new one.",
            context["ti"].try_number,
            run["id"],
            run.get("created_at"),
        )
        return int(run["id"])

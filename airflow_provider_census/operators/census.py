# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The operator: starts a sync, and waits for its run if asked to."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, conf

from airflow_provider_census import metrics, tasks
from airflow_provider_census.api.polling import Polling
from airflow_provider_census.api.request import flag, one_of, seconds
from airflow_provider_census.api.sync_runs import Tolerance, browser_url, judge, outcome, progress
from airflow_provider_census.exceptions import CensusError, CensusTimeoutError
from airflow_provider_census.links.census import CensusSyncRunLink, publish
from airflow_provider_census.task_state import USER_STATES, task_state
from airflow_provider_census.warning import deprecated, warn

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.flows import Before, Lookout, RunLookout
    from airflow_provider_census.durable import Memory
    from airflow_provider_census.hooks.census import CensusHook

RUN_ID_KEY = "sync_run_id"
"""The XCom that holds the id of the run as soon as there is one."""

STATE_TIME = 1.5
CANCEL_TIME = 1.25
"""Seconds that a killed task takes to ask for its state; to cancel its run, to connect and to be answered."""

KILL_TIME = 15.0
"""Seconds within which the run of a task that was cleared while it waited is cancelled, if it is at all."""

MOST_SKIPS = 3
"""Runs of a task that Census may skip for one that does not go on any more, until the task gives up."""

SEVEN_DAYS = timedelta(days=7)

IF_RUNNING = ("trigger", "wait", "join", "fail")


class CensusTriggerSyncOperator(tasks.WaitsForSyncRun, BaseOperator):
    """
    Start a run of a Census sync.

    By default the task is done as soon as the run is started: green means *started*, not *synced*. With
    ``wait_for_completion=True`` it waits, and fails if the run does not complete.

    The task's return value is the id of the run, which the XCom ``sync_run_id`` also holds while it waits.
    When it waited, the XCom ``sync_run`` holds the finished run.

    :param sync_id: id of the sync (templated).
    :param sync_label: the sync's label, exactly, instead of its id (templated).
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it
        (templated: ``true`` and ``false``).
    :param durable: in a retry, go on with the run that an earlier try started, as long as it did not fail.
        From Airflow 3.3 on, the task remembers its run; before, a retry takes over any run of the sync that
        is going on and was created in the time of this DAG run.
    :param if_running: what to do if a run of the sync goes on already, for which Census would skip another
        one: ``"trigger"`` it nevertheless; ``"wait"`` until no run goes on, then start one, which syncs all
        that was loaded before this task; ``"join"``, take that run for ours (it is never cancelled; one that
        is not full is waited for if ``force_full_sync``); or ``"fail"``.
    :param wait_for_completion: wait until the run has ended. All that follows only matters then; with
        ``if_running`` as ``"wait"`` or ``"join"``, the next three also while the task waits for another run.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two looks at the run; ``None`` lets them grow with the time waited,
        from 4 to 23 seconds.
    :param timeout: seconds, or a ``timedelta``, to wait at most; then the task fails, and the run goes on
        unless ``cancel_on_timeout``.
    :param on_skipped_run: what it means if Census skipped the run because an earlier run of the sync was
        still going: ``"fail"``, ``"skip"`` (the task) or ``"succeed"``.
    :param max_records_failed: fail if the destination rejected more records; ``None`` for any number.
    :param max_records_invalid: fail if Census left out more records as invalid; ``None`` for any number.
    :param cancel_on_timeout: cancel the run when ``timeout`` is reached. It always is when Airflow's
        ``execution_timeout`` is.
    :param cancel_on_kill: cancel the run when a user marks the waiting task as failed or success, clears or
        deletes it. A worker or triggerer that stops is none of these.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusApiError: if Census does not start the sync.
    :raises CensusError: if a run goes on and ``if_running`` is ``"fail"``.
    :raises CensusSyncRunError: if the run ended in another way than it should.
    :raises CensusTimeoutError: if the run goes on after ``timeout``.
    """

    template_fields: Sequence[str] = ("sync_id", "sync_label", "census_conn_id", "force_full_sync")
    operator_extra_links = (CensusSyncRunLink(),)
    ui_color = "#f5e9ff"
    silent_fail = False
    timeout_error = CensusTimeoutError
    _killed = False
    _skips = 0
    _waiting_for: tuple[CensusHook, int, Any] | None = None

    def __init__(
        self,
        *,
        sync_id: int | str | None = None,
        sync_label: str | None = None,
        census_conn_id: str = tasks.DEFAULT_CONN_ID,
        force_full_sync: bool | str = False,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        timeout: timedelta | float = SEVEN_DAYS,
        on_skipped_run: str = "fail",
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        durable: bool = True,
        if_running: str = "trigger",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        tasks.early_sync(sync_id, sync_label)
        self.sync_id = sync_id
        self.sync_label = sync_label
        tasks.early_name("census_conn_id", census_conn_id)
        self.census_conn_id = census_conn_id
        self.force_full_sync = force_full_sync
        if tasks.is_known(force_full_sync):
            self._full_sync()
        for option, value in {
            "wait_for_completion": wait_for_completion,
            "deferrable": deferrable,
            "cancel_on_timeout": cancel_on_timeout,
            "cancel_on_kill": cancel_on_kill,
            "durable": durable,
        }.items():
            flag(option, value)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.polling = Polling(None if poll_interval is None else seconds("poll_interval", poll_interval))
        self.timeout = seconds("timeout", timeout)
        self.tolerance = Tolerance(on_skipped_run, max_records_failed, max_records_invalid)
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.if_running = one_of("if_running", if_running, IF_RUNNING)
        if not wait_for_completion:
            self._warn_of_idle_options()
            if self.outlets:
                warn(
                    f"outlets of task {self.task_id!r} will announce data that is not there yet: "
                    "the task does not wait for its sync run. Set wait_for_completion=True."
                )

    def _warn_of_idle_options(self) -> None:
        may_wait = self.if_running in {"wait", "join"}
        idle = [
            option
            for option, is_set in {
                "poll_interval": self.polling != Polling() and not may_wait,
                "timeout": self.timeout != SEVEN_DAYS.total_seconds() and not may_wait,
                "on_skipped_run": self.tolerance.on_skipped_run != "fail",
                "max_records_failed": self.tolerance.max_records_failed is not None,
                "max_records_invalid": self.tolerance.max_records_invalid is not None,
                "cancel_on_timeout": self.cancel_on_timeout,
                "cancel_on_kill": not self.cancel_on_kill,
            }.items()
            if is_set
        ]
        if idle:
            warn(
                f"{', '.join(idle)} of task {self.task_id!r} will have no effect: "
                "the task does not wait for its sync run. Set wait_for_completion=True."
            )

    def execute(self, context: Context) -> int:
        """Start the sync, and wait for the run if asked to."""
        self._skips = 0
        hook = self._hook()
        sync_id = tasks.find_sync(hook, self.sync_id, self.sync_label)
        earlier = self._earlier_run(context, hook, sync_id)
        if earlier is not None:
            return self._go_on_with(context, hook, sync_id, *earlier, self._bounds())
        return self._start(context, hook, sync_id, self._bounds())

    def execute_when_idle(
        self, context: Context, event: Any = None, *, sync_id: str | None = None, **bounds: Any
    ) -> int:
        """Take over from the triggerer: start the sync, of which no other run goes on any more."""
        from airflow_provider_census.api import flows

        hook = self._hook()
        sync_id = sync_id or tasks.find_sync(hook, self.sync_id, self.sync_label)
        _, kind, message = tasks.read_event(event, run_known=False)
        self._check_end(hook, flows.IdleWatch(sync_id, self.log, time.time), kind, message)
        # The time that another run took says nothing of how long ours will.
        return self._start(context, hook, sync_id, replace(self._bounds(bounds), started=time.time()))

    def execute_complete(
        self, context: Context, event: Any = None, *, joined: bool | None = None, **bounds: Any
    ) -> int:
        """Take over from the triggerer: read the run again, and judge it."""
        self.joined = self._may_have_joined if joined is None else joined
        hook = self._hook()
        known = self._bounds(bounds)
        sync_run_id, kind, message = tasks.read_event(event)
        run = self._resume(context, hook, self._watch(sync_run_id), kind, message, known)
        return self._settle(context, hook, run, known)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on, also after Airflow gave up the trigger: what the run has become counts, not who saw it."""
        if next_method != tasks.TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        from airflow_provider_census.api import flows

        ti = context["ti"]
        sync_run_id = ti.xcom_pull(task_ids=self.task_id, key=RUN_ID_KEY, map_indexes=ti.map_index)
        hook = self._hook()
        if sync_run_id is None:  # the wait was for another run
            sync_id = tasks.find_sync(hook, self.sync_id, self.sync_label)
            idle = flows.IdleWatch(sync_id, self.log, time.time)
            self._lost_trigger(context, hook, idle, next_kwargs or {})
            return self._start(context, hook, sync_id, self._bounds())
        self.joined = self._may_have_joined
        run = self._lost_trigger(context, hook, self._watch(sync_run_id), next_kwargs or {})
        return self._settle(context, hook, run, self._bounds())

    @property
    def _may_have_joined(self) -> bool:
        """Whether the run may be somebody else's, if nobody remembers."""
        return self.if_running == "join"

    def _defer(self, watch: RunLookout[Any], bounds: tasks.Bounds, **known: Any) -> NoReturn:
        if self._may_have_joined:
            known["joined"] = self.joined
        super()._defer(watch, bounds, **known)

    def _earlier_run(self, context: Context, hook: CensusHook, sync_id: str) -> tuple[int, bool] | None:
        """Find the run of an earlier try that makes another one needless; tell whether that joined it."""
        memory = self._memory(context, hook, sync_id)
        if memory is None:
            # To wait for a run that may be ours or another's, or to join it, is for if_running.
            if not self.durable or context["ti"].try_number == 1 or self.if_running in {"wait", "join"}:
                return None
            found = self._active_run(context, hook, sync_id, self._full_sync())
            return None if found is None else (found, False)
        earlier = memory.earlier_run()
        if earlier is None or not self._takes_over(hook, *earlier):
            return None
        run, joined, _ = earlier
        memory.keep(int(run["id"]), joined=joined)
        return int(run["id"]), joined

    def _memory(self, context: Context, hook: CensusHook, sync_id: str) -> Memory | None:
        """Get what the tries of this task instance remember; ``None`` if they do not."""
        store = context.get("task_state_store")
        if not self.durable or store is None:
            return None
        from airflow_provider_census.durable import Memory

        return Memory(
            store,
            hook,
            self.log,
            partial(self._see, hook),
            partial(self._begin, hook),
            sync_id=sync_id,
            full_sync=self._full_sync(),
            max_tries=context["ti"].max_tries,
        )

    def _start(self, context: Context, hook: CensusHook, sync_id: str, bounds: tasks.Bounds) -> int:
        """Start a run and go on with it, or do what is to be done if another one goes on."""
        from airflow_provider_census.api import flows

        full_sync = self._full_sync()
        memory = self._memory(context, hook, sync_id)
        before = hook.drive(flows.survey(sync_id))
        active = before.active
        if active is not None and self.if_running != "trigger":
            url = browser_url(hook.settings.base_url, active)
            said = f"Sync run {active.get('id')} of sync {sync_id} goes on already: {progress(active)}."
            if self.if_running == "fail":
                raise CensusError(f"{said} No run was started (if_running='fail'). {url}")
            self.log.info("%s if_running=%r. %s", said, self.if_running, url)
            if self.if_running == "join" and (active.get("full_sync") is True or not full_sync):
                sync_run_id = int(active["id"])
                if memory is not None:
                    memory.keep(sync_run_id, joined=True)
                return self._go_on_with(context, hook, sync_id, sync_run_id, True, bounds)
            publish(context, url)
            before = self._wait_until_idle(hook, sync_id, bounds)
            bounds = replace(bounds, started=time.time())
        if memory is None:
            sync_run_id = self._begin(hook, sync_id, full_sync, before)
        else:
            sync_run_id = memory.start(before)
        return self._go_on_with(context, hook, sync_id, sync_run_id, False, bounds)

    def _wait_until_idle(self, hook: CensusHook, sync_id: str, bounds: tasks.Bounds) -> Before:
        """Wait until no run of the sync goes on; nothing is cancelled, for none of them is ours."""
        from airflow_provider_census.api import flows

        if self.deferrable:
            from airflow_provider_census.triggers.census_sync import CensusSyncTrigger

            trigger = CensusSyncTrigger(sync_id, **self._how_to_wait(bounds))
            self._defer_to(trigger, bounds, "execute_when_idle", sync_id=sync_id)
        idle = flows.IdleWatch(sync_id, self.log, time.time)
        try:
            return self._wait_here(hook, idle, self.polling, bounds)
        except CensusTimeoutError:
            self._give_up(hook, idle, "timeout")

    def _go_on_with(
        self,
        context: Context,
        hook: CensusHook,
        sync_id: str,
        sync_run_id: int,
        joined: bool,
        bounds: tasks.Bounds,
    ) -> int:
        """Tell which run it is, and wait for it if asked to."""
        self.joined = joined
        url = browser_url(hook.settings.base_url, {"id": sync_run_id, "sync_id": sync_id})
        how = "joined" if joined else "started"
        self.log.info("Sync run %s of sync %s is %s. %s", sync_run_id, sync_id, how, url)
        context["ti"].xcom_push(key=RUN_ID_KEY, value=sync_run_id)
        publish(context, url)
        self._ran = hook, {"id": sync_run_id, "sync_id": sync_id}
        if not self.wait_for_completion:
            return sync_run_id
        watch = self._watch(sync_run_id)
        if not joined:
            self._waiting_for = hook, sync_run_id, context["ti"]
        try:
            if self._killed:  # while the run was being started
                self.on_kill()
                raise CensusError("The task was killed.")
            if self.deferrable:
                run = self._look_or_defer(context, hook, watch, bounds)
            else:
                self._waiting_since = bounds.started
                run = self._wait_here(hook, watch, self.polling, bounds)
        except CensusTimeoutError:
            self._give_up(hook, watch, "timeout")
        except AirflowTaskTimeout:
            self._release(hook, watch, "execution_timeout")
            raise
        finally:
            self._waiting_for = None
        return self._settle(context, hook, run, bounds)

    def _settle(self, context: Context, hook: CensusHook, run: dict[str, Any], bounds: tasks.Bounds) -> int:
        """Judge a finished run, unless Census skipped it for one that is to be waited for or joined."""
        from airflow_provider_census.api import flows

        if outcome(run) == "skipped" and self.if_running in {"wait", "join"}:
            sync_id = tasks.find_sync(hook, self.sync_id, self.sync_label)
            other = hook.drive(flows.displacing(sync_id, run))
            if other is not None and (outcome(other) is None or self._skips < MOST_SKIPS):
                self.log.info("Sync run %s was skipped for sync run %s.", run["id"], other.get("id"))
                if outcome(other) is not None:  # it may have been cancelled and is not quite over
                    self._skips += 1
                    self._sleep(self.polling.pause(0.0, 1, random.Random()))
                return self._start(context, hook, sync_id, bounds)
        return self._conclude(context, hook, run)

    def _begin(self, hook: CensusHook, sync_id: str, full_sync: bool, before: Before) -> int:
        """Start a run."""
        sync_run_id = hook.drive(hook.starting(sync_id, full_sync, before), self._sleep)
        metrics.started()
        return sync_run_id

    def _see(self, hook: CensusHook, sync_run_id: int) -> dict[str, Any]:
        """See the run of an earlier try; a task that waits for its end also waits for Census to answer."""
        if not self.wait_for_completion:
            return dict(hook.get_sync_run(sync_run_id))
        watch = self._watch(sync_run_id)
        return self._wait_here(hook, watch, self.polling, self._bounds(), until_seen=True)

    def _takes_over(self, hook: CensusHook, run: dict[str, Any], joined: bool, cleared: bool) -> bool:
        """Tell whether the run of an earlier try makes another one needless."""
        did = "joined" if joined else "started"
        earlier = f"sync run {run['id']} of sync {run.get('sync_id')}, which an earlier try {did}"
        cancels = self.cancel_on_kill and self.wait_for_completion and not joined
        if cleared and outcome(run) is None and cancels:
            run = self._after_kill(hook, run)
        if outcome(run) is None:
            self.log.info("Waiting on for %s.", earlier)
            return True
        if cleared:
            self.log.info("The task was cleared to sync again: not counting %s.", earlier)
            return False
        good = judge(run, self.tolerance, "").error is None
        self.log.info(
            "%s %s: %s.", "Taking over" if good else "Starting afresh after", earlier, run.get("status")
        )
        return good

    def _after_kill(self, hook: CensusHook, run: dict[str, Any]) -> dict[str, Any]:
        """Give the triggerer, which cancels the run of a waiting task that is cleared, the time to do so."""
        now = time.time()
        watch = self._watch(run["id"])
        with suppress(CensusTimeoutError):
            return self._wait_here(hook, watch, Polling(KILL_TIME / 10), tasks.Bounds(now, now + KILL_TIME))
        return watch.run or run

    def _active_run(self, context: Context, hook: CensusHook, sync_id: str, full_sync: bool) -> int | None:
        """Find what an earlier try may have started, on an Airflow without a task state store."""
        from airflow_provider_census.api import flows

        begun = context["dag_run"].start_date
        if begun is None:
            return None
        run = hook.drive(flows.find_active(sync_id, full_sync=full_sync, since=begun.timestamp()))
        if run is None:
            return None
        self.log.warning(
            "Try %s of this task takes over sync run %s, which is going on since %s. "
            "It may be another task's; durable=False starts a new one.",
            context["ti"].try_number,
            run["id"],
            run.get("created_at"),
        )
        return int(run["id"])

    def _wait_here(
        self,
        hook: CensusHook,
        watch: Lookout[tasks.T],
        polling: Polling,
        bounds: tasks.Bounds,
        *,
        until_seen: bool = False,
    ) -> tasks.T:
        from airflow_provider_census.api import flows

        wait = flows.wait(
            watch,
            polling,
            started=bounds.started,
            deadline=bounds.deadline,
            now=time.time,
            rng=random.Random(),
            until_seen=until_seen,
        )
        return hook.drive(wait, self._sleep)

    def _sleep(self, seconds: float) -> None:
        """Sleep, but not on when the task is killed; a signal alone does not end a sleep."""
        end = time.monotonic() + seconds
        while not self._killed:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 1.0))
        raise CensusError("The task was killed while it waited for its sync run.")

    def _release(self, hook: CensusHook, watch: RunLookout[Any], kind: str) -> str:
        """Cancel a run that has no time left, if it is ours."""
        sync_run_id = watch.sync_run_id
        if sync_run_id is None or self.joined or (kind == "timeout" and not self.cancel_on_timeout):
            return super()._release(hook, watch, kind)
        try:
            hook.cancel_sync_run(sync_run_id)
        except CensusError as error:
            return f"The run could not be cancelled and may go on in Census: {error}"
        self.log.warning("Cancelled sync run %s: its time is over.", sync_run_id)
        return "The run was cancelled."

    def on_kill(self) -> None:
        """
        Cancel the run if a user killed the task; not if the worker stops, for a retry goes on with it.

        Airflow gives little time for this, so there is one attempt, over a connection of its own.
        """
        self._killed = True
        if self._waiting_for is None or not self.cancel_on_kill:
            return
        (hook, sync_run_id, ti), self._waiting_for = self._waiting_for, None
        state = tasks.within(STATE_TIME, lambda: task_state(ti))
        if state not in USER_STATES:
            self.log.warning("Killed, but by no user: sync run %s goes on.", sync_run_id)
            return
        self.log.warning("The task is %s now: cancelling sync run %s.", state, sync_run_id)

        def cancel() -> bool:
            hook.cancel_at_once(sync_run_id, CANCEL_TIME)
            return True

        if not tasks.within(2 * CANCEL_TIME, cancel):
            self.log.warning("Sync run %s may go on: Census did not take the cancellation.", sync_run_id)

    def _conclude(self, context: Context, hook: CensusHook, run: dict[str, Any]) -> int:
        context["ti"].xcom_push(key="sync_run", value=run)
        if error := self._verdict(context, hook, run):
            raise error
        return int(run["id"])

    def _full_sync(self) -> bool:
        """Read the flag, which a template renders to a word."""
        words = {"true": True, "false": False}
        word = str(self.force_full_sync).strip().lower()
        if word not in words:
            raise ValueError(f"force_full_sync must be true or false, not {self.force_full_sync!r}")
        return words[word]


class CensusOperator(CensusTriggerSyncOperator):
    """
    The operator of 2.x.

    Deprecated: write :class:`CensusTriggerSyncOperator`.
    """

    def __init__(
        self, *, sync_id: int | str, census_conn_id: str = tasks.DEFAULT_CONN_ID, **kwargs: Any
    ) -> None:
        deprecated("CensusOperator", "CensusTriggerSyncOperator")
        # 2.x had none of these, so default_args that name them are meant for other operators.
        ours = inspect.signature(CensusTriggerSyncOperator.__init__).parameters.values()
        defaults = {each.name: each.default for each in ours if each.default is not each.empty}
        super().__init__(**{**defaults, **kwargs, "sync_id": sync_id, "census_conn_id": census_conn_id})

    def _get_hook(self) -> CensusHook:
        """Make the hook, as subclasses of 2.x may do in their own way."""
        return super()._hook()

    def _hook(self) -> CensusHook:
        return self._get_hook()

    def _begin(self, hook: CensusHook, sync_id: str, full_sync: bool, before: Before) -> int:
        from airflow_provider_census.hooks.census import CensusHook

        if type(hook).trigger_sync is CensusHook.trigger_sync:
            return super()._begin(hook, sync_id, full_sync, before)
        return hook.trigger_sync(sync_id)  # as a hook of 2.x may do in its own way

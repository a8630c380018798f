# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the operator and the sensor have in common."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_census.api import sync_runs
from airflow_provider_census.api.request import any_id
from airflow_provider_census.exceptions import CensusError, CensusSyncRunError
from airflow_provider_census.links.census import publish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator as _Task
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.flows import Watch
    from airflow_provider_census.api.polling import Polling
    from airflow_provider_census.api.sync_runs import Tolerance
    from airflow_provider_census.hooks.census import CensusHook

else:
    _Task = object

T = TypeVar("T")

Run = dict[str, Any]

DEFAULT_CONN_ID = "census_default"

TRIGGER_FAILED = "__fail__"
"""What Airflow calls the method to go on with when it has given up a trigger."""

BACKSTOP = 600.0
"""Seconds after the end of a wait at which Airflow is to end it, if the trigger has not."""

TEN_YEARS = 10 * 365 * 86400.0
"""Seconds; the longest time that makes sense, and fits where times are kept."""

EVENTS = ("ended", "timeout", "execution_timeout", "error")
"""How a wait in the triggerer can end."""


@dataclass(frozen=True)
class Bounds:
    """
    When a wait began and when it is over, in seconds since the epoch; ``None`` for never.

    :ivar started: when it began.
    :ivar deadline: when the task's own ``timeout`` is reached.
    :ivar execution_deadline: when the task's ``execution_timeout`` is reached.
    """

    started: float
    deadline: float | None = None
    execution_deadline: float | None = None

    @property
    def nearer(self) -> str:
        """Which of the two timeouts is reached first, as the event that tells of it."""
        if self.execution_deadline is None:
            return "timeout"
        first = self.deadline is None or self.execution_deadline <= self.deadline
        return "execution_timeout" if first else "timeout"


def seconds(argument: str, value: object) -> float:
    """
    Take a time span to seconds.

    :raises ValueError: if it is neither a ``timedelta`` nor a number, or not above 0.
    """
    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, (int, float)) or not 0 < span <= TEN_YEARS:
        raise ValueError(
            f"{argument} must be a timedelta or a number of seconds above 0, up to ten years; not {value!r}"
        )
    return float(span)


def flag(argument: str, value: object) -> None:
    """
    Check a flag, for any word would count as true.

    :raises ValueError: if it is neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False, not {value!r}")


def early_id(argument: str, value: object) -> None:
    """
    Check an id as soon as a DAG file names it, unless it is only known when the task runs.

    :raises ValueError: if it cannot become an id.
    """
    wrong = value is None or isinstance(value, (int, float, bytes, list, tuple, set, dict))
    if wrong or (isinstance(value, str) and "{" not in value):
        any_id(argument, value)


def _head_start(execution_timeout: float) -> float:
    """
    Tell how long before the ``execution_timeout`` a deferred wait must end.

    Airflow 2 lets the task fail at that moment before any code of it can run; Airflow 3 does not look at the
    time while a task is deferred.
    """
    return 0.0 if AIRFLOW_V_3_0_PLUS else min(30.0, execution_timeout / 10)


def read_event(event: Any) -> tuple[int | str, str, str]:
    """
    Check what came from the triggerer.

    :returns: the id of the run, one of :data:`EVENTS`, and the message that belongs to it, if any.
    :raises CensusError: if it is not what the trigger sends.
    """
    try:
        run_id, kind = event["sync_run_id"], event["event"]
        any_id("sync_run_id", run_id)
        if kind not in EVENTS:
            raise ValueError(f"there is no event {kind!r}")
    except (TypeError, KeyError, ValueError) as error:
        raise CensusError(
            f"The triggerer sent {event!r}, which tells nothing of the sync run; it may still be going on. "
            "Are worker and triggerer of the same release of airflow-provider-census?"
        ) from error
    return run_id, kind, str(event.get("message", ""))


def within(seconds: float, ask: Callable[[], T]) -> T | None:
    """Get an answer that may never come; ``None`` if it does not in time, or cannot be had."""
    answers: list[T] = []

    def keep() -> None:
        with suppress(Exception):
            answers.append(ask())

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


class WaitsForSyncRun(_Task):
    """
    The part of a task that waits for a sync run, for an operator and a sensor to be mixed into.

    :ivar census_conn_id: id of the Airflow connection.
    :ivar tolerance: which ends of the run are a success.
    :ivar polling: how often to look.
    :ivar silent_fail: go on waiting when the token is rejected or the run does not exist.
    :ivar cancel_on_kill: cancel the run when a user kills the task.
    :ivar timeout: seconds to wait at most.
    :ivar timeout_error: what to raise when that time is over.
    """

    census_conn_id: str
    tolerance: Tolerance
    polling: Polling
    silent_fail: bool
    cancel_on_kill: bool
    timeout: float
    timeout_error: type[Exception]

    def _hook(self) -> CensusHook:
        from airflow_provider_census.hooks.census import CensusHook

        return CensusHook(self.census_conn_id)

    def _bounds(self, known: Mapping[str, Any] | None = None) -> Bounds:
        """Begin a wait now, or go on with one whose bounds are known."""
        now = time.time()
        begun = Bounds(now, now + self.timeout)
        if self.execution_timeout is not None:
            limit = self.execution_timeout.total_seconds()
            begun = replace(begun, execution_deadline=now + limit - _head_start(limit))
        # A task may have been deferred by another release, which knows of other bounds.
        return replace(
            begun, **{name: moment for name, moment in (known or {}).items() if name in vars(begun)}
        )

    def _look(self, context: Context, hook: CensusHook, watch: Watch, *, alone: bool = True) -> Run | None:
        """Look at the run once, and give the link its address; ``None`` if the run has not ended."""
        from airflow_provider_census.api import flows

        new = watch.run is None
        run = hook.drive(flows.look(watch, alone=alone))
        if new and watch.run is not None:
            publish(context, sync_runs.browser_url(hook.settings.base_url, watch.run))
        return run

    def _look_or_defer(
        self, context: Context, hook: CensusHook, sync_run_id: int | str, bounds: Bounds
    ) -> Run:
        """Look at the run on the worker; wait for it in the triggerer unless it has ended."""
        run = self._look(context, hook, self._watch(sync_run_id))
        return run or self._defer(sync_run_id, bounds)

    def _resume(self, context: Context, hook: CensusHook, event: Any, bounds: Bounds) -> Run:
        """Take over from the triggerer: read the run again, and see whether it has ended."""
        sync_run_id, kind, message = read_event(event)
        run = self._look(context, hook, self._watch(sync_run_id))
        if run is not None:
            return run
        if kind in {"timeout", "execution_timeout"}:
            self._give_up(hook, sync_run_id, kind)
        if kind == "error":
            raise CensusError(f"The wait for sync run {sync_run_id} ended early, the run goes on: {message}")
        return self._defer(sync_run_id, bounds)

    def _give_up(self, hook: CensusHook, sync_run_id: int | str, kind: str) -> NoReturn:
        """End a wait whose time is over, because of one of the two timeouts."""
        fate = self._release(hook, sync_run_id, kind)
        if kind == "execution_timeout":
            from airflow.providers.common.compat.sdk import AirflowTaskTimeout

            raise AirflowTaskTimeout(
                f"Sync run {sync_run_id} has not ended within the execution_timeout, "
                f"{self.execution_timeout}. {fate}"
            )
        raise self.timeout_error(
            f"Sync run {sync_run_id} has not ended within {self.timeout:g} s (timeout). {fate}"
        ) from None

    def _release(self, hook: CensusHook, sync_run_id: int | str, kind: str) -> str:
        """Leave a run that nobody waits for any more; tell its fate."""
        return "The run goes on in Census."

    def _lost_trigger(
        self, context: Context, hook: CensusHook, sync_run_id: int | str, failure: Mapping[str, Any]
    ) -> Run:
        """
        Go on after Airflow gave up the trigger: it failed, or its time was over and no triggerer had run it.

        :param failure: what Airflow says of it.
        """
        self.log.warning("The wait in the triggerer ended without an event: %s", failure.get("error"))
        run = self._look(context, hook, self._watch(sync_run_id))
        if run is not None:
            return run
        if "timeout" in str(failure.get("error")).lower():
            self._give_up(hook, sync_run_id, self._bounds().nearer)
        trace = "\n".join(failure.get("traceback") or ())
        raise CensusError(f"The wait for sync run {sync_run_id} failed, the run goes on.\n{trace}".strip())

    def _watch(self, sync_run_id: int | str) -> Watch:
        from airflow_provider_census.api.flows import Watch

        return Watch(sync_run_id, self.log, time.time, endure=self.silent_fail)

    def _defer(self, sync_run_id: int | str, bounds: Bounds) -> NoReturn:
        from airflow_provider_census.triggers.census import CensusSyncRunTrigger

        self.defer(
            trigger=CensusSyncRunTrigger(
                sync_run_id,
                self.census_conn_id,
                self.polling.interval,
                exponential_backoff=self.polling.exponential_backoff,
                max_wait=self.polling.max_wait,
                silent_fail=self.silent_fail,
                cancel_on_kill=self.cancel_on_kill,
                **asdict(bounds),
            ),
            method_name="execute_complete",
            kwargs=asdict(bounds),
            timeout=self._backstop(bounds),
        )

    def _backstop(self, bounds: Bounds) -> timedelta:
        """Tell after how long Airflow should end the wait itself, in case no triggerer does."""
        ends = [end for end in (bounds.deadline, bounds.execution_deadline) if end is not None]
        left = max(0.0, min(ends) - time.time())
        return timedelta(seconds=min(left, TEN_YEARS) + BACKSTOP)

    def _verdict(self, context: Context, hook: CensusHook, run: Run) -> CensusSyncRunError | None:
        """
        Judge a finished run, and tell in the log what is not an error.

        :returns: what to raise, unless the run is a success.
        :raises AirflowSkipException: if the task is to be skipped.
        """
        verdict = sync_runs.judge(run, self.tolerance, sync_runs.browser_url(hook.settings.base_url, run))
        if verdict.skip:
            from airflow.providers.common.compat.sdk import AirflowSkipException

            raise AirflowSkipException(verdict.message)
        if verdict.error is None:
            (self.log.warning if verdict.warn else self.log.info)("%s", verdict.message)
        return verdict.error

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the operator and the sensors have in common."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_census import metrics
from airflow_provider_census.api import sync_runs
from airflow_provider_census.api.request import TEN_YEARS, any_id, name
from airflow_provider_census.exceptions import CensusError, CensusSyncRunError
from airflow_provider_census.links.census import publish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator as _Task
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_census.api.flows import RunLookout, Watch
    from airflow_provider_census.api.polling import Polling
    from airflow_provider_census.api.sync_runs import Tolerance
    from airflow_provider_census.hooks.census import CensusHook
    from airflow_provider_census.triggers.census import WaitTrigger

else:
    _Task = object

T = TypeVar("T")

Run = dict[str, Any]

DEFAULT_CONN_ID = "census_default"

TRIGGER_FAILED = "__fail__"
"""What Airflow calls the method to go on with when it has given up a trigger."""

BACKSTOP = 600.0
"""Seconds after the end of a wait at which Airflow is to end it, if the trigger has not."""

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


def is_known(value: object) -> bool:
    """Tell whether a DAG file gives a value itself, not a template or what another task returns."""
    if isinstance(value, str):
        return "{" not in value
    return value is None or isinstance(value, (int, float, bytes, list, tuple, set, dict))


def early_id(argument: str, value: object) -> None:
    """
    Check an id as soon as a DAG file names it.

    :raises ValueError: if it cannot become an id.
    """
    if is_known(value):
        any_id(argument, value)


def early_name(argument: str, value: object) -> None:
    """
    Check a name, such as a label or the id of a connection, as soon as a DAG file gives it.

    :raises ValueError: if it is none.
    """
    if is_known(value):
        name(argument, value)


def _head_start(execution_timeout: float) -> float:
    """
    Tell how long before the ``execution_timeout`` a deferred wait must end.

    Airflow 2 lets the task fail at that moment before any code of it can run; Airflow 3 does not look at the
    time while a task is deferred.
    """
    return 0.0 if AIRFLOW_V_3_0_PLUS else min(30.0, execution_timeout / 10)


def early_sync(sync_id: object, sync_label: object) -> None:
    """
    Check what names a sync as soon as a DAG file does.

    :raises ValueError: unless it is either an id or a label.
    """
    if sync_label is None:
        early_id("sync_id", sync_id)
    elif sync_id is not None:
        raise ValueError(f"pass sync_id or sync_label, not both: {sync_id!r} and {sync_label!r}")
    else:
        early_name("sync_label", sync_label)


def find_sync(hook: CensusHook, sync_id: object, sync_label: object) -> str:
    """Tell the id of a sync that is named by its id or its label."""
    if sync_label is not None:
        return str(hook.find_sync(name("sync_label", sync_label))["id"])
    checked = any_id("sync_id", sync_id)
    return checked.lstrip("0") if checked.isdigit() else str(checked)


def read_event(event: Any, *, run_known: bool = True) -> tuple[Any, str, str]:
    """
    Check what came from the triggerer.

    :param run_known: whether it was known from the beginning for which run to wait.
    :returns: the id of the run, one of :data:`EVENTS`, and the message that belongs to it, if any.
    :raises CensusError: if it is not what the trigger sends.
    """
    try:
        # The trigger of 2.x, and so CensusTrigger, tells the end of the run instead of the wait's.
        run_id = event["sync_run_id"]
        kind = "ended" if event.get("status") in {"completed", "failed"} else event["event"]
        if run_known or run_id is not None:
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
    :ivar joined: the run is somebody else's, and not to be cancelled.
    :ivar timeout: seconds to wait at most.
    :ivar timeout_error: what to raise when that time is over.
    """

    census_conn_id: str
    tolerance: Tolerance
    polling: Polling
    silent_fail: bool
    cancel_on_kill: bool
    joined = False
    timeout: float
    timeout_error: type[Exception]
    _waiting_since: float | None = None
    _ran: tuple[CensusHook, Run] | None = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Tell the OpenLineage provider, where it is installed, what the run read and wrote."""
        from airflow_provider_census import lineage

        return lineage.facets(self._ran, first_try=task_instance.try_number == 1)

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

    def _look(
        self, context: Context, hook: CensusHook, watch: RunLookout[Any], *, alone: bool = True
    ) -> Run | None:
        """Look once, and give the link the address of the run; ``None`` if no run has ended."""
        from airflow_provider_census.api import flows

        known = watch.run
        run: Run | None = hook.drive(flows.look(watch, alone=alone))
        if watch.run is not None and (known is None or known.get("id") != watch.run.get("id")):
            publish(context, sync_runs.browser_url(hook.settings.base_url, watch.run))
        return run

    def _look_or_defer(
        self, context: Context, hook: CensusHook, watch: RunLookout[Any], bounds: Bounds
    ) -> Run:
        """Look for the end of the run on the worker; wait for it in the triggerer unless it is there."""
        self._waiting_since = bounds.started
        return self._look(context, hook, watch) or self._defer(watch, bounds)

    def _resume(
        self,
        context: Context,
        hook: CensusHook,
        watch: RunLookout[Any],
        kind: str,
        message: str,
        bounds: Bounds,
    ) -> Run:
        """
        Take over from the triggerer: look again, and see whether the run has ended.

        :param kind: how the wait there ended, one of :data:`EVENTS`.
        :param message: what belongs to that.
        """
        self._waiting_since = bounds.started
        run = self._look(context, hook, watch)
        if run is not None:
            return run
        self._check_end(hook, watch, kind, message)
        return self._defer(watch, bounds)

    def _check_end(self, hook: CensusHook, watch: RunLookout[Any], kind: str, message: str) -> None:
        """Raise what a wait in the triggerer ended with, unless that was the end of the run."""
        if kind in {"timeout", "execution_timeout"}:
            self._give_up(hook, watch, kind)
        if kind == "error":
            raise CensusError(f"The wait for {watch.name} ended early, {watch.fate}: {message}")

    def _give_up(self, hook: CensusHook, watch: RunLookout[Any], kind: str) -> NoReturn:
        """End a wait whose time is over, because of one of the two timeouts."""
        fate = self._release(hook, watch, kind)
        if kind == "execution_timeout":
            from airflow.providers.common.compat.sdk import AirflowTaskTimeout

            raise AirflowTaskTimeout(
                f"{watch} has not ended within the execution_timeout, {self.execution_timeout}. {fate}"
            )
        raise self.timeout_error(
            f"{watch} has not ended within {self.timeout:g} s (timeout). {fate}"
        ) from None

    def _release(self, hook: CensusHook, watch: RunLookout[Any], kind: str) -> str:
        """Leave a run that nobody waits for any more; tell its fate."""
        return f"{watch.fate[0].upper()}{watch.fate[1:]} in Census."

    def _lost_trigger(
        self, context: Context, hook: CensusHook, watch: RunLookout[Any], failure: Mapping[str, Any]
    ) -> Run:
        """
        Go on after Airflow gave up the trigger: it failed, or its time was over and no triggerer had run it.

        :param failure: what Airflow says of it.
        """
        self.log.warning("The wait in the triggerer ended without an event: %s", failure.get("error"))
        run = self._look(context, hook, watch)
        if run is not None:
            return run
        if "timeout" in str(failure.get("error")).lower():
            self._give_up(hook, watch, self._bounds().nearer)
        trace = "\n".join(failure.get("traceback") or ())
        raise CensusError(f"The wait for {watch.name} failed, {watch.fate}.\n{trace}".strip())

    def _watch(self, sync_run_id: int | str) -> Watch:
        from airflow_provider_census.api.flows import Watch

        return Watch(sync_run_id, self.log, time.time, endure=self.silent_fail)

    def _defer(self, watch: RunLookout[Any], bounds: Bounds, **known: Any) -> NoReturn:
        """
        Wait in the triggerer for a run of which the id is known.

        :param known: what the worker is to know afterwards, besides the bounds.
        """
        from airflow_provider_census.triggers.census import CensusSyncRunTrigger

        assert watch.sync_run_id is not None
        self._defer_to(
            CensusSyncRunTrigger(
                watch.sync_run_id,
                cancel_on_kill=self.cancel_on_kill and not self.joined,
                **self._how_to_wait(bounds),
            ),
            bounds,
            **known,
        )

    def _how_to_wait(self, bounds: Bounds) -> dict[str, Any]:
        """Tell what every trigger is to know."""
        return {
            "census_conn_id": self.census_conn_id,
            "poll_interval": self.polling.interval,
            "exponential_backoff": self.polling.exponential_backoff,
            "max_wait": self.polling.max_wait,
            "silent_fail": self.silent_fail,
            **asdict(bounds),
        }

    def _defer_to(
        self, trigger: WaitTrigger, bounds: Bounds, method: str = "execute_complete", **known: Any
    ) -> NoReturn:
        """
        Go to the triggerer.

        :param method: what to go on with afterwards.
        :param known: what that is to know besides the bounds.
        """
        self.defer(
            trigger=trigger,
            method_name=method,
            kwargs={**asdict(bounds), **known},
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
        self._ran = hook, run
        metrics.finished(sync_runs.outcome(run), self._waiting_since)
        url = sync_runs.browser_url(hook.settings.base_url, run)
        verdict = sync_runs.judge(run, self.tolerance, url)
        if self.outlets:
            from airflow_provider_census.outlets import annotate

            annotate(context, self.outlets, sync_runs.summary(run, url), self.log)
        if verdict.skip:
            from airflow.providers.common.compat.sdk import AirflowSkipException

            raise AirflowSkipException(verdict.message)
        if verdict.error is None:
            (self.log.warning if verdict.warn else self.log.info)("%s", verdict.message)
        return verdict.error

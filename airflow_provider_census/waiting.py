# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""How a task waits for a sync run: here or in the triggerer, and what it makes of the end."""

from __future__ import annotations

import inspect
import random
import time
from abc import abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_census import reporting
from airflow_provider_census.api import sync_runs, wording
from airflow_provider_census.api.criteria import CHECKS, SuccessCriteria, evaluate
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.validation import TEN_YEARS, check_id, check_name
from airflow_provider_census.exceptions import (
    CensusAuthError,
    CensusError,
    CensusTaskKilled,
    CensusTimeoutError,
)
from airflow_provider_census.links.census import publish
from airflow_provider_census.utils import early_resume, stats, xcom

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.types import Sync
    from airflow_provider_census.api.validation import Check
    from airflow_provider_census.api.waiters import RunWaiter, SyncRunWaiter, Waiter
    from airflow_provider_census.exceptions import CensusSyncRunError
    from airflow_provider_census.hooks.census import CensusHook
    from airflow_provider_census.triggers.base import WaitEvent, WaitTrigger

    _Task = BaseOperator
else:
    _Task = object

T = TypeVar("T")

DEFAULT_CONN_ID = "census_default"

TRIGGER_FAILED = "__fail__"
"""The method that Airflow resumes with when it has given up a trigger."""

SUMMARY_KEY = "sync_run_summary"
"""The XCom that says how the run ended, in a sentence and in numbers."""

DEFER_MARGIN = 600.0
"""Seconds after the first deadline at which Airflow is to end a deferral itself, if no triggerer has."""


class WaitsForSyncRun(_Task):
    """
    The part of a task that waits for a sync run, for operator and sensors to be mixed into.

    :ivar census_conn_id: id of the Airflow connection.
    :ivar hook_params: what the hook takes besides it.
    :ivar silent_fail: keep waiting when the token is rejected or the run does not exist.
    :ivar cancel_on_kill: cancel the run when a user kills the task.
    :ivar joined: the run was started by somebody else, and is not to be cancelled.
    :ivar timeout: seconds to wait at most, when the task runs.
    :ivar timeout_error: what to raise then.
    :ivar checks: what the arguments have to be that are not ids, names or moments. They are read when the DAG
        file gives them itself, and again when the task runs: a template of a subclass or a cluster policy may
        have set them by then.
    """

    census_conn_id: str
    hook_params: dict[str, Any] | None
    sync_id: int | str | None = None
    sync_label: str | None = None
    on_skipped_run = "fail"
    log_rejected_records: int
    exponential_backoff: Any = False
    max_wait: Any = None
    silent_fail: bool
    cancel_on_kill: bool
    checks: ClassVar[dict[str, Check]]
    _hook_module = "airflow_provider_census.hooks.census"
    joined = False
    timeout: Any
    timeout_error: type[Exception]
    _checked: Mapping[str, tuple[Any, Any]] = MappingProxyType({})
    _waiting_since: float | None = None
    _killed = False
    _is_resumed = False
    _stored: Mapping[str, Any] = MappingProxyType({})
    _run: Run | None = None
    _sync: Sync | None = None
    _sync_name: str | None = None
    _url = ""
    _details: Sequence[str] = ()

    @cached_property
    def hook(self) -> CensusHook:
        """The hook of the connection."""
        return self._make_hook()

    def _make_hook(self) -> CensusHook:
        """Make the hook of what the module of the task has under that name, or a test puts there."""
        kind: type[CensusHook] = import_module(self._hook_module).CensusHook
        return kind(self.census_conn_id, **(self.hook_params or {}))

    def _check_hook(self) -> None:
        """
        Refuse to wait with a Mock, whose responses never end a wait.

        :raises CensusError: if the hook is one.
        """
        if type(self.hook).__module__ == "unittest.mock":
            raise CensusError(
                "The hook of this task is a Mock, which can start a run, but not wait for one or look for "
                "others. Use wait_for_completion=False and if_running='trigger', or put the sandbox in place "
                "of Census: airflow_provider_census.sandbox."
            )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Report to the OpenLineage provider, where it is installed, what the run read and wrote."""
        from airflow_provider_census import openlineage

        return openlineage.facets(
            self.hook,
            self._run,
            first_try=task_instance.try_number == 1,
            sync=self._sync,
            name=self._sync_name or "",
        )

    def _log_failure(self) -> AbstractContextManager[None]:
        """Say in the log why the task fails or is skipped, before Airflow does."""
        return reporting.log_failure(self.log, lambda: (self._url, self._details))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume, also after Airflow gave up the trigger; what the run is now counts, read again."""
        from airflow_provider_census.hooks.census import NOTIFIED

        NOTIFIED.add(self.census_conn_id)  # by the process that deferred the task
        self._is_resumed = True
        with self._log_failure():
            if next_method == TRIGGER_FAILED:
                return self._resume_without_event(context, next_kwargs)
            accepted = self._accepted_kwargs(next_method, next_kwargs)
            return super().resume_execution(next_method, accepted, context)

    @abstractmethod
    def _resume_without_event(self, context: Context, failure: dict[str, Any] | None) -> Any:
        """
        Resume after Airflow gave up the trigger.

        :param failure: what Airflow says of it.
        """

    def _name_of(self, run: Run) -> str:
        """Name the sync of a run, which takes one request for the whole task; ``""`` if that is not known."""
        if self._sync_name is None:
            self._sync = reporting.read_definition(self.hook, run.get("sync_id"), self.log)
            self._sync_name = wording.sync_name(self._sync)
        return self._sync_name

    def _find_sync_id(self) -> str:
        """Find the sync by its id or its label."""
        if self.sync_label is not None:
            return str(self.hook.find_sync(check_name("sync_label", self.sync_label))["id"])
        checked = check_id("sync_id", self.sync_id)
        return checked.lstrip("0") if checked.isdigit() else str(checked)

    @property
    @abstractmethod
    def _poll_interval(self) -> float | None:
        """Seconds between two polls; ``None`` lets them grow with the time waited."""

    def _criteria(self) -> SuccessCriteria:
        return SuccessCriteria(**{name: getattr(self, name) for name in CHECKS})

    def _wait_options(self, stored: Mapping[str, Any] | None = None) -> WaitOptions:
        """
        Begin a wait now, or continue one.

        :param stored: what the deferral of a wait that has begun stored; it may have been of another release,
            which knows other times.
        """
        now, stored = time.time(), stored or {}
        times: dict[str, Any] = {
            "started": now,
            "deadline": now + self.timeout,
            "execution_deadline": None,
        }
        if self.execution_timeout is not None:
            limit = self.execution_timeout.total_seconds()
            # Airflow 2 fails a deferred task at that moment, before any code of it can run; Airflow 3 does
            # not heed the execution_timeout while a task is deferred.
            margin = 0.0 if AIRFLOW_V_3_0_PLUS else min(30.0, limit / 10)
            times["execution_deadline"] = now + limit - margin
        times |= {name: moment for name, moment in stored.items() if name in times}
        self._sync_name = stored.get("sync_name", self._sync_name)
        self._url = stored.get("url", self._url)
        return WaitOptions(
            self._poll_interval,
            bool(self.exponential_backoff),
            self.max_wait.total_seconds() if self.max_wait else None,
            self.silent_fail,
            **times,
        )

    def _run_waiter(self, sync_run_id: int | str) -> SyncRunWaiter:
        from airflow_provider_census.api.waiters import SyncRunWaiter

        waiter = SyncRunWaiter(sync_run_id, self.log, time.time, silent_fail=self.silent_fail)
        waiter.name_of = self._name_of
        return waiter

    def _poll_once(self, context: Context, waiter: RunWaiter[Any], *, retry_auth: bool = False) -> Any:
        """Poll once; ``None`` if what is waited for has not ended."""
        from airflow_provider_census.api.waiters import poll_once

        self._check_hook()
        with self._left_running(waiter):
            polled = self.hook.drive(poll_once(waiter, retry_auth=retry_auth))
        self._publish_run(context, waiter.run)
        return polled

    def _publish_run(self, context: Context, run: Run | None) -> None:
        if run is not None:
            self._publish(context, sync_runs.browser_url(self.hook.settings.base_url, run))

    def _publish(self, context: Context, url: str) -> None:
        """Give a URL in Census to the button of the task, and to what its log says of a failure."""
        if url != self._url:
            self._url = url
            publish(context, url, self.log)

    @contextmanager
    def _left_running(self, waiter: Waiter[Any]) -> Iterator[None]:
        """Say with a rejected token what becomes of a run that nobody can wait for any more."""
        try:
            yield
        except CensusAuthError as error:
            self._details = [waiter.abandoned]
            error.args = (f"{error.args[0]} {waiter.abandoned} {self._url}".rstrip(),)
            raise

    def _wait_or_defer(
        self,
        context: Context,
        waiter: RunWaiter[T],
        options: WaitOptions,
        method_name: str = "execute_complete",
    ) -> T:
        """
        Poll on the worker first; then wait in the triggerer.

        :param method_name: what to resume with.
        """
        end, deadline = time.time() + early_resume.short_wait(), options.first_deadline
        try:
            # What may not resume before the time is over cannot be deferred.
            if deadline is not None and deadline < end + early_resume.grace():
                return self._wait_until_timeout(waiter, options)
            with suppress(CensusTimeoutError):
                return self._wait_here(waiter, replace(options, deadline=end))
        finally:
            self._publish_run(context, waiter.run)
        return self._defer(waiter, options, method_name)

    def _defer(
        self, waiter: RunWaiter[Any], options: WaitOptions, method_name: str = "execute_complete"
    ) -> NoReturn:
        """
        Wait in the triggerer.

        :param method_name: what to resume with.
        """
        now, end = time.time(), options.first_deadline
        left = TEN_YEARS if end is None else min(max(0.0, end - now), TEN_YEARS)
        grace, earliest = early_resume.grace(), options.resume_after or 0.0
        options = replace(options, resume_after=max(earliest, now + grace if grace else 0.0) or None)
        times = {name: getattr(options, name) for name in ("started", "deadline", "execution_deadline")}
        trigger = self._trigger(waiter, options).connect_as(self.hook, self.hook_params)
        trigger.sync_name = self._sync_name or None
        kept = {"sync_name": self._sync_name, "url": self._url, **self._resume_kwargs(waiter)}
        timeout = timedelta(seconds=left + DEFER_MARGIN)
        self.defer(trigger=trigger, method_name=method_name, kwargs={**times, **kept}, timeout=timeout)

    def _accepted_kwargs(self, method_name: str, stored: Mapping[str, Any] | None) -> dict[str, Any]:
        """
        Pass only the arguments that the method takes which resumes: that of a subclass may take fewer.

        :param stored: what the deferral stored; the rest of it is kept for our own methods.
        """
        stored = dict(stored or {})
        parameters = inspect.signature(getattr(self, method_name)).parameters
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return stored
        self._stored = {name: stored.pop(name) for name in stored.keys() - parameters.keys() - {"event"}}
        return stored

    def _resume_kwargs(self, waiter: RunWaiter[Any]) -> dict[str, Any]:
        """Give what the method that resumes needs to know besides the times of the wait."""
        return {}

    def _trigger(self, waiter: RunWaiter[Any], options: WaitOptions) -> WaitTrigger:
        """Make the trigger that waits in the place of a waiter."""
        from airflow_provider_census.triggers.census import CensusSyncRunTrigger

        assert waiter.sync_run_id is not None
        return CensusSyncRunTrigger(
            waiter.sync_run_id,
            self.census_conn_id,
            cancel_on_kill=self.cancel_on_kill and not self.joined,
            **options.as_dict(),
        )

    def _wait_here(self, waiter: Waiter[T], options: WaitOptions, *, first_success: bool = False) -> T:
        """Wait on the worker."""
        from airflow_provider_census.api.waiters import wait

        self._check_hook()
        self._waiting_since = options.started
        here = options if self._keeps_execution_timeout else replace(options, execution_deadline=None)
        flow = wait(waiter, here, now=time.time, rng=random.Random(), first_success=first_success)
        with self._left_running(waiter):
            return self.hook.drive(flow, self._sleep)

    def _wait_until_timeout(
        self, waiter: RunWaiter[T], options: WaitOptions, *, first_success: bool = False
    ) -> T:
        """Wait on the worker, where to reach the ``timeout`` is final."""
        try:
            return self._wait_here(waiter, options, first_success=first_success)
        except CensusTimeoutError:
            kind = options.first_timeout if self._keeps_execution_timeout else "timeout"
            raise self._timed_out(waiter, kind) from None

    @property
    def _keeps_execution_timeout(self) -> bool:
        """Whether a wait here ends then by itself: Airflow 3 begins that time anew when a task resumes."""
        return AIRFLOW_V_3_0_PLUS and self._is_resumed

    def _sleep(self, seconds: float) -> None:
        """
        Sleep, but not on when the task is killed; a signal alone does not end a sleep.

        :raises CensusTaskKilled: if it is.
        """
        end = time.monotonic() + seconds
        while not self._killed:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 1.0))
        raise CensusTaskKilled("The task was killed while it waited for Census.")

    def _resume(
        self, context: Context, waiter: RunWaiter[Any], event: WaitEvent, options: WaitOptions
    ) -> Run:
        """Resume after the trigger: poll again, for what the run is now counts, not what the trigger saw."""
        self._waiting_since = options.started
        run: Run | None = self._poll_once(context, waiter)
        if run is not None:
            return run
        self._raise_unless_ended(waiter, event)
        return self._defer(waiter, options.flapping(time.time()))

    def _raise_unless_ended(self, waiter: RunWaiter[Any], event: WaitEvent) -> None:
        """Raise what a wait in the triggerer ended with, unless that was the end of the run."""
        if event.kind in {"timeout", "execution_timeout"}:
            raise self._timed_out(waiter, event.kind)
        if event.kind == "error":
            raise CensusError(
                f"The wait for {waiter.name} ended early, {waiter.if_abandoned}: {event.message}"
            )

    def _timed_out(self, waiter: RunWaiter[Any], kind: str) -> Any:
        """
        Leave a run whose wait is over, and make the error that says how far it was.

        :param kind: which of the two timeouts was reached.
        """
        abandoned = self._abandon(waiter, kind)
        if waiter.run is not None:
            self._url = sync_runs.browser_url(self.hook.settings.base_url, waiter.run)
        limit = self.execution_timeout if kind == "execution_timeout" else timedelta(seconds=self.timeout)
        error: Any = AirflowTaskTimeout if kind == "execution_timeout" else self.timeout_error
        description = reporting.describe_timeout(waiter, kind, limit)
        timed_out = error(f"{description} {abandoned} {self._url}".rstrip())
        timed_out.__notes__ = getattr(timed_out, "__notes__", [reporting.TIMEOUT_NOTE])
        return timed_out

    def _abandon(self, waiter: RunWaiter[Any], kind: str) -> str:
        """
        Leave a run that nobody waits for any more; say what becomes of it.

        :param kind: which of the two timeouts was reached.
        """
        return waiter.abandoned

    def _finish(self, context: Context, run: Run) -> Run | None:
        """
        Take the end of a run: report it to metrics and assets, and say in the log what is no error.

        :returns: the run, if it is a success.
        :raises CensusSyncRunError: if it is none.
        :raises AirflowSkipException: if the task is to be skipped.
        """
        self._run = run
        self._url = url = sync_runs.browser_url(self.hook.settings.base_url, run)
        name, blocking, blocking_url = self._name_of(run), "", ""
        if sync_runs.outcome(run) == "skipped":
            blocking, blocking_url = reporting.describe_blocking_run(self.hook, run, time.time(), self.log)
        evaluation = evaluate(run, self._criteria(), url, name, blocking)
        details = reporting.read_rejections(self.hook, run, self.log_rejected_records, self.log)
        if blocking_url:
            details.append(f"Open the run that blocked it: {blocking_url}")
        stats.sync_run_finished(evaluation.outcome, self._waiting_since)
        summary = sync_runs.summary(run, url, name, evaluation.message)
        xcom.push(context, SUMMARY_KEY, summary, self.log)
        if self.outlets:
            from airflow_provider_census.utils.asset_events import annotate

            annotate(context, self.outlets, summary, self.log)
        if evaluation.error is not None:
            self._details = details
            raise self._as_raised(evaluation.error)
        for line in (evaluation.message, *details):
            (self.log.warning if evaluation.warn else self.log.info)("%s", line)
        self.log.info("Open: %s", url)
        if evaluation.skip:
            raise AirflowSkipException(evaluation.message)
        return run

    def _as_raised(self, error: CensusSyncRunError) -> CensusSyncRunError:
        """Give the error that this task raises for a run that ended badly."""
        return error

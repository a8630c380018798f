# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the sensors have in common."""

from __future__ import annotations

import inspect
import random
import time
from abc import abstractmethod
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_census.api.criteria import CHECKS
from airflow_provider_census.api.hook_params import check_hook_params
from airflow_provider_census.api.polling import RESCHEDULE_INTERVAL, WaitOptions
from airflow_provider_census.api.validation import (
    check_int,
    check_literals,
    check_name,
    is_literal,
    optional,
    take_arguments,
    to_bool,
    to_builtin,
    to_seconds,
)
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConnectionError,
    CensusNotFoundError,
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
    CensusSyncRunTooFewRecords,
)
from airflow_provider_census.links.census import CensusSyncRunLink
from airflow_provider_census.utils import stats, xcom
from airflow_provider_census.waiting import WaitsForSyncRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.validation import Check
    from airflow_provider_census.api.waiters import OutageLog, RunWaiter

NO_RETRY = "A retry cannot help, and Airflow makes none: this run stays as it ended."


class FinalSyncRunFailed(CensusSyncRunFailed, AirflowFailException):
    """The run failed; a sensor is not retried."""

    _retry_note = NO_RETRY


class FinalSyncRunCanceled(CensusSyncRunCanceled, AirflowFailException):
    """Somebody cancelled the run; a sensor is not retried."""

    _retry_note = NO_RETRY


class FinalSyncRunSkipped(CensusSyncRunSkipped, AirflowFailException):
    """Census skipped the run; a sensor is not retried."""

    _retry_note = NO_RETRY


class FinalSyncRunRejectedRecords(CensusSyncRunRejectedRecords, AirflowFailException):
    """The run rejected too many records; a sensor is not retried."""

    _retry_note = NO_RETRY


class FinalSyncRunTooFewRecords(CensusSyncRunTooFewRecords, AirflowFailException):
    """The run processed too few records; a sensor is not retried."""

    _retry_note = NO_RETRY


FINAL: dict[type[CensusSyncRunError], type[CensusSyncRunError]] = {
    kind.__bases__[0]: kind
    for kind in (
        FinalSyncRunFailed,
        FinalSyncRunCanceled,
        FinalSyncRunSkipped,
        FinalSyncRunRejectedRecords,
        FinalSyncRunTooFewRecords,
    )
}


SPANS = {"poke_interval", "timeout", "max_wait"}


def to_timedelta(argument: str, value: object) -> timedelta:
    """
    Take a time span to what Airflow makes of it.

    :raises ValueError: if it is none.
    """
    return timedelta(seconds=to_seconds(argument, value, limits=False))


class WaitSensor(WaitsForSyncRun, BaseSensorOperator):
    """
    A wait for a sync run, of which a subclass says which.

    ``timeout``, ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff`` and
    ``max_wait`` mean what they mean for every sensor of Airflow, also when it is deferred.

    :param census_conn_id: id of the Airflow connection, of type ``census``.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds, or a ``timedelta``, between two polls; ``None`` lets them grow with the
        time waited, from 4 to 23 seconds; 60 in mode ``reschedule``.
    :param log_rejected_records: how many rejected records the log names at most; 0 for none.
    :param hook_params: what the hook takes besides its connection.
    """

    operator_extra_links = (CensusSyncRunLink(),)
    ui_color = "#f5e9ff"
    cancel_on_kill = False
    timeout_error = AirflowSensorTimeout
    checks: ClassVar[dict[str, Check]] = {
        **CHECKS,
        "deferrable": to_bool,
        "poke_interval": partial(to_seconds, limits=False),
        "timeout": partial(to_seconds, limits=False),
        "max_wait": optional(to_timedelta),
        "log_rejected_records": partial(check_int, low=0),
        "hook_params": optional(check_hook_params),
    }
    _defaults: ClassVar[Mapping[str, tuple[Any, Any]]]
    run_known = True
    """Whether it is known from the beginning for which run to wait."""
    _waiter: RunWaiter[Any] | None = None

    def __init__(
        self,
        *,
        census_conn_id: str,
        deferrable: bool,
        poke_interval: timedelta | float | None,
        log_rejected_records: int,
        hook_params: dict[str, Any] | None,
        **kwargs: Any,
    ) -> None:
        if poke_interval is not None:
            kwargs["poke_interval"] = poke_interval
        # Airflow takes no template for these, and no number of another type.
        spans = {name: to_builtin(kwargs.pop(name)) for name in SPANS & kwargs.keys()}
        literals = {name: span for name, span in spans.items() if is_literal(span)}
        super().__init__(**kwargs, **literals)
        for name in spans.keys() - literals.keys():
            setattr(self, name, spans[name])
        self.census_conn_id = census_conn_id
        self.deferrable = deferrable
        self.log_rejected_records = log_rejected_records
        self.hook_params = hook_params
        if is_literal(census_conn_id):
            check_name("census_conn_id", census_conn_id)
        self._checked = check_literals(self, self.checks, self._defaults)
        # What Airflow put there; another value, also of a cluster policy, is an interval that somebody wants.
        self._default_poke_interval = self.poke_interval if poke_interval is None else None
        # On a worker, Airflow lets one poll without delay.
        if deferrable is True and is_literal(self.poke_interval):
            to_seconds("poke_interval", self.poke_interval)

    @abstractmethod
    def _begin(self, context: Context) -> RunWaiter[Any]:
        """Make what waits."""

    def _continue(self, context: Context, sync_run_id: Any, stored: dict[str, Any]) -> RunWaiter[Any]:
        """
        Make what waits after a time in the triggerer.

        :param sync_run_id: the run that the triggerer reported.
        :param stored: what the deferral stored.
        """
        return self._run_waiter(sync_run_id)

    @property
    def _is_adaptive(self) -> bool:
        return self.poke_interval == self._default_poke_interval and not self.exponential_backoff

    @property
    def _poll_interval(self) -> float | None:
        return None if self._is_adaptive else to_seconds("poke_interval", self.poke_interval)

    def execute(self, context: Context) -> Run | None:
        """Wait for the run: in the triggerer if deferrable, else as Airflow's sensors do."""
        with self._log_failure():
            take_arguments(self, self.checks, self._checked)
            if not self.deferrable:
                return self._poke_until_it_has_ended(context)
            options = self._wait_options()
            with self._as_a_sensor():
                return self._finish(context, self._wait_or_defer(context, self._begin(context), options))

    def _poke_until_it_has_ended(self, context: Context) -> Run | None:
        self._waiter = None
        # The plain method, for Airflow 2 takes a call of the decorated one for one from outside a task.
        loop = inspect.unwrap(BaseSensorOperator.execute)
        try:
            return cast("Run | None", loop(self, context))
        except AirflowSensorTimeout:  # which only says that it is one
            if self._waiter is None:
                raise
            raise self._timed_out(self._waiter, "timeout") from None
        except AirflowSkipException as skip:
            if (
                skip.__cause__ is None and self._run is None and self._waiter is not None
            ):  # because of soft_fail
                skip.__cause__ = self._timed_out(self._waiter, "timeout")
            raise

    @cached_property
    def _outage(self) -> OutageLog:
        """Reports an outage before the first poll, which is not yet the waiter's."""
        from airflow_provider_census.api.waiters import OutageLog

        return OutageLog(self.log, time.time)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""
        try:
            waiter = self._waiter or self._begin_poking(context)
        except (CensusConnectionError, CensusApiError) as error:
            if isinstance(error, (CensusAuthError, CensusNotFoundError)) and not self.silent_fail:
                raise
            self._outage.failed(f"sync {self.sync_label or self.sync_id}", error)
            return PokeReturnValue(False)
        self._outage.succeeded()
        run = self._poll_once(context, waiter, retry_auth=not self.reschedule)
        if run is None:
            return PokeReturnValue(False)
        if self.reschedule:
            self._waiting_since = stats.first_reschedule(context) or self._waiting_since
        return PokeReturnValue(True, self._finish(context, run))

    def _begin_poking(self, context: Context) -> RunWaiter[Any]:
        self._waiting_since = time.time()
        self._waiter = self._begin(context)
        if self.reschedule:  # each poll is a process of its own, and would look the name up again
            self._waiter.name_of = lambda _: ""
        return self._waiter

    def execute_complete(self, context: Context, event: Any = None, **stored: Any) -> Run | None:
        """Resume after the triggerer: read the run again, and evaluate it."""
        from airflow_provider_census.triggers.base import WaitEvent

        take_arguments(self, self.checks, self._checked)
        stored = {**self._stored, **stored}
        with self._as_a_sensor():
            wait_event = WaitEvent.parse(event, run_known=self.run_known)
            waiter = self._continue(context, wait_event.sync_run_id, stored)
            return self._finish(
                context, self._resume(context, waiter, wait_event, self._wait_options(stored))
            )

    def _resume_without_event(self, context: Context, failure: dict[str, Any] | None) -> Run | None:
        from airflow_provider_census.triggers.base import WaitEvent

        take_arguments(self, self.checks, self._checked)
        with self._as_a_sensor():
            options = self._wait_options({"started": None})  # which nobody knows any more
            event = WaitEvent.of_trigger_failure(failure, options.first_timeout)
            return self._finish(context, self._resume(context, self._begin(context), event, options))

    @contextmanager
    def _as_a_sensor(self) -> Iterator[None]:
        """Skip where Airflow's own loop would have skipped, which a deferred sensor does not go through."""
        try:
            yield
        except AirflowSkipException:
            raise
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        if not self._is_adaptive:
            return float(super()._get_next_poke_interval(started_at, run_duration, poke_count))
        interval = WaitOptions().interval(run_duration(), poke_count, random.Random())
        return max(interval, RESCHEDULE_INTERVAL) if self.reschedule else interval

    def _finish(self, context: Context, run: Run) -> Run | None:
        return xcom.return_value(self, context, super()._finish(context, run))

    def _as_raised(self, error: CensusSyncRunError) -> CensusSyncRunError:
        return FINAL[type(error)](str(error), error.sync_run)

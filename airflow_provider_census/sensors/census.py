# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sensor that waits for a sync run, and what the sensors have in common."""

from __future__ import annotations

import inspect
import random
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_census import metrics, tasks
from airflow_provider_census.api.polling import RESCHEDULED, Polling
from airflow_provider_census.api.request import flag, seconds
from airflow_provider_census.api.sync_runs import Tolerance
from airflow_provider_census.exceptions import CensusSyncRunError
from airflow_provider_census.links.census import CensusSyncRunLink
from airflow_provider_census.warning import deprecated

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.flows import RunLookout
    from airflow_provider_census.hooks.census import CensusHook
    from airflow_provider_census.sensors.census_sync import CensusSyncSensor as CensusSyncSensor


class WaitSensor(tasks.WaitsForSyncRun, BaseSensorOperator):
    """
    A wait for a sync run, of which a subclass says which.

    ``timeout``, ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff`` and
    ``max_wait`` mean what they mean for every sensor of Airflow, also when it is deferred.

    :param census_conn_id: id of the Airflow connection, of type ``census``.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds, or a ``timedelta``, between two looks; ``None`` lets them grow with the
        time waited, from 4 to 23 seconds; 60 in mode ``reschedule``.
    :param tolerance: which ends of the run are a success.
    """

    operator_extra_links = (CensusSyncRunLink(),)
    ui_color = "#f5e9ff"
    cancel_on_kill = False
    timeout_error = AirflowSensorTimeout
    run_known = True
    """Whether it is known from the beginning for which run to wait."""
    _poking: tuple[CensusHook, RunLookout[Any]] | None = None

    def __init__(
        self,
        *,
        census_conn_id: str,
        deferrable: bool,
        poke_interval: timedelta | float | None,
        tolerance: Tolerance,
        **kwargs: Any,
    ) -> None:
        if poke_interval is not None:
            kwargs["poke_interval"] = poke_interval
        super().__init__(**kwargs)
        tasks.early_name("census_conn_id", census_conn_id)
        self.census_conn_id = census_conn_id
        flag("deferrable", deferrable)
        if deferrable:  # on a worker, Airflow lets a sensor look without a pause
            seconds("poke_interval", self.poke_interval)
        self.deferrable = deferrable
        self.tolerance = tolerance
        grows = poke_interval is None and not self.exponential_backoff
        self.polling = Polling(
            None if grows else self.poke_interval,
            shortest=RESCHEDULED if self.reschedule else 0.0,
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait.total_seconds() if self.max_wait else None,
        )

    @abstractmethod
    def _lookout(self, context: Context, hook: CensusHook) -> RunLookout[Any]:
        """Make what is waited with."""

    def _lookout_again(
        self, context: Context, hook: CensusHook, sync_run_id: Any, known: dict[str, Any]
    ) -> RunLookout[Any]:
        """
        Make what is waited with after a time in the triggerer.

        :param sync_run_id: the run that the triggerer told of.
        :param known: what was known before.
        """
        return self._watch(sync_run_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for the run: in the triggerer if deferrable, else as Airflow's sensors do."""
        if not self.deferrable:
            self._poking = self._begin_poking(context)
            # The plain method, for Airflow 2 takes a call of the decorated one for one from outside a task.
            loop = inspect.unwrap(BaseSensorOperator.execute)
            return cast("dict[str, Any]", loop(self, context))
        bounds = self._bounds()
        with self._as_a_sensor():
            hook = self._hook()
            run = self._look_or_defer(context, hook, self._lookout(context, hook), bounds)
            return self._conclude(context, hook, run)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        hook, watch = self._poking = self._poking or self._begin_poking(context)
        run = self._look(context, hook, watch, alone=self.reschedule)
        if run is None:
            return PokeReturnValue(False)
        if self.reschedule:
            self._waiting_since = metrics.first_reschedule(context) or self._waiting_since
        return PokeReturnValue(True, self._conclude(context, hook, run))

    def _begin_poking(self, context: Context) -> tuple[CensusHook, RunLookout[Any]]:
        self._waiting_since = time.time()
        hook = self._hook()
        return hook, self._lookout(context, hook)

    def execute_complete(self, context: Context, event: Any = None, **known: Any) -> dict[str, Any]:
        """Take over from the triggerer: read the run again, and judge it."""
        with self._as_a_sensor():
            hook = self._hook()
            sync_run_id, kind, message = tasks.read_event(event, run_known=self.run_known)
            watch = self._lookout_again(context, hook, sync_run_id, known)
            run = self._resume(context, hook, watch, kind, message, self._bounds(known))
            return self._conclude(context, hook, run)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on, also after Airflow gave up the trigger: what the run has become counts, not who saw it."""
        if next_method != tasks.TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        with self._as_a_sensor():
            hook = self._hook()
            run = self._lost_trigger(context, hook, self._lookout(context, hook), next_kwargs or {})
            return self._conclude(context, hook, run)

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
        if self.polling.interval is not None:
            return float(super()._get_next_poke_interval(started_at, run_duration, poke_count))
        return self.polling.pause(run_duration(), poke_count, random.Random())

    def _conclude(self, context: Context, hook: CensusHook, run: dict[str, Any]) -> dict[str, Any]:
        if error := self._verdict(context, hook, run):
            raise FINAL[type(error)](str(error), run)
        return run


FINAL: dict[type[CensusSyncRunError], type[CensusSyncRunError]] = {
    kind: type(
        kind.__name__,
        (kind, AirflowFailException),
        {
            "__doc__": kind.__doc__,
            "__module__": __name__,
            "_retry_note": "A retry cannot help, and Airflow makes none: this run stays as it ended.",
        },
    )
    for kind in CensusSyncRunError.__subclasses__()
}
"""The errors of a finished run, each as a class that Airflow does not retry besides."""


class CensusSyncRunSensor(WaitSensor):
    """
    Wait until a Census sync run has ended, and fail if it did not complete.

    The verdict on a finished run is final: the task fails at once, without the retries that could only read
    the same again. The task's return value is the finished run, as Census gave it.

    ``timeout``, ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff`` and
    ``max_wait`` mean what they mean for every sensor of Airflow, also when it is deferred.

    :param sync_run_id: id of the run (templated), such as the return value of ``CensusTriggerSyncOperator``.
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds, or a ``timedelta``, between two looks at the run; ``None`` lets them grow
        with the time waited, from 4 to 23 seconds; 60 in mode ``reschedule``.
    :param on_skipped_run: what it means if Census skipped the run because an earlier run of the sync was
        still going: ``"fail"``, ``"skip"`` (the task) or ``"succeed"``.
    :param max_records_failed: fail if the destination rejected more records; ``None`` for any number.
    :param max_records_invalid: fail if Census left out more records as invalid; ``None`` for any number.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusNotFoundError: if there is no such run.
    :raises CensusSyncRunError: if the run ended in another way than it should; also an
        ``AirflowFailException``.
    :raises AirflowSensorTimeout: if the run goes on after ``timeout``.
    """

    template_fields: Sequence[str] = ("sync_run_id", "census_conn_id")

    def __init__(
        self,
        *,
        sync_run_id: int | str,
        census_conn_id: str = tasks.DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        on_skipped_run: str = "fail",
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            census_conn_id=census_conn_id,
            deferrable=deferrable,
            poke_interval=poke_interval,
            tolerance=Tolerance(on_skipped_run, max_records_failed, max_records_invalid),
            **kwargs,
        )
        tasks.early_id("sync_run_id", sync_run_id)
        self.sync_run_id = sync_run_id

    def _lookout(self, context: Context, hook: CensusHook) -> RunLookout[Any]:
        return self._watch(self.sync_run_id)


class CensusSensor(CensusSyncRunSensor):
    """
    The sensor of 2.x, which looks once a minute, at most once a second if deferred, and is deferrable only if
    told.

    Deprecated: write :class:`CensusSyncRunSensor`.
    """

    def __init__(
        self,
        *,
        sync_run_id: int | str,
        census_conn_id: str = tasks.DEFAULT_CONN_ID,
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
        self.hook: CensusHook | None = None

    def _get_hook(self) -> CensusHook:
        """Make the hook, as subclasses of 2.x may do in their own way."""
        if self.hook is None:
            self.hook = super()._hook()
        return self.hook

    def _hook(self) -> CensusHook:
        return self._get_hook()


def __getattr__(name: str) -> type[WaitSensor]:
    """Offer the other sensor, which only costs those who use it."""
    if name != "CensusSyncSensor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_census.sensors.census_sync import CensusSyncSensor

    return CensusSyncSensor

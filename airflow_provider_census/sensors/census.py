# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sensors: for a sync run, and for whatever run of a sync."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_census.api.criteria import CHECKS, THRESHOLDS
from airflow_provider_census.api.sync_runs import sync_url
from airflow_provider_census.api.validation import (
    check_defaults,
    check_id,
    check_sync,
    is_literal,
    to_builtin,
)
from airflow_provider_census.sensors.base import WaitSensor
from airflow_provider_census.utils.datetimes import parse_datetime
from airflow_provider_census.utils.deprecation import old_names
from airflow_provider_census.waiting import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.polling import WaitOptions
    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.api.waiters import RunWaiter, SyncWaiter
    from airflow_provider_census.triggers.base import WaitTrigger


class CensusSyncRunSensor(WaitSensor):
    """
    Wait until a Census sync run has ended, and fail if it did not complete.

    The evaluation of a finished run is final: the task fails at once, without the retries that could only
    read the same again. The task's return value is the finished run, as Census gave it.

    ``timeout`` (templated), ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff``
    and ``max_wait`` mean what they mean for every sensor of Airflow, also when it is deferred.

    :param sync_run_id: id of the run (templated), such as the return value of ``CensusTriggerSyncOperator``.
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param hook_params: what the hook takes besides the connection, such as ``{"timeout": 120}``.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds, or a ``timedelta``, between two polls of the run; ``None`` lets them grow
        with the time waited, from 4 to 23 seconds; 60 in mode ``reschedule``.
    :param on_skipped_run: what it means if Census skipped the run because an earlier run of the sync was
        still running: ``"fail"``, ``"skip"`` (the task) or ``"succeed"`` (templated).
    :param max_records_failed: fail if the destination rejected more; ``None`` for any number (templated).
    :param max_records_invalid: fail if Census left out more as invalid; ``None`` for any number (templated).
    :param max_failed_share: fail if more than this share of the processed records, from 0 to 1, was rejected
        or invalid; ``None`` for any (templated).
    :param min_records_processed: fail if the run processed fewer records; ``None`` for any number
        (templated).
    :param log_rejected_records: how many rejected records the log names at most, by identifier and reason;
        0 for none.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusNotFoundError: if there is no such run.
    :raises CensusSyncRunError: if the run ended in another way than it should; also an
        ``AirflowFailException``.
    :raises AirflowSensorTimeout: if the run is still running after ``timeout``.
    """

    _hook_module = __name__
    template_fields: Sequence[str] = (
        "sync_run_id",
        "census_conn_id",
        "timeout",
        *CHECKS,
    )

    def __init__(
        self,
        *,
        sync_run_id: int | str,
        census_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        on_skipped_run: str = "fail",
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        max_failed_share: float | None = None,
        min_records_processed: int | None = None,
        log_rejected_records: int = 5,
        hook_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.on_skipped_run = on_skipped_run
        self.max_records_failed = max_records_failed
        self.max_records_invalid = max_records_invalid
        self.max_failed_share = max_failed_share
        self.min_records_processed = min_records_processed
        super().__init__(
            census_conn_id=census_conn_id,
            deferrable=deferrable,
            poke_interval=poke_interval,
            log_rejected_records=log_rejected_records,
            hook_params=hook_params,
            **kwargs,
        )
        self.sync_run_id = sync_run_id
        if is_literal(sync_run_id):
            check_id("sync_run_id", sync_run_id)

    _defaults = check_defaults(__init__, WaitSensor.checks)

    def _begin(self, context: Context) -> RunWaiter[Any]:
        check_id("sync_run_id", self.sync_run_id)
        return self._run_waiter(to_builtin(self.sync_run_id))


class CensusSyncSensor(WaitSensor):
    """
    Wait until a run of a Census sync has completed that was created after a moment, whoever started it.

    The newest run that has ended counts: the task fails if that did not complete. Runs that Census skipped
    do not count. The evaluation is final, without retries; clear the task to poll again. The task's return
    value is the run, as Census gave it.

    ``timeout`` (templated), ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff``
    and ``max_wait`` mean what they mean for every sensor of Airflow, also when it is deferred.

    :param sync_id: id of the sync (templated).
    :param sync_label: the sync's label, exactly, instead of its id (templated).
    :param since: the moment, a ``datetime`` or a text in ISO 8601 (templated); without a time zone, in
        Airflow's ``default_timezone``. ``None`` for the end of the data interval; if the DAG run has none,
        for the time at which the run was to start.
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param hook_params: what the hook takes besides the connection, such as ``{"timeout": 120}``.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds, or a ``timedelta``, between two polls of the runs; ``None`` lets them grow
        with the time waited, from 4 to 23 seconds; 60 in mode ``reschedule``.
    :param max_records_failed: fail if the destination rejected more; ``None`` for any number (templated).
    :param max_records_invalid: fail if Census left out more as invalid; ``None`` for any number (templated).
    :param max_failed_share: fail if more than this share of the processed records, from 0 to 1, was rejected
        or invalid; ``None`` for any (templated).
    :param min_records_processed: fail if the run processed fewer records; ``None`` for any number
        (templated).
    :param log_rejected_records: how many rejected records the log names at most, by identifier and reason;
        0 for none.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusNotFoundError: if there is no such sync.
    :raises CensusSyncRunError: if the run ended in another way than it should; also an
        ``AirflowFailException``.
    :raises AirflowSensorTimeout: if no run has ended after ``timeout``.
    """

    _hook_module = __name__
    template_fields: Sequence[str] = (
        "sync_id",
        "sync_label",
        "since",
        "census_conn_id",
        "timeout",
        *THRESHOLDS,
    )
    run_known = False

    def __init__(
        self,
        *,
        sync_id: int | str | None = None,
        sync_label: str | None = None,
        since: datetime | str | None = None,
        census_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        max_failed_share: float | None = None,
        min_records_processed: int | None = None,
        log_rejected_records: int = 5,
        hook_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.max_records_failed = max_records_failed
        self.max_records_invalid = max_records_invalid
        self.max_failed_share = max_failed_share
        self.min_records_processed = min_records_processed
        super().__init__(
            census_conn_id=census_conn_id,
            deferrable=deferrable,
            poke_interval=poke_interval,
            log_rejected_records=log_rejected_records,
            hook_params=hook_params,
            **kwargs,
        )
        self.sync_id = sync_id
        self.sync_label = sync_label
        self.since = since
        check_sync(sync_id, sync_label)
        if since is not None and is_literal(since):
            parse_datetime("since", since)

    _defaults = check_defaults(__init__, WaitSensor.checks)

    def _begin(self, context: Context) -> RunWaiter[Any]:
        since = start_of(context) if self.since is None else parse_datetime("since", self.since)
        sync_id = self._find_sync_id()
        self._publish(context, sync_url(self.hook.settings.base_url, sync_id))
        return self._sync_waiter(sync_id, since.timestamp())

    def _continue(self, context: Context, sync_run_id: Any, stored: dict[str, Any]) -> RunWaiter[Any]:
        if sync_run_id is not None:
            return self._run_waiter(sync_run_id)
        if "sync_id" in stored and "since" in stored:
            return self._sync_waiter(stored["sync_id"], stored["since"])
        return self._begin(context)

    def _sync_waiter(self, sync_id: str, since: float) -> SyncWaiter:
        from airflow_provider_census.api.waiters import SyncWaiter

        base_url = self.hook.settings.base_url
        waiter = SyncWaiter(sync_id, since, base_url, self.log, time.time, silent_fail=self.silent_fail)
        waiter.name_of = self._name_of
        return waiter

    def _trigger(self, waiter: RunWaiter[Any], options: WaitOptions) -> WaitTrigger:
        from airflow_provider_census.api.waiters import SyncWaiter
        from airflow_provider_census.triggers.census import CensusSyncTrigger

        if not isinstance(waiter, SyncWaiter):  # the triggerer reported which run it is
            return super()._trigger(waiter, options)
        return CensusSyncTrigger(waiter.sync_id, waiter.since, self.census_conn_id, **options.as_dict())

    def _resume_kwargs(self, waiter: RunWaiter[Any]) -> dict[str, Any]:
        from airflow_provider_census.api.waiters import SyncWaiter

        return {"sync_id": waiter.sync_id, "since": waiter.since} if isinstance(waiter, SyncWaiter) else {}

    def _finish(self, context: Context, run: Run) -> Run | None:
        self.log.info(
            "The newest run of sync %s that has ended is sync run %s, created at %s.",
            run.get("sync_id"),
            run.get("id"),
            run.get("created_at"),
        )
        return super()._finish(context, run)


def start_of(context: Context) -> datetime:
    """
    Tell after which moment a run of the sync belongs to a DAG run.

    :raises ValueError: if the DAG run has no times.
    """
    dag_run = context["dag_run"]
    # Airflow sets start_date anew when a user clears the DAG run, but not run_after, which Airflow 2 has not.
    moments = context.get("data_interval_end"), getattr(dag_run, "run_after", None), dag_run.start_date
    for known in moments:
        if isinstance(known, datetime):
            return known
    raise ValueError("since must be given, for this DAG run has neither a data interval nor a start")


__getattr__ = old_names(__name__, "CensusSensor")

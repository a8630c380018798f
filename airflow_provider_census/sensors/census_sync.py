# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sensor that waits for a run of a sync, whoever started it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import conf

from airflow_provider_census import tasks
from airflow_provider_census.api.request import refuse_unrendered
from airflow_provider_census.api.sync_runs import Tolerance
from airflow_provider_census.sensors.census import WaitSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.flows import RunLookout, SyncWatch
    from airflow_provider_census.hooks.census import CensusHook


class CensusSyncSensor(WaitSensor):
    """
    Wait until a run of a Census sync has completed that was created after a moment, whoever started it.

    The newest run that has ended counts: the task fails if that did not complete. Runs that Census skipped
    do not count. The verdict is final, without retries; clear the task to look again. The task's return value
    is the run, as Census gave it.

    ``timeout``, ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff`` and
    ``max_wait`` mean what they mean for every sensor of Airflow, also when it is deferred.

    :param sync_id: id of the sync (templated).
    :param sync_label: the sync's label, exactly, instead of its id (templated).
    :param since: the moment, a ``datetime`` or a text in ISO 8601 (templated); without a time zone, in
        Airflow's ``default_timezone``. ``None`` for the end of the data interval; if the DAG run has none,
        for the time at which the run was to start.
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poke_interval: seconds, or a ``timedelta``, between two looks at the runs; ``None`` lets them grow
        with the time waited, from 4 to 23 seconds; 60 in mode ``reschedule``.
    :param max_records_failed: fail if the destination rejected more records; ``None`` for any number.
    :param max_records_invalid: fail if Census left out more records as invalid; ``None`` for any number.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusNotFoundError: if there is no such sync.
    :raises CensusSyncRunError: if the run ended in another way than it should; also an
        ``AirflowFailException``.
    :raises AirflowSensorTimeout: if no run has ended after ``timeout``.
    """

    template_fields: Sequence[str] = ("sync_id", "sync_label", "since", "census_conn_id")
    run_known = False

    def __init__(
        self,
        *,
        sync_id: int | str | None = None,
        sync_label: str | None = None,
        since: datetime | str | None = None,
        census_conn_id: str = tasks.DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        max_records_failed: int | None = None,
        max_records_invalid: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            census_conn_id=census_conn_id,
            deferrable=deferrable,
            poke_interval=poke_interval,
            tolerance=Tolerance("fail", max_records_failed, max_records_invalid),
            **kwargs,
        )
        tasks.early_sync(sync_id, sync_label)
        self.sync_id = sync_id
        self.sync_label = sync_label
        if isinstance(since, (datetime, int, float, bytes)) or (isinstance(since, str) and "{" not in since):
            moment(since)
        self.since = since

    def _lookout(self, context: Context, hook: CensusHook) -> SyncWatch:
        since = start_of(context) if self.since is None else self.since
        sync_id = tasks.find_sync(hook, self.sync_id, self.sync_label)
        return self._sync_watch(hook, sync_id, moment(since))

    def _lookout_again(
        self, context: Context, hook: CensusHook, sync_run_id: Any, known: dict[str, Any]
    ) -> RunLookout[Any]:
        if sync_run_id is not None:
            return self._watch(sync_run_id)
        if "sync_id" in known and "since" in known:
            return self._sync_watch(hook, known["sync_id"], known["since"])
        return self._lookout(context, hook)

    def _sync_watch(self, hook: CensusHook, sync_id: str, since: float) -> SyncWatch:
        from airflow_provider_census.api.flows import SyncWatch

        return SyncWatch(
            sync_id, since, lambda: hook.settings.base_url, self.log, time.time, endure=self.silent_fail
        )

    def _defer(self, watch: RunLookout[Any], bounds: tasks.Bounds, **known: Any) -> NoReturn:
        from airflow_provider_census.api.flows import SyncWatch
        from airflow_provider_census.triggers.census_sync import CensusSyncTrigger

        if not isinstance(watch, SyncWatch):  # the triggerer has seen which run it is
            super()._defer(watch, bounds, **known)
        trigger = CensusSyncTrigger(watch.sync_id, watch.since, **self._how_to_wait(bounds))
        self._defer_to(trigger, bounds, sync_id=watch.sync_id, since=watch.since)

    def _conclude(self, context: Context, hook: CensusHook, run: dict[str, Any]) -> dict[str, Any]:
        self.log.info(
            "The newest run of sync %s that has ended is sync run %s, created at %s.",
            run.get("sync_id"),
            run.get("id"),
            run.get("created_at"),
        )
        return super()._conclude(context, hook, run)


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


def moment(since: object) -> float:
    """
    Take a moment to seconds since the epoch.

    :raises ValueError: if it is none.
    """
    from airflow.providers.common.compat.sdk import timezone  # type: ignore[attr-defined]

    known: Any = since
    if isinstance(since, str):
        refuse_unrendered("since", since)
        try:
            known = timezone.parse(since, strict=True)
        except ValueError:
            known = None
    if not isinstance(known, datetime):
        raise ValueError(
            "since must be a datetime, or a text such as '2026-01-31T06:00:00+00:00'; "
            f"not {since!r}. Leave it out for the end of the data interval."
        )
    return float(timezone.convert_to_utc(known).timestamp())

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The trigger that waits for a run of a sync, whoever started it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api import flows
from airflow_provider_census.api.request import any_id
from airflow_provider_census.triggers.census import WaitTrigger

if TYPE_CHECKING:
    from airflow_provider_census.hooks.census import CensusHook


class CensusSyncTrigger(WaitTrigger):
    """
    Wait until a run of a sync has ended that was created after a moment, or until no run of it goes on.

    :param sync_id: id of the sync.
    :param since: the moment, in seconds since the epoch; ``None`` to wait until no run goes on.
    :param census_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two looks; ``None`` lets them grow with the time waited.
    :param exponential_backoff: double the pause at every look, from ``poll_interval`` on.
    :param max_wait: seconds at most between two looks with ``exponential_backoff``.
    :param silent_fail: go on waiting when the token is rejected or the sync does not exist.
    :param started: when the wait began, in seconds since the epoch; ``None`` for now.
    :param deadline: when the wait is over, in seconds since the epoch; ``None`` for never.
    :param execution_deadline: the same for the task's ``execution_timeout``.
    """

    def __init__(
        self,
        sync_id: int | str,
        since: float | None = None,
        census_conn_id: str = "census_default",
        poll_interval: float | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        started: float | None = None,
        deadline: float | None = None,
        execution_deadline: float | None = None,
        **_of_another_release: Any,
    ) -> None:
        super().__init__(
            census_conn_id,
            poll_interval,
            exponential_backoff,
            max_wait,
            silent_fail,
            started,
            deadline,
            execution_deadline,
        )
        any_id("sync_id", sync_id)
        self.sync_id = sync_id
        self.since = since

    def _lookout(self, hook: CensusHook) -> flows.RunLookout[Any]:
        if self.since is None:
            return flows.IdleWatch(self.sync_id, self.log, time.time)
        return flows.SyncWatch(
            self.sync_id,
            self.since,
            lambda: hook.settings.base_url,  # which is known by the time of the first look
            self.log,
            time.time,
            endure=self.silent_fail,
        )

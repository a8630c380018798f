# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The methods that the hook had in 2.x, each of them removed in 4.0.

Not in ``deprecated.py``, for subclasses and patches of today's hook need them on the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_census.api.sync_runs import browser_url
from airflow_provider_census.utils.deprecation import deprecated

if TYPE_CHECKING:
    from airflow_provider_census.api.settings import Settings
    from airflow_provider_census.api.types import SyncRun


class OldMethods:
    """What ``CensusHook`` could in 2.x."""

    if TYPE_CHECKING:
        get_sync_run: Any

        @property
        def settings(self) -> Settings:
            """What the connection says."""

    def get_sync_run_info(self, sync_run_id: int | str) -> SyncRun:
        """Read a sync run. Deprecated, removed in 4.0: write :meth:`get_sync_run`."""
        deprecated("CensusHook.get_sync_run_info", "CensusHook.get_sync_run")
        run: SyncRun = self.get_sync_run(sync_run_id)
        return run

    def get_sync_history_url(self, sync_id: int | str, sync_run_id: int | str | None = None) -> str:
        """
        Tell where a sync's runs, or one of them, are shown in a browser.

        Deprecated, removed in 4.0: write ``airflow_provider_census.api.sync_runs.browser_url``.
        """
        deprecated(
            "CensusHook.get_sync_history_url",
            "airflow_provider_census.api.sync_runs.browser_url(hook.settings.base_url, run)",
        )
        url = browser_url(self.settings.base_url, {"sync_id": sync_id, "id": sync_run_id})
        return url.partition("?")[0] if sync_run_id is None else url

    def get_api_base_url(self) -> str:
        """Tell scheme and host. Deprecated, removed in 4.0: write ``hook.settings.base_url``."""
        deprecated("CensusHook.get_api_base_url", "hook.settings.base_url")
        return self.settings.base_url

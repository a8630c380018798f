# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
A type checker sees through the methods that are made of operations.

Nobody runs this: ``make lint`` checks it, and an ignored error that is none is one itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import assert_type

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.types import Source, SyncRun

if TYPE_CHECKING:
    from airflow_provider_census.hooks.census import CensusHook


async def typed(hook: CensusHook) -> None:
    assert_type(hook.get_source("slug"), Source)
    assert_type(hook.list_sync_runs(52, page=1), list[SyncRun])
    assert_type(hook.create_sync({"label": "x", "of another time": 1}), int)
    assert_type(hook.run(endpoints.get_sync_run(94)), SyncRun)
    assert_type(next(hook.iter_sources()), Source)
    assert_type(await hook.arun(endpoints.list_sources()), list[Source])
    hook.get_source(1.5)  # type: ignore[arg-type]
    hook.list_sync_runs(52, pages=1)  # type: ignore[call-arg]
    hook.list_sync_runs(52, "asc")  # type: ignore[call-arg]

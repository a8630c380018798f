# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of the triggerer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stand_in import Server, data, response

from airflow_provider_census.api import endpoints
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    import pytest


def test_a_list_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    page = {"status": "success", "data": [{"id": 1}], "pagination": {"next_page": 2}}
    with Server(response(page), data([{"id": 2}])) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http"
        )
        fetched = asyncio.run(CensusHook().arun(endpoints.list_sources()))
    assert [source["id"] for source in fetched] == [1, 2]
    assert [request.connection for request in server.received] == [1, 1]

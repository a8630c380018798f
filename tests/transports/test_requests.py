# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of a worker."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
from stand_in import Received, Server, data, response

from airflow_provider_census.exceptions import CensusConfigError, CensusNotFoundError
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from pathlib import Path

RUN = {"id": 94, "status": "working"}
OK = data(RUN)
BUSY = response({"message": "busy"}, 503)


def test_a_hook_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(OK, response(b"{}", 404), data([]), response({"data": {"id": 94, "status": "x"}})) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http"
        )
        hook = CensusHook()
        hook.get_sync_run(94)
        with pytest.raises(CensusNotFoundError):
            hook.get_sync_run(95)
        hook.list_sources()
        hook.get_sync_run(94)
    assert [request.connection for request in server.received] == [1, 1, 1, 1]


def test_a_wait_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(OK, OK, BUSY, OK, data({"id": 94, "status": "completed"})) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http"
        )
        assert CensusHook().wait_for_sync_run(94, poll_interval=0.001)["status"] == "completed"
    assert [request.connection for request in server.received] == [1] * 5


def test_ten_thousand_runs_are_read_with_a_hundred_requests_over_one_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def page(request: Received) -> bytes:
        number = int(dict(parse_qsl(urlsplit(request.target).query)).get("page", 1))
        runs = [{"id": 100 * number + each} for each in range(100)]
        following = number + 1 if number < 100 else None
        return response({"data": runs, "pagination": {"page": number, "next_page": following}})

    with Server(page) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http"
        )
        assert sum(1 for _ in CensusHook().iter_sync_runs(52)) == 10_000
    assert len(server.received) == 100
    assert server.connections == 1


def test_threads_that_share_a_hook_count_their_own_attempts(
    monkeypatch: pytest.MonkeyPatch, delays: list[float]
) -> None:
    def busy_at_first(request: Received) -> bytes:
        seen[request.target] += 1
        run_id = int(request.target.rpartition("/")[2])
        return data({"id": run_id, "status": "working"}) if seen[request.target] == 3 else BUSY

    seen: Counter[str] = Counter()
    with Server(busy_at_first) as server, ThreadPoolExecutor(8) as pool:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT",
            f"census://:token-of-tests@127.0.0.1:{server.port}/http?attempts=3",
        )
        hook = CensusHook()
        assert [run["id"] for run in pool.map(hook.get_sync_run, range(1, 41))] == [*range(1, 41)]
    assert set(seen.values()) == {3}
    assert len(delays) == 80


def test_a_hook_works_as_soon_as_there_are_authorities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "authorities.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Server(OK) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http"
        )
        hook = CensusHook()
        for _ in range(2):
            with pytest.raises(CensusConfigError, match="authorities"):
                hook.get_sync_run(94)
        bundle.touch()
        assert hook.get_sync_run(94) == RUN

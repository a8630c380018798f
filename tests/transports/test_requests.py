# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The transport of a worker."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
from stand_in import Received, Server, data, response

from airflow_provider_census.exceptions import CensusConfigError, CensusNotFoundError
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
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


def test_a_hook_that_was_used_before_a_fork_gets_its_own_responses_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(request: Received) -> bytes:
        return data({"id": int(request.target.rpartition("/")[2]), "status": "working"})

    def child(number: int, results: Connection) -> None:
        wanted = range(number * 100 + 1, number * 100 + 31)
        results.send([hook.get_sync_run(each)["id"] for each in wanted] == [*wanted])

    with Server(run) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http?attempts=1"
        )
        hook = CensusHook()
        hook.get_sync_run(1)
        fork = multiprocessing.get_context("fork")
        pipes = [fork.Pipe(duplex=False) for _ in range(3)]
        children = [
            fork.Process(target=child, args=(number, sender))
            for number, (_, sender) in enumerate(pipes, start=1)
        ]
        for process in children:
            process.start()
        right = [receiver.poll(60) and receiver.recv() for receiver, _ in pipes]
        for process in children:
            process.join()
        assert right == [True] * 3
        assert hook.get_sync_run(2)["id"] == 2
    assert [request.connection for request in server.received if request.target.endswith("/1")] == [1]
    assert [request.connection for request in server.received if request.target.endswith("/2")] == [1]
    assert server.connections == 4


def test_no_cookie_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    baked = data(RUN, Set_Cookie=f"session={'x' * 1000}; Path=/")
    with Server(baked) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CENSUS_DEFAULT", f"census://:token-of-tests@127.0.0.1:{server.port}/http"
        )
        hook = CensusHook()
        for _ in range(2):
            hook.get_sync_run(94)
    assert [request.headers.get("cookie") for request in server.received] == [None, None]

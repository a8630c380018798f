# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the documentation says of polling intervals is what a simulation of them gives."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_census.api.endpoints import get_sync_run
from airflow_provider_census.api.responses import HTTPResponse, parse

ROOT = Path(__file__).parents[1]


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("bench_simulation")


def test_growing_intervals_take_fewer_polls_and_notice_earlier_than_fixed_ones(simulation: Any) -> None:
    for mix, (growing, fixed) in simulation.compare(simulation.MIXES).items():
        assert growing.polls < fixed.polls, mix
        assert growing.delay < fixed.delay, mix
        assert growing.share < fixed.share, mix


@pytest.mark.parametrize("mixes", ["MIXES", "ALWAYS"])
def test_the_table_in_the_documentation_is_that_of_the_simulation(simulation: Any, mixes: str) -> None:
    documented = (ROOT / "docs" / "performance.md").read_text()
    assert simulation.table(getattr(simulation, mixes)) in documented


def test_the_table_of_many_waits_is_that_of_the_rule(simulation: Any) -> None:
    assert simulation.table_of_many() in (ROOT / "docs" / "scale.md").read_text()


def test_the_census_of_the_bench_answers_with_the_run_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A poll of which another run comes back is a failed poll, and costs more."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    bench_server = importlib.import_module("bench_server")
    head, _, body = bench_server.working(7).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert parse(get_sync_run(7), HTTPResponse(200, {}, body)).value["id"] == 7

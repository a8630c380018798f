# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the documentation says of polling intervals is what a simulation of them gives."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

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

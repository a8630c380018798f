# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The dashboard and the page on scale name metrics that the code sends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_census.api.sync_runs import Outcome
from airflow_provider_census.utils import stats

DOCS = Path(__file__).parents[1] / "docs"
DASHBOARD = json.loads((DOCS / "grafana" / "census.json").read_text())
METRIC = re.compile(r"airflow_(?:census|trigger)\w+")

OF_AIRFLOW = {"airflow_triggers_blocked_main_thread", "airflow_triggerer_capacity_left"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Whatever the code sends, by the names that Prometheus gets."""
    incr, timing = mock.Mock(), mock.Mock()
    monkeypatch.setattr(Stats, "incr", incr, raising=False)
    monkeypatch.setattr(Stats, "timing", timing, raising=False)
    stats.sync_run_started()
    for outcome in get_args(Outcome):
        stats.sync_run_finished(outcome, 0.0)
    names = {call.args[0] for call in (*incr.mock_calls, *timing.mock_calls)}
    return {f"airflow_{name.replace('.', '_')}" for name in names}


def test_the_dashboard_shows_all_that_is_sent_and_nothing_else(sent: set[str]) -> None:
    shown = {
        name
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        for name in METRIC.findall(target["expr"])
    }
    assert shown == sent | OF_AIRFLOW
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_page_names_what_is_sent(sent: set[str]) -> None:
    named = {name for name in METRIC.findall((DOCS / "scale.md").read_text()) if not name.endswith("_")}
    assert named <= sent | OF_AIRFLOW


def test_a_share_is_shown_of_runs_none_of_which_ended_in_some_way() -> None:
    """A metric that was never sent is no 0 in PromQL: what is computed with it is shown nowhere."""
    computed = [
        target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        if " / " in target["expr"]
    ]
    assert computed
    for expr in computed:
        assert expr.count("increase(") == expr.count(" or vector(0)") > 0

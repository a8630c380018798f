# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a finished run means."""

from __future__ import annotations

from typing import Any

import pytest
from flow_helpers import sync_run
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import sync_runs
from airflow_provider_census.api.sync_runs import Tolerance, judge
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
)

URL = "https://app.getcensus.com/syncs/52/history?sync_run_id=94"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ["id", "sync_id", "canceled", "current_step", "created_at", *sync_runs.COUNTS]
FIELDS += ["error_code", "error_message", "error_detail"]
RUNS = st.fixed_dictionaries(
    {"status": st.sampled_from([*sync_runs.ENDED, *sync_runs.RUNNING]) | JSON},
    optional=dict.fromkeys(FIELDS, JSON),
)
LIMITS = st.none() | st.integers(0, 10)
TOLERANCES = st.builds(Tolerance, st.sampled_from(["fail", "skip", "succeed"]), LIMITS, LIMITS)


@given(RUNS, TOLERANCES)
def test_whatever_census_sends_there_is_a_verdict(run: dict[str, Any], tolerance: Tolerance) -> None:
    verdict = judge(run, tolerance, URL)
    assert verdict.error is None or isinstance(verdict.error, CensusSyncRunError)
    assert verdict.error is None or verdict.error.sync_run is run
    assert verdict.error is None or not verdict.skip
    assert URL in verdict.message
    assert isinstance(sync_runs.progress(run), str)
    assert sync_runs.browser_url("https://app.getcensus.com", run).startswith(
        "https://app.getcensus.com/syncs/"
    )
    sync_runs.created_at(run)
    if run.get("canceled") is True:
        assert isinstance(verdict.error, CensusSyncRunCanceled)


COMPLETED = sync_run("completed", records_failed=3, records_invalid=2)


@pytest.mark.parametrize(
    ("run", "tolerance", "error", "skip", "warn"),
    [
        (sync_run("completed", records_failed=0, records_invalid=0), Tolerance(), None, False, False),
        (sync_run("completed", records_failed=None), Tolerance("fail", 0, 0), None, False, False),
        (COMPLETED, Tolerance(), None, False, True),
        (COMPLETED, Tolerance("fail", 3, 2), None, False, True),
        (COMPLETED, Tolerance("fail", 2, 2), CensusSyncRunRejectedRecords, False, False),
        (COMPLETED, Tolerance("fail", 3, 1), CensusSyncRunRejectedRecords, False, False),
        (COMPLETED, Tolerance("skip", 0, 0), CensusSyncRunRejectedRecords, False, False),
        (sync_run("failed"), Tolerance("succeed", 9, 9), CensusSyncRunFailed, False, False),
        (sync_run("skipped"), Tolerance("fail"), CensusSyncRunSkipped, False, False),
        (sync_run("skipped"), Tolerance("skip"), None, True, True),
        (sync_run("skipped"), Tolerance("succeed"), None, False, True),
        (sync_run("cancelled"), Tolerance("succeed"), CensusSyncRunCanceled, False, False),
        (sync_run("canceled"), Tolerance("succeed"), CensusSyncRunCanceled, False, False),
        (sync_run("working", canceled=True), Tolerance(), CensusSyncRunCanceled, False, False),
        (sync_run("completed", canceled=True), Tolerance(), CensusSyncRunCanceled, False, False),
        (sync_run("skipped", canceled=True), Tolerance("skip"), CensusSyncRunCanceled, False, False),
    ],
)
def test_what_a_finished_run_means(
    run: dict[str, Any], tolerance: Tolerance, error: type[Exception] | None, skip: bool, warn: bool
) -> None:
    verdict = judge(run, tolerance, URL)
    assert (verdict.skip, verdict.warn) == (skip, warn)
    assert type(verdict.error) is error if error else verdict.error is None


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (("E1", "It broke", "in the middle."), "E1: It broke: in the middle."),
        (("E1", "It broke in the middle", "in the middle"), "E1: It broke in the middle."),
        ((None, None, None), "Census gave no reason."),
        (("E1", None, None), "E1."),
        ((None, " It broke. ", None), "It broke."),
    ],
)
def test_the_cause_is_in_census_own_words(fields: tuple[str | None, ...], cause: str) -> None:
    names = ("error_code", "error_message", "error_detail")
    run = sync_run("failed", **dict(zip(names, fields, strict=True)))
    assert f" failed: {cause} Records: source_record_count unknown" in judge(run, Tolerance(), URL).message


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2021-10-22T20:20:47.153Z", 1634934047.154),
        ("2021-10-22T20:20:47Z", 1634934048.0),
        ("2021-10-22 20:20:47.5", 1634934047.6),
        ("2021-10-22", None),
        ("2021-13-22T20:20:47Z", None),
        ("", None),
        (None, None),
        (1634934047, None),
    ],
)
def test_when_a_run_was_created_at_the_latest(written: object, seconds: float | None) -> None:
    created = sync_runs.created_at({"created_at": written})
    assert created == (None if seconds is None else pytest.approx(seconds, abs=1e-6))

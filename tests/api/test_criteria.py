# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which ends of a run are a success, and what is said of the others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flow_helpers import sync_run
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import sync_runs, wording
from airflow_provider_census.api.criteria import CHECKS, SuccessCriteria, evaluate
from airflow_provider_census.exceptions import (
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
    CensusSyncRunTooFewRecords,
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
SHARES = st.none() | st.floats(0, 1)
CRITERIA = st.builds(
    SuccessCriteria, st.sampled_from(["fail", "skip", "succeed"]), LIMITS, LIMITS, SHARES, LIMITS
)


@given(RUNS, CRITERIA)
def test_whatever_census_sends_is_evaluated(run: dict[str, Any], criteria: SuccessCriteria) -> None:
    evaluation = evaluate(run, criteria, URL)
    assert evaluation.error is None or isinstance(evaluation.error, CensusSyncRunError)
    assert evaluation.error is None or evaluation.error.sync_run is run
    assert evaluation.error is None or not evaluation.skip
    assert evaluation.error is None or str(evaluation.error).endswith(URL)
    assert isinstance(wording.progress(run, 2e9), str)
    assert sync_runs.browser_url("https://app.getcensus.com", run).startswith(
        "https://app.getcensus.com/syncs"
    )
    sync_runs.time_range(run, "created_at")
    if run.get("canceled") is True:
        assert isinstance(evaluation.error, CensusSyncRunCanceled)


COMPLETED = sync_run("completed", records_failed=3, records_invalid=2)
AT_LEAST_1 = ("fail", None, None, None, 1)
P29 = ("fail", None, None, 0.29)


def of_processed(number: Any) -> dict[str, Any]:
    return {**COMPLETED, "records_processed": number}


@pytest.mark.parametrize(
    ("run", "criteria", "error", "skip", "warn"),
    [
        (sync_run("completed", records_failed=0, records_invalid=0), ("fail",), None, False, False),
        (sync_run("completed", records_failed=None), ("fail", 0, 0), None, False, False),
        (COMPLETED, ("fail",), None, False, True),
        (COMPLETED, ("fail", 3, 2), None, False, True),
        (COMPLETED, ("fail", 2, 2), CensusSyncRunRejectedRecords, False, False),
        (COMPLETED, ("fail", 3, 1), CensusSyncRunRejectedRecords, False, False),
        (COMPLETED, ("skip", 0, 0), CensusSyncRunRejectedRecords, False, False),
        (of_processed(100), ("fail", None, None, 0.05), None, False, True),
        (of_processed(99), ("fail", None, None, 0.05), CensusSyncRunRejectedRecords, False, False),
        (of_processed("100.0"), ("fail", None, None, 0.05), None, False, True),
        (of_processed(0), ("fail", None, None, 0.99), CensusSyncRunRejectedRecords, False, False),
        (of_processed(None), ("fail", None, None, 1), None, False, True),
        (sync_run("completed", records_failed=29, records_processed=100), P29, None, False, True),
        (sync_run("completed", records_processed=0), ("fail", None, None, 0), None, False, False),
        (sync_run("completed", records_processed=0), AT_LEAST_1, CensusSyncRunTooFewRecords, False, False),
        (sync_run("completed", records_processed=None), AT_LEAST_1, CensusSyncRunTooFewRecords, False, False),
        (sync_run("completed", records_processed=1), AT_LEAST_1, None, False, False),
        (sync_run("completed"), ("fail", None, None, None, 0), None, False, False),
        (of_processed(9), ("fail", 2, None, None, 10), CensusSyncRunRejectedRecords, False, False),
        (sync_run("skipped"), ("succeed", None, None, 0, 10), None, False, True),
        (sync_run("failed"), ("succeed", 9, 9), CensusSyncRunFailed, False, False),
        (sync_run("skipped"), ("fail",), CensusSyncRunSkipped, False, False),
        (sync_run("skipped"), ("skip",), None, True, True),
        (sync_run("skipped"), ("succeed",), None, False, True),
        (sync_run("cancelled"), ("succeed",), CensusSyncRunCanceled, False, False),
        (sync_run("canceled"), ("succeed",), CensusSyncRunCanceled, False, False),
        (sync_run("working", canceled=True), ("fail",), CensusSyncRunCanceled, False, False),
        (sync_run("completed", canceled=True), ("fail",), CensusSyncRunCanceled, False, False),
        (sync_run("skipped", canceled=True), ("skip",), CensusSyncRunCanceled, False, False),
    ],
)
def test_which_ends_are_a_success(
    run: dict[str, Any], criteria: Any, error: type[CensusSyncRunError] | None, skip: bool, warn: bool
) -> None:
    evaluation = evaluate(run, SuccessCriteria(*criteria), URL)
    assert (evaluation.skip, evaluation.warn) == (skip, warn)
    assert evaluation.message.endswith(" · sync 52, run 94")
    if error is None:
        assert evaluation.error is None
        return
    assert type(evaluation.error) is error
    assert evaluation.error.sync_run is run
    assert str(evaluation.error) == f"{evaluation.message} {URL}"


COUNTS = {
    "source_record_count": 100,
    "records_processed": 90,
    "records_updated": 80,
    "records_failed": 7,
    "records_invalid": 3,
}
SHOWN = "80 updated, 7 rejected, 3 invalid"
TIMES = {"created_at": "2026-01-31T04:00:00.000Z", "completed_at": "2026-01-31T04:01:30.000Z"}


@pytest.mark.parametrize(
    ("run", "limits", "message"),
    [
        (
            sync_run("completed", **COUNTS),
            (),
            f"10 records rejected or invalid. Completed: {SHOWN}",
        ),
        (
            sync_run("completed", **TIMES, records_updated=1000, records_failed=0, records_invalid=0),
            (),
            "Completed in 1 min 30 s: 1000 updated, 0 rejected, 0 invalid",
        ),
        (sync_run("failed", **COUNTS), (), f"Failed: Census gave no reason; {SHOWN}"),
        (sync_run("failed", **TIMES), (), "Failed after 1 min 30 s: Census gave no reason"),
        (sync_run("working", canceled=True, **COUNTS), (), f"Cancelled; {SHOWN}"),
        (
            sync_run("skipped", **COUNTS),
            (),
            "Skipped by Census, nothing was synced: an earlier run of the sync was still running",
        ),
        (
            sync_run("completed", **COUNTS),
            (6, None),
            f"Too many rejected records: records_failed is 7, allowed are 6; {SHOWN}",
        ),
        (
            sync_run("completed", **COUNTS),
            (0, 0),
            "Too many rejected records: "
            f"records_failed is 7, allowed are 0; records_invalid is 3, allowed are 0; {SHOWN}",
        ),
        (sync_run("completed", records_processed=None), (), "Completed"),
        (
            sync_run("completed", **COUNTS),
            (None, None, 0.05),
            f"Too many rejected records: 11.1 % (10 of 90), allowed are 5 %; {SHOWN}",
        ),
        (
            sync_run("completed", **COUNTS),
            (6, None, 0),
            "Too many rejected records: records_failed is 7, allowed are 6; 11.1 % (10 of 90), "
            f"allowed are 0 %; {SHOWN}",
        ),
        (
            sync_run("completed", **COUNTS),
            (None, None, None, 91),
            f"Too few records: records_processed is 90, expected are at least 91; {SHOWN}",
        ),
        (
            sync_run("completed", records_processed=None),
            (None, None, None, 1),
            "Too few records: records_processed is unknown, expected are at least 1",
        ),
    ],
)
@pytest.mark.parametrize(("name", "shown"), [("", "{}"), ("Users → braze", "Users → braze ({})")])
def test_what_is_said_of_an_end(
    run: dict[str, Any], limits: Any, message: str, name: str, shown: str
) -> None:
    said = evaluate(run, SuccessCriteria("fail", *limits), URL, name).message
    assert said == f"{message} · {shown.format('sync 52, run 94')}"


def test_a_skipped_run_names_what_blocked_it() -> None:
    blocking = "blocked by run 93, started 5 min ago by Schedule: 40 %"
    said = evaluate(sync_run("skipped"), SuccessCriteria(), URL, blocking=blocking).message
    assert said.startswith(f"Skipped by Census, nothing was synced: {blocking} · ")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (("E1", "It broke", "in the middle."), "E1: It broke: in the middle."),
        (("E1", "It broke in the middle", "in the middle"), "E1: It broke in the middle."),
        (("JSON_ARRAY_ERROR", "Not JSON: jim", "Row 7"), "JSON_ARRAY_ERROR: Not JSON: jim: Row 7."),
        ((None, None, None), "Census gave no reason."),
        (("E1", None, None), "E1."),
        ((None, " It broke. ", None), "It broke."),
    ],
)
def test_the_cause_is_in_census_own_words(cause: tuple[str | None, ...], words: str) -> None:
    names = ("error_code", "error_message", "error_detail")
    run = sync_run("failed", **dict(zip(names, cause, strict=True)))
    assert evaluate(run, SuccessCriteria(), URL).message == f"Failed: {words[:-1]} · sync 52, run 94"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("on_skipped_run", "ignore"),
        ("on_skipped_run", None),
        ("max_records_failed", -1),
        ("max_records_failed", True),
        ("max_records_invalid", "3"),
        ("max_records_invalid", 0.5),
        ("max_failed_share", 5),
        ("max_failed_share", -0.1),
        ("max_failed_share", True),
        ("max_failed_share", float("nan")),
        ("max_failed_share", "5 %"),
        ("min_records_processed", -1),
        ("min_records_processed", 0.5),
    ],
)
def test_criteria_that_mean_nothing_are_refused(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{argument} must be .*, not {re.escape(repr(value))}$"):
        CHECKS[argument](argument, value)

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each error says of a retry, wherever it is shown."""

from __future__ import annotations

import copy
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_census import exceptions
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConfigError,
    CensusConnectionError,
    CensusError,
    CensusLookupError,
    CensusNotFoundError,
    CensusRateLimitError,
    CensusSyncRunCanceled,
    CensusSyncRunError,
    CensusSyncRunFailed,
    CensusSyncRunRejectedRecords,
    CensusSyncRunSkipped,
    CensusTaskKilled,
    CensusTimeoutError,
)
from airflow_provider_census.sensors.base import FINAL

ERRORS_PAGE = Path(__file__).parent.parent.parent / "docs" / "errors.md"


def refused(status: int, kind: type[CensusApiError] = CensusApiError, **more: Any) -> CensusApiError:
    return kind("Refused.", status_code=status, message="no", method="GET", path="/syncs", **more)


RUN = {"id": 94, "sync_id": 52}
CASES: list[tuple[CensusError, str]] = [
    (CensusError("The triggerer sent nonsense."), "may help"),
    (CensusConfigError("The field is empty."), "cannot help"),
    (CensusConnectionError("Broken.", sent=True), "can help"),
    (CensusConnectionError("Refused.", sent=False), "can help"),
    (refused(500), "can help"),
    (refused(503), "can help"),
    (refused(408), "can help"),
    (refused(200, unusable=True), "can help"),
    (refused(200, unusable=True, well_formed=True), "can hardly help"),
    (refused(422), "cannot help"),
    (refused(302), "cannot help"),
    (refused(401, CensusAuthError), "cannot help"),
    (refused(404, CensusNotFoundError), "cannot help"),
    (refused(429, CensusRateLimitError, retry_after=7.0), "can help"),
    (CensusLookupError("No such label."), "cannot help"),
    (CensusTimeoutError("Not ended."), "can help"),
    (CensusSyncRunFailed("Failed.", RUN), "may help"),
    (CensusSyncRunCanceled("Cancelled.", RUN), "may help"),
    (CensusSyncRunSkipped("Skipped.", RUN), "can help"),
    (CensusSyncRunRejectedRecords("Rejected.", RUN), "seldom helps"),
    *((kind("Ended badly.", RUN), "cannot help") for kind in FINAL.values()),
]


@pytest.mark.parametrize(("error", "retry"), CASES, ids=lambda value: getattr(value, "args", [value])[0])
def test_it_says_in_one_line_whether_a_retry_helps(error: CensusError, retry: str) -> None:
    [note] = error.__notes__
    assert note.startswith(f"A retry {retry}")
    assert "\n" not in note
    assert note not in str(error)


@pytest.mark.parametrize(("error", "_retry"), CASES, ids=lambda value: getattr(value, "args", [value])[0])
def test_the_note_goes_where_the_error_goes(error: CensusError, _retry: str) -> None:
    for each in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(each) is type(error)
        assert (str(each), vars(each)) == (str(error), vars(error))
        assert each.__notes__ == error.__notes__


def test_every_error_has_its_case() -> None:
    kinds = {kind for kind in vars(exceptions).values() if isinstance(kind, type)}
    ours = {kind for kind in kinds if issubclass(kind, CensusError)} - {CensusSyncRunError}
    assert {type(error) for error, _ in CASES} == ours | set(FINAL.values())


def test_a_kill_is_no_error_of_census() -> None:
    assert not issubclass(CensusTaskKilled, CensusError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a traceback shows notes from Python 3.11 on")
def test_a_traceback_shows_it() -> None:
    error = CensusSyncRunFailed("Sync run 94 failed.", RUN)
    assert "".join(traceback.format_exception(error)).splitlines()[-2:] == [
        "airflow_provider_census.exceptions.CensusSyncRunFailed: Sync run 94 failed.",
        *error.__notes__,
    ]


def test_the_page_on_errors_has_them_all() -> None:
    page = ERRORS_PAGE.read_text()
    kinds = {type(error).__name__ for error, _ in CASES if type(error) not in FINAL.values()}
    assert [name for name in sorted(kinds) if f"`{name}`" not in page] == []

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each error says of a retry, wherever it is shown."""

from __future__ import annotations

import copy
import inspect
import pickle
import pkgutil
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import airflow_provider_census as package
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
    CensusSyncRunTooFewRecords,
    CensusTaskKilled,
    CensusTimeoutError,
)
from airflow_provider_census.sensors.base import FINAL

if TYPE_CHECKING:
    from collections.abc import Callable

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
    (CensusSyncRunTooFewRecords("Too few.", RUN), "may help: it starts another run"),
    *((kind("Ended badly.", RUN), "cannot help") for kind in FINAL.values()),
]


@pytest.mark.parametrize(("error", "retry"), CASES, ids=lambda value: getattr(value, "args", [value])[0])
def test_it_says_in_one_line_whether_a_retry_helps(error: CensusError, retry: str) -> None:
    [note] = error.__notes__
    assert note.startswith(f"A retry {retry}")
    assert "\n" not in note
    assert note not in str(error)


def every_exception() -> list[type[BaseException]]:
    """What the package defines, wherever that is."""
    names = [each.name for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    modules = [import_module(name) for name in names if not name.endswith("__main__")]
    found = {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, BaseException) and each.__module__ in names
    }
    return sorted(found, key=lambda each: f"{each.__module__}.{each.__qualname__}")


FIELDS: dict[str, Any] = {
    "text": "The sentence.",
    "message": "Census' words.",
    "status_code": 418,
    "method": "GET",
    "path": "/syncs",
    "retry_after": 7.5,
    "unusable": True,
    "well_formed": True,
    "sent": True,
    "sync_run": RUN,
}


def made(kind: type[BaseException]) -> BaseException:
    """One with a value for everything that its constructor takes, a note, and what a caller may add."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    positional = [
        FIELDS[each.name]
        for each in parameters
        if each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"
    ]
    named = {each.name: FIELDS[each.name] for each in parameters if each.kind is each.KEYWORD_ONLY}
    error = kind(*(positional or ["The sentence."]), **named)
    notes = getattr(error, "__notes__", [])
    vars(error).update(__notes__=[*notes, "Seen in the night."], task="load_users")  # 3.10 has no add_note
    return error


def raised(kind: type[BaseException]) -> None:
    """Raise one, in another process."""
    raise made(kind)


def in_a_pool(error: BaseException) -> BaseException:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        found = pool.submit(raised, type(error)).exception()
    assert found is not None
    return found


WAYS: dict[str, Callable[[BaseException], BaseException]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "oldest pickle": lambda error: pickle.loads(pickle.dumps(error, 2)),
    "newest pickle": lambda error: pickle.loads(pickle.dumps(error, pickle.HIGHEST_PROTOCOL)),
    "twice": lambda error: pickle.loads(pickle.dumps(copy.deepcopy(error))),
    "process pool": in_a_pool,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", every_exception(), ids=lambda kind: kind.__name__)
def test_an_error_travels_with_its_fields_and_notes(kind: type[BaseException], way: str) -> None:
    error = made(kind)
    found = WAYS[way](error)
    assert type(found) is kind
    assert (str(found), found.args) == (str(error), error.args)
    assert vars(found) == vars(error)
    assert vars(found)["__notes__"][-1] == "Seen in the night."


class OfAHouse(CensusSyncRunFailed):
    """As somebody may write who wants to know more of a failed run."""

    def __init__(self, sync_run: dict[str, Any], *, team: str) -> None:
        super().__init__(f"Ask {team}.", sync_run)
        self.team = team


@pytest.mark.parametrize("way", [way for way in WAYS if way != "process pool"])
def test_an_error_of_a_house_travels_too(way: str) -> None:
    found = WAYS[way](OfAHouse(RUN, team="growth"))
    assert isinstance(found, OfAHouse)
    assert (str(found), found.team, found.sync_run) == ("Ask growth.", "growth", RUN)
    assert found.__notes__ == ["A retry may help: it starts another run of the sync."]


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

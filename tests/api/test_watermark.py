# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which runs of a sync are news, and what is read to find them, without a socket."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow_provider_census.api.flows import Answer
from airflow_provider_census.api.news import Mark
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import news
from airflow_provider_census.api.request import Request
from airflow_provider_census.exceptions import CensusApiError, CensusNotFoundError

HOST = "https://app.getcensus.com"
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()
BEFORE, AFTER = "2026-03-01T11:59:59.999Z", "2026-03-01T12:00:00.000Z"

Run = dict[str, Any]


def run(run_id: int, status: str = "completed", **fields: Any) -> Run:
    return {"id": run_id, "sync_id": 52, "status": status, "canceled": False, **fields}


def by_id(*runs: Run) -> dict[int, Run]:
    return {each["id"]: each for each in runs}


def ids(runs: list[Run]) -> list[int]:
    return [each["id"] for each in runs]


def completed(each: Run) -> bool:
    return bool(each["status"] == "completed")


def everything(_: Run) -> bool:
    return True


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (run(1, completed_at=BEFORE), False),
        (run(1, completed_at=AFTER), True),
        (run(1, completed_at=AFTER, created_at=BEFORE), True),
        (run(1, "failed", completed_at=None, updated_at=BEFORE), False),
        (run(1, "failed", completed_at=None, updated_at=AFTER), True),
        (run(1, completed_at="2026-03-01T12:00:00Z"), True),
        (run(1, completed_at="2026-03-01T13:00:00+01:00"), True),
        (run(1), False),
        (run(1, completed_at="yesterday"), False),
        (run(1, "working", created_at=AFTER), False),
        (run(1, "of the future", created_at=AFTER), False),
    ],
    ids=str,
)
def test_at_first_only_what_ended_since_is_news(seen: Run, told: bool) -> None:
    found, _ = Mark(START).news(by_id(seen), everything)
    assert bool(found) is told


@pytest.mark.parametrize(
    ("mark", "runs", "told", "after"),
    [
        (Mark(START, 10), [run(9), run(10)], [], Mark(START, 10)),
        (Mark(START, 10), [run(12), run(11), run(10)], [11, 12], Mark(START, 12)),
        (Mark(START, 10), [run(11, "working")], [], Mark(START, 11, frozenset({11}))),
        (Mark(START, 10), [], [], Mark(START, 10)),
        (Mark(START), [], [], Mark(START)),
        (Mark(START, 12, frozenset({10})), [run(12), run(11), run(10)], [10], Mark(START, 12)),
        (
            Mark(START, 12, frozenset({10})),
            [run(13), run(10, "working")],
            [13],
            Mark(START, 13, frozenset({10})),
        ),
        (Mark(START, 12, frozenset({10})), [run(12)], [], Mark(START, 12)),
        (Mark(START, 12), [run(9)], [], Mark(START, 12)),
        (Mark(START, 10), [run(11, completed_at=BEFORE)], [11], Mark(START, 11)),
        (Mark(START, 10), [run(12), run(11, "failed")], [12], Mark(START, 12)),
    ],
    ids=str,
)
def test_each_run_is_told_once_it_has_ended(
    mark: Mark, runs: list[Run], told: list[int], after: Mark
) -> None:
    found, seen = mark.news(by_id(*runs), completed)
    assert ids(found) == told
    assert seen.open >= set(told), "until they are told"
    assert seen.told(found) == after
    again, unchanged = seen.told(found).news(by_id(*runs), completed)
    assert (again, unchanged) == ([], after)


def test_what_is_not_told_yet_is_news_again() -> None:
    runs = by_id(run(13), run(12), run(11))
    found, seen = Mark(START, 10).news(runs, everything)
    assert ids(seen.told(found[:-1]).news(runs, everything)[0]) == [13]
    assert ids(seen.news(runs, everything)[0]) == [11, 12, 13]


@given(st.data())
def test_whatever_the_order_of_ends_each_run_is_told_exactly_once(data: st.DataObject) -> None:
    """Runs start in order, end in any, and looks and restarts come in between at will."""
    mark, told = Mark(START), []
    runs: dict[int, Run] = {}
    mark = mark.news(runs, everything)[1]
    for _ in range(data.draw(st.integers(0, 30))):
        going = [run_id for run_id, each in runs.items() if each["status"] == "working"]
        match data.draw(st.sampled_from(["start", "end", "look"])):
            case "start":
                runs[len(runs) + 1] = run(len(runs) + 1, "working", created_at=AFTER)
            case "end" if going:
                runs[data.draw(st.sampled_from(going))] |= {"status": "completed", "completed_at": AFTER}
            case "look":
                found, seen = mark.news(runs, everything)
                some = found[: data.draw(st.integers(0, len(found)))]
                told += ids(some)
                mark = Mark.read(json.loads(json.dumps(seen.told(some).written()))) or Mark(0)
    found, _ = mark.news(runs, everything)
    told += ids(found)
    assert sorted(told) == [run_id for run_id, each in runs.items() if each["status"] == "completed"]


@pytest.mark.parametrize("mark", [Mark(START), Mark(START, 12), Mark(START, 12, frozenset({10, 3}))], ids=str)
def test_a_mark_is_read_back_from_json(mark: Mark) -> None:
    assert Mark.read(json.loads(json.dumps(mark.written()))) == mark


@pytest.mark.parametrize(
    "stored",
    [None, "12", 12, [], {}, {"since": START}, {"since": None, "newest": 1, "open": []}]
    + [{"since": START, "newest": newest, "open": []} for newest in ("12", 1.5)]
    + [{"since": START, "newest": 1, "open": still_open} for still_open in (None, ["1"], 1)],
    ids=str,
)
def test_what_is_no_mark_is_none(stored: Any) -> None:
    assert Mark.read(stored) is None


class Census:
    """Answers the requests of a flow from runs that are listed newest first."""

    def __init__(self, *runs: Run, order: int = -1) -> None:
        self.runs = by_id(*runs)
        self.order = order
        self.pages: list[int] = []
        self.single: list[int] = []

    def answer(self, request: Request[Any]) -> Any:
        if not request.path.endswith("/sync_runs"):
            run_id = int(request.path.rpartition("/")[2])
            self.single.append(run_id)
            if run_id in self.runs:
                return self.runs[run_id]
            raise CensusNotFoundError("no", status_code=404, message="no", method="GET", path=request.path)
        number, size = int(request.params.get("page", 1)), int(request.params["per_page"])
        self.pages.append(number)
        listed = [self.runs[run_id] for run_id in sorted(self.runs)[:: self.order]]
        following = number + 1 if number * size < len(listed) else None
        return request.answer(
            {
                "status": "success",
                "data": listed[(number - 1) * size : number * size],
                "pagination": {"page": number, "next_page": following},
            }
        )

    def look(self, *marks: Mark, known: dict[int, Run] | None = None) -> dict[int, Run]:
        flow = news.look(52, marks, HOST, known or {})
        step: Any = next(flow)
        try:
            while True:
                try:
                    step = flow.send(Answer(self.answer(step), None))
                except CensusApiError as error:
                    step = flow.throw(error)
        except StopIteration as stop:
            return dict(stop.value)


MANY = [run(run_id, completed_at=AFTER) for run_id in range(1, 251)]


@pytest.mark.parametrize(
    ("marks", "pages"),
    [
        ([], [1]),
        ([Mark(START, 250)], [1]),
        ([Mark(START, 200)], [1]),
        ([Mark(START, 150)], [1, 2]),
        ([Mark(START, 49)], [1, 2, 3]),
        ([Mark(START, 250), Mark(START, 140)], [1, 2]),
        ([Mark(START)], [1, 2, 3]),
        ([Mark(START + 1)], [1]),
    ],
    ids=str,
)
def test_it_reads_as_far_back_as_anybody_needs(marks: list[Mark], pages: list[int]) -> None:
    census = Census(*MANY)
    seen = census.look(*marks)
    assert census.pages == pages
    for mark in marks:
        if mark.newest is not None:
            assert ids(mark.news(seen, everything)[0]) == list(range(mark.newest + 1, 251))


def test_a_census_that_does_not_heed_the_order_is_read_to_the_end() -> None:
    census = Census(*MANY, order=1)
    found, _ = Mark(START, 240).news(census.look(Mark(START, 240)), everything)
    assert ids(found) == list(range(241, 251))


def test_an_open_run_that_the_list_does_not_reach_is_read_by_itself() -> None:
    census = Census(*MANY[1:])
    mark = Mark(START, 250, frozenset({1, 2, 3, 240}))
    known = by_id(run(2, note="known"), run(3, "working"))
    seen = census.look(mark, known=known)
    assert census.pages == [1]
    assert census.single == [1, 3], "2 has ended and is known, 240 is in the list"
    assert ids(mark.news(seen, everything)[0]) == [2, 3, 240]
    assert mark.news(seen, everything)[1].open == {2, 3, 240}, "1 does not exist any more"


def test_only_the_first_request_is_left_to_the_next_look() -> None:
    flow = news.look(52, [Mark(START, 1)], HOST, {})
    first = next(flow)
    assert isinstance(first, Request)
    assert first.once
    second = flow.send(Answer(Census(*MANY).answer(first), None))
    assert isinstance(second, Request)
    assert not second.once


def test_what_is_no_run_is_passed_over() -> None:
    flow = news.look(52, [Mark(START, 4)], HOST, {})
    body = {"data": [None, 7, {}, {"id": "6"}, run(5), run(4)], "pagination": {"page": 1, "next_page": None}}
    with pytest.raises(StopIteration) as stop:
        flow.send(Answer(next(flow).answer(body), None))  # type: ignore[union-attr]
    assert list(stop.value.value) == [5, 4]

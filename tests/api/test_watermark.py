# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which runs of a sync are new, and what is read to find them, without a socket."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from flow_helpers import FlowRunner, api_error, in_order
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import watermark as watermarks
from airflow_provider_census.api.responses import Page
from airflow_provider_census.api.watermark import Watermark, read_runs

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request

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


def every_run(_: Run) -> bool:
    return True


@pytest.mark.parametrize(
    ("ended", "is_new"),
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
def test_at_first_only_what_ended_since_is_new(ended: Run, is_new: bool) -> None:
    new, _ = Watermark(START).new_runs(by_id(ended), every_run)
    assert bool(new) is is_new


@pytest.mark.parametrize(
    ("watermark", "runs", "new_ids", "after"),
    [
        (Watermark(START, 10), [run(9), run(10)], [], Watermark(START, 10)),
        (Watermark(START, 10), [run(12), run(11), run(10)], [11, 12], Watermark(START, 12)),
        (Watermark(START, 10), [run(11, "working")], [], Watermark(START, 11, frozenset({11}))),
        (Watermark(START, 10), [], [], Watermark(START, 10)),
        (Watermark(START), [], [], Watermark(START)),
        (Watermark(START, 12, frozenset({10})), [run(12), run(11), run(10)], [10], Watermark(START, 12)),
        (
            Watermark(START, 12, frozenset({10})),
            [run(13), run(10, "working")],
            [13],
            Watermark(START, 13, frozenset({10})),
        ),
        (Watermark(START, 12, frozenset({10})), [run(12)], [], Watermark(START, 12)),
        (Watermark(START, 12), [run(9)], [], Watermark(START, 12)),
        (Watermark(START, 10), [run(11, completed_at=BEFORE)], [11], Watermark(START, 11)),
        (Watermark(START, 10), [run(12), run(11, "failed")], [12], Watermark(START, 12)),
    ],
    ids=str,
)
def test_each_run_is_reported_once_it_has_ended(
    watermark: Watermark, runs: list[Run], new_ids: list[int], after: Watermark
) -> None:
    new, read = watermark.new_runs(by_id(*runs), completed)
    assert ids(new) == new_ids
    assert read.open >= set(new_ids), "until they are reported"
    assert read.reported(new) == after
    assert after.new_runs(by_id(*runs), completed) == ([], after)


def test_of_a_flood_of_running_runs_the_newest_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermarks, "MAX_RUNNING", 3)
    mark = Watermark(START, 10)
    for first in (11, 21):
        runs = by_id(*(run(first + each, "working", created_at=AFTER) for each in range(9)))
        _, mark = mark.new_runs(runs, every_run)
    assert mark.open == {27, 28, 29}


def test_what_is_not_reported_yet_is_new_again() -> None:
    runs = by_id(run(13), run(12), run(11))
    new, read = Watermark(START, 10).new_runs(runs, every_run)
    assert ids(read.reported(new[:-1]).new_runs(runs, every_run)[0]) == [13]
    assert ids(read.new_runs(runs, every_run)[0]) == [11, 12, 13]


@given(st.data())
def test_whatever_the_order_of_ends_each_run_is_reported_exactly_once(data: st.DataObject) -> None:
    """Runs start in order, end in any, and polls and restarts come in between at will."""
    reported: list[int] = []
    runs: dict[int, Run] = {}
    watermark = Watermark(START).new_runs(runs, every_run)[1]
    for _ in range(data.draw(st.integers(0, 30))):
        active = [run_id for run_id, each in runs.items() if each["status"] == "working"]
        match data.draw(st.sampled_from(["start", "end", "poll"])):
            case "start":
                runs[len(runs) + 1] = run(len(runs) + 1, "working", created_at=AFTER)
            case "end" if active:
                runs[data.draw(st.sampled_from(active))] |= {"status": "completed", "completed_at": AFTER}
            case "poll":
                new, read = watermark.new_runs(runs, every_run)
                some = new[: data.draw(st.integers(0, len(new)))]
                reported += ids(some)
                stored = json.dumps(read.reported(some).as_dict())
                watermark = Watermark.parse(json.loads(stored)) or Watermark(0)
    reported += ids(watermark.new_runs(runs, every_run)[0])
    assert sorted(reported) == [run_id for run_id, each in runs.items() if each["status"] == "completed"]


@pytest.mark.parametrize(
    "watermark",
    [Watermark(START), Watermark(START, 12), Watermark(START, 12, frozenset({10, 3}))],
    ids=str,
)
def test_a_watermark_is_parsed_from_json(watermark: Watermark) -> None:
    assert Watermark.parse(json.loads(json.dumps(watermark.as_dict()))) == watermark


@pytest.mark.parametrize(
    "stored",
    [None, "12", 12, [], {}, {"since": START}, {"since": None, "newest": 1, "open": []}]
    + [{"since": START, "newest": newest, "open": []} for newest in ("12", 1.5)]
    + [{"since": START, "newest": 1, "open": still_open} for still_open in (None, ["1"], 1)],
    ids=str,
)
def test_what_is_no_watermark_is_none(stored: Any) -> None:
    assert Watermark.parse(stored) is None


class Census:
    """Responds to the requests of a flow with runs that are listed newest first."""

    def __init__(self, *runs: Run, order: int = -1) -> None:
        self.runs = by_id(*runs)
        self.order = order
        self.pages: list[int] = []
        self.single: list[int] = []

    def respond(self, request: Request[Any]) -> Any:
        if not request.path.endswith("/sync_runs"):
            assert request.retry
            run_id = int(request.path.rpartition("/")[2])
            self.single.append(run_id)
            return self.runs.get(run_id) or api_error(404)
        number, size = int(request.params.get("page", 1)), int(request.params["per_page"])
        assert request.retry == bool(self.pages), "only the first request is left to the next poll"
        self.pages.append(number)
        listed = [self.runs[run_id] for run_id in sorted(self.runs)[:: self.order]]
        following = number + 1 if number * size < len(listed) else None
        return Page(listed[(number - 1) * size : number * size], number, following, numbered=True)

    def read(self, watermark: Watermark) -> dict[int, Run]:
        return dict(FlowRunner().run(read_runs(52, watermark, HOST), self.respond))


MANY = [run(run_id, completed_at=AFTER) for run_id in range(1, 251)]


@pytest.mark.parametrize(
    ("watermark", "pages"),
    [
        (Watermark(START, 250), [1]),
        (Watermark(START, 200), [1]),
        (Watermark(START, 151), [1]),
        (Watermark(START, 150), [1, 2]),
        (Watermark(START, 49), [1, 2, 3]),
        (Watermark(START), [1, 2, 3]),
        (Watermark(START + 1), [1]),
    ],
    ids=str,
)
def test_it_reads_as_far_back_as_a_run_can_be_new(watermark: Watermark, pages: list[int]) -> None:
    census = Census(*MANY)
    runs = census.read(watermark)
    assert census.pages == pages
    if watermark.newest is not None:
        assert ids(watermark.new_runs(runs, every_run)[0]) == list(range(watermark.newest + 1, 251))


def test_a_census_that_does_not_heed_the_order_is_read_to_the_end() -> None:
    census = Census(*MANY, order=1)
    watermark = Watermark(START, 240)
    assert ids(watermark.new_runs(census.read(watermark), every_run)[0]) == list(range(241, 251))
    assert census.pages == [1, 2, 3]


def test_an_open_run_that_the_list_does_not_reach_is_read_by_itself() -> None:
    census = Census(*MANY[1:])
    watermark = Watermark(START, 250, frozenset({1, 2, 3, 240}))
    runs = census.read(watermark)
    assert census.pages == [1]
    assert census.single == [1, 2, 3], "240 is in the list"
    new, read = watermark.new_runs(runs, every_run)
    assert ids(new) == [2, 3, 240]
    assert read.open == {2, 3, 240}, "1 does not exist any more"


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "once"])
def test_one_id_that_is_too_high_hides_no_run(stays: bool) -> None:
    def at(second: int, run_id: int, **fields: Any) -> Run:
        return run(run_id, created_at=f"2026-03-01T12:00:{second:02d}Z", completed_at=AFTER, **fields)

    odd = at(30, 2**62)
    lists = [
        [at(20, 12), at(10, 11)],
        [odd, at(20, 12), at(10, 11)],
        [at(40, 13, status="working"), *[odd] * stays, at(20, 12), at(10, 11)],
        [at(50, 14), at(40, 13), *[odd] * stays, at(20, 12), at(10, 11)],
        [at(50, 14), at(40, 13), *[odd] * stays, at(20, 12), at(10, 11)],
    ]
    watermark = Watermark(START, 10)
    reported = []
    for items in lists:
        runs = FlowRunner().run(
            read_runs(52, watermark, HOST), in_order([Page(items, numbered=True), *map(run, [2**62] * 2)])
        )
        new, watermark = watermark.new_runs(runs, every_run)
        watermark = Watermark.parse(json.loads(json.dumps(watermark.reported(new).as_dict()))) or watermark
        reported.append(ids(new))
    assert reported == [[11, 12], [2**62], [], [13, 14], []]


def test_a_watermark_of_a_release_that_knew_no_times_counts() -> None:
    stored = {"since": START, "newest": 10, "open": [9]}
    assert Watermark.parse(stored) == Watermark(START, 10, frozenset({9}))


def test_what_is_no_run_is_passed_over() -> None:
    items = [None, 7, {}, {"id": True}, {"id": -6}, run(5), run(4)]
    runs = FlowRunner().run(read_runs(52, Watermark(START, 4), HOST), in_order([Page(items)]))
    assert list(runs) == [5, 4]


def test_a_run_that_does_not_name_its_sync_is_one_of_it() -> None:
    page = Page([{"id": 5, "status": "completed"}, run(4, sync_id=7)])
    runs = FlowRunner().run(read_runs(52, Watermark(START, 4), HOST), in_order([page]))
    assert [each["sync_id"] for each in runs.values()] == [52, 7]

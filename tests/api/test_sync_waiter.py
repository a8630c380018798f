# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Looking for a run of a sync, and for a moment at which none goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from playing import Clock, Log, Play, lost, one_by_one, refusal, sync_run

from airflow_provider_census.api import flows
from airflow_provider_census.api.polling import Polling
from airflow_provider_census.api.responses import Page
from airflow_provider_census.exceptions import CensusAuthError, CensusNotFoundError, CensusTimeoutError

SINCE = 1_700_000_000.0


def run_at(seconds: float, number: int, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A run created so many seconds after the moment that is asked for."""
    moment = datetime.fromtimestamp(SINCE + seconds, timezone.utc)
    created = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**sync_run(status, id=number, created_at=created), **fields}


def paged(runs: list[Any], size: int, asked: list[int]) -> Callable[[Any], Any]:
    """A Census that gives its runs so many at a time."""

    def answer(request: Any) -> Any:
        number = request.params.get("page", 1)
        asked.append(number)
        assert (request.params["order"], request.once, request.path) == ("desc", True, "/syncs/52/sync_runs")
        items = runs[(number - 1) * size : number * size]
        following = number + 1 if number * size < len(runs) else None
        return Page(items, number, next_page=following, numbered=True)

    return answer


def watch(log: Log, clock: Clock, *, endure: bool = False) -> flows.SyncWatch:
    return flows.SyncWatch(52, SINCE, lambda: "https://census", log, clock, endure=endure)


OLD = [run_at(-number, 50 - number) for number in range(1, 20)]
CASES: dict[str, tuple[list[Any], int | None, bool, list[int]]] = {
    # runs as Census gives them, four on a page; the one that is seen; whether it has ended; pages read
    "no run at all": ([], None, False, [1]),
    "only older runs": (OLD, None, False, [1]),
    "the newest that has ended": ([run_at(3, 93), run_at(2, 92), *OLD], 93, True, [1]),
    "a failed one as well": ([run_at(3, 93, "failed"), run_at(2, 92), *OLD], 93, True, [1]),
    "a cancelled one as well": ([run_at(3, 93, "working", canceled=True), *OLD], 93, True, [1]),
    "a completed one after a failed one": ([run_at(3, 93), run_at(2, 92, "failed")], 93, True, [1]),
    "not one that goes on, if an older one has ended": (
        [run_at(3, 93, "working"), run_at(2, 92), *OLD],
        92,
        True,
        [1],
    ),
    "the newest that goes on, if none has ended": (
        [run_at(3, 93, "queued"), run_at(2, 92, "working"), *OLD],
        93,
        False,
        [1],
    ),
    "a status of the future goes on": ([run_at(3, 93, "paused"), *OLD], 93, False, [1]),
    "not one that was skipped": ([run_at(3, 93, "skipped"), run_at(2, 92), *OLD], 92, True, [1]),
    "none, if all were skipped": ([run_at(3, 93, "skipped"), *OLD], None, False, [1]),
    "not one from that very moment": ([run_at(0, 93), *OLD], None, False, [1]),
    "one from the millisecond after it": ([run_at(0.001, 93), *OLD], 93, True, [1]),
    "one on a later page": (
        [*(run_at(9 - number, 93 - number, "skipped") for number in range(5)), run_at(2, 77), *OLD],
        77,
        True,
        [1, 2],
    ),
    "no page after the moment": (
        [*(run_at(9 - number, 93 - number, "skipped") for number in range(5)), *OLD],
        None,
        False,
        [1, 2],
    ),
    "oldest first, the newest is on the last page": (
        [*reversed(OLD), run_at(2, 92, "failed"), run_at(3, 93)],
        93,
        True,
        [1, 2, 3, 4, 5, 6],
    ),
    "in no order on one page": ([run_at(2, 92, "failed"), run_at(3, 93), OLD[0]], 93, True, [1]),
    "of the same moment, the one that was created later": ([run_at(3, 92), run_at(3, 93)], 93, True, [1]),
    "nothing without a time": ([run_at(3, 93, created_at=None), run_at(2, 92), *OLD], 92, True, [1]),
    "nothing that is no run": (["", None, 5, run_at(2, 92)], 92, True, [1]),
}


@pytest.mark.parametrize(("runs", "seen", "ended", "pages"), CASES.values(), ids=CASES)
def test_which_run_is_seen(runs: list[Any], seen: int | None, ended: bool, pages: list[int]) -> None:
    clock, asked = Clock(), list[int]()
    lookout = watch(Log(clock), clock)
    found = Play(clock).run(flows.look(lookout, alone=True), paged(runs, 4, asked))
    assert (found or {}).get("id") == (seen if ended else None)
    assert (lookout.run or {}).get("id") == seen
    assert lookout.sync_run_id == (seen if ended else None)
    assert asked == pages


class Wait:
    """A wait of some seconds that looks every second."""

    def __init__(self, lookout: Callable[[Log, Clock], flows.RunLookout[Any]], lasting: float = 100) -> None:
        self.clock = Clock()
        self.log = Log(self.clock)
        self.play = Play(self.clock)
        self.lookout = lookout(self.log, self.clock)
        self.flow = flows.wait(
            self.lookout,
            Polling(1.0),
            started=self.clock(),
            deadline=self.clock() + lasting,
            now=self.clock,
            rng=random.Random(),
        )

    def sees(self, *answers: Any) -> Any:
        return self.play.run(self.flow, one_by_one(answers))


def test_it_waits_until_there_is_a_run_that_has_ended_and_tells_the_way_there() -> None:
    wait = Wait(watch)
    end = run_at(3, 93)
    none, working = Page(OLD), Page([run_at(3, 93, "working"), *OLD])
    assert wait.sees(none, none, lost(sent=True), refusal(503), working, working, Page([end])) == end
    said = [line for _, line in wait.log.lines]
    assert said[0] == "A run of sync 52 created after 2023-11-14 22:13:20+00:00 is not there yet."
    assert said[1].startswith("Cannot see a run of sync 52 created after 2023-11-14 22:13:20+00:00 for 0 s")
    assert said[2].startswith("Census answers again")
    assert said[3:] == ["Sync run 93 of sync 52: working", "Sync run 93 of sync 52: completed"]


@pytest.mark.parametrize("lookout", [watch, lambda log, clock: flows.IdleWatch(52, log, clock)])
@pytest.mark.parametrize(
    ("answers", "error"),
    [([refusal(404)], CensusNotFoundError), ([refusal(401), refusal(403), refusal(401)], CensusAuthError)],
    ids=["no such sync", "the token is rejected"],
)
def test_what_ends_every_wait_ends_this_one(lookout: Any, answers: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Wait(lookout).sees(*answers)


def test_pages_that_lead_nowhere_are_looked_at_again() -> None:
    wait = Wait(watch)
    end = Page([run_at(3, 93)])
    assert wait.sees(Page([], number=7, next_page=8, numbered=True), end)["id"] == 93
    assert wait.log.said("do not lead to its end") == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([Page(OLD)], "there is none yet"),
        ([Page([run_at(3, 93, "working")])], "sync run 93 goes on"),
    ],
    ids=["none", "one that goes on"],
)
def test_when_its_time_is_over_it_knows_what_there_was(answers: list[Any], words: str) -> None:
    wait = Wait(watch, lasting=0)
    with pytest.raises(
        CensusTimeoutError, match=r"A run of sync 52 created after .* has not ended after 0 s"
    ):
        wait.sees(*answers)
    assert wait.lookout.fate == words


def test_idle_is_a_sync_of_which_no_run_goes_on() -> None:
    wait = Wait(lambda log, clock: flows.IdleWatch(52, log, clock))
    looks = [
        [run_at(3, 93, "working"), run_at(2, 92)],
        [run_at(3, 93, "working"), run_at(2, 92)],
        [run_at(4, 94, "queued"), run_at(3, 93)],
        [run_at(4, 94, "failed"), run_at(3, 93, "working", canceled=True), run_at(1, 91, "skipped")],
    ]
    before = wait.sees(lost(sent=False), *looks)
    assert (before.newest, before.active) == (94, None)
    assert len(wait.play.looked_at) == 5
    assert [line for _, line in wait.log.lines if line.startswith("Sync run")] == [
        "Sync run 93 of sync 52: working",
        "Sync run 94 of sync 52: queued",
    ]


@pytest.mark.parametrize(
    ("runs", "active"),
    [
        ([], None),
        ([run_at(1, 91), run_at(2, 92, "skipped"), run_at(3, 93, "failed")], None),
        ([run_at(1, 91, "working"), run_at(2, 92, "queued"), run_at(3, 93)], 92),
        ([run_at(1, 91, "working"), run_at(2, 92, "working", canceled=True)], 91),
        ([run_at(1, 91, "of the future")], 91),
        (["", None, {}], None),
    ],
    ids=str,
)
def test_a_survey_notes_the_newest_run_that_goes_on(runs: list[Any], active: int | None) -> None:
    before = Play(Clock()).run(flows.survey(52), one_by_one([runs]))
    assert (before.active or {}).get("id") == active


def until(seconds: float) -> str:
    return run_at(seconds, 0)["created_at"]


OURS = run_at(5, 95, "skipped", updated_at=until(6))


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ([], None),
        ([run_at(1, 91, updated_at=until(4))], None),
        ([run_at(1, 91, updated_at=until(5.5))], 91),
        ([run_at(1, 91, "failed", updated_at=until(5.5)), run_at(7, 97, "working")], 97),
        ([run_at(1, 91, "working"), run_at(4, 94, updated_at=until(6))], 91),
        ([run_at(1, 91, "working", canceled=True)], 91),
        ([run_at(1, 91, "cancelled", canceled=True, updated_at=until(4))], None),
        ([run_at(1, 91, "skipped", updated_at=until(6))], None),
        ([run_at(1, 91, updated_at=None), "", None], None),
    ],
    ids=str,
)
def test_for_which_run_another_was_skipped(others: list[Any], found: int | None) -> None:
    other = Play(Clock()).run(flows.displacing(52, OURS), one_by_one([[OURS, *others]]))
    assert (other or {}).get("id") == found

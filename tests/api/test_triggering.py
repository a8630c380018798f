# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Starting a sync exactly once, against a model of Census that loses requests and answers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from flow_helpers import Clock, Log, FlowRunner, connection_error, in_order, api_error, sync_run

from airflow_provider_census.api import flows
from airflow_provider_census.api.flows import Answer
from airflow_provider_census.exceptions import CensusApiError, CensusConnectionError, CensusError


@dataclass(frozen=True)
class Fault:
    """
    What happens to one request to start a sync.

    :ivar error: what comes back instead of an answer.
    :ivar executed: whether it started a run all the same.
    :ivar late: seconds until the run that it started appears in the list.
    :ivar hangs: seconds until the error comes.
    """

    error: CensusError
    executed: bool = False
    late: float = 0.0
    hangs: float = 0.0


SURELY_NOT_DONE = [
    connection_error(sent=False),
    api_error(429),
    api_error(429, retry_after=0.0),
    api_error(429, retry_after=30.0),
    api_error(503, retry_after=2.0),
]
PERHAPS_DONE = [
    connection_error(sent=True),
    *(api_error(status) for status in (408, 425, 500, 502, 503, 504, 524)),
    api_error(200, unusable=True),
]


@dataclass
class Run:
    """A run of the sync in the model."""

    id: int
    created: float
    status: str
    full_sync: bool
    ours: bool = False
    visible_from: float = 0.0


@dataclass
class Census:
    """
    A Census with one sync, whose clock is not ours.

    :ivar clock: our clock.
    :ivar skew: how far Census' clock is ahead of ours.
    :ivar lag: seconds that every request takes to arrive, and every answer to come back.
    :ivar faults: what happens to the requests to start the sync, in order; then they succeed.
    :ivar lists_fail: whether each of the first reads of the runs fails.
    :ivar our_status: what becomes of the runs that we start.
    """

    clock: Clock
    skew: float = 0.0
    lag: float = 0.1
    faults: list[Fault] = field(default_factory=list)
    lists_fail: list[bool] = field(default_factory=list)
    our_status: str = "working"
    runs: list[Run] = field(default_factory=list)

    @property
    def now(self) -> float:
        return self.clock() + self.skew

    def start(self, *, status: str, full_sync: bool, ours: bool = False, late: float = 0.0) -> Run:
        run = Run(500 + len(self.runs), self.now, status, full_sync, ours, self.now + late)
        self.runs.append(run)
        return run

    def answer(self, request: Any) -> Any:
        self.clock.time += self.lag
        try:
            return self.trigger(request) if request.method == "POST" else self.list(request)
        finally:
            self.clock.time += self.lag

    def trigger(self, request: Any) -> Any:
        assert request.once, "the transport must not repeat it"
        full_sync = request.json == {"force_full_sync": True}
        fault = self.faults.pop(0) if self.faults else None
        run = None
        if fault is None or fault.executed:
            late = 0.0 if fault is None else fault.late
            run = self.start(status=self.our_status, full_sync=full_sync, ours=True, late=late)
        if fault is None:
            assert run is not None
            return Answer(run.id, float(int(self.now)))
        self.clock.time += fault.hangs
        return fault.error

    def list(self, request: Any) -> Any:
        assert (request.params["order"], request.params["page"]) == ("desc", 1)
        if self.lists_fail and self.lists_fail.pop(0):
            return connection_error(sent=True)
        shown = [run for run in self.runs if run.visible_from <= self.now]
        newest = sorted(shown, key=lambda run: run.id, reverse=True)[: request.params["per_page"]]
        return Answer([as_census(run) for run in newest], float(int(self.now)))

    @property
    def ours(self) -> list[int]:
        return [run.id for run in self.runs if run.ours]


def as_census(run: Run) -> dict[str, Any]:
    moment = datetime.fromtimestamp(int(run.created * 1000) / 1000, timezone.utc)
    created_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": run.id,
        "sync_id": 52,
        "status": run.status,
        "full_sync": run.full_sync,
        "created_at": created_at,
    }


def trigger(
    census: Census, *, full_sync: bool, claimed: set[int], before: flows.Before | None, log: Log | None = None
) -> int:
    flow = flows.trigger_sync(
        52,
        force_full_sync=full_sync,
        attempts=20,
        claimed=claimed,
        log=log or Log(),
        now=census.clock,
        rng=random.Random(0),
        before=before,
    )
    found: int = FlowRunner(census.clock).run(flow, census.answer)
    return found


FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(SURELY_NOT_DONE), hangs=st.floats(0, 60)),
    st.builds(
        Fault,
        st.sampled_from(PERHAPS_DONE),
        executed=st.booleans(),
        late=st.floats(0, 12),
        hangs=st.floats(0, 60),
    ),
)
STATUSES = st.sampled_from(["queued", "working", "completed", "failed", "skipped"])
OTHERS_BEFORE = st.lists(st.tuples(st.floats(0, 30), STATUSES, st.booleans()), max_size=4)


@given(
    faults=st.lists(FAULTS, max_size=8),
    lists_fail=st.lists(st.booleans(), max_size=12),
    others=OTHERS_BEFORE,
    claimed_later=st.integers(0, 2),
    full_sync=st.booleans(),
    our_status=STATUSES,
    skew=st.floats(-7200, 7200),
    lag=st.floats(0, 2),
    start=st.floats(0, 1),
)
@example(
    # Another task's run in the same second, just before; ours is never started by the first request.
    faults=[Fault(connection_error(sent=True))],
    lists_fail=[],
    others=[(0.001, "working", False)],
    claimed_later=0,
    full_sync=False,
    our_status="working",
    skew=0.0,
    lag=0.0,
    start=0.9,
)
def test_exactly_one_run_is_started_and_its_id_returned(
    faults: list[Fault],
    lists_fail: list[bool],
    others: list[tuple[float, str, bool]],
    claimed_later: int,
    full_sync: bool,
    our_status: str,
    skew: float,
    lag: float,
    start: float,
) -> None:
    clock = Clock(1_700_000_000.0 + start)
    census = Census(clock, skew, lag, [], [], our_status)
    for earlier, status, full in sorted(others, reverse=True):
        census.start(status=status, full_sync=full).created -= earlier
    before = FlowRunner(clock).run(flows.survey(52), census.answer)
    claimed = {census.start(status="working", full_sync=full_sync).id for _ in range(claimed_later)}
    if full_sync:  # and somebody else starts one that is not full
        census.start(status="working", full_sync=False)
    census.faults, census.lists_fail = list(faults), list(lists_fail)
    found: int | str
    try:
        found = trigger(census, full_sync=full_sync, claimed=claimed, before=before)
    except CensusConnectionError as error:
        found = str(error)
    if isinstance(found, str):
        event("nobody knows")
        assert "Nobody knows whether a run of sync 52 was started" in found
        assert len(census.ours) <= 1
    else:
        event("started in spite of faults" if faults else "started at once")
        assert census.ours == [found]
        assert found in claimed


@given(fault=FAULTS, other=st.floats(4.0, 600.0), skew=st.floats(-7200, 7200), lag=st.floats(0, 1))
def test_without_a_survey_a_run_from_a_while_before_is_not_taken(
    fault: Fault, other: float, skew: float, lag: float
) -> None:
    census = Census(Clock(), skew, lag, [fault])
    census.start(status="working", full_sync=False).created -= other
    assert census.ours == []
    found = trigger(census, full_sync=False, claimed=set(), before=None)
    assert census.ours == [found]


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("error", [*SURELY_NOT_DONE, *PERHAPS_DONE], ids=repr)
def test_fifty_faults_of_a_kind_start_fifty_runs(error: CensusError, executed: bool) -> None:
    if executed and error in SURELY_NOT_DONE:
        executed = False
    census, claimed = Census(Clock()), set[int]()
    for number in range(1, 51):
        census.faults = [Fault(error, executed, late=number % 8)]
        assert trigger(census, full_sync=False, claimed=claimed, before=None) == census.ours[-1]
        assert len(census.ours) == number


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 302])
def test_a_refusal_is_final(status: int) -> None:
    census = Census(Clock(), faults=[Fault(api_error(status))])
    with pytest.raises(CensusApiError) as raised:
        trigger(census, full_sync=False, claimed=set(), before=None)
    assert raised.value.status_code == status
    assert census.ours == []


@pytest.mark.parametrize("error", [*SURELY_NOT_DONE, *PERHAPS_DONE], ids=repr)
def test_attempts_are_bounded_and_the_last_error_is_raised(error: CensusError) -> None:
    census = Census(Clock(), faults=[Fault(error)] * 100)
    with pytest.raises(type(error)) as raised:
        trigger(census, full_sync=False, claimed=set(), before=None)
    assert raised.value is error
    assert len(census.faults) == 80
    assert census.ours == []


def run_at(moment: float, number: int, **fields: Any) -> dict[str, Any]:
    """A run created so many seconds after Census' clock said 1 700 000 000."""
    return {**as_census(Run(number, 1_700_000_000.0 + moment, "working", False)), **fields}


CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], int | None]] = {
    "nothing there": ([], {}, None),
    "the one created after the request left": ([run_at(11, 7), run_at(-5, 6)], {}, 7),
    "the first of several": ([run_at(13, 9), run_at(11, 7), run_at(12, 8)], {}, 7),
    "not one that is skipped if there is another": (
        [run_at(12, 8), run_at(11, 7, status="skipped")],
        {},
        8,
    ),
    "one that is skipped if there is no other": ([run_at(11, 7, status="skipped")], {}, 7),
    "one that has finished as well": ([run_at(11, 7, status="failed")], {}, 7),
    "not one of another task": ([run_at(12, 8), run_at(11, 7)], {"claimed": {7}}, 8),
    "not one that is not full": ([run_at(12, 8, full_sync=True), run_at(11, 7)], {"full_sync": True}, 8),
    "also a full one if we did not ask": ([run_at(11, 7, full_sync=True)], {}, 7),
    "not one from before": ([run_at(11, 7)], {"before": flows.Before(7, None)}, None),
    "one that another clock dates before, if ids tell": (
        [run_at(-45, 9)],
        {"before": flows.Before(7, 1_700_000_009.0)},
        9,
    ),
    "not one of long before, whatever its id": ([run_at(-75, 9)], {"before": flows.Before(7, None)}, None),
    "not one that another clock dates before, if ids do not tell": ([run_at(-45, 9)], {}, None),
    "not one without a time": ([run_at(11, 7, created_at=None)], {}, None),
    "whatever the user interface calls it": (
        [run_at(11, 7, sync_trigger_reason={"ui_tag": "Manual"})],
        {},
        7,
    ),
    "nothing that is no run": (["", None, 5, {"id": "7"}], {}, None),  # type: ignore[list-item]
}


@pytest.mark.parametrize(("runs", "known", "found"), CASES.values(), ids=CASES)
def test_which_run_is_taken(runs: list[dict[str, Any]], known: dict[str, Any], found: int | None) -> None:
    """The request left 5 s ago on our clock, and Census' clock says 15 s after 1 700 000 000 now."""
    known = {"full_sync": False, "before": None, "claimed": set(), **known}
    search = flows.Search(52, departed=100.0, **known)
    taken = search.among(Answer(runs, 1_700_000_015.0), 105.0)
    assert (taken or {}).get("id") == found
    assert found is None or found in search.claimed


def test_what_was_concluded_is_said_with_what_it_was_concluded_from() -> None:
    census, log = Census(Clock(), faults=[Fault(connection_error(sent=True), executed=True)]), Log()
    trigger(census, full_sync=False, claimed=set(), before=None, log=log)
    assert log.count("Nobody knows whether that started a run of sync 52; looking for it.") == 1
    assert log.count(f"Sync run {census.ours[0]} was created at 20") == 1
    census, log = Census(Clock(), faults=[Fault(api_error(502))]), Log()
    trigger(census, full_sync=False, claimed=set(), before=None, log=log)
    assert log.count("No new run of sync 52 in 15 s: it was not started.") == 1
    assert log.count("ttempt 1 of 20") == 1


def test_a_run_that_goes_on_is_found_and_no_other() -> None:
    runs = [run_at(5, 9, status="completed"), run_at(-1, 7), run_at(3, 8)]

    def found(since: float) -> Any:
        flow = flows.find_active(52, full_sync=False, since=1_700_000_000.0 + since)
        return FlowRunner(Clock()).run(flow, in_order([Answer(runs, None)]))

    assert found(0) == runs[2]
    assert found(4) is None


def test_a_survey_takes_note_of_the_highest_id_and_of_census_clock() -> None:
    runs = [sync_run(id=3), sync_run(id=9), sync_run(id=4)]
    assert FlowRunner(Clock()).run(flows.survey(52), in_order([Answer(runs, 17.0)])) == flows.Before(9, 17.0)
    assert FlowRunner(Clock()).run(flows.survey(52), in_order([Answer([], None)])) == flows.Before(0, None)

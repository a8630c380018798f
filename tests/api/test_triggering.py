# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Starting a sync exactly once, against a model of Census that loses requests and responses."""

from __future__ import annotations

import inspect
import random
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest
from flow_helpers import Clock, FlowRunner, Log, api_error, connection_error, in_order, sync_run
from hypothesis import event, example, given
from hypothesis import strategies as st

from airflow_provider_census.api import endpoints, triggering
from airflow_provider_census.api.request import Response
from airflow_provider_census.api.triggering import RunMatcher, RunsSnapshot
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusConnectionError,
    CensusError,
    CensusTaskKilled,
)
from airflow_provider_census.transports.driver import drive


@dataclass(frozen=True)
class Fault:
    """
    What happens to one request to start a sync.

    :ivar error: what comes back instead of a response.
    :ivar executed: whether it started a run all the same.
    :ivar late: seconds until the run that it started appears in the list.
    :ivar hangs: seconds until the error comes.
    """

    error: CensusError
    executed: bool = False
    late: float = 0.0
    hangs: float = 0.0


NOT_PROCESSED = [
    connection_error(sent=False),
    api_error(429),
    api_error(429, retry_after=0.0),
    api_error(429, retry_after=30.0),
    api_error(503, retry_after=2.0),
]
OUTCOME_UNKNOWN = [
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
    :ivar lag: seconds that every request takes to arrive, and every response to come back.
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

    def respond(self, request: Any) -> Any:
        self.clock.time += self.lag
        try:
            return self.trigger(request) if request.method == "POST" else self.list_runs(request)
        finally:
            self.clock.time += self.lag

    def trigger(self, request: Any) -> Any:
        assert not request.retry, "the transport must not send it again"
        full_sync = request.json == {"force_full_sync": True}
        fault = self.faults.pop(0) if self.faults else None
        run = None
        if fault is None or fault.executed:
            late = 0.0 if fault is None else fault.late
            run = self.start(status=self.our_status, full_sync=full_sync, ours=True, late=late)
        if fault is None:
            assert run is not None
            return Response(run.id, float(int(self.now)))
        self.clock.time += fault.hangs
        return fault.error

    def list_runs(self, request: Any) -> Any:
        assert (request.params["order"], request.params["page"]) == ("desc", 1)
        if self.lists_fail and self.lists_fail.pop(0):
            return connection_error(sent=True)
        shown = [run for run in self.runs if run.visible_from <= self.now]
        newest = sorted(shown, key=lambda run: run.id, reverse=True)[: request.params["per_page"]]
        return Response([as_census(run) for run in newest], float(int(self.now)))

    @property
    def ours(self) -> list[int]:
        return [run.id for run in self.runs if run.ours]


def iso(moment: float) -> str:
    """A time as Census writes it, cut off to milliseconds."""
    utc = datetime.fromtimestamp(int(moment * 1000) / 1000, timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_census(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "sync_id": 52,
        "status": run.status,
        "full_sync": run.full_sync,
        "created_at": iso(run.created),
    }


def snapshot_of(census: Census) -> RunsSnapshot:
    return RunsSnapshot.of(census.respond(endpoints.newest_sync_runs(52)))


def trigger_flow(
    census: Census,
    *,
    full_sync: bool = False,
    owned_run_ids: set[int] | None = None,
    snapshot: RunsSnapshot | None = None,
    log: Log | None = None,
) -> Any:
    return triggering.trigger_sync(
        endpoints.trigger_sync(52, force_full_sync=full_sync),
        52,
        full_sync=full_sync,
        attempts=20,
        owned_run_ids=set() if owned_run_ids is None else owned_run_ids,
        log=log or Log(),
        now=census.clock,
        rng=random.Random(0),
        snapshot=snapshot,
    )


def trigger(census: Census, **options: Any) -> int:
    sync_run_id: int = FlowRunner(census.clock).run(trigger_flow(census, **options), census.respond)
    return sync_run_id


FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(NOT_PROCESSED), hangs=st.floats(0, 60)),
    st.builds(
        Fault,
        st.sampled_from(OUTCOME_UNKNOWN),
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
    owned_later=st.integers(0, 2),
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
    owned_later=0,
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
    owned_later: int,
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
    snapshot = snapshot_of(census)
    owned = {census.start(status="working", full_sync=full_sync).id for _ in range(owned_later)}
    if full_sync:  # and somebody else starts one that is not full
        census.start(status="working", full_sync=False)
    census.faults, census.lists_fail = list(faults), list(lists_fail)
    found: int | str
    try:
        found = trigger(census, full_sync=full_sync, owned_run_ids=owned, snapshot=snapshot)
    except CensusConnectionError as error:
        found = str(error)
    if isinstance(found, str):
        event("the outcome is unknown")
        assert "Nobody knows whether a run of sync 52 was started" in found
        assert len(census.ours) <= 1
    else:
        event("started in spite of faults" if faults else "started at once")
        assert census.ours == [found]
        assert found in owned


@given(fault=FAULTS, other=st.floats(4.0, 600.0), skew=st.floats(-7200, 7200), lag=st.floats(0, 1))
def test_without_a_snapshot_a_run_from_a_while_before_is_not_taken(
    fault: Fault, other: float, skew: float, lag: float
) -> None:
    census = Census(Clock(), skew, lag, [fault])
    census.start(status="working", full_sync=False).created -= other
    assert census.ours == []
    found = trigger(census)
    assert census.ours == [found]


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("error", [*NOT_PROCESSED, *OUTCOME_UNKNOWN], ids=repr)
def test_fifty_faults_of_a_kind_start_fifty_runs(error: CensusError, executed: bool) -> None:
    if executed and error in NOT_PROCESSED:
        executed = False
    census, owned = Census(Clock()), set[int]()
    for number in range(1, 51):
        census.faults = [Fault(error, executed, late=number % 8)]
        assert trigger(census, owned_run_ids=owned) == census.ours[-1]
        assert len(census.ours) == number


def test_only_so_many_own_runs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggering, "MAX_OWNED_RUNS", 3)
    census, owned = Census(Clock()), set[int]()
    for _ in range(10):
        trigger(census, owned_run_ids=owned)
    assert owned == set(census.ours[-3:])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_final(status: int) -> None:
    census = Census(Clock(), faults=[Fault(api_error(status))])
    with pytest.raises(CensusApiError) as raised:
        trigger(census)
    assert raised.value.status_code == status
    assert census.ours == []


@pytest.mark.parametrize("error", [*NOT_PROCESSED, *OUTCOME_UNKNOWN], ids=repr)
def test_attempts_are_bounded_and_the_last_error_is_raised(error: CensusError) -> None:
    census = Census(Clock(), faults=[Fault(error)] * 100)
    with pytest.raises(type(error)) as raised:
        trigger(census)
    assert raised.value is error
    assert len(census.faults) == 80
    assert census.ours == []


def run_at(moment: float, run_id: Any, **fields: Any) -> dict[str, Any]:
    """A run created so many seconds after Census' clock said 1 700 000 000."""
    return {**as_census(Run(run_id, 1_700_000_000.0 + moment, "working", False)), **fields}


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
    "not one of another task": ([run_at(12, 8), run_at(11, 7)], {"owned_run_ids": {7}}, 8),
    "not one that is not full": ([run_at(12, 8, full_sync=True), run_at(11, 7)], {"full_sync": True}, 8),
    "also a full one if we did not ask": ([run_at(11, 7, full_sync=True)], {}, 7),
    "not one from before": ([run_at(11, 7)], {"snapshot": RunsSnapshot(7, None)}, None),
    "one that another clock dates before, if ids tell": (
        [run_at(-45, 9)],
        {"snapshot": RunsSnapshot(7, 1_700_000_009.0)},
        9,
    ),
    "not one of long before, whatever its id": ([run_at(-75, 9)], {"snapshot": RunsSnapshot(7, None)}, None),
    "not one that another clock dates before, if ids do not tell": ([run_at(-45, 9)], {}, None),
    "not one without a time": ([run_at(11, 7, created_at=None)], {}, None),
    "one with an odd time, if ids tell": (
        [run_at(11, 8, created_at="yesterday"), run_at(11, 7, created_at=7)],
        {"snapshot": RunsSnapshot(7, None)},
        8,
    ),
    "whatever the user interface calls it": (
        [run_at(11, 7, sync_trigger_reason={"ui_tag": "Manual"})],
        {},
        7,
    ),
    "not one whose id is no number": ([run_at(11, "x7")], {}, None),
}


@pytest.mark.parametrize(("runs", "known", "found"), CASES.values(), ids=CASES)
def test_which_run_matches(runs: list[dict[str, Any]], known: dict[str, Any], found: int | None) -> None:
    """The request was sent 5 s ago on our clock, and Census' clock is 15 s after 1 700 000 000 now."""
    known = {"full_sync": False, "snapshot": None, "owned_run_ids": set(), **known}
    sent_at = 1_699_999_990.0  # our clock is late
    matcher = RunMatcher(52, sent_at=sent_at, **known)
    matched = matcher.match(Response(runs, 1_700_000_015.0), sent_at + 5.0)
    assert (matched or {}).get("id") == found
    assert found is None or found in matcher.owned_run_ids


def test_a_process_that_starts_many_runs_remembers_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggering, "MAX_OWNED_RUNS", 3)
    owned: set[int] = set()
    for run_id in (1, 2, 5, 4, 3):
        triggering.own(owned, run_id)
    assert owned == {3, 4, 5}


@pytest.mark.parametrize("hours", [-876_000, -1, 0, 1, 876_000])
@pytest.mark.parametrize("whose", ["Census' Date", "ours"])
def test_one_clock_that_is_hours_off_does_not_hide_the_run_if_ids_tell(hours: int, whose: str) -> None:
    now = 1_700_000_015.0
    date, ours = (now + hours * 3600, now) if whose == "Census' Date" else (now, now + hours * 3600)
    matcher = RunMatcher(52, False, RunsSnapshot(7, date - 6), set(), sent_at=ours - 5)
    matched = matcher.match(Response([run_at(11, 8), run_at(-45, 7)], date), ours)
    assert matched is not None
    assert matched["id"] == 8


def test_what_was_concluded_is_logged_with_what_it_was_concluded_from() -> None:
    census, log = Census(Clock(), faults=[Fault(connection_error(sent=True), executed=True)]), Log()
    trigger(census, log=log)
    assert log.count("It is unknown whether that started a run of sync 52; searching for it.") == 1
    assert log.count(f"Sync run {census.ours[0]} was created at 20") == 1
    census, log = Census(Clock(), faults=[Fault(api_error(502))]), Log()
    trigger(census, log=log)
    assert log.count("No new run of sync 52 has appeared: it was not started.") == 1
    assert log.count("ttempt 1 of 20") == 1


KILLED: dict[str, tuple[list[Fault], list[float], str]] = {
    # what happens to the requests; the delays, in the last of which the task is killed; requests until then
    "before the request is sent": ([], [0.0], ""),
    "amid backoff": ([Fault(api_error(429, retry_after=7.0))], [0.0, 7.0], "POST"),
    "as the search begins": ([Fault(connection_error(sent=True))], [0.0, 0.0], "POST"),
    "amid the search": ([Fault(connection_error(sent=True))], [0.0, 0.0, 1.0, 2.0], "POST GET GET"),
    "before the request is sent again": (
        [Fault(api_error(503, retry_after=7.0))],
        [0.0, 7.0, 0.0],
        "POST",
    ),
}


@pytest.mark.parametrize(("faults", "delays", "requests"), KILLED.values(), ids=KILLED)
@pytest.mark.parametrize("kill", [CensusTaskKilled("Killed."), KeyboardInterrupt()], ids=repr)
def test_a_kill_leaves_the_flow_at_once(
    faults: list[Fault], delays: list[float], requests: str, kill: BaseException
) -> None:
    census, log = Census(Clock(), faults=list(faults)), Log()
    sent, left = list[str](), list(delays)

    def send(request: Any) -> Response[Any]:
        sent.append(request.method)
        response: Response[Any] | CensusError = census.respond(request)
        if isinstance(response, CensusError):
            raise response
        return response

    def sleep(seconds: float) -> None:
        assert left[0] <= seconds <= 1.1 * left.pop(0)
        if not left:
            raise kill

    flow = trigger_flow(census, log=log)
    with pytest.raises(type(kill)) as raised:
        drive(flow, send, sleep)
    assert raised.value is kill
    assert raised.value.__context__ is None, "no error of Census' was being handled"
    assert " ".join(sent) == requests
    assert inspect.getgeneratorstate(flow) == inspect.GEN_CLOSED
    assert log.count("has appeared") == log.count("is the one") == 0
    assert census.ours == []


def test_what_is_no_run_is_not_taken_for_one() -> None:
    matcher = RunMatcher(52, False, None, set(), sent_at=1_700_000_000.0)
    found = FlowRunner().run(
        triggering.find_started(matcher, Clock()),
        in_order([["", None, 5, {}], ["", run_at(11, 7)]]),
    )
    assert (found or {}).get("id") == 7


def test_an_active_run_is_found_and_no_other() -> None:
    runs = ["", None, run_at(5, 9, status="completed"), run_at(-1, 7), run_at(3, 8)]

    def find(since: float) -> Any:
        flow = triggering.find_active(52, full_sync=False, since=1_700_000_000.0 + since)
        return FlowRunner().run(flow, in_order([Response(runs, None)]))

    assert find(0) == runs[-1]
    assert find(4) is None


@pytest.mark.parametrize(
    ("runs", "newest", "active"),
    [
        ([], 0, None),
        ([sync_run("completed", id=number) for number in (3, 9, 4)], 9, None),
        ([sync_run(status, id=91) for status in ("skipped", "failed")], 91, None),
        ([sync_run(id=91), sync_run("queued", id=92), sync_run("completed", id=93)], 93, 92),
        ([sync_run(id=91), sync_run(id=92, canceled=True)], 92, 91),
        ([sync_run("of the future", id=91)], 91, 91),
        (["", None, {}, {"id": True, "status": "working"}], 0, None),
    ],
    ids=str,
)
def test_a_snapshot_has_the_newest_run_and_the_newest_that_is_active(
    runs: list[Any], newest: int, active: int | None
) -> None:
    snapshot = RunsSnapshot.of(Response(runs, 17.0))
    assert (snapshot.newest, snapshot.date) == (newest, 17.0)
    assert (snapshot.active or {}).get("id") == active


SKIPPED = run_at(5, 95, status="skipped", updated_at=iso(1_700_000_000.0 + 6))


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ([], None),
        ([run_at(1, 91, status="completed", updated_at=iso(1_700_000_000.0 + 4))], None),
        ([run_at(1, 91, status="completed", updated_at=iso(1_700_000_000.0 + 5.5))], 91),
        ([run_at(1, 91, status="failed", updated_at=iso(1_700_000_000.0 + 5.5)), run_at(7, 97)], 97),
        ([run_at(1, 91), run_at(4, 94, status="completed", updated_at=iso(1_700_000_000.0 + 6))], 91),
        ([run_at(1, 91, canceled=True)], 91),
        ([run_at(1, 91, status="cancelled", canceled=True, updated_at=iso(1_700_000_000.0 + 4))], None),
        ([run_at(1, 91, status="skipped", updated_at=iso(1_700_000_000.0 + 6))], None),
        ([run_at(1, 91, status="completed", updated_at=None), "", None], None),
    ],
    ids=str,
)
def test_which_run_blocked_another(others: list[Any], found: int | None) -> None:
    blocking = triggering.blocking_run(SKIPPED, [SKIPPED, *others])
    assert (blocking or {}).get("id") == found

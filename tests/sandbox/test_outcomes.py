# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox knows the caller's own syncs, and lets their runs end as it is told."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from staging import START, Caller, Clock

from airflow_provider_census.sandbox import (
    Outcome,
    Sandbox,
    cancelled,
    completes,
    fails,
    never_ends,
    rejects,
    runs_for,
    skipped,
)
from airflow_provider_census.sandbox.__main__ import main, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock, syncs={}) as sandbox:
        yield sandbox


def sandbox_with(syncs: Any) -> Sandbox:
    return Sandbox(syncs=syncs)


def ends_of(sandbox: Sandbox, clock: Clock, sync: int | str, runs: int = 1) -> list[dict[str, Any]]:
    """So many runs, one after the other, as they are a minute later."""
    started = []
    for _ in range(runs):
        started.append(sandbox.start_run(sync))
        clock.now += 60
    return [run for run in sandbox.runs if run["id"] in started]


@pytest.mark.parametrize(
    ("outcome", "ends"),
    [
        (completes(records=20), {"status": "completed", "records_updated": 20, "records_failed": 0}),
        (completes(records=0), {"status": "completed", "records_updated": 0}),
        (fails(), {"status": "failed", "error_code": "JSON_ARRAY_ERROR", "completed_at": None}),
        (
            fails("RATE_LIMIT", "Too fast", detail="Wait"),
            {"error_code": "RATE_LIMIT", "error_message": "Too fast", "error_detail": "Wait"},
        ),
        (fails("X"), {"error_code": "X", "error_message": "The sandbox was told to fail with X"}),
        (skipped(), {"status": "skipped", "records_processed": None}),
        (cancelled(), {"status": "completed", "canceled": True, "records_processed": 500}),
        (rejects(7, invalid=3, records=50), {"records_updated": 40, "records_failed": 7}),
        (runs_for(0), {"completed_at": "2023-11-14T22:13:20.000Z"}),
        (runs_for(0.5), {"completed_at": "2023-11-14T22:13:20.500Z"}),
        (runs_for(30), {"completed_at": "2023-11-14T22:13:50.000Z"}),
        (runs_for(30, fails()), {"status": "failed", "updated_at": "2023-11-14T22:13:50.000Z"}),
        (runs_for(30, cancelled()), {"canceled": True, "updated_at": "2023-11-14T22:13:39.000Z"}),
        (runs_for(121), {"status": "working", "records_processed": 491}),
        (never_ends(), {"status": "working", "records_processed": 0, "completed_at": None}),
    ],
    ids=lambda value: value.summary if isinstance(value, Outcome) else "",
)
def test_runs_end_as_was_said(sandbox: Sandbox, clock: Clock, outcome: Outcome, ends: dict[str, Any]) -> None:
    sandbox.add_sync(90210, outcome)

    (run,) = ends_of(sandbox, clock, 90210)

    assert run | ends == run


def test_the_reasons_of_rejected_records_are_those_given(clock: Clock) -> None:
    with Sandbox(clock=clock, syncs={7: rejects(3, "No consent", "Too long")}) as sandbox:
        (run,) = ends_of(sandbox, clock, 7)
        rows = Caller(sandbox.url, clock).data(f"/sync_runs/{run['id']}/records", status="rejected")

    assert Counter(row["status_message"] for row in rows) == {"No consent": 2, "Too long": 1}


def test_a_list_is_one_outcome_for_each_run_and_the_last_one_goes_on(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.add_sync(7, [fails(), skipped(), completes()])

    runs = ends_of(sandbox, clock, 7, runs=4)

    assert [run["status"] for run in runs] == ["failed", "skipped", "completed", "completed"]


def test_a_run_that_is_skipped_because_another_one_goes_on_uses_no_outcome_up(
    sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.add_sync(7, [completes(), fails()])
    sandbox.start_run(7)

    runs = ends_of(sandbox, clock, 7, runs=2)

    assert [run["status"] for run in runs] == ["skipped", "failed"]


def test_a_sync_is_known_by_its_label(sandbox: Sandbox, clock: Clock) -> None:
    sync_id = sandbox.add_sync("Nightly contacts", fails("RATE_LIMIT"), operation="mirror")

    assert Caller(sandbox.url, clock).data(f"/syncs/{sync_id}")["operation"] == "mirror"
    runs = ends_of(sandbox, clock, sync_id) + ends_of(sandbox, clock, "Nightly contacts")
    assert [(run["sync_id"], run["error_code"]) for run in runs] == [(sync_id, "RATE_LIMIT")] * 2


def test_a_sync_that_a_dag_creates_has_the_outcome_of_its_label(clock: Clock) -> None:
    body = {
        "label": "Made by a DAG",
        "operation": "upsert",
        "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
        "destination_attributes": {"connection_id": 15, "object": "user"},
        "mappings": [{"from": "EMAIL", "to": "external_id", "is_primary_identifier": True}],
    }
    with Sandbox(clock=clock, syncs={"Made by a DAG": fails("X")}) as sandbox:
        sync_id = Caller(sandbox.url, clock).call("POST", "/syncs", json=body).json()["data"]["sync_id"]
        (run,) = ends_of(sandbox, clock, sync_id)

    assert run["error_code"] == "X"


def test_what_a_sync_does_can_be_changed(sandbox: Sandbox, clock: Clock) -> None:
    for outcome in (fails(), completes()):
        assert sandbox.add_sync(7, outcome) == 7

    assert ends_of(sandbox, clock, 7)[0]["status"] == "completed"
    assert [sync["id"] for sync in Caller(sandbox.url, clock).data("/syncs")] == [7]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_any_other_sync_is_there_and_completes(sandbox: Sandbox, clock: Clock, version: str) -> None:
    caller = Caller(sandbox.url, clock, version)

    assert caller.data("/syncs") == []
    assert caller.data("/syncs/123/sync_runs") == []
    assert caller.data("/syncs/124")["resource_identifier"] == "sync-124"
    assert caller.run(caller.trigger(125), after=60)["status"] == "completed"
    assert [sync["id"] for sync in caller.data("/syncs")] == [123, 124, 125]


@pytest.mark.parametrize("name", ["0", "-1", "1.5", "abc", "9223372036854775808", "9" * 30, "٣"])
def test_what_is_no_id_is_not_there(sandbox: Sandbox, clock: Clock, name: str) -> None:
    assert Caller(sandbox.url, clock).call("GET", f"/syncs/{name}").status_code == 404


def test_a_sync_that_was_deleted_does_not_spring_up_again(sandbox: Sandbox, clock: Clock) -> None:
    caller = Caller(sandbox.url, clock)

    assert [caller.call(method, "/syncs/7").status_code for method in ("DELETE", "GET")] == [200, 404]


def test_a_strict_sandbox_knows_no_others(clock: Clock) -> None:
    with Sandbox(clock=clock, syncs={7: completes()}, strict=True) as sandbox:
        caller = Caller(sandbox.url, clock)

        assert caller.data("/syncs/7")["id"] == 7
        assert caller.call("POST", "/syncs/52/trigger").status_code == 404
        with pytest.raises(ValueError, match="there is no sync 52"):
            sandbox.start_run(52)


def test_a_run_says_why_it_was_started(sandbox: Sandbox) -> None:
    sandbox.start_run(7, reason="Manual")

    assert sandbox.runs[0]["sync_trigger_reason"]["ui_tag"] == "Manual"


def test_a_run_is_finished_with_an_outcome(sandbox: Sandbox) -> None:
    sandbox.add_sync(7, never_ends())
    sync_run_id = sandbox.start_run(7)

    sandbox.finish_run(sync_run_id, fails("RATE_LIMIT", "Too fast"))

    (run,) = sandbox.runs
    assert (run["status"], run["error_code"]) == ("failed", "RATE_LIMIT")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda: sandbox_with({0: completes()}), "a whole number above 0 or a label, not 0"),
        (lambda: sandbox_with({"": completes()}), "a whole number above 0 or a label, not ''"),
        (lambda: sandbox_with({True: completes()}), "a whole number above 0 or a label, not True"),
        (lambda: sandbox_with({7: []}), "the runs of 7 must have outcomes"),
        (lambda: sandbox_with({7: ["fails"]}), "the runs of 7 must have outcomes"),
        (lambda: sandbox_with({7: completes}), "the runs of 7 must have outcomes"),
        (lambda: Sandbox(cancelled_as="canceled"), "cancelled_as must be one of completed, cancelled"),
        (lambda: completes(-1), "a whole number from 0 on, not -1"),
        (lambda: completes(1.5), "a whole number from 0 on, not 1.5"),  # type: ignore[arg-type]
        (lambda: rejects(8, invalid=3, records=10), "no more than all 10 records"),
        (lambda: runs_for(-1), "0 seconds or more, not -1"),
        (lambda: runs_for(math.nan), "0 seconds or more, not nan"),
    ],
)
def test_what_cannot_be_is_refused(wrong: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        wrong()


# The command line


def test_the_command_takes_syncs() -> None:
    words = "90210=fails:RATE_LIMIT:Too fast: wait|Nightly contacts=completes:20|7=fails|7=runs_for:0.5"
    options = parse([word for sync in words.split("|") for word in ("--sync", sync)])

    assert options.syncs == {
        90210: [fails("RATE_LIMIT", "Too fast: wait")],
        "Nightly contacts": [completes(20)],
        7: [fails(), runs_for(0.5)],
    }
    assert parse([]).syncs is None


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("90210", "write SYNC=OUTCOME, such as 90210=fails"),
        ("=fails", "write SYNC=OUTCOME"),
        ("0=fails", "a whole number above 0 or a label, not 0"),
        (
            "7=wins",
            "an outcome is one of completes, fails, rejects, skipped, cancelled, runs_for, never_ends",
        ),
        ("7=skipped:3", "skipped takes nothing behind"),
        ("7=rejects:many", "rejects takes a number behind the colon, not 'many'"),
        ("7=rejects:-1", "a whole number from 0 on, not -1"),
    ],
)
def test_the_command_refuses_what_cannot_be(
    word: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--sync", word])
    assert complaint in capsys.readouterr().err


def test_time_is_the_clocks(sandbox: Sandbox, clock: Clock) -> None:
    sync_run_id = sandbox.start_run(7)
    clock.now = START + 5

    assert [(run["id"], run["status"]) for run in sandbox.runs] == [(sync_run_id, "completed")]

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a person reads in the log of a task, in the hundred characters that Airflow shows of a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partialmethod
from typing import Any

import pytest
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
from task_helpers import Done, Log

from airflow_provider_census.api import wording
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor
from airflow_provider_census.triggers.base import WaitEvent, WaitTrigger

RunTask = Callable[..., Done]

SHOWN = 100
"""Characters of a line that Airflow's log view shows without scrolling, at a width of 1440 pixels."""

TASKS = (CensusTriggerSyncOperator, CensusSyncRunSensor, CensusSyncSensor)

KEPT: dict[str, Any] = {}
"""What a task is to resume with, which Airflow stores, but not in dag.test()."""

XCOMS = ("return_value", "sync_run_id", "sync_run", "sync_run_summary", "_link_CensusSyncRunLink")


@dataclass
class Seen:
    """Everything of a task that somebody may read."""

    log: Log = field(default_factory=Log)
    triggers: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    def begins(self, level: str, pattern: str) -> bool:
        """Tell whether a line of that level begins so, in what is shown of it."""
        return any(
            each == level and re.match(pattern, line[:SHOWN], re.ASCII) for each, line in self.log.lines
        )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, triggers_run: list[Any]) -> Seen:
    """What the tasks and triggers of a test logged, stored and sent."""
    seen = Seen(triggers=triggers_run)
    for kind in (*TASKS, CensusHook, WaitTrigger):
        monkeypatch.setattr(kind, "log", seen.log)
    as_payload = WaitEvent.as_payload

    def note(event: WaitEvent) -> dict[str, Any]:
        seen.events.append(as_payload(event))
        return as_payload(event)

    monkeypatch.setattr(WaitEvent, "as_payload", note)
    KEPT.clear()
    for kind in TASKS:
        monkeypatch.setattr(kind, "defer", partialmethod(_defer, kind.defer))
        monkeypatch.setattr(kind, "resume_execution", partialmethod(_resume, kind.resume_execution))
    return seen


def _defer(task: Any, defer: Any, **given: Any) -> None:
    KEPT.clear()
    KEPT.update(given["kwargs"])
    defer(task, **given)


def _resume(task: Any, resume: Any, next_method: str, next_kwargs: Any, context: Any) -> Any:
    return resume(task, next_method, {**KEPT, **(next_kwargs or {})}, context)


Arrange = Callable[[Sandbox, pytest.MonkeyPatch], None]


def nothing(_census: Sandbox, _monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave everything as it is."""


def another_run(census: Sandbox, _monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a run that somebody else did."""
    census.start_run(57)


def revoked_token(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Census reject the token, once the run has been polled."""

    def interval(*_: Any, **__: Any) -> float:
        census.fail_next(9, status=401, path="/api/v1/sync_runs")
        return 0.001

    monkeypatch.setattr(WaitOptions, "interval", interval)
    monkeypatch.setattr(CensusSyncRunSensor, "_get_next_poke_interval", interval)


def outage(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Census fail twice, once the run has been polled."""
    pending = [1]

    def interval(*_: Any, **__: Any) -> float:
        if pending:
            census.fail_next(pending.pop(), path="/api/v1/sync_runs")
        return 0.001

    monkeypatch.setattr(WaitOptions, "interval", interval)
    monkeypatch.setattr(CensusSyncRunSensor, "_get_next_poke_interval", interval)


OPENS = r"Open: http://127\.0\.0\.1:\d+/syncs/{sync_id}/history\?sync_run_id=\d+$"

SITUATIONS: dict[str, tuple[int, Arrange, dict[str, Any], str, list[tuple[str, str]]]] = {
    "completes": (
        52,
        nothing,
        {},
        "success",
        [
            ("info", r"\d\d %, \d\d\d of 1000 records, .*(Checking|Unloading|Loading) "),
            (
                "info",
                r"Completed in [\w ]+: 1000 updated, 0 rejected, 0 invalid · Completes → user "
                r"\(sync 52, run \d+",
            ),
            ("info", OPENS),
        ],
    ),
    "rejects records": (
        55,
        nothing,
        {},
        "success",
        [
            ("warning", r"5 records rejected or invalid\. Completed in [\w ]+: 995 updated, 3 rejected, 2 "),
            ("warning", r"rejected: 2 . INVALID_EMAIL: the e-mail address is not valid \(ada\.turing\.996 "),
            ("warning", r"invalid: 1 . The primary identifier is null$"),
            ("info", OPENS),
        ],
    ),
    "rejects too many records": (
        55,
        nothing,
        {"max_records_failed": 1},
        "failed",
        [
            (
                "error",
                r"Too many rejected records: records_failed is 3, allowed are 1; 995 updated, 3 reject",
            ),
            ("error", r"rejected: 2 . INVALID_EMAIL: "),
            ("error", OPENS),
            ("error", r"What to do: A retry \w+"),
        ],
    ),
    "fails": (
        53,
        nothing,
        {},
        "failed",
        [
            ("error", r"Failed after [\w ]+: JSON_ARRAY_ERROR: The array field being used does not appear"),
            ("error", OPENS),
            ("error", r"What to do: A retry \w+"),
        ],
    ),
    "is cancelled": (
        56,
        nothing,
        {},
        "failed",
        [
            (
                "error",
                r"Cancelled after [\w ]+; \d+ updated, 0 rejected, 0 invalid · Canceled halfway → user",
            ),
            ("error", OPENS),
        ],
    ),
    "is skipped": (
        54,
        nothing,
        {},
        "failed",
        [("error", r"Skipped by Census, nothing was synced: an earlier run of the sync was still running")],
    ),
    "is skipped, and so is the task": (
        54,
        nothing,
        {"on_skipped_run": "skip"},
        "skipped",
        [
            (
                "warning",
                r"Skipped by Census, nothing was synced: an earlier run of the sync was still running",
            ),
            ("info", OPENS),
        ],
    ),
    "is blocked": (
        57,
        another_run,
        {},
        "failed",
        [
            (
                "error",
                r"Skipped by Census, nothing was synced: blocked by run \d+, started \d+ s ago by Schedule: ",
            ),
            ("error", OPENS.replace("Open:", "Open the run that blocked it:")),
            ("error", OPENS),
        ],
    ),
    "does not end": (
        57,
        nothing,
        {"timeout": 0.6},
        "failed",
        [
            ("error", r"Sync run \d+ has not ended within 1 s \(timeout\): \d+ %, \d+ of 1000 records"),
            ("error", OPENS),
            ("error", r"What to do: \w+"),
        ],
    ),
    "is out of sight: the token is rejected": (
        52,
        revoked_token,
        {},
        "failed",
        [
            ("error", r"connection 'census_default' \(http://127\.0\.0\.1:\d+, v1\): HTTP 401: "),
            ("error", r"The run keeps running in Census\.$"),
            ("error", OPENS),
            ("error", r"What to do: A retry cannot help until the token, or what it may do, is changed\."),
        ],
    ),
    "is out of sight: Census is down": (
        52,
        outage,
        {},
        "success",
        [
            ("warning", r"HTTP 503: .* \(GET /sync_runs/\d+\)\. Still waiting for "),
            ("info", r"Census responds again, after \d+ s\.$"),
            ("info", r"Completed in "),
        ],
    ),
}

WAITS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "operator on the worker": (CensusTriggerSyncOperator, {"wait_for_completion": True}),
    "operator deferred": (CensusTriggerSyncOperator, {"wait_for_completion": True, "deferrable": True}),
    "sensor": (CensusSyncRunSensor, {}),
    "sensor deferred": (CensusSyncRunSensor, {"deferrable": True}),
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_important_part_of_each_line_is_seen_without_scrolling(
    run_task: RunTask,
    census: Sandbox,
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
    situation: str,
    wait: str,
) -> None:
    sync_id, arrange, criteria, state, expected = SITUATIONS[situation]
    task, options = WAITS[wait]
    arrange(census, monkeypatch)
    which = {"sync_id": sync_id}
    if task is CensusSyncRunSensor:
        which = {"sync_run_id": census.start_run(sync_id)}
    done = run_task(task, **which, **options, **criteria)
    assert done.state == state
    for level, pattern in expected:
        assert seen.begins(level, pattern.replace("{sync_id}", str(sync_id))), (pattern, seen.log.lines)
    assert_nothing_is_given_away(done, seen, census)


def assert_nothing_is_given_away(done: Done, seen: Seen, census: Sandbox) -> None:
    """Search all that a person or a database sees for the token, and for what a record holds."""
    said = [
        *(line for _, line in seen.log.lines),
        *(json.dumps(trigger.serialize()) for trigger in seen.triggers),
        *map(json.dumps, seen.events),
        *(json.dumps(done.xcom(key)) for key in XCOMS),
        *(repr(error) + str(error) for errors in done.raised.values() for error in errors),
    ]
    for secret in (census.token, "record_payload", "Turing", "Ada"):
        assert not [line for line in said if secret in line], secret


@pytest.mark.parametrize(
    ("if_running", "pattern", "level"),
    [
        ("fail", r"Running already: run \d+, started \d+ s ago by Schedule: ", "error"),
        ("join", r"Running already: run \d+, started \d+ s ago by Schedule: ", "info"),
        ("wait", r"Running already: run \d+, started \d+ s ago by Schedule: ", "info"),
    ],
)
def test_a_run_that_is_running_already_is_named(
    run_task: RunTask, census: Sandbox, seen: Seen, if_running: str, pattern: str, level: str
) -> None:
    other = census.start_run(52)
    run_task(CensusTriggerSyncOperator, sync_id=52, if_running=if_running, wait_for_completion=True)
    assert seen.begins(level, pattern)
    assert seen.log.count(f"Open: {census.url}/syncs/52/history?sync_run_id={other}")


@pytest.mark.parametrize("deferrable", [False, True], ids=["poking", "deferred"])
@pytest.mark.parametrize(
    ("sync_id", "options", "pattern"),
    [
        (53, {"soft_fail": True}, r"Skipped, not failed: Failed after [\w ]+: JSON_ARRAY_ERROR: "),
        (
            57,
            {"soft_fail": True, "timeout": 0.6},
            r"Skipped, not failed: Sync run \d+ has not ended within 1 s \(timeout\): \d+ %, ",
        ),
    ],
)
def test_a_sensor_that_is_skipped_says_why(
    run_task: RunTask,
    census: Sandbox,
    seen: Seen,
    deferrable: bool,
    sync_id: int,
    options: dict[str, Any],
    pattern: str,
) -> None:
    run = census.start_run(sync_id)
    done = run_task(
        CensusSyncRunSensor, sync_run_id=run, deferrable=deferrable, poke_interval=0.01, **options
    )
    assert done.state == "skipped"
    assert seen.begins("warning", pattern)
    assert not [line for level, line in seen.log.lines if level == "error"]


@pytest.mark.parametrize(
    ("properties", "warning"),
    [
        ({}, ""),
        (
            {"schedule_frequency": "hourly"},
            r"Two schedules: Census also starts .* → user by itself \(hourly\)",
        ),
        ({"paused": True}, r"Paused in Census, and started nevertheless: "),
    ],
    ids=["manual", "scheduled", "paused"],
)
@pytest.mark.parametrize("wait", ["operator on the worker", "operator deferred"])
def test_a_sync_that_census_starts_itself_or_not_at_all_is_a_warning_once(
    run_task: RunTask, census: Sandbox, seen: Seen, wait: str, properties: dict[str, Any], warning: str
) -> None:
    CensusHook().update_sync(52, properties or {"label": "Completes"})
    seen.log.lines.clear()
    task, options = WAITS[wait]
    run_task(task, sync_id=52, **options)
    warned = [line for level, line in seen.log.lines if level == "warning"]
    assert len(warned) == bool(warning)
    assert all(re.match(warning, line) for line in warned)


def test_a_task_that_does_not_wait_asks_for_no_name(run_task: RunTask, census: Sandbox, seen: Seen) -> None:
    done = run_task(CensusTriggerSyncOperator, sync_id=52)
    assert [path for _, path in census.requests if "/sync_runs" not in path and "trigger" not in path] == []
    assert seen.begins("info", r"Started: sync 52, run \d+$")
    assert done.xcom("sync_run_summary") is None


@pytest.mark.parametrize("wait", WAITS)
def test_one_request_names_the_sync(run_task: RunTask, census: Sandbox, seen: Seen, wait: str) -> None:
    task, options = WAITS[wait]
    run = census.start_run(52) if task is CensusSyncRunSensor else None
    which = {"sync_id": 52} if run is None else {"sync_run_id": run}
    assert run_task(task, **which, **options).state == "success"
    assert [path for _, path in census.requests if path.endswith("/syncs/52")] == ["/api/v1/syncs/52"]


def test_what_cannot_be_looked_up_is_left_out(run_task: RunTask, census: Sandbox, seen: Seen) -> None:
    run = census.start_run(55)
    census.fail_next(1, status=500, path="/api/v1/syncs/55")
    census.fail_next(2, status=410, path=f"/api/v1/sync_runs/{run}/records")
    done = run_task(CensusSyncRunSensor, sync_run_id=run)
    assert done.state == "success"
    assert seen.begins("info", r"The name of the sync could not be read: HTTP 500: ")
    assert seen.begins(
        "warning", r"5 records rejected or invalid\. Completed in [\w ]+: .*3 rejected, 2 invalid"
    )
    assert done.xcom("sync_run_summary")["sync_run_id"] == run


@pytest.mark.parametrize("shown", [0, 1, 5])
def test_as_many_rejected_records_are_named_as_wanted(
    run_task: RunTask, census: Sandbox, seen: Seen, shown: int
) -> None:
    run_task(CensusSyncRunSensor, sync_run_id=census.start_run(55), log_rejected_records=shown)
    asked = [path for _, path in census.requests if "/records" in path]
    assert len(asked) == (2 if shown else 0)
    named = [line.count("example.com") for _, line in seen.log.lines if wording.TIMES in line]
    assert sum(named) == {0: 0, 1: 2, 5: 4}[shown]


def test_the_summary_has_the_outcome_in_one_sentence(run_task: RunTask, census: Sandbox, seen: Seen) -> None:
    done = run_task(CensusTriggerSyncOperator, sync_id=52, wait_for_completion=True)
    summary = done.xcom("sync_run_summary")
    assert summary["message"].startswith("Completed in ")
    assert summary["message"].endswith(f" · Completes → user (sync 52, run {done.xcom()})")
    assert (summary["sync_name"], summary["outcome"]) == ("Completes → user", "completed")


@pytest.mark.parametrize("wait", WAITS)
def test_the_end_of_v1_is_one_line_of_a_task(
    run_task: RunTask, census: Sandbox, seen: Seen, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    monkeypatch.setattr(hooks, "NOTIFIED", set())
    task, options = WAITS[wait]
    which = {"sync_run_id": census.start_run(52)} if task is CensusSyncRunSensor else {"sync_id": 52}
    run_task(task, **which, **options)
    assert seen.log.count("Census switches API v1 off") == 1


def test_after_a_deferral_another_process_says_nothing_of_v1(
    census: Sandbox, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "NOTIFIED", set())
    task = CensusTriggerSyncOperator(task_id="task", sync_id=52, wait_for_completion=True)
    with pytest.raises(CensusError, match="no event of a sync run"):
        task.resume_execution("execute_complete", {"event": None}, {})
    assert task.hook.settings.api_version == "v1"
    assert seen.log.count("Census switches API v1 off") == 0
    assert [level for level, _ in seen.log.lines] == ["error", "error"]

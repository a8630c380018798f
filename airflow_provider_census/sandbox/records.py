# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a run did, row by row: who was synced, who was not, and why.

Rows are made when they are asked for, the same each time. Those that were synced come first, then those
that the destination rejected, then those that were invalid in the source; every hundredth is deleted in the
destination rather than updated. A run that failed or did nothing has none. The people in them are made up,
but look like the personal data that they stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from airflow_provider_census.sandbox.calls import Call, Item, Refusal, page
from airflow_provider_census.sandbox.runs import SyncRun, timestamp

if TYPE_CHECKING:
    from airflow_provider_census.sandbox.workspace import Workspace

KEPT_FOR = 14 * 24 * 3600.0  # seconds
EXPORT_TAKES = 2.0  # seconds at pace 1, once the run is over
BATCH = 100

FIRST_NAMES = ("Ada", "Grace", "Edsger", "Barbara", "Alan")
LAST_NAMES = ("Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing")

INVALID = (
    ("invalid", "The value of EMAIL is longer than 2000 characters"),
    ("NULL", "The primary identifier is null"),
    ("DUPLICATE", "Another record has the same primary identifier"),
)
"""What rows that are invalid in the source say, in turn."""

STATUSES = {"succeeded": {"succeeded"}, "rejected": {"rejected"}, "invalid": {"invalid", "NULL", "DUPLICATE"}}
"""The statuses of rows that a filter for ``status`` lets through."""

OPERATIONS = ("upsert", "delete")


def list_records(workspace: Workspace, call: Call) -> Response:
    """The page of a run's rows that the query asks for; :class:`Refusal` (410) when they are too old."""
    run = find(workspace, call, 410)
    return page(chosen(run, workspace.clock(), call), call, show=lambda number: row(run, number))


def count_records(workspace: Workspace, call: Call) -> Response:
    """How many rows of a run the query asks for; :class:`Refusal` (410) when they are too old."""
    count = len(chosen(find(workspace, call, 410), workspace.clock(), call))
    return JSONResponse({"status": "success", "data": [{"record_count": count}]})


def export_records(workspace: Workspace, call: Call) -> Response:
    """
    Where the rows of a run are to be had as a file, which the sandbox does not write.

    :class:`Refusal`: 425 while it is prepared, 400 when the rows are too old.
    """
    run = find(workspace, call, 400)
    if workspace.clock() < run.stops_at + EXPORT_TAKES * workspace.pace:
        raise Refusal(425, "the run, or the export of its records, is not done yet")
    asked = {name: choice(name, call) for name in ("status", "operation") if choice(name, call)}
    query = urlencode({"signature": "made-up", **asked})
    url = f"{call.url.partition('/api/')[0]}/exports/{run.id}/part-0.parquet?{query}"
    return JSONResponse({"status": "success", "urls": [url]})


def find(workspace: Workspace, call: Call, too_old: int) -> SyncRun:
    """The run that the path names; :class:`Refusal` with 404, or with this status when its rows are gone."""
    known = workspace.runs.shown(call.path["sync_run"])
    run = workspace.runs.started_here(known["id"])
    if run is None or workspace.clock() > run.stops_at + KEPT_FOR:
        raise Refusal(too_old, "the records of a run are kept for 14 days")
    return run


def chosen(run: SyncRun, now: float, call: Call) -> list[int]:
    """The numbers of the rows that meet every filter of the query."""
    statuses, operation = STATUSES.get(choice("status", call) or ""), choice("operation", call)
    identifier = call.query.get("primary_identifier")
    return [
        number
        for number in range(run.counts(now)["records_processed"] or 0)
        if (statuses is None or outcome(run, number)[0] in statuses)
        and operation in (None, operation_of(number))
        and identifier in (None, identifier_of(run, number))
    ]


def reasons(run: SyncRun, now: float) -> list[tuple[str, str]]:
    """Status and reason of every row so far that was not synced."""
    does = run.behavior
    synced = does.source_records - does.records_failed - does.records_invalid
    return [outcome(run, number) for number in range(synced, run.counts(now)["records_processed"] or 0)]


def choice(name: str, call: Call) -> str | None:
    """What the query filters by; :class:`Refusal` (422) when that is nothing that rows can have."""
    value = call.query.get(name)
    choices = OPERATIONS if name == "operation" else tuple(STATUSES)
    if value is not None and value not in choices:
        raise Refusal(422, f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def row(run: SyncRun, number: int) -> Item:
    """One row as Census gives it."""
    status, message = outcome(run, number)
    batch = number // BATCH * BATCH
    return {
        "record_payload": payload(run, number),
        "identifier": identifier_of(run, number),
        "batch_started_at": timestamp(run.reaches(batch)),
        "batch_completed_at": timestamp(run.reaches(min(batch + BATCH, run.behavior.source_records))),
        "operation": operation_of(number),
        "status": status,
        "status_message": message,
    }


def outcome(run: SyncRun, number: int) -> tuple[str, str]:
    """The status of a row, and why: in turn through the reasons that there are."""
    does = run.behavior
    invalid = number - (does.source_records - does.records_invalid)
    if invalid >= 0:
        return INVALID[invalid % len(INVALID)]
    rejected = invalid + does.records_failed
    if rejected >= 0:
        return "rejected", does.reasons[rejected % len(does.reasons)]
    return "succeeded", ""


def operation_of(number: int) -> str:
    """What was done in the destination, or was to be done."""
    return "delete" if number % 100 == 99 else "upsert"


def identifier_of(run: SyncRun, number: int) -> str | None:
    """The e-mail address of the person in a row, which is none where the reason says so."""
    status, message = outcome(run, number)
    if status == "NULL":
        return None
    first, last = person(number)
    at = " at " if "INVALID_EMAIL" in message else "@"
    return f"{first}.{last}.{number + 1}{at}example.com".lower()


def payload(run: SyncRun, number: int) -> Item:
    """What is sent to the destination: a person."""
    first, last = person(number)
    identifier = identifier_of(run, number)
    return {
        "external_id": identifier,
        "email": identifier,
        "first_name": first,
        "last_name": last,
        "phone": f"+1-555-01{number % 100:02}",
    }


def person(number: int) -> tuple[str, str]:
    """The name of the person in a row."""
    return FIRST_NAMES[number % len(FIRST_NAMES)], LAST_NAMES[number // 5 % len(LAST_NAMES)]

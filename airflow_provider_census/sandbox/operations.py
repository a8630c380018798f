# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each call of the Census API does, and the table of them all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.runs import SyncRuns, timestamp
from airflow_provider_census.sandbox.sync_body import complaints

DEFAULT_PER_PAGE = 25
MOST_PER_PAGE = 100


@dataclass(frozen=True)
class Trigger:
    """One accepted ``POST /syncs/{id}/trigger``."""

    sync_id: int
    sync_run_id: int
    force_full_sync: bool


class Workspace:
    """What one sandbox holds, and what was done to it.

    :param clock: gives the time in seconds since the epoch.
    :param pace: every duration is multiplied by it.
    """

    def __init__(self, clock: Callable[[], float], pace: float) -> None:
        self.clock = clock
        self.syncs = dict(data.SYNCS)
        self.runs = SyncRuns(clock, pace)
        self.new_sync_ids = itertools.count(data.FIRST_CREATED_SYNC_ID)
        self.triggers: list[Trigger] = []
        self.cancels: list[int] = []


@dataclass(frozen=True)
class Call:
    """What a caller asks: the variable parts of the path, the query and the JSON body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]


class Refusal(Exception):
    """An answer that is an error.

    :param status_code: of the HTTP answer.
    :param message: for the caller.
    """

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code

    def response(self) -> Response:
        # Census names some errors with a word and some with their number.
        status = self.status_code if self.status_code in (401, 404) else "error"
        return JSONResponse({"status": status, "message": str(self)}, self.status_code)


def list_sources(workspace: Workspace, call: Call) -> Response:
    return page([without(source, "data_sources") for source in data.SOURCES], call)


def get_source(workspace: Workspace, call: Call) -> Response:
    return success(connection("source", data.SOURCES, call))


def get_model(workspace: Workspace, call: Call) -> Response:
    return success(data_source("model", call))


def get_table(workspace: Workspace, call: Call) -> Response:
    return success(data_source("table", call))


def list_destinations(workspace: Workspace, call: Call) -> Response:
    return page([without(destination, "objects") for destination in data.DESTINATIONS], call)


def get_destination(workspace: Workspace, call: Call) -> Response:
    return success(connection("destination", data.DESTINATIONS, call))


def get_destination_object(workspace: Workspace, call: Call) -> Response:
    destination = connection("destination", data.DESTINATIONS, call)
    found = only(destination["objects"], "object", call.path["full_name"], "full_name")
    return success({**found, "fields": data.FIELDS.get(found["full_name"], [])})


def list_syncs(workspace: Workspace, call: Call) -> Response:
    return page(list(workspace.syncs.values()), call)


def get_sync(workspace: Workspace, call: Call) -> Response:
    return success(sync(workspace, call))


def create_sync(workspace: Workspace, call: Call) -> Response:
    wrong = "; ".join(complaints(call.body))
    if wrong:
        raise Refusal(422, wrong)
    sync_id = next(workspace.new_sync_ids)
    now = timestamp(workspace.clock())
    workspace.syncs[sync_id] = {
        **data.SYNC_DEFAULTS,
        **call.body,
        "id": sync_id,
        "created_at": now,
        "updated_at": now,
    }
    return JSONResponse({"status": "created", "data": {"sync_id": sync_id}}, 201)


def trigger_sync(workspace: Workspace, call: Call) -> Response:
    found = sync(workspace, call)
    forced = force_full_sync(call)
    if forced and found["operation"] == "append":
        raise Refusal(422, "an append sync cannot be forced to a full sync")
    sync_run_id = workspace.runs.start(found["id"], full_sync=forced)
    workspace.triggers.append(Trigger(found["id"], sync_run_id, forced))
    return success({"sync_run_id": sync_run_id})


def list_sync_runs(workspace: Workspace, call: Call) -> Response:
    sync_id = sync(workspace, call)["id"]
    order = call.query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Refusal(422, "order must be one of asc, desc")
    runs = [run for run in workspace.runs.oldest_first() if run["sync_id"] == sync_id]
    return page(runs if order == "asc" else runs[::-1], call)


def get_sync_run(workspace: Workspace, call: Call) -> Response:
    return success(sync_run(workspace, call))


def cancel_sync_run(workspace: Workspace, call: Call) -> Response:
    sync_run_id = sync_run(workspace, call)["id"]
    workspace.runs.cancel(sync_run_id)
    workspace.cancels.append(sync_run_id)
    return JSONResponse({"status": "cancelled", "data": {}})


Operation = Callable[[Workspace, Call], Response]

ROUTES: list[tuple[str, str, Operation]] = [
    ("GET", "/api/v1/sources", list_sources),
    ("GET", "/api/v1/sources/{connection}", get_source),
    ("GET", "/api/v1/sources/{connection}/models/{id}", get_model),
    ("GET", "/api/v1/sources/{connection}/tables/{id}", get_table),
    ("GET", "/api/v1/destinations", list_destinations),
    ("GET", "/api/v1/destinations/{connection}", get_destination),
    ("GET", "/api/v1/destinations/{connection}/objects/{full_name}", get_destination_object),
    ("GET", "/api/v1/syncs", list_syncs),
    ("POST", "/api/v1/syncs/create", create_sync),
    ("GET", "/api/v1/syncs/{id}", get_sync),
    ("POST", "/api/v1/syncs/{id}/trigger", trigger_sync),
    ("GET", "/api/v1/syncs/{id}/sync_runs", list_sync_runs),
    ("GET", "/api/v1/sync_runs/{id}", get_sync_run),
    ("POST", "/api/v1/sync_runs/{id}/cancel", cancel_sync_run),
]


def success(content: dict[str, Any]) -> Response:
    return JSONResponse({"status": "success", "data": content})


def page(items: list[dict[str, Any]], call: Call) -> Response:
    """The page of a list that the query asks for."""
    number = positive("page", call, 1)
    per_page = min(positive("per_page", call, DEFAULT_PER_PAGE), MOST_PER_PAGE)
    last = max(1, math.ceil(len(items) / per_page))
    pagination = {
        "total_records": len(items),
        "per_page": per_page,
        "page": number,
        "prev_page": number - 1 if 1 < number <= last else None,
        "next_page": number + 1 if number < last else None,
        "last_page": last,
    }
    chosen = items[(number - 1) * per_page : number * per_page]
    return JSONResponse({"status": "success", "data": chosen, "pagination": pagination})


def positive(name: str, call: Call, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Refusal(422, f"{name} must be a whole number above 0, not {text!r}")
    return int(text)


def force_full_sync(call: Call) -> bool:
    # Some clients send it in the query, some in the body.
    given = call.query.get("force_full_sync", call.body.get("force_full_sync", False))
    if given in (True, "true"):
        return True
    if given in (False, "false"):
        return False
    raise Refusal(422, f"force_full_sync must be true or false, not {given!r}")


def connection(kind: str, connections: list[dict[str, Any]], call: Call) -> dict[str, Any]:
    return only(connections, kind, call.path["connection"], "id", "slug")


def data_source(kind: str, call: Call) -> dict[str, Any]:
    source = connection("source", data.SOURCES, call)
    of_kind = [entry for entry in source["data_sources"] if entry["type"] == kind]
    found = only(of_kind, kind, call.path["id"], "id")
    return {**found, **data.DATA_SOURCE_DETAILS[kind, found["id"]]}


def sync(workspace: Workspace, call: Call) -> dict[str, Any]:
    return only(list(workspace.syncs.values()), "sync", call.path["id"], "id")


def sync_run(workspace: Workspace, call: Call) -> dict[str, Any]:
    return only(workspace.runs.oldest_first(), "sync run", call.path["id"], "id")


def only(items: list[dict[str, Any]], kind: str, wanted: str, *names: str) -> dict[str, Any]:
    """The item one of whose ``names`` is ``wanted``."""
    for item in items:
        if wanted in [str(item[name]) for name in names]:
            return item
    raise Refusal(404, f"there is no {kind} {wanted!r}")


def without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != name}

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What depends on the version of the Census API, as a table, and one function that applies it to a request.

Requests are made in the terms of v1. Census is part of Fivetran now, and says itself what v2 renames:
https://fivetran.com/docs/activations/rest-api.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request

T = TypeVar("T")

END_OF_V1 = "2027-01-15"
"""The day on which Census switches API v1 off, in UTC."""

SWITCHED_OFF = f"switched API v1 off on {END_OF_V1}"

DEFAULT_VERSION = "v2"
"""The version that the connection form begins with."""


def default_version(now: float | None = None) -> str:
    """
    Tell the version of a connection that names none: v1, and v2 from the day on which v1 ends.

    :param now: seconds since the epoch; ``None`` for the time it is.
    """
    return "v1" if days_of_v1(now) > 0 else "v2"


def days_of_v1(now: float | None = None) -> int:
    """Tell in how many days API v1 ends; 0 or less if it has."""
    today = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc).date()
    return (date.fromisoformat(END_OF_V1) - today).days


def end_of_v1_notice(conn_id: str, now: float | None = None) -> str:
    """Say in one line that v1 ends, for the log of whoever speaks it, and what to do."""
    days = days_of_v1(now)
    left = f"in {days} days" if days > 1 else "tomorrow"
    when = f"switches API v1 off {left}, on {END_OF_V1}" if days > 0 else SWITCHED_OFF
    return f"Census {when}: give connection {conn_id!r} a personal access token, and api_version v2."


def may_be_outdated(status: int, version_name: str, now: float | None = None) -> bool:
    """
    Tell whether a refusal may be due to what was read of a connection before: its token, or its version.

    :param status: the HTTP status.
    :param version_name: a key of :data:`VERSIONS`.
    :param now: seconds since the epoch; ``None`` for the time it is.
    """
    return status == 401 or (status in (403, 404, 410) and version_name == "v1" and days_of_v1(now) <= 0)


@dataclass(frozen=True)
class ApiVersion:
    """
    A version of the API.

    :ivar root: the path below the host at which it begins.
    :ivar hints: what to say to a person besides an HTTP status, appended after a semicolon.
    :ivar numeric_ids: whether ids are positive whole numbers, and nothing else.
    :ivar renamed: beginnings of paths, as regular expressions, and what they are called, if otherwise than in
        v1; the first one that fits counts; ``None`` for what is gone.
    :ivar grouped: paths at which creating something takes a ``group_id``, and the property of the body that
        holds it; empty if that is the body itself.
    """

    root: str
    hints: Mapping[int, str]
    numeric_ids: bool
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    grouped: Mapping[str, str] = field(default_factory=dict)


def hints(version_name: str, now: float | None = None) -> Mapping[int, str]:
    """
    Tell what to say to a person besides an HTTP status.

    After the end of v1, its response is no longer about the token or the id.

    :param version_name: a key of :data:`VERSIONS`.
    :param now: seconds since the epoch; ``None`` for the time it is.
    """
    if version_name == "v1" and days_of_v1(now) <= 0:
        return dict.fromkeys((401, 403, 404, 410), OVER)
    return VERSIONS[version_name].hints


OVER = (
    f"Census {SWITCHED_OFF}: make a personal access token in Census (User Settings), put it into the Airflow "
    "connection, and set api_version to v2 in its extra fields; DAGs stay as they are"
)


def _hints(token: str) -> dict[int, str]:
    return {
        # https://fivetran.com/docs/activations/rest-api/api-reference/introduction has the hosts.
        401: f"{token}; the region must be that of the host, app-eu.getcensus.com for the EU, "
        "else app.getcensus.com",
        403: token,
        404: "check the id, and that the API token may see what it belongs to",
    }


VERSIONS = {
    "v1": ApiVersion(
        root="/api/v1",
        hints=_hints(
            "API v1 takes the API key of a workspace, made in Census under Workspace Settings, API access"
        ),
        numeric_ids=True,
    ),
    "v2": ApiVersion(
        root="/api/v2",
        hints=_hints(
            "API v2 takes an Activations personal access token, made in Census under User Settings, "
            "for the API key of a workspace is for v1"
        ),
        numeric_ids=False,
        renamed={
            "/destinations/([^/]+)/connect_links": r"/activations/\1/activation_connect_links",
            "/destinations": "/activations",
            "/connectors": "/activation_types",
            "/destination_connect_links": "/activation_connect_links",
            "/syncs/create": "/syncs",
            "/source_connect_links": None,
            "/sync_management_links": None,
            "/segment_management_links": None,
        },
        grouped={
            "/activations": "activation",
            "/activation_connect_links": "",
            "/datasets": "",
            "/webhooks": "",
        },
    ),
}
"""The versions that this provider speaks."""


def adapt(request: Request[T], version_name: str, group_id: str | None) -> Request[T]:
    """
    Put a request in the terms of a version of the API.

    :param version_name: a key of :data:`VERSIONS`.
    :param group_id: the Fivetran group of the connection, for requests that do not name one.
    :raises ValueError: if an id cannot be one in that version, if that version does not have the operation,
        or if it needs a group and nobody named one.
    """
    version = VERSIONS[version_name]
    if version.numeric_ids:
        for value in request.ids:
            if not value.isascii() or not value.isdigit():
                raise ValueError(
                    f"{value.argument} must be a positive whole number, or a string of digits, such as 52, "
                    f"in API {version_name}; not {str(value)!r}"
                )
    path = request.path
    for old, new in version.renamed.items():
        if match := re.match(f"{old}(?=/|$)", path):
            if new is None:
                raise ValueError(f"{request} is not in API {version_name}, which Census has dropped it from")
            path = match.expand(new) + path[match.end() :]
            break
    body = request.json
    if request.method == "POST" and path in version.grouped and body is not None:
        body = _with_group(
            body, version.grouped[path], request.group_id or group_id, f"{path} in API {version_name}"
        )
    if path == request.path and body is request.json:
        return request
    return replace(request, path=path, json=body)


def _with_group(body: Mapping[str, Any], key: str, group_id: str | None, place: str) -> Mapping[str, Any]:
    inner = body.get(key)
    if key and isinstance(inner, Mapping):
        return {**body, key: _with_group(inner, "", group_id, place)}
    if "group_id" in body:
        return body
    if not group_id:
        raise ValueError(
            f"group_id is needed to create something at {place}: pass group_id, or set it in the "
            "connection's extra. It is the id of the Fivetran group; every source in list_sources() names it."
        )
    return {**body, "group_id": group_id}

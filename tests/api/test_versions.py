# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a version of the API makes of a request, and what it tells a person."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_census.api import endpoints, responses
from airflow_provider_census.api.request import JsonObject, Request
from airflow_provider_census.api.responses import HTTPResponse
from airflow_provider_census.api.settings import Settings
from airflow_provider_census.api.versions import (
    DEFAULT_VERSION,
    END_OF_V1,
    VERSIONS,
    adapt,
    default_version,
    end_of_v1_notice,
    hints,
)
from airflow_provider_census.exceptions import CensusApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY: dict[str, Any] = {"name": "x"}
CREATING = (
    endpoints.create_destination,
    endpoints.create_destination_connect_link,
    endpoints.create_dataset,
    endpoints.create_webhook,
)


def whatever(body: JsonObject) -> JsonObject:
    return body


def to(path: str, method: Any = "GET", json: Any = None) -> Request[JsonObject]:
    return Request(method, path, whatever, json=json)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_names_of_versions_are_those_of_their_roots(version: str) -> None:
    assert VERSIONS[version].root == f"/api/{version}"
    assert DEFAULT_VERSION in VERSIONS


@pytest.mark.parametrize(
    ("path", "renamed"),
    [
        ("/destinations", "/activations"),
        ("/destinations/15", "/activations/15"),
        ("/destinations/15/objects/destinations", "/activations/15/objects/destinations"),
        ("/destinations/connectors", "/activations/connectors"),
        ("/connectors", "/activation_types"),
        ("/connectors/hubspot", "/activation_types/hubspot"),
        ("/destination_connect_links", "/activation_connect_links"),
        ("/destination_connect_links/types", "/activation_connect_links/types"),
        ("/destination_connect_links/41/revoke", "/activation_connect_links/41/revoke"),
        ("/destinations/15/connect_links", "/activations/15/activation_connect_links"),
        ("/destinations/connect_links", "/activations/connect_links"),
        ("/connectors/hubspot/object_types", "/activation_types/hubspot/object_types"),
        ("/syncs/create", "/syncs"),
        # whole segments, and only at the beginning
        ("/destinations_of_another_time", "/destinations_of_another_time"),
        ("/connectors2/5", "/connectors2/5"),
        ("/syncs/created", "/syncs/created"),
        ("/sources/destinations", "/sources/destinations"),
        ("/sources/4/connectors", "/sources/4/connectors"),
        *[
            (path, path)
            for path in ("/syncs", "/syncs/52/trigger", "/sync_runs/94", "/webhooks/7", "/workspace")
        ],
        *[(path, path) for path in ("/sources/4/models/18", "/datasets", "/activations/glimmering_donkey")],
    ],
)
def test_v2_renames_the_beginnings_of_paths(path: str, renamed: str) -> None:
    assert adapt(to(path), "v2", "group").path == renamed
    assert adapt(to(path), "v1", "group").path == path


@pytest.mark.parametrize("path", ["/source_connect_links", "/source_connect_links/3/revoke"])
def test_what_v2_dropped_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=rf"^GET {path} is not in API v2, which Census has dropped it from$"):
        adapt(to(path), "v2", None)
    assert adapt(to(path), "v1", None).path == path
    assert adapt(to("/source_connect_links_too"), "v2", None).path == "/source_connect_links_too"


@pytest.mark.parametrize("create", CREATING)
@pytest.mark.parametrize(
    ("given", "of_the_call", "of_the_connection", "sent"),
    [
        (BODY, "call", None, {**BODY, "group_id": "call"}),
        (BODY, "call", "connection", {**BODY, "group_id": "call"}),
        (BODY, None, "connection", {**BODY, "group_id": "connection"}),
        (BODY, "", "connection", {**BODY, "group_id": "connection"}),
        ({**BODY, "group_id": "body"}, "call", "connection", {**BODY, "group_id": "body"}),
        ({**BODY, "group_id": "body"}, None, None, {**BODY, "group_id": "body"}),
    ],
)
def test_v2_creates_in_a_group(
    create: Any, given: Any, of_the_call: str | None, of_the_connection: str | None, sent: Any
) -> None:
    request = create(given, group_id=of_the_call)
    assert adapt(request, "v2", of_the_connection).json == sent
    assert adapt(request, "v1", of_the_connection).json == given
    assert request.json == given


@pytest.mark.parametrize("create", CREATING)
@pytest.mark.parametrize("body", [BODY, {"activation": BODY}])
def test_a_group_that_nobody_named_is_asked_for(create: Any, body: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"^group_id is needed to create something at /\w+ in API v2"
    ) as caught:
        adapt(create(body), "v2", None)
    for way in ("pass group_id", "connection's extra", "list_sources()"):
        assert way in str(caught.value)
    assert adapt(create(body), "v1", None).json == body


def test_the_group_of_an_activation_is_inside_of_it() -> None:
    body = {"activation": BODY, "more": 1}
    request = endpoints.create_destination(body)
    inner = {**BODY, "group_id": "group"}
    assert adapt(request, "v2", "group").json == {"activation": inner, "more": 1}
    for odd in ({"activation": "x"}, {"activation": None}):
        assert adapt(endpoints.create_destination(odd), "v2", "group").json == {**odd, "group_id": "group"}
    named = {"activation": {**BODY, "group_id": "mine"}}
    assert adapt(endpoints.create_destination(named), "v2", "group").json == named
    assert adapt(endpoints.create_webhook(body), "v2", "group").json == {**body, "group_id": "group"}
    assert body == {"activation": BODY, "more": 1}


@pytest.mark.parametrize(
    "request_",
    [
        endpoints.list_webhooks(),
        endpoints.update_webhook(7, BODY),
        endpoints.delete_webhook(7),
        endpoints.update_destination(15, BODY),
        endpoints.refresh_destination_objects(15),
        endpoints.revoke_destination_connect_link(41),
        endpoints.update_dataset(61, BODY),
        endpoints.create_source(BODY),
        endpoints.create_model(4, BODY),
        endpoints.create_filter_segment(4, BODY),
        endpoints.create_sync({"label": "x"}),
        endpoints.update_sync(52, BODY),
        endpoints.trigger_sync(52, force_full_sync=True),
        endpoints.get_workspace(),
    ],
    ids=str,
)
def test_a_group_is_sent_nowhere_else(request_: Request[Any]) -> None:
    for version in VERSIONS:
        adapted = adapt(request_, version, "group")
        assert adapted.json == request_.json
        assert adapted.params == request_.params
        assert "group" not in adapted.path


def test_all_else_of_a_request_stays() -> None:
    request = endpoints.create_destination(BODY, group_id="group")
    adapted = adapt(request, "v2", None)
    kept = ("method", "parse", "params", "idempotent", "paged", "ids", "group_id", "retry")
    assert [getattr(adapted, name) for name in kept] == [getattr(request, name) for name in kept]
    assert adapt(request, "v1", None) == request


@pytest.mark.parametrize("value", ["snowflake", "1.5", "52abc", "5_2", "0x10"])
def test_ids_are_numbers_in_v1(value: str) -> None:
    request = endpoints.get_model(4, value)
    with pytest.raises(
        ValueError, match=rf"^model_id must be a positive whole number, .* API v1; not '{value}'$"
    ):
        adapt(request, "v1", None)
    assert adapt(request, "v2", None).path == f"/sources/4/models/{value}"


@pytest.mark.parametrize("value", [52, "52", "052", 10**30])
def test_numbers_are_ids_everywhere(value: Any) -> None:
    assert {adapt(endpoints.get_sync(value), version, None).path for version in VERSIONS} == {
        f"/syncs/{value}"
    }


def at(day: str) -> float:
    """A moment in UTC, in seconds since the epoch."""
    return datetime.fromisoformat(f"{day}+00:00").timestamp()


LAST = at("2027-01-14T23:59:59")
OVER = at("2027-01-15T00:00:00")


class SettingsAt(Settings):
    """Those of a connection at a moment."""

    def __init__(self, version: str, now: float) -> None:
        super().__init__("https://census.test", "secret", api_version=version)
        self.__dict__["now"] = now

    @property
    def hints(self) -> Mapping[int, str]:
        """What to say besides an HTTP status, at that moment."""
        return hints(self.api_version, self.__dict__["now"])


def error_text(
    version: str, status: int, body: bytes = b'{"status": "error", "message": "No."}', now: float = LAST
) -> str:
    """What an error of a version's says."""
    with pytest.raises(CensusApiError) as caught:
        responses.parse(endpoints.get_sync(52), HTTPResponse(status, {}, body), SettingsAt(version, now))
    assert caught.value.message in {"No.", "no message"}
    return str(caught.value)


KINDS = {"v1": "API key of a workspace", "v2": "personal access token"}
PLACES = {"v1": "Workspace Settings", "v2": "User Settings"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_names_the_kind_that_is_taken_and_where_to_make_it(
    version: str, status: int
) -> None:
    text = error_text(version, status)
    assert f"HTTP {status}: No (GET /syncs/52); API {version} takes " in text
    assert KINDS[version] in text
    assert PLACES[version] in text
    assert ("app-eu.getcensus.com" in text) == (status == 401)
    assert error_text(version, 200, json.dumps({"status": status}).encode()).count(KINDS[version]) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@pytest.mark.parametrize("body", [b'{"message": "No."}', b""])
def test_after_the_end_of_v1_an_error_says_what_to_do(status: int, body: bytes) -> None:
    assert END_OF_V1 == "2027-01-15"
    for now in (OVER, OVER + 86400 * 365):
        text = error_text("v1", status, body, now)
        assert "Census switched API v1 off on 2027-01-15: make a personal access token" in text
        assert "set api_version to v2" in text
        assert "check the id" not in text
        assert "2027" not in error_text("v2", status, body, now)
    assert "2027" not in error_text("v1", status, body)


def test_what_is_not_there() -> None:
    for version in VERSIONS:
        assert "check the id" in error_text(version, 404)
        assert error_text(version, 410).startswith("HTTP 410: No (")


@pytest.mark.parametrize(
    ("now", "version"),
    [(at("2026-11-26T12:00:00"), "v1"), (LAST, "v1"), (OVER, "v2"), (at("2030-01-01T00:00:00"), "v2")],
)
def test_a_connection_that_names_no_version_has_one_by_the_day(now: float, version: str) -> None:
    assert default_version(now) == version


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        (
            at("2026-11-26T12:00:00"),
            "Census switches API v1 off in 50 days, on 2027-01-15:",
        ),
        (LAST, "Census switches API v1 off tomorrow, on 2027-01-15:"),
        (OVER, "Census switched API v1 off on 2027-01-15:"),
    ],
)
def test_the_notice_of_the_end_is_short_and_says_what_to_do(now: float, begins: str) -> None:
    notice = end_of_v1_notice("x", now)
    assert notice.startswith(f"{begins}")
    assert notice.endswith("a personal access token, and api_version v2.")
    assert len(notice) < 150


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [400, 409, 422, 429, 500, 503])
def test_other_errors_are_left_as_they_are(version: str, status: int) -> None:
    assert error_text(version, status) == f"HTTP {status}: No (GET /syncs/52)."

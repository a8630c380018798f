# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each method of the hook puts on the wire, and what it refuses to put there."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests_mock as mock

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.request import Request
from airflow_provider_census.exceptions import CensusNotFoundError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox

AWKWARD = "a/b c?d#é"
RUN = {"id": 94, "sync_id": 52, "status": "completed"}
PAYLOAD: dict[str, Any] = {
    "operation": "mirror",
    "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
    "mappings": [{"from": "email", "to": "email"}, {"from": {"value": None, "type": "text"}, "to": "é"}],
    "of another time": {"connection_id": 4},
}
FULL: dict[str, Any] = {"force_full_sync": True}

WIRE: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str, dict[str, str], Any, Any, Any]] = [
    # method, arguments, keywords | method and path, query, body | data of the answer, what the caller gets
    (CensusHook.list_sources, (), {}, "GET /sources", {"per_page": "100"}, None, [{"id": 4}], [{"id": 4}]),
    (CensusHook.get_source, (4,), {}, "GET /sources/4", {}, None, {"id": 4}, {"id": 4}),
    (CensusHook.get_source, ("big query",), {}, "GET /sources/big%20query", {}, None, {"id": 4}, {"id": 4}),
    (CensusHook.get_model, ("4", 18), {}, "GET /sources/4/models/18", {}, None, {"id": 18}, {"id": 18}),
    (CensusHook.get_table, ("dwh", "2"), {}, "GET /sources/dwh/tables/2", {}, None, {"id": 2}, {"id": 2}),
    (CensusHook.list_destinations, (), {}, "GET /destinations", {"per_page": "100"}, None, [], []),
    (CensusHook.get_destination, ("braze",), {}, "GET /destinations/braze", {}, None, {"id": 15}, {"id": 15}),
    (
        CensusHook.get_destination_object,
        (14, AWKWARD),
        {},
        "GET /destinations/14/objects/a%2Fb%20c%3Fd%23%C3%A9",
        {},
        None,
        {"full_name": AWKWARD},
        {"full_name": AWKWARD},
    ),
    (
        CensusHook.get_destination_object,
        (14, "../../sources"),
        {},
        "GET /destinations/14/objects/..%2F..%2Fsources",
        {},
        None,
        {"id": 1},
        {"id": 1},
    ),
    (CensusHook.get_sync_run, (94,), {}, "GET /sync_runs/94", {}, None, RUN, RUN),
    (
        CensusHook.list_sync_runs,
        (52,),
        {},
        "GET /syncs/52/sync_runs",
        {"per_page": "100"},
        None,
        [RUN],
        [RUN],
    ),
    (
        CensusHook.list_sync_runs,
        ("52",),
        {"order": "asc", "page": 2, "per_page": 1},
        "GET /syncs/52/sync_runs",
        {"order": "asc", "page": "2", "per_page": "1"},
        None,
        [RUN],
        [RUN],
    ),
    (CensusHook.list_sync_runs, (52,), {"page": 1}, "GET /syncs/52/sync_runs", {"page": "1"}, None, [], []),
    (CensusHook.trigger_sync, (52,), {}, "POST /syncs/52/trigger", {}, None, {"sync_run_id": 94}, 94),
    (
        CensusHook.trigger_sync,
        ("52",),
        FULL,
        "POST /syncs/52/trigger",
        {"force_full_sync": "true"},
        FULL,
        {"sync_run_id": "94"},
        94,
    ),
    (CensusHook.create_sync, (PAYLOAD,), {}, "POST /syncs/create", {}, PAYLOAD, {"sync_id": 4545}, 4545),
    (CensusHook.cancel_sync_run, (94,), {}, "POST /sync_runs/94/cancel", {}, None, {}, None),
]

ID_ARGUMENTS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (endpoints.get_source, {}, "source"),
    (endpoints.get_model, {"model_id": 1}, "source"),
    (endpoints.get_model, {"source": 4}, "model_id"),
    (endpoints.get_table, {"table_id": 1}, "source"),
    (endpoints.get_table, {"source": 4}, "table_id"),
    (endpoints.get_destination, {}, "destination"),
    (endpoints.get_destination_object, {"object_full_name": "user"}, "destination"),
    (endpoints.get_sync_run, {}, "sync_run_id"),
    (endpoints.list_sync_runs, {}, "sync_id"),
    (endpoints.trigger_sync, {}, "sync_id"),
    (endpoints.cancel_sync_run, {}, "sync_run_id"),
]
NO_IDS = [
    None,
    "",
    " ",
    0,
    -1,
    True,
    1.5,
    b"5",
    [5],
    "{{ x }}",
    "{% x %}",
    "0",
    "00",
    "-1",
    "+1",
    " 5",
    "\uff15",
    "²",
]
NO_NUMBERS = ["1.5", "0x10", "5_2", "52abc", "snowflake"]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mocker]:
    """A Census that notes what it is sent, and answers what a test wants."""
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", "census://:secret-token%3At@census.test")
    with mock.Mocker() as census_api:
        yield census_api


@pytest.mark.parametrize(("method", "args", "kwargs", "line", "query", "body", "data", "result"), WIRE)
def test_a_method_sends_what_the_document_says(
    nowhere: mock.Mocker,
    method: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    line: str,
    query: dict[str, str],
    body: Any,
    data: Any,
    result: Any,
) -> None:
    nowhere.register_uri(mock.ANY, mock.ANY, json={"status": "success", "data": data})
    assert method(CensusHook(), *args, **kwargs) == result
    sent = nowhere.request_history[-1]
    target = urlsplit(sent.url)
    assert (target.scheme, target.netloc) == ("https", "census.test")
    assert f"{sent.method} {target.path}" == line.replace(" /", " /api/v1/")
    assert dict(parse_qsl(target.query, strict_parsing=bool(query))) == query
    assert (sent.json() if sent.body else None) == body
    assert sent.headers["Authorization"] == "Bearer secret-token:t"
    assert sent.headers.get("Content-Type") == ("application/json" if body else None)


def test_every_operation_has_its_method_and_its_row() -> None:
    operations = {
        name: function
        for name, function in inspect.getmembers(endpoints, inspect.isfunction)
        if function.__module__ == endpoints.__name__ and not name.startswith("_")
    }
    rows = {row[0].__name__ for row in WIRE}
    lifted = {
        name
        for name, method in vars(CensusHook).items()
        if hasattr(method, "__wrapped__") and callable(method)
    }
    assert set(operations) == rows
    assert lifted == rows - {"trigger_sync"}


def by_worker(request: Request[Any]) -> Any:
    return CensusHook().run(request)


def by_triggerer(request: Request[Any]) -> Any:
    return asyncio.run(CensusHook().arun(request))


@pytest.mark.parametrize("send", [by_worker, by_triggerer])
def test_a_name_arrives_whole_whatever_characters_it_holds(
    census: Sandbox, send: Callable[[Request[Any]], Any]
) -> None:
    found = send(endpoints.get_destination_object("hubspot", AWKWARD))
    assert found["full_name"] == AWKWARD
    assert census.requests == [("GET", "/api/v1/destinations/hubspot/objects/a%2Fb%20c%3Fd%23%C3%A9")]


@pytest.mark.parametrize("send", [by_worker, by_triggerer])
def test_a_name_cannot_leave_its_segment(census: Sandbox, send: Callable[[Request[Any]], Any]) -> None:
    names = ["../../sources", "%2e%2e", "...", "a+b", "~", "a;b=c", "a&b", "\\..", "ü", " user", "x\ny"]
    for name in names:
        with pytest.raises(CensusNotFoundError) as missing:
            send(endpoints.get_destination_object(15, name))
        assert missing.value.message == f"there is no object {name!r}"
    assert len(census.requests) == len(names)


@pytest.mark.parametrize("value", NO_IDS, ids=ascii)
@pytest.mark.parametrize(("operation", "others", "argument"), ID_ARGUMENTS)
def test_what_cannot_be_an_id_is_refused_by_name(
    operation: Callable[..., Request[Any]], others: dict[str, Any], argument: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument} "):
        operation(**others, **{argument: value})


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(("operation", "others", "argument"), ID_ARGUMENTS)
def test_a_slug_will_do_for_sources_and_destinations_only(
    operation: Callable[..., Request[Any]], others: dict[str, Any], argument: str, value: Any
) -> None:
    if argument in {"source", "destination"}:
        assert f"/{value}" in operation(**others, **{argument: value}).path
    else:
        with pytest.raises(ValueError, match=rf"^{argument} "):
            operation(**others, **{argument: value})


@pytest.mark.parametrize("value", [None, "", " ", 5, True, ".", "..", "{{ ti.xcom_pull() }}"])
def test_what_cannot_be_an_object_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^object_full_name "):
        endpoints.get_destination_object(15, value)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": "2"}, "page"),
        ({"page": True}, "page"),
        ({"page": 1.0}, "page"),
        ({"per_page": 0}, "per_page"),
        ({"per_page": 101}, "per_page"),
        ({"per_page": "10"}, "per_page"),
        ({"order": ""}, "order"),
        ({"order": "DESC"}, "order"),
        ({"order": 1}, "order"),
    ],
)
def test_what_cannot_be_a_page_is_refused_by_name(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        endpoints.list_sync_runs(52, **arguments)


@pytest.mark.parametrize("value", [None, 1, "true", "{{ x }}"])
def test_force_full_sync_is_true_or_false(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^force_full_sync "):
        endpoints.trigger_sync(52, force_full_sync=value)


@pytest.mark.parametrize(
    "call",
    [
        lambda hook: hook.get_source(""),
        lambda hook: hook.get_model(4, "{{ x }}"),
        lambda hook: hook.get_destination_object(15, ".."),
        lambda hook: hook.get_sync_run(-1),
        lambda hook: hook.list_sync_runs(52, page=0),
        lambda hook: hook.trigger_sync(None),
        lambda hook: hook.trigger_sync(52, force_full_sync="yes"),
        lambda hook: hook.create_sync({"operation": "copy"}),
        lambda hook: hook.cancel_sync_run(0),
    ],
)
def test_nothing_is_sent_of_what_is_refused(nowhere: mock.Mocker, call: Callable[[CensusHook], Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|unrendered"):
        call(CensusHook())
    assert not nowhere.called

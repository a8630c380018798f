# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Following the pages of a list."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import requests_mock as mock

from airflow_provider_census.api import endpoints, pagination
from airflow_provider_census.api.request import Request, Response
from airflow_provider_census.api.responses import Page
from airflow_provider_census.exceptions import CensusApiError
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

HOST = "https://census.test"
FULL = list(range(100))
MORE = list(range(100, 200))


def body(data: list[int], **rest: Any) -> dict[str, Any]:
    return {"status": "success", "data": data, **rest}


def numbered(data: list[int], page: int | None, next_page: int | None) -> dict[str, Any]:
    return body(data, pagination={"page": page, "next_page": next_page, "per_page": 100})


def bounded(data: list[int], page: int, **bounds: int) -> dict[str, Any]:
    return body(data, pagination={"page": page, "next_page": page + 1, **bounds})


def fetch(request: Request[Any], bodies: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Give the joined list, and the queries that were sent for it."""
    flow = pagination.fetch_all(request, HOST)
    queries = []
    step = next(flow)
    for each in bodies:
        assert isinstance(step, Request)
        queries.append(dict(step.params))
        try:
            step = flow.send(Response(step.parse(each), None))
        except StopIteration as end:
            return end.value, queries
    raise AssertionError(f"{step} is sent once more")


@pytest.mark.parametrize(
    ("bodies", "items", "queries"),
    [
        # one page, and no word of another
        ([body([1, 2])], [1, 2], [{}]),
        ([body([])], [], [{}]),
        ([body(list(range(150)))], list(range(150)), [{}]),
        # numbers of pages
        ([numbered([1], 1, None)], [1], [{}]),
        ([numbered([1], 1, 2), numbered([2], 2, 3), numbered([3], 3, None)], [1, 2, 3], [{}, 2, 3]),
        ([numbered([1], None, 2), numbered([2], None, None)], [1, 2], [{}, 2]),
        ([numbered(FULL, 1, None)], FULL, [{}]),
        ([numbered([], 1, 3), numbered([1], 3, None)], [1], [{}, 3]),
        # addresses of pages
        ([body([1], next=f"{HOST}/api/v1/sources?page=2"), body([2], next=None)], [1, 2], [{}, "2"]),
        ([body([1], next="/api/v1/sources?page=2"), body([2], next="")], [1, 2], [{}, "2"]),
        ([body([1], pagination={"next": "?page=2"}), body([2], next=None)], [1, 2], [{}, "2"]),
        ([body([1], next="?cursor=a"), body([2], next="?cursor=b"), body([3])], [1, 2, 3], None),
        ([body([1], next="?page=x"), body([2], next=None)], [1, 2], None),
        ([body([1], next="?request=x"), body([2], next=None)], [1, 2], None),
        # neither: by number, until a page is short
        ([body(FULL), body([100])], [*FULL, 100], [{}, 2]),
        ([body(FULL), body(MORE), body([])], FULL + MORE, [{}, 2, 3]),
        ([body(FULL), body(FULL)], FULL, [{}, 2]),  # all there is, whatever page is requested
    ],
)
def test_all_pages_are_one_list(bodies: list[Any], items: list[int], queries: list[Any]) -> None:
    joined, sent = fetch(endpoints.list_sources(), bodies)
    assert joined == items
    if queries is None:
        return
    wanted = [{"per_page": 100} if page == {} else {"per_page": 100, "page": page} for page in queries]
    assert sent == wanted


def test_the_query_of_the_caller_stays_on_every_page() -> None:
    request = endpoints.list_sync_runs(52, order="asc", per_page=2)
    assert fetch(request, [body([1, 2]), body([3, 4]), body([5])]) == (
        [1, 2, 3, 4, 5],
        [
            {"order": "asc", "per_page": 2},
            {"order": "asc", "per_page": 2, "page": 2},
            {"order": "asc", "per_page": 2, "page": 3},
        ],
    )


@pytest.mark.parametrize(
    "bodies",
    [
        [body([1], next="https://evil.test/api/v1/sources?page=2")],
        [body([1], next="//evil.test/api/v1/sources?page=2")],
        [body([1], next="https://census.test:444/api/v1/sources?page=2")],
        [body([1], next="https://census.test@evil.test/?page=2")],
        [body([1], next="http://[x")],
        [body([1], next="/api/v1/sources")],
        [body([1], next="/api/v1/sources?per_page=100")],
        [body([1], next="?page=2"), body([2], next="?page=2")],
        [
            body([1], next="?page=2"),
            body([2], next="?page=3"),
            body([3], next="?page=2"),
            body([2], next="?page=3"),
        ],
        [body([1], next="?page=2"), body([2], next="?page=1"), body([1], next="?page=2")],
        [numbered([1], 1, 1)],
        [numbered([1], 1, 2), numbered([2], 2, 1)],
        [numbered([1], 1, 2), numbered([2], 2, 2)],
        [numbered([1], 1, 2), numbered([2], 1, 2)],
        [numbered([1], 1, 2), numbered([1], 2, 3)],
        [numbered([1], 2, 3)],
        [bounded([], 1, last_page=1)],
        [bounded([1], 1, last_page=2), bounded([2], 2, last_page=2)],
        [bounded([1, 2], 1, total_records=2)],
        [bounded([1], 1, total_records=2), bounded([2], 2, total_records=2)],
    ],
)
def test_pages_that_do_not_lead_to_the_end_are_an_error(bodies: list[Any]) -> None:
    with pytest.raises(CensusApiError) as caught:
        fetch(endpoints.list_sources(), bodies)
    assert caught.value.unusable
    assert (caught.value.method, caught.value.path) == ("GET", "/sources")


@pytest.mark.parametrize("items", [0, 1], ids=["empty pages", "full pages"])
def test_a_list_without_an_end_ends(items: int) -> None:
    endless = [bounded([page] * items, page) for page in range(1, pagination.MAX_PAGES + 1)]
    with pytest.raises(CensusApiError, match="there are more than 2000 pages"):
        fetch(endpoints.list_sources(), endless)


def test_a_list_of_as_many_pages_as_are_read_is_read() -> None:
    pages = [bounded([page], page) for page in range(1, pagination.MAX_PAGES)]
    joined, _ = fetch(endpoints.list_sources(), [*pages, numbered([0], pagination.MAX_PAGES, None)])
    assert len(joined) == pagination.MAX_PAGES


@pytest.mark.parametrize("within", [600.0, None])
def test_a_list_is_read_in_time_unless_the_caller_takes_its_own(within: float | None) -> None:
    moments = iter([0.0, 300.0, 600.0, 600.1])
    pages = pagination.Pages(endpoints.list_sources(), HOST, within=within, now=lambda: next(moments))
    read = 0
    with (
        nullcontext()
        if within is None
        else pytest.raises(CensusApiError, match="3 pages took more than 600 s")
    ):
        for page in (1, 2, 3):
            read += len(pages.advance(Page([page], page, next_page=page + 1, numbered=True)))
    assert read == (3 if within is None else 2)


def test_a_page_of_another_host_is_never_requested(census: Sandbox) -> None:
    with mock.Mocker() as api:
        api.get(mock.ANY, json=body([1], next="https://evil.test/api/v1/sources?page=2"))
        with pytest.raises(CensusApiError, match=r"another host, evil\.test"):
            CensusHook().list_sources()
        assert [sent.hostname for sent in api.request_history] == ["127.0.0.1"]


def test_a_page_requested_by_number_is_the_only_one(census: Sandbox) -> None:
    hook = CensusHook()
    for _ in range(3):
        hook.trigger_sync(58)
    everything = hook.list_sync_runs(58, order="asc")
    assert [run["id"] for run in everything] == sorted(run["id"] for run in everything)
    before = len(census.requests)
    assert hook.list_sync_runs(58, order="asc", page=2, per_page=2) == everything[2:4]
    assert len(census.requests) == before + 1
    assert hook.list_sync_runs(58, order="asc", per_page=1) == everything
    assert hook.list_sync_runs(58, order="asc", page=99) == []


def test_a_failed_page_fails_the_list() -> None:
    flow = pagination.fetch_all(endpoints.list_sources(), HOST)
    request = next(flow)
    assert isinstance(request, Request)
    request = flow.send(Response(request.parse(numbered([1], 1, 2)), None))
    gone = CensusApiError("gone", status_code=500, message="gone", method="GET", path="/sources")
    with pytest.raises(CensusApiError) as caught:
        flow.throw(gone)
    assert caught.value is gone

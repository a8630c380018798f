# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox's lists, pages and tokens are those of Census' documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from staging import TOKEN, Caller, call

from airflow_provider_census.sandbox.outcomes import OUTCOMES

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


@pytest.mark.parametrize(
    ("path", "ids"),
    [("/sources", [4, 10]), ("/destinations", [12, 6, 15, 14]), ("/syncs", list(OUTCOMES))],
)
def test_lists_hold_what_the_documentation_lists(census: Caller, path: str, ids: list[int]) -> None:
    assert [item["id"] for item in census.data(path)] == ids


@pytest.mark.parametrize("unlisted", ["data_sources", "objects"])
def test_lists_leave_the_details_to_the_single_answers(census: Caller, unlisted: str) -> None:
    assert not any(unlisted in item for path in ("/sources", "/destinations") for item in census.data(path))


@pytest.mark.parametrize(
    ("by_id", "by_slug"),
    [("/sources/4", "/sources/snowflake-xxxxxxx-us-east-1"), ("/destinations/15", "/destinations/braze")],
)
def test_a_connection_is_found_by_id_and_by_slug(census: Caller, by_id: str, by_slug: str) -> None:
    assert census.data(by_id) == census.data(by_slug)


def test_a_source_holds_its_tables_and_models(census: Caller) -> None:
    entries = census.data("/sources/4")["data_sources"]

    assert [(entry["type"], entry["id"]) for entry in entries] == [
        ("table", 2),
        ("model", 15),
        ("model", 18),
        ("model", 3),
    ]
    assert not any("columns" in entry for entry in entries)


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("/sources/4/models/18", ["ABOUT", "NAME", "COMPANY_ID", "INDUSTRIES"]),
        ("/sources/4/models/15", ["EMAIL", "RANDOM_PROP"]),
        ("/sources/4/models/3", ["EMAIL", "LIST_ID"]),
        ("/sources/snowflake-xxxxxxx-us-east-1/tables/2", ["ABOUT", "CUSTOMER_ID", "NAME", "INDUSTRIES"]),
    ],
)
def test_a_model_or_table_holds_its_columns(census: Caller, path: str, columns: list[str]) -> None:
    assert [column["name"] for column in census.data(path)["columns"]] == columns


def test_an_object_holds_its_fields(census: Caller) -> None:
    fields = census.data("/destinations/braze/objects/user")["fields"]

    assert [field["full_name"] for field in fields] == [
        "first_name",
        "last_name",
        "company",
        "external_id",
        "email",
    ]
    assert [field["full_name"] for field in fields if field["can_be_upsert_key"]] == ["external_id"]
    assert [field["lookup_object"] for field in fields if field["lookup_object"]] == ["company"]


def test_an_object_with_an_awkward_name_is_found_when_all_of_it_is_escaped(census: Caller) -> None:
    name = "a/b c?d#é"

    assert census.data(f"/destinations/hubspot/objects/{quote(name, safe='')}")["full_name"] == name
    assert census.call("GET", f"/destinations/hubspot/objects/{quote(name, safe='/')}").status_code == 404


def test_the_documentations_runs_are_there_newest_first(census: Caller) -> None:
    runs = census.data("/syncs/52/sync_runs")

    assert [(run["id"], run["status"], run["error_code"]) for run in runs] == [
        (94, "completed", None),
        (93, "failed", "JSON_ARRAY_ERROR"),
        (92, "completed", None),
    ]
    assert census.data("/sync_runs/93") == runs[1]


@pytest.mark.parametrize(
    "path",
    [
        "/sources/99",
        "/sources/99/models/18",
        "/sources/10/models/18",
        "/sources/4/models/2",
        "/sources/4/tables/18",
        "/destinations/nobody",
        "/destinations/braze/objects/nobody",
        "/syncs/99",
        "/syncs/99/sync_runs",
        "/sync_runs/1",
        "/sync_runs/abc",
        "/nothing",
        "/sources/",
    ],
)
def test_what_is_not_there_is_answered_with_404_as_a_number(census: Caller, path: str) -> None:
    answer = census.call("GET", path)

    assert (answer.status_code, answer.json()["status"]) == (404, 404)


# Pages


def test_a_list_says_which_page_it_is(census: Caller) -> None:
    assert census.call("GET", "/sources").json()["pagination"] == {
        "total_records": 2,
        "per_page": 25,
        "page": 1,
        "prev_page": None,
        "next_page": None,
        "last_page": 1,
    }


@pytest.mark.parametrize(
    ("page", "ids", "prev_page", "next_page"),
    [(1, [94, 93], None, 2), (2, [92], 1, None), (3, [], None, None)],
)
def test_runs_come_in_pages(
    census: Caller, page: int, ids: list[int], prev_page: int | None, next_page: int | None
) -> None:
    answer = census.call("GET", "/syncs/52/sync_runs", params={"page": page, "per_page": 2}).json()

    assert [run["id"] for run in answer["data"]] == ids
    assert answer["pagination"] == {
        "total_records": 3,
        "per_page": 2,
        "page": page,
        "prev_page": prev_page,
        "next_page": next_page,
        "last_page": 2,
    }


def test_a_list_of_v1_says_where_the_next_page_is(census: Caller) -> None:
    url = f"{census.url}/api/v1/syncs/52/sync_runs?order=asc&per_page=2"
    seen = []
    while url:
        answer = census.session.get(url, timeout=10).json()
        seen += [run["id"] for run in answer["data"]]
        url = answer["next"]

    assert seen == [92, 93, 94]
    assert "next" not in census.through("v2").call("GET", "/syncs").json()


def test_page_0_is_the_first(census: Caller) -> None:
    answer = census.call("GET", "/syncs/52/sync_runs", params={"page": "0", "per_page": 2}).json()

    assert [run["id"] for run in answer["data"]] == [94, 93]
    assert answer["pagination"]["page"] == 1


def test_runs_come_oldest_first_when_asked(census: Caller) -> None:
    assert [run["id"] for run in census.data("/syncs/52/sync_runs", order="asc")] == [92, 93, 94]


def test_a_page_never_holds_more_than_100(census: Caller) -> None:
    for _ in range(101):
        census.trigger(58)

    answer = census.call("GET", "/syncs/58/sync_runs", params={"per_page": 1000}).json()

    assert (len(answer["data"]), answer["pagination"]["per_page"]) == (100, 100)


@pytest.mark.parametrize(
    "wrong",
    [{"per_page": "many"}, {"page": "-1"}, {"page": "9" * 5000}, {"order": "newest"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_page_that_makes_no_sense_is_refused(census: Caller, wrong: dict[str, str]) -> None:
    answer = census.call("GET", "/syncs/52/sync_runs", params=wrong)

    assert (answer.status_code, answer.json()["status"]) == (422, "error")
    assert next(iter(wrong)) in answer.json()["message"]


# The token


@pytest.mark.parametrize(
    ("options", "status_code"),
    [
        ({"headers": {"Authorization": f"Bearer {TOKEN}"}}, 200),
        ({"headers": {"Authorization": f"bearer {TOKEN}"}}, 200),
        ({"auth": ("bearer", TOKEN)}, 200),
        ({"headers": {}}, 401),
        ({"headers": {"Authorization": TOKEN}}, 401),
        ({"headers": {"Authorization": "Bearer sandbox"}}, 401),
        ({"auth": (TOKEN, "")}, 401),
        ({"auth": ("bearer", "sandbox")}, 401),
    ],
)
def test_only_the_token_is_let_in(sandbox: Sandbox, options: dict[str, Any], status_code: int) -> None:
    options = {"headers": {}, **options}
    answer = call(sandbox, "GET", "/api/v1/sources", **options)

    assert answer.status_code == status_code
    if status_code == 401:
        assert answer.json()["status"] == 401
        assert "token" in answer.json()["message"]

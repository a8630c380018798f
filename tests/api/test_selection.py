# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which syncs are selected by what, and what has to be requested for it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_census.api.selection import SyncFilter, Workspace

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request

TABLE = {"type": "table", "table_catalog": "PROD", "table_schema": "MARTS", "table_name": "CUSTOMERS"}
SYNCS: list[Any] = [
    {
        "id": 1,
        "label": "Customers → Braze",
        "paused": False,
        "source_attributes": {"connection_id": 4, "object": TABLE},
        "destination_attributes": {"connection_id": 15, "object": "user"},
    },
    {
        "id": 2,
        "label": "Nightly: contacts",
        "paused": True,
        "source_attributes": {"connection_id": 4, "object": {"type": "table", "id": 7}},
        "destination_attributes": {"connection_id": 16, "object": "Contact"},
    },
    {
        "id": 3,
        "label": None,
        "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
        "destination_attributes": {"connection_slug": "google-ads", "object": "user_data"},
    },
    {
        "id": 4,
        "label": "nightly: leads",
        "paused": False,
        "source_attributes": {"connection_id": 10, "object": {"type": "model", "id": 15, "name": "Leads"}},
        "destination_attributes": {"connection_id": "glimmering_donkey", "object": "Lead"},
    },
    {
        "id": 5,
        "label": "Nightly: all",
        "source_attributes": {"connection_id": 10, "object": {"type": "dataset", "id": 3}},
        "destination_attributes": {"connection_id": 16},
    },
    {"id": 6},
]
WORKSPACE: dict[str, Any] = {
    "/sources": [
        {"id": 4, "slug": "snow", "name": "Snowflake", "label": "Warehouse"},
        {"id": 10, "slug": "bigquery", "name": "BigQuery"},
    ],
    "/destinations": [
        {"id": 15, "slug": "braze", "name": "Braze"},
        {"id": 16, "slug": "crm", "name": "Salesforce - Production"},
        {"id": "glimmering_donkey", "name": "HubSpot"},
    ],
    "/sources/4": {
        "id": 4,
        "data_sources": [
            {"type": "model", "id": 7, "name": "seven"},
            {"type": "table", "id": 7, "table_schema": "marts", "table_name": "contacts"},
        ],
    },
    "/datasets": [{"id": 3, "name": "Everybody"}],
}


def selected(**wanted: Any) -> tuple[list[int], list[str]]:
    """The ids of what is selected, and the paths of what was requested."""
    requested = []

    def run(request: Request[Any]) -> Any:
        requested.append(request.path)
        return WORKSPACE[request.path]

    workspace, criteria = Workspace(run), SyncFilter(**wanted)
    return [sync["id"] for sync in SYNCS if criteria.matches(sync, workspace)], requested


@pytest.mark.parametrize(
    ("wanted", "ids", "paths"),
    [
        ({}, [1, 2, 3, 4, 5, 6], []),
        ({"label": "Nightly: *"}, [2, 5], []),
        ({"label": "[Nn]ightly: *"}, [2, 4, 5], []),
        ({"label": "Customers → Braze"}, [1], []),
        ({"paused": True}, [2], []),
        ({"paused": False}, [1, 3, 4, 5, 6], []),
        ({"table": "CUSTOMERS"}, [1], ["/sources/4"]),
        ({"table": "marts.customers"}, [1], ["/sources/4"]),
        ({"table": "prod.marts.customers"}, [1], ["/sources/4"]),
        ({"table": "dev.marts.customers"}, [], ["/sources/4"]),
        ({"table": "x.prod.marts.customers"}, [], ["/sources/4"]),
        ({"table": "marts.c*"}, [1, 2], ["/sources/4"]),
        ({"table": "contacts"}, [2], ["/sources/4"]),
        ({"table": "seven"}, [], ["/sources/4"]),
        ({"model": "test_ads"}, [3], []),
        ({"model": "leads"}, [4], []),
        ({"dataset": "every*"}, [5], ["/datasets"]),
        ({"source": 4}, [1, 2], ["/sources"]),
        ({"source": "4", "label": "C*"}, [1], []),
        ({"source": "bigquery"}, [3, 4, 5], ["/sources"]),
        ({"source": "Warehouse", "paused": True}, [2], ["/sources"]),
        ({"source": "no such"}, [], ["/sources"]),
        ({"destination": "google-ads"}, [3], ["/destinations"]),
        ({"destination": "Salesforce - Production"}, [2, 5], ["/destinations"]),
        ({"destination": "glimmering_donkey", "label": "nightly*"}, [4], []),
        ({"destination": "HubSpot"}, [4], ["/destinations"]),
    ],
    ids=str,
)
def test_a_sync_is_selected_by_what_it_says_or_refers_to(
    wanted: dict[str, Any], ids: list[int], paths: list[str]
) -> None:
    assert selected(**wanted) == (ids, paths)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"table": "a", "model": "b"}, "only one of table and model"),
        ({"table": ""}, "table must be a non-empty string, not ''"),
        ({"label": True}, "label must be a non-empty string, not True"),
        ({"source": 0}, "source must be an id .* or a slug .* not 0"),
        ({"destination": True}, "destination must be"),
        ({"paused": "yes"}, "paused must be True or False, not 'yes'"),
        ({"table": "{{ params.table }}"}, "table is the unrendered template"),
    ],
)
def test_what_cannot_be_wanted_is_refused(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SyncFilter(**wanted)


def test_a_filter_says_what_it_is() -> None:
    assert str(SyncFilter(table="marts.*", paused=False)) == "table='marts.*', paused=False"
    assert str(SyncFilter()) == "anything"


class Source(int, Enum):  # whose text is no number
    WAREHOUSE = 4


@pytest.mark.parametrize(
    "wanted", [{"label": 2024}, {"table": 2024}, {"source": 4.0}, {"source": Source.WAREHOUSE}], ids=str
)
def test_values_of_neighbouring_types_count(wanted: dict[str, Any]) -> None:
    read = {"connection_id": 4, "object": {"type": "table", "table_name": "2024"}}
    sync: Any = {"id": 1, "label": "2024", "source_attributes": read}
    workspace = Workspace(lambda request: [])
    assert SyncFilter(**wanted).matches(sync, workspace)
    other: Any = {"id": 2, "label": "2025", "source_attributes": {}}
    assert not SyncFilter(**wanted).matches(other, workspace)

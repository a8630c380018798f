# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the sandbox's Census holds when it starts.

Sources, destinations, syncs and runs are the JSON of Census' own API documentation, where nothing else is
said; of the rest there is a sample each, with the few properties that are known.
"""

from __future__ import annotations

from typing import Any

GROUP_ID = "wandering_aimlessly"
"""The Fivetran group of everything in the sandbox, in the terms of API v2."""

# A source's tables, models and filter segments are collections of their own; `GET /sources/{id}` shows
# the first two as `data_sources`, without their columns.
SOURCES: list[dict[str, Any]] = [
    {
        "id": 4,
        "slug": "snowflake-xxxxxxx-us-east-1",
        "type": "snowflake",
        "name": "Snowflake - xxxxxxx.us-east-1",
        "label": None,
        "last_test_succeeded": None,
        "last_tested_at": None,
        "credentials": {
            "account": "xxxxxxx.us-east-1",
            "user": "DEV",
            "warehouse": "TEST",
            "use_keypair": False,
        },
        "read_only_connection": False,
        "tables": [
            {
                "type": "table",
                "id": 2,
                "table_catalog": "public",
                "table_schema": "development",
                "table_name": "test",
                "columns": [
                    {"name": "ABOUT", "type": "text (2000)"},
                    {"name": "CUSTOMER_ID", "type": "text (2000)"},
                    {"name": "NAME", "type": "text (2000)"},
                    {"name": "INDUSTRIES", "type": "array"},
                ],
            },
        ],
        "models": [
            {
                "type": "model",
                "id": 15,
                "name": "braze_test",
                "created_at": "2021-10-11T20:52:58.293Z",
                "updated_at": "2021-10-14T23:15:18.508Z",
                "query": "select cast('test@getcensus.com' as VARCHAR(2000)) as email, "
                "cast('HAAAA' as VARCHAR(2000)) as random_prop",
                "columns": [
                    {"name": "EMAIL", "type": "text (2000)"},
                    {"name": "RANDOM_PROP", "type": "text (2000)"},
                ],
            },
            {
                "type": "model",
                "id": 18,
                "name": "airtable_test",
                "created_at": "2021-10-20T02:43:07.120Z",
                "updated_at": "2021-10-20T02:50:35.477Z",
                # As `GET .../models/18` has it; in `GET /sources/4` the documentation selects a `users` more.
                "query": "select cast('test1' as VARCHAR(2000)) as company_id, "
                "cast('company0' as VARCHAR(2000)) as name, cast('test0' as VARCHAR(2000)) as about, "
                "array_construct(cast('newindustry' as VARCHAR(2000))) as industries\n",
                "columns": [
                    {"name": "ABOUT", "type": "text (2000)"},
                    {"name": "NAME", "type": "text (2000)"},
                    {"name": "COMPANY_ID", "type": "text (2000)"},
                    {"name": "INDUSTRIES", "type": "array"},
                ],
            },
            {
                "type": "model",
                "id": 3,
                "name": "google_ads_test",
                "created_at": "2021-10-06T21:26:44.206Z",
                "updated_at": "2021-10-06T21:39:32.914Z",
                "query": "select cast('test@getcensus.com' as VARCHAR(2000)) as email, "
                "array_construct(cast('audience_v1' as VARCHAR(2000))) as list_id\n",
                "columns": [
                    {"name": "EMAIL", "type": "text (2000)"},
                    {"name": "LIST_ID", "type": "array"},
                ],
            },
        ],
        "filter_segments": [
            {"id": 31, "name": "New customers", "created_at": "2021-10-12T09:00:00.000Z"},
        ],
    },
    {
        "id": 10,
        "slug": "bigquery-development",
        "type": "big_query",
        "name": "BigQuery - Development",
        "label": "BigQuery",
        "last_test_succeeded": True,
        "last_tested_at": "2021-10-07T20:02:19.544Z",
        "credentials": {
            "project_id": "development",
            "location": "US",
            "service_account": "xxxxxx.iam.gserviceaccount.com",
            "location_editable": False,
        },
        "read_only_connection": False,
        "tables": [],
        "models": [],
        "filter_segments": [],
    },
]


def _field(
    label: str, full_name: str, *, key: bool = False, lookup_object: str | None = None
) -> dict[str, Any]:
    return {
        "label": label,
        "full_name": full_name,
        "polymorphic": False,
        "createable": True,
        "updateable": True,
        "operations": [],
        "array": False,
        "preserve_values_supported": False,
        "required_for_mapping": False,
        "can_be_upsert_key": key,
        "can_be_update_key": key,
        "can_be_insert_key": key,
        "can_be_reference_key": key,
        "lookup_object": lookup_object,
    }


USER: dict[str, Any] = {
    "label": "User",
    "full_name": "user",
    "allow_custom_fields": True,
    "allow_case_sensitive_field_names": True,
    "fields": [
        _field("First Name", "first_name"),
        _field("Last Name", "last_name"),
        _field("Company", "company", lookup_object="company"),
        _field("External User ID", "external_id", key=True),
        _field("Email", "email"),
    ],
}
EVENT: dict[str, Any] = {
    "label": "Event",
    "full_name": "event",
    "allow_custom_fields": True,
    "allow_case_sensitive_field_names": True,
    "fields": [],
}
# Not of the documentation: a name that only arrives whole when every character of it is escaped.
AWKWARDLY_NAMED: dict[str, Any] = {
    "label": "Awkwardly named",
    "full_name": "a/b c?d#é",
    "allow_custom_fields": False,
    "allow_case_sensitive_field_names": False,
    "fields": [],
}

_TESTED: dict[str, Any] = {
    "created_at": "2021-10-06T21:00:00.000Z",
    "last_test_succeeded": True,
    "last_tested_at": "2021-10-07T20:02:19.544Z",
}

DESTINATIONS: list[dict[str, Any]] = [
    {
        "id": 12,
        "slug": "google-sheets",
        "type": "google_sheets",
        **_TESTED,
        "name": "Google Sheets",
        "credentials": {"service_account_email": "xxxxxxx.iam.gserviceaccount.com"},
        "objects": [],
    },
    {
        "id": 6,
        "slug": "google-ads-dev",
        "type": "google_ads",
        **_TESTED,
        "name": "Google Ads Dev",
        "credentials": {"account_id": 7515011393, "account_name": "Manager Account Test"},
        "objects": [],
    },
    {
        "id": 15,
        "slug": "braze",
        "type": "braze",
        **_TESTED,
        "name": "Braze",
        "credentials": {"instance_url": "https://rest.iad-03.braze.com"},
        "objects": [USER, EVENT],
    },
    {
        "id": 14,
        "slug": "hubspot",
        "type": "hubspot",
        **_TESTED,
        "name": "HubSpot",
        "credentials": {},
        "objects": [AWKWARDLY_NAMED],
    },
]

# What API v2 calls the destinations.
ACTIVATION_IDS: dict[int, str] = {
    12: "patient_heron",
    6: "crimson_walnut",
    15: "glimmering_donkey",
    14: "humming_lantern",
}

CONNECTORS: list[dict[str, Any]] = [
    {"service_name": "braze", "label": "Braze"},
    {"service_name": "google_ads", "label": "Google Ads"},
    {"service_name": "google_sheets", "label": "Google Sheets"},
    {"service_name": "hubspot", "label": "HubSpot"},
]
DESTINATION_CONNECT_LINKS: list[dict[str, Any]] = [
    {
        "id": 41,
        "type": "hubspot",
        "uri": "https://census.example/connect/41",
        "expiration": "2021-11-12T09:00:00.000Z",
        "revoked": False,
        "created_at": "2021-10-12T09:00:00.000Z",
    },
]
DATASETS: list[dict[str, Any]] = [
    {"id": 61, "name": "Customers", "type": "sql", "created_at": "2021-10-12T09:00:00.000Z"},
]
WEBHOOKS: list[dict[str, Any]] = [
    {"id": 71, "name": "Alerts", "created_at": "2021-10-12T09:00:00.000Z"},
]
WORKSPACE: dict[str, Any] = {"id": 1, "name": "Sandbox", "created_at": "2021-10-06T21:00:00.000Z"}

# The documentation's example of a body to create a sync names two connections that its lists do not have.
UNLISTED_CONNECTION_SLUGS = ("bigquery", "google-ads")

SYNC_DEFAULTS: dict[str, Any] = {
    "label": None,
    "resource_identifier": "braze-test-to-braze-user",
    "schedule_frequency": "never",
    "schedule_day": None,
    "schedule_hour": None,
    "schedule_minute": None,
    "paused": False,
    "status": "Ready",
    "trigger_on_dbt_cloud_rebuild": False,
}

SYNC_TO_BRAZE: dict[str, Any] = {
    **SYNC_DEFAULTS,
    "created_at": "2021-10-20T02:43:52.105Z",
    "updated_at": "2021-10-20T02:51:04.318Z",
    "operation": "upsert",
    "source_attributes": {
        "connection_id": 4,
        "object": {
            "type": "model",
            "id": 15,
            "name": "braze_test",
            "created_at": "2021-10-11T20:52:58.293Z",
            "updated_at": "2021-10-14T23:15:18.508Z",
            "query": SOURCES[0]["models"][0]["query"],
        },
    },
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "mappings": [
        {
            "from": {"type": "column", "data": "EMAIL"},
            "to": "external_id",
            "is_primary_identifier": True,
            "generate_field": False,
            "preserve_values": False,
            "operation": None,
        },
    ],
}

SYNCS: list[dict[str, Any]] = [
    {"id": sync_id, **SYNC_TO_BRAZE, "label": label}
    for sync_id, label in {
        52: "Completes",
        53: "Fails",
        54: "Always skipped",
        55: "Rejected records",
        56: "Canceled halfway",
        57: "Runs long",
        58: "Completes at once",
    }.items()
]
FIRST_NEW_ID = 4545
FIRST_SYNC_RUN_ID = 1234567890
FIRST_REFRESH_KEY = 1647978948

# The order in which a run goes through them.
STEPS = (
    "Checking for columns to remove from the sync",
    "Checking for fields to create in destination",
    "Checking source and destination configuration",
    "Unloading data from warehouse",
    "Loading data into destination service",
    "Committing data to destination service",
    "Committing sync to warehouse",
    "Running sync",
)

NO_ERROR: dict[str, str | None] = {"error_code": None, "error_message": None, "error_detail": None}

_JSON_ARRAY_DETAIL = (
    'Please make sure the field "custom_field:Users" with value "jim" is formatted as a JSON Array. '
    "Don't hesitate to reach out to the Census Support Team if you need help with this."
)
JSON_ARRAY_ERROR: dict[str, str | None] = {
    "error_code": "JSON_ARRAY_ERROR",
    "error_message": f"The array field being used does not appear to be valid JSON: {_JSON_ARRAY_DETAIL}",
    "error_detail": _JSON_ARRAY_DETAIL,
}

# Why a destination rejects records.
REASONS = (
    "INVALID_EMAIL: the e-mail address is not valid",
    "INVALID_EMAIL: the e-mail address is not valid",
    'CONTACT_EXISTS: another contact has the phone number "+1-555-0100"',
)

# Why a run was started, as `sync_trigger_reason` tells it.
THROUGH_THE_API: dict[str, str] = {
    "ui_tag": "API",
    "ui_detail": "Triggered through the API of the sandbox",
}
_MANUALLY: dict[str, str] = {
    "ui_tag": "Manual",
    "ui_detail": "Manually triggered by test@getcensus.com",
}

# Oldest first.
SYNC_RUNS: list[dict[str, Any]] = [
    {
        "id": 92,
        "sync_id": 52,
        "source_record_count": 1,
        "records_processed": 1,
        "records_updated": 1,
        "records_failed": 0,
        "records_invalid": 0,
        "created_at": "2021-10-20T02:44:35.381Z",
        "updated_at": "2021-10-20T02:45:55.949Z",
        "completed_at": "2021-10-20T02:45:55.947Z",
        "scheduled_execution_time": None,
        **NO_ERROR,
        "status": "completed",
        "canceled": False,
        "full_sync": True,
        "sync_trigger_reason": _MANUALLY,
    },
    {
        "id": 93,
        "sync_id": 52,
        "source_record_count": 1,
        "records_processed": None,
        "records_updated": None,
        "records_failed": None,
        "records_invalid": 0,
        "created_at": "2021-10-20T02:48:40.373Z",
        "updated_at": "2021-10-20T02:49:53.430Z",
        "completed_at": None,
        "scheduled_execution_time": None,
        **JSON_ARRAY_ERROR,
        "status": "failed",
        "current_step": "Running sync",
        "canceled": False,
        "full_sync": True,
        "sync_trigger_reason": _MANUALLY,
    },
    {
        "id": 94,
        "sync_id": 52,
        "source_record_count": 1,
        "records_processed": 1,
        "records_updated": 1,
        "records_failed": 0,
        "records_invalid": 0,
        "created_at": "2021-10-20T02:51:07.546Z",
        "updated_at": "2021-10-20T02:52:29.236Z",
        "completed_at": "2021-10-20T02:52:29.234Z",
        "scheduled_execution_time": None,
        **NO_ERROR,
        "status": "completed",
        "canceled": False,
        "full_sync": True,
        "sync_trigger_reason": _MANUALLY,
    },
]

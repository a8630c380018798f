# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What Airflow reads of this provider without importing the rest of it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from airflow_provider_census.api.versions import DEFAULT_VERSION, END_OF_V1, VERSIONS

REPOSITORY = "https://github.com/airflow-provider-census/airflow-provider-census"
"""Where the provider lives. It also stands in pyproject.toml and SECURITY.md; a test compares them."""

INTEGRATION = "Census"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-census",
        "name": "Census",
        "description": (
            "Start and watch the syncs of `Census <https://www.getcensus.com>`__ "
            "(Fivetran Activations), which copy warehouse data into business tools."
        ),
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://developers.getcensus.com",
                "logo": f"{REPOSITORY}/raw/main/docs/images/logo.svg",
                "how-to-guide": [
                    f"{REPOSITORY}/blob/main/docs/{page}.md" for page in ("operators", "sensors", "triggers")
                ],
                "tags": ["service"],
            }
        ],
        "hooks": [_modules("airflow_provider_census.hooks.census")],
        "operators": [_modules("airflow_provider_census.operators.census")],
        "sensors": [
            _modules("airflow_provider_census.sensors.census", "airflow_provider_census.sensors.census_sync")
        ],
        "triggers": [
            _modules(
                "airflow_provider_census.triggers.census",
                "airflow_provider_census.triggers.census_sync",
                "airflow_provider_census.triggers.events",
            )
        ],
        "extra-links": ["airflow_provider_census.links.census.CensusSyncRunLink"],
        "asset-uris": ASSET_URIS,
        "dataset-uris": ASSET_URIS,  # what Airflow 2 calls them
        "cli": ["airflow_provider_census.cli.get_census_cli_commands"],
        "connection-types": [
            {
                "connection-type": "census",
                "hook-class-name": "airflow_provider_census.hooks.census.CensusHook",
                "hook-name": "Census",
                "conn-fields": CONN_FIELDS,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            }
        ],
    }


def _modules(*python_modules: str) -> dict[str, Any]:
    return {"integration-name": INTEGRATION, "python-modules": list(python_modules)}


ASSET_URIS = [
    {
        "schemes": ["census"],
        "handler": "airflow_provider_census.assets.census.sanitize_uri",
        "factory": "airflow_provider_census.assets.census.sync_asset",
        "to_openlineage_converter": "airflow_provider_census.assets.census.to_openlineage",
    }
]

CONN_FIELDS: dict[str, Any] = {
    "timeout": {
        "label": "Request timeout",
        "description": "Seconds that one request to Census may take. Default: 60.",
        "schema": {"type": ["integer", "null"], "default": 60, "minimum": 1},
    },
    "attempts": {
        "label": "Attempts",
        "description": "How often a request is sent at most, if it fails in a way that may pass. Default: 5.",
        "schema": {"type": ["integer", "null"], "default": 5, "minimum": 1},
    },
    "api_version": {
        "label": "API version",
        "description": (
            f"v2 takes a personal access token; v1, until {END_OF_V1}, the API key of a workspace. "
            "If empty: v1, and v2 from that day on."
        ),
        "schema": {"type": ["string", "null"], "default": DEFAULT_VERSION, "enum": list(VERSIONS)},
    },
    "group_id": {
        "label": "Fivetran group",
        "description": "Id of the group in which API v2 creates things; not needed to run syncs.",
        "schema": {"type": ["string", "null"], "default": None},
    },
    "max_requests_per_minute": {
        "label": "Requests per minute",
        "description": "How many requests a triggerer sends at most. Default: any number.",
        "schema": {"type": ["integer", "null"], "default": None, "minimum": 1},
    },
}
"""The extra fields of the connection form."""

TEST_NEEDS_PORT = {"3.3.1", "3.3.2"}
"""The Airflows whose *Test* button works only if the connection has a port (apache/airflow#73298)."""

SHOWS_PORT = version("apache-airflow") in TEST_NEEDS_PORT

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"] if SHOWS_PORT else ["login", "port", "schema"],
    "relabeling": {"host": "Census host", "password": "API token"},
    "placeholders": {
        **({"port": "443; this Airflow needs it for the Test button"} if SHOWS_PORT else {}),
        "host": "app.getcensus.com (US, the default) or app-eu.getcensus.com (EU)",
        "password": "personal access token; for API v1, the key of a workspace",
    },
}
"""What the connection form does with the fields that every connection has."""

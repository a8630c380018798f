# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The asset of a sync and its URI, also as Airflow itself takes it to its one form."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_census.assets.census import sanitize_uri, sync_asset

CANONICAL = "census://app.getcensus.com/syncs/52"


@pytest.mark.parametrize(
    ("arguments", "uri"),
    [
        ({"sync_id": 52}, CANONICAL),
        ({"sync_id": "52"}, CANONICAL),
        ({"sync_id": "0052"}, CANONICAL),
        ({"sync_id": 52, "host": "App.GetCensus.com:443"}, CANONICAL),
        ({"sync_id": 52, "host": "app-eu.getcensus.com"}, "census://app-eu.getcensus.com/syncs/52"),
        ({"sync_id": 52, "host": "127.0.0.1:8765"}, "census://127.0.0.1:8765/syncs/52"),
        ({"sync_id": 52, "host": "[::1]:8765"}, "census://[::1]:8765/syncs/52"),
        ({"sync_id": "some_word"}, "census://app.getcensus.com/syncs/some_word"),
    ],
    ids=str,
)
def test_a_sync_has_one_uri(arguments: dict[str, Any], uri: str) -> None:
    asset = sync_asset(**arguments)
    assert asset.uri == uri
    assert asset == Asset(uri=uri)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sync_id": 0},
        {"sync_id": None},
        {"sync_id": "{{ params.sync }}"},
        {"sync_id": 52, "host": ""},
        {"sync_id": 52, "host": "secret-token:abc"},
        {"sync_id": 52, "host": "secret-token:abc@app.getcensus.com"},
        {"sync_id": 52, "host": "app.getcensus.com/api"},
        {"sync_id": 52, "host": "https://app.getcensus.com"},
        {"sync_id": 52, "host": "app getcensus com"},
    ],
    ids=str,
)
def test_what_cannot_be_one_is_told_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sync") as raised:
        sync_asset(**arguments)
    assert "abc" not in str(raised.value)


@pytest.mark.parametrize(
    "written",
    [
        CANONICAL,
        CANONICAL + "/",
        CANONICAL + "#part",
        "CENSUS://App.GetCensus.com/syncs/52",
        "census://app.getcensus.com:443/syncs/52",
        "census://app.getcensus.com/syncs/0052",
    ],
)
def test_airflow_takes_a_uri_to_its_one_form(written: str) -> None:
    assert Asset(uri=written).uri == CANONICAL


WRONG = [
    "census://app.getcensus.com",
    "census://app.getcensus.com/syncs",
    "census://app.getcensus.com/syncs/",
    "census://app.getcensus.com/syncs/000",
    "census://app.getcensus.com/sources/52",
    "census://app.getcensus.com/syncs/52/history",
    "census://app.getcensus.com//syncs/52",
    "census://app.getcensus.com/syncs/52?full=true",
    "census://app.getcensus.com:x/syncs/52",
    "census:///syncs/52",
    "census://secret-token@app.getcensus.com/syncs/52",
    "census://user:secret-token@app.getcensus.com/syncs/52",
]


@pytest.mark.parametrize("written", WRONG)
def test_a_uri_of_no_sync_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="URI") as raised:
        sanitize_uri(urlsplit(written))
    assert "secret-token" not in str(raised.value)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 only warns of it")
@pytest.mark.parametrize("written", [written for written in WRONG if "@" not in written])
def test_airflow_refuses_it_too(written: str) -> None:
    with pytest.raises(ValueError, match="URI"):
        Asset(uri=written)


def test_its_one_form_stays_as_it_is() -> None:
    once = sanitize_uri(urlsplit("census://[::1]:8765/syncs/052"))
    assert sanitize_uri(once) == once == urlsplit(urlunsplit(once))


def test_what_else_an_asset_takes_is_passed_on() -> None:
    more = {"extra": {"team": "growth"}, **({"name": "users", "group": "crm"} if AIRFLOW_V_3_0_PLUS else {})}
    asset = sync_asset(52, **more)  # type: ignore[arg-type]
    assert {name: getattr(asset, name) for name in more} == more


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no asset watchers")
def test_a_trigger_can_watch_it() -> None:
    from airflow.sdk import AssetWatcher

    from airflow_provider_census.triggers.events import CensusSyncRunEventTrigger

    watcher = AssetWatcher(name="runs", trigger=CensusSyncRunEventTrigger(52))
    assert sync_asset(52, watchers=[watcher]).watchers == [watcher]

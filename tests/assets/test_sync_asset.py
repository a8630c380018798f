# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The asset of a sync and its URI, also as Airflow itself takes it to its one form."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.providers_manager import ProvidersManager

from airflow_provider_census.api.sync_runs import summary
from airflow_provider_census.assets.census import (
    sanitize_uri,
    sync_asset,
    sync_run_of,
    to_openlineage,
    watched_sync_asset,
)

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


NEEDS_WATCHERS = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no asset watchers")


@NEEDS_WATCHERS
def test_a_trigger_can_watch_it() -> None:
    from airflow.sdk import AssetWatcher

    from airflow_provider_census.triggers.events import CensusSyncRunEventTrigger

    watcher = AssetWatcher(name="runs", trigger=CensusSyncRunEventTrigger(52))
    assert sync_asset(52, watchers=[watcher]).watchers == [watcher]


@NEEDS_WATCHERS
def test_a_watched_asset_is_the_asset_with_its_trigger() -> None:
    options: dict[str, Any] = {"census_conn_id": "census_eu", "include_failed": True, "poll_interval": 60.0}
    asset = watched_sync_asset(
        "052", host="app-eu.getcensus.com", since="2026-01-01T00:00:00+00:00", name="users", **options
    )
    assert (asset.name, asset.uri) == ("users", "census://app-eu.getcensus.com/syncs/52")
    [watcher] = asset.watchers
    path, arguments = watcher.trigger.serialize()
    assert path.endswith(".CensusSyncRunEventTrigger")
    assert arguments == {"sync_id": 52, "since": "2026-01-01T00:00:00+00:00", **options}
    assert watcher.name == "census_sync_52"


@NEEDS_WATCHERS
@pytest.mark.parametrize("wrong", [{"sync_id": 0}, {"host": ""}, {"since": "soon"}, {"poll_interval": -1}])
def test_a_watched_asset_refuses_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sync|since|poll_interval"):
        watched_sync_asset(**{"sync_id": 52, **wrong})


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 has asset watchers")
def test_airflow_2_watches_nothing() -> None:
    with pytest.raises(RuntimeError, match="needs Airflow 3"):
        watched_sync_asset(52)


RUN = summary({"id": 94, "sync_id": 52, "status": "completed", "records_updated": 7}, "https://see")


@pytest.mark.parametrize(
    "extra",
    [{"from_trigger": True, "payload": RUN}, RUN, {"team": "growth", **RUN}],
    ids=["watcher", "task", "more"],
)
def test_the_run_of_an_event_whoever_made_it(extra: dict[str, Any]) -> None:
    run = sync_run_of(SimpleNamespace(extra=extra))
    assert {key: run[key] for key in RUN} == RUN


@pytest.mark.parametrize(
    "extra", [None, {}, {"from_rest_api": True}, {"payload": "what another trigger said"}]
)
def test_an_event_that_is_about_no_run(extra: Any) -> None:
    with pytest.raises(ValueError, match="no Census sync run"):
        sync_run_of(SimpleNamespace(extra=extra))


@pytest.mark.filterwarnings("ignore:ProvidersManager")
def test_airflow_makes_and_converts_the_asset_by_its_scheme() -> None:
    manager, kind = ProvidersManager(), "asset" if AIRFLOW_V_3_0_PLUS else "dataset"
    factories = getattr(manager, f"{kind}_factories")
    convert = getattr(manager, f"{kind}_to_openlineage_converters")["census"]
    made = factories["census"](sync_id=52, host="app-eu.getcensus.com", extra=None)
    assert made.uri == "census://app-eu.getcensus.com/syncs/52"
    assert convert is to_openlineage
    dataset = convert(made, None)
    assert (dataset.namespace, dataset.name) == ("census://app-eu.getcensus.com", "syncs/52")


DAG_FILE = """
from airflow.sdk import DAG
from airflow_provider_census.assets.census import {make}

with DAG("{name}", schedule=[{make}(52)]):
    pass
"""


@NEEDS_WATCHERS
def test_the_trigger_stays_while_two_files_are_parsed(airflow_db: str, tmp_path: Path) -> None:
    """A real DAG processor parses both files again and again; a trigger that was made anew has another id."""
    home = tmp_path / "airflow"
    home.mkdir()
    copy = sqlite3.connect(home / "airflow.db")
    with closing(sqlite3.connect(f"{airflow_db}/airflow.db")) as source:
        source.backup(copy)
    with copy:
        copy.execute("DELETE FROM trigger")  # those of other tests
    (tmp_path / "dags").mkdir()
    for name in ("one", "other"):
        text = DAG_FILE.format(make="watched_sync_asset", name=name)
        (tmp_path / "dags" / f"{name}.py").write_text(text)
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }
    airflow = Path(sys.executable).parent / "airflow"
    ids = []
    for runs in ("2", "3"):
        done = subprocess.run(
            [airflow, "dag-processor", "--num-runs", runs],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ids.append(copy.execute("SELECT id FROM trigger").fetchall())
    copy.close()
    assert len(ids[0]) == 1
    assert ids[0] == ids[1]


def test_what_a_user_calls_payload_hides_no_run() -> None:
    event = SimpleNamespace(extra={**RUN, "payload": "mine"})
    assert sync_run_of(event)["sync_run_id"] == 94

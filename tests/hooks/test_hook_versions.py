# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Which version of the API a hook speaks, and what it says of the end of v1."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.versions import end_of_v1_notice
from airflow_provider_census.exceptions import CensusAuthError
from airflow_provider_census.hooks import census as hooks
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, token: str, **extra: Any) -> None:
    conn = {"conn_type": "census", "host": sandbox.url, "password": token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What hooks warn of in the log, in a process that has reported nothing yet."""
    lines: list[str] = []

    class Log:
        def warning(self, message: str, *values: Any) -> None:
            lines.append(message % values)

        debug = info = lambda *_: None

    monkeypatch.setattr(hooks, "NOTIFIED", set())
    monkeypatch.setattr(CensusHook, "log", Log())
    return lines


def test_the_end_of_v1_is_reported_once_for_each_connection_of_a_process(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    for name in ("CENSUS_DEFAULT", "ANOTHER"):
        fields = {"conn_type": "census", "host": census.url, "password": census.token}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({**fields, "extra": {"api_version": "v1"}}))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert logged == []
        for name in ("census_default", "another", "census_default"):
            CensusHook(name).list_sources()
            asyncio.run(CensusHook(name).arun(endpoints.get_source(4)))
    assert logged == [end_of_v1_notice("census_default"), end_of_v1_notice("another")]
    assert not [warning for warning in seen if "Census" in str(warning.message)]


@pytest.mark.parametrize("overridden", [False, True])
def test_v2_has_no_end(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, logged: list[str], overridden: bool
) -> None:
    named = "v1" if overridden else "v2"
    connect(monkeypatch, census, census.personal_access_token, api_version=named)
    CensusHook(api_version="v2" if overridden else None).list_sources()
    asyncio.run(CensusHook(api_version="v2").arun(endpoints.get_source(4)))
    assert logged == []


def test_a_process_of_its_own_reports_it_anew(census: Sandbox) -> None:
    script = (
        "from airflow_provider_census.hooks.census import CensusHook\n"
        "for _ in range(3): CensusHook(api_version='v1').list_sources()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    notice = end_of_v1_notice("census_default", time.time())  # of today, as that process has no other day
    assert (done.stdout + done.stderr).count(notice) == 1


@pytest.mark.parametrize(
    ("of_the_connection", "of_the_hook", "root"),
    [
        (None, None, "v1"),
        ("v1", None, "v1"),
        ("v2", None, "v2"),
        (None, "v2", "v2"),
        ("v1", "v2", "v2"),
        ("v2", "v1", "v1"),
    ],
)
def test_the_version_of_the_hook_counts_before_the_one_of_the_connection(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, of_the_connection: Any, of_the_hook: Any, root: str
) -> None:
    token = census.token if root == "v1" else census.personal_access_token
    connect(monkeypatch, census, token, api_version=of_the_connection)
    CensusHook(api_version=of_the_hook).list_destinations()
    hook = CensusHook("census_default", of_the_hook)
    asyncio.run(hook.arun(endpoints.list_destinations()))
    path = {"v1": "/api/v1/destinations", "v2": "/api/v2/activations"}[root]
    assert census.requests == [("GET", path)] * 2
    assert hook.test_connection()[0] is True


@pytest.mark.parametrize("version", ["v3", "", "V2", 2, "2", []])
def test_a_version_that_nobody_speaks_is_refused_by_name(version: Any) -> None:
    with pytest.raises(ValueError, match=r"^api_version must be one of 'v1', 'v2', not ") as refused:
        CensusHook(api_version=version)
    assert repr(version) in str(refused.value)


@pytest.mark.parametrize(
    ("version", "other", "kind", "place"),
    [
        ("v1", "personal_access_token", "API key of a workspace", "Workspace Settings"),
        ("v2", "token", "Activations personal access token", "User Settings"),
    ],
)
def test_the_token_of_the_other_version_is_rejected_with_advice(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, version: str, other: str, kind: str, place: str
) -> None:
    connect(monkeypatch, census, getattr(census, other), api_version=version)
    with pytest.raises(CensusAuthError, match=f"API {version} takes .*{kind}.*{place}"):
        CensusHook().list_sources()
    with pytest.raises(CensusAuthError, match=f"API {version} takes .*{kind}.*{place}"):
        asyncio.run(CensusHook().arun(endpoints.list_sources()))
    works, sentence = CensusHook().test_connection()
    assert not works
    assert kind in sentence


def test_a_group_is_asked_for_where_none_is_named(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, census, census.personal_access_token, api_version="v2")
    hook = CensusHook()
    with pytest.raises(ValueError, match=r"^group_id is needed .*connection's extra.*list_sources"):
        hook.create_webhook({"name": "x"})
    assert census.requests == []
    # As the error says how to find it:
    group_id = hook.list_sources()[0]["group_id"]
    made = hook.create_webhook({"name": "x"}, group_id=group_id)
    assert made["group_id"] == group_id
    connect(monkeypatch, census, census.personal_access_token, api_version="v2", group_id="mine")
    assert CensusHook().create_webhook({"name": "x"})["group_id"] == "mine"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A hook on either transport, and servers for it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from proxies import Authority

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.pace import Pace

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request

TOKEN = "secret-token:zyxwvutsr"
Send = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().endswith("_PROXY") or name in {
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "NETRC",
        }:
            monkeypatch.delenv(name)


@pytest.fixture(params=["worker", "triggerer"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def send(transport: str, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Send a request to where it is told, as a hook of a connection there does."""

    def send(request: Request[Any], url: str, **extra: Any) -> Any:
        conn = {"conn_type": "census", "host": url, "password": TOKEN, "extra": {"attempts": 1, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
        hook = CensusHook()
        return hook.run(request) if transport == "worker" else asyncio.run(hook.arun(request))

    return send


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Take note of the delays between attempts, without making them; for a pace, no time would pass."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def asleep(seconds: float, *args: Any) -> Any:
        if seconds:
            made.append(seconds)
        return await sleep(0, *args)

    monkeypatch.setattr(Pace, "hold", lambda *_: None)
    monkeypatch.setattr("tenacity.nap.time.sleep", made.append)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    return made

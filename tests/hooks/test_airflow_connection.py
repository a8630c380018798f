# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The connection from every place where Airflow keeps one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "secret-token:abc"
US = "https://app.getcensus.com"


@pytest.mark.parametrize(
    ("uri", "base_url", "token", "timeout", "attempts"),
    [
        ("census://:secret-token%3Aabc@", US, TOKEN, 60.0, 5),
        ("census://:secret-token%3Aabc@app-eu.getcensus.com", "https://app-eu.getcensus.com", TOKEN, 60.0, 5),
        ("census://:a%2Fb%40c%25@app-eu.getcensus.com/", "https://app-eu.getcensus.com", "a/b@c%", 60.0, 5),
        (
            "census://:token-of-tests%0A@app-eu.getcensus.com:8443/https",
            "https://app-eu.getcensus.com:8443",
            "token-of-tests",
            60.0,
            5,
        ),
        ("census://:token-of-tests@127.0.0.1:8765/http", "http://127.0.0.1:8765", "token-of-tests", 60.0, 5),
        ("census://:token-of-tests@[::1]:8765/http", "http://[::1]:8765", "token-of-tests", 60.0, 5),
        ("census://:token-of-tests@?timeout=7&attempts=2&api_version=v1", US, "token-of-tests", 7.0, 2),
        ("census://:token-of-tests@?timeout=2.5&attempts=", US, "token-of-tests", 2.5, 5),
        (
            "census://:token-of-tests@census.internal/http?allow_http=true",
            "http://census.internal",
            "token-of-tests",
            60.0,
            5,
        ),
        (
            "census://:token-of-tests@census.internal/http?allow_http=True",
            "http://census.internal",
            "token-of-tests",
            60.0,
            5,
        ),
        (
            f"census://:token-of-tests@?__extra__={quote(json.dumps({'timeout': 7, 'attempts': 2}))}",
            US,
            "token-of-tests",
            7.0,
            2,
        ),
        (
            json.dumps({"conn_type": "census", "password": TOKEN, "host": f"{US}/", "extra": {"timeout": 7}}),
            US,
            TOKEN,
            7.0,
            5,
        ),
        (
            json.dumps(
                {
                    "conn_type": "census",
                    "password": "token-of-tests",
                    "extra": '{"attempts": 2}',
                    "port": 8443,
                }
            ),
            f"{US}:8443",
            "token-of-tests",
            60.0,
            2,
        ),
        (
            json.dumps(
                {
                    "conn_type": "census",
                    "password": f" {TOKEN}\n",
                    "host": "localhost",
                    "port": "8765",
                    "schema": "http",
                }
            ),
            "http://localhost:8765",
            TOKEN,
            60.0,
            5,
        ),
    ],
)
def test_a_connection_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, uri: str, base_url: str, token: str, timeout: float, attempts: int
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", uri)
    settings = CensusHook().settings
    assert (settings.base_url, settings.token) == (base_url, token)
    assert (settings.timeout, settings.attempts) == (timeout, attempts)


def test_the_sandbox_is_reached_over_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        sandbox = Sandbox(host="::1").__enter__()
    except OSError:
        pytest.skip("there is no IPv6 here")
    try:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri_v1)
        assert CensusHook().test_connection()[0]
    finally:
        sandbox.__exit__(None, None, None)


def airflow(*commands: list[str], **environment: str) -> str:
    """Run commands as ``airflow`` does, one after the other in one process; what they print."""
    script = (
        "import json, sys\n"
        "from airflow.__main__ import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['airflow', *command]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        print('exit', end.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_connection_of_the_database_and_one_of_a_secrets_backend(
    airflow_db: str, census: Sandbox, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"conn_type": "census", "host": census.url, "password": census.token}
    (tmp_path / "connections.json").write_text(json.dumps({"of_the_backend": fields}))
    add = ["connections", "add"]
    password = ["--conn-password", f"{census.token}\n"]
    extra = ["--conn-extra", '{"timeout": 30, "attempts": 1}']
    said = airflow(
        [*add, "of_the_database", "--conn-type", "census", "--conn-host", census.url, *password, *extra],
        [*add, "of_a_uri", "--conn-uri", census.connection_uri_v1],
        [
            *add,
            "wrong",
            "--conn-type",
            "census",
            "--conn-host",
            census.url,
            "--conn-password",
            "not-the-token",
        ],
        *[
            ["connections", "test", name]
            for name in ("of_the_database", "of_a_uri", "of_the_backend", "wrong")
        ],
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps(
            {"connections_file_path": str(tmp_path / "connections.json")}
        ),
    )
    assert said.count("Connection success!") == 3, said
    assert said.count("HTTP 401") == 1, said
    assert len(census.requests) == 4
    assert "not-the-token" not in said
    assert census.token not in "".join(line for line in said.splitlines() if "uccessfully added" not in line)

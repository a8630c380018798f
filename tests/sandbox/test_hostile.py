# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox survives what reaches an open port, and lets nobody in who has no token."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from staging import Caller, Clock

from airflow_provider_census.sandbox import Sandbox, app
from airflow_provider_census.sandbox.app import LONGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(strict=True) as sandbox:
        yield sandbox


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[Caller]:
    caller = Caller(sandbox.url, Clock())
    yield caller
    assert caller.data("/syncs/52")["paused"] is False, "it goes on as if nothing had been"
    assert caller.data("/syncs")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="deep lists"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b'{"paused":' + b"[" * 500 + b"]" * 500 + b"}", id="deep and whole"),
        pytest.param(b'{"paused": NaN}', id="NaN"),
        pytest.param(b'{"paused": 1e999}', id="beyond numbers"),
        pytest.param(b'{"paused": ' + b"1" * 5000 + b"}", id="many digits"),
        pytest.param(b'{"paused": "\\ud83d"}', id="half a character"),
        pytest.param(b'{"paused": "\xff"}', id="no UTF-8"),
        pytest.param(b"\x00", id="NUL"),
    ],
)
def test_a_body_that_is_no_json_is_refused(caller: Caller, body: bytes) -> None:
    answer = caller.call("PATCH", "/syncs/52", data=body, headers=JSON)

    assert (answer.status_code, answer.json()["status"]) == (400, "error")


def test_a_body_that_is_too_long_is_refused(caller: Caller) -> None:
    body = b'{"label": "' + b"x" * LONGEST_BODY + b'"}'

    assert caller.call("PATCH", "/syncs/52", data=body, headers=JSON).status_code == 413


def exchange(sandbox: Sandbox, sent: bytes) -> bytes:
    """What comes back before anything else is sent."""
    with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


def test_the_token_is_checked_before_the_body_is_read(sandbox: Sandbox) -> None:
    head = b"POST /api/v1/syncs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    answered = exchange(sandbox, head + b"Content-Length: 200000000\r\n\r\n")

    assert answered.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "target",
    [
        "/../../../etc/passwd",
        "/api/v1/../../etc/passwd",
        "/api/v1/syncs/..%2f..%2fetc%2fpasswd",
        "/api/v1/syncs/%00",
        "/api/v1/syncs/%ff%fe",
        "/api/v1/syncs/" + "9" * 5000,
        "/api/v1/sync_runs/" + "9" * 5000 + "/records",
        "/syncs/" + "9" * 5000,
        "/syncs/%3Cscript%3E/history",
        "//evil.example/syncs",
        "http://evil.example/api/v1/syncs/99",
        "*",
        "/exports/1234567890/part-0.parquet",
    ],
    ids=lambda target: target[:40],
)
def test_a_path_that_leads_nowhere_is_not_there(sandbox: Sandbox, caller: Caller, target: str) -> None:
    token = f"Authorization: Bearer {sandbox.token}"
    answered = exchange(sandbox, f"GET {target} HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode())

    assert answered.startswith(b"HTTP/1.1 404 ")
    assert b"root:" not in answered
    assert sandbox.token.encode() not in answered


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, id="TLS"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="another HTTP"),
        pytest.param(b"\r\n\r\n\x00\xff\r\n\r\n", id="bytes"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", id="bare UTF-8"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", id="long header"),
        pytest.param(
            b"GET /api/v1/syncs HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            id="WebSocket",
        ),
    ],
)
@pytest.mark.usefixtures("caller")
def test_junk_is_no_error_of_the_sandbox(sandbox: Sandbox, junk: bytes) -> None:
    try:
        answered = exchange(sandbox, junk)
    except ConnectionError:
        return
    assert not answered or answered.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4"))


@pytest.mark.usefixtures("caller")
def test_a_caller_that_leaves_amid_a_body_is_no_error_of_the_sandbox(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(app.log, "info", lambda *said: answered.set() if said[3] == 400 else None)
    token = f"Authorization: Bearer {sandbox.token}"
    with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
        head = f"PATCH /api/v1/syncs/52 HTTP/1.1\r\nHost: x\r\n{token}\r\nContent-Length: 99\r\n\r\n"
        connection.sendall(head.encode() + b'{"paused":')
    assert answered.wait(10)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_odd_values_in_a_sync_break_nothing(sandbox: Sandbox, caller: Caller) -> None:
    values: list[Any] = [["a"], {"a": 1}, 5, True, None, "\x00<b>"]
    for value in values:
        caller.call("PATCH", "/syncs/58", json={"label": value, "paused": value})
        assert caller.call("POST", "/syncs/58/trigger").status_code == 200
        assert caller.call("GET", "/../syncs/58").status_code == 404
    caller.call("PATCH", "/syncs/58", json={"label": "Completes at once"})


# Who is told


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_it_says_loudly_that_others_reach_it(
    host: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Sandbox(host=host) as sandbox:
        assert Caller(sandbox.url, Clock()).data("/workspace")["name"] == "Sandbox"
    assert bool(caplog.records) is warned
    if warned:
        assert f"listens on 0.0.0.0 port {sandbox.port}, for every machine" in caplog.text
        assert f"@127.0.0.1:{sandbox.port}/" in sandbox.connection_uri_v1


def test_the_token_is_in_no_log(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "airflow_provider_census.sandbox"):
        caller = Caller(sandbox.url, Clock())
        caller.data("/syncs", token=sandbox.token)
        caller.call("GET", "/syncs", headers={"Authorization": "Bearer secret-token:other"})

    said = [record.getMessage() for record in caplog.records]
    assert said == ["GET /api/v1/syncs 200", "GET /api/v1/syncs 401"]

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The token goes to Census alone, the password of a proxy to the proxy alone, and neither into a report."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from stand_in import HANG, Received, Server, data

from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import CensusConfigError, CensusError
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from collections.abc import Callable

GET = endpoints.get_sync_run(94)
RUN = {"id": 94, "status": "working"}
TOKEN = "secret-token:zyxwv"


def report(error: BaseException) -> str:
    """Report an error as tools do that show local variables, but for those of the test."""
    assert error.__traceback__ is not None
    ours = error.__traceback__.tb_next
    return "".join(traceback.TracebackException(type(error), error, ours, capture_locals=True).format())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_plain_http_to_this_machine_never_goes_through_a_proxy(
    send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, host: str, variable: str
) -> None:
    with Server(data(RUN)) as server, Server(data({"id": 94, "status": "completed"})) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert send(GET, f"http://{host}:{server.port}") == RUN
    assert proxy.received == []


def test_plain_http_to_another_machine_goes_through_a_proxy(
    send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(data(RUN)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert send(GET, "http://census.test", allow_http=True) == RUN
    assert len(proxy.received) == 1


@pytest.mark.parametrize("scheme", ["http://", "", "https://", "socks5://"])
@pytest.mark.parametrize(
    "address",
    [
        *[
            f"me:{word}@127.0.0.1:1"
            for word in ("let-me-in", "let@me-in", "let#me-in", "let/me-in", "let?me-in")
        ],
        *[f"me:let-me-in@{where}" for where in ("127.0.0.1:1/x", "127.0.0.1:x", "127.0.0.1:0", "[::x]:1")],
    ],
)
def test_the_password_of_a_proxy_is_in_no_message(
    send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, scheme: str, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", scheme + address)
    with pytest.raises(CensusError) as caught:
        send(GET, "census.test")
    for error in (caught.value, caught.value.__cause__, caught.value.__context__):
        assert "me-in" not in str(error)
        assert "me-in" not in repr(error)


@pytest.mark.parametrize(
    "fields",
    [
        {"conn_type": "http"},
        {"host": "census.invalid/x"},
        {"port": 70000},
        {"schema": "ftp"},
        {"password": "secret-token: zyxwv"},
        {"extra": {"timeout": "soon"}},
        {"extra": {"attempts": 0}},
    ],
    ids=str,
)
def test_no_report_of_a_connection_that_cannot_be_used_has_the_token(
    transport: str, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    conn = {"conn_type": "census", "host": "census.invalid", "password": TOKEN, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
    hook = CensusHook()
    with pytest.raises(CensusConfigError) as caught:
        hook.run(GET) if transport == "worker" else asyncio.run(hook.arun(GET))
    assert "zyxwv" not in report(caught.value)


def test_no_report_of_an_interrupted_request_has_the_token(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    interrupt: Callable[[], Any] = partial(signal.pthread_kill, main, signal.SIGINT)

    def arrived(_: Received) -> bytes:
        threading.Timer(0.05, interrupt).start()  # when the response is being waited for
        return HANG  # type: ignore[return-value]

    async def interrupted() -> None:
        nonlocal interrupt
        task = asyncio.create_task(CensusHook().arun(GET))
        loop = asyncio.get_running_loop()
        interrupt = lambda: loop.call_soon_threadsafe(task.cancel)  # noqa: E731 - it replaces one
        await task

    with Server(arrived) as server:
        conn = {"conn_type": "census", "host": server.url, "password": TOKEN}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
        with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)) as caught:
            CensusHook().get_sync_run(94) if transport == "worker" else asyncio.run(interrupted())
    said = report(caught.value)
    assert "_send_once" in said
    assert "zyxwv" not in said

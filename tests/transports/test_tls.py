# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Whom both transports trust, asked directly and through a proxy: nobody else is sent anything."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from proxies import Authority, Proxy
from stand_in import Server, data

from airflow_provider_census.api import endpoints
from airflow_provider_census.exceptions import CensusConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = {"id": 94, "status": "working"}
TRIGGER = endpoints.trigger_sync(52)
WAYS = ["direct", "proxy", "proxy over TLS"]
TRUSTED, NAMED = "trusted", "127.0.0.1"  # what the certificates name


@pytest.fixture(scope="module")
def authorities(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    """Who has signed the certificate of the server; the first one is trusted."""
    return {
        TRUSTED: authority,
        "unknown": Authority(tmp_path_factory.mktemp("unknown")),
        "expired": Authority(tmp_path_factory.mktemp("expired"), days=-2),
    }


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest, transport: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Server, Authority], list[Any]]]:
    """Have a server asked in a way; what the proxy on it receives."""
    if request.param == "proxy over TLS" and transport == "triggerer" and sys.version_info < (3, 11):
        pytest.skip("asyncio cannot do TLS within TLS before Python 3.11")
    with ExitStack() as stack:

        def arrange(server: Server, trusted: Authority) -> list[Any]:
            if request.param == "direct":
                return []
            tls = trusted.tls if "TLS" in request.param else None
            proxy = stack.enter_context(Proxy(server.port, tls))
            scheme = "https" if tls else "http"
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:let-me-in@127.0.0.1:{proxy.port}")
            return proxy.received

        yield arrange


@pytest.mark.parametrize(
    ("signed", "host"), [("unknown", NAMED), ("expired", NAMED), (TRUSTED, "localhost")], ids=str
)
def test_who_cannot_prove_to_be_census_is_sent_nothing(
    send: Callable[..., Any],
    way: Callable[[Server, Authority], list[Any]],
    authorities: dict[str, Authority],
    monkeypatch: pytest.MonkeyPatch,
    signed: str,
    host: str,
) -> None:
    trusted = authorities["expired" if signed == "expired" else TRUSTED]
    proxied = authorities[TRUSTED]
    bundle = trusted.bundle.with_name("both.pem")  # of the server's, and of the proxy's
    bundle.write_bytes(trusted.bundle.read_bytes() + proxied.bundle.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Server(data({"sync_run_id": 94}), tls=authorities[signed].tls) as server:
        asked = way(server, proxied)
        with pytest.raises(CensusConnectionError) as caught:
            send(TRIGGER, f"https://{host}:{server.port}", timeout=5)
        assert server.received == []
    # Of TLS within TLS, asyncio (Python 3.11, 3.12) only says that it stumbled, and so nobody knows when.
    if "_abort()" not in str(caught.value):
        assert "certificate" in str(caught.value).lower()
        assert not caught.value.sent
    assert "let-me-in" not in f"{caught.value} {caught.value!r}"
    assert all("zyxwv" not in str(request) for request in asked)


def test_who_can_is_asked(
    send: Callable[..., Any],
    way: Callable[[Server, Authority], list[Any]],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    with Server(data(RUN), tls=authority.tls) as server:
        way(server, authority)
        assert send(endpoints.get_sync_run(94), server.url, timeout=5) == RUN

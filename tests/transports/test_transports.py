# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the transports of worker and triggerer do alike, over real sockets."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from proxies import Authority, Proxy
from stand_in import CLOSE, DRIP, HANG, RESET, Received, Server, data, response

import airflow_provider_census
from airflow_provider_census.api import endpoints, responses, versions
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConfigError,
    CensusConnectionError,
    CensusError,
    CensusNotFoundError,
    CensusRateLimitError,
)
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_census.api.request import Request

TOKEN = "secret-token:zyxwvutsr"
GET = endpoints.get_sync_run(94)
CANCEL = endpoints.cancel_sync_run(94)
TRIGGER = endpoints.trigger_sync(52)
RUN = {"id": 94, "status": "working"}
Send = Callable[..., Any]


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


BODY = json.dumps({"status": "success", "data": RUN}).encode()


@pytest.mark.parametrize(
    "reply",
    [
        data(RUN),
        response(gzip.compress(BODY), Content_Encoding="gzip"),
        chunked(BODY[:7], BODY[7:]),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        response(BODY, Content_Type="text/plain; charset=utf-16"),
    ],
)
def test_a_response_is_read_however_it_is_sent(send: Send, reply: bytes) -> None:
    with Server(reply) as server:
        assert send(GET, server.url) == RUN


def test_a_request_says_who_sends_it_and_for_whom(send: Send) -> None:
    with Server(data({"sync_run_id": 94})) as server:
        assert send(endpoints.trigger_sync(52, force_full_sync=True), server.url) == 94
    [request] = server.received
    assert (request.method, request.target) == ("POST", "/api/v1/syncs/52/trigger?force_full_sync=true")
    assert json.loads(request.body) == {"force_full_sync": True}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"] == (
        f"airflow-provider-census/{airflow_provider_census.__version__} "
        f"apache-airflow/{version('apache-airflow')}"
    )


@pytest.mark.parametrize(
    ("reply", "kind", "status", "words"),
    [
        (response({"message": "No"}, 401), CensusAuthError, 401, "app-eu.getcensus.com"),
        (response({"status": 404}, 404), CensusNotFoundError, 404, "404"),
        (response({"message": "Slow down"}, 429, Retry_After="7"), CensusRateLimitError, 429, "Slow down"),
        (response(b"<h1>Bad Gateway</h1>", 502), CensusApiError, 502, "Bad Gateway"),
        (response({"status": "error", "message": "Paused"}), CensusApiError, 200, "Paused"),
        (response(b""), CensusApiError, 200, "no body"),
        (response(b'{"status'), CensusApiError, 200, "not JSON"),
        (response(b" " * (responses.MAX_BODY + 1)), CensusApiError, 200, "longer than 8 MiB"),
        (response(b"x" * 1_000_000, 500), CensusApiError, 500, "xxx…"),
    ],
)
def test_an_error_is_read_alike(
    send: Send, reply: bytes, kind: type[CensusApiError], status: int, words: str
) -> None:
    with Server(reply) as server, pytest.raises(CensusApiError) as caught:
        send(GET, server.url)
    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert words in str(caught.value)
    assert (caught.value.method, caught.value.path) == ("GET", "/sync_runs/94")


def test_a_response_that_drips_is_given_up_in_time(send: Send) -> None:
    with Server(DRIP) as server, pytest.raises(CensusConnectionError, match=r"no response within 0\.2 s"):
        send(GET, server.url, timeout=0.2)


@pytest.mark.parametrize(
    "reply",
    [
        response(BODY).replace(b"Content-Length: ", b"Connection: close\r\nContent-Length: 9"),
        chunked(BODY, end=b"Connection: close\r\n"),
        response(b"no gzip", Content_Encoding="gzip"),
    ],
)
def test_a_response_that_breaks_off_is_one_line_without_an_http_status(send: Send, reply: bytes) -> None:
    with Server(reply) as server, pytest.raises(CensusConnectionError) as caught:
        send(GET, server.url, timeout=5)
    message = caught.value.args[0]
    assert message.endswith(" (GET /sync_runs/94).")
    assert "\n" not in message
    assert "400" not in message.replace(server.url, "")
    assert not message.endswith("..")


def test_a_rotated_token_is_read_from_the_connection(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject_until_rotated(request: Received) -> bytes:
        if request.headers["authorization"] == "Bearer secret-token:new":
            return data(RUN)
        fields = {"conn_type": "census", "host": server.url, "password": "secret-token:new"}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields))
        return response({"message": "Who?"}, 401)

    with Server(reject_until_rotated) as server:
        assert send(GET, server.url) == RUN
    assert len(server.received) == 2


@pytest.mark.parametrize("status", [403, 404, 410])
def test_after_the_end_of_v1_a_connection_without_a_version_is_read_again(
    send: Send, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    left = [1]
    monkeypatch.setattr(versions, "days_of_v1", lambda _=None: left[0])

    def switched_off(request: Received) -> bytes:
        left[0] = 0
        return data(RUN) if request.target.startswith("/api/v2/") else response({"message": "Gone"}, status)

    with Server(switched_off) as server:
        assert send(GET, server.url) == RUN
        assert [each.target for each in server.received] == ["/api/v1/sync_runs/94", "/api/v2/sync_runs/94"]
        with pytest.raises(CensusApiError):
            send(GET, server.url, api_version="v1")


def test_a_token_that_one_thread_has_read_counts_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 4
    together = threading.Barrier(threads, timeout=30)

    def reject_until_rotated(request: Received) -> bytes:
        if request.headers["authorization"] == "Bearer secret-token:new":
            return data(RUN)
        together.wait()
        fields = {"conn_type": "census", "host": server.url, "password": "secret-token:new"}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields))
        return response({"message": "Who?"}, 401)

    with Server(reject_until_rotated) as server, ThreadPoolExecutor(threads) as pool:
        fields = {"conn_type": "census", "host": server.url, "password": TOKEN}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields))
        hook = CensusHook()
        assert list(pool.map(lambda _: hook.run(GET), range(threads))) == [RUN] * threads


def test_a_dead_address_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch, send: Send) -> None:
    with Server(data(RUN)) as server, socket.socket() as dead, ExitStack() as waiting:
        port = int(server.url.rpartition(":")[2])
        dead.bind(("127.0.0.2", port))
        dead.listen(0)
        for _ in range(3):  # as many as wait for a server that accepts none
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.2", port))
        family = socket.AF_INET, socket.SOCK_STREAM, 6, ""
        addresses = [(*family, (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert send(GET, f"http://localhost:{port}", timeout=2) == RUN


def test_no_proxy_but_http_is_taken_and_nothing_counts_as_sent(
    send: Send, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    if transport == "triggerer":
        with pytest.raises(CensusConfigError, match="is a socks5 one, which the triggerer cannot use"):
            send(GET, "https://census.test")
    else:
        with pytest.raises(CensusConnectionError) as caught:
            send(GET, "https://census.test")
        assert not caught.value.sent


def test_what_the_connection_says_besides_a_new_token_counts_from_then_on(
    send: Send, delays: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject_then_fail(request: Received) -> bytes:
        if request.headers["authorization"] == "Bearer secret-token:new":
            return BUSY
        fields = {"host": server.url, "password": "secret-token:new", "extra": {"attempts": 3}}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps({"conn_type": "census", **fields}))
        return response({"message": "Who?"}, 401)

    with Server(reject_then_fail) as server, pytest.raises(CensusApiError, match="503"):
        send(GET, server.url, attempts=1)
    assert len(server.received) == 1 + 3
    assert len(delays) == 2


@pytest.mark.parametrize("request_", [GET, CANCEL, TRIGGER], ids=str)
def test_a_request_that_no_transport_may_retry_is_sent_again_only_with_a_new_token(
    send: Send, delays: list[float], monkeypatch: pytest.MonkeyPatch, request_: Request[Any]
) -> None:
    def reject_then_fail(request: Received) -> bytes:
        if request.headers["authorization"] == "Bearer secret-token:new":
            return response({"message": "slow down"}, 429, Retry_After="7")
        fields = {"conn_type": "census", "host": server.url, "password": "secret-token:new"}
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields))
        return response({"message": "Who?"}, 401)

    with Server(reject_then_fail) as server, pytest.raises(CensusRateLimitError):
        send(replace(request_, retry=False), server.url, attempts=5)
    assert len(server.received) == 2
    assert delays == []


def test_a_token_that_stays_wrong_is_sent_once(send: Send) -> None:
    with Server(response({"message": "Who?"}, 401)) as server, pytest.raises(CensusAuthError):
        send(GET, server.url)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "reply",
    [
        response({"message": f"Who is {TOKEN}?"}, 401),
        response(f"<p>{TOKEN}</p>".encode(), 502),
        response({"data": TOKEN}),
        response({"status": "error", "message": TOKEN}),
        response(b"{"),
        CLOSE,
    ],
)
def test_no_error_report_with_local_variables_has_the_token(send: Send, reply: bytes) -> None:
    with Server(reply) as server, pytest.raises(CensusError) as caught:
        send(GET, server.url)
    report = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = report[report.index("airflow_provider_census") :]  # the connection is made by this test
    assert "_send_once" in ours
    assert TOKEN not in ours


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_token_nowhere(send: Send, status: int) -> None:
    with Server() as other, Server(lambda _: elsewhere) as server:
        elsewhere = response(b"", status, Location=f"http://localhost:{other.port}/api/v1/sync_runs/94")
        with pytest.raises(CensusApiError, match="redirected to http://localhost") as caught:
            send(GET, server.url)
    assert caught.value.status_code == status
    assert other.received == []
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (RESET, ""),
        (CLOSE, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{", ""),
        (chunked(b"{", end=b"Connection: close\r\n"), ""),
        (response(b"no gzip", Content_Encoding="gzip"), ""),
        (b"SSH-2.0-OpenSSH\r\nConnection: close\r\n\r\n", ""),
        (HANG, "no response within 0.2 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "no response within 0.2 s"),
    ],
    ids=["reset", "closed", "truncated", "chunks", "gzip", "not HTTP", "silent", "stuck"],
)
def test_no_complete_response_is_an_error_that_knows_the_request_was_sent(
    send: Send, reply: bytes, words: str
) -> None:
    with Server(reply) as server, pytest.raises(CensusConnectionError) as caught:
        send(TRIGGER, server.url, timeout=0.2 if words else 30)
    assert caught.value.sent
    assert re.match(
        rf"connection '\w+' \({server.url}, v1\): .* \(POST /syncs/52/trigger\)\.$", str(caught.value)
    )
    assert words in str(caught.value)
    assert len(server.received) == 1


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_refused_connection_is_an_error_that_knows_nothing_was_sent(send: Send, nobody: str) -> None:
    with pytest.raises(
        CensusConnectionError, match=rf"{nobody}, v1\): .*(refused|Connect call failed)"
    ) as caught:
        send(TRIGGER, nobody)
    assert not caught.value.sent


def test_an_unknown_host_is_an_error_that_knows_nothing_was_sent(send: Send) -> None:
    with pytest.raises(CensusConnectionError, match=r"https://census\.invalid, v1\): ") as caught:
        send(TRIGGER, "census.invalid")
    assert not caught.value.sent


def test_what_else_went_wrong_before_is_not_taken_for_the_reason(send: Send, nobody: str) -> None:
    try:
        raise KeyError("another story")
    except KeyError:
        with pytest.raises(CensusConnectionError) as caught:
            send(TRIGGER, nobody)
    assert "another story" not in str(caught.value)
    assert not caught.value.sent


@pytest.mark.parametrize(
    "reply",
    [
        response({"message": f"who is Bearer {TOKEN}?"}, 401),
        response(f"<p>{TOKEN}</p>".encode(), 500),
        f"HTTP/1.1 {TOKEN} x\r\nConnection: close\r\n\r\n".encode(),
        f"{TOKEN}\r\nConnection: close\r\n\r\n".encode(),
        response(b"", 302, Location=f"http://{TOKEN}@evil.test/"),
        response(b"x", Content_Encoding="gzip", X=TOKEN),
        response(b"", Content_Length=TOKEN),
        RESET,
    ],
)
def test_no_error_shows_the_token(send: Send, reply: bytes) -> None:
    with Server(reply) as server, pytest.raises(CensusError) as caught:
        send(GET, server.url)
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {error.args!r} {vars(error)!r}"
        assert "zyxwv" not in shown
        error = error.__cause__ or error.__context__


OK = data(RUN)
BUSY = response({"message": "busy"}, 503)
TIMES = [
    # failure; requests that the server sees of one that is idempotent, and of one that is not
    (RESET, 3, 1),
    (BUSY, 3, 1),
    (response(b"", 500), 3, 1),
    (response(b"", 504), 3, 1),
    (response({"message": "busy"}, 503, Retry_After="1"), 3, 3),
    (response({"message": "slow down"}, 429), 3, 3),
    (response(b""), 3, 1),
    (response(b"<h1>", 200), 3, 1),
    (response({"status": "error"}), 1, 1),
    (response({"message": "no"}, 401), 1, 1),
    (response({"message": "no"}, 404), 1, 1),
    (response({"message": "no"}, 422), 1, 1),
]


@pytest.mark.parametrize(("failure", "idempotent", "other"), TIMES)
@pytest.mark.parametrize("request_", [GET, CANCEL, TRIGGER], ids=str)
def test_a_failure_that_may_pass_is_tried_again_where_that_is_safe(
    transport: str,
    send: Send,
    delays: list[float],
    request_: Request[Any],
    failure: bytes,
    idempotent: int,
    other: int,
) -> None:
    with Server(failure) as server, pytest.raises(CensusError):
        send(request_, server.url, attempts=3)
    attempts = idempotent if request_.idempotent else other
    # aiohttp by itself sends a GET once more at once if the connection breaks.
    each = 2 if (transport, request_.method, failure) == ("triggerer", "GET", RESET) else 1  # type: ignore[comparison-overlap]
    assert len(server.received) == attempts * each
    assert len(delays) == attempts - 1


def test_nobody_listening_is_tried_again_also_for_a_trigger(
    send: Send, delays: list[float], nobody: str
) -> None:
    with pytest.raises(CensusConnectionError):
        send(TRIGGER, nobody, attempts=4)
    assert len(delays) == 3


def test_a_retry_that_succeeds_is_all_the_caller_sees(send: Send, delays: list[float]) -> None:
    with Server(RESET, BUSY, response(b""), OK) as server:
        assert send(GET, server.url, attempts=5) == RUN
    assert len(server.received) == 4


def test_census_is_given_the_time_it_asks_for(send: Send, delays: list[float]) -> None:
    noon = {"Date": "Wed, 21 Oct 2026 12:00:00 GMT"}
    with Server(
        response(b"", 429, Retry_After="7"),
        response(b"", 503, Retry_After="Wed, 21 Oct 2026 12:01:30 GMT", **noon),
        response(b"", 429, Retry_After="999"),
        OK,
    ) as server:
        assert send(GET, server.url, attempts=5) == RUN
    for delay, asked in zip(delays, (7.0, 90.0, 120.0), strict=True):
        assert asked <= delay <= 1.1 * asked


def test_each_retry_is_one_line_in_the_log(
    send: Send, delays: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    log = logging.getLogger("retries")
    log.setLevel(logging.WARNING)
    monkeypatch.setattr(
        log, "handle", lambda record: lines.append(f"{record.levelname} {record.getMessage()}")
    )
    monkeypatch.setattr(CensusHook, "log", log)
    with Server(response({"message": "busy"}, 429, Retry_After="7"), RESET, OK) as server:
        send(CANCEL, server.url, attempts=5)
    busy, broken = lines
    assert re.search(r"^WARNING HTTP 429: busy \(POST /sync_runs/94/cancel\).* 1 of 5.* 7\.\d s", busy)
    assert re.search(
        rf"^WARNING connection '\w+' \({server.url}, v1\): .* \(POST .*/cancel\).* 2 of 5.* \d\.\d s",
        broken,
    )
    assert TOKEN not in "".join(lines)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_private_authority_is_trusted_if_the_environment_says_so(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority.bundle))
    with Server(OK, tls=authority.tls) as server:
        assert send(GET, server.url) == RUN


def test_an_authority_that_nobody_vouches_for_is_refused(send: Send, authority: Authority) -> None:
    with (
        Server(OK, tls=authority.tls) as server,
        pytest.raises(
            CensusConnectionError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"
        ) as no,
    ):
        send(GET, server.url)
    assert not no.value.sent
    assert server.received == []


def test_a_certificate_of_another_host_is_refused(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with Server(OK, tls=authority.tls) as server, pytest.raises(CensusConnectionError) as refused:
        send(GET, f"https://localhost:{server.port}")
    assert not refused.value.sent
    assert server.received == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authorities_that_are_not_there_are_named(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    with (
        Server(OK, tls=authority.tls) as server,
        pytest.raises(CensusConfigError, match=f"{variable} names .*miss"),
    ):
        send(GET, server.url)


def test_authorities_that_cannot_be_read_are_an_error_of_ours(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty.pem"))
    with Server(OK, tls=authority.tls) as server, pytest.raises(CensusError) as caught:
        send(TRIGGER, server.url)
    assert not getattr(caught.value, "sent", False)
    assert server.received == []


@pytest.mark.parametrize("written", ["http://127.0.0.1:{}", "http://127.0.0.1:{}/", "127.0.0.1:{}"])
def test_a_proxy_of_the_environment_is_used(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with Server(OK, tls=authority.tls) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", written.format(proxy.port))
        assert send(GET, "census.test") == RUN
    [joined] = proxy.received
    assert (joined.method, joined.target) == ("CONNECT", "census.test:443")
    assert TOKEN not in str(joined)
    assert server.received[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert server.received[0].headers["host"] == "census.test"


def test_a_proxy_is_shown_its_own_password_and_nobody_else(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with Server(OK, tls=authority.tls) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:let-me-in@127.0.0.1:{proxy.port}")
        assert send(GET, "census.test") == RUN
    assert proxy.received[0].headers["proxy-authorization"] == "Basic bWU6bGV0LW1lLWlu"
    assert "proxy-authorization" not in server.received[0].headers


def test_no_proxy_of_the_environment_is_heeded(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with Server(OK, tls=authority.tls) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        assert send(GET, server.url) == RUN
    assert proxy.received == []


def test_a_proxy_that_refuses_is_an_error_that_knows_nothing_was_sent(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:let-me-in@127.0.0.1:{proxy.port}")
        with pytest.raises(CensusConnectionError, match="407") as caught:
            send(TRIGGER, "census.test")
    assert not caught.value.sent
    assert "let-me-in" not in f"{caught.value!r}"


@pytest.mark.parametrize("lost", [CLOSE, RESET])
def test_a_response_that_is_lost_behind_a_proxy_is_an_error_that_knows_the_request_was_sent(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, lost: bytes
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with Server(lost, tls=authority.tls) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(CensusConnectionError) as caught:
            send(TRIGGER, "census.test")
    assert caught.value.sent
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n",
    ],
    ids=["broken address", "no text", "negative chunk"],
)
def test_whatever_is_sent_back_the_error_is_ours(send: Send, reply: bytes) -> None:
    with Server(reply) as server, pytest.raises(CensusError):
        send(TRIGGER, server.url, timeout=1)
    assert len(server.received) == 1


def test_a_proxy_that_is_no_address_is_an_error_of_ours(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:let-me-in@[x:1")
    with pytest.raises(CensusError) as caught:
        send(GET, "census.test")
    assert "let-me-in" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_an_error_that_knows_nothing_was_sent(
    send: Send, monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", nobody)
    with pytest.raises(CensusConnectionError) as caught:
        send(TRIGGER, "census.test")
    assert not caught.value.sent


def test_a_netrc_never_replaces_the_token(
    send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(
        "machine census.test login me password of-netrc\n"
        "machine 127.0.0.1 login me password of-netrc\n"
        "default login me password of-netrc\n"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with Server(OK, tls=authority.tls) as server, Proxy(server.port) as proxy:
        assert send(GET, server.url) == RUN
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert send(GET, "census.test") == RUN
    assert [request.headers["authorization"] for request in server.received] == [f"Bearer {TOKEN}"] * 2
    assert "proxy-authorization" not in proxy.received[0].headers

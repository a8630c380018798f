# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What an answer is taken for: a value, or an error that says what Census said."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import endpoints, responses
from airflow_provider_census.api.request import Request
from airflow_provider_census.api.responses import Page, Reply
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusNotFoundError,
    CensusRateLimitError,
)

SECRET = "secret-token:a\\b/c\"d<e>&'f+g"
SOURCE = endpoints.get_source(4)
SOURCES = endpoints.list_sources()
TRIGGER = endpoints.trigger_sync(52)
RUN = endpoints.get_sync_run(94)
CANCEL = endpoints.cancel_sync_run(94)
HTML = b"<!DOCTYPE html><html><head><style>p{x}</style></head><body><h1>Bad\nGateway</h1></body></html>"


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


@pytest.mark.parametrize(
    ("request_", "body", "value"),
    [
        (SOURCE, {"status": "success", "data": {"id": 4, "unknown": None}}, {"id": 4, "unknown": None}),
        (SOURCE, {"data": {}}, {}),
        (SOURCES, {"status": "success", "data": [1, 2]}, [1, 2]),
        (RUN, {"status": "success", "data": {"id": 9, "status": "novel"}}, {"id": 9, "status": "novel"}),
        (TRIGGER, {"status": "success", "data": {"sync_run_id": 94}}, 94),
        (TRIGGER, {"status": "success", "data": {"sync_run_id": "94"}}, 94),
        (endpoints.create_sync({}), {"status": "created", "data": {"sync_id": 4545}}, 4545),
        (CANCEL, {"status": "cancelled", "data": {}}, None),
        (CANCEL, {"status": "cancelled"}, None),
        (SOURCE, b'\xef\xbb\xbf{"status": "success", "data": {"id": 4}}', {"id": 4}),
    ],
)
def test_an_answer_is_what_its_request_declared(request_: Request[Any], body: Any, value: Any) -> None:
    assert responses.read(request_, reply(200, body)) == value


REFUSALS: list[tuple[Reply, type[CensusApiError], int, str]] = [
    (reply(400, {"status": "error", "message": "No such order"}), CensusApiError, 400, "No such order"),
    (reply(401, {"status": 401, "message": "Bad token"}), CensusAuthError, 401, "Bad token"),
    (reply(403, {"status": "forbidden"}), CensusAuthError, 403, "no message"),
    (reply(404, {"status": 404}), CensusNotFoundError, 404, "no message"),
    (reply(404, b""), CensusNotFoundError, 404, "no message"),
    (reply(409, {"error": "busy"}), CensusApiError, 409, "busy"),
    (reply(422, {"errors": [{"field": "label"}]}), CensusApiError, 422, '[{"field": "label"}]'),
    (reply(429, {"message": "Slow down"}), CensusRateLimitError, 429, "Slow down"),
    (reply(500, b"It broke"), CensusApiError, 500, "It broke"),
    (reply(502, HTML), CensusApiError, 502, "Bad Gateway"),
    (reply(503, b"[]"), CensusApiError, 503, "[]"),
    (reply(500, b"\xff\xfe\x00"), CensusApiError, 500, "\ufffd\ufffd"),
    (reply(500, {"message": "caf\u00e9 \ud800"}), CensusApiError, 500, "café ?"),
    (reply(200, {"status": "error", "message": "Sync is paused"}), CensusApiError, 200, "Sync is paused"),
    (reply(200, {"status": "error"}), CensusApiError, 200, "no message"),
    (reply(200, {"status": "error", "data": {"id": 4}}), CensusApiError, 200, '"data": {"id": 4}'),
    (reply(200, {"status": 404, "message": "Not found"}), CensusNotFoundError, 404, "Not found"),
    (reply(200, {"status": 401}), CensusAuthError, 401, "no message"),
    (reply(200, {"status": 200, "data": {"id": 4}}), CensusApiError, 200, '"id": 4'),
    (reply(302, b"", location="https://evil.example/x?y"), CensusApiError, 302, "https://evil.example;"),
    (reply(301, b"", location="/login"), CensusApiError, 301, "another path of the same host"),
    (reply(307, b"", location="http://[x"), CensusApiError, 307, "an address that is none"),
    (reply(304, b""), CensusApiError, 304, "redirected"),
    (reply(100, b""), CensusApiError, 100, "no message"),
]


@pytest.mark.parametrize(("answer", "kind", "status", "words"), REFUSALS)
def test_a_refusal_is_an_error_in_census_words(
    answer: Reply, kind: type[CensusApiError], status: int, words: str
) -> None:
    with pytest.raises(CensusApiError) as caught:
        responses.read(SOURCE, answer)
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.method, error.path) == (status, "GET", "/sources/4")
    assert words in error.message
    assert error.message.rstrip(".") in str(error)
    assert "GET /sources/4 was answered with HTTP" in str(error)
    assert not error.unusable


@pytest.mark.parametrize(
    ("request_", "answer", "flaw"),
    [
        (SOURCE, reply(200, b""), "no body"),
        (SOURCE, reply(204, b" \n"), "no body"),
        (CANCEL, reply(200, b""), "no body"),
        (SOURCE, reply(200, HTML), "not JSON: Bad Gateway"),
        (SOURCE, reply(200, b'{"status": "success", "data": {'), "not JSON"),
        (SOURCE, reply(200, b"[" * 100_000), "not JSON"),
        (SOURCE, reply(200, b"1" * 5_000), "not JSON"),
        (SOURCE, reply(200, b'[{"id": 4}]'), "not a JSON object"),
        (SOURCE, reply(200, b"null"), "not a JSON object"),
        (SOURCE, reply(200, b"x" * (responses.LONGEST_ANSWER + 1)), "longer than 8 MiB"),
        (SOURCE, reply(200, {"status": "success"}), "data should be an object, it is missing"),
        (SOURCE, reply(200, {"data": None}), "data should be an object, it is null"),
        (SOURCE, reply(200, {"data": []}), "data should be an object, it is []"),
        (SOURCE, reply(200, {"message": "Later"}), "Later (the answer is not what"),
        (SOURCES, reply(200, {"data": {"id": 4}}), 'data should be a list, it is {"id": 4}'),
        (SOURCES, reply(200, {"data": "x" * 5_000_000}), "xxx…"),
        (RUN, reply(200, {"data": {"id": 94}}), "data.status"),
        (RUN, reply(200, {"data": {"id": 94, "status": 7}}), "data.status"),
        (RUN, reply(200, {"data": {"status": "completed"}}), "data.id"),
        (TRIGGER, reply(200, {"data": {}}), "data.sync_run_id should be an id, it is null"),
        *[
            (TRIGGER, reply(200, {"data": {"sync_run_id": value}}), "data.sync_run_id should be an id")
            for value in (0, -1, True, 1.5, "", "x", "٣", "9" * 5_000, [94])
        ],
        (SOURCES, reply(200, {"data": [], "pagination": {"next_page": "2"}}), "pagination.next_page"),
        (SOURCES, reply(200, {"data": [], "pagination": {"next_page": 2, "page": "1"}}), "pagination.page"),
        (SOURCES, reply(200, {"data": [], "next": 2}), "next should be a URL"),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_what_is_wrong(
    request_: Request[Any], answer: Reply, flaw: str
) -> None:
    request_ = request_ if request_ is not SOURCES else Request("GET", "/sources", responses.page)
    with pytest.raises(CensusApiError) as caught:
        responses.read(request_, answer)
    error = caught.value
    assert error.unusable
    assert error.status_code == answer.status
    assert flaw in error.message
    assert len(str(error)) < 1_000


def test_nesting_too_deep_to_write_is_no_crash() -> None:
    for depth in range(100, 1_200):
        with pytest.raises(CensusApiError):
            responses.read(
                TRIGGER, reply(200, b'{"data": {"sync_run_id": ' + b"[" * depth + b"]" * depth + b"}}")
            )


@pytest.mark.parametrize(
    ("body", "page"),
    [
        ({"data": [1]}, Page([1])),
        ({"data": [1], "pagination": {"page": 1, "next_page": 2}}, Page([1], 1, 2, None, True)),
        ({"data": [1], "pagination": {"page": 2, "next_page": None}}, Page([1], 2, None, None, True)),
        ({"data": [1], "pagination": {"next": "/x?page=2"}}, Page([1], None, None, "/x?page=2", True)),
        ({"data": [1], "pagination": {"per_page": 25}}, Page([1])),
        ({"data": [1], "pagination": None}, Page([1])),
        ({"data": [1], "next": "/x?page=2"}, Page([1], None, None, "/x?page=2", True)),
        ({"data": [1], "next": None}, Page([1], None, None, None, True)),
    ],
)
def test_a_page_says_where_the_next_one_is(body: Any, page: Page[Any]) -> None:
    assert responses.page(body) == page


NOON = "Wed, 21 Oct 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 2.5 "}, 2.5),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "9" * 400}, None),
        ({"retry_after": "Wed, 21 Oct 2026 12:01:30 GMT", "date": NOON}, 90.0),
        ({"retry_after": "Wed, 21 Oct 2026 12:01:30 -0000", "date": NOON}, 90.0),
        ({"retry_after": "Wed, 21 Oct 2026 11:00:00 GMT", "date": NOON}, 0.0),
        ({"retry_after": "Wed, 21 Oct 2015 12:00:00 GMT"}, 0.0),
        ({"retry_after": "Wed, 99 Oct 2026 12:01:30 GMT", "date": NOON}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_on_census_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    with pytest.raises(CensusRateLimitError) as caught:
        responses.read(SOURCE, reply(429, {"message": "Slow down"}, **headers))
    assert caught.value.retry_after == seconds


def plain(token: str) -> bytes:
    return token.encode()


def as_json(token: str) -> bytes:
    return json.dumps({"status": "error", "message": f"no such token: Bearer {token}"}).encode()


def as_json_in_depth(token: str) -> bytes:
    return json.dumps({"errors": {"Authorization": [f"Bearer {token}"]}}).encode()


def as_json_of_other_languages(token: str) -> bytes:
    escaped = (
        json.dumps(f"Bearer {token}").replace("/", "\\/").replace("<", "\\u003C").replace("&", "\\u0026")
    )
    return b'{"status": "error", "data": [' + escaped.encode()  # and broken off


def as_json_with_every_character_escaped(token: str) -> bytes:
    return ('{"message": "' + "".join(f"\\u{ord(char):04X}" for char in token) + '"}').encode()


def as_html(token: str) -> bytes:
    return f"<html><body><pre>Authorization: Bearer {html.escape(token)}</pre></body></html>".encode()


def as_url(token: str) -> bytes:
    return f"GET /?token={quote(token, safe='')} failed".encode()


def at_the_end_of_an_excerpt(token: str) -> bytes:
    return b"x" * (responses.LONGEST_EXCERPT - len(token) // 2) + token.encode()


def at_the_end_of_what_is_read(token: str) -> bytes:
    return b" " * (responses.SEARCHED // 2 - len(token) // 2) + token.encode()


def as_a_wrong_answer(token: str) -> bytes:
    return json.dumps({"status": "success", "data": "x" * 235 + token, "message": token}).encode()


ECHOES = [
    plain,
    as_json,
    as_json_in_depth,
    as_json_of_other_languages,
    as_json_with_every_character_escaped,
    as_html,
    as_url,
    at_the_end_of_an_excerpt,
    at_the_end_of_what_is_read,
    as_a_wrong_answer,
]


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("echo", ECHOES)
def test_no_error_shows_the_token_though_the_answer_does(echo: Callable[[str], bytes], status: int) -> None:
    with pytest.raises(CensusApiError) as caught:
        responses.read(SOURCE, reply(status, echo(SECRET)), SECRET)
    error = caught.value
    shown = " ".join([str(error), repr(error), repr(error.args), error.message, repr(vars(error))])
    for escaped in ("oken:a", "oken%3Aa", "\\u0073", "f+g"):
        assert escaped not in shown
    assert "***" in shown or status == 200 or echo is at_the_end_of_what_is_read


STATUSES = st.integers(100, 599)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location", "content-type"]),
    st.text() | st.integers().map(str) | st.floats().map(str) | st.datetimes().map(str),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.integers().map(str),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "status": JSON | st.sampled_from(["success", "error", 404, 429]),
        "data": JSON | st.fixed_dictionaries({"sync_run_id": JSON, "sync_id": JSON, "status": JSON}),
        "message": JSON,
        "errors": JSON,
        "next": JSON,
        "pagination": JSON | st.fixed_dictionaries({"page": JSON, "next_page": JSON}),
    },
).map(lambda body: json.dumps(body).encode())


@given(
    request=st.sampled_from(
        [SOURCE, SOURCES, RUN, TRIGGER, CANCEL, Request("GET", "/sources", responses.page)]
    ),
    status=STATUSES,
    headers=HEADERS,
    body=st.binary()
    | st.text().map(str.encode)
    | JSON.map(lambda body: json.dumps(body).encode())
    | ENVELOPES,
)
def test_whatever_arrives_is_a_value_or_a_census_error(
    request: Request[Any], status: int, headers: dict[str, str], body: bytes
) -> None:
    with suppress(CensusApiError):
        responses.read(request, Reply(status, headers, body), SECRET)

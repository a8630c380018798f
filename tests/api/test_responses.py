# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a response is parsed to, a value or an error in Census' words, and that it never shows the token."""

from __future__ import annotations

import base64
import html
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api import cleaning, endpoints, responses
from airflow_provider_census.api.cleaning import redact
from airflow_provider_census.api.pagination import first_page
from airflow_provider_census.api.request import Request, Response
from airflow_provider_census.api.responses import HTTPResponse, Page
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusNotFoundError,
    CensusRateLimitError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "secret-token:a\\b/c\"d<e>&'f+g"
SOURCE = endpoints.get_source(4)
SOURCES = endpoints.list_sources()
TRIGGER = endpoints.trigger_sync(52)
RUN = endpoints.get_sync_run(94)
CANCEL = endpoints.cancel_sync_run(94)
HTML = b"<!DOCTYPE html><html><head><style>p{x}</style></head><body><h1>Bad\nGateway</h1></body></html>"


def response(status: int, body: Any = b"", **headers: str) -> HTTPResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPResponse.received(status, named, content, TOKEN)


@pytest.mark.parametrize(
    ("request_", "body", "value"),
    [
        (SOURCE, {"status": "success", "data": {"id": 4, "unknown": None}}, {"id": 4, "unknown": None}),
        (SOURCE, {"data": {}}, {}),
        (SOURCES, {"status": "success", "data": [1, 2]}, [1, 2]),
        (RUN, {"status": "success", "data": {"id": 94, "status": "novel"}}, {"id": 94, "status": "novel"}),
        (RUN, {"data": {"id": "94", "status": "novel"}}, {"id": 94, "status": "novel"}),
        (TRIGGER, {"status": "success", "data": {"sync_run_id": 94}}, 94),
        (TRIGGER, {"status": "success", "data": {"sync_run_id": "94"}}, 94),
        (endpoints.create_sync({}), {"status": "created", "data": {"sync_id": 4545}}, 4545),
        (CANCEL, {"status": "cancelled", "data": {}}, None),
        (CANCEL, {"status": "cancelled"}, None),
        (SOURCE, b'\xef\xbb\xbf{"status": "success", "data": {"id": 4}}', {"id": 4}),
    ],
)
def test_a_response_is_what_its_request_declared(request_: Request[Any], body: Any, value: Any) -> None:
    assert responses.parse(request_, response(200, body)) == Response(value, None)
    dated = responses.parse(request_, response(200, body, date="Wed, 21 Oct 2026 12:00:00 GMT"))
    assert dated == Response(value, 1792584000.0)


REFUSALS: list[tuple[HTTPResponse, type[CensusApiError], int, str]] = [
    (response(400, {"status": "error", "message": "No such order"}), CensusApiError, 400, "No such order"),
    (response(401, {"status": 401, "message": "Bad token"}), CensusAuthError, 401, "Bad token"),
    (response(403, {"status": "forbidden"}), CensusAuthError, 403, "no message"),
    (response(404, {"status": 404}), CensusNotFoundError, 404, "no message"),
    (response(404, b""), CensusNotFoundError, 404, "no message"),
    (response(409, {"error": "busy"}), CensusApiError, 409, "busy"),
    (response(422, {"errors": [{"field": "label"}]}), CensusApiError, 422, '[{"field": "label"}]'),
    (response(429, {"message": "Slow down"}), CensusRateLimitError, 429, "Slow down"),
    (response(500, b"It broke"), CensusApiError, 500, "It broke"),
    (response(502, HTML), CensusApiError, 502, "Bad Gateway"),
    (response(503, b"[]"), CensusApiError, 503, "a list of 0"),
    (response(500, b"\xff\xfe\x00"), CensusApiError, 500, "\ufffd\ufffd"),
    (response(500, {"message": "caf\u00e9 \ud800"}), CensusApiError, 500, "café \ufffd"),
    (response(200, {"status": "error", "message": "Sync is paused"}), CensusApiError, 200, "Sync is paused"),
    (response(200, {"status": "error"}), CensusApiError, 200, "no message"),
    (
        response(200, {"status": "error", "data": {"id": 4}}),
        CensusApiError,
        200,
        '"data": "an object with id"',
    ),
    (response(200, {"status": 404, "message": "Not found"}), CensusNotFoundError, 404, "Not found"),
    (response(200, {"status": 401}), CensusAuthError, 401, "no message"),
    (response(200, {"status": 200, "data": {"id": 4}}), CensusApiError, 200, "an object with id"),
    (response(302, b"", location="https://evil.example/x?y"), CensusApiError, 302, "https://evil.example;"),
    (response(301, b"", location="/login"), CensusApiError, 301, "another path of the same host"),
    (response(307, b"", location="http://[x"), CensusApiError, 307, "an address that is none"),
    (response(304, b""), CensusApiError, 304, "redirected"),
    (response(600, b""), CensusApiError, 600, "no message"),
]


@pytest.mark.parametrize(("received", "kind", "status", "words"), REFUSALS)
def test_a_refusal_is_an_error_in_census_words(
    received: HTTPResponse, kind: type[CensusApiError], status: int, words: str
) -> None:
    with pytest.raises(CensusApiError) as caught:
        responses.parse(SOURCE, received)
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.method, error.path) == (status, "GET", "/sources/4")
    assert words in error.message
    assert error.message.rstrip(".") in str(error)
    assert re.fullmatch(r"HTTP \d+: .* \(GET /sources/4\)\.", str(error))
    assert not error.unusable


@pytest.mark.parametrize("body", [[], ["hubspot", "braze"], [{"id": 1}]])
def test_a_list_may_come_without_anything_around_it(body: list[Any]) -> None:
    received = response(200, json.dumps(body).encode())
    request = endpoints.list_destination_connect_link_types()
    assert responses.parse(request, received).value == body
    assert responses.parse(first_page(request), received).value.items == body


@pytest.mark.parametrize("data", [{"status": "completed"}, {"id": None, "status": "completed"}])
def test_a_run_need_not_say_which_one_it_is(data: dict[str, Any]) -> None:
    run = responses.parse(RUN, response(200, {"data": data})).value
    assert run == {"status": "completed", "id": 94}
    listed = responses.parse(endpoints.list_sync_runs(52), response(200, {"data": [data]})).value
    assert listed == [{**data, "sync_id": 52}]
    assert responses.parse(endpoints.get_sync(52), response(200, {"data": {"label": "x"}})).value["id"] == 52


@pytest.mark.parametrize(
    ("request_", "received", "flaw"),
    [
        (SOURCE, response(200, b""), "no body"),
        (SOURCE, response(204, b" \n"), "no body"),
        (CANCEL, response(200, b""), "no body"),
        (SOURCE, response(200, HTML), "not JSON: Bad Gateway"),
        (SOURCE, response(200, b'{"status": "success", "data": {'), "not JSON"),
        (SOURCE, response(200, b"[" * 100_000), "not JSON"),
        (SOURCE, response(200, b"1" * 5_000), "data should be an object"),
        (SOURCE, response(200, b'[{"id": 4}]'), "data should be an object, it is a list of 1"),
        (SOURCE, response(200, b"null"), "data should be an object, it is null"),
        (SOURCES, response(200, b'"x"'), "data should be a list, it is x"),
        (SOURCE, response(200, b"x" * (responses.MAX_BODY + 1)), "longer than 8 MiB"),
        (SOURCE, response(200, {"status": "success"}), "data should be an object, it is missing"),
        (SOURCE, response(200, {"data": None}), "data should be an object, it is null"),
        (SOURCE, response(200, {"data": []}), "data should be an object, it is a list of 0"),
        (SOURCE, response(200, {"message": "Later"}), "Later (the response is not what"),
        (SOURCES, response(200, {"data": {"id": 4}}), "data should be a list, it is an object with id"),
        (SOURCES, response(200, {"data": "x" * 5_000_000}), "xxx…"),
        (RUN, response(200, {"data": {"id": 94}}), "data.status"),
        (RUN, response(200, {"data": {"id": 94, "status": 7}}), "data.status"),
        (RUN, response(200, {"data": {"id": "x", "status": "completed"}}), 'it is about id "x", not 94'),
        (TRIGGER, response(200, {"data": {}}), "data.sync_run_id should be an id, it is null"),
        *[
            (TRIGGER, response(200, {"data": {"sync_run_id": value}}), "data.sync_run_id should be an id")
            for value in (0, -1, True, 1.5, "", "x", "٣", "9" * 5_000, [94])
        ],
        (SOURCES, response(200, {"data": [], "pagination": {"next_page": "2"}}), "pagination.next_page"),
        (
            SOURCES,
            response(200, {"data": [], "pagination": {"page": "1", "next_page": 2}}),
            "pagination.page",
        ),
        (SOURCES, response(200, {"data": [], "next": 2}), "next should be a URL"),
    ],
)
def test_what_is_not_the_response_is_an_error_that_says_what_is_wrong(
    request_: Request[Any], received: HTTPResponse, flaw: str
) -> None:
    request_ = request_ if request_ is not SOURCES else Request("GET", "/sources", responses.page)
    with pytest.raises(CensusApiError) as caught:
        responses.parse(request_, received)
    error = caught.value
    assert error.unusable
    assert error.well_formed == ("not JSON" not in flaw and "no body" not in flaw and "longer" not in flaw)
    assert error.status_code == received.status
    assert flaw in error.message
    assert len(str(error)) < 1_000


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (rb'"a\u0000b"', "a\ufffdb"),
        (rb'"a\ud800b"', "a\ufffdb"),
        (b'"a\xed\xa0\x80b"', "a\ufffd\ufffd\ufffdb"),
        (b'"a\xffb"', "a\ufffdb"),
        (rb'"\ud83d\ude00 \u00e9"', "😀 é"),
        ('"😀 é 한"'.encode(), "😀 é 한"),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", "9223372036854775808"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"1e308", 1e308),
        (b"1e309", None),
        (b"-1E+999", None),
        (b"9" * 310 + b".0", None),
        (b"NaN", None),
        (b"-Infinity", None),
        (b"true", True),
        (b'{"\\u0000": [null, 1.5]}', {"\ufffd": [None, 1.5]}),
    ],
)
def test_what_cannot_be_stored_is_replaced(written: bytes, value: Any) -> None:
    received = response(200, b'{"data": {"value": ' + written + b"}}")
    parsed: object = responses.parse(SOURCE, received).value
    assert parsed == {"value": value}
    json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()


def test_what_is_nested_too_deep_is_cut() -> None:
    depth = cleaning.MAX_DEPTH
    body = b'{"data": {"value": ' + b"[" * depth + b"]" * depth + b"}}"
    parsed = responses.parse(SOURCE, response(200, body)).value
    assert json.dumps(parsed).count("[") == depth - 2


def test_a_response_is_utf_8_whatever_else_json_could_be() -> None:
    with pytest.raises(CensusApiError, match="not JSON"):
        responses.parse(SOURCE, response(200, '{"data": {}}'.encode("utf-16")))


def test_nesting_too_deep_to_write_is_no_crash() -> None:
    for depth in range(100, 1_200):
        with pytest.raises(CensusApiError):
            responses.parse(
                TRIGGER, response(200, b'{"data": {"sync_run_id": ' + b"[" * depth + b"]" * depth + b"}}")
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
        responses.parse(SOURCE, response(429, {"message": "Slow down"}, **headers))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "length"),
    [
        (400, {"message": "x" * 5_000}, responses.MAX_MESSAGE),
        (400, {"error": "x" * 5_000}, responses.MAX_MESSAGE),
        (200, {"status": "error", "message": "x" * 5_000}, responses.MAX_MESSAGE),
        (400, {"errors": ["x" * 5_000]}, cleaning.MAX_EXCERPT),
        (400, b"x" * 5_000, cleaning.MAX_EXCERPT),
        (400, b"x" * 100_000, cleaning.MAX_EXCERPT),
    ],
)
def test_a_message_is_cut(status: int, body: Any, length: int) -> None:
    with pytest.raises(CensusApiError) as caught:
        responses.parse(SOURCE, response(status, body))
    assert len(caught.value.message) == length + 1
    assert caught.value.message.endswith("x…")


def test_a_message_is_cut_where_the_response_is_unusable_besides() -> None:
    with pytest.raises(CensusApiError, match="the response is not what the request is for") as caught:
        responses.parse(SOURCE, response(200, {"message": "x" * 5_000}))
    assert caught.value.message.startswith("x" * responses.MAX_MESSAGE + "… (")


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda char: char,
    "json": lambda char: json.dumps(char)[1:-1],
    "json with slashes escaped": lambda char: "\\/" if char == "/" else json.dumps(char)[1:-1],
    "json escape, lower case": lambda char: f"\\u{ord(char):04x}",
    "json escape, upper case": lambda char: f"\\u{ord(char):04X}",
    "url": lambda char: quote(char, safe=""),
    "url, lower case": lambda char: quote(char, safe="").lower(),
    "url, every character": lambda char: f"%{ord(char):02X}",
    "html": html.escape,
    "html, decimal": lambda char: f"&#{ord(char)};",
    "html, decimal with zeros": lambda char: f"&#00{ord(char)};",
    "html, hexadecimal": lambda char: f"&#x{ord(char):x};",
    "html, hexadecimal in upper case": lambda char: f"&#X0{ord(char):X};",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_token_is_redacted_in_every_form(form: Callable[[str], str]) -> None:
    text = "".join(map(form, TOKEN))
    assert redact(TOKEN, f"Bearer {text}, {text}.".encode()) == b"Bearer ***, ***."


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "x", "xy", "Bearer ", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_the_token_is_redacted_in_base64(encode: Callable[[bytes], bytes], before: str, after: str) -> None:
    text = b"Basic " + encode(f"{before}{TOKEN}{after}".encode())
    left = redact(TOKEN, text)
    assert len(left) <= len(b"Basic ***") + len(base64.b64encode(before.encode())) + 8


@given(st.data())
def test_the_token_is_redacted_in_a_mixture_of_forms(data: st.DataObject) -> None:
    text = "".join(data.draw(st.sampled_from(list(FORMS.values())))(char) for char in TOKEN)
    assert redact(TOKEN, text.encode()) == b"***"


@pytest.mark.parametrize(
    "text",
    [b"", b"nothing of it", TOKEN[:-1].encode(), TOKEN[1:].encode(), b"\\%&", "é€".encode(), b"\xff\xfe"],
)
def test_other_texts_stay_as_they_are(text: bytes) -> None:
    assert redact(TOKEN, text) == text
    assert redact("", text) == text


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("token", [TOKEN, "a" * 40 + "b"], ids=["varied", "repetitive"])
def test_a_text_full_of_beginnings_of_the_token_is_read_through(
    token: str, form: Callable[[str], str]
) -> None:
    """A pattern that could read one of them in several ways would try them all, and never end."""
    forms = [form(char) for char in token]
    beginnings = "".join("".join(forms[:length]) for length in range(1, len(forms)))
    text = (beginnings * (100_000 // len(beginnings)) + "\\%& ").encode()
    assert redact(token, text) == text
    assert redact(token, text + "".join(forms).encode()) == text + b"***"


def test_the_token_in_the_text_of_a_run_is_hidden() -> None:
    words = f"GET /?token={quote(TOKEN)} with Bearer {TOKEN} failed"
    run = {"id": 94, "status": "failed", "error_message": words}
    hidden = {**run, "error_message": "GET /?token=*** with Bearer *** failed"}
    assert responses.parse(RUN, response(200, {"data": run})).value == hidden


def test_the_token_in_a_redirect_is_hidden() -> None:
    received = response(302, location=f"https://{quote(TOKEN, safe='')}.example/?{TOKEN}")
    assert received.headers == {"location": "https://***.example/?***"}


def test_only_headers_that_are_read_are_kept() -> None:
    received = response(200, b"", date="x", retry_after="7", location="/", set_cookie="y", x_echo=TOKEN)
    assert received.headers == {"date": "x", "retry-after": "7", "location": "/"}
    assert "7" not in repr(received)


ECHOES: dict[str, bytes] = {
    "plain": TOKEN.encode(),
    "message": json.dumps({"status": "error", "message": f"no such token: Bearer {TOKEN}"}).encode(),
    "in depth": json.dumps({"errors": {"Authorization": [f"Bearer {TOKEN}"]}}).encode(),
    "broken off": f'{{"status": "error", "errors": ["Bearer {json.dumps(TOKEN)[1:-1]}'.encode(),
    "escaped": f'{{"message": "{"".join(map(FORMS["json escape, upper case"], TOKEN))}"}}'.encode(),
    "html": f"<html><body><pre>Authorization: Bearer {html.escape(TOKEN)}</pre></body></html>".encode(),
    "url": f"GET /?token={quote(TOKEN, safe='')} failed".encode(),
    "end of an excerpt": b"x" * (cleaning.MAX_EXCERPT - len(TOKEN) // 2) + TOKEN.encode(),
    "end of a message": json.dumps({"message": "x" * (responses.MAX_MESSAGE - 9) + TOKEN}).encode(),
    "wrong data": json.dumps({"status": "success", "data": "x" * 235 + TOKEN, "message": TOKEN}).encode(),
}


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("body", ECHOES.values(), ids=ECHOES)
def test_no_error_shows_the_token_though_the_response_does(body: bytes, status: int) -> None:
    with pytest.raises(CensusApiError) as caught:
        responses.parse(SOURCE, response(status, body))
    error = caught.value
    shown = " ".join([str(error), repr(error), repr(error.args), error.message, repr(vars(error))])
    for part in ("oken:a", "oken%3Aa", "\\u0073", "f+g"):
        assert part not in shown
    assert "***" in shown or status == 200  # data that is no error is not quoted


STATUSES = st.integers(200, 999)
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
        responses.parse(
            request,
            HTTPResponse.received(status, headers, body, TOKEN),
        )

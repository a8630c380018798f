# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""From the fields of a connection to where Census is and how to talk to it."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from airflow_provider_census.api.settings import Settings, read_settings
from airflow_provider_census.exceptions import CensusConfigError, CensusError

TOKEN = "secret-token:abc"
US = "https://app.getcensus.com"
EU = "https://app-eu.getcensus.com"
BEFORE = 1_800_000_000.0 - 86400
"""A moment at which API v1 is there."""

AFTER = 1_800_000_000.0
"""The morning on which it is not any more."""


def read(**fields: Any) -> Settings:
    return read_settings(**{"password": TOKEN, "now": BEFORE, **fields})


def refusal(**fields: Any) -> str:
    """Why fields are refused, if they are."""
    try:
        read(**fields)
    except CensusConfigError as error:
        return str(error)
    return ""


class Host(str, Enum):
    """Hosts, as a backend may have them."""

    EU = "app-eu.getcensus.com"


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, US),
        ({"host": ""}, US),
        ({"host": "  "}, US),
        ({"host": "app-eu.getcensus.com"}, EU),
        ({"host": " app-eu.getcensus.com\n"}, EU),
        ({"host": "App-EU.GetCensus.com"}, EU),
        ({"host": "https://app-eu.getcensus.com"}, EU),
        ({"host": "https://app-eu.getcensus.com/"}, EU),
        ({"host": "HTTPS://app-eu.getcensus.com"}, EU),
        ({"host": "app-eu.getcensus.com", "schema": "https"}, EU),
        ({"host": "app-eu.getcensus.com", "schema": "HTTPS://"}, EU),
        ({"host": "https://app-eu.getcensus.com", "schema": "https"}, EU),
        ({"host": Host.EU}, EU),
        ({"host": "app-eu.getcensus.com", "port": None}, EU),
        ({"host": "app-eu.getcensus.com", "port": ""}, EU),
        *[({"port": port}, f"{US}:8443") for port in ("8443", " 8443 ", 8443.0, Decimal(8443))],
        ({"host": "app-eu.getcensus.com", "port": 443}, EU),
        ({"host": "app-eu.getcensus.com:443"}, EU),
        ({"host": "localhost", "schema": "http", "port": 80}, "http://localhost"),
        ({"host": "localhost", "schema": "http", "port": 443}, "http://localhost:443"),
        ({"host": "app-eu.getcensus.com:8443"}, f"{EU}:8443"),
        ({"host": "app-eu.getcensus.com:8443", "port": 8443}, f"{EU}:8443"),
        ({"host": "https://app-eu.getcensus.com:8443/"}, f"{EU}:8443"),
        ({"port": 8443}, f"{US}:8443"),
        ({"host": "census_proxy.internal."}, "https://census_proxy.internal."),
        ({"host": "10.1.2.3"}, "https://10.1.2.3"),
        ({"host": "[2001:db8::1]:8443"}, "https://[2001:db8::1]:8443"),
        ({"host": "2001:db8::1", "port": 8443}, "https://[2001:db8::1]:8443"),
        ({"host": "http://localhost:8765"}, "http://localhost:8765"),
        ({"host": "127.0.0.1", "port": 8765, "schema": "http"}, "http://127.0.0.1:8765"),
        ({"host": "127.9.9.9", "schema": "http"}, "http://127.9.9.9"),
        ({"host": "::1", "port": 8765, "schema": "http"}, "http://[::1]:8765"),
        ({"host": "http://[::1]:8765"}, "http://[::1]:8765"),
        ({"host": "census.localhost", "schema": "http"}, "http://census.localhost"),
        *[
            ({"host": "http://census.internal", "extra": extra}, "http://census.internal")
            for extra in (
                '{"allow_http": true}',
                '{"allow_http": "True"}',
                '{"allow_http": " true "}',
                {"allow_http": True},
            )
        ],
    ],
)
def test_a_host_is_found_however_it_is_written(fields: dict[str, Any], base_url: str) -> None:
    assert read(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        *[
            ({"host": host}, "'host'")
            for host in (
                "app.getcensus.com/api/v1",
                "https://app.getcensus.com/api",
                "app.getcensus.com?x=1",
                "app.getcensus.com#x",
                "app getcensus.com",
                "app.getcensus.com, app-eu.getcensus.com",
                "app\n.getcensus.com",
                "app.gétcensus.com",
                "app.getcensu\uff53.com",
                "\u212aitchen.test",
                "app.getcensus.com\r\nX: y",
                "file:///etc/passwd",
                b"app.getcensus.com",
                1.5,
                True,
                "me@app.getcensus.com",
                "https://me:pw@app.getcensus.com",
                "app.getcensus.com:",
                "app.getcensus.com:0",
                "app.getcensus.com:65536",
                "app.getcensus.com:https",
                "ftp://app.getcensus.com",
                "https://",
                "https:app.getcensus.com",
                "://app.getcensus.com",
                ".",
                "..",
                "app..getcensus.com",
                ".getcensus.com",
                "-app.getcensus.com",
                f"{'a' * 64}.getcensus.com",
                "[::1",
                "[::g]",
                "[:::]",
                "fe80::1%eth0",
                "{{ var.value.host }}",
            )
        ],
        ({"host": "http://app.getcensus.com"}, "'host'"),
        ({"schema": "http"}, "'host'"),
        ({"host": "10.0.0.1", "schema": "http"}, "'host'"),
        ({"host": "localhost.evil.test", "schema": "http"}, "'host'"),
        ({"host": "127.0.0.1.evil.test", "schema": "http"}, "'host'"),
        ({"host": "http://census.internal", "extra": '{"allow_http": false}'}, "'host'"),
        ({"schema": "ftp"}, "'schema'"),
        ({"schema": "census"}, "'schema'"),
        ({"host": "https://app.getcensus.com", "schema": "http"}, "'schema'"),
        ({"schema": b"http"}, "'schema'"),
        *[
            ({"port": port}, "'port'")
            for port in (0, -1, 65536, "0", "65536", "-1", "https", "8443.0", "٣", 1.5, True, b"8443", [8443])
        ],
        *[({"port": port}, "'port'") for port in (math.nan, math.inf, Decimal("NaN"))],
        *[({"conn_type": kind}, "'conn_type'") for kind in ("aws", "http", "generic", b"census", 1, True)],
        ({"host": "app.getcensus.com:8443", "port": 443}, "'port'"),
        *[
            ({"password": password}, "'password'")
            for password in (None, "", " \n", b"abc", 1.5, True, ["abc"])
        ],
        *[
            ({"password": password}, "'password'")
            for password in (
                "secret-token: abc",
                "a\tb",
                "a\nb",
                "a\x00b",
                "a\x7fb",
                "a\u00a0b",
                "tokén",
                "a\u200bb",
            )
        ],
        *[
            ({"extra": extra}, "'extra'")
            for extra in ("{", "[]", "1", "null", '"x"', "[" * 100_000, b'{"timeout": 1}', ["timeout"], 1)
        ],
        *[({"extra": {"timeout": value}}, "'timeout'") for value in (b"60", Decimal("NaN"))],
        *[
            ({"extra": f'{{"timeout": {value}}}'}, "'timeout'")
            for value in (
                "0",
                "-1",
                "true",
                '"soon"',
                "[60]",
                "{}",
                "NaN",
                "Infinity",
                "1e400",
                '"nan"',
                "1e12",
            )
        ],
        *[
            ({"extra": f'{{"attempts": {value}}}'}, "'attempts'")
            for value in ("0", "-1", "true", "1.5", '"many"', '"1.5"', "[5]", "1e3", "101", '"٣"')
        ],
        *[
            ({"extra": f'{{"max_requests_per_minute": {value}}}'}, "'max_requests_per_minute'")
            for value in ("0", "-1", "true", "1.5", '"many"', "[5]", "1000001")
        ],
        *[
            ({"extra": f'{{"api_version": {value}}}'}, "'api_version'")
            for value in ('"v3"', '"V2"', '"1"', "1", "[]")
        ],
        *[({"extra": f'{{"group_id": {value}}}'}, "'group_id'") for value in ("1.5", "true", "[]")],
        *[({"extra": f'{{"allow_http": {value}}}'}, "'allow_http'") for value in ('"yes"', "1", "[]")],
    ],
)
def test_what_cannot_be_used_is_refused_naming_the_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(CensusConfigError) as caught:
        read(**fields)
    message = str(caught.value)
    assert isinstance(caught.value, (CensusError, ValueError))
    assert f"field {named}" in message
    assert TOKEN not in message
    password = fields.get("password")
    assert not isinstance(password, str) or not password.strip() or password not in message


@pytest.mark.parametrize("extra", [None, "{}", '{"api_version": null}', '{"api_version": ""}'])
def test_the_day_decides_where_nobody_names_a_version(extra: str | None) -> None:
    assert read(extra=extra).api_version == "v1"
    after = read(extra=extra, now=AFTER)
    assert (after.api_version, after.api_url) == ("v2", f"{US}/api/v2")
    for version in ("v1", "v2"):
        assert read(extra={"api_version": version}, now=AFTER).api_version == version


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (None, (60.0, 5, "v1", None)),
        ("", (60.0, 5, "v1", None)),
        ("{}", (60.0, 5, "v1", None)),
        (
            '{"timeout": null, "attempts": null, "api_version": null, "group_id": null, "allow_http": null}',
            (60.0, 5, "v1", None),
        ),
        (
            '{"timeout": "", "attempts": "", "api_version": "", "group_id": "", "allow_http": ""}',
            (60.0, 5, "v1", None),
        ),
        ('{"timeout": 7, "attempts": 1, "api_version": "v1"}', (7.0, 1, "v1", None)),
        ('{"api_version": "v2", "group_id": "decent_dropsy"}', (60.0, 5, "v2", "decent_dropsy")),
        ('{"timeout": "2.5", "attempts": " 3 "}', (2.5, 3, "v1", None)),
        ('{"timeout": 7, "attempts": 3.0, "group_id": 52}', (7.0, 3, "v1", "52")),
        ({"timeout": Decimal("2.5"), "attempts": Decimal(3)}, (2.5, 3, "v1", None)),
        ('{"of_another_time": 1}', (60.0, 5, "v1", None)),
    ],
)
def test_extra_fields_have_their_defaults(extra: Any, expected: tuple[float, int, str, str | None]) -> None:
    found = read(extra=extra)
    assert (found.timeout, found.attempts, found.api_version, found.group_id) == expected
    assert found.api_url == f"{US}/api/{expected[2]}"


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("{}", None),
        ('{"max_requests_per_minute": null}', None),
        ('{"max_requests_per_minute": ""}', None),
        ('{"max_requests_per_minute": 600}', 600),
        ('{"max_requests_per_minute": "600"}', 600),
    ],
)
def test_requests_per_minute_are_unlimited_by_default(extra: str, expected: int | None) -> None:
    assert read(extra=extra).max_requests_per_minute == expected


@pytest.mark.parametrize("around", ["{}\n", " {} ", "\t{}\r\n", "{}"])
def test_white_space_around_the_token_is_taken_off(around: str) -> None:
    assert read(password=around.format(TOKEN)).token == TOKEN


def test_a_number_may_be_a_token() -> None:
    assert read(password=20270115).token == "20270115"


@pytest.mark.parametrize("conn_type", ["census", "Census", " census ", "", None])
def test_a_connection_without_a_type_is_taken_for_one_of_census(conn_type: str | None) -> None:
    assert read(conn_type=conn_type).token == TOKEN


def test_the_type_of_a_hook_of_ones_own_is_one_of_census() -> None:
    assert read(conn_type="our_census", conn_types={"census", "our_census"}).token == TOKEN


@pytest.mark.parametrize("token", [TOKEN, "abcdefghijklmnop", "123456789012345678901"])
@pytest.mark.parametrize(
    "fields",
    [
        {"conn_type": "{}"},
        {"host": "{}"},
        {"host": "{}@app.getcensus.com/"},
        {"host": "https://bearer:{}@app.getcensus.com/x"},
        {"port": "{}"},
        {"schema": "{}"},
        {"password": "a {}"},
        {"extra": "{}"},
        *[
            {"extra": {key: value}}
            for key in (
                "timeout",
                "attempts",
                "api_version",
                "group_id",
                "allow_http",
                "max_requests_per_minute",
            )
            for value in ("{}", ["{}"])
        ],
    ],
    ids=str,
)
def test_a_token_in_the_wrong_field_is_not_shown(fields: dict[str, Any], token: str) -> None:
    message = refusal(**json.loads(json.dumps(fields).replace("{}", token)))
    assert token.removeprefix("secret-token:") not in message


def test_settings_do_not_show_the_token() -> None:
    assert TOKEN not in repr(read())

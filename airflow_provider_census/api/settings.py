# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The fields of an Airflow connection, taken to what a transport needs."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow_provider_census.api.versions import DEFAULT_VERSION, VERSIONS
from airflow_provider_census.exceptions import CensusConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_HOST = "app.getcensus.com"
DEFAULT_TIMEOUT = 60.0
DEFAULT_ATTEMPTS = 5

MAX_TIMEOUT = 86400.0
"""Seconds; sockets cannot count much further."""

LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
"""What stands between the dots of a host name."""


@dataclass(frozen=True)
class Settings:
    """
    Where Census is and how to talk to it.

    :ivar base_url: scheme, host and port, such as ``https://app.getcensus.com``.
    :ivar token: the API token.
    :ivar timeout: seconds for one request.
    :ivar attempts: how often a request is sent at most.
    :ivar api_version: ``v1`` or ``v2``.
    :ivar group_id: the Fivetran group in which API v2 creates things.
    :ivar api_url: what the paths of requests are appended to.
    :ivar hints: what to say to a person besides an HTTP status.
    """

    base_url: str
    token: str = field(repr=False)
    timeout: float = DEFAULT_TIMEOUT
    attempts: int = DEFAULT_ATTEMPTS
    api_version: str = DEFAULT_VERSION
    group_id: str | None = None

    api_url: str = field(init=False, repr=False)
    hints: Mapping[int, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        version = VERSIONS[self.api_version]
        object.__setattr__(self, "api_url", self.base_url + version.root)
        object.__setattr__(self, "hints", version.hints)


def read_settings(
    *,
    host: str | None,
    port: int | None,
    schema: str | None,
    password: str | None,
    extra: str | None,
) -> Settings:
    """
    Read the fields of a connection, by Airflow's names for them.

    :raises CensusConfigError: if a field is missing or cannot be used, naming the field and the host.
    """
    try:
        fields = _fields(extra)
        return Settings(
            _base_url(host, port, schema, allow_http=_flag(fields, "allow_http")),
            _token(password),
            _seconds(fields, "timeout"),
            _attempts(fields, "attempts"),
            check_api_version(fields.get("api_version", DEFAULT_VERSION), "extra field 'api_version'"),
            _group(fields, "group_id"),
        )
    except CensusConfigError as error:
        shown = _shown((host or "").strip() or DEFAULT_HOST)
        raise CensusConfigError(
            f"The Census connection with the host {shown} cannot be used: {error}"
        ) from None


def _fields(extra: str | None) -> Mapping[str, Any]:
    if not extra:
        return {}
    try:
        fields = json.loads(extra)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise CensusConfigError("field 'extra' must be a JSON object, such as {\"timeout\": 30}")
    # The connection form saves an empty field as an empty string, or null.
    return {key: value for key, value in fields.items() if value is not None and value != ""}


def _base_url(host: str | None, port: int | None, schema: str | None, *, allow_http: bool) -> str:
    text = (host or "").strip().rstrip("/") or DEFAULT_HOST
    url = _split(text)
    scheme = (schema or "").strip().lower().removesuffix("://")
    if scheme not in {"", "http", "https"}:
        raise CensusConfigError(f"field 'schema' must be http, https or empty, not {schema!r}")
    if url.scheme and scheme and url.scheme != scheme:
        raise CensusConfigError(f"field 'schema' is {scheme!r}, but field 'host' begins with {url.scheme}://")
    if url.port and port and url.port != port:
        raise CensusConfigError(f"field 'port' is {port}, but field 'host' says {url.port}")
    if port and not 0 < port < 65536:
        raise CensusConfigError(f"field 'port' must be from 1 to 65535, not {port}")
    scheme = url.scheme or scheme or "https"
    if scheme == "http" and not allow_http and not _is_loopback(url.hostname or ""):
        raise CensusConfigError(
            "field 'host' with plain http would show the API token to the network: "
            "use https, or set allow_http to true in the connection's extra"
        )
    name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    number = url.port or port
    return f"{scheme}://{name}" + (f":{number}" if number else "")


def _split(text: str) -> SplitResult:
    if ":" in text and _is_ipv6(text):
        text = f"[{text}]"  # as Airflow takes it out of a URI
    try:
        url = urlsplit(text if "://" in text else "//" + text)
        usable = bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    else:
        beyond = url.path or url.query or url.fragment or "@" in url.netloc or url.netloc.endswith(":")
        host = url.hostname or ""
        is_host = re.fullmatch(rf"{LABEL}(\.{LABEL})*\.?", host) or _is_ipv6(host)
        # urlsplit leaves line breaks and tabs out in silence.
        usable = usable and not beyond and text.isprintable() and url.scheme in {"", "http", "https"}
        if usable and is_host:
            return url
    raise CensusConfigError(
        f"field 'host' must be a host such as {DEFAULT_HOST} or app-eu.getcensus.com, "
        "with https:// and a port if need be, but no path, spaces or user name"
    )


def _shown(host: str) -> str:
    """Leave out of a message what may be a token that was pasted into the host field."""
    shown = host.rpartition("@")[2]
    return "(a token?)" if "secret-token" in shown else shown


def _is_loopback(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost" or hostname.endswith(".localhost")


def _is_ipv6(hostname: str) -> bool:
    try:
        return not IPv6Address(hostname).scope_id
    except ValueError:
        return False


def _token(password: str | None) -> str:
    token = (password or "").strip()
    if not token:
        raise CensusConfigError("field 'password' is empty: it must hold the Census API token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CensusConfigError(
            "field 'password' must hold the Census API token alone: "
            "it has white space, control or non-ASCII characters inside"
        )
    return token


def _seconds(extra: Mapping[str, Any], key: str) -> float:
    value = extra.get(key, DEFAULT_TIMEOUT)
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        raise CensusConfigError(
            f"extra field '{key}' must be a number of seconds above 0, "
            f"of at most {MAX_TIMEOUT:.0f}, not {value!r}"
        )
    return seconds


def _attempts(extra: Mapping[str, Any], key: str) -> int:
    value = extra.get(key, DEFAULT_ATTEMPTS)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CensusConfigError(f"extra field '{key}' must be a whole number of at least 1, not {value!r}")
    return value


def check_api_version(value: object, named: str = "api_version") -> str:
    """
    Check the name of a version of the API.

    :param named: what an error calls it.
    :raises CensusConfigError: if this provider does not speak it.
    """
    if not isinstance(value, str) or value not in VERSIONS:
        raise CensusConfigError(f"{named} must be one of {', '.join(VERSIONS)}, not {value!r}")
    return value


def _group(extra: Mapping[str, Any], key: str) -> str | None:
    value = extra.get(key)
    if value is not None and not isinstance(value, str):
        raise CensusConfigError(f"extra field '{key}' must be the id of a Fivetran group, not {value!r}")
    return value


def _flag(extra: Mapping[str, Any], key: str) -> bool:
    word = str(extra.get(key, False)).strip().lower()
    if word not in {"true", "false"}:
        raise CensusConfigError(f"extra field '{key}' must be true or false, not {extra[key]!r}")
    return word == "true"

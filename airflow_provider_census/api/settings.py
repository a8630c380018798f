# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The fields of an Airflow connection, taken to what a transport needs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, ip_address
from numbers import Number
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow_provider_census.api import versions
from airflow_provider_census.api.hook_params import MAX_ATTEMPTS, MAX_TIMEOUT
from airflow_provider_census.api.versions import VERSIONS
from airflow_provider_census.exceptions import CensusConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

DEFAULT_HOST = "app.getcensus.com"
DEFAULT_TIMEOUT = 60.0
DEFAULT_ATTEMPTS = 5

MAX_REQUESTS_PER_MINUTE = 1_000_000
"""Far more than a process can send."""

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
    :ivar max_requests_per_minute: how many requests a triggerer sends at most; ``None`` for any number.
    :ivar connection_id: id of the Airflow connection, where it is one; only for messages.
    :ivar api_url: what the paths of requests are appended to.
    """

    base_url: str
    token: str = field(repr=False)
    timeout: float = DEFAULT_TIMEOUT
    attempts: int = DEFAULT_ATTEMPTS
    api_version: str = field(default_factory=versions.default_version)
    group_id: str | None = None
    max_requests_per_minute: int | None = None
    connection_id: str = field(default="", compare=False)

    api_url: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_url", self.base_url + VERSIONS[self.api_version].root)

    @property
    def name(self) -> str:
        """Name it in a message: ``connection 'census_default' (https://app.getcensus.com, v1)``."""
        where = f"({self.base_url}, {self.api_version})"
        return f"connection {self.connection_id!r} {where}" if self.connection_id else f"Census {where}"

    @property
    def hints(self) -> Mapping[int, str]:
        """What to say to a person besides an HTTP status, which depends on the day."""
        return versions.hints(self.api_version)


def read_settings(
    *,
    conn_type: Any = "census",
    host: Any = None,
    port: Any = None,
    schema: Any = None,
    password: Any = None,
    extra: Any = None,
    conn_types: Collection[str] = ("census",),
    now: float | None = None,
    **known: Any,
) -> Settings:
    """
    Read the fields of a connection, by Airflow's names for them, in whatever type a backend gives them.

    No error shows what a field holds, unless it is a number: it may be a token in the wrong field.

    :param conn_types: the types of a connection that is for Census; one that says no type is, too.
    :param now: seconds since the epoch, by which a connection that names no version has one; ``None`` for
        the time it is.
    :param known: fields of :class:`Settings` that count whatever the connection says.
    :raises CensusConfigError: if a field is missing or cannot be used, naming the field.
    """
    texts = _texts(conn_type=conn_type, host=host, schema=schema, password=password)
    if (texts["conn_type"] or "census").lower() not in conn_types:
        raise CensusConfigError(
            f"field 'conn_type' must be {' or '.join(sorted(conn_types))}; this connection is of another "
            "type, and what it holds is not for Census"
        )
    given = _fields(extra)
    extras = {key: read(f"extra field '{key}'", given[key]) for key, read in EXTRAS.items() if key in given}
    if "api_version" not in extras:
        extras["api_version"] = versions.default_version(now)
    number = _whole_number("field 'port'", port, 65535) if port not in (None, "") else None
    url = _base_url(texts["host"], number, texts["schema"], allow_http=extras.pop("allow_http", False))
    return Settings(url, _token(texts["password"]), **{**extras, **known})


def _texts(kind: str = "field", **fields: Any) -> dict[str, str]:
    """Read texts without the white space around them; a whole number may be one, and nothing is empty."""
    texts = {}
    for name, value in fields.items():
        text = str.strip(value or "") if isinstance(value, str) or value is None else _whole(value)
        if text is None:
            raise CensusConfigError(f"{kind} {name!r} must be a text, not {_shown(value)}")
        texts[name] = str(text)
    return texts


def _whole(value: Any) -> int | None:
    """Read a whole number, of any type that has them, or as digits; ``None`` if it is something else."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*[0-9]{1,9}\s*", value) else None
    try:
        whole = None if isinstance(value, bool) or not isinstance(value, Number) else int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if whole == value else None


def _shown(value: Any) -> str:
    """Say what a field holds, but no text, for it may be a token in the wrong field."""
    if isinstance(value, (int, float)):
        return repr(value)
    return "this text" if isinstance(value, str) else f"a value of type {type(value).__name__}"


def _fields(extra: Any) -> Mapping[str, Any]:
    fields = extra or {}
    if isinstance(fields, str):
        try:
            fields = json.loads(fields)
        except (ValueError, RecursionError):
            fields = None
    if not isinstance(fields, Mapping):
        raise CensusConfigError("field 'extra' must be a JSON object, such as {\"timeout\": 30}")
    # The connection form saves an empty field as an empty string, or null.
    return {key: value for key, value in fields.items() if value is not None and value != ""}


def _base_url(host: str, port: int | None, schema: str, *, allow_http: bool) -> str:
    url = _split(host.rstrip("/") or DEFAULT_HOST)
    scheme = schema.lower().removesuffix("://")
    if scheme not in {"", "http", "https"}:
        raise CensusConfigError("field 'schema' must be http, https or empty")
    if url.scheme and scheme and url.scheme != scheme:
        raise CensusConfigError(f"field 'schema' is {scheme!r}, but field 'host' begins with {url.scheme}://")
    if url.port and port and url.port != port:
        raise CensusConfigError(f"field 'port' is {port}, but field 'host' says {url.port}")
    scheme = url.scheme or scheme or "https"
    if scheme == "http" and not allow_http and not is_loopback(url.hostname or ""):
        raise CensusConfigError(
            "field 'host' with plain http would show the API token to the network: "
            "use https, or set allow_http to true in the connection's extra"
        )
    name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    number = url.port or port
    if number == {"https": 443, "http": 80}[scheme]:
        number = None  # one host has one name, in links, assets and lineage
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
        # urlsplit leaves line breaks and tabs out in silence, and takes the sign for kelvin for a k.
        plain = text.isascii() and text.isprintable()
        usable = usable and not beyond and plain and url.scheme in {"", "http", "https"}
        if usable and is_host:
            return url
    raise CensusConfigError(
        f"field 'host' must be a host such as {DEFAULT_HOST} or app-eu.getcensus.com, "
        "with https:// and a port if need be, but no path, spaces or user name"
    )


def is_loopback(hostname: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost" or hostname.endswith(".localhost")


def _is_ipv6(hostname: str) -> bool:
    try:
        return not IPv6Address(hostname).scope_id
    except ValueError:
        return False


def _token(token: str) -> str:
    if not token:
        raise CensusConfigError("field 'password' is empty: it must hold the Census API token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CensusConfigError(
            "field 'password' must hold the Census API token alone: "
            "it has white space, control or non-ASCII characters inside"
        )
    return token


def _seconds(named: str, value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, (bool, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        raise CensusConfigError(
            f"{named} must be a number of seconds above 0, of at most {MAX_TIMEOUT:.0f}, not {_shown(value)}"
        )
    return seconds


def _whole_number(named: str, value: Any, maximum: int) -> int:
    number = _whole(value)
    if number is None or not 1 <= number <= maximum:
        raise CensusConfigError(f"{named} must be a whole number from 1 to {maximum}, not {_shown(value)}")
    return number


def _api_version(named: str, value: Any) -> str:
    if value not in list(VERSIONS):  # a list, for it may be of any type
        raise CensusConfigError(f"{named} must be one of {', '.join(VERSIONS)}")
    return str(value)


def _flag(named: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in {"true", "false"}:
        raise CensusConfigError(f"{named} must be true or false")
    return word == "true"


EXTRAS: Mapping[str, Callable[[str, Any], Any]] = {
    "allow_http": _flag,
    "timeout": _seconds,
    "attempts": partial(_whole_number, maximum=MAX_ATTEMPTS),
    "api_version": _api_version,
    "group_id": lambda _, value: _texts("extra field", group_id=value)["group_id"] or None,
    "max_requests_per_minute": partial(_whole_number, maximum=MAX_REQUESTS_PER_MINUTE),
}
"""How each field of a connection's extra is read, given what a message calls it, and its value."""

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The one place that reads what Census responds: status, headers and bytes to data, a page, or an error."""

from __future__ import annotations

import functools
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from airflow_provider_census.api.cleaning import MAX_DEPTH, MAX_EXCERPT, cut, one_line, redact, storable
from airflow_provider_census.api.encodings import decompress
from airflow_provider_census.api.request import JsonObject, Request, Response
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusNotFoundError,
    CensusRateLimitError,
)

if TYPE_CHECKING:
    from airflow_provider_census.api.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a response that are read; a longer one is an error, so that none can fill the memory."""

MAX_ERROR_BODY = 64 * 1024
"""Bytes that are read of an error page."""

MAX_VALUES = 500_000
"""Values that JSON may have, roughly: eight MiB of empty lists would hold an event loop for seconds."""

MAX_MESSAGE = 2000
"""Characters of Census' own words that an error message quotes."""

HEADERS = ("date", "retry-after", "location", "content-encoding")
"""The headers that are read; no other is kept."""

QUOTED_HEADERS = {"location", "content-encoding"}
"""The headers that a message quotes."""

ERRORS: dict[int, type[CensusApiError]] = {
    401: CensusAuthError,
    403: CensusAuthError,
    404: CensusNotFoundError,
    429: CensusRateLimitError,
}


def body_limit(status: int) -> int:
    """Tell how many bytes are read of a body at most, as it was sent and decompressed."""
    return {2: MAX_BODY + 1, 3: 0}.get(status // 100, MAX_ERROR_BODY)


@dataclass(frozen=True)
class HTTPResponse:
    """
    One HTTP response, without the API token, whoever echoes it.

    :ivar status: the HTTP status.
    :ivar headers: those of :data:`HEADERS` that it has, names in lower case.
    :ivar body: the decompressed body, whole, or cut at one byte over :data:`MAX_BODY`.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @classmethod
    def received(cls, status: int, headers: Mapping[str, str], body: bytes, token: str) -> HTTPResponse:
        """
        Take a response in at the door: what comes after it cannot show the API token.

        :param headers: all headers; names match whatever their case, as the HTTP libraries have it.
        :param body: what was read of it, as it was sent.
        :raises ValueError: if it is no final response, or cannot be decompressed.
        """
        if status < 200:
            raise ValueError(f"HTTP {status} is not a final status")
        kept = {name: headers[name] for name in HEADERS if name in headers}
        for name in QUOTED_HEADERS & kept.keys():
            kept[name] = redact(token, kept[name].encode("utf-8", "replace")).decode("utf-8", "replace")
        if "content-encoding" in kept:
            body = decompress(body, kept["content-encoding"], body_limit(status))
        return cls(status, kept, redact(token, body))

    @property
    def date(self) -> float | None:
        """Census' clock when it responded, in seconds since the epoch."""
        return _epoch(self.headers.get("date", ""))

    @property
    def retry_after(self) -> float | None:
        """Seconds that Census asked to wait; it says so in seconds, or as a date on its own clock."""
        header = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", header):
            return float(header)
        until = _epoch(header)
        if until is None:
            return None
        return max(0.0, until - (self.date or datetime.now(timezone.utc).timestamp()))


@dataclass(frozen=True)
class Page(Generic[T]):
    """
    One page of a list.

    :ivar items: what it lists.
    :ivar number: its number, where Census says so.
    :ivar next_page: the number of the next page; ``None`` on the last one, and where Census does not say.
    :ivar next_url: the address of the next page, where Census says so.
    :ivar numbered: whether the response says what comes next at all.
    :ivar last_page: the number of the last page, where Census says so.
    :ivar total: how many items the list has, where Census says so.
    """

    items: list[T]
    number: int | None = None
    next_page: int | None = None
    next_url: str | None = None
    numbered: bool = False
    last_page: int | None = None
    total: int | None = None


def parse(request: Request[T], response: HTTPResponse, settings: Settings | None = None) -> Response[T]:
    """
    Take a response to what its request declared as such.

    :param settings: of the connection, for what an error says of it besides Census' own words.
    :raises CensusApiError: for everything else, with the HTTP status, Census' own words, method and path.
    """
    body, flaw = _decode(response)
    status, word = response.status, (body or {}).get("status")
    refused = not 200 <= status < 300 or word == "error"
    if not refused and isinstance(word, int):  # the body of an error may say so, too
        status, refused = (word if 400 <= word < 600 else status), True
    if refused:
        if 300 <= status < 400:
            problem = _redirect(response)
        else:
            problem = _message(body) or _excerpt(response.body) or "no message"
        hint = settings.hints.get(status, "") if settings is not None else ""
        error = _error(request, response, status, problem, hint=hint)
        if settings is not None and isinstance(error, CensusAuthError):
            error.connection = settings.name
        raise error
    if body is not None:
        try:
            if request.about is not None and "data" in body:
                body = {**body, "data": _of_subject(request, body["data"])}
            return Response(request.parse(body), response.date)
        except (LookupError, TypeError) as error:
            flaw = cut(f"the response is not what the request is for: {error.args[0]}")
            if isinstance(body.get("message"), str):
                flaw = f"{cut(body['message'], MAX_MESSAGE)} ({flaw})"
    raise _error(request, response, status, flaw or "", unusable=True, well_formed=body is not None)


def _error(
    request: Request[Any],
    response: HTTPResponse,
    status: int,
    message: str,
    *,
    hint: str = "",
    unusable: bool = False,
    well_formed: bool = False,
) -> CensusApiError:
    message = one_line(storable(message), 2 * MAX_MESSAGE)
    text = f"HTTP {status}: {message.rstrip('.')} ({request})" + (f"; {hint}." if hint else ".")
    return ERRORS.get(status, CensusApiError)(
        text,
        status_code=status,
        message=message,
        method=request.method,
        path=request.path,
        retry_after=response.retry_after,
        unusable=unusable,
        well_formed=well_formed,
    )


def _data(kind: type, named: str, body: JsonObject) -> Any:
    data = body.get("data")
    if not isinstance(data, kind):
        raise TypeError(f"data should be {named}, it is {_shape(data) if 'data' in body else 'missing'}")
    return data


data_object = functools.partial(_data, dict, "an object")
"""Take ``data``, an object."""

data_list = functools.partial(_data, list, "a list")
"""Take ``data``, a list."""


def data_id(keys: tuple[str, ...], body: JsonObject) -> int:
    """Take the id that stands in ``data``, under the first key that is there."""
    data = data_object(body)
    key = next((key for key in keys if key in data), keys[0])
    number = to_id(data.get(key))
    if number is None:
        raise TypeError(f"data.{key} should be an id, it is {_shape(data.get(key))}")
    return number


def to_id(value: object) -> int | None:
    """Read an id: a whole number from 1 within 64 bits, also as a text or a float; ``None`` if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        return None
    return value


def _of_subject(request: Request[Any], data: Any) -> Any:
    """
    Keep of a response what is about that which was asked for, and let it say so where it does not.

    Ids that are no whole numbers become such.

    :raises TypeError: if it is one object, about something else.
    """
    assert request.about is not None
    key, subject = request.about
    kept: list[Any] = []
    foreign: list[JsonObject] = []
    for each in data if isinstance(data, list) else [data]:
        if not isinstance(each, dict):
            kept.append(each)
            continue
        for name in ("id", "sync_id"):
            if isinstance(each.get(name), (str, float)):
                each[name] = to_id(each[name]) or each[name]
        if each.get(key) is None:  # it need not say what it was asked for
            each[key] = to_id(subject) or subject
        is_it = str(each[key]) == subject or str(each[key]) == str(to_id(subject))  # as of "052"
        (kept if is_it else foreign).append(each)
    if not foreign:
        return data
    said = cut(_json(foreign[0][key]))
    if not isinstance(data, list):
        raise TypeError(f"it is about {key} {said}, not {subject}")
    if not (reported := _logged_foreign(request.path)):
        reported.append(said)
        log.warning("%s: ignored what is not about %s %s, but %s.", request, key, subject, said)
    return kept


@functools.lru_cache(maxsize=256)
def _logged_foreign(path: str) -> list[str]:
    """Give a list for what has been reported of a response, which is read again and again."""
    return []


def refresh_key_of(body: JsonObject) -> str:
    """Take the ``refresh_key``, which stands beside ``data`` or in it."""
    data = body.get("data")
    key = data.get("refresh_key") if isinstance(data, dict) else body.get("refresh_key")
    if isinstance(key, bool) or not isinstance(key, (int, str)):
        raise TypeError(f"refresh_key should be a key, it is {_shape(key)}")
    return str(key)


def refresh_status(body: JsonObject) -> str:
    """Take how far a refresh is, which stands in ``data``, or where other responses say how they went."""
    data = body.get("data")
    status = data.get("status") if isinstance(data, dict) else body.get("status")
    if not isinstance(status, str):
        raise TypeError(f"status should say how far the refresh is, it is {_shape(status)}")
    return status


def record_count(body: JsonObject) -> int:
    """Take ``record_count`` from ``data``, a list with one object, or the object."""
    data = body.get("data")
    data = data[0] if isinstance(data, list) and len(data) == 1 else data
    count = data.get("record_count") if isinstance(data, dict) else data
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"data should be a record_count, it is {_shape(count)}")
    return count


def export_urls(body: JsonObject) -> list[str]:
    """Take ``urls``, a list of addresses."""
    urls = body.get("urls")
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise TypeError("urls should be a list of addresses")
    return urls


def everything(body: JsonObject) -> JsonObject:
    """Take all that Census says, of a response that has no shape of its own."""
    return body


def nothing(body: JsonObject) -> None:
    """Take nothing: that Census responded without an error is the result."""


def page(body: JsonObject) -> Page[Any]:
    """Take ``data``, a list, and where its next page is."""
    items = data_list(body)
    pagination, next_url = body.get("pagination"), body.get("next")
    if isinstance(pagination, Mapping):
        if not next_url and isinstance(pagination.get("next"), str):
            next_url = pagination["next"]
        if "next_page" in pagination:
            return Page(
                items,
                _number(pagination, "page"),
                next_page=_number(pagination, "next_page"),
                numbered=True,
                last_page=to_id(pagination.get("last_page")),
                total=to_id(pagination.get("total_records")),
            )
    if next_url is not None and not isinstance(next_url, str):
        raise TypeError(f"next should be a URL, it is {_shape(next_url)}")
    return Page(items, next_url=next_url or None, numbered="next" in body or bool(next_url))


def _number(pagination: Mapping[str, Any], key: str) -> int | None:
    value = pagination.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"pagination.{key} should be a number, it is {_shape(value)}")
    return value


def _decode(response: HTTPResponse) -> tuple[JsonObject | None, str | None]:
    """Decode a body; a body that is no JSON has a flaw instead."""
    if len(response.body) > MAX_BODY:
        return None, f"the response is longer than {MAX_BODY // 1024**2} MiB"
    if not response.body.strip():
        return None, "the response has no body"
    nesting = response.body.count(b"{") + response.body.count(b"[")
    if nesting + response.body.count(b",") > MAX_VALUES:
        return None, f"the response has more than {MAX_VALUES} values"
    try:
        # UTF-8, as JSON must be: given bytes, json guesses the encoding, and lets half a character through.
        body = DECODER.decode(response.body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None, f"the response is not JSON: {_excerpt(response.body)}".removesuffix(": ")
    if not isinstance(body, dict):  # as a list may be, without anything around it
        body = {"data": body}
    # Else there is nothing to replace, which is seldom, and a poll is cheaper without.
    if nesting > MAX_DEPTH or any(sign in response.body for sign in (rb"\u", b"\x7f", b"\xc2")):
        body = storable(body)
    return body, None


DECODER = json.JSONDecoder(
    parse_int=lambda digits: (
        number if len(digits) <= 20 and -(2**63) <= (number := int(digits)) < 2**63 else digits
    ),
    parse_float=lambda digits: number if math.isfinite(number := float(digits)) else None,
    parse_constant=lambda _: None,
)
"""It makes a whole number beyond 64 bits its digits, and a number that is none ``None``."""


def _message(body: JsonObject | None) -> str | None:
    """Find Census' own words in an error body."""
    if not body:
        return None
    words = body.get("message") or body.get("error") or body.get("errors")
    if isinstance(words, str):
        return cut(words, MAX_MESSAGE)
    if not words and not body.keys() - {"status"}:
        return "no message"
    shapes = {key: _shape(value) if isinstance(value, (dict, list)) else value for key, value in body.items()}
    return cut(_json(words or shapes))


def _redirect(response: HTTPResponse) -> str:
    try:
        target = urlsplit(response.headers.get("location", ""))
        place = f"{target.scheme}://{target.hostname}" if target.hostname else "another path of the same host"
    except ValueError:
        place = "an address that is none"
    return (
        f"redirected to {place}; redirects are not followed, because the API token would travel along. "
        "Check the host of the connection."
    )


def _excerpt(body: bytes) -> str:
    """Quote the beginning of a text, without tags and line breaks, nor what may be records."""
    text = body[: 16 * MAX_EXCERPT].decode("utf-8", "replace")
    text = re.split(r'"data"|^\s*\[', text, maxsplit=1)[0]
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>", " ", text)
    return one_line(text)


def _shape(value: object) -> str:
    """Describe what is not what it should be, but quote no list or object: it may hold records."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {', '.join(value) or 'nothing in it'}"
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "nested too deep"


@functools.lru_cache(maxsize=64)  # a thousand waits get hundreds of responses of the same second
def _epoch(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The one place that reads what Census answers: status, headers and bytes to data, a page, or an error."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from airflow_provider_census.api.request import JsonObject, Request
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusNotFoundError,
    CensusRateLimitError,
)

T = TypeVar("T")

LONGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer that are read; more than that is an error, so that no answer can fill the memory."""

LONGEST_EXCERPT = 300
"""Characters of an unexpected answer that an error message quotes."""

SEARCHED = 8192
"""Characters of it that are searched for them: enough for the API token not to be cut through unseen."""

ERRORS: dict[int, type[CensusApiError]] = {
    401: CensusAuthError,
    403: CensusAuthError,
    404: CensusNotFoundError,
    429: CensusRateLimitError,
}


@dataclass(frozen=True)
class Reply:
    """
    One HTTP answer as a transport received it.

    :ivar status: the HTTP status.
    :ivar headers: the headers, names in lower case.
    :ivar body: the decompressed body, whole, or cut at one byte over :data:`LONGEST_ANSWER`. It may repeat
        the API token, so it is not part of the ``repr``.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def date(self) -> float | None:
        """Census' clock when it answered, in seconds since the epoch."""
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

    :ivar items: what stands on it.
    :ivar number: its number, where Census says so.
    :ivar next_page: the number of the next page; ``None`` on the last one, and where Census does not say.
    :ivar next_url: the address of the next page, where Census says so.
    :ivar numbered: whether the answer says what comes next at all.
    """

    items: list[T]
    number: int | None = None
    next_page: int | None = None
    next_url: str | None = None
    numbered: bool = False


def read(request: Request[T], reply: Reply, secret: str = "", hints: Mapping[int, str] | None = None) -> T:
    """
    Take an answer to what its request declared as such.

    :param secret: the API token, which no error message quotes, whoever echoes it.
    :param hints: what to tell a person besides an HTTP status, to go on with after a semicolon.
    :raises CensusApiError: for everything else, with the HTTP status, Census' own words, method and path.
    """
    answer = _read(request, reply, secret, hints)
    del secret  # which error reports that show local variables would show
    if isinstance(answer, CensusApiError):
        raise answer
    return answer


def _read(
    request: Request[T], reply: Reply, secret: str, hints: Mapping[int, str] | None
) -> T | CensusApiError:
    body, flaw = _decode(reply, secret)
    status, refused = _status(reply, body)
    if refused:
        if 300 <= status < 400:
            problem = _redirect(reply)
        else:
            problem = _said(body, secret) or _excerpt(reply.body, secret) or "no message"
        return _error(request, reply, status, problem, secret, hint=(hints or {}).get(status, ""))
    if body is not None:
        try:
            return request.answer(body)
        except (LookupError, TypeError) as error:
            flaw = _cut(f"the answer is not what the request is for: {error.args[0]}", secret)
            if isinstance(body.get("message"), str):
                flaw = f"{body['message']} ({flaw})"
    return _error(request, reply, status, flaw or "", secret, unusable=True)


def _error(
    request: Request[Any],
    reply: Reply,
    status: int,
    message: str,
    secret: str,
    *,
    hint: str = "",
    unusable: bool = False,
) -> CensusApiError:
    message = message.encode("utf-8", "replace").decode()
    text = f"{request} was answered with HTTP {status}: {message}"
    if hint:
        text = f"{text.rstrip('.')}; {hint}."
    return ERRORS.get(status, CensusApiError)(
        hide(secret, text),
        status_code=status,
        message=hide(secret, message),
        method=request.method,
        path=request.path,
        retry_after=reply.retry_after,
        unusable=unusable,
    )


def hide(secret: str, text: str) -> str:
    """Put stars where a text has the secret, as it is or as JSON, HTML and URLs write its characters."""
    if not secret:
        return text
    forms = (
        rf"(?:\\?{re.escape(char)}|(?i:\\u{ord(char):04x}|%{ord(char):02x}|&#0*{ord(char)};|&#x0*{ord(char):x};)"
        rf"|{re.escape(html.escape(char))})"
        for char in secret
    )
    return re.sub("".join(forms), "***", text)


def data_object(body: JsonObject) -> Any:
    """Take ``data``, an object."""
    return _typed(body, "data", dict)


def data_list(body: JsonObject) -> Any:
    """Take ``data``, a list."""
    return _typed(body, "data", list)


def data_id(keys: tuple[str, ...], body: JsonObject) -> int:
    """Take the id that stands in ``data``, under the first key that is there."""
    data = data_object(body)
    key = next((key for key in keys if key in data), keys[0])
    value = data.get(key)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeError(f"data.{key} should be an id, it is {_json(value)}")
    return value


def refresh_key_of(body: JsonObject) -> str:
    """Take the ``refresh_key``, which stands beside ``data`` or in it."""
    data = body.get("data")
    key = data.get("refresh_key") if isinstance(data, dict) else body.get("refresh_key")
    if isinstance(key, bool) or not isinstance(key, (int, str)):
        raise TypeError(f"refresh_key should be a key, it is {_json(key)}")
    return str(key)


def refresh_status(body: JsonObject) -> str:
    """Take how far a refresh is, which stands in ``data``, or where other answers say how they went."""
    data = body.get("data")
    status = data.get("status") if isinstance(data, dict) else body.get("status")
    if not isinstance(status, str):
        raise TypeError(f"status should say how far the refresh is, it is {_json(status)}")
    return status


def nothing(body: JsonObject) -> None:
    """Take nothing: that Census answered without an error is the answer."""


def page(body: JsonObject) -> Page[Any]:
    """Take ``data``, a list, and where its next page is."""
    items = data_list(body)
    pagination, next_url = body.get("pagination"), body.get("next")
    if isinstance(pagination, Mapping):
        if not next_url and isinstance(pagination.get("next"), str):
            next_url = pagination["next"]
        if "next_page" in pagination:
            return Page(
                items, _number(pagination, "page"), next_page=_number(pagination, "next_page"), numbered=True
            )
    if next_url is not None and not isinstance(next_url, str):
        raise TypeError(f"next should be a URL, it is {_json(next_url)}")
    return Page(items, next_url=next_url or None, numbered="next" in body or bool(next_url))


def _number(pagination: Mapping[str, Any], key: str) -> int | None:
    value = pagination.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"pagination.{key} should be a number, it is {_json(value)}")
    return value


def _typed(body: JsonObject, key: str, kind: type) -> Any:
    if not isinstance(body.get(key), kind):
        found = _json(body[key]) if key in body else "missing"
        raise TypeError(f"{key} should be {'an object' if kind is dict else 'a list'}, it is {found}")
    return body[key]


def _decode(reply: Reply, secret: str) -> tuple[JsonObject | None, str | None]:
    """Decode a body; a body that is no JSON object has a flaw instead."""
    if len(reply.body) > LONGEST_ANSWER:
        return None, f"the answer is longer than {LONGEST_ANSWER // 1024**2} MiB"
    if not reply.body.strip():
        return None, "the answer has no body"
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None, f"the answer is not JSON: {_excerpt(reply.body, secret)}"
    if not isinstance(body, dict):
        return None, f"the answer is not a JSON object: {_excerpt(reply.body, secret)}"
    return body, None


def _status(reply: Reply, body: JsonObject | None) -> tuple[int, bool]:
    """Tell the status, which the body of an error may state as well, and whether it is a refusal."""
    word = (body or {}).get("status")
    if not 200 <= reply.status < 300:
        return reply.status, True
    if isinstance(word, int):
        return (word if 400 <= word < 600 else reply.status), True
    return reply.status, word == "error"


def _said(body: JsonObject | None, secret: str) -> str | None:
    """Find Census' own words in an error body."""
    if not body:
        return None
    words = body.get("message") or body.get("error") or body.get("errors")
    if isinstance(words, str):
        return words
    return _cut(_json(words or body), secret) if words or body.keys() - {"status"} else "no message"


def _redirect(reply: Reply) -> str:
    try:
        target = urlsplit(reply.headers.get("location", ""))
        place = f"{target.scheme}://{target.hostname}" if target.hostname else "another path of the same host"
    except ValueError:
        place = "an address that is none"
    return (
        f"redirected to {place}; redirects are not followed, because the API token would travel along. "
        "Check the host of the connection."
    )


def _excerpt(body: bytes, secret: str) -> str:
    """Quote the beginning of a text, without tags and line breaks."""
    text = hide(secret, body[:SEARCHED].decode("utf-8", "replace"))[: SEARCHED // 2]
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>", " ", text)
    return _cut(" ".join("".join(char if char.isprintable() else " " for char in text).split()), secret)


def _cut(text: str, secret: str) -> str:
    """Take the beginning of a text, and nothing of a secret that stands at its end."""
    text = hide(secret, text[:SEARCHED])
    return text if len(text) <= LONGEST_EXCERPT else text[:LONGEST_EXCERPT] + "…"


def _json(value: object) -> str:
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "nested too deep"


@functools.lru_cache(maxsize=64)  # a thousand waits get hundreds of answers of the same second
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

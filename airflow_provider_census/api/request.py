# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What one request to Census is, and the checks that its parts pass before it can be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

T = TypeVar("T")

JsonObject = dict[str, Any]

TEN_YEARS = 10 * 365 * 86400.0
"""Seconds; the longest time that makes sense, and fits where times are kept."""


@dataclass(frozen=True)
class Request(Generic[T]):
    """
    One operation of the API, ready to send.

    :ivar method: the HTTP method.
    :ivar path: percent-encoded path below the API root, such as ``/sources/4``.
    :ivar answer: takes the decoded body of a successful answer to what the caller gets; raises
        ``LookupError`` or ``TypeError``, saying what is missing, if the body is not that answer.
    :ivar params: the query.
    :ivar json: the body.
    :ivar repeatable: sending it twice does no more than sending it once.
    :ivar paged: the answer comes in pages, and the caller wants all of them as one list.
    :ivar ids: the ids in the path.
    :ivar group_id: the Fivetran group that the caller named.
    :ivar once: the transport must not send it again, even where that would be safe.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    answer: Callable[[JsonObject], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    repeatable: bool = False
    paged: bool = False
    ids: tuple[Id, ...] = ()
    group_id: str | None = None
    once: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def path(*parts: str) -> str:
    """Join parts to a path in which each of them stays one segment, whatever characters it holds."""
    return "".join("/" + quote(part, safe="") for part in parts)


class Id(str):
    """
    An id in a path. What it may look like depends on the version of the API.

    :ivar argument: what the caller passed it as.
    """

    argument: str


def any_id(argument: str, value: object) -> Id:
    """
    Check an id: a positive whole number, or a non-empty string, as API v2 has some.

    :raises ValueError: if it is neither, naming the argument.
    """
    if isinstance(value, str):
        refuse_unrendered(argument, value)
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    # A sign, white space or a digit of another script is a slip, even where ids may be words.
    if (
        not isinstance(text, str)
        or not text.strip("0")
        or text != text.strip()
        or text[0] in "+-"
        or any(char.isdigit() and not char.isascii() for char in text)
    ):
        raise ValueError(
            f"{argument} must be a positive whole number, or a string such as '52'; not {value!r}"
        )
    checked = Id(name(argument, text))
    checked.argument = argument
    return checked


def slug_or_id(argument: str, value: object) -> str:
    """
    Check what names a source or a destination: its id, or its slug.

    :raises ValueError: if it is neither, naming the argument.
    """
    try:
        return str(any_id(argument, value))
    except ValueError as error:
        if isinstance(value, str) and "{" in value:
            raise
        raise ValueError(
            f"{argument} must be an id (a positive whole number) or a slug (a non-empty string), "
            f"not {value!r}"
        ) from error


def body(argument: str, value: object) -> dict[str, Any]:
    """
    Check a body that is passed on as it is.

    :raises ValueError: if it is empty, no mapping, or cannot be written as JSON.
    """
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{argument} must be a mapping with at least one property, not {value!r}")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{argument} cannot be written as JSON: {error}") from error
    return dict(value)


def name(argument: str, value: object) -> str:
    """
    Check a name that becomes one segment of a path: a slug, or an object's ``full_name``.

    :raises ValueError: if it is not a usable string.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{argument} must be a non-empty string, not {value!r}")
    refuse_unrendered(argument, value)
    if value in {".", ".."}:
        raise ValueError(f"{argument} must be a name, not {value!r}, which a URL takes for a parent folder")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} must be text, not {value!r}, which has half a character") from None
    return value


def refuse_unrendered(argument: str, value: str) -> None:
    """
    Refuse a Jinja expression that nobody rendered.

    :raises ValueError: if the value holds one.
    """
    if "{{" in value or "{%" in value:
        raise ValueError(
            f"{argument} is the unrendered template {value!r}: "
            "pass it to a templated parameter of an operator or a sensor, which renders it"
        )


def whole_number(argument: str, value: object, *, low: int, high: int | None = None) -> int:
    """
    Check a whole number within bounds, both included.

    :raises ValueError: if it is another type (``True`` and ``1.0`` are), or out of bounds.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < low
        or (high is not None and value > high)
    ):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{argument} must be a whole number {bounds}, not {value!r}")
    return value


def one_of(argument: str, value: object, allowed: tuple[str, ...]) -> str:
    """
    Check a word against the ones that Census knows.

    :raises ValueError: if it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def seconds(argument: str, value: object) -> float:
    """
    Take a time span to seconds.

    :raises ValueError: if it is neither a ``timedelta`` nor a number, or not above 0.
    """
    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, (int, float)) or not 0 < span <= TEN_YEARS:
        raise ValueError(
            f"{argument} must be a timedelta or a number of seconds above 0, up to ten years; not {value!r}"
        )
    return float(span)


def flag(argument: str, value: object) -> None:
    """
    Check a flag, for any word would count as true.

    :raises ValueError: if it is neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False, not {value!r}")

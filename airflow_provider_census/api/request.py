# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What one request to Census is, and the checks that its parts pass before it can be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

T = TypeVar("T")

JsonObject = dict[str, Any]


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
    :ivar once: the transport must not send it again, even where that would be safe.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    answer: Callable[[JsonObject], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    repeatable: bool = False
    paged: bool = False
    once: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def path(*parts: str | int) -> str:
    """Join parts to a path in which each of them stays one segment, whatever characters it holds."""
    return "".join("/" + quote(str(part), safe="") for part in parts)


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

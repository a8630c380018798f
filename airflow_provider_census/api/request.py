# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What one request to Census is, and what came back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

JsonObject = dict[str, Any]


class Id(str):
    """
    An id in a path. What it may look like depends on the version of the API.

    :ivar argument: what the caller passed it as.
    """

    argument: str


@dataclass(frozen=True)
class Request(Generic[T]):
    """
    One operation of the API, ready to send.

    :ivar method: the HTTP method.
    :ivar path: percent-encoded path below the API root, such as ``/sources/4``.
    :ivar parse: takes the decoded body of a successful response to what the caller gets; raises
        ``LookupError`` or ``TypeError``, saying what is missing, if the body is not that.
    :ivar params: the query.
    :ivar json: the body.
    :ivar idempotent: sending it twice does no more than sending it once.
    :ivar paged: the response comes in pages, and the caller wants all of them as one list.
    :ivar ids: the ids in the path, and in the query.
    :ivar about: what each object of the response is about, such as ``("sync_id", "52")``, where it says so.
    :ivar group_id: the Fivetran group that the caller named.
    :ivar retry: whether a transport may send it again; who polls decides that for itself.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    parse: Callable[[JsonObject], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    idempotent: bool = False
    paged: bool = False
    ids: tuple[Id, ...] = ()
    about: tuple[str, str] | None = None
    group_id: str | None = None
    retry: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Response(Generic[T]):
    """
    What came back.

    :ivar value: what the request declared as its result.
    :ivar date: Census' clock when it responded, in seconds since the epoch, where it said so.
    """

    value: T
    date: float | None

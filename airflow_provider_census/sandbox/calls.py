# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What callers ask, and the forms in which Census answers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

Item = dict[str, Any]

DEFAULT_PER_PAGE = 25
MOST_PER_PAGE = 100


@dataclass(frozen=True)
class Call:
    """What a caller asks: the variable parts of the path, the query and the JSON body.

    :ivar v2: whether it came through the root of API v2.
    :ivar url: where it went, without its query.
    """

    v2: bool
    url: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Item


class Refusal(Exception):
    """An answer that is an error.

    :param status_code: of the HTTP answer.
    :param message: for the caller.
    """

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(status_code, message)  # of which a copy is made
        self.status_code = status_code
        self.message = message

    def response(self) -> Response:
        """The error in Census' form."""
        # Census names some errors with a word and some with their number.
        status = self.status_code if self.status_code in (401, 404) else "error"
        return JSONResponse({"status": status, "message": self.message}, self.status_code)


def success(content: Item) -> Response:
    """HTTP 200 with the content as ``data``."""
    return JSONResponse({"status": "success", "data": content})


def created(content: Item) -> Response:
    """HTTP 201 with the content as ``data``."""
    return JSONResponse({"status": "created", "data": content}, 201)


def page(
    oldest_first: list[T], call: Call, *, order: str = "asc", show: Callable[[T], Any] = lambda item: item
) -> Response:
    """The page of a list that the query asks for.

    :param order: in which it comes unless the query says so.
    :param show: makes of an item what the answer holds.
    """
    order = call.query.get("order", order)
    if order not in ("asc", "desc"):
        raise Refusal(422, "order must be one of asc, desc")
    items = oldest_first if order == "asc" else oldest_first[::-1]
    number = positive("page", call, 1)
    per_page = min(positive("per_page", call, DEFAULT_PER_PAGE), MOST_PER_PAGE)
    last = max(1, math.ceil(len(items) / per_page))
    pagination = {
        "total_records": len(items),
        "per_page": per_page,
        "page": number,
        "prev_page": number - 1 if 1 < number <= last else None,
        "next_page": number + 1 if number < last else None,
        "last_page": last,
    }
    chosen = [show(item) for item in items[(number - 1) * per_page : number * per_page]]
    answer: dict[str, Any] = {"status": "success", "data": chosen, "pagination": pagination}
    if not call.v2:
        query = urlencode({**call.query, "page": number + 1})
        answer["next"] = f"{call.url}?{query}" if number < last else None
    return JSONResponse(answer)


def positive(name: str, call: Call, default: int) -> int:
    """
    A whole number above 0 from the query, or the default; :class:`Refusal` (422) for anything else.

    0 is read as 1, as Census does.
    """
    text = call.query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Refusal(422, f"{name} must be a whole number above 0, not {text!r}")
    return max(1, int(text))


def without(item: Item, *names: str) -> Item:
    """A copy of an item, less some of its properties."""
    return {key: value for key, value in item.items() if key not in names}

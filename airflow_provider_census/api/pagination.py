# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Following the pages of a list to its end, and nowhere else."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from airflow_provider_census.api import endpoints, responses
from airflow_provider_census.exceptions import CensusApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_census.api.flow import Flow
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.responses import Page

T = TypeVar("T")

MAX_PAGES = 2_000
"""Pages of a list that are read at most: of a hundred items each, as long as nobody asks for less."""

MAX_TIME = 600.0
"""Seconds that reading a list as a whole may take."""


def fetch_all(request: Request[list[T]], base_url: str) -> Flow[list[T]]:
    """Follow the pages of a paged request, and join them to one list."""
    items: list[T] = []
    pages = Pages(request, base_url)
    while pages.next is not None:
        page: Page[T] = (yield pages.next).value
        items += pages.advance(page)
    return items


class Pages:
    """
    How far a list that comes in pages has been read.

    :param request: the paged request.
    :param base_url: the host of the connection; no page is read from another one.
    :param within: seconds in which all must be read; ``None`` where the caller takes its time for each page.
    :param now: a clock, in seconds.
    :ivar next: what to request next; ``None`` at the end.
    """

    def __init__(
        self,
        request: Request[Any],
        base_url: str,
        *,
        within: float | None = MAX_TIME,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.next: Request[Page[Any]] | None = first_page(request)
        self._now = now
        self._within = within
        self._began = now()
        self._items = 0
        self._base_url = base_url
        self._previous: int | None = None
        self._guessed = False
        self._requested: set[str] = set()

    def advance(self, page: Page[Any]) -> list[Any]:
        """
        Take a page, and find out what follows it.

        :returns: the items of the page; none if it only repeats the one before it.
        :raises CensusApiError: if the pages do not move on, or lead to another host.
        """
        assert self.next is not None
        self._requested.add(_query(self.next))
        trace = hash(repr(page.items)) if page.items else None  # the page itself would stay in memory
        if trace is not None and trace == self._previous:
            if self._guessed and not page.numbered:  # there was no further page to request
                self.next = None
                return []
            raise _endless(self.next, "a page repeats the one before it")
        following = next_page(self.next, page, self._base_url)
        self._items += len(page.items)
        if following is not None:
            self._check_bounds(following, page)
        self._guessed = not page.numbered
        self.next, self._previous = following, trace
        return page.items

    def _check_bounds(self, following: Request[Any], page: Page[Any]) -> None:
        """
        Check that another page can be one of a list that has an end.

        :raises CensusApiError: if it cannot.
        """
        if _query(following) in self._requested:
            raise _endless(following, "a page leads back to one before it")
        if page.total is not None and self._items >= page.total:
            raise _endless(following, f"all of its {page.total} items have come, and another page follows")
        if len(self._requested) >= MAX_PAGES:
            raise _endless(following, f"there are more than {MAX_PAGES} pages")
        if self._within is not None and self._now() - self._began > self._within:
            raise _endless(following, f"{len(self._requested)} pages took more than {self._within:g} s")


def _query(request: Request[Any]) -> str:
    return urlencode(sorted(request.params.items()))


def first_page(request: Request[Any]) -> Request[Page[Any]]:
    """Request the first page of a list, as long as pages may be."""
    params = {"per_page": endpoints.MAX_PER_PAGE, **request.params}
    return replace(request, params=params, parse=responses.page, paged=False)


def next_page(request: Request[Page[Any]], page: Page[Any], base_url: str) -> Request[Page[Any]] | None:
    """
    Tell what to request after a page; ``None`` after the last one.

    :param request: what the page is the response to.
    :param base_url: the host of the connection; no page is read from another one.
    :raises CensusApiError: if the pages do not move on, or lead to another host.
    """
    known = str(request.params.get("page", 1))
    number = int(known) if re.fullmatch("[0-9]{1,9}", known) else 0  # a URL may name pages otherwise
    if page.number is not None and number and page.number != number:
        raise _endless(request, f"asked for page {number}, Census sent page {page.number}")
    if page.next_page is not None:
        if page.next_page <= number or page.next_page > (page.last_page or page.next_page):
            of = "" if page.last_page is None else f" of {page.last_page}"
            raise _endless(request, f"after page {number}{of} comes page {page.next_page}")
        return _with(request, {"page": page.next_page})
    if page.next_url is not None:
        try:
            target = urlsplit(page.next_url)
        except ValueError:
            raise _endless(request, "the address of the next page is none") from None
        if target.netloc and target.netloc != urlsplit(base_url).netloc:
            raise _endless(request, f"the next page is on another host, {target.hostname}")
        query = dict(parse_qsl(target.query))
        if not query or query.items() <= {key: str(value) for key, value in request.params.items()}.items():
            raise _endless(request, "the next page is the same one again")
        return _with(request, query)
    if page.numbered or not number or str(len(page.items)) != str(request.params["per_page"]):
        return None
    return _with(request, {"page": number + 1})


def _with(request: Request[Page[Any]], params: Mapping[str, str | int]) -> Request[Page[Any]]:
    return replace(request, params={**request.params, **params})


def _endless(request: Request[Any], problem: str) -> CensusApiError:
    return CensusApiError(
        f"{request}: the pages of this list do not lead to its end: {problem}",
        status_code=200,
        message=problem,
        method=request.method,
        path=request.path,
        unusable=True,
    )

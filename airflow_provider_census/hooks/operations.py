# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Makes methods of the hook of the operations of the API."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from airflow_provider_census.api.request import Request
    from airflow_provider_census.hooks.census import CensusHook

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])


def lift(endpoint: Callable[P, Request[T]]) -> Callable[Concatenate[CensusHook, P], T]:
    """Turn an operation of the API into a method that sends it; name, docstring and signature stay."""

    def method(self: CensusHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(endpoint(*args, **kwargs))

    return _named(method, endpoint, endpoint.__name__)


def lift_lazily(
    endpoint: Callable[P, Request[list[T]]],
) -> Callable[Concatenate[CensusHook, P], Iterator[T]]:
    """Turn a listing operation into a method that reads a page whenever the one before it is used up."""

    def method(self: CensusHook, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.iterate(endpoint(*args, **kwargs))

    name = endpoint.__name__
    named = _named(method, endpoint, name.replace("list_", "iter_", 1), "Iterator")
    named.__doc__ = (
        f"Go through what :meth:`{name}` lists, one page in memory at a time; its arguments are the same."
    )
    return named


def _named(method: M, endpoint: Callable[..., Any], name: str, returned: str = "") -> M:
    """Give a method the signature, the annotations and the documentation of an operation."""
    functools.update_wrapper(method, endpoint)
    signature = inspect.signature(endpoint)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    returns = str(signature.return_annotation).removeprefix("Request[").removesuffix("]")
    returns = returned + returns.removeprefix("list") if returned else returns
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[this, *signature.parameters.values()], return_annotation=returns
    )
    method.__annotations__ = {**endpoint.__annotations__, "return": returns}
    method.__name__, method.__qualname__ = name, f"CensusHook.{name}"
    return method

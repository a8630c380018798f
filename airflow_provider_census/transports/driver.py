# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Runs a flow over a transport: on a worker with ``time.sleep``, on an event loop with ``await``.

Only what Census responded, or that it did not respond, is thrown into a flow. Whatever else ends a step, such
as the kill of a task while it sleeps, ends the flow where it stands.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_provider_census.api.flow import Flow, Sleep
from airflow_provider_census.exceptions import CensusApiError, CensusConnectionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_census.api.request import Request, Response

T = TypeVar("T")

CENSUS_ERRORS = (CensusApiError, CensusConnectionError)


def drive(flow: Flow[T], send: Callable[[Request[Any]], Response[Any]], sleep: Callable[[float], None]) -> T:
    """
    Run a flow on a worker.

    :param send: sends a request, and gives the response.
    :param sleep: waits for so many seconds.
    """
    result: Response[Any] | None = None
    error: Exception | None = None
    try:
        while True:
            try:
                step = flow.send(result) if error is None else flow.throw(error)
            except StopIteration as stop:
                return cast("T", stop.value)
            result = error = None
            if isinstance(step, Sleep):
                sleep(step.seconds)
                continue
            try:
                result = send(step)
            except CENSUS_ERRORS as failure:
                error = failure
    finally:
        flow.close()


async def adrive(flow: Flow[T], send: Callable[[Request[Any]], Awaitable[Response[Any]]]) -> T:
    """
    Run a flow on an event loop.

    :param send: sends a request, and gives the response.
    """
    result: Response[Any] | None = None
    error: Exception | None = None
    try:
        while True:
            try:
                step = flow.send(result) if error is None else flow.throw(error)
            except StopIteration as stop:
                return cast("T", stop.value)
            result = error = None
            if isinstance(step, Sleep):
                await asyncio.sleep(step.seconds)
                continue
            try:
                result = await send(step)
            except CENSUS_ERRORS as failure:
                error = failure
    finally:
        flow.close()

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Flows over a transport: what they are sent, what is thrown into them, what ends them where they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.flow import Flow, Sleep
from airflow_provider_census.api.request import Request, Response
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusConfigError,
    CensusConnectionError,
    CensusError,
    CensusTaskKilled,
)
from airflow_provider_census.transports.driver import adrive, drive

T = TypeVar("T")
GET = endpoints.get_sync_run(94)
Drive = Callable[[Flow[Any], Callable[[Request[Any]], Response[Any]]], Any]


def awaiting(flow: Flow[T], send: Callable[[Request[Any]], Response[Any]]) -> T:
    async def asend(request: Request[Any]) -> Response[Any]:
        return send(request)

    return asyncio.run(adrive(flow, asend))


@pytest.fixture(params=[drive, awaiting], ids=["worker", "triggerer"])
def run(request: pytest.FixtureRequest) -> Drive:
    drive: Drive = request.param
    return drive


def refuse(error: BaseException) -> Callable[[Request[Any]], Response[Any]]:
    def send(request: Request[Any]) -> Response[Any]:
        raise error

    return send


def test_a_flow_is_sent_responses_and_gives_its_result(run: Drive) -> None:
    def flow() -> Flow[list[Any]]:
        first = yield GET
        slept = yield Sleep(0.001)
        second = yield GET
        return [first.value, slept, second.date]

    assert run(flow(), lambda request: Response(request.path, 7.0)) == ["/sync_runs/94", None, 7.0]


@pytest.mark.parametrize(
    "error",
    [
        CensusConnectionError("Nobody there.", sent=False),
        CensusApiError("No.", status_code=422, message="no", method="GET", path="/"),
    ],
    ids=["no response", "an error"],
)
def test_what_census_did_is_thrown_into_a_flow_once(run: Drive, error: CensusError) -> None:
    def flow() -> Flow[Any]:
        try:
            yield GET
        except CensusError as thrown:
            return thrown, (yield Sleep(0.0))

    assert run(flow(), refuse(error)) == (error, None)


@pytest.mark.parametrize(
    "error",
    [CensusConfigError("no password"), ConnectionError("no backend"), CensusTaskKilled("killed")],
    ids=repr,
)
def test_whatever_else_happens_ends_a_flow_where_it_stands(run: Drive, error: Exception) -> None:
    closed = []

    def flow() -> Flow[Any]:
        try:
            yield GET
        except Exception:  # noqa: BLE001 - nothing may get here
            closed.append("thrown")
        finally:
            closed.append("closed")

    with pytest.raises(type(error)) as raised:
        run(flow(), refuse(error))
    assert raised.value is error
    assert closed == ["closed"]


def test_a_kill_during_a_sleep_ends_a_flow_where_it_stands() -> None:
    thrown = []

    def flow() -> Flow[None]:
        try:
            yield Sleep(1.0)
        except Exception as error:  # noqa: BLE001 - nothing may get here
            thrown.append(error)

    def killed(seconds: float) -> None:
        raise CensusTaskKilled(f"killed at {seconds}")

    with pytest.raises(CensusTaskKilled, match=r"killed at 1\.0"):
        drive(flow(), refuse(AssertionError()), killed)
    assert thrown == []

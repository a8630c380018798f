# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What is sent and thrown into a flow, by either driver, and that it is closed whatever ends it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.flow import Flow, Sleep
from airflow_provider_census.api.request import Request, Response
from airflow_provider_census.exceptions import (
    CensusApiError,
    CensusAuthError,
    CensusConfigError,
    CensusConnectionError,
    CensusError,
    CensusLookupError,
    CensusNotFoundError,
    CensusRateLimitError,
    CensusTaskKilled,
    CensusTimeoutError,
)
from airflow_provider_census.transports.driver import adrive, drive

REQUEST = endpoints.get_sync_run(94)
RESPONSE: Response[Any] = Response({"id": 94}, None)

Step = Callable[[Any], Any]
Drive = Callable[..., Any]


def drive_on_event_loop(flow: Flow[Any], send: Step, sleep: Step) -> Any:
    async def asend(request: Request[Any]) -> Response[Any]:
        response: Response[Any] = send(request)
        return response

    async def asleep(seconds: float) -> None:
        sleep(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", asleep)
        return asyncio.run(adrive(flow, asend))


@pytest.fixture(params=[drive, drive_on_event_loop], ids=["worker", "triggerer"])
def drive_flow(request: pytest.FixtureRequest) -> Drive:
    driver: Drive = request.param
    return driver


def a_flow() -> Flow[Any]:
    """Send, sleep and send again."""
    first = yield REQUEST
    yield Sleep(5.0)
    second = yield REQUEST
    return first, second


def raising(error: BaseException) -> Step:
    return Mock(side_effect=error)


def api_error(kind: type[CensusApiError], status: int) -> CensusApiError:
    return kind("No.", status_code=status, message="no", method="GET", path="/sync_runs/94")


def test_a_flow_is_sent_the_responses_and_sleeps(drive_flow: Drive) -> None:
    flow, send, sleep = a_flow(), Mock(return_value=RESPONSE), Mock()
    assert drive_flow(flow, send, sleep) == (RESPONSE, RESPONSE)
    assert [call.args for call in send.mock_calls] == [(REQUEST,), (REQUEST,)]
    assert [call.args for call in sleep.mock_calls] == [(5.0,)]


def test_a_flow_is_sent_nothing_for_a_sleep(drive_flow: Drive) -> None:
    def flow() -> Flow[Any]:
        yield REQUEST
        slept = yield Sleep(0.0)
        return slept

    assert drive_flow(flow(), Mock(return_value=RESPONSE), Mock()) is None


@pytest.mark.parametrize(
    "error",
    [
        api_error(CensusApiError, 500),
        api_error(CensusAuthError, 401),
        api_error(CensusNotFoundError, 404),
        api_error(CensusRateLimitError, 429),
        CensusConnectionError("Refused.", sent=False),
        CensusConnectionError("Broken.", sent=True),
    ],
    ids=repr,
)
def test_what_census_responds_or_not_is_thrown_into_a_flow(drive_flow: Drive, error: CensusError) -> None:
    def flow() -> Flow[Any]:
        try:
            yield REQUEST
        except CensusError as caught:
            response = yield REQUEST
            return caught, response
        return None

    send = Mock(side_effect=[error, RESPONSE])
    assert drive_flow(flow(), send, Mock()) == (error, RESPONSE)
    with pytest.raises(type(error)) as raised:
        drive_flow(a_flow(), raising(error), Mock())
    assert raised.value is error


OTHER_ERRORS: list[BaseException] = [
    CensusTaskKilled("Killed."),
    CensusConfigError("field 'password' is empty"),
    CensusLookupError("No such label."),
    CensusTimeoutError("Not ended."),
    CensusError("Something else."),
    ValueError("group_id is needed"),
    RuntimeError("It broke."),
    TimeoutError(),
    OSError("No space left."),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
    SystemExit(1),
    GeneratorExit(),
]


@pytest.mark.parametrize("step", ["send", "sleep"])
@pytest.mark.parametrize("error", OTHER_ERRORS, ids=repr)
def test_whatever_else_ends_a_step_leaves_a_flow_where_it_stands(
    drive_flow: Drive, step: str, error: BaseException
) -> None:
    flow, steps = a_flow(), {"send": Mock(return_value=RESPONSE), "sleep": Mock(), step: raising(error)}
    spy = Mock(wraps=flow)
    with pytest.raises(type(error)) as raised:
        drive_flow(spy, **steps)
    # Of a task that is cancelled, Python 3.10 makes a new one.
    assert raised.value is error or isinstance(error, asyncio.CancelledError)
    spy.throw.assert_not_called()
    spy.close.assert_called_once_with()
    assert inspect.getgeneratorstate(flow) == inspect.GEN_CLOSED


@pytest.mark.parametrize("error", [api_error(CensusApiError, 500), CensusConnectionError("", sent=True)])
def test_an_error_of_census_amid_a_sleep_is_no_response(drive_flow: Drive, error: CensusError) -> None:
    spy = Mock(wraps=a_flow())
    with pytest.raises(type(error)):
        drive_flow(spy, Mock(return_value=RESPONSE), raising(error))
    spy.throw.assert_not_called()


@pytest.mark.parametrize("step", ["send", "sleep"])
def test_only_the_flow_itself_can_end_it(drive_flow: Drive, step: str) -> None:
    steps = {"send": Mock(return_value=RESPONSE), "sleep": Mock(), step: raising(StopIteration("a value"))}
    with pytest.raises((StopIteration, RuntimeError)):  # the latter is what asyncio makes of it
        drive_flow(a_flow(), **steps)


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), CensusTimeoutError("Not ended."), KeyboardInterrupt()]
)
def test_what_a_flow_raises_is_raised(drive_flow: Drive, error: BaseException) -> None:
    def flow() -> Flow[Any]:
        yield REQUEST
        raise error

    with pytest.raises(type(error)) as raised:
        drive_flow(flow(), Mock(return_value=RESPONSE), Mock())
    assert raised.value is error


@pytest.mark.parametrize("steps", [1, 2], ids=["amid a request", "amid a sleep"])
def test_a_canceled_task_closes_its_flow(steps: int) -> None:
    flow = a_flow()
    spy = Mock(wraps=flow)

    async def send(_: Request[Any]) -> Response[Any]:
        if steps == 1:
            await asyncio.Event().wait()
        return RESPONSE

    async def cancel() -> None:
        task = asyncio.create_task(adrive(spy, send))
        for _ in range(3):  # until it waits
            await asyncio.sleep(0)
        assert len(spy.send.mock_calls) == steps
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    spy.throw.assert_not_called()
    assert inspect.getgeneratorstate(flow) == inspect.GEN_CLOSED

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the triggers of waiting tasks share: their options, the wait itself, and the event that ends it."""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from functools import cached_property
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_census import __version__
from airflow_provider_census.api import retries
from airflow_provider_census.api.hook_params import check_hook_params
from airflow_provider_census.api.polling import TimeoutKind, WaitOptions
from airflow_provider_census.api.validation import check_id, check_name, optional
from airflow_provider_census.api.waiters import RunWaiter, wait
from airflow_provider_census.exceptions import CensusError, CensusTimeoutError
from airflow_provider_census.hooks import connection
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.transports.driver import adrive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typing_extensions import Self

    from airflow_provider_census.api.settings import Settings
    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.transports.aiohttp import AiohttpTransport

RNG = random.Random()

LAST_POLL = 5.0
"""Seconds after the deadline that the last poll may still take."""

MAX_CONNECTION_BACKOFF = 60.0
"""Seconds at most between two attempts to read the connection."""

CONNECTION_PATIENCE = 600.0
"""
Seconds for which Airflow is asked for a connection that it says it has not, if it had it before.

That is also what it says while its secrets backend is down.
"""

TASK_FIELDS = ("hook_class", "hook_params", "sync_name")
"""What a task hands on besides the arguments that a person would give."""

EventKind = Literal["ended", "timeout", "execution_timeout", "error"]


class WaitEvent(NamedTuple):
    """
    How a wait in the triggerer ended; the worker reads the run itself.

    :ivar kind: because the run has ended, one of the two deadlines was reached, or of an error.
    :ivar sync_run_id: the run, where it is known which.
    :ivar message: of the error.
    """

    kind: str
    sync_run_id: Any = None
    message: str = ""

    def as_payload(self) -> dict[str, Any]:
        """Give the event as JSON."""
        return {"sync_run_id": self.sync_run_id, "event": self.kind, "message": self.message}

    @classmethod
    def parse(cls, payload: Any, *, run_known: bool = True) -> WaitEvent:
        """
        Read what the triggerer sent, which may be of another release.

        :param run_known: whether it was known from the beginning for which run to wait.
        :raises CensusError: if it is not what a trigger sends.
        """
        try:
            # The trigger of 2.x, and so CensusTrigger, says how the run ended instead of the wait.
            kind = "ended" if payload.get("status") in {"completed", "failed"} else payload["event"]
            sync_run_id = payload["sync_run_id"]
            if run_known or sync_run_id is not None:
                check_id("sync_run_id", sync_run_id)
            if kind not in get_args(EventKind):
                raise ValueError(f"there is no event {kind!r}")
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise CensusError(
                f"The triggerer sent {payload!r}, which is no event of a sync run; it may still be running. "
                "Are worker and triggerer of the same release of airflow-provider-census?"
            ) from error
        return cls(kind, sync_run_id, str(payload.get("message", "")))

    @classmethod
    def of_trigger_failure(cls, failure: dict[str, Any] | None, timeout: TimeoutKind) -> WaitEvent:
        """
        Read what Airflow says if it gave up the trigger: it failed, or no triggerer ran it in time.

        :param timeout: which timeout that was.
        """
        error = str((failure or {}).get("error"))
        trace = "\n".join((failure or {}).get("traceback") or ())
        return cls(timeout if "timeout" in error.lower() else "error", None, f"{error}\n{trace}".strip())


class WaitTrigger(BaseTrigger):
    """
    A wait for sync runs; a subclass says for which.

    :param census_conn_id: id of the Airflow connection.
    :param options: the fields of :class:`~airflow_provider_census.api.polling.WaitOptions`, and
        ``hook_params``, what the hook takes besides its connection.
    :param release: the release of this provider that stored the arguments. What another one stored besides is
        dropped; from a person, an unknown argument is an error.
    :raises ValueError: if an argument of a person is not what it should be.
    :raises TypeError: if there is no such argument.
    :ivar hook_class: path of a hook with a way of its own to the connection.
    :ivar hook_params: what the hook takes besides its connection; ``None`` for nothing.
    :ivar sync_name: the name of the sync, for the log; ``None`` if it is not known.
    :ivar sync_run_id: the run that is waited for, as soon as it is known which.
    :ivar finished_run: the run as last polled, once it has ended.
    """

    sync_run_id: int | str | None = None
    finished_run: Run | None = None
    _waiting = False

    def __init__(self, census_conn_id: str, release: str | None, options: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hook_class, self.hook_params, self.sync_name = (options.pop(name, None) for name in TASK_FIELDS)
        if release is None:  # else it was checked before it was stored
            census_conn_id = check_name("census_conn_id", census_conn_id)
            self.hook_params = optional(check_hook_params)("hook_params", self.hook_params)
        self.census_conn_id = census_conn_id
        stored_elsewhere = release not in {None, __version__}
        self.options = WaitOptions.parse(options) if stored_elsewhere else WaitOptions(**options)

    @cached_property
    def hook(self) -> CensusHook:
        """The hook of the connection."""
        params = self.hook_params or {}
        if self.hook_class is None:
            return CensusHook(self.census_conn_id, **params)
        try:
            kind: type[CensusHook] = resolve_name(self.hook_class)
        except (ImportError, AttributeError, ValueError) as error:
            raise CensusError(
                f"The triggerer cannot import {self.hook_class}, the hook of the task: {error}"
            ) from error
        return kind(self.census_conn_id, **params)

    def connect_as(self, hook: CensusHook, params: dict[str, Any] | None = None) -> Self:
        """
        Connect as a task does: with a hook of its kind, if that reads the connection in a way of its own.

        :param params: what the hook takes besides its connection.
        """
        kind, self.hook_params = type(hook), params
        if connection.overrides_get_connection(kind):
            self.hook_class = f"{kind.__module__}:{kind.__qualname__}"
        return self

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """Give the arguments besides those of every wait."""

    @abstractmethod
    def _waiter(self, base_url: str) -> RunWaiter[Any]:
        """
        Make what waits.

        :param base_url: the host of the connection.
        """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the arguments from which the triggerer makes this trigger again."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {
            **self._arguments(),
            "census_conn_id": self.census_conn_id,
            **self.options.as_dict(),
            **{name: value for name in TASK_FIELDS if (value := getattr(self, name)) is not None},
            "release": __version__,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and report how the wait ended."""
        self._waiting = True
        self._begin()
        try:
            event = await self._wait()
            # A run that has ended is not cancelled while its event is held back.
            self._waiting = event.kind != "ended"
            await asyncio.sleep(max(0.0, (self.options.resume_after or 0.0) - time.time()))
        except asyncio.CancelledError:
            # From Airflow 3.3 on, the triggerer calls on_kill by itself, and not when it stops.
            if not hasattr(BaseTrigger, "on_kill"):
                await self.on_kill()
            raise
        self._waiting = False
        yield TriggerEvent(event.as_payload())

    def _begin(self) -> None:
        """Do what is to be done when the wait begins; nothing, unless a subclass says otherwise."""

    async def on_kill(self) -> None:
        """Do what is to be done when a user kills the task; nothing, unless a subclass says otherwise."""

    async def _wait(self) -> WaitEvent:
        deadline = self.options.first_deadline
        left = None if deadline is None else max(0.0, deadline - time.time()) + LAST_POLL
        try:
            await asyncio.wait_for(self._connect_and_poll(), left)
        except (CensusTimeoutError, asyncio.TimeoutError):
            return WaitEvent(self.options.first_timeout, self.sync_run_id)
        except (CensusError, AirflowNotFoundException) as error:
            return WaitEvent("error", self.sync_run_id, str(error))
        return WaitEvent("ended", self.sync_run_id)

    async def _connect_and_poll(self) -> None:
        if self.hook_class is not None:  # an import may take longer than the loop may be held
            await asyncio.to_thread(getattr, self, "hook")
        async with self.hook.aopen() as transport:
            settings = await self._connect(transport)
            pace = transport.pace
            await asyncio.sleep(self.options.startup_jitter(RNG, pace.min_interval()))
            waiter = self._waiter(settings.base_url)
            waiter.name_of = lambda _: self.sync_name or ""
            waiter.is_resumed = self.options.started is not None
            flow = wait(waiter, self.options, now=time.time, rng=RNG, min_interval=pace.min_interval)
            await adrive(flow, transport.send)
            self.finished_run, self.sync_run_id = waiter.run, waiter.sync_run_id

    async def _connect(self, transport: AiohttpTransport) -> Settings:
        """Read the connection, also if Airflow or its secrets backend is down for a while."""
        loop = asyncio.get_running_loop()
        # The worker had it, or a trigger in this process.
        existed = self.options.started is not None or self.census_conn_id in connection.FOUND
        until = loop.time() + (CONNECTION_PATIENCE if existed else 0.0)
        attempt = 0
        while True:
            try:
                return await transport.settings()
            except CensusError:
                raise
            except Exception as error:
                attempt += 1
                delay = retries.backoff(attempt, maximum=MAX_CONNECTION_BACKOFF)
                if isinstance(error, AirflowNotFoundException) and loop.time() + delay > until:
                    raise
                self.log.warning(
                    "Waiting for the Airflow connection %s, which cannot be read: %r. Next try in %.0f s.",
                    self.census_conn_id,
                    error,
                    delay,
                )
            await asyncio.sleep(delay)

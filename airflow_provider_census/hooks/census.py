# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The hook: an Airflow connection, and Census behind it, on a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowException, BaseHook

from airflow_provider_census.api import connection, endpoints, flows
from airflow_provider_census.api.request import Request
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_census.transports.worker import WorkerTransport

P = ParamSpec("P")
T = TypeVar("T")


CLAIMED: set[int] = set()
"""Ids of the runs that tasks of this process started or took for theirs."""


def lift(endpoint: Callable[P, Request[T]]) -> Callable[Concatenate[CensusHook, P], T]:
    """Turn an operation of the API into a method that carries it out; name, docstring and signature stay."""

    def method(self: CensusHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(endpoint(*args, **kwargs))

    functools.update_wrapper(method, endpoint)
    signature = inspect.signature(endpoint)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    answer = str(signature.return_annotation).removeprefix("Request[").removesuffix("]")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[this, *signature.parameters.values()], return_annotation=answer
    )
    method.__annotations__ = {**endpoint.__annotations__, "return": answer}
    method.__qualname__ = f"CensusHook.{endpoint.__name__}"
    return method


class CensusHook(BaseHook):
    """
    Talk to the Census API with the token of an Airflow connection.

    A method for every operation; :meth:`run` and :meth:`arun` send what the functions of
    :mod:`~airflow_provider_census.api.endpoints` make. Failures that may pass are tried again: reading and
    cancelling always, all else only if it surely did not happen.

    :param census_conn_id: id of the connection, of type ``census``.
    """

    conn_name_attr = "census_conn_id"
    default_conn_name = "census_default"
    conn_type = "census"
    hook_name = "Census"

    def __init__(self, census_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.census_conn_id = census_conn_id
        self._settings: connection.Settings | None = None

    list_sources = lift(endpoints.list_sources)
    get_source = lift(endpoints.get_source)
    get_model = lift(endpoints.get_model)
    get_table = lift(endpoints.get_table)
    list_destinations = lift(endpoints.list_destinations)
    get_destination = lift(endpoints.get_destination)
    get_destination_object = lift(endpoints.get_destination_object)
    get_sync_run = lift(endpoints.get_sync_run)
    list_sync_runs = lift(endpoints.list_sync_runs)
    create_sync = lift(endpoints.create_sync)
    cancel_sync_run = lift(endpoints.cancel_sync_run)

    def trigger_sync(
        self, sync_id: int | str, *, force_full_sync: bool = False, before: flows.Before | None = None
    ) -> int:
        """
        Start a run of a sync, exactly one, whatever happens to the request on its way.

        If nobody knows whether a request arrived, this looks for the run that it may have started, and only
        sends another one if there is none.

        :param sync_id: id of the sync.
        :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it.
        :param before: what :func:`~airflow_provider_census.api.flows.survey` found of the sync before.
        :returns: the id of the new run.
        :raises ValueError: if an argument is not what it should be.
        :raises CensusNotFoundError: if there is no such sync.
        :raises CensusApiError: if Census does not start it.
        :raises CensusConnectionError: if Census cannot be reached, or nobody knows what came of the request.
        """
        return self.drive(
            flows.trigger_sync(
                sync_id,
                force_full_sync=force_full_sync,
                attempts=self.settings.attempts,
                claimed=CLAIMED,
                log=self.log,
                now=time.time,
                rng=random.Random(),
                before=before,
            )
        )

    def run(self, request: Request[T]) -> T:
        """
        Send a request from a worker; of a list, follow all the pages.

        :raises CensusApiError: if Census answers with an error, or with what is no answer.
        :raises CensusConnectionError: if no complete answer arrives.
        :raises CensusConfigError: if the connection cannot be used.
        """
        return self.drive(flows.fetch(request, self.settings.base_url))

    async def arun(self, request: Request[T]) -> T:
        """Send a request on an event loop, as :meth:`run` does on a worker."""
        return await self.adrive(flows.fetch(request, (await self.asettings()).base_url))

    def drive(self, flow: flows.Flow[T], sleep: Callable[[float], None] = time.sleep) -> T:
        """
        Carry out a flow of :mod:`~airflow_provider_census.api.flows` on a worker.

        :param sleep: waits for so many seconds.
        """
        transport = self._transport
        result: Any = None
        error: CensusError | None = None
        while True:
            try:
                step = flow.send(result) if error is None else flow.throw(error)
            except StopIteration as stop:
                return cast(T, stop.value)
            result = error = None
            try:
                if isinstance(step, flows.Pause):
                    sleep(step.seconds)
                else:
                    result = transport.send(step)
            except CensusError as failure:
                error = failure

    async def adrive(self, flow: flows.Flow[T]) -> T:
        """Carry out a flow on an event loop, all its requests over the same connections."""
        from airflow_provider_census.transports.triggerer import TriggererTransport

        transport = await TriggererTransport.open(await self.asettings(), self.log)
        result: Any = None
        error: CensusError | None = None
        try:
            while True:
                try:
                    step = flow.send(result) if error is None else flow.throw(error)
                except StopIteration as stop:
                    return cast(T, stop.value)
                result = error = None
                try:
                    if isinstance(step, flows.Pause):
                        await asyncio.sleep(step.seconds)
                    else:
                        result = await transport.send(step)
                except CensusError as failure:
                    error = failure
        finally:
            await transport.close()

    @property
    def settings(self) -> connection.Settings:
        """
        What the connection says, read at first use.

        :raises CensusConfigError: if a field is missing or cannot be used.
        """
        if self._settings is None:
            self._settings = _settings(self.get_connection(self.census_conn_id))
        return self._settings

    async def asettings(self) -> connection.Settings:
        """What the connection says, for use on an event loop."""
        if self._settings is None:
            self._settings = _settings(await get_async_connection(self.census_conn_id))
        return self._settings

    @functools.cached_property
    def _transport(self) -> WorkerTransport:
        from airflow_provider_census.transports.worker import WorkerTransport

        return WorkerTransport(self.settings, self.log)

    def cancel_at_once(self, sync_run_id: int | str, timeout: float) -> None:
        """
        Cancel a sync run in one attempt, over a connection of its own: for a task that is being killed.

        :param timeout: seconds to connect, and again to be answered.
        """
        from airflow_provider_census.transports.worker import WorkerTransport

        hurried = replace(self.settings, timeout=timeout, attempts=1)
        WorkerTransport(hurried, self.log).send(endpoints.cancel_sync_run(sync_run_id))

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection: what the Test button of the UI and ``airflow connections test`` call.

        :returns: whether it works, and a sentence that says what was seen or what is wrong.
        """
        try:
            sources = self.run(replace(endpoints.list_sources(), once=True))
        except (CensusError, AirflowException) as error:
            return False, str(error)
        return True, f"Connected to {self.settings.base_url}: the API token sees {len(sources)} sources."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection form to Airflow 2; Airflow 3 reads ``get_provider_info``."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Make the extra fields of the connection form for Airflow 2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField

        kinds = {"integer": IntegerField, "string": StringField}
        return {
            name: kinds[field["schema"]["type"][0]](
                field["label"],
                widget=BS3TextFieldWidget(),
                description=field["description"],
                default=field["schema"]["default"],
            )
            for name, field in CONN_FIELDS.items()
        }


def _settings(conn: Connection) -> connection.Settings:
    return connection.settings(
        host=conn.host, port=conn.port, schema=conn.schema, password=conn.password, extra=conn.extra
    )

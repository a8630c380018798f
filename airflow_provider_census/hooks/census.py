# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The hook: an Airflow connection, and Census behind it, on a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
import time
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowException, BaseHook

from airflow_provider_census.api import connection, endpoints, flows, sync_runs, syncs
from airflow_provider_census.api.polling import Polling
from airflow_provider_census.api.request import Request, name
from airflow_provider_census.api.types import Sync, SyncRun
from airflow_provider_census.api.versions import END_OF_V1
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_census.loading import load
from airflow_provider_census.warning import deprecated

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_census.transports.triggerer import TriggererTransport
    from airflow_provider_census.transports.worker import WorkerTransport

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])


CLAIMED: defaultdict[str, set[int]] = defaultdict(set)
"""Ids of the runs that tasks of this process started or took for theirs, by host."""


TOLD: set[str] = set()
"""The versions of the API whose end this process has told."""

END_OF_V1_NOTICE = (
    f"Census switches API v1 off on {END_OF_V1}. To switch, make an Activations personal access token in "
    "Census (User Settings), put it into the Airflow connection, and set api_version to v2 in its extra "
    "fields; DAGs stay as they are."
)


def lift(endpoint: Callable[P, Request[T]]) -> Callable[Concatenate[CensusHook, P], T]:
    """Turn an operation of the API into a method that carries it out; name, docstring and signature stay."""

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


def _named(method: M, endpoint: Callable[..., Any], name: str, answer: str = "") -> M:
    """Give a method the signature, the annotations and the documentation of an operation."""
    functools.update_wrapper(method, endpoint)
    signature = inspect.signature(endpoint)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    returns = str(signature.return_annotation).removeprefix("Request[").removesuffix("]")
    returns = answer + returns.removeprefix("list") if answer else returns
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[this, *signature.parameters.values()], return_annotation=returns
    )
    method.__annotations__ = {**endpoint.__annotations__, "return": returns}
    method.__name__, method.__qualname__ = name, f"CensusHook.{name}"
    return method


class CensusHook(BaseHook):
    """
    Talk to the Census API with the token of an Airflow connection.

    A method for every operation; :meth:`run` and :meth:`arun` send what the functions of
    :mod:`~airflow_provider_census.api.endpoints` make. Failures that may pass are tried again: reading and
    cancelling always, all else only if it surely did not happen.

    :param census_conn_id: id of the connection, of type ``census``.
    :param api_version: version of the API, ``v1`` or ``v2``; without it, the connection's counts.
    :raises ValueError: if the id is no text, or empty.
    :raises CensusConfigError: if this provider does not speak that version.
    """

    conn_name_attr = "census_conn_id"
    default_conn_name = "census_default"
    conn_type = "census"
    hook_name = "Census"

    def __init__(self, census_conn_id: str = default_conn_name, api_version: str | None = None) -> None:
        super().__init__()
        self.census_conn_id = name("census_conn_id", census_conn_id)
        self.api_version = None if api_version is None else connection.api_version(api_version)
        self._settings: connection.Settings | None = None

    list_syncs = lift(endpoints.list_syncs)
    get_sync = lift(endpoints.get_sync)
    create_sync = lift(endpoints.create_sync)
    update_sync = lift(endpoints.update_sync)
    pause_sync = lift(endpoints.pause_sync)
    resume_sync = lift(endpoints.resume_sync)
    delete_sync = lift(endpoints.delete_sync)
    list_sync_runs = lift(endpoints.list_sync_runs)
    get_sync_run = lift(endpoints.get_sync_run)
    cancel_sync_run = lift(endpoints.cancel_sync_run)
    list_sources = lift(endpoints.list_sources)
    get_source = lift(endpoints.get_source)
    create_source = lift(endpoints.create_source)
    update_source = lift(endpoints.update_source)
    delete_source = lift(endpoints.delete_source)
    refresh_source_tables = lift(endpoints.refresh_source_tables)
    get_refresh_source_tables_status = lift(endpoints.get_refresh_source_tables_status)
    list_source_objects = lift(endpoints.list_source_objects)
    list_models = lift(endpoints.list_models)
    get_model = lift(endpoints.get_model)
    create_model = lift(endpoints.create_model)
    update_model = lift(endpoints.update_model)
    delete_model = lift(endpoints.delete_model)
    refresh_model_columns = lift(endpoints.refresh_model_columns)
    get_refresh_model_columns_status = lift(endpoints.get_refresh_model_columns_status)
    get_table = lift(endpoints.get_table)
    refresh_table_columns = lift(endpoints.refresh_table_columns)
    get_refresh_table_columns_status = lift(endpoints.get_refresh_table_columns_status)
    list_filter_segments = lift(endpoints.list_filter_segments)
    get_filter_segment = lift(endpoints.get_filter_segment)
    create_filter_segment = lift(endpoints.create_filter_segment)
    update_filter_segment = lift(endpoints.update_filter_segment)
    delete_filter_segment = lift(endpoints.delete_filter_segment)
    list_destinations = lift(endpoints.list_destinations)
    get_destination = lift(endpoints.get_destination)
    create_destination = lift(endpoints.create_destination)
    update_destination = lift(endpoints.update_destination)
    delete_destination = lift(endpoints.delete_destination)
    refresh_destination_objects = lift(endpoints.refresh_destination_objects)
    get_refresh_destination_objects_status = lift(endpoints.get_refresh_destination_objects_status)
    list_destination_objects = lift(endpoints.list_destination_objects)
    get_destination_object = lift(endpoints.get_destination_object)
    refresh_destination_object_fields = lift(endpoints.refresh_destination_object_fields)
    get_refresh_destination_object_fields_status = lift(
        endpoints.get_refresh_destination_object_fields_status
    )
    list_destination_connect_links = lift(endpoints.list_destination_connect_links)
    list_destination_connect_link_types = lift(endpoints.list_destination_connect_link_types)
    get_destination_connect_link = lift(endpoints.get_destination_connect_link)
    create_destination_connect_link = lift(endpoints.create_destination_connect_link)
    revoke_destination_connect_link = lift(endpoints.revoke_destination_connect_link)
    list_connectors = lift(endpoints.list_connectors)
    get_connector = lift(endpoints.get_connector)
    list_datasets = lift(endpoints.list_datasets)
    get_dataset = lift(endpoints.get_dataset)
    create_dataset = lift(endpoints.create_dataset)
    update_dataset = lift(endpoints.update_dataset)
    delete_dataset = lift(endpoints.delete_dataset)
    list_webhooks = lift(endpoints.list_webhooks)
    get_webhook = lift(endpoints.get_webhook)
    create_webhook = lift(endpoints.create_webhook)
    update_webhook = lift(endpoints.update_webhook)
    delete_webhook = lift(endpoints.delete_webhook)
    get_workspace = lift(endpoints.get_workspace)

    iter_syncs = lift_lazily(endpoints.list_syncs)
    iter_sync_runs = lift_lazily(endpoints.list_sync_runs)
    iter_sources = lift_lazily(endpoints.list_sources)
    iter_source_objects = lift_lazily(endpoints.list_source_objects)
    iter_models = lift_lazily(endpoints.list_models)
    iter_filter_segments = lift_lazily(endpoints.list_filter_segments)
    iter_destinations = lift_lazily(endpoints.list_destinations)
    iter_destination_objects = lift_lazily(endpoints.list_destination_objects)
    iter_destination_connect_links = lift_lazily(endpoints.list_destination_connect_links)
    iter_destination_connect_link_types = lift_lazily(endpoints.list_destination_connect_link_types)
    iter_connectors = lift_lazily(endpoints.list_connectors)
    iter_datasets = lift_lazily(endpoints.list_datasets)
    iter_webhooks = lift_lazily(endpoints.list_webhooks)

    def trigger_sync(self, sync_id: int | str, *, force_full_sync: bool = False) -> int:
        """
        Start a run of a sync, and never two, whatever happens to the request on its way.

        If nobody knows whether a request arrived, this looks for the run that it may have started, and only
        sends another one if there is none.

        :param sync_id: id of the sync.
        :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it.
        :returns: the id of the new run.
        :raises ValueError: if an argument is not what it should be.
        :raises CensusNotFoundError: if there is no such sync.
        :raises CensusApiError: if Census does not start it.
        :raises CensusConnectionError: if Census cannot be reached, or nobody knows what came of the request.
        """
        endpoints.trigger_sync(sync_id, force_full_sync=force_full_sync)  # refuses bad arguments at once
        before = None
        with suppress(CensusError):  # then Census' clock alone must tell our run from another one
            before = self.drive(flows.survey(sync_id, once=True))
        return self.drive(self.starting(sync_id, force_full_sync, before))

    def starting(self, sync_id: int | str, full_sync: bool, before: flows.Before | None) -> flows.Flow[int]:
        """Make the flow that starts a run, for a caller who drives it."""
        return flows.trigger_sync(
            sync_id,
            force_full_sync=full_sync,
            attempts=self.settings.attempts,
            claimed=CLAIMED[self.settings.base_url],
            log=self.log,
            now=time.time,
            rng=random.Random(),
            before=before,
        )

    def iterate(self, request: Request[list[T]]) -> Iterator[T]:
        """
        Go through a list that comes in pages, one page in memory at a time.

        :param request: one of the ``list_…`` operations of :mod:`~airflow_provider_census.api.endpoints`.
        """
        if not request.paged:
            yield from self.run(request)
            return
        pages = flows.Pages(request, self.settings.base_url)
        while pages.next is not None:
            page = self.run(pages.next)
            items = pages.took(page)
            del page
            yield from items
            del items  # or it would stay in memory beside the next one

    def get_latest_sync_run(self, sync_id: int | str) -> SyncRun | None:
        """
        Get the newest run of a sync, in one request.

        :returns: the run; ``None`` if the sync never ran.
        """
        newest = self.list_sync_runs(sync_id, order="desc", page=1, per_page=1)
        return newest[0] if newest else None

    def find_sync(self, label: str) -> Sync:
        """
        Find the one sync that has a label.

        :param label: the label, exactly.
        :raises ValueError: if the label is none that could be looked for.
        :raises CensusLookupError: if no sync has it, or several have; the message lists near matches.
        """
        checked = name("label", label)
        return syncs.with_label(list(self.iter_syncs()), checked)

    def wait_for_sync_run(
        self,
        sync_run_id: int | str,
        *,
        timeout: float | None = None,
        poll_interval: float | None = None,
    ) -> SyncRun:
        """
        Wait until a sync run has ended, however it has, and tell its progress in the log.

        :param timeout: seconds to wait at most; ``None`` for as long as it takes.
        :param poll_interval: seconds between two looks; ``None`` lets them grow with the time waited.
        :returns: the finished run; ``status`` and ``canceled`` say how it ended.
        :raises CensusTimeoutError: if the run goes on after that time.
        """
        watch = flows.Watch(sync_run_id, self.log, time.time)
        return cast(SyncRun, self._wait(watch, timeout, poll_interval))

    def wait_for_refresh(
        self,
        status: Request[str],
        *,
        timeout: float | None = None,
        poll_interval: float | None = None,
    ) -> None:
        """
        Wait until a refresh is completed.

        :param status: what asks for it, such as ``endpoints.get_refresh_source_tables_status(4, key)``.
        :param timeout: seconds to wait at most; ``None`` for as long as it takes.
        :param poll_interval: seconds between two looks; ``None`` lets them grow with the time waited.
        :raises CensusTimeoutError: if the refresh goes on after that time.
        :raises CensusError: if it ended otherwise.
        """
        ended = self._wait(flows.RefreshWatch(status, self.log, time.time), timeout, poll_interval)
        if ended != "completed":
            raise CensusError(f"The refresh that {status} asks for ended as {ended!r}.")

    def _wait(self, watch: flows.Lookout[T], timeout: float | None, poll_interval: float | None) -> T:
        now = time.time()
        return self.drive(
            flows.wait(
                watch,
                Polling(poll_interval),
                started=now,
                deadline=None if timeout is None else now + timeout,
                now=time.time,
                rng=random.Random(),
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
        async with self.aopen() as transport:
            settings = await transport.settings()
            return await self.adrive(flows.fetch(request, settings.base_url))

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

    @asynccontextmanager
    async def aopen(self, *, alone: bool = False) -> AsyncIterator[TriggererTransport]:
        """
        Keep a line to Census on an event loop, which all users of this Airflow connection share there.

        Whatever :meth:`adrive`, :meth:`arun` and :meth:`asettings` do meanwhile goes over it. The connection
        is looked up once for all, again when Census rejects its token, and every five minutes.

        :param alone: open a line that nobody shares.
        """
        triggerer = await load("airflow_provider_census.transports.triggerer")
        name = object() if alone else (self.census_conn_id, self.api_version)
        async with triggerer.TriggererTransport.open(
            name, self._look_up, self.log, self._settings
        ) as transport:
            yield transport

    async def adrive(self, flow: flows.Flow[T]) -> T:
        """Carry out a flow on an event loop, over the line that all users of this connection share there."""
        result: Any = None
        error: CensusError | None = None
        async with self.aopen() as transport:
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

    @property
    def settings(self) -> connection.Settings:
        """
        What the connection says, read at first use.

        :raises CensusConfigError: if a field is missing or cannot be used.
        """
        return self._settings or self._look_up_here()

    async def asettings(self) -> connection.Settings:
        """
        What the connection says, for use on an event loop.

        :raises CensusConfigError: if a field is missing or cannot be used.
        """
        async with self.aopen() as transport:
            self._settings = await transport.settings()
            return self._settings

    def _look_up_here(self) -> connection.Settings:
        self._settings = self._read(self.get_connection(self.census_conn_id))
        return self._settings

    async def _look_up(self) -> connection.Settings:
        self._settings = self._read(await get_async_connection(self.census_conn_id))
        return self._settings

    def _read(self, conn: Connection) -> connection.Settings:
        settings = connection.settings(
            host=conn.host, port=conn.port, schema=conn.schema, password=conn.password, extra=conn.extra
        )
        if self.api_version is not None:
            settings = replace(settings, api_version=self.api_version)
        if settings.api_version == "v1":
            self._tell_end_of_v1()
        return settings

    def _tell_end_of_v1(self) -> None:
        """Tell once in a process that API v1 ends."""
        if not TOLD:
            TOLD.add("v1")
            self.log.warning("%s", END_OF_V1_NOTICE)
            warnings.warn(END_OF_V1_NOTICE, DeprecationWarning, stacklevel=2)

    @functools.cached_property
    def _transport(self) -> WorkerTransport:
        from airflow_provider_census.transports.worker import WorkerTransport

        return WorkerTransport(self.settings, self.log, self._look_up_here)

    def cancel_at_once(self, sync_run_id: int | str, timeout: float) -> None:
        """
        Cancel a sync run in one attempt, over a connection of its own: for a task that is being killed.

        :param timeout: seconds to connect, and again to be answered.
        """
        from airflow_provider_census.transports.worker import WorkerTransport

        hurried = replace(self.settings, timeout=timeout, attempts=1)
        WorkerTransport(hurried, self.log).send(endpoints.cancel_sync_run(sync_run_id))

    async def acancel_at_once(self, sync_run_id: int | str) -> None:
        """Cancel a sync run on an event loop, over a line of its own: not after the looks of many waits."""
        async with self.aopen(alone=True) as transport:
            await transport.send(endpoints.cancel_sync_run(sync_run_id))

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

    def get_sync_run_info(self, sync_run_id: int | str) -> SyncRun:
        """Read a sync run. Deprecated: write :meth:`get_sync_run`."""
        deprecated("CensusHook.get_sync_run_info", "CensusHook.get_sync_run")
        return self.get_sync_run(sync_run_id)

    def get_sync_history_url(self, sync_id: int | str, sync_run_id: int | str | None = None) -> str:
        """
        Tell where a sync's runs, or one of them, are seen in a browser.

        Deprecated: write ``airflow_provider_census.api.sync_runs.browser_url``.
        """
        deprecated(
            "CensusHook.get_sync_history_url",
            "airflow_provider_census.api.sync_runs.browser_url(hook.settings.base_url, run)",
        )
        url = sync_runs.browser_url(self.settings.base_url, {"sync_id": sync_id, "id": sync_run_id})
        return url.partition("?")[0] if sync_run_id is None else url

    def get_api_base_url(self) -> str:
        """Tell the scheme and host of the connection. Deprecated: write ``hook.settings.base_url``."""
        deprecated("CensusHook.get_api_base_url", "hook.settings.base_url")
        return self.settings.base_url

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection form to Airflow before 3.2; from then on it reads ``get_provider_info``."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Make the extra fields of the connection form for Airflow before 3.2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField
        from wtforms.validators import Optional, any_of

        kinds = {"integer": IntegerField, "string": StringField}

        def field(label: str, description: str, schema: dict[str, Any]) -> Any:
            return kinds[schema["type"][0]](
                label,
                widget=BS3TextFieldWidget(),
                description=description,
                default=schema["default"],
                # Without the first of them, an emptied number could not be saved.
                validators=[Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])],
            )

        return {name: field(**described) for name, described in CONN_FIELDS.items()}

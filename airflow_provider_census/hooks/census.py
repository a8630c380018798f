# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The hook: an Airflow connection, and Census behind it, on a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow.providers.common.compat.sdk import AirflowException, BaseHook

from airflow_provider_census.api import endpoints, hook_params, sync_runs, syncs, wording
from airflow_provider_census.api.cleaning import one_line
from airflow_provider_census.api.pagination import Pages, fetch_all
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.request import Request
from airflow_provider_census.api.selection import SyncFilter, Workspace
from airflow_provider_census.api.settings import Settings, read_settings
from airflow_provider_census.api.triggering import RunsSnapshot, Submission, trigger_sync
from airflow_provider_census.api.validation import check_name, to_seconds
from airflow_provider_census.api.versions import end_of_v1_notice
from airflow_provider_census.api.waiters import ExportWaiter, RefreshWaiter, SyncRunWaiter, Waiter, wait
from airflow_provider_census.exceptions import CensusConfigError, CensusError
from airflow_provider_census.hooks import connection
from airflow_provider_census.hooks.old_methods import OldMethods
from airflow_provider_census.hooks.operations import Operations
from airflow_provider_census.transports.driver import adrive, drive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_census.api.flow import Flow
    from airflow_provider_census.api.types import Sync, SyncRun
    from airflow_provider_census.transports.aiohttp import AiohttpTransport
    from airflow_provider_census.transports.requests import RequestsTransport

T = TypeVar("T")

OWNED_RUN_IDS: defaultdict[str, set[int]] = defaultdict(set)
"""Ids of the runs that tasks of this process started or took for theirs, by host."""

NOTIFIED: set[str] = set()
"""The ids of the connections of which this process has reported that API v1 ends."""


class CensusHook(Operations, OldMethods, BaseHook):
    """
    Talk to the Census API with the token of an Airflow connection.

    A method for every operation; :meth:`run` and :meth:`arun` send what the functions of
    :mod:`~airflow_provider_census.api.endpoints` make. Failures that may pass are retried: reading and
    cancelling always, all else only if it was surely not processed.

    :param census_conn_id: id of the connection, of type ``census``.
    :param api_version: version of the API, ``v1`` or ``v2``; without it, the connection's counts.
    :param timeout: seconds, or a ``timedelta``, for one request; without it, the connection's counts.
    :param attempts: how often a request is sent at most; without it, the connection's counts.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusConfigError: if this provider does not speak that version.
    """

    conn_name_attr = "census_conn_id"
    default_conn_name = "census_default"
    conn_type = "census"
    hook_name = "Census"
    submission: Submission | None = None

    def __init__(
        self,
        census_conn_id: str = default_conn_name,
        api_version: str | None = None,
        *,
        timeout: timedelta | float | None = None,
        attempts: int | None = None,
    ) -> None:
        super().__init__()
        self.census_conn_id = check_name("census_conn_id", census_conn_id)
        given = {"api_version": api_version, "timeout": timeout, "attempts": attempts}
        self._params = {
            name: hook_params.CHECKS[name](name, value) for name, value in given.items() if value is not None
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of pickles and copies what was read of the connection, for it has the token."""
        left_out = {"settings", "_transport", "_log"}
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def trigger_sync(
        self,
        sync_id: int | str,
        *,
        force_full_sync: bool = False,
    ) -> int:
        """
        Start a run of a sync, and never two, whatever happens to the request on its way.

        If it is unknown whether a request was processed, this searches for the run that it may have started,
        and only sends another one if there is none.

        :param sync_id: id of the sync.
        :param force_full_sync: sync all records instead of the changed ones; append syncs do not support it.
        :returns: the id of the new run.
        :raises ValueError: if an argument is not what it should be.
        :raises CensusNotFoundError: if there is no such sync.
        :raises CensusApiError: if Census does not start it.
        :raises CensusConnectionError: if Census cannot be reached, or nobody knows what came of the request.
        """
        request = endpoints.trigger_sync(sync_id, force_full_sync=force_full_sync)
        submission = self.submission  # of an operator, which calls this as anybody does
        snapshot: RunsSnapshot | None = None
        if submission is not None:
            snapshot = submission.snapshot or self.snapshot_runs(sync_id)
            submission.save_intent(snapshot)
        else:
            with suppress(CensusError):  # then Census' clock alone must tell our run from another one
                snapshot = self.snapshot_runs(sync_id, retry=False)
        settings = self.settings
        flow = trigger_sync(
            request,
            sync_id,
            full_sync=force_full_sync,
            attempts=settings.attempts,
            owned_run_ids=OWNED_RUN_IDS[settings.base_url],
            log=self.log,
            now=time.time,
            rng=random.Random(),
            snapshot=snapshot,
        )
        return self.drive(flow, submission.sleep if submission else time.sleep)

    def snapshot_runs(self, sync_id: int | str, *, retry: bool = True) -> RunsSnapshot:
        """
        Take note of a sync's runs, in one request: the newest one, and the one that is running.

        :param sync_id: id of the sync.
        :param retry: whether to try again if that fails.
        """
        request = replace(endpoints.newest_sync_runs(sync_id), retry=retry)
        return RunsSnapshot.of(self._transport.send(request))

    def iterate(self, request: Request[list[T]]) -> Iterator[T]:
        """
        Go through a list that comes in pages, one page in memory at a time.

        :param request: one of the ``list_…`` operations of :mod:`~airflow_provider_census.api.endpoints`.
        """
        if not request.paged:
            yield from self.run(request)
            return
        pages = Pages(request, self.settings.base_url, within=None)
        while pages.next is not None:
            page = self.run(pages.next)
            items = pages.advance(page)
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
        :raises ValueError: if the label is no text, or empty.
        :raises CensusLookupError: if no sync has it, or several have; the message lists near matches.
        """
        checked = check_name("label", label)
        return syncs.with_label(list(self.iter_syncs()), checked)

    def find_syncs(
        self,
        *,
        source: int | str | None = None,
        table: str | None = None,
        model: str | None = None,
        dataset: str | None = None,
        destination: int | str | None = None,
        label: str | None = None,
        paused: bool | None = None,
    ) -> list[Sync]:
        """
        Find the syncs that read, write, or are labelled as wanted; any for an argument that is left out.

        The arguments are those of a ``airflow_provider_census.api.selection.SyncFilter``. The syncs are
        listed page by page; sources, destinations and datasets only if the syncs do not say enough.

        :raises ValueError: if an argument is not what it should be.
        """
        wanted = SyncFilter(source, table, model, dataset, destination, label, paused)
        workspace = Workspace(self.run)
        return [sync for sync in self.iter_syncs() if wanted.matches(sync, workspace)]

    def wait_for_sync_run(
        self,
        sync_run_id: int | str,
        *,
        timeout: timedelta | float | None = None,
        poll_interval: timedelta | float | None = None,
    ) -> SyncRun:
        """
        Wait until a sync run has ended, however it has, and report its progress in the log.

        :param timeout: seconds, or a ``timedelta``, to wait at most; ``None`` for as long as it takes.
        :param poll_interval: seconds, or a ``timedelta``, between two polls; ``None`` for adaptive ones.
        :returns: the finished run; ``status`` and ``canceled`` say how it ended.
        :raises CensusTimeoutError: if the run is still running after that time.
        """
        waiter = SyncRunWaiter(sync_run_id, self.log, time.time)
        run = self._wait(waiter, timeout, poll_interval)
        took = wording.took(run, sync_runs.outcome(run))
        self.log.info("%s%s · %s", run.get("status"), took, wording.title(run))
        return cast("SyncRun", run)

    def wait_for_refresh(
        self,
        status: Request[str],
        *,
        timeout: timedelta | float | None = None,
        poll_interval: timedelta | float | None = None,
    ) -> None:
        """
        Wait until a refresh is completed.

        :param status: what asks for it, such as ``endpoints.get_refresh_source_tables_status(4, key)``.
        :param timeout: seconds, or a ``timedelta``, to wait at most; ``None`` for as long as it takes.
        :param poll_interval: seconds, or a ``timedelta``, between two polls; ``None`` for adaptive ones.
        :raises CensusTimeoutError: if the refresh is still running after that time.
        :raises CensusError: if it ended otherwise.
        """
        ended = self._wait(RefreshWaiter(status, self.log, time.time), timeout, poll_interval)
        if ended != "completed":
            raise CensusError(f"The refresh that {status} asks for ended as {one_line(ended)!r}.")

    def export_sync_run_records(
        self,
        sync_run_id: int | str,
        *,
        status: str | None = None,
        operation: str | None = None,
        timeout: timedelta | float | None = None,
        poll_interval: timedelta | float | None = None,
    ) -> list[str]:
        """
        Wait until the records of a sync run are exported to Parquet files, and get their addresses.

        Who knows an address can read the file, and so the personal data of customers.

        :param sync_run_id: the run, which may be running still.
        :param status: only records that were ``succeeded``, ``rejected`` by the destination, or ``invalid``
            in the source; Census announces this filter for later.
        :param operation: only records that Census was to ``upsert`` or ``delete``; also for later.
        :param timeout: seconds, or a ``timedelta``, to wait at most; ``None`` for as long as it takes.
        :param poll_interval: seconds, or a ``timedelta``, between two polls; ``None`` for adaptive ones.
        :raises CensusTimeoutError: if the files are not ready after that time.
        :raises CensusApiError: if Census refuses, as for a run of more than 14 days ago.
        """
        request = endpoints.export_sync_run_records(sync_run_id, status=status, operation=operation)
        waiter = ExportWaiter(request, self.log, time.time)
        return cast("list[str]", self._wait(waiter, timeout, poll_interval))

    def _wait(
        self, waiter: Waiter[T], timeout: timedelta | float | None, poll_interval: timedelta | float | None
    ) -> T:
        deadline = None if timeout is None else time.time() + to_seconds("timeout", timeout, limits=False)
        options = WaitOptions(cast("float | None", poll_interval), deadline=deadline)
        return self.drive(wait(waiter, options, now=time.time, rng=random.Random()))

    def run(self, request: Request[T]) -> T:
        """
        Send a request from a worker; of a list, follow all the pages.

        :raises CensusApiError: if Census responds with an error, or with what is no response to the request.
        :raises CensusConnectionError: if no complete response arrives.
        :raises CensusConfigError: if the connection cannot be used.
        :raises ValueError: if it is no request, such as the path that ``run`` took in 2.x.
        """
        if _is_paged(request):
            pages = cast("Request[list[Any]]", request)
            return cast("T", self.drive(fetch_all(pages, self.settings.base_url)))
        return self._transport.send(request).value

    async def arun(self, request: Request[T]) -> T:
        """Send a request on an event loop, as :meth:`run` does on a worker."""
        async with self.aopen() as transport:
            if _is_paged(request):
                pages = cast("Request[list[Any]]", request)
                base_url = (await transport.settings()).base_url
                return cast("T", await adrive(fetch_all(pages, base_url), transport.send))
            return (await transport.send(request)).value

    def drive(self, flow: Flow[T], sleep: Callable[[float], None] = time.sleep) -> T:
        """
        Run a flow of :mod:`~airflow_provider_census.api.flow` on a worker.

        :param sleep: waits for so many seconds.
        """
        return drive(flow, self._transport.send, sleep)

    @asynccontextmanager
    async def aopen(self, *, shared: bool = True) -> AsyncIterator[AiohttpTransport]:
        """
        Open a transport on an event loop, which shares the sockets of all who connect to the same Census.

        It also keeps the pace of all who use the same Airflow connection.

        :param shared: ``False`` for sockets and a pace of its own, so that many waits cannot hold it up.
        """
        if not _aiohttp_transport.cache_info().currsize:  # the import takes longer than a loop may be held
            await asyncio.to_thread(_aiohttp_transport)
        known, conn_id = vars(self).get("settings"), self.census_conn_id
        transport = _aiohttp_transport()(
            self._aread_connection, self.log, known, conn_id=conn_id, shared=shared
        )
        async with transport:
            yield transport

    @functools.cached_property
    def settings(self) -> Settings:
        """
        What the connection says, read at first use.

        :raises CensusConfigError: if a field is missing or cannot be used.
        """
        return self._read_connection()

    async def asettings(self) -> Settings:
        """
        What the connection says, for use on an event loop.

        :raises CensusConfigError: if a field is missing or cannot be used.
        """
        async with self.aopen() as transport:
            return await transport.settings()

    def _read_connection(self) -> Settings:
        return self._to_settings(connection.read(self, self.census_conn_id))

    async def _aread_connection(self) -> Settings:
        return self._to_settings(await connection.aread(self, self.census_conn_id))

    def _to_settings(self, conn: Connection) -> Settings:
        found: Settings | CensusConfigError
        try:
            fields = {name: getattr(conn, name) for name in connection.FIELDS}
            known = {"connection_id": self.census_conn_id, **self._params}
            found = read_settings(**fields, conn_types={"census", self.conn_type}, **known)
        except CensusConfigError as error:
            found = CensusConfigError(f"The Airflow connection {self.census_conn_id} cannot be used: {error}")
        del conn, fields  # reports of errors with local variables would show the token
        if isinstance(found, CensusConfigError):
            raise found
        if found.api_version == "v1" and self.census_conn_id not in NOTIFIED:  # once in a process
            NOTIFIED.add(self.census_conn_id)
            self.log.warning("%s", end_of_v1_notice(self.census_conn_id))
        self.settings = found
        return found

    @functools.cached_property
    def _transport(self) -> RequestsTransport:
        from airflow_provider_census.transports.requests import RequestsTransport

        return RequestsTransport(self.settings, self.log, self._read_connection)

    def run_once(self, request: Request[T], timeout: float) -> T:
        """
        Send a request in one attempt, over a connection of its own; of a list, get one page.

        It is for what must not take long: the cancellation by a task that is being killed, what only a log
        shows.

        :param timeout: seconds that it may take.
        """
        from airflow_provider_census.transports.requests import RequestsTransport

        hurried = replace(self.settings, timeout=timeout, attempts=1)
        return RequestsTransport(hurried, self.log).send(request).value

    def cancel_at_once(self, sync_run_id: int | str, timeout: float) -> None:
        """
        Cancel a sync run in one attempt, over a connection of its own: for a task that is being killed.

        :param timeout: seconds that it may take.
        """
        self.run_once(endpoints.cancel_sync_run(sync_run_id), timeout)

    async def acancel_at_once(self, sync_run_id: int | str) -> None:
        """Cancel a sync run on an event loop, over sockets of its own: not after the polls of many waits."""
        async with self.aopen(shared=False) as transport:
            await transport.send(endpoints.cancel_sync_run(sync_run_id))

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection: what the Test button of the UI and ``airflow connections test`` call.

        :returns: whether it works, and a sentence that says what was found or what is wrong.
        """
        try:
            sources = self.run(replace(endpoints.list_sources(), retry=False))
        except (CensusError, AirflowException) as error:
            if getattr(error, "connection", ""):  # the form tests one with an id that nobody has given it
                error.connection = replace(self.settings, connection_id="").name  # type: ignore[union-attr]
            return False, str(error)
        return True, f"Connected to {self.settings.base_url}: the API token sees {len(sources)} sources."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection form to Airflow before 3.2."""
        from airflow_provider_census.hooks import connection_form

        return connection_form.field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Make the extra fields of the connection form for Airflow before 3.2."""
        from airflow_provider_census.hooks import connection_form

        return connection_form.widgets()


@functools.cache
def _aiohttp_transport() -> type[AiohttpTransport]:
    """Import the transport of an event loop, which a worker does not pay for."""
    from airflow_provider_census.transports.aiohttp import AiohttpTransport

    return AiohttpTransport


def _is_paged(request: Request[Any]) -> bool:
    if not isinstance(request, Request):
        raise ValueError(
            f"request must be made by a function of airflow_provider_census.api.endpoints, not {request!r}"
        )
    return request.paged

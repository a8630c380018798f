# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The one way to an Airflow connection, on a worker and on an event loop.

It is ``get_connection`` of the hook, on an event loop in a thread, or ``aget_connection`` where a subclass
has replaced that alone. Airflow's own ``aget_connection`` is not asked: before 3.3.2 it may block the loop,
and in ``airflow dags test`` it does not find what is in the database.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import BaseHook
from asgiref.sync import async_to_sync, sync_to_async

from airflow_provider_census.utils.loops import ByLoop, of_this_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from airflow.providers.common.compat.sdk import Connection

FIELDS = ("conn_type", "host", "port", "schema", "password", "extra")
"""What Census needs of a connection."""

FOUND: set[str] = set()
"""The ids of the connections that this process has read."""

MASKERS = (
    "airflow.sdk._shared.secrets_masker.secrets_masker",
    "airflow._shared.secrets_masker.secrets_masker",
)
"""The loggers of what masks secrets, from Airflow 3.2 on."""

READS: ByLoop[Hashable, asyncio.Task[Connection]] = WeakKeyDictionary()
"""The reads that are under way, by event loop, and by how they read which connection."""


def _owner(kind: type[BaseHook]) -> tuple[type, str]:
    """Find the class that says how hooks of a kind read a connection, and the method that does."""
    names = ("get_connection", "aget_connection")
    return next((each, name) for each in kind.__mro__ for name in names if name in vars(each))


def overrides_get_connection(kind: type[BaseHook]) -> bool:
    """Tell whether hooks of a kind read a connection in another way than those of Airflow."""
    return _owner(kind)[0] not in BaseHook.__mro__


def _without_warning_of_short_extras(method: Callable[[str], Connection]) -> Callable[[str], Connection]:
    """
    Keep a warning of Airflow's out of the log that is about fields of ours.

    It takes every extra field for a secret, and warns of those with less than five characters, as ``v2`` has.
    """

    def is_another(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Skipping masking for a secret")

    @functools.wraps(method)
    def quietly(conn_id: str) -> Connection:
        for name in MASKERS:
            logging.getLogger(name).addFilter(is_another)
        try:
            return method(conn_id)
        finally:
            for name in MASKERS:
                logging.getLogger(name).removeFilter(is_another)

    return quietly


def read(hook: BaseHook, conn_id: str) -> Connection:
    """
    Read a connection on a worker.

    :raises Exception: whatever Airflow, its secrets backend or a subclass fails with.
    """
    _, name = _owner(type(hook))
    method: Any = getattr(hook, name)
    is_async = name == "aget_connection"
    found = (async_to_sync(method) if is_async else _without_warning_of_short_extras(method))(conn_id)
    FOUND.add(conn_id)
    return cast("Connection", found)


async def aread(hook: BaseHook, conn_id: str) -> Connection:
    """
    Read a connection on an event loop; all who ask for the same meanwhile share what is read.

    :raises Exception: whatever Airflow, its secrets backend or a subclass fails with.
    """
    _, name = _owner(type(hook))
    method: Any = getattr(hook, name)
    reads = of_this_loop(READS)
    key = method, conn_id  # a method of a class is the same for all of its hooks, one of an object is not
    if key not in reads:
        # Not asyncio.to_thread: on Airflow 3.0 and 3.1, only such a thread can ask the triggerer.
        is_async = name == "aget_connection"
        way = method if is_async else sync_to_async(_without_warning_of_short_extras(method))
        task = reads[key] = asyncio.create_task(way(conn_id))
        task.add_done_callback(lambda _: reads.pop(key))
        # Who waits for it may leave before it fails; asyncio reports an exception that nobody asks for.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
    task = reads[key]
    await asyncio.wait({task})  # to be cancelled meanwhile does not cancel it
    found = task.result()
    FOUND.add(conn_id)
    return found

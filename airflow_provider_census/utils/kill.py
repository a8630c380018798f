# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Who ended a task, and who therefore cancels its sync run: one rule for the worker and the triggerer.

Airflow ends a task on the worker with a signal, and one that is deferred by cancelling its trigger. It does
both for several reasons, and only the state that the task instance has by then tells them apart.
docs/faults.md has this table for users:

===================  ===========  ================  ======================================================
State                On a worker  In the triggerer  Because
===================  ===========  ================  ======================================================
failed, success,     cancel       cancel            A user marked the task, or the time of its DAG run is
skipped                                             over. (Also if Airflow gave it up for lost heartbeats
                                                    without a retry left, which looks alike.)
restarting, removed, cancel       cancel            A user cleared it, or took it out of the DAG.
none
deleted              cancel       keep              The task instance does not exist any more. On a worker: a
                                                    user deleted it. In the triggerer: it may as well have
                                                    gone with a database that was restored.
deferred             keep         keep              Another triggerer took the trigger over, or this one
                                                    stops.
scheduled, queued,   keep         cancel            On a worker: Airflow has handed the task to a retry,
running                                             or stops the worker. In the triggerer: a user cleared
                                                    the task, and Airflow has moved it on already. An
                                                    event of another triggerer does the same, after which
                                                    the run has ended, or the deadline has passed.
up_for_retry, and    keep         keep              Airflow handed the task to a retry, which reconnects
any other                                           to the run.
===================  ===========  ================  ======================================================

A trigger whose task was not deferred when it began is one that nobody waits for, and cancels nothing at all:
``airflow dags test`` leaves such triggers in Airflow's database, and a backup of that may hold some. Airflow
starts and ends them as if a user had ended the task meanwhile.

Airflow 2.11 also cancels a trigger whose time is over; the trigger knows its deadline, and cancels nothing
after that.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DEFERRED = "deferred"
"""The state of a task that a trigger waits for."""

DELETED = "deleted"
"""What stands for the state of a task instance that does not exist any more."""

ENDED_BY_USER = frozenset({"failed", "success", "skipped", "restarting", "removed", "none"})
"""States that a waiting task instance gets by a user's hand, wherever it waits."""

MOVED_ON = frozenset({"scheduled", "queued", "running"})
"""States that a deferred task instance gets soon after a user cleared it."""


def was_killed_by_user(state: str, *, deferred: bool) -> bool:
    """
    Tell whether a user ended a waiting task.

    :param state: the present state of its task instance, as :func:`task_state` gives it.
    :param deferred: whether it waited in the triggerer.
    """
    return state in ENDED_BY_USER or (state in MOVED_ON if deferred else state == DELETED)


def task_state(ti: Any) -> str:
    """
    Ask Airflow for the present state of a task instance; blocks, so not for use on an event loop.

    :param ti: the task instance, as a worker or a trigger has it.
    :returns: the state; ``none`` if it has none, as after a clear; ``deleted`` if it does not exist any more.
    """
    if hasattr(ti, "current_state"):  # Airflow 2
        found = ti.get_task_instance(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        return DELETED if found is None else str(found.state or "none")
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    (state,) = states.get(ti.run_id, {}).values() or (DELETED,)
    return str(getattr(state, "value", state) or "none")


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T | None:
    """Call in a thread what may never return; ``None`` if it fails, or takes longer."""
    results: list[T] = []

    def store() -> None:
        with suppress(Exception):
            results.append(call())

    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else None

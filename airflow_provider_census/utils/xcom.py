# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Stores XComs, of which none decides a task: one that cannot be stored is a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_census.api.flow import Log

T = TypeVar("T")

RETURN_KEY = "return_value"
"""Under which Airflow stores what a task returns."""


def push(context: Context, key: str, value: Any, log: Log) -> bool:
    """
    Store an XCom of the task.

    :returns: whether it could be stored: a backend may be down, or take no value of that size or kind. Where
        no Airflow runs the task, as in a unit test, there is nothing to do.
    """
    if "ti" not in context:
        return True
    try:
        context["ti"].xcom_push(key=key, value=value)
    except Exception as error:  # noqa: BLE001 - whatever the backend fails with
        log.warning("XCom %r could not be stored; the task continues without it: %r", key, error)
        return False
    return True


def return_value(task: BaseOperator, context: Context, value: T) -> T | None:
    """
    Give what a task is to return: ``None`` if it cannot be stored, for with that Airflow would fail the task.

    Airflow itself stores it only when no code of the task can run any more.
    """
    if task.do_xcom_push and not push(context, RETURN_KEY, value, task.log):
        return None
    return value

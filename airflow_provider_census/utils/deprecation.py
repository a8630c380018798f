# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Warnings at the line of the DAG file that they are about."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = {"airflow", "airflow_provider_census"}
"""The packages between a name and the DAG file that uses it."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called into one of these packages."""
    stack = inspect.stack(context=0)
    names = (each.frame.f_globals.get("__name__", "").partition(".")[0] for each in stack)
    level = next((level for level, name in enumerate(names) if name not in OURS), len(stack) - 1) + 1
    warnings.warn(message, category, stacklevel=level)


def deprecated(old: str, new: str) -> None:
    """
    Warn of the use of a name of 2.x.

    :param old: the name.
    :param new: what to write instead.
    """
    from airflow.exceptions import AirflowProviderDeprecationWarning

    warn(f"{old} is deprecated, and removed in 4.0. Write {new} instead.", AirflowProviderDeprecationWarning)


def old_names(module: str, *names: str) -> Callable[[str], Any]:
    """
    Make the ``__getattr__`` of a module that had these names in 2.x.

    They are in ``deprecated.py`` now, which only those pay for who use it. The hook is there as well, for who
    patches it where it is used.
    """

    def find(name: str) -> Any:
        if name == "CensusHook":
            return importlib.import_module("airflow_provider_census.hooks.census").CensusHook
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module("airflow_provider_census.deprecated"), name)

    return find

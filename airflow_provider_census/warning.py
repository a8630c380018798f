# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Warnings at the line of the DAG file that they are about."""

from __future__ import annotations

import sys
import warnings

OURS = {"airflow", "airflow_provider_census"}
"""The packages between a name and the DAG file that uses it."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called into one of these packages."""
    frame, level = sys._getframe(), 1
    while frame.f_globals.get("__name__", "").partition(".")[0] in OURS and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def deprecated(old: str, new: str) -> None:
    """
    Warn of the use of a name that is one of 2.x.

    :param old: the name.
    :param new: what to write instead.
    """
    from airflow.exceptions import AirflowProviderDeprecationWarning

    warn(f"{old} is deprecated. Write {new} instead.", AirflowProviderDeprecationWarning)

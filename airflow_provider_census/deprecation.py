# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Tells that a name is one of 2.x, and which one to write instead."""

from __future__ import annotations

import sys
import warnings

OURS = {"airflow", "airflow_provider_census"}
"""The packages between a name and the DAG file that uses it."""


def deprecated(old: str, new: str) -> None:
    """
    Warn of the use of a name, at the line of the DAG file that uses it.

    :param old: the name.
    :param new: what to write instead.
    """
    from airflow.exceptions import AirflowProviderDeprecationWarning

    frame, level = sys._getframe(), 1
    while frame.f_globals.get("__name__", "").partition(".")[0] in OURS and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"{old} is deprecated. Write {new} instead.", AirflowProviderDeprecationWarning, stacklevel=level
    )

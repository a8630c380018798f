# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Adds to the asset events of a task what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.api.flow import Log

if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk.definitions.asset import AssetRef

    KINDS: tuple[type[Any], ...] = (Asset, AssetRef)
else:
    KINDS = (Asset,)
"""The outlets that get an event by themselves; an alias only gets those that somebody adds to it."""


def annotate(context: Context, outlets: Sequence[Any], extra: dict[str, Any], log: Log) -> None:
    """
    Put something into the extra of each asset event that the task will cause if it succeeds.

    What somebody else put there stays. An event that cannot have it is no reason for the task to fail.
    """
    for outlet in outlets:
        if not isinstance(outlet, KINDS):
            continue
        try:
            event = context["outlet_events"][outlet]
            event.extra = {**extra, **event.extra}
        except Exception as error:  # noqa: BLE001 - whatever Airflow fails with
            log.warning("The event of %r will not say which sync run it stands for: %r", outlet, error)

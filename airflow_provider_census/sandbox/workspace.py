# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What one sandbox holds, and what was done to it."""

from __future__ import annotations

import itertools
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.runs import SyncRuns, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox.calls import Item

REFRESH_TAKES = 2.0  # seconds at pace 1


@dataclass(frozen=True)
class Trigger:
    """One accepted ``POST /syncs/{id}/trigger``."""

    sync_id: int
    sync_run_id: int
    force_full_sync: bool


@dataclass(frozen=True)
class Refresh:
    """One accepted ``POST .../refresh_...``.

    :ivar of: what Census reads again.
    :ivar ends_at: in seconds since the epoch.
    """

    of: Item
    ends_at: float


class Workspace:
    """What one sandbox holds, and what was done to it.

    :param clock: gives the time in seconds since the epoch.
    :param pace: every duration is multiplied by it.
    """

    def __init__(self, clock: Callable[[], float], pace: float) -> None:
        self.clock = clock
        self.pace = pace
        # By the name of the collection; what belongs to one source or destination is inside of that.
        self.items: dict[str, list[Item]] = deepcopy(
            {
                "syncs": data.SYNCS,
                "sources": data.SOURCES,
                "destinations": data.DESTINATIONS,
                "connectors": data.CONNECTORS,
                "destination_connect_links": data.DESTINATION_CONNECT_LINKS,
                "datasets": data.DATASETS,
                "webhooks": data.WEBHOOKS,
            }
        )
        self.runs = SyncRuns(clock, pace)
        self.new_ids = itertools.count(data.FIRST_NEW_ID)
        self.triggers: list[Trigger] = []
        self.cancels: list[int] = []
        self.refreshes: dict[str, Refresh] = {}

    def now(self) -> str:
        """The clock's time as Census writes it."""
        return timestamp(self.clock())

    def refresh(self, item: Item) -> int:
        """Read an item again, for a while, and answer with the key to ask how far that is."""
        key = data.FIRST_REFRESH_KEY + len(self.refreshes)
        self.refreshes[str(key)] = Refresh(item, self.clock() + REFRESH_TAKES * self.pace)
        return key

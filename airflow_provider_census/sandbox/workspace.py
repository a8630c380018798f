# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What one sandbox holds, and what was done to it."""

from __future__ import annotations

import itertools
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.outcomes import OUTCOMES, Outcome, check_key, completes
from airflow_provider_census.sandbox.runs import SyncRuns, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_census.sandbox.calls import Item

    Outcomes = Outcome | Sequence[Outcome]
    Syncs = Mapping[int | str, Outcomes] | Mapping[int, Outcomes] | Mapping[str, Outcomes]

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
    :param syncs: what the runs of each sync do, by id or label; the syncs of the document unless given.
    :param strict: whether there are no other syncs; else each one that is asked for by id is there.
    :param cancelled_as: the ``status`` of runs that are cancelled.
    :raises ValueError: when a sync cannot be.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        pace: float,
        syncs: Syncs | None,
        strict: bool,
        cancelled_as: str,
    ) -> None:
        if cancelled_as not in ("completed", "cancelled"):
            raise ValueError(f"cancelled_as must be one of completed, cancelled, not {cancelled_as!r}")
        self.clock = clock
        self.pace = pace
        self.strict = strict
        # By the name of the collection; what belongs to one source or destination is inside of that.
        self.items: dict[str, list[Item]] = deepcopy(
            {
                "syncs": data.SYNCS if syncs is None else [],
                "sources": data.SOURCES,
                "destinations": data.DESTINATIONS,
                "connectors": data.CONNECTORS,
                "destination_connect_links": data.DESTINATION_CONNECT_LINKS,
                "datasets": data.DATASETS,
                "webhooks": data.WEBHOOKS,
            }
        )
        history = data.SYNC_RUNS if syncs is None else []
        self.runs = SyncRuns(clock, pace, history, cancelled_as)
        self.outcomes: dict[int | str, list[Outcome]] = {}
        self.deleted_syncs: set[int] = set()
        self._ids = itertools.count(data.FIRST_NEW_ID)
        self.triggers: list[Trigger] = []
        self.cancels: list[int] = []
        self.refreshes: dict[str, Refresh] = {}

        chosen: Mapping[Any, Outcomes] = OUTCOMES if syncs is None else syncs
        for key, outcome in chosen.items():
            self.add_sync(key, outcome)

    def add_sync(self, key: int | str, outcome: Outcome | Sequence[Outcome], **properties: Any) -> int:
        """
        See to it that there is a sync, and return its id.

        :param key: its id or label.
        :param outcome: what its runs do; of several, one for each run, the last one for all that follow.
        :param properties: of the sync, by Census' names for them.
        :raises ValueError: when it cannot be.
        """
        check_key(key)
        several: list[Any] = list(outcome) if isinstance(outcome, (list, tuple)) else [outcome]
        if not several or not all(isinstance(each, Outcome) for each in several):
            raise ValueError(f"the runs of {key!r} must have outcomes, such as completes(), not {outcome!r}")
        self.outcomes[key] = several
        sync = self.find_sync(key) or self._new_sync(key)
        sync.update(properties)
        sync_id: int = sync["id"]
        return sync_id

    def find_sync(self, key: int | str) -> Item | None:
        """A sync by its id or label; None when there is none."""
        name = "label" if isinstance(key, str) else "id"
        return next((sync for sync in self.items["syncs"] if sync[name] == key), None)

    def sync(self, key: int | str) -> Item | None:
        """A sync by its id or label; one that springs up unless this sandbox is strict."""
        found = self.find_sync(key)
        if found or self.strict or isinstance(key, str) or key in self.deleted_syncs or not 0 < key < 2**63:
            return found
        return self._new_sync(key)

    def _new_sync(self, key: int | str) -> Item:
        sync = deepcopy(data.SYNC_TO_BRAZE)
        number = self.new_id() if isinstance(key, str) else key
        label = key if isinstance(key, str) else None
        sync |= {"id": number, "label": label, "resource_identifier": f"sync-{number}"}
        self.items["syncs"].append(sync)
        return sync

    def new_id(self) -> int:
        """An id that nothing has."""
        return next(number for number in self._ids if self.find_sync(number) is None)

    def next_outcome(self, sync: Item) -> Outcome:
        """What the next run of a sync does, as was said for its id or else for its label."""
        for key in (sync["id"], sync.get("label")):
            if isinstance(key, (int, str)) and key in self.outcomes:
                outcomes = self.outcomes[key]
                return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        return completes()

    def cancel(self, sync_run_id: int) -> None:
        """Cancel a run; one that is over stays as it ended."""
        self.runs.cancel(sync_run_id)
        self.cancels.append(sync_run_id)

    def now(self) -> str:
        """The clock's time as Census writes it."""
        return timestamp(self.clock())

    def refresh(self, item: Item) -> int:
        """Read an item again, for a while, and answer with the key to ask how far that is."""
        key = data.FIRST_REFRESH_KEY + len(self.refreshes)
        self.refreshes[str(key)] = Refresh(item, self.clock() + REFRESH_TAKES * self.pace)
        return key

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a task remembers of the run that it started, over a crash and a retry."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api import flows, retries
from airflow_provider_census.exceptions import CensusError, CensusNotFoundError

if TYPE_CHECKING:
    from airflow_provider_census.api.flows import Log
    from airflow_provider_census.hooks.census import CensusHook

KEY = "census_sync_run"
"""Under which the record lies in Airflow's task state store."""


@dataclass(frozen=True)
class Record:
    """
    What is written down before and after a sync is started.

    :ivar sync_id: the sync.
    :ivar full_sync: whether a full sync was asked for.
    :ivar max_tries: the task instance's ``max_tries``, which changes when a user clears the task.
    :ivar newest: the highest id among the sync's runs before.
    :ivar date: Census' clock before, in seconds since the epoch, if it was told.
    :ivar sync_run_id: the run; ``None`` as long as it is only intended.
    :ivar joined: the run is somebody else's.
    """

    sync_id: str
    full_sync: bool
    max_tries: int
    newest: int = 0
    date: float | None = None
    sync_run_id: int | None = None
    joined: bool = False

    @classmethod
    def read(cls, stored: Any) -> Record | None:
        """Read what was written down, also by another release; ``None`` if it is no record."""
        try:
            return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})
        except (TypeError, KeyError):
            return None


class Memory:
    """
    Start a run of a sync, and find it again in a later try of the same task instance.

    An intent is written before the request leaves, and the id of the run after. So whenever the task dies,
    the next try knows which run is its own, or where to look for it.

    :param store: Airflow's task state store.
    :param hook: the hook to ask Census with.
    :param log: where the conclusions are told.
    :param see: gets a run, by its id.
    :param start: starts a run of a sync, in full or not, with what is known of the sync before.
    :param sync_id: the sync.
    :param full_sync: whether to ask for a full sync.
    :param max_tries: the task instance's ``max_tries``.
    """

    def __init__(
        self,
        store: Any,
        hook: CensusHook,
        log: Log,
        see: Callable[[int], dict[str, Any]],
        start: Callable[[str, bool, flows.Before], int],
        *,
        sync_id: str,
        full_sync: bool,
        max_tries: int,
    ) -> None:
        self._store = store
        self._hook = hook
        self._log = log
        self._see = see
        self._start = start
        self._new = Record(sync_id, full_sync, max_tries)

    def earlier_run(self) -> tuple[dict[str, Any], bool, bool] | None:
        """
        Find the run of an earlier try.

        :returns: the run as it is now, whether that try had joined it, and whether a user has cleared the
            task since; ``None`` if there is none.
        """
        record = Record.read(self._store.get(KEY))
        if record is None:
            return None
        if (record.sync_id, record.full_sync) != (self._new.sync_id, self._new.full_sync):
            return None
        run = self._find(record)
        return None if run is None else (run, record.joined, record.max_tries != self._new.max_tries)

    def _find(self, record: Record) -> dict[str, Any] | None:
        if record.sync_run_id is not None:
            try:
                return self._see(record.sync_run_id)
            except CensusNotFoundError:
                self._log.warning("Sync run %s of an earlier try is gone.", record.sync_run_id)
                return None
        self._log.warning(
            "An earlier try ended while it started sync %s; looking for its run.", record.sync_id
        )
        before = flows.Before(record.newest, record.date)
        search = flows.Search(record.sync_id, record.full_sync, before, claimed=set())
        return self._hook.drive(flows.find_started(search, time.time))

    def start(self, before: flows.Before) -> int:
        """
        Start a run; what an earlier try did is forgotten.

        :param before: what is known of the sync before.
        """
        self._new = replace(self._new, newest=before.newest, date=before.date)
        self._store.set(KEY, asdict(self._new))
        try:
            run_id = self._start(self._new.sync_id, self._new.full_sync, before)
        except CensusError as error:
            if not retries.maybe_done(error):
                self._store.delete(KEY)  # or a retry would look for a run that surely does not exist
            raise
        self.keep(run_id)
        return run_id

    def keep(self, run_id: int, *, joined: bool = False) -> None:
        """Remember the run; that this fails is no reason to give up a run that has started."""
        try:
            self._store.set(KEY, asdict(replace(self._new, sync_run_id=run_id, joined=joined)))
        except Exception:  # noqa: BLE001 - whatever the store fails with
            self._log.exception(
                "A retry will have to search for sync run %s, which cannot be kept now.", run_id
            )

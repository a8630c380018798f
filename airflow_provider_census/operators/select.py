# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The operator that selects syncs, for others to be mapped over."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_census.api.cleaning import one_line
from airflow_provider_census.api.hook_params import check_hook_params
from airflow_provider_census.api.validation import (
    check_bool,
    check_name,
    is_literal,
    optional,
    to_bool,
)
from airflow_provider_census.exceptions import CensusLookupError
from airflow_provider_census.utils import xcom
from airflow_provider_census.waiting import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_census.hooks.census import CensusHook

MAX_SHOWN = 2000
"""Characters that are logged of the labels."""

FILTERS = ("source", "table", "model", "dataset", "destination", "sync_label", "paused")

LABELS_KEY = "labels"
"""The XCom that holds the labels of the selected syncs, by id as text."""


class CensusSelectSyncsOperator(BaseOperator):
    """
    Select syncs by what they read, where they write, and how they are labelled.

    The task's return value is the list of their ids, for
    ``CensusTriggerSyncOperator.partial(…).expand(sync_id=select.output)``. The XCom ``labels`` holds their
    labels, by id as text.

    :param source: id, slug, name or label of the source (templated).
    :param table: the table that the sync reads, as ``customers``, ``marts.customers`` or
        ``prod.marts.customers``, in upper or lower case, with wildcards as in file names (templated).
    :param model: name of the model that it reads, with wildcards (templated).
    :param dataset: name of the dataset that it reads, with wildcards (templated).
    :param destination: id, slug, name or label of the destination (templated).
    :param label: the sync's label, with wildcards (templated); as an attribute ``sync_label``.
    :param sync_label: the same by the name of the attribute, which is what ``partial`` makes of ``label``.
    :param paused: whether the sync is paused; ``None`` for either (templated: ``true`` and ``false``).
    :param allow_empty: return an empty list if there is no such sync, so that what is mapped over it is
        skipped; otherwise that is an error.
    :param census_conn_id: id of the Airflow connection, of type ``census`` (templated).
    :param hook_params: what the hook takes besides the connection, such as ``{"timeout": 120}``.
    :raises ValueError: if an argument is not what it should be.
    :raises CensusLookupError: if there is no such sync, unless ``allow_empty``.
    """

    template_fields: Sequence[str] = (*FILTERS, "census_conn_id")
    ui_color = "#f5e9ff"

    def __init__(
        self,
        *,
        source: int | str | None = None,
        table: str | None = None,
        model: str | None = None,
        dataset: str | None = None,
        destination: int | str | None = None,
        label: str | None = None,
        sync_label: str | None = None,
        paused: bool | str | None = None,
        allow_empty: bool = False,
        census_conn_id: str = DEFAULT_CONN_ID,
        hook_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.table = table
        self.model = model
        self.dataset = dataset
        self.destination = destination
        self.sync_label = label if sync_label is None else sync_label
        self.paused = paused
        self.allow_empty = allow_empty
        self.census_conn_id = census_conn_id
        self.hook_params = hook_params
        optional(check_hook_params)("hook_params", hook_params)
        if is_literal(census_conn_id):
            check_name("census_conn_id", census_conn_id)
        check_bool("allow_empty", allow_empty)
        if all(is_literal(value) for value in self._filters().values()):
            from airflow_provider_census.api.selection import SyncFilter

            SyncFilter(**self._filters())  # refused when Airflow reads the DAG file

    def _filters(self) -> dict[str, Any]:
        filters = {name.removeprefix("sync_"): getattr(self, name) for name in FILTERS}
        if isinstance(self.paused, str) and is_literal(self.paused):
            filters["paused"] = to_bool("paused", self.paused)
        return filters

    @cached_property
    def hook(self) -> CensusHook:
        """The hook of the connection."""
        from airflow_provider_census.hooks.census import CensusHook

        return CensusHook(self.census_conn_id, **check_hook_params("hook_params", self.hook_params or {}))

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map it; Airflow finds the tasks before it under the names of the templated attributes only."""
        if "label" in kwargs:  # of which Airflow has its own for every task
            kwargs["sync_label"] = kwargs.pop("label")
        return super().partial(**kwargs)

    def execute(self, context: Context) -> list[int | str]:
        """Read the workspace's syncs, page by page, and give the ids of those that are selected."""
        from airflow_provider_census.api.selection import SyncFilter

        wanted = SyncFilter(**self._filters())
        labels = {sync["id"]: sync.get("label") for sync in self.hook.find_syncs(**self._filters())}
        if not labels and not self.allow_empty:
            raise CensusLookupError(f"No sync matches {wanted}. Set allow_empty=True if that is no error.")
        shown = ", ".join(f"{label or 'without a label'} (sync {key})" for key, label in labels.items())
        self.log.info("%s syncs match %s: %s", len(labels), wanted, one_line(shown, MAX_SHOWN) or "none")
        xcom.push(context, LABELS_KEY, {str(key): label for key, label in labels.items()}, self.log)
        return list(labels)

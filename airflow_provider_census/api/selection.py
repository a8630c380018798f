# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Selecting syncs by what they read, where they write, and how they are labelled."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.syncs import connection_of, source_object
from airflow_provider_census.api.validation import check_bool, check_name, check_slug_or_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_census.api.request import Request
    from airflow_provider_census.api.types import Sync

TABLE_PARTS = ("table_catalog", "table_schema", "table_name")


@dataclass(frozen=True)
class SyncFilter:
    """
    What a sync must be like; ``None`` for any.

    :ivar source: id, slug, name or label of the source.
    :ivar table: the table that it reads, as ``customers``, ``marts.customers`` or ``prod.marts.customers``,
        in upper or lower case; ``*``, ``?`` and ``[…]`` stand for what they do in file names.
    :ivar model: name of the model that it reads; wildcards as for ``table``.
    :ivar dataset: name of the dataset that it reads; wildcards as for ``table``.
    :ivar destination: id, slug, name or label of the destination.
    :ivar label: its label, in the same case; wildcards as for ``table``.
    :ivar paused: whether it is paused.
    :raises ValueError: if one of them is no such thing, or what it reads is given in two ways.
    """

    source: int | str | None = None
    table: str | None = None
    model: str | None = None
    dataset: str | None = None
    destination: int | str | None = None
    label: str | None = None
    paused: bool | None = None

    def __post_init__(self) -> None:
        names = dict.fromkeys(("table", "model", "dataset", "label"), check_name)
        for name, check in {"source": check_slug_or_id, "destination": check_slug_or_id, **names}.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.paused is not None:
            check_bool("paused", self.paused)
        if len(self.reads) > 1:
            raise ValueError(f"a sync reads one thing, so pass only one of {' and '.join(self.reads)}")

    @property
    def reads(self) -> dict[str, str]:
        """What the sync must read, by kind: at most one."""
        wanted = {"table": self.table, "model": self.model, "dataset": self.dataset}
        return {kind: pattern for kind, pattern in wanted.items() if pattern is not None}

    def __str__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return ", ".join(f"{name}={value!r}" for name, value in given.items()) or "anything"

    def matches(self, sync: Sync, workspace: Workspace) -> bool:
        """Tell whether a sync is like that; what the sync does not say itself is looked up."""
        read, written = sync.get("source_attributes") or {}, sync.get("destination_attributes") or {}
        return (
            (self.paused is None or bool(sync.get("paused")) is self.paused)
            and (self.label is None or fnmatchcase(str(sync.get("label") or ""), self.label))
            and (self.source is None or is_connection(read, self.source, workspace.sources))
            and (self.destination is None or is_connection(written, self.destination, workspace.destinations))
            and all(workspace.reads(read, kind, pattern) for kind, pattern in self.reads.items())
        )


class Workspace:
    """
    What the syncs of a workspace refer to, each read once, and only if it is needed.

    :param run: sends a request.
    """

    def __init__(self, run: Callable[[Request[Any]], Any]) -> None:
        self.sources = functools.cache(lambda: run(endpoints.list_sources()))
        self.destinations = functools.cache(lambda: run(endpoints.list_destinations()))
        self._source = functools.cache(lambda source: run(endpoints.get_source(source)))
        self._datasets = functools.cache(lambda: run(endpoints.list_datasets()))

    def reads(self, attributes: Mapping[str, Any], kind: str, pattern: str) -> bool:
        """
        Tell whether a sync reads a thing.

        :param attributes: the sync's ``source_attributes``.
        :param kind: ``table``, ``model`` or ``dataset``.
        :param pattern: its name, with wildcards.
        """
        read = source_object(attributes)
        if read.get("type") != kind:
            return False
        names = _names(read, kind)
        if not names and read.get("id") is not None:
            names = _names(self._look_up(attributes, kind, read["id"]), kind)
        # The last part is always given; what a pattern leaves out before it is any.
        wanted = pattern.lower().split(".") if kind == "table" else [pattern.lower()]
        return len(wanted) <= len(names) and all(
            fnmatchcase(name.lower(), part)
            for name, part in zip(reversed(names), reversed(wanted), strict=False)
        )

    def _look_up(self, attributes: Mapping[str, Any], kind: str, key: object) -> Mapping[str, Any]:
        if kind == "dataset":
            listed: Iterable[Mapping[str, Any]] = self._datasets()
        else:
            connection = connection_of(attributes)
            listed = () if connection is None else self._source(connection).get("data_sources") or ()
        alike = (each for each in listed if each.get("type", kind) == kind or kind == "dataset")
        return next((each for each in alike if str(each.get("id")) == str(key)), {})


def described(sync: Sync) -> dict[str, str]:
    """Say in words what a sync reads and what it writes, as far as it says so itself."""
    read, written = sync.get("source_attributes") or {}, sync.get("destination_attributes") or {}
    within = source_object(read)
    kind = str(within.get("type") or "")
    names = ".".join(_names(within, kind)) or str(within.get("id") or "")
    where = written.get("connection_slug") or written.get("connection_id")
    parts = [str(part) for part in (where, written.get("object")) if part]
    return {"reads": f"{kind} {names}".strip(), "writes": ": ".join(parts)}


def _names(read: Mapping[str, Any], kind: str) -> list[str]:
    keys = TABLE_PARTS if kind == "table" else ("name",) if "name" in read else (f"{kind}_name",)
    return [str(read[key]) for key in keys if read.get(key)]


def is_connection(
    attributes: Mapping[str, Any], wanted: int | str, listed: Callable[[], Iterable[Mapping[str, Any]]]
) -> bool:
    """
    Tell whether a sync refers to a source or a destination.

    :param attributes: the sync's ``source_attributes`` or ``destination_attributes``.
    :param wanted: id, slug, name or label.
    :param listed: lists all sources or destinations, for a name that the sync does not say itself.
    """
    own = {str(attributes[key]) for key in ("connection_id", "connection_slug") if attributes.get(key)}
    if str(wanted) in own:
        return True
    keys = ("id", "slug", "name", "label")
    known = [each for each in listed() if str(wanted) in {str(each.get(key)) for key in keys}]
    return any(str(each.get(key)) in own for each in known for key in ("id", "slug"))

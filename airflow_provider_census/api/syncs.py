# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Finding a sync by its label, and what its definition says."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow_provider_census.api.cleaning import one_line
from airflow_provider_census.exceptions import CensusLookupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_census.api.types import Sync


def with_label(syncs: Sequence[Sync], label: str) -> Sync:
    """
    Find the one sync that has a label.

    :param label: the label, exactly.
    :raises CensusLookupError: if no sync has it, or several have.
    """
    found = [sync for sync in syncs if sync.get("label") == label]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one_line(sync.get("id"), 50) for sync in found)
        raise CensusLookupError(f"Several syncs have the label {label!r}: {ids}. Name the one by its id.")
    labels = {str(sync.get("label")): sync.get("id") for sync in syncs if sync.get("label")}
    folded = {name.casefold(): name for name in labels}
    near = [folded[match] for match in get_close_matches(label.casefold(), folded, n=5, cutoff=0.5)]
    shown = ", ".join(f"{one_line(name)!r} (sync {one_line(labels[name], 50)})" for name in near) or "none"
    raise CensusLookupError(
        f"No sync has the label {label!r}. Near matches: {shown}, "
        f"among {len(syncs)} syncs that the API token sees."
    )


def own_schedule(sync: Mapping[str, Any]) -> str:
    """Tell how often Census starts a sync by itself; ``""`` if it does not, or does not say so."""
    frequency = sync.get("schedule_frequency")
    if frequency in (None, "", "never"):  # newer syncs have a mode instead
        mode = _object(sync, "mode")
        triggers = _object(mode, "triggers") or _object(sync, "triggers")
        never = _object(triggers, "schedule").get("frequency") == "never"
        scheduled = "on a schedule" if triggers.get("schedule") and not never else ""
        frequency = "live" if mode.get("type") == "live" else scheduled
    return one_line(frequency, 50)


def source_object(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Give the table, model or dataset that a sync reads.

    :param attributes: the sync's ``source_attributes``; their older form has it all on one level.
    """
    return _object(attributes, "object") or attributes


def connection_of(attributes: Mapping[str, Any]) -> Any:
    """
    Tell the id of a sync's source or destination; the older form of the API has a slug instead.

    :param attributes: the sync's ``source_attributes`` or ``destination_attributes``.
    """
    return attributes.get("connection_id", attributes.get("connection_slug"))


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}

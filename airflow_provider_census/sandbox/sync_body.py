# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a body that creates or changes a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_census.sandbox import data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_census.sandbox.calls import Item

REQUIRED = ("operation", "source_attributes", "destination_attributes", "mappings")
CHOICES = {
    "operation": ("append", "insert", "mirror", "update", "upsert"),
    "schedule_frequency": (
        "never",
        "continuous",
        "quarter_hourly",
        "hourly",
        "daily",
        "weekly",
        "expression",
    ),
    "schedule_day": ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
}
HIGHEST = {"schedule_hour": 24, "schedule_minute": 59}
NAMED_BY: dict[str, list[list[str]]] = {
    "table": [["id"], ["table_name", "table_schema", "table_catalog"]],
    "model": [["id"], ["name"], ["model_name"]],
    "dataset": [["id"], ["name"]],
    "segment": [["id"], ["name"]],
    "topic": [["id"], ["name"]],
    "cohort": [["id"], ["name"]],
}
"""What a sync may read, and the properties that name one of a kind."""

ORIGINS = ("sync_metadata", "segment_membership", "liquid_template")
"""What a mapping may read besides columns and constants."""

BASIC_TYPES = ("boolean", "datetime", "number", "text")


def complaints(body: Item, sources: list[Item], destinations: list[Item], *, new: bool) -> Iterator[str]:
    """Every reason why Census would not take this body.

    :param sources: those that it may name.
    :param destinations: those that it may name.
    :param new: whether it is to make a sync, rather than to change some properties of one.
    """
    for name in REQUIRED:
        # Properties may be left to Census, and then there is nothing to map.
        mapped = name != "mappings" or body.get("field_behavior") != "sync_all_properties"
        if mapped and not body.get(name) and (new or name in body):
            yield f"{name} is required"
    for name, choices in CHOICES.items():
        if body.get(name) is not None and body[name] not in choices:
            yield f"{name} must be one of {', '.join(choices)}"
    for name, highest in HIGHEST.items():
        if body.get(name) is not None and body[name] not in range(highest + 1):
            yield f"{name} must be a whole number from 0 to {highest}"
    if body.get("schedule_frequency") == "expression" and not body.get("cron_expression"):
        yield "cron_expression is required when schedule_frequency is expression"
    if body.get("source_attributes"):
        yield from source_complaints(body["source_attributes"], sources)
    if body.get("destination_attributes"):
        yield from destination_complaints(body["destination_attributes"], destinations)
    if body.get("mappings"):
        to_sheet = is_sheet(body.get("destination_attributes"), destinations)
        yield from mappings_complaints(
            body["mappings"], needs_identifier=not (to_sheet and body.get("operation") == "mirror")
        )


def source_complaints(source: Any, sources: list[Item]) -> Iterator[str]:
    """What is wrong with the connection and the object that a sync reads."""
    if not isinstance(source, dict):
        yield "source_attributes must be an object"
        return
    # Older bodies name the model or table beside the connection, newer ones in an object of its own.
    wanted = source.get("object", source)
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "table" or "connection_id" in source or "connection_slug" in source:
        yield from connection_complaints("source_attributes", source, sources)
    if not isinstance(kind, str) or kind not in NAMED_BY:
        yield f"source_attributes: type must be one of {', '.join(NAMED_BY)}"
        return
    alternatives = NAMED_BY[kind]
    if not any(all(wanted.get(name) for name in names) for names in alternatives):
        yield f"source_attributes: a {kind} is named by {' or '.join(' + '.join(n) for n in alternatives)}"


def destination_complaints(destination: Any, destinations: list[Item]) -> Iterator[str]:
    """What is wrong with the connection or object that a sync writes to."""
    if not isinstance(destination, dict):
        yield "destination_attributes must be an object"
        return
    yield from connection_complaints("destination_attributes", destination, destinations)
    if not is_text(destination.get("object")):
        yield "destination_attributes: object is required"


def connection_complaints(where: str, attributes: Item, connections: list[Item]) -> Iterator[str]:
    """What is wrong with the slug or id of a connection; ``where`` begins each message."""
    slug, connection_id = attributes.get("connection_slug"), attributes.get("connection_id")
    slugs = [*(known.get("slug") for known in connections), *data.UNLISTED_CONNECTION_SLUGS]
    ids = [str(known["id"]) for known in connections]
    if slug is None and connection_id is None:
        yield f"{where}: connection_slug or connection_id is required"
    if slug is not None and slug not in slugs:
        yield f"{where}: there is no connection {slug!r}"
    if connection_id is not None and str(connection_id) not in ids:
        yield f"{where}: there is no connection {connection_id!r}"


def is_sheet(destination: Any, destinations: list[Item]) -> bool:
    """Whether a sync writes to a sheet, which as a mirror has no identifier."""
    if not isinstance(destination, dict):
        return False
    named = {str(destination.get("connection_slug")), str(destination.get("connection_id"))}
    return any(
        known.get("type") == "google_sheets" and named & {str(known.get("slug")), str(known["id"])}
        for known in destinations
    )


def mappings_complaints(mappings: Any, *, needs_identifier: bool) -> Iterator[str]:
    """What is wrong with the mappings, counted from 1; exactly one must be the identifier."""
    if not isinstance(mappings, list) or not all(isinstance(mapping, dict) for mapping in mappings):
        yield "mappings must be a list of objects"
        return
    for number, mapping in enumerate(mappings, start=1):
        if not is_origin(mapping.get("from")):
            yield f"mapping {number}: from must be a column, or a constant with its type"
        if not is_text(mapping.get("to")):
            yield f"mapping {number}: to is required"
    identifiers = sum(mapping.get("is_primary_identifier") is True for mapping in mappings)
    if identifiers > 1 or (needs_identifier and not identifiers):
        yield "is_primary_identifier must be true for exactly one mapping"


def is_origin(origin: Any) -> bool:
    """Whether a mapping can read it: a column, or a constant with its type."""
    if not isinstance(origin, dict):
        return is_text(origin)
    content = origin.get("data")
    if origin.get("type") in ORIGINS:
        return content is not None
    if origin.get("type") == "column":
        return is_text(content)
    if origin.get("type") == "constant_value":
        return isinstance(content, dict) and "value" in content and content.get("basic_type") in BASIC_TYPES
    return "value" in origin and origin.get("type") in BASIC_TYPES


def is_text(value: Any) -> bool:
    """Whether it is a string, and not an empty one."""
    return isinstance(value, str) and value != ""

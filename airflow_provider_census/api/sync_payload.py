# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the API document limits in the body that creates a sync, checked before it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from airflow_provider_census.api.types import (
    ArrayOperation,
    ConstantType,
    Operation,
    ScheduleDay,
    ScheduleFrequency,
)

SOURCE_PROPERTIES = {
    "model": ("model_name",),
    "table": ("table_name", "table_schema", "table_catalog"),
}
"""What names the data of a source, by its ``type``; the first one is what Census cannot do without."""

NEWER = ("mode", "validate_only", "activation_id")
"""Properties that the form of the document does not have."""


def check(payload: object) -> dict[str, Any]:
    """
    Check a body as far as the document limits it; other shapes and unknown keys pass as they are.

    :raises ValueError: one error that lists everything that is wrong, each with its path in the body.
    """
    if not isinstance(payload, Mapping):
        raise ValueError(f"payload must be a mapping such as {{'label': …, 'operation': …}}, not {payload!r}")
    problems = [f"{path} {problem}" for path, problem in _problems(payload)]
    try:
        json.dumps(dict(payload), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        problems.append(f"payload cannot be written as JSON: {error}")
    if problems:
        raise ValueError("Census would refuse this payload: " + "; ".join(problems))
    return dict(payload)


def is_newer(payload: Mapping[str, Any]) -> bool:
    """Tell whether a body has a newer form, which another path of the API takes."""
    connections = (payload.get("source_attributes"), payload.get("destination_attributes"))
    return any(key in payload for key in NEWER) or any(
        isinstance(attributes, Mapping)
        and ("connection_id" in attributes or isinstance(attributes.get("object"), Mapping))
        for attributes in connections
    )


def _problems(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not is_newer(payload):  # the newer form learns new words
        yield from _not_one_of(payload, "operation", get_args(Operation))
        yield from _not_one_of(payload, "schedule_frequency", get_args(ScheduleFrequency))
    if payload.get("schedule_day") is not None:
        yield from _not_one_of(payload, "schedule_day", get_args(ScheduleDay))
    yield from _out_of_bounds(payload, "schedule_hour", 24)
    yield from _out_of_bounds(payload, "schedule_minute", 59)
    source = payload.get("source_attributes")
    if isinstance(source, Mapping) and "connection_slug" in source:
        yield from _source_problems(source)
    mappings = payload.get("mappings", [])
    if not isinstance(mappings, list):
        yield "mappings", f"must be a list, not {mappings!r}"
        return
    for number, mapping in enumerate(mappings):
        yield from _mapping_problems(f"mappings[{number}]", mapping)


def _source_problems(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = source.get("type")
    if not isinstance(kind, str) or kind not in SOURCE_PROPERTIES:
        yield "source_attributes.type", f"must be 'model' or 'table', not {kind!r}"
        return
    needed = SOURCE_PROPERTIES[kind][0]
    if not isinstance(source.get(needed), str) or not source[needed]:
        yield (
            f"source_attributes.{needed}",
            f"must name the {kind}, because type is {kind!r}, not {source.get(needed)!r}",
        )
    for other, properties in SOURCE_PROPERTIES.items():
        for name in properties:
            if other != kind and source.get(name) is not None:
                yield f"source_attributes.{name}", f"has no meaning, because type is {kind!r}"


def _mapping_problems(path: str, mapping: object) -> Iterator[tuple[str, str]]:
    if not isinstance(mapping, Mapping):
        yield path, f"must be a mapping with 'from' and 'to', not {mapping!r}"
        return
    origin = mapping.get("from")
    if isinstance(origin, Mapping) and "value" in origin:
        yield from _not_one_of({"type": None, **origin}, "type", get_args(ConstantType), f"{path}.from.")
    elif not isinstance(origin, str):
        return
    yield from _not_one_of(mapping, "operation", get_args(ArrayOperation), f"{path}.")


def _not_one_of(
    part: Mapping[str, Any], key: str, allowed: tuple[str, ...], path: str = ""
) -> Iterator[tuple[str, str]]:
    if key in part and part[key] not in allowed:
        yield path + key, f"must be one of {', '.join(map(repr, allowed))}, not {part[key]!r}"


def _out_of_bounds(payload: Mapping[str, Any], key: str, high: int) -> Iterator[tuple[str, str]]:
    value = payload.get(key)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        yield key, f"must be a whole number from 0 to {high}, not {value!r}"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments: each raises a ``ValueError`` that names the argument and the value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_census.api.request import Id

TEN_YEARS = 10 * 365 * 86400.0
"""Seconds; the longest time that makes sense, and fits where times are stored."""


def is_literal(value: object) -> bool:
    """Tell whether a DAG file gives a value itself, not a template or what another task returns."""
    if isinstance(value, str):
        return "{" not in value
    return value is None or isinstance(value, (int, float, bytes, list, tuple, set, dict))


def check_sync(sync_id: object, sync_label: object) -> None:
    """
    Check what names a sync, as soon as a DAG file does.

    :raises ValueError: unless it is either an id or a label.
    """
    if sync_label is None:
        if is_literal(sync_id):
            check_id("sync_id", sync_id)
    elif sync_id is not None:
        raise ValueError(f"pass sync_id or sync_label, not both: {sync_id!r} and {sync_label!r}")
    elif is_literal(sync_label):
        check_name("sync_label", sync_label)


def check_id(argument: str, value: object) -> Id:
    """
    Check an id: a positive whole number, or a non-empty string, as API v2 has some.

    :raises ValueError: if it is neither.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, str) and "{" in value:
        check_rendered(argument, value)
    # A sign, white space or a digit of another script is a slip, even where ids may be words.
    if (
        not isinstance(text, str)
        or not text.strip("0")
        or text != text.strip()
        or text[0] in "+-"
        or (not text.isascii() and any(char.isdigit() and not char.isascii() for char in text))
    ):
        raise ValueError(
            f"{argument} must be a positive whole number, or a string such as '52'; not {value!r}"
        )
    checked = Id(text if text.isalnum() and text.isascii() else check_name(argument, text))
    checked.argument = argument
    return checked


def check_slug_or_id(argument: str, value: object) -> str:
    """
    Check what names a source or a destination: its id, or its slug.

    :raises ValueError: if it is neither.
    """
    try:
        return str(check_id(argument, value))
    except ValueError as error:
        if isinstance(value, str) and "{" in value:
            raise
        raise ValueError(
            f"{argument} must be an id (a positive whole number) or a slug (a non-empty string), "
            f"not {value!r}"
        ) from error


def check_json_body(argument: str, value: object) -> dict[str, Any]:
    """
    Check a body that is sent as the caller wrote it.

    :raises ValueError: if it is empty, no mapping, or cannot be written as JSON.
    """
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{argument} must be a mapping with at least one property, not {value!r}")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{argument} cannot be written as JSON: {error}") from error
    return dict(value)


def check_name(argument: str, value: object) -> str:
    """
    Check a name that becomes one segment of a path: a slug, or an object's ``full_name``.

    :raises ValueError: if it is not a usable string.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{argument} must be a non-empty string, not {value!r}")
    if "{" in value:
        check_rendered(argument, value)
    if value in {".", ".."}:
        raise ValueError(f"{argument} must be a name, not {value!r}, which a URL takes for a parent folder")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} must be text, not {value!r}, which has half a character") from None
    return value


def check_rendered(argument: str, value: str) -> None:
    """
    Refuse a Jinja expression that nobody rendered.

    :raises ValueError: if the value holds one.
    """
    if "{{" in value or "{%" in value:
        raise ValueError(
            f"{argument} is the unrendered template {value!r}: "
            "pass it to a templated parameter of an operator or a sensor, which renders it"
        )


def check_int(argument: str, value: object, *, low: int, high: int | None = None) -> int:
    """
    Check a whole number within bounds, both included.

    :raises ValueError: if it is of another type (``True`` and ``1.0`` are), or out of bounds.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < low
        or (high is not None and value > high)
    ):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{argument} must be a whole number {bounds}, not {value!r}")
    return value


def check_choice(argument: str, value: object, allowed: tuple[str, ...]) -> str:
    """
    Check a word against the ones that have a meaning.

    :raises ValueError: if it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def check_bool(**flags: object) -> None:
    """
    Check flags, for any word would count as true.

    :raises ValueError: if one is neither ``True`` nor ``False``.
    """
    for argument, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{argument} must be True or False, not {value!r}")


def to_bool(argument: str, value: object) -> bool:
    """
    Take a flag, which a template renders to a word.

    :raises ValueError: if it is neither true nor false.
    """
    words = {"true": True, "false": False}
    word = str(value).strip().lower()
    if word not in words:
        raise ValueError(f"{argument} must be true or false, not {value!r}")
    return words[word]


def to_seconds(argument: str, value: object) -> float:
    """
    Take a time span to seconds.

    :raises ValueError: if it is neither a ``timedelta`` nor a number, or not above 0.
    """
    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, (int, float)) or not 0 < span <= TEN_YEARS:
        raise ValueError(
            f"{argument} must be a timedelta or a number of seconds above 0, up to ten years; not {value!r}"
        )
    return float(span)

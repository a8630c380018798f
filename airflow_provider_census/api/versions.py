# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What depends on the version of the Census API: where it lives, and what an id looks like there."""

from __future__ import annotations

from airflow_provider_census.api.request import name, refuse_unrendered

DEFAULT_VERSION = "v1"

ROOTS = {"v1": "/api/v1"}
"""The API versions that this provider speaks, and the path below the host at which each begins."""


def numeric_id(argument: str, value: object) -> str:
    """
    Check an id of API v1: a positive whole number, or the same as a string of digits.

    :raises ValueError: if it is anything else, naming the argument.
    """
    if isinstance(value, str):
        refuse_unrendered(argument, value)
    digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(digits, str) or not digits.isascii() or not digits.isdigit() or not digits.strip("0"):
        raise ValueError(
            f"{argument} must be a positive whole number, or a string of digits, such as 52; not {value!r}"
        )
    return digits


def id_or_slug(argument: str, value: object) -> str:
    """
    Check what names a source or a destination: its id, or its slug.

    :raises ValueError: if it is neither, naming the argument.
    """
    if isinstance(value, str) and not _looks_numeric(value):
        return name(argument, value)
    try:
        return numeric_id(argument, value)
    except ValueError as error:
        raise ValueError(
            f"{argument} must be an id (a positive whole number) or a slug (a non-empty string), "
            f"not {value!r}"
        ) from error


def _looks_numeric(value: str) -> bool:
    return value.strip().lstrip("+-").isdigit()

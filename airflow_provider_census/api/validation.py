# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Checks of arguments: each raises a ``ValueError`` that names the argument and the value.

A warehouse, a Param, a template or an Enum may hand over a value of a neighbouring type. What that plainly
is, :func:`to_builtin` decides for all checks; what it leaves as it is, they refuse.
"""

from __future__ import annotations

import inspect
import json
import operator
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from airflow_provider_census.api.request import Id

TEN_YEARS = 10 * 365 * 86400.0
"""Seconds; the longest time that makes sense, and fits where times are stored."""

EXACT = 2**53
"""From here on not every whole number is a ``float``."""

NUMBER = re.compile(r"(?a)\s*\d{1,15}(\.\d+)?(e-\d{1,2})?\s*")
"""What a template makes of a number."""

Check = Callable[[str, object], Any]
"""Takes the name of an argument and its value; gives what that counts as."""


def to_builtin(value: object) -> Any:
    """
    Take a value of a neighbouring type to what it plainly is.

    A member of a ``str`` or ``int`` Enum is its text or number, a number of NumPy's a number of Python's, and
    a whole number of another type, such as ``52.0`` and ``Decimal(52)``, an ``int``. Any other value stays as
    it is: a ``bool`` is no number, and a member of a mere Enum has a name and a value, of which either may be
    meant.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # str() gives the name of an Enum's member
    if isinstance(value, Integral):
        try:
            return operator.index(value)
        except TypeError:  # a timedelta64 of NumPy's
            return value
    if isinstance(value, (float, Decimal, Fraction)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return value
        return int(number) if abs(number) < EXACT and value == int(number) else number
    return float(value) if isinstance(value, Real) else value


def is_literal(value: object) -> bool:
    """Tell whether a DAG file gives a value itself, not a template or what Airflow resolves later."""
    if isinstance(value, str):
        return "{" not in value
    return not hasattr(value, "resolve") or isinstance(value, os.PathLike)


def check_defaults(init: Callable[..., None], checks: Mapping[str, Check]) -> dict[str, tuple[Any, Any]]:
    """
    Check the defaults of a task's arguments, once for all tasks.

    :returns: by argument, each default but ``None``, and what it counts as.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(init).parameters.items()}
    return {
        name: (defaults[name], check(name, defaults[name]))
        for name, check in checks.items()
        if defaults.get(name) is not None
    }


def check_literals(
    task: object, checks: Mapping[str, Check], checked: Mapping[str, tuple[Any, Any]]
) -> dict[str, tuple[Any, Any]]:
    """
    Check what a DAG file gives itself, and leave it as it is.

    :param checked: what :func:`check_defaults` gave; a value that is still the same is not checked again.
    :returns: by argument, each value that was checked, and what it counts as.
    :raises ValueError: if a value cannot be used.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for argument, check in checks.items():
        value = getattr(task, argument)
        if argument in checked and checked[argument][0] is value:
            found[argument] = checked[argument]
            continue
        try:
            found[argument] = value, check(argument, value)
        except ValueError:
            if is_literal(value):
                raise
    return found


def take_arguments(task: object, checks: Mapping[str, Check], checked: Mapping[str, tuple[Any, Any]]) -> None:
    """
    Replace the arguments of a task that runs by what they count as.

    :param checked: what :func:`check_literals` gave; a value that is still the same is not checked again.
    :raises ValueError: if a value cannot be used.
    """
    for argument, check in checks.items():
        value = getattr(task, argument)
        if argument in checked and checked[argument][0] is value:
            counts_as = checked[argument][1]
        else:
            is_number = isinstance(value, str) and NUMBER.fullmatch(value)
            counts_as = check(argument, float(value) if is_number else value)
        setattr(task, argument, counts_as)


def optional(check: Check) -> Check:
    """Make a check that also takes ``None``."""
    return lambda argument, value: None if value is None else check(argument, value)


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
    if isinstance(value, Id):
        return value
    text = to_builtin(value)
    if isinstance(text, str):
        check_rendered(argument, text)
        text = re.sub(r"(?a)^(\d+)\.0+$", r"\1", text)  # a template renders 52.0 to this
    elif isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
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
    Check a name, such as that of a connection, a label or a slug; a whole number is its digits.

    :raises ValueError: if it is not a usable string.
    """
    text = to_builtin(value)
    if isinstance(value, Integral) and isinstance(text, int) and not isinstance(text, bool):
        text = str(text)  # digits of which native rendering made a number
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{argument} must be a non-empty string, not {value!r}")
    check_rendered(argument, text)
    if text in {".", ".."}:
        raise ValueError(f"{argument} must be a name, not {text!r}, which a URL takes for a parent folder")
    return text


def check_text(argument: str, value: object) -> str:
    """
    Check a text that a query holds; a whole number is its digits.

    :raises ValueError: if it is neither, or empty.
    """
    text = to_builtin(value)
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{argument} must be a non-empty string or a whole number, not {value!r}")
    check_rendered(argument, text)
    return text


def check_rendered(argument: str, value: str) -> None:
    """
    Refuse a Jinja expression that nobody rendered, and half a character, which nobody can send.

    :raises ValueError: if the value holds one.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} must be text, not {value!r}, which has half a character") from None
    if "{{" in value or "{%" in value:
        raise ValueError(
            f"{argument} is the unrendered template {value!r}: "
            "pass it to a templated parameter of an operator or a sensor, which renders it"
        )


def check_int(argument: str, value: object, *, low: int, high: int | None = None) -> int:
    """
    Check a whole number within bounds, both included.

    :raises ValueError: if it is none (``True`` and ``1.5`` are not), or out of bounds.
    """
    number = to_builtin(value)
    if (
        isinstance(number, bool)
        or not isinstance(number, int)
        or number < low
        or (high is not None and number > high)
    ):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{argument} must be a whole number {bounds}, not {value!r}")
    return number


def check_choice(argument: str, value: object, allowed: tuple[str, ...]) -> str:
    """
    Check a word against the ones that have a meaning.

    :raises ValueError: if it is none of them.
    """
    word = to_builtin(value)
    if not isinstance(word, str) or word not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return word


def check_bool(argument: str, value: object) -> None:
    """
    Check a flag, for any word would count as true.

    :raises ValueError: if it is neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False, not {value!r}")


def to_bool(argument: str, value: object) -> bool:
    """
    Take a flag, which a template renders to a word.

    :raises ValueError: if it is neither true nor false.
    """
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False}
    word = str(to_builtin(value)).strip().lower()  # also a bool of NumPy's
    if word not in words:
        raise ValueError(f"{argument} must be true or false, not {value!r}")
    return words[word]


def to_seconds(argument: str, value: object, *, limits: bool = True) -> float:
    """
    Take a time span to seconds.

    :param limits: whether it must be above 0, and at most ten years; without them, it must not be below 0.
    :raises ValueError: if it is neither a ``timedelta`` nor a number, or beyond the limits.
    """
    span = value.total_seconds() if isinstance(value, timedelta) else to_builtin(value)
    is_number = isinstance(span, (int, float)) and not isinstance(span, bool)
    if not is_number or not (0 < span <= TEN_YEARS if limits else span >= 0):
        bounds = "above 0, up to ten years" if limits else "not below 0"
        raise ValueError(f"{argument} must be a timedelta or a number of seconds {bounds}; not {value!r}")
    return float(span)

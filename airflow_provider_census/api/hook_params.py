# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a hook takes besides its connection, and so the ``hook_params`` of tasks and triggers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from airflow_provider_census.api.validation import Check, check_choice, check_int, optional, to_seconds
from airflow_provider_census.api.versions import VERSIONS

MAX_TIMEOUT = 86400.0
"""Seconds; sockets cannot count much further."""

MAX_ATTEMPTS = 100
"""Upper bound; :data:`~airflow_provider_census.api.retries.MAX_RETRY_TIME` ends the attempts earlier."""


def to_timeout(argument: str, value: object) -> float:
    """
    Take the time that a request may take to seconds.

    :raises ValueError: if it is no time span, or too long.
    """
    seconds = to_seconds(argument, value)
    if seconds > MAX_TIMEOUT:
        raise ValueError(f"{argument} must be at most {MAX_TIMEOUT:.0f} seconds, not {value!r}")
    return seconds


CHECKS: dict[str, Check] = {
    "api_version": optional(partial(check_choice, allowed=tuple(VERSIONS))),
    "timeout": optional(to_timeout),
    "attempts": optional(partial(check_int, low=1, high=MAX_ATTEMPTS)),
}
"""What each of them has to be; ``None`` leaves it to the connection. A token is none of them."""


def check_hook_params(argument: str, value: object) -> dict[str, Any]:
    """
    Check the parameters of a hook.

    :raises ValueError: if it is no mapping, or one of them is unknown or cannot be used.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{argument} must be a dict such as {{'timeout': 120}}, not {type(value).__name__}")
    for name in value:
        if name not in CHECKS:
            raise ValueError(
                f"{argument} takes {', '.join(map(repr, CHECKS))}, not {name!r}: all else, and above all the "
                "token, belongs in the connection"
            )
    return {name: CHECKS[name](f"{argument}[{name!r}]", each) for name, each in value.items()}

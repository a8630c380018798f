# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What a flow is: something that takes more than one request, written once for worker and triggerer.

A flow is a generator. It yields a :class:`~airflow_provider_census.api.request.Request` and is sent the
:class:`~airflow_provider_census.api.request.Response`, or thrown the error that came instead; it yields a
:class:`Sleep` and is sent nothing when that time is over; what it returns is the result. The drivers in
:mod:`~airflow_provider_census.transports.driver` run it over either transport.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from airflow_provider_census.api.request import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


Flow = Generator[Request[Any] | Sleep, Any, T]


class Log(Protocol):
    """Where progress and trouble are reported: any logger."""

    def info(self, message: str, /, *values: Any) -> Any:
        """Report progress."""

    def warning(self, message: str, /, *values: Any) -> Any:
        """Report trouble."""

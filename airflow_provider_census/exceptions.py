# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Every error a DAG author can catch. Bad arguments are a plain ``ValueError``."""

from __future__ import annotations

from typing import Any


class CensusError(Exception):
    """Anything that goes wrong between Airflow and Census."""

    def __reduce__(self) -> Any:
        """Let errors with further attributes be copied, and sent from one process to another."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[CensusError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CensusError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class CensusConfigError(CensusError, ValueError):
    """A field of the Airflow connection is missing or cannot be used; the message names the field."""


class CensusConnectionError(CensusError):
    """
    No complete answer arrived: the host is unknown, refused, timed out, or broke off.

    :ivar sent: whether the request may have reached Census. ``False`` only if it surely did not.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class CensusApiError(CensusError):
    """
    Census answered with an error, or with something that is not the answer to the request.

    :ivar status_code: the HTTP status; where an error body states another one as a number, that one.
    :ivar message: Census' own words, or what is wrong with the answer.
    :ivar method: the HTTP method of the request.
    :ivar path: the path of the request, below the API root.
    :ivar retry_after: seconds that Census asked to wait before the next request, if it did.
    :ivar unusable: Census did not refuse (HTTP 2xx), but what it sent is not the answer to the request.
    """

    def __init__(
        self,
        text: str,
        *,
        status_code: int,
        message: str,
        method: str,
        path: str,
        retry_after: float | None = None,
        unusable: bool = False,
    ) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.message = message
        self.method = method
        self.path = path
        self.retry_after = retry_after
        self.unusable = unusable


class CensusAuthError(CensusApiError):
    """The token was rejected, or may not do this (HTTP 401 or 403)."""


class CensusNotFoundError(CensusApiError):
    """What the request names does not exist, or this token cannot see it (HTTP 404)."""


class CensusRateLimitError(CensusApiError):
    """Too many requests (HTTP 429), also after waiting as long as Census asked for."""


class CensusLookupError(CensusError, ValueError):
    """No sync has the label, or several have."""


class CensusTimeoutError(CensusError, TimeoutError):
    """A wait lasted longer than its ``timeout``; what was waited for may still be going on in Census."""


class CensusSyncRunError(CensusError):
    """
    A sync run ended, but not the way it should have.

    :ivar sync_run: the run as Census gave it.
    """

    def __init__(self, message: str, sync_run: dict[str, Any]) -> None:
        super().__init__(message)
        self.sync_run = sync_run


class CensusSyncRunFailed(CensusSyncRunError):
    """The run failed."""


class CensusSyncRunCanceled(CensusSyncRunError):
    """Somebody cancelled the run."""


class CensusSyncRunSkipped(CensusSyncRunError):
    """Census skipped the run, because an earlier run of the same sync was still going: nothing was synced."""


class CensusSyncRunRejectedRecords(CensusSyncRunError):
    """The run completed, but more records failed or were invalid than the task allows."""

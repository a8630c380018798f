# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Every error a DAG author can catch. Bad arguments are a plain ``ValueError``."""

from __future__ import annotations

from typing import Any


class CensusError(Exception):
    """
    Anything that goes wrong between Airflow and Census.

    A note, which a traceback shows below the message, says whether a retry of the task can help.

    :ivar connection: the Airflow connection, in words, if the error is a matter of it; the message begins so.
    """

    connection = ""

    _retry_note = "A retry may help: the task reads again what became of its sync run."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.__notes__ = [self._retry_note]  # Python 3.10 has no add_note

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.connection}: {text}" if self.connection else text

    def __reduce__(self) -> Any:
        """Let errors with further attributes be copied, and sent from one process to another."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[CensusError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CensusError:
    error = kind.__new__(kind, *args)
    error.args = args  # which an OSError leaves to __init__
    error.__dict__.update(attributes)
    return error


class CensusConfigError(CensusError, ValueError):
    """A field of the Airflow connection is missing or cannot be used; the message names the field."""

    _retry_note = "A retry cannot help until the connection is corrected."


class CensusConnectionError(CensusError):
    """
    No complete response arrived: the host is unknown, refused, timed out, or broke off.

    :ivar sent: whether the request may have reached Census. ``False`` only if it surely did not.
    """

    _retry_note = "A retry can help: Census may be in reach again by then."

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class CensusApiError(CensusError):
    """
    Census responded with an error, or with something that is not the response to the request.

    :ivar status_code: the HTTP status; where an error body states another one as a number, that one.
    :ivar message: Census' own words, or what is wrong with the response.
    :ivar method: the HTTP method of the request.
    :ivar path: the path of the request, below the API root.
    :ivar retry_after: seconds that Census asked to wait before the next request, if it did.
    :ivar unusable: Census did not refuse (HTTP 2xx), but what it sent is not the response to the request.
    :ivar well_formed: what it sent is JSON, but of another shape, in which another attempt changes nothing.
    """

    _retry_note = "A retry cannot help as long as the request is the same: Census refuses it."

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
        well_formed: bool = False,
    ) -> None:
        self.status_code = status_code
        self.message = message
        self.method = method
        self.path = path
        self.retry_after = retry_after
        self.unusable = unusable
        self.well_formed = well_formed
        if well_formed:
            self._retry_note = "A retry can hardly help: this release does not know what Census responds."
        elif unusable or status_code >= 500 or status_code in {408, 425}:
            self._retry_note = "A retry can help: what keeps Census from responding may pass."
        super().__init__(text)


class CensusAuthError(CensusApiError):
    """The token was rejected, or may not do this (HTTP 401 or 403)."""

    _retry_note = "A retry cannot help until the token, or what it may do, is changed."


class CensusNotFoundError(CensusApiError):
    """What the request names does not exist, or this token cannot see it (HTTP 404)."""

    _retry_note = "A retry cannot help until what the request names exists, and the token may see it."


class CensusRateLimitError(CensusApiError):
    """Too many requests (HTTP 429), also after waiting as long as Census asked for."""

    _retry_note = "A retry can help after a pause: other requests of the workspace use up the limit."


class CensusLookupError(CensusError, ValueError):
    """No sync has the label, or several have."""

    _retry_note = "A retry cannot help until exactly one sync has the label."


class CensusTimeoutError(CensusError, TimeoutError):
    """A wait lasted longer than its ``timeout``; what was waited for may still be running in Census."""

    _retry_note = "A retry can help: it keeps waiting for the run, as long as that is running."


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

    _retry_note = "A retry may help: it starts another run of the sync."


class CensusSyncRunCanceled(CensusSyncRunError):
    """Somebody cancelled the run."""

    _retry_note = "A retry may help: it starts another run, although somebody cancelled this one."


class CensusSyncRunSkipped(CensusSyncRunError):
    """Census skipped the run because an earlier run of the sync was still running: nothing was synced."""

    _retry_note = "A retry can help: it starts another run, best when the earlier one has ended."


class CensusSyncRunRejectedRecords(CensusSyncRunError):
    """The run completed, but more records failed or were invalid than the task allows."""

    _retry_note = "A retry seldom helps: the same records are rejected until they are corrected."


class CensusSyncRunTooFewRecords(CensusSyncRunError):
    """The run completed, but processed fewer records than the task expects."""

    _retry_note = "A retry may help: it starts another run, best when the source has its data."


class CensusTaskKilled(Exception):
    """
    The task was killed on its worker: by a user, or because the worker stops.

    No :class:`CensusError`, for Census has done nothing wrong, and what is prepared for its errors must not
    meet a kill. Airflow retries the task if it has ``retries`` left and no user has ended it.
    """

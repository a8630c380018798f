# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox over a real socket, for as long as a ``with`` block lasts."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import uvicorn

from airflow_provider_census.sandbox.app import PlannedFailure, SandboxApp
from airflow_provider_census.sandbox.data import GROUP_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from starlette.types import ASGIApp

    from airflow_provider_census.sandbox.outcomes import Outcome
    from airflow_provider_census.sandbox.workspace import Syncs, Trigger


log = logging.getLogger(__name__)


class Sandbox:
    """A local Census that a test can start, watch and make fail.

    Every method and attribute may be used from any thread, while the sandbox answers requests.

    :param host: address to listen on.
    :param port: port to listen on; 0 takes a free one.
    :param token: the only token that API v1 lets in.
    :param pace: every duration, in seconds, is multiplied by it; 0.1 is ten times faster.
    :param personal_access_token: the only token that API v2 lets in.
    :param clock: what the sandbox takes for the time, in seconds since the epoch.
    :param syncs: your syncs, by id or label, each with what its runs do, such as
        ``{90210: completes(), "Nightly contacts": fails("RATE_LIMIT"), 7: [fails(), completes()]}``: an
        outcome, or several, one for each run, of which the last one stays. Unless given, the sandbox has
        seven of its own.
    :param strict: whether there are no other syncs; else each one that is asked for by its id springs up,
        and its runs complete.
    :param cancelled_as: the ``status`` of a run that is cancelled: ``completed``, as Census publishes it
        beside ``canceled``, or ``cancelled``, as some clients expect it.
    :raises ValueError: when ``pace`` is not above 0, or a sync or ``cancelled_as`` cannot be.

    Entering the block raises :class:`OSError` when the address cannot be listened on.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "secret-token:sandbox",
        pace: float = 1.0,
        *,
        personal_access_token: str = "sandbox-personal-access-token",
        clock: Callable[[], float] = time.time,
        syncs: Syncs | None = None,
        strict: bool = False,
        cancelled_as: str = "completed",
    ) -> None:
        self.host = host
        self.port = port
        self._app = SandboxApp(
            token,
            personal_access_token,
            pace,
            clock,
            syncs=syncs,
            strict=strict,
            cancelled_as=cancelled_as,
        )
        self._serving: AbstractContextManager[int] | None = None

    def __enter__(self) -> Sandbox:
        self._serving = serving(self._app, self.host, self.port)
        self.port = self._serving.__enter__()
        if not is_loopback(self.host):
            log.warning(
                "The Census sandbox listens on %s port %d, for every machine that reaches this one. "
                "It is made up and holds no secret, but anybody may start and cancel its runs.",
                self.host,
                self.port,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._serving is not None:
            self._serving.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8765``; below it are ``/api/v1`` and ``/api/v2``."""
        return f"http://{self._authority}"

    @property
    def token(self) -> str:
        """The only token that API v1 lets in; set it to rotate it."""
        return self._app.token

    @token.setter
    def token(self, token: str) -> None:
        self._app.token = token

    @property
    def personal_access_token(self) -> str:
        """The only token that API v2 lets in; set it to rotate it."""
        return self._app.personal_access_token

    @personal_access_token.setter
    def personal_access_token(self, token: str) -> None:
        self._app.personal_access_token = token

    @property
    def pace(self) -> float:
        """What every duration of the runs to come is multiplied by."""
        return self._app.workspace.runs.pace

    @pace.setter
    def pace(self, pace: float) -> None:
        self._app.workspace.runs.pace = pace

    @property
    def clock(self) -> Callable[[], float]:
        """What the sandbox takes for the time, in seconds since the epoch; set it to move or stop time.

        Runs go by it: a test that moves it need not wait for them. It must not go back.
        """
        return self._app.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self._app.clock = clock

    @property
    def on_request(self) -> Callable[[str, str], Any] | None:
        """Called with method and path of each request, as in :attr:`requests`, before it is answered.

        It may start and finish runs or let requests fail, and the request finds them so. Until it returns,
        the answer to this request is held back, others are not. When it raises, the answer is an HTTP 500.
        """
        return self._app.on_request

    @on_request.setter
    def on_request(self, on_request: Callable[[str, str], Any] | None) -> None:
        self._app.on_request = on_request

    @property
    def connection_uri(self) -> str:
        """The Airflow connection to it, for ``AIRFLOW_CONN_CENSUS_DEFAULT``, through API v2."""
        return self._uri(self.personal_access_token, api_version="v2", group_id=GROUP_ID)

    @property
    def connection_uri_v1(self) -> str:
        """The Airflow connection to it through API v1, which Census ends on 15 January 2027."""
        return self._uri(self.token, api_version="v1")

    def _uri(self, token: str, **extra: str) -> str:
        return f"census://:{quote(token, safe='')}@{self._authority}/http?{urlencode(extra)}"

    @property
    def _authority(self) -> str:
        # Who listens on every address is reached on this one.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{self.port}"

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Every run that was started in this sandbox, oldest first, as Census gives it now."""
        with self._app.lock:
            return self._app.workspace.runs.started()

    @property
    def triggers(self) -> list[Trigger]:
        """Accepted triggers, oldest first: ``sync_id``, ``sync_run_id``, ``force_full_sync`` each."""
        with self._app.lock:
            return list(self._app.workspace.triggers)

    @property
    def cancels(self) -> list[int]:
        """The ``sync_run_id`` of every accepted cancellation, oldest first."""
        with self._app.lock:
            return list(self._app.workspace.cancels)

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of the last 10 000 calls, oldest first; the path as it was sent, less its query."""
        with self._app.lock:
            return list(self._app.requests)

    def add_sync(self, sync: int | str, outcome: Outcome | Sequence[Outcome], **properties: Any) -> int:
        """See to it that there is a sync, and what its runs to come do.

        :param sync: its id or label; one that is there already is changed.
        :param outcome: what its runs do; of several, one for each run, of which the last one stays.
        :param properties: of the sync, by Census' names for them, such as ``operation="mirror"``.
        :return: its id.
        :raises ValueError: when it cannot be.
        """
        with self._app.lock:
            return self._app.workspace.add_sync(sync, outcome, **properties)

    def start_run(
        self,
        sync_id: int | str,
        *,
        reason: str = "Schedule",
        full_sync: bool = False,
        like: int | None = None,
    ) -> int:
        """Start a run without a request, so that it is not in :attr:`triggers`: as Census' own schedule does.

        As in Census, it is skipped while another run of the sync is running.

        :param sync_id: the sync, by id or label; it says what the run does, unless :meth:`finish_run` ends it
            before.
        :param reason: why it is started, the run's ``sync_trigger_reason``, such as ``Manual``.
        :param full_sync: whether the run is a full sync.
        :param like: the sync whose runs it behaves like; its own unless given.
        :return: the id of the run.
        :raises ValueError: when there is no such sync.
        """
        with self._app.lock:
            workspace = self._app.workspace
            started, model = (workspace.sync(key) for key in (sync_id, sync_id if like is None else like))
            if started is None or model is None:
                raise ValueError(f"there is no sync {sync_id if started is None else like!r}")
            detail = "Started by the sandbox, without a request"
            return workspace.runs.start(
                started["id"],
                full_sync,
                {"ui_tag": reason, "ui_detail": detail},
                lambda: workspace.next_outcome(model),
            )

    def finish_run(
        self,
        sync_run_id: int,
        status: str | Outcome = "completed",
        *,
        records_failed: int = 0,
        records_invalid: int = 0,
    ) -> None:
        """End a run now, whoever started it.

        :param sync_run_id: the run.
        :param status: how it ends: ``completed``, ``failed``, ``skipped`` or ``cancelled``, or an outcome
            such as ``fails("RATE_LIMIT")``.
        :param records_failed: how many records the destination rejected, if it is ``completed``.
        :param records_invalid: how many records were invalid, if it is ``completed``.
        :raises ValueError: when no such run is queued or working, or none can end so.
        """
        with self._app.lock:
            self._app.workspace.runs.finish(sync_run_id, status, records_failed, records_invalid)

    def fail_next(
        self,
        times: int = 1,
        *,
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        body: str | bytes | dict[str, Any] | None = None,
        method: str | None = None,
        path: str | None = None,
    ) -> None:
        """Let the next calls fail, without any other effect.

        Failures asked for earlier are used up first.

        :param times: how many calls.
        :param status: HTTP status of the answer.
        :param headers: of the answer, for example ``{"Retry-After": "2"}``.
        :param body: of the answer; a dict goes as JSON, None as an error in Census' form.
        :param method: only calls with this HTTP method.
        :param path: only calls whose path begins so, for example ``/api/v1/sync_runs``.
        :raises ValueError: when no call could ever match.
        """
        if times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        if path is not None and not path.startswith("/api/"):
            raise ValueError(f"path begins with the API's root, as in /api/v1/syncs; {path!r} does not")
        with self._app.lock:
            self._app.planned_failures.append(PlannedFailure(times, status, headers, body, method, path))

    def stop_failing(self) -> None:
        """Forget every failure that :meth:`fail_next` asked for and that has not happened yet."""
        with self._app.lock:
            self._app.planned_failures.clear()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def serving(app: ASGIApp, host: str, port: int) -> Iterator[int]:
    """Answer calls from a thread while the block lasts; gives the port."""
    with listener(host, port) as listening:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                server_header=False,
                headers=[("Server", "airflow-provider-census-sandbox")],
                timeout_graceful_shutdown=1,
            )
        )
        # Callers need not wait for the thread: the socket listens already and keeps them in line.
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="census-sandbox", daemon=True
        )
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def listener(host: str, port: int) -> socket.socket:
    """Listen on an address; an ``OSError`` names it if that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"the Census sandbox cannot listen on {host} port {port}: {error.strerror}"
        raise OSError(error.errno, reason) from error
    # Else each answer, sent as head and body, waits some 40 ms for the caller's delayed acknowledgment.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening

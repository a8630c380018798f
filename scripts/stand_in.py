# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
A stand-in for Census on raw sockets: it misbehaves as told, ends a run when told to, and counts.

For the tests of transports and faults, and for ``make chaos``. It can what the sandbox cannot: refuse and
break connections, keep a response back, send what is no HTTP. It shares no code with the provider, nor with
the sandbox, so that a mistake cannot hide on both sides.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Received:
    """
    One request as it came in.

    :ivar connection: the number of its connection, from 1.
    """

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """
    What happens instead of a response.

    :ivar name: for the log.
    :ivar act: what is done with the connection, given the right response; then it is closed.
    :ivar executed: whether the request is carried out all the same.
    """

    name: str
    act: Callable[[socket.socket, bytes], None] = field(repr=False)
    executed: bool = False


def response(body: Any = None, status: int = 200, /, **headers: str) -> bytes:
    """Write a response down; what is no bytes goes as JSON, and ``_`` in the name of a header as ``-``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever"]
    if not {"Content_Length", "Transfer_Encoding"} & headers.keys():
        lines.append(f"Content-Length: {len(content)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def data(value: Any, **headers: str) -> bytes:
    """Write a successful response down."""
    return response({"status": "success", "data": value}, **headers)


def sends(*parts: bytes, name: str = "junk") -> Fault:
    """Send this instead of the right response, and close such that the caller reads all of it."""

    def act(connection: socket.socket, right: bytes) -> None:
        for part in parts:
            connection.sendall(part)
        close_gently(connection)

    return Fault(name, act)


def says(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Send another response than the right one."""
    headers = {"Connection": "close", **headers}
    return sends(response(body, status, **headers), name=str(status))


def close_gently(connection: socket.socket) -> None:
    """Close a connection such that the other side reads all that was sent."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(1.0)
    while connection.recv(65536):
        pass


def _reset(connection: socket.socket, right: bytes = b"") -> None:
    # With this option, closing resets the connection.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _hang(connection: socket.socket, right: bytes) -> None:
    connection.settimeout(30.0)
    connection.recv(1)


def _drip(connection: socket.socket, right: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.01)


def _reset_in_body(connection: socket.socket, right: bytes) -> None:
    connection.sendall(response(b'{"status":', Content_Length="1000"))
    _reset(connection)


HANG = Fault("hangs", _hang)
"""Nothing, until the caller goes away."""

DRIP = Fault("drips", _drip)
"""A response that never ends, byte by byte, until the caller goes away."""

RESET = Fault("reset", _reset)
"""The connection breaks."""

RESET_IN_BODY = Fault("reset in the body", _reset_in_body)
"""The connection breaks amid the response."""

CLOSE = Fault("closed", lambda connection, right: None)
"""The connection ends."""


def _end(connection: socket.socket) -> None:
    """Wake the thread that waits for it, which closes it; another one must not get its number before."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Listener(ABC):
    """
    Accepts connections on loopback while a ``with`` block lasts, a thread each.

    :ivar connections: how many there were.
    """

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.lock = threading.RLock()
        self._sockets = threading.Lock()
        self._listening: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._open: list[socket.socket] = []
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self.hang_up()

    def listen(self) -> None:
        """Take connections, again if it did before."""
        with self._sockets:
            if self._listening is not None:
                return
            listening = self._listening = socket.create_server((LOOPBACK, self.port), backlog=128)
            self.port = listening.getsockname()[1]
            self._accepting = threading.Thread(target=self._accept, args=(listening,), daemon=True)
            self._accepting.start()

    def refuse(self) -> None:
        """Refuse connections from now on; those that are open stay."""
        with self._sockets:
            listening, self._listening = self._listening, None
            accepting = self._accepting
        if listening is not None and accepting is not None:
            _end(listening)
            accepting.join()

    def hang_up(self) -> None:
        """Break the connections that are open."""
        with self._sockets:
            ending, self._open = self._open, []
        for connection in ending:
            _end(connection)

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError), listening:
            while True:
                connection, _ = listening.accept()
                with self._sockets:
                    self._open.append(connection)
                    self.connections += 1
                    number = self.connections
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection:
            self.serve(connection, number)
        with self._sockets, suppress(ValueError):
            self._open.remove(connection)

    @abstractmethod
    def serve(self, connection: socket.socket, number: int) -> None:
        """Do what is to be done with one connection, the first of which has the number 1."""


Script = bytes | Fault | Callable[[Received], bytes | Fault]


class Server(Listener):
    """
    Responds to the first request with the first line of its script, and so on; the last one stays.

    :param script: what :func:`response` and :func:`data` write, a fault, or a function.
    :param tls: certificate and key.
    """

    def __init__(self, *script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script) or [data({})]
        self._tls = tls
        self.received: list[Received] = []
        super().__init__()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self.port}"

    def respond(self, request: Received) -> tuple[bytes, Fault | None]:
        """Give the right response, and what happens instead, if anything does."""
        line = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        right = line(request) if callable(line) else line
        return (b"", right) if isinstance(right, Fault) else (right, None)

    def serve(self, connection: socket.socket, number: int) -> None:
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True)
            with self._sockets:
                self._open.append(connection)
        with connection, connection.makefile("rb") as stream:
            while (request := read_request(stream, number)) is not None:
                with self.lock:
                    self.received.append(request)
                right, fault = self.respond(request)
                if fault is not None:
                    fault.act(connection, right)
                    return
                connection.sendall(right)
                if b"\r\nConnection: close\r\n" in right:
                    close_gently(connection)
                    return


def read_request(stream: Any, connection: int) -> Received | None:
    """Read a request; ``None`` if the caller has gone away."""
    first = stream.readline().decode().split()
    if len(first) != 3:
        return None
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(connection, first[0], first[1], headers, body)


@dataclass
class Run:
    """
    A sync run; it is running until :attr:`ended` or :attr:`canceled`.

    :ivar polls: how often it was read.
    :ivar failures: how often reading it came to a fault.
    """

    id: int
    sync_id: int
    full_sync: bool
    created_at: float = field(default_factory=time.time)
    ended: bool = False
    canceled: bool = False
    polls: int = 0
    failures: int = 0

    def as_json(self) -> dict[str, Any]:
        at = datetime.fromtimestamp(self.created_at, timezone.utc).isoformat(timespec="milliseconds")
        status = "completed" if self.ended else "working"
        return {
            "id": self.id,
            "sync_id": self.sync_id,
            "status": "cancelled" if self.canceled else status,
            "canceled": self.canceled,
            "full_sync": self.full_sync,
            "created_at": at.replace("+00:00", "Z"),
            "completed_at": None,
            "source_record_count": 100,
            "records_processed": 100 if self.ended else 10,
            "records_updated": 100 if self.ended else None,
            "records_failed": 0,
            "records_invalid": 0,
            "error_code": None,
            "error_message": None,
            "error_detail": None,
            "sync_trigger_reason": {"ui_tag": "API"},
        }


OPERATIONS = {
    ("POST", "/syncs/N/trigger"): "trigger",
    ("GET", "/syncs/N/sync_runs"): "list",
    ("GET", "/sync_runs/N"): "run",
    ("POST", "/sync_runs/N/cancel"): "cancel",
}


class CensusStandIn(Server):
    """
    One workspace with any sync.

    :param token: the only one that it lets in; ``None`` for any.
    :param ends_after: polls after which a run has ended; ``None`` for never by itself.
    :param keep_alive: whether a connection outlasts a response.
    :ivar faults: gives the fault of a request, from the operation (``trigger``, ``list``, ``run``,
        ``cancel``), the id in the path, and how often that was requested before.
    :ivar plans: the faults of the next requests to start a sync, by sync.
    :ivar lengths: polls after which a run of that sync has ended, instead of ``ends_after``.
    :ivar runs: every run that was started, by id.
    :ivar cancels: the id of the run of every request to cancel one.
    :ivar held: syncs that were started and whose response is kept back until :meth:`release`.
    :ivar log: a line for every request.
    """

    def __init__(
        self, *, token: str | None = None, ends_after: int | None = None, keep_alive: bool = False
    ) -> None:
        self.faults: Callable[[str, int, int], Fault | None] = lambda operation, key, earlier: None
        self.plans: dict[int, list[Fault]] = {}
        self.lengths: dict[int, int] = {}
        self.runs: dict[int, Run] = {}
        self.cancels: list[int] = []
        self.held: set[int] = set()
        self.log: list[str] = []
        self._token = token
        self._ends_after = ends_after
        self.keep_alive = keep_alive
        self._requested: Counter[tuple[str, int]] = Counter()
        self._released = threading.Event()
        self._ids = itertools.count(9001)
        super().__init__()

    def of(self, syncs: Sequence[int]) -> list[Run]:
        """The runs of these syncs, oldest first."""
        with self.lock:
            return [run for run in self.runs.values() if run.sync_id in syncs]

    def cancels_of(self, syncs: Sequence[int]) -> list[int]:
        """The ids of the runs of these syncs that were to be cancelled, as often as they were."""
        ids = {run.id for run in self.of(syncs)}
        return [run_id for run_id in self.cancels if run_id in ids]

    @property
    def triggers(self) -> list[int]:
        """The syncs that were started, in order."""
        with self.lock:
            return [run.sync_id for run in self.runs.values()]

    def hold(self, sync_id: int) -> Fault:
        """Start the sync, and keep the response back."""

        def act(connection: socket.socket, right: bytes) -> None:
            self.held.add(sync_id)
            self._released.wait(120)
            connection.sendall(right)

        return Fault("held", act, executed=True)

    def release(self) -> None:
        """Send the responses that were kept back."""
        self._released.set()

    @contextmanager
    def outage(self, *faults: Fault) -> Iterator[None]:
        """Respond to every request with one of these faults, in turns."""
        turns, before = itertools.cycle(faults), self.faults
        self.faults = lambda operation, key, earlier: next(turns)
        try:
            yield
        finally:
            self.faults = before

    @contextmanager
    def absence(self) -> Iterator[None]:
        """Refuse connections, and break those that are open."""
        self.refuse()
        self.hang_up()
        try:
            yield
        finally:
            self.listen()

    def respond(self, request: Received) -> tuple[bytes, Fault | None]:
        path, _, query = request.target.removeprefix("/api/v1").partition("?")
        operation = OPERATIONS.get((request.method, re.sub(r"\d+", "N", path)), "")
        key = int(re.sub(r"\D", "", path) or 0)
        full_sync = "force_full_sync=true" in query or b'"force_full_sync": true' in request.body
        with self.lock:
            fault = self.faults(operation, key, self._requested[operation, key])
            self._requested[operation, key] += 1
            if fault is None and operation == "trigger" and self.plans.get(key):
                fault = self.plans[key].pop(0)
            status: int = 200
            body: dict[str, Any] = {}
            if fault is None or fault.executed:
                status, body = self._execute(request, operation, key, full_sync)
            elif operation == "run" and key in self.runs:
                self.runs[key].failures += 1
            now = f"{datetime.now(timezone.utc):%H:%M:%S.%f}"
            self.log.append(f"{now} {request.method} {request.target} {fault.name if fault else status}")
        connection = {} if self.keep_alive else {"Connection": "close"}
        return response(body, status, Date=formatdate(usegmt=True), **connection), fault

    def _execute(
        self, request: Received, operation: str, key: int, full_sync: bool
    ) -> tuple[int, dict[str, Any]]:
        """Carry a request out."""
        run = self.runs.get(key)
        if self._token is not None and request.headers.get("authorization") != f"Bearer {self._token}":
            return 401, {"status": "unauthorized"}
        if operation == "trigger":
            run = Run(next(self._ids), key, full_sync)
            self.runs[run.id] = run
            return 200, {"status": "success", "data": {"sync_run_id": run.id}}
        if operation == "list":
            found = [run.as_json() for run in self.runs.values() if run.sync_id == key][::-1]
            pages = {"total_records": len(found), "per_page": 100, "page": 1, "next_page": None}
            return 200, {"status": "success", "data": found, "pagination": pages}
        if operation == "run" and run is not None:
            run.polls += 1
            ends_after = self.lengths.get(run.sync_id, self._ends_after)
            run.ended = run.ended or (ends_after is not None and run.polls > ends_after)
            return 200, {"status": "success", "data": run.as_json()}
        if operation == "cancel" and run is not None:
            self.cancels.append(key)
            run.canceled = not run.ended
            return 200, {"status": "cancelled", "data": {}}
        return 404, {"status": 404, "message": "no such thing"}

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
A Census for ``make chaos``: it misbehaves when told to, ends a run when told to, and counts.

It shares no code with the provider, nor with the sandbox, which cannot refuse connections or keep an answer
back.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "secret-token:chaos"
LOOPBACK = "127.0.0.1"

# Of a request to start a sync; whether the run was started is part of the name.
LOST, BROKEN, BUSY, HELD = "started, 502", "started, reset", "not started, 503", "started, answer held back"

# Of any request, one after the other.
OUTAGE = ("503", "500", "reset", "502", "503 Retry-After", "html", "nothing")


@dataclass
class Run:
    """A sync run; it goes on until :attr:`ended` or :attr:`canceled`."""

    id: int
    sync_id: int
    full_sync: bool
    created_at: float = field(default_factory=time.time)
    ended: bool = False
    canceled: bool = False
    looks: int = 0
    misses: int = 0

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


class ChaosCensus:
    """
    :ivar runs: every run that was started.
    :ivar cancels: the id of the run of every request to cancel one.
    :ivar plans: what happens to the next requests to start a sync, by sync.
    :ivar held: syncs that were started and whose answer is kept back.
    :ivar log: a line for every request.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.cancels: list[int] = []
        self.plans: dict[int, list[str]] = {}
        self.held: set[int] = set()
        self.log: list[str] = []
        self.lock = threading.RLock()
        self.is_out = False
        self.is_gone = False
        self._released = threading.Event()
        self._ids = itertools.count(9001)
        self._faults = itertools.cycle(OUTAGE)
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> ChaosCensus:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._hang_up()

    @property
    def host(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def of(self, syncs: range) -> list[Run]:
        """The runs of these syncs, oldest first."""
        with self.lock:
            return [run for run in self.runs if run.sync_id in syncs]

    def cancels_of(self, syncs: range) -> list[int]:
        """The ids of the runs of these syncs that somebody asked to cancel, as often as somebody did."""
        ids = {run.id for run in self.of(syncs)}
        return [run_id for run_id in self.cancels if run_id in ids]

    def release(self) -> None:
        """Send the answers that were kept back."""
        self._released.set()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Answer nothing useful."""
        self.is_out = True
        try:
            yield
        finally:
            self.is_out = False

    @contextmanager
    def absence(self) -> Iterator[None]:
        """Refuse connections, and break those that are open at their next request."""
        self.is_gone = True
        self._hang_up()
        try:
            yield
        finally:
            self._listen()
            self.is_gone = False

    def _listen(self) -> None:
        handler = type("Handler", (_Handler,), {"census": self})
        self._server = _Server((LOOPBACK, self.port), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def fault(self) -> str | None:
        """What is to happen to a request instead of an answer."""
        if self.is_gone:
            return "reset"
        return next(self._faults) if self.is_out else None

    def start(self, sync_id: int, full_sync: bool) -> tuple[Run | None, str | None]:
        """Start a run of a sync, and tell what is to happen to the answer."""
        plan = self.plans.get(sync_id)
        fault = plan.pop(0) if plan else None
        if fault == BUSY:
            return None, fault
        run = Run(next(self._ids), sync_id, full_sync)
        self.runs.append(run)
        return run, fault

    def hold(self, sync_id: int) -> None:
        """Keep an answer back."""
        self.held.add(sync_id)
        self._released.wait(120)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Whoever called was killed; that is what this is all about."""


class _Handler(BaseHTTPRequestHandler):
    census: ChaosCensus
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        census = self.census
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault: str | None
        with census.lock:
            fault, answer = census.fault(), (404, {"status": 404, "message": "no such thing"})
            number = [int(part) for part in re.findall(r"\d+", path.removeprefix("/api/v1"))]
            known = {run.id: run for run in census.runs}
            kind = re.sub(r"\d+", "N", path.removeprefix("/api/v1"))
            if fault is not None:
                if kind == "/sync_runs/N" and number[0] in known:
                    known[number[0]].misses += 1
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                answer = 401, {"status": "unauthorized"}
            elif (self.command, kind) == ("POST", "/syncs/N/trigger"):
                full = "force_full_sync=true" in query or b'"force_full_sync": true' in body
                run, fault = census.start(number[0], full)
                if run is not None:
                    answer = 200, {"status": "success", "data": {"sync_run_id": run.id}}
            elif (self.command, kind) == ("GET", "/syncs/N/sync_runs"):
                found = [run.as_json() for run in reversed(census.runs) if run.sync_id == number[0]]
                pages = {"total_records": len(found), "per_page": 100, "page": 1, "next_page": None}
                answer = 200, {"status": "success", "data": found, "pagination": pages}
            elif (self.command, kind) == ("GET", "/sync_runs/N") and number[0] in known:
                known[number[0]].looks += 1
                answer = 200, {"status": "success", "data": known[number[0]].as_json()}
            elif (self.command, kind) == ("POST", "/sync_runs/N/cancel") and number[0] in known:
                census.cancels.append(number[0])
                known[number[0]].canceled = not known[number[0]].ended
                answer = 200, {"status": "cancelled", "data": {}}
            outcome = fault or answer[0]
            census.log.append(
                f"{datetime.now(timezone.utc):%H:%M:%S.%f} {self.command} {self.path} {outcome}"
            )
        if fault == HELD:
            census.hold(number[0])
        self._reply(fault, *answer)

    def _reply(self, fault: str | None, status: int, content: dict[str, Any]) -> None:
        if fault in (None, HELD):
            self._send(status, json.dumps(content).encode())
        elif fault in ("reset", BROKEN):
            # With this option, closing resets the connection.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault in (BUSY, "503 Retry-After"):
            self._send(503, b'{"status": "error", "message": "busy"}', {"Retry-After": "1"})
        elif fault == "nothing":
            self._send(200, b"")
        elif fault == "html":
            self._send(200, b"<html>back soon</html>", {"Content-Type": "text/html"})
        else:
            self._send(502 if fault == LOST else int(fault or 500), b"<html>Bad gateway</html>")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Said in :attr:`ChaosCensus.log`."""

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A Census on a raw socket that misbehaves as told: refuses, resets, hangs, cuts off, sends rubbish."""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import format_datetime, formatdate
from typing import Any

Misbehaviour = Callable[["BadCensus", socket.socket, bytes], None]
"""What a fault does with a connection, given the right answer."""


class BadCensus:
    """
    One workspace, any sync; a run of it has ended at the third look.

    :ivar fault: what goes wrong, if anything does.
    :ivar strikes: tells whether it does, from what is asked (``trigger``, ``run``, ``list``, ``cancel``), the
        id in the path, and how often that was asked before.
    :ivar executes: whether a request that goes wrong is carried out all the same.
    """

    def __init__(self) -> None:
        self.fault: Misbehaviour | None = None
        self.strikes: Callable[[str, int, int], bool] = lambda kind, key, earlier: False
        self.executes = False
        self.ends_as = "completed"
        self.runs: dict[int, dict[str, Any]] = {}
        self.cancels: list[int] = []
        self.asked: Counter[tuple[str, int]] = Counter()
        self.headers: list[dict[str, str]] = []
        self._lock = threading.RLock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """Take connections, again if it did before."""
        with self._lock:
            if self._listener is not None:
                return
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    @property
    def triggers(self) -> list[int]:
        """The syncs that were started, in order."""
        with self._lock:
            return [run["sync_id"] for run in self.runs.values()]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._answer(connection)
            except OSError:
                return

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(65536)
            if not part:
                return
            request += part
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        method, target, _ = lines[0].split()
        kind, key = what_is_asked(method, target)
        with self._lock:
            self.headers.append(headers)
            strikes = self.strikes(kind, key, self.asked[kind, key])
            self.asked[kind, key] += 1
            right = b"" if strikes and not self.executes else self._carry_out(kind, key)
        if strikes and self.fault is not None:
            self.fault(self, connection, right)
        else:
            connection.sendall(right)
            part_in_peace(connection)

    def _carry_out(self, kind: str, key: int) -> bytes:
        if kind == "trigger":
            run_id = 900 + len(self.runs)
            moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            self.runs[run_id] = {
                "id": run_id,
                "sync_id": key,
                "status": "working",
                "full_sync": False,
                "canceled": False,
                "created_at": moment.replace("+00:00", "Z"),
                "looks": 0,
            }
            return ok({"sync_run_id": run_id})
        if kind == "run":
            run = self.runs[key]
            run["looks"] += 1
            run["status"] = self.ends_as if run["looks"] > 2 else "working"
            return ok(run)
        if kind == "list":
            return ok([run for run in self.runs.values() if run["sync_id"] == key][::-1])
        self.cancels.append(key)
        return ok({})


def what_is_asked(method: str, target: str) -> tuple[str, int]:
    match = re.fullmatch(r"/api/v1/(syncs|sync_runs)/(\d+)(?:/(\w+))?(?:\?.*)?", target)
    assert match, target
    kinds = {"trigger": "trigger", "sync_runs": "list", "cancel": "cancel", None: "run"}
    return kinds[match[3]], int(match[2])


def answer(status: int, body: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} Whatever", f"Date: {formatdate(usegmt=True)}", "Connection: close", *headers]
    if not any(header.startswith(("Content-Length", "Transfer-Encoding")) for header in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def ok(data: Any) -> bytes:
    return answer(
        200, json.dumps({"status": "success", "data": data}).encode(), "Content-Type: application/json"
    )


def part_in_peace(connection: socket.socket) -> None:
    """Close such that the other side reads all that was sent."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(1.0)
    while connection.recv(65536):
        pass


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def resets_before_the_answer(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    reset(connection)


def resets_in_the_body(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    connection.sendall(answer(200, b'{"status":', "Content-Length: 1000"))
    reset(connection)


def closes_without_a_word(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def cuts_the_body_off(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    connection.sendall(answer(200, b'{"status": "success"', "Content-Length: 1000"))
    part_in_peace(connection)


def cuts_the_chunks_off(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    connection.sendall(answer(200, b'a\r\n{"status":\r\n', "Transfer-Encoding: chunked"))
    part_in_peace(connection)


def hangs(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    connection.settimeout(30.0)
    connection.recv(1)


def says(status: int, body: bytes, *headers: str) -> Misbehaviour:
    def fault(census: BadCensus, connection: socket.socket, right: bytes) -> None:
        connection.sendall(answer(status, body, *headers))
        part_in_peace(connection)

    return fault


def sends_much(status: int, megabytes: int) -> Misbehaviour:
    def fault(census: BadCensus, connection: socket.socket, right: bytes) -> None:
        size = megabytes * 1024 * 1024
        connection.sendall(answer(status, b"", f"Content-Length: {size}"))
        for _ in range(megabytes):
            connection.sendall(b"<p>x</p>" * 128 * 1024)
        part_in_peace(connection)

    return fault


def zips(census: BadCensus, connection: socket.socket, right: bytes) -> None:
    """No fault at all."""
    head, _, body = right.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    connection.sendall(answer(status, gzip.compress(body), "Content-Encoding: gzip"))
    part_in_peace(connection)


def soon(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(time.time() + seconds, timezone.utc), usegmt=True)

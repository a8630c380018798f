# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
A Census for measuring: it answers at once, and costs as little as a server in Python can.

Not the sandbox, which would cost more than what is measured. Prints its port; serves until its input ends.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from email.utils import formatdate

RUN = {
    "id": 94,
    "sync_id": 52,
    "source_record_count": 1000,
    "records_processed": 500,
    "records_updated": 490,
    "records_failed": 4,
    "records_invalid": 6,
    "created_at": "2026-01-15T09:30:00.000Z",
    "updated_at": "2026-01-15T09:31:00.000Z",
    "completed_at": None,
    "scheduled_execution_time": None,
    "error_code": None,
    "error_message": None,
    "error_detail": None,
    "status": "working",
    "canceled": False,
    "full_sync": False,
    "current_step": "Loading data into destination service",
    "sync_trigger_reason": {"ui_tag": "API", "ui_detail": "Triggered via the API"},
}
PAGES = 100
"""Pages of the list of runs, each of a hundred runs."""


def answer(body: object) -> bytes:
    """Write an answer down, with the headers that a service behind a proxy sends along."""
    content = json.dumps(body).encode()
    head = (
        "HTTP/1.1 200 OK",
        f"Date: {formatdate(usegmt=True)}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Cache-Control: max-age=0, private, must-revalidate",
        'ETag: W/"2b4e1a0c5d7f4f6fb1c8a2d7e3f09b16"',
        "Strict-Transport-Security: max-age=63072000; includeSubDomains",
        "X-Request-Id: 8f14e45f-ceea-467f-a83e-3b7c2f9d1c55",
        "X-Content-Type-Options: nosniff",
        "Server: census",
        "\r\n",
    )
    return "\r\n".join(head).encode() + content


@functools.cache
def working(number: int) -> bytes:
    """Write down the run that was asked for: a poll of another one is a failed poll."""
    return answer({"status": "success", "data": {**RUN, "id": number}})


def page(number: int) -> bytes:
    """Write one page of the list of runs down."""
    runs = [{**RUN, "id": 100 * number + each} for each in range(100)]
    following = number + 1 if number < PAGES else None
    return answer({"status": "success", "data": runs, "pagination": {"page": number, "next_page": following}})


class Census(asyncio.Protocol):
    """One connection."""

    connections = requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Census.connections += 1
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            target = head.split(b" ", 2)[1].decode()
            if target == "/counts":
                counts = {"connections": Census.connections, "requests": Census.requests}
                Census.connections = Census.requests = 0
                self._transport.write(answer(counts))
                continue
            Census.requests += 1
            if "/syncs/" in target:
                _, _, number = target.partition("&page=")
                self._transport.write(page(int(number or 1)))
            else:
                self._transport.write(working(int(target.rpartition("/")[2])))


async def serve() -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Census, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Census, dbt Cloud and Fivetran for ``make bench-triggerer``: runs with growing counts, which end when told.

Prints its port; serves until its input ends.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from datetime import datetime, timezone
from typing import Any

from bench_server import RUN, answer

FIRST = 1001
"""The number of the first run."""

BEGAN = time.time()


class Api(asyncio.Protocol):
    """One connection."""

    requests = 0
    polled: set[int] = set()  # noqa: RUF012 - of all connections
    ends: tuple[float, float] = (float("inf"), 0.0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            self._transport.write(answer(self.respond(head.split(b" ", 2)[1].decode())))

    def respond(self, target: str) -> dict[str, Any]:
        if target == "/counts":
            counts = {"requests": Api.requests, "polled": len(Api.polled)}
            Api.requests = 0
            return counts
        if target.startswith("/end/"):  # /end/<seconds since the epoch>/<seconds from one run to the next>
            _, _, first, step = target.split("/")
            Api.ends = float(first), float(step)
            return {}
        if target == "/reset":
            Api.ends = (float("inf"), 0.0)
            Api.polled.clear()
            return {}
        number = int(re.findall(r"[0-9]+", target)[-1])
        Api.requests += 1
        Api.polled.add(number)
        end = Api.ends[0] + (number - FIRST) * Api.ends[1]
        ended = time.time() >= end
        if "/accounts/" in target:
            return {"data": {"id": number, "status": 10 if ended else 3}, "status": {"code": 200}}
        if "/connectors/" in target:
            at = datetime.fromtimestamp(end if ended else BEGAN - 3600, timezone.utc).isoformat()
            status = {"sync_state": "scheduled" if ended else "syncing", "setup_state": "connected"}
            names = {"id": f"c{number}", "service": "s", "schema": "s", "paused": False}
            return {
                "code": "Success",
                "data": {**names, "succeeded_at": at, "failed_at": None, "status": status},
            }
        done = int(time.time() - BEGAN)
        now = {"status": "completed" if ended else "working", "records_processed": done}
        return {"status": "success", "data": {**RUN, "id": number, **now, "source_record_count": 10_000}}


async def serve() -> None:
    """Serve until the input ends."""
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())

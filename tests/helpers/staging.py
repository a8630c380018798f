# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A server, a clock and callers for the tests of the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from airflow_provider_census.sandbox.app import SandboxApp

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from airflow_provider_census.sandbox import Sandbox

TOKEN = "secret-token:sandbox"
PERSONAL_ACCESS_TOKEN = "sandbox-personal-access-token"
NO_ERROR = {"error_code": None, "error_message": None, "error_detail": None}
START = 1_700_000_000.0  # 2023-11-14T22:13:20Z


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Caller:
    """Calls a sandbox, whose clock stands still until it is moved, through one of its roots."""

    def __init__(self, url: str, clock: Clock, version: str = "v1") -> None:
        self.url = url
        self.clock = clock
        self.version = version
        self.session = requests.Session()
        token = TOKEN if version == "v1" else PERSONAL_ACCESS_TOKEN
        self.session.headers["Authorization"] = f"Bearer {token}"

    def through(self, version: str) -> Caller:
        return Caller(self.url, self.clock, version)

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.url}/api/{self.version}{path}", timeout=10, **options)

    def data(self, path: str, **params: Any) -> Any:
        answer = self.call("GET", path, params=params)
        assert (answer.status_code, answer.json()["status"]) == (200, "success")
        return answer.json()["data"]

    def trigger(self, sync_id: int) -> int:
        sync_run_id = self.call("POST", f"/syncs/{sync_id}/trigger").json()["data"]["sync_run_id"]
        assert isinstance(sync_run_id, int)
        return sync_run_id

    def run(self, sync_run_id: int, *, after: float) -> dict[str, Any]:
        """The run as it stands so many seconds after the sandbox started."""
        self.clock.now = START + after
        run: dict[str, Any] = self.data(f"/sync_runs/{sync_run_id}")
        return run


class Stage:
    """One server for all tests, with a fresh sandbox for each: starting and ending servers takes its time."""

    app: SandboxApp
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def caller(self, pace: float = 1.0) -> Caller:
        clock = Clock()
        self.app = SandboxApp(TOKEN, PERSONAL_ACCESS_TOKEN, pace, clock, strict=True)
        return Caller(f"http://127.0.0.1:{self.port}", clock)


def call(sandbox: Sandbox, method: str, path: str, **options: Any) -> requests.Response:
    options.setdefault("headers", {"Authorization": f"Bearer {sandbox.token}"})
    return requests.request(method, f"{sandbox.url}{path}", timeout=10, **options)


def run_of(sandbox: Sandbox, sync_run_id: int) -> dict[str, Any]:
    run: dict[str, Any] = call(sandbox, "GET", f"/api/v1/sync_runs/{sync_run_id}").json()["data"]
    return run

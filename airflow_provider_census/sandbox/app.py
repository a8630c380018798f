# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: who may call, what is to fail, and which operation answers."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from airflow_provider_census.sandbox import pages
from airflow_provider_census.sandbox.calls import Call, Refusal
from airflow_provider_census.sandbox.operations import ROUTES, V1, V2, Operation
from airflow_provider_census.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from airflow_provider_census.sandbox.workspace import Syncs

log = logging.getLogger(__name__)

LONGEST_BODY = 2**20  # bytes
MAX_REQUESTS = 10_000  # that are remembered; whoever polls for weeks makes many more
DEEPEST_BODY = 100  # lists and objects within each other


@dataclass
class PlannedFailure:
    """An answer that the next ``times`` matching calls get instead of their own."""

    times: int
    status: int
    headers: Mapping[str, str] | None
    body: str | bytes | dict[str, Any] | None
    method: str | None
    path: str | None

    def meets(self, method: str, path: str) -> bool:
        """Whether a call gets this answer: some are left, and its method and path fit."""
        return (
            self.times > 0
            and (self.method is None or self.method.upper() == method)
            and (self.path is None or path.startswith(self.path))
        )

    def response(self) -> Response:
        """The answer: text as it is, a dict as JSON, None as an error in Census' form."""
        if isinstance(self.body, (str, bytes)):
            return Response(self.body, self.status, self.headers, media_type="text/plain")
        body = self.body
        if body is None:
            body = {"status": "error", "message": f"the sandbox was told to answer with {self.status}"}
        return JSONResponse(body, self.status, self.headers)


class SandboxApp:
    """Census as an ASGI application.

    :param token: the only one that API v1 lets in.
    :param personal_access_token: the only one that API v2 lets in.
    :param pace: every duration is multiplied by it; above 0.
    :param clock: gives the time in seconds since the epoch.
    :param syncs: what the runs of each sync do, by id or label; the sandbox's own syncs unless given.
    :param strict: whether there are no other syncs.
    :param cancelled_as: the ``status`` of runs that are cancelled: ``completed`` or ``cancelled``.
    :ivar on_request: called with method and path of every request before it is answered.
    """

    def __init__(
        self,
        token: str,
        personal_access_token: str,
        pace: float = 1.0,
        clock: Callable[[], float] = time.time,
        *,
        syncs: Syncs | None = None,
        strict: bool = False,
        cancelled_as: str = "completed",
    ) -> None:
        if not pace > 0:
            raise ValueError(f"pace must be above 0, not {pace}")
        self.token = token
        self.personal_access_token = personal_access_token
        self.clock = clock
        self.workspace = Workspace(lambda: self.clock(), pace, syncs, strict, cancelled_as)
        self.on_request: Callable[[str, str], object] | None = None
        self.requests: deque[tuple[str, str]] = deque(maxlen=MAX_REQUESTS)
        self.planned_failures: list[PlannedFailure] = []
        # Held by whoever reads or writes the above: tests do so from another thread than the server's.
        # Re-entrant, for a clock may go by the requests.
        self.lock = threading.RLock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note a request, tell ``on_request`` of it, then answer it."""
        request = Request(scope, receive)
        # Routed as it was sent: an escaped "/" belongs to a name, a plain one separates.
        path = scope["raw_path"].decode("latin-1")
        with self.lock:
            self.requests.append((request.method, path))
        if self.on_request is not None:
            # In a thread of its own, so that it may hold this answer back and no other.
            await asyncio.to_thread(self.on_request, request.method, path)
        response = await self.answer(request, path)
        log.info("%s %s %d", request.method, path, response.status_code)
        await response(scope, receive, send)

    async def answer(self, request: Request, path: str) -> Response:
        """A planned failure if one meets the request, else what its operation or a refusal says."""
        try:
            with self.lock:
                if not path.startswith("/api/"):
                    return pages.answer(self.workspace, request, path)
                for failure in self.planned_failures:
                    if failure.meets(request.method, path):
                        failure.times -= 1
                        return failure.response()
                root = root_of(path)
                # Nothing is read from somebody who is not let in.
                self.check_token(root, request.headers.get("authorization", ""))
                operation, parts = route(root, request.method, path)
            body = json_body(request, await body_of(request))
            with self.lock:
                call = Call(
                    root == V2,
                    f"{str(request.base_url).rstrip('/')}{path}",
                    parts,
                    request.query_params,
                    body,
                )
                return operation(self.workspace, call)
        except Refusal as refusal:
            return refusal.response()

    def check_token(self, root: str, authorization: str) -> None:
        """:class:`Refusal` (401) unless it is the token of this version of the API."""
        if root == V2:
            accepted = {"bearer": self.personal_access_token}
            refusal = Refusal(401, "API v2 takes the sandbox's personal access token alone, as Bearer")
        else:
            basic = base64.b64encode(f"bearer:{self.token}".encode()).decode()
            accepted = {"bearer": self.token, "basic": basic}
            refusal = Refusal(401, "the token is missing or not the sandbox's")
        scheme, _, credentials = authorization.partition(" ")
        if accepted.get(scheme.lower()) != credentials:
            raise refusal


def root_of(path: str) -> str:
    """The root of the API that a path is below; :class:`Refusal` (404) when there is none."""
    for root in ROUTES:
        if path.startswith(f"{root}/"):
            return root
    raise Refusal(404, f"the API is below {V1} and {V2}")


def route(root: str, method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """The operation behind a path, and the path's variable parts."""
    for known_method, template, operation in ROUTES[root]:
        parts = match(f"{root}{template}", path)
        if known_method == method and parts is not None:
            return operation, parts
    raise Refusal(404, f"there is no {method} {path}")


def match(template: str, path: str) -> dict[str, str] | None:
    """The variable parts of a path, unescaped; None when it does not fit the template."""
    names, values = template.split("/"), path.split("/")
    if len(names) != len(values):
        return None
    parts = {}
    for name, value in zip(names, values, strict=True):
        if name.startswith("{"):
            parts[name.strip("{}")] = unquote(value)
        elif name != value:
            return None
    return parts


async def body_of(request: Request) -> bytes:
    """The body of a request; :class:`Refusal` (413, 400) when it is too long or breaks off."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_BODY:
                raise Refusal(413, f"the body is longer than {LONGEST_BODY} bytes")
    except ClientDisconnect:
        raise Refusal(400, "the body breaks off") from None
    return body


def json_body(request: Request, body: bytes) -> dict[str, Any]:
    """The object in a body, empty when that is; :class:`Refusal` (415, 400) when it is no JSON object."""
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refusal(415, "Content-Type must be application/json")
    try:
        content = json.loads(body)
        if is_deeper_than(DEEPEST_BODY, content):
            raise Refusal(400, f"the body is nested deeper than {DEEPEST_BODY} levels")
        # What cannot be sent back, such as NaN or half a character, is not taken in.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(content, dict):
        raise Refusal(400, "the body must be a JSON object")
    return content


def is_deeper_than(levels: int, content: Any) -> bool:
    """Whether lists and objects are nested deeper than so many levels."""
    if not isinstance(content, (dict, list)):
        return False
    inner = content.values() if isinstance(content, dict) else content
    return levels == 0 or any(is_deeper_than(levels - 1, each) for each in inner)

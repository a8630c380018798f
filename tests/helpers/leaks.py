# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A token and a record that must lie nowhere, what Census may say of them, and how to find them."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import pickle
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = 'secret-token:Zk4/vB7+qH2=mT9"xW5\\cR8&jL3pQ7sN6'
RECORD = {"email": "ada@records.test", "phone": "+1 555 0147", "note": "owes 4711 crowns"}

SAID = " | ".join(
    [TOKEN, f"Bearer {TOKEN}", quote(TOKEN, safe=""), html.escape(TOKEN)]
    + [base64.b64encode(before + TOKEN.encode()).decode() for before in (b"", b"x", b"Bearer ")]
)
"""What Census may say of the token: one line of ASCII, which a header can hold, too."""

LOGGERS = (
    *("urllib3", "urllib3.connection", "urllib3.connectionpool", "requests", "asyncio"),
    *("aiohttp", "aiohttp.client", "aiohttp.internal", "airflow", "airflow_provider_census"),
)
"""Those that there may not be yet, and that must be at DEBUG all the same."""


def encodings(secret: str) -> set[bytes]:
    """A text as it is, and as what stores or sends it may write it."""
    plain = {secret, quote(secret, safe=""), quote(secret), html.escape(secret), json.dumps(secret)[1:-1]}
    plain |= {json.dumps(each)[1:-1] for each in plain} | {repr(each)[1:-1] for each in plain}
    found = {each.encode() for each in plain}
    for before in ("", "x", "Bearer ", ":"):
        encoded = base64.b64encode((before + secret).encode())
        whole = encoded[4 * ((len(before) + 2) // 3) : -4]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


SECRETS = {form for secret in (TOKEN, *RECORD.values()) for form in encodings(secret)}
TAIL = TOKEN.rpartition("&")[2].encode()
"""The end of the token, which no encoding but base64 changes."""


def found_in(text: bytes) -> list[str]:
    """Find what must not be there."""
    lower = text.lower()  # as that of a header or a host may be
    return [form.decode() for form in (*SECRETS, TAIL) if form in text or form.lower() in lower]


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Gather what all loggers say, at DEBUG, with tracebacks."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)r"))
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    silent = [each for each in known if not each.propagate]
    # Of the others the level is that of the root, and to set it takes time.
    quiet = {each for each in known if each.level or each.disabled or not each.propagate}
    loud = {logging.root, *quiet, *map(logging.getLogger, LOGGERS)}
    before = {each: (each.level, each.disabled) for each in loud}
    for each in loud:
        each.setLevel(logging.DEBUG)
        each.disabled = False
    for each in (logging.root, *silent):
        each.addHandler(handler)
    try:
        yield said
    finally:
        for each in (logging.root, *silent):
            each.removeHandler(handler)
        for each, (level, disabled) in before.items():
            each.setLevel(level)
            each.disabled = disabled


def as_shown(error: BaseException) -> bytes:
    """An error in all forms in which it is stored and shown."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    return shown.encode("utf-8", "replace") + pickle.dumps(error)


def as_reported(error: BaseException) -> bytes:
    """An error as tools report it that show local variables, but for those of tests."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in report.stack if "/tests/" not in frame.filename]
    variables = "\n".join(f"{frame.filename} {frame.locals}" for frame in frames)
    return as_shown(error) + variables.encode("utf-8", "replace")

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Decompressing what Census sends, alike for both transports, and never more of it than is wanted."""

from __future__ import annotations

import zlib

from airflow_provider_census.api.cleaning import cut

ACCEPTED = "gzip, deflate"
"""What requests name in ``Accept-Encoding``."""

WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

STEP = 4096
"""Bytes that are decompressed at a time: of a body with many members, each copies what is left of a step."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """
    Decompress a body up to a limit: HTTP libraries would do all of it, however much that is.

    :param body: as it was sent, whole, or cut at the limit.
    :param encoding: the header ``Content-Encoding``.
    :param limit: bytes of the result at most.
    :raises ValueError: if the body is broken, or has an encoding that was not asked for.
    """
    name = encoding.strip().lower()
    if not body or name in {"", "identity"}:
        return body
    if name not in WINDOWS:
        raise ValueError(f"the response has the encoding {cut(name, 30)!r}, accepted are {ACCEPTED}")
    window = WINDOWS[name]
    if name == "deflate" and body[0] & 0x0F != zlib.DEFLATED:
        window = -zlib.MAX_WBITS  # some servers leave the header out
    try:
        return _decompress(body, window, limit)
    except (zlib.error, EOFError) as error:
        raise ValueError(f"the response cannot be decompressed from {name}: {error}") from None


def _decompress(body: bytes, window: int, limit: int) -> bytes:
    plain = bytearray()
    member = zlib.decompressobj(window)
    for start in range(0, len(body), STEP):
        rest = body[start : start + STEP]
        while rest:
            if member.eof:
                member = zlib.decompressobj(window)
            plain += member.decompress(rest, limit - len(plain))
            if len(plain) == limit:
                return bytes(plain)
            rest = member.unused_data
    if not member.eof and len(body) < limit:
        raise EOFError("it broke off")
    return bytes(plain)

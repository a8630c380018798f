# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a hostile Census, or whoever is between, makes of a right response: one row for each way."""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from leaks import SAID, TOKEN
from stand_in import Fault, close_gently, response

from airflow_provider_census.exceptions import CensusApiError, CensusConnectionError, CensusError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

Act = "Callable[[socket.socket, bytes], None]"
ALL = ("run", "trigger", "cancel")


@dataclass(frozen=True)
class Row:
    """
    What is sent instead of the right response, and what a request makes of it.

    :ivar act: what is done with the connection, given the right response.
    :ivar error: what the request fails with; ``None`` if it reads the right response all the same.
    :ivar words: what the message says.
    :ivar timeout: of the connection, in seconds; short where it is reached.
    :ivar operations: the requests for which that is so.
    """

    act: Callable[[socket.socket, bytes], None]
    error: type[CensusError] | None = None
    words: str = ""
    timeout: float = 5.0
    operations: tuple[str, ...] = ALL

    def fault(self, *, executed: bool) -> Fault:
        return Fault("hostile", self.act, executed)


def parts(right: bytes) -> tuple[bytes, bytes]:
    """Split a response into the lines of its head, and its body."""
    head, _, body = right.partition(b"\r\n\r\n")
    return head, body


def before(*sent: bytes, pause: float = 0.0) -> Any:
    """Send this, and then the right response."""

    def act(connection: socket.socket, right: bytes) -> None:
        for each in sent:
            connection.sendall(each)
        time.sleep(pause)
        connection.sendall(right)
        close_gently(connection)

    return act


def instead(*sent: bytes) -> Any:
    """Send this."""

    def act(connection: socket.socket, right: bytes) -> None:
        for each in sent:
            connection.sendall(each)
        close_gently(connection)

    return act


def for_ever(head: bytes, part: bytes, pause: float = 0.0) -> Any:
    """Send this, and then that again and again, until the caller goes away."""

    def act(connection: socket.socket, right: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(part)
            time.sleep(pause)

    return act


def with_body(change: Callable[[bytes], bytes], **headers: str) -> Any:
    """Send the right response with another body."""

    def act(connection: socket.socket, right: bytes) -> None:
        connection.sendall(response(change(parts(right)[1]), Connection="close", **headers))
        close_gently(connection)

    return act


def with_headers(*lines: bytes, body: Callable[[bytes], bytes] = bytes) -> Any:
    """Send the right body behind these lines."""

    def act(connection: socket.socket, right: bytes) -> None:
        content = body(parts(right)[1])
        filled = [line.replace(b"LENGTH", b"%d" % len(content)) for line in lines]
        connection.sendall(b"\r\n".join([b"HTTP/1.1 200 OK", *filled, b"Connection: close", b"", content]))
        close_gently(connection)

    return act


def with_id(value: Any) -> Any:
    """Say another id than the right one: ``value``, or what it makes of the right one."""

    def change(body: bytes) -> bytes:
        answer = json.loads(body)
        data = answer.setdefault("data", {"sync_run_id": 1})
        for key in {"id", "sync_run_id"} & data.keys():
            data[key] = value(data[key]) if callable(value) else value
        return json.dumps(answer).encode()

    return with_body(change)


def with_data(text: str) -> Any:
    """Put this JSON before the data of the response, as it is written."""
    return with_body(lambda body: re.sub(rb'"data": {(?=")', lambda data: data[0] + text.encode(), body))


def chunks(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def members(body: bytes) -> bytes:
    """Compress each byte by itself, between empty members."""
    empty = gzip.compress(b"")
    return b"".join(gzip.compress(body[at : at + 1]) + empty * 20 for at in range(len(body)))


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


def bomb(wbits: int, megabytes: int = 256) -> bytes:
    """Compress blanks: each megabyte but the first is the same bytes. Nobody reads as far as the end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    first = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (megabytes - 1)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TOLD = SAID.encode()
"""What repeats the token, wherever there is room for a text."""

FIELD = b"X: %s\r\n" % TOLD

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: <%s>; rel=preload\r\n\r\n" % TOLD
LATE = 0.2
LOST, API = CensusConnectionError, CensusApiError
IN_TIME = rf"no response within {LATE:g} s"


def redirect(where: str, status: int = 302) -> Row:
    return Row(instead(response(b"", status, Location=where, Connection="close")), API, "redirected to ")


def says_id(value: Any, words: str = "id") -> Row:
    return Row(with_id(value), API, words, operations=("run", "trigger"))


ROWS = {
    # interim responses
    "100": Row(before(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "102": Row(before(b"HTTP/1.1 102 Processing\r\n\r\n")),
    "102, then nothing for a while": Row(before(b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.1)),
    "103": Row(before(HINTS)),
    "103, 100 and 103": Row(before(HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", HINTS)),
    "fifty of 102": Row(before(b"HTTP/1.1 102 Processing\r\n\r\n" * 50)),
    "101": Row(
        before(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), LOST, "101"
    ),
    "100 for ever": Row(for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001), LOST, IN_TIME, LATE),
    "103 for ever": Row(for_ever(b"", HINTS, 0.001), LOST, IN_TIME, LATE),
    "103 and no more": Row(instead(HINTS), LOST),
    # no HTTP
    "HTTP/0.9": Row(instead(TOLD + b'{"status": "success", "data": {}}'), LOST),
    "a page without a head": Row(instead(b"<html>%s\r\n\r\nlog in</html>" % TOLD), LOST),
    "bytes": Row(instead(bytes(range(256)) * 40), LOST),
    "another protocol": Row(instead(b"SSH-2.0-OpenSSH_9.9\r\n"), LOST),
    "HTTP/2": Row(instead(b"HTTP/2 200 %s\r\n\r\n" % TOLD), LOST),
    "a status that is none": Row(instead(b"HTTP/1.1 %s\r\n\r\n" % TOLD), LOST),
    "status 99": Row(instead(b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"), LOST),
    "status 999": Row(instead(response(TOLD, 999, Connection="close")), API, "HTTP 999"),
    # framing
    "Content-Length is too high": Row(with_headers(b"Content-Length: 9999"), LOST),
    "Content-Length is too low": Row(with_headers(b"Content-Length: 5"), CensusError),
    "Content-Length twice": Row(with_headers(b"Content-Length: LENGTH", b"Content-Length: LENGTH"), LOST),
    "two Content-Lengths": Row(with_headers(b"Content-Length: LENGTH", b"Content-Length: 5"), LOST),
    "a list of Content-Lengths": Row(with_headers(b"Content-Length: LENGTH, LENGTH"), LOST),
    "Content-Length is negative": Row(with_headers(b"Content-Length: -1"), LOST),
    "Content-Length is no number": Row(with_headers(b"Content-Length: " + TOLD), LOST),
    "Content-Length and chunks": Row(
        with_headers(b"Content-Length: LENGTH", b"Transfer-Encoding: chunked", body=chunks), LOST
    ),
    "chunks": Row(with_headers(b"Transfer-Encoding: chunked", body=chunks)),
    "a chunk of no length": Row(instead(CHUNKED, TOLD + b"\r\n{}\r\n0\r\n\r\n"), LOST, "", LATE),
    "a chunk of negative length": Row(instead(CHUNKED, b"-5\r\n{}\r\n0\r\n\r\n"), LOST, "", LATE),
    "chunks without an end": Row(
        with_headers(b"Transfer-Encoding: chunked", body=lambda body: chunks(body)[:-5]), LOST
    ),
    "a length of a chunk for ever": Row(for_ever(CHUNKED, b"1;" + TOLD * 10), LOST, "", 0.5),
    # headers
    "a line that is no header": Row(
        with_headers(b"X: y", TOLD.replace(b":", b" "), b"Content-Length: LENGTH"), LOST, "header"
    ),
    "a header without a name": Row(with_headers(b": " + TOLD, b"Content-Length: LENGTH"), LOST, "header"),
    "a space in the name of a header": Row(
        with_headers(b"X y: " + TOLD, b"Content-Length: LENGTH"), LOST, "header"
    ),
    "NUL in the name of a header": Row(
        with_headers(b"X\0: " + TOLD, b"Content-Length: LENGTH"), LOST, "header"
    ),
    "a header of many lines": Row(with_headers(b"X: y", *[b"\t" + TOLD] * 9, b"Content-Length: LENGTH")),
    "odd cookies": Row(
        with_headers(
            *[
                b"Set-Cookie: " + cookie + TOLD
                for cookie in (b"", b"(=", b"\x7f=", b"x=y; domain=", b"x=y; expires=")
            ],
            b"Set-Cookie: (%s)=x" % quote(TOKEN, safe="").encode(),
            b"Content-Length: LENGTH",
        )
    ),
    "the token in headers that are read": Row(
        with_headers(
            *[
                each + TOLD
                for each in (b"Date: ", b"Retry-After: ", b"Location: ", b"Content-Type: x/y; charset=")
            ],
            b"Content-Length: LENGTH",
        )
    ),
    "the token as an encoding": Row(with_headers(b"Content-Encoding: " + TOLD), LOST, r"encoding '\*\*\* "),
    "trailers for ever": Row(for_ever(CHUNKED + b"0\r\n", FIELD, 0.001), LOST, "", LATE),
    # too much, too slow
    "ten thousand headers": Row(before(b"HTTP/1.1 200 OK\r\n" + FIELD * 10_000), LOST),
    "a header of a megabyte": Row(before(b"HTTP/1.1 200 OK\r\nX: " + TOLD * 4000 + b"\r\n"), LOST),
    "headers for ever": Row(for_ever(b"HTTP/1.1 200 OK\r\n", FIELD * 100), LOST, "", 0.5),
    "headers that drip": Row(for_ever(b"HTTP/1.1 200 OK\r\n", FIELD, 0.02), LOST, IN_TIME, LATE),
    "a status that drips": Row(for_ever(b"HTTP/1.1 200 ", b"O", 0.02), LOST, IN_TIME, LATE),
    "a body that drips": Row(
        for_ever(response(b"", Content_Length="99999"), b" ", 0.02), LOST, IN_TIME, LATE
    ),
    "chunks that drip": Row(for_ever(CHUNKED, b"1\r\n \r\n", 0.02), LOST, IN_TIME, LATE),
    "a body for ever": Row(for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536), API, "longer than 8 MiB"),
    "an error page for ever": Row(
        for_ever(b"HTTP/1.1 500 Oh\r\n\r\n", TOLD * 200), API, r"HTTP 500: \*\*\* \|"
    ),
    "an error page that drips": Row(for_ever(b"HTTP/1.1 500 Oh\r\n\r\n", b"x", 0.02), LOST, IN_TIME, LATE),
    "a redirect for ever": Row(
        for_ever(b"HTTP/1.1 302 x\r\nLocation: http://x.test/\r\n\r\n", TOLD * 200), API, "redirected"
    ),
    "a redirect that drips": Row(
        for_ever(b"HTTP/1.1 302 x\r\nLocation: http://x.test/\r\n\r\n", b"x", 0.02), API, "redirected"
    ),
    # encodings
    "gzip": Row(with_body(gzip.compress, Content_Encoding="gzip")),
    "x-gzip": Row(with_body(gzip.compress, Content_Encoding="x-gzip")),
    "gzip of many members": Row(with_body(members, Content_Encoding="gzip")),
    "deflate": Row(with_body(zlib.compress, Content_Encoding="deflate")),
    "deflate without a header": Row(with_body(raw_deflate, Content_Encoding="deflate")),
    "identity": Row(with_body(bytes, Content_Encoding="identity")),
    "gzip that is none": Row(with_body(bytes, Content_Encoding="gzip"), LOST, "gzip"),
    "gzip that breaks off": Row(
        with_body(lambda body: gzip.compress(body)[:-9], Content_Encoding="gzip"), LOST, "gzip"
    ),
    "gzip and more": Row(
        with_body(lambda body: gzip.compress(body) + b"more", Content_Encoding="gzip"), LOST, "gzip"
    ),
    "gzip of gzip": Row(
        with_body(lambda body: gzip.compress(gzip.compress(body)), Content_Encoding="gzip, gzip"),
        LOST,
        "'gzip, gzip'",
    ),
    "br": Row(with_body(bytes, Content_Encoding="br"), LOST, "'br'"),
    "zstd": Row(with_body(bytes, Content_Encoding="zstd"), LOST, "'zstd'"),
    "an unknown encoding": Row(with_body(bytes, Content_Encoding="\x1b[31m" + "x" * 900), LOST, "x…"),
    "a gzip bomb": Row(instead(response(bomb(31), Content_Encoding="gzip")), API, "longer than 8 MiB"),
    "a deflate bomb": Row(instead(response(bomb(15), Content_Encoding="deflate")), API, "longer than 8 MiB"),
    "a gzip bomb in an error": Row(
        instead(response(bomb(31), 500, Content_Encoding="gzip")), API, "HTTP 500"
    ),
    "a gzip bomb in a redirect": Row(
        instead(response(bomb(31), 302, Content_Encoding="gzip", Location="http://x.test/")),
        API,
        "redirected",
    ),
    # JSON
    "UTF-16": Row(with_body(lambda body: body.decode().encode("utf-16")), API, "not JSON"),
    "NUL": Row(with_body(lambda body: b"\0" + body), API, "not JSON"),
    "NUL in a text": Row(with_data('"current_step": "a\\u0000b", ')),
    "half a character": Row(with_data('"current_step": "a\\ud83d", ')),
    "millions of lists": Row(with_data('"x": [' + "[]," * 2_700_000 + "0], "), API, "values"),
    "millions of numbers": Row(with_data('"x": [' + "1," * 4_000_000 + "0], "), API, "values"),
    "deep JSON": Row(with_body(lambda body: b"[" * 100_000), API, "not JSON"),
    "a deep field": Row(with_data('"x": ' + "[" * 500 + "]" * 500 + ", ")),
    "doubled keys": Row(with_data('"id": 4711, "sync_run_id": 4711, "status": "failed", ')),
    "NaN": Row(with_data('"records_invalid": NaN, "x": Infinity, ')),
    "a number of many digits": Row(with_data('"x": ' + "9" * 4000 + ", ")),
    # ids
    "an id as a text": Row(with_id(str)),
    "an id as a float": Row(with_id(float)),
    "an id that is a fraction": says_id(0.5),
    "an id that is true": says_id(True),
    "an id that is negative": says_id(-5),
    "an id that is zero": says_id(0),
    "an id beyond 64 bits": says_id(10**25),
    # a run without an id, which older documents have, is the one that was asked for
    "an id that is NaN": Row(with_id(float("nan")), API, "id", operations=("trigger",)),
    "an id that is a list": says_id([94]),
    "the id of another run": Row(with_id(4711), API, "4711", operations=("run",)),
    # redirects
    "redirected to another host": redirect("http://elsewhere.test/api/v1/sync_runs/1"),
    "redirected to http": redirect("http://127.0.0.1/", 301),
    "redirected to a file": redirect("file:///etc/passwd", 307),
    "redirected to a script": redirect("javascript:alert(1)", 308),
    "redirected to nowhere": redirect("", 303),
    "redirected with the token": redirect(f"http://{quote(TOKEN, safe='')}@x.test/{quote(SAID)}"),
    "redirected to the token": redirect(f"http://{quote(TOKEN, safe='')}/{quote(SAID)}"),
    "redirected to a scheme of the token": redirect(f"{SAID}://x.test/"),
}

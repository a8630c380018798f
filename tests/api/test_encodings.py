# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Decompressing a body up to a limit."""

from __future__ import annotations

import gzip
import zlib

import pytest

from airflow_provider_census.api.encodings import decompress

TEXT = b"some text, " * 1000
LIMIT = len(TEXT) + 1


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), " GZip "),
        (gzip.compress(TEXT), "x-gzip"),
        (gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]), "gzip"),
        (gzip.compress(b"") * 1000 + gzip.compress(TEXT), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (zlib.compress(TEXT)[2:-4], "deflate"),
    ],
)
def test_a_body_is_decompressed(body: bytes, encoding: str) -> None:
    assert decompress(body, encoding, LIMIT) == TEXT


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "br"])
def test_no_body_has_any_encoding(encoding: str) -> None:
    assert decompress(b"", encoding, LIMIT) == b""


@pytest.mark.parametrize("limit", [1, 10, len(TEXT)])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_no_more_than_the_limit_is_decompressed(encoding: str, limit: int) -> None:
    body = gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)
    assert decompress(body, encoding, limit) == TEXT[:limit]


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (TEXT, "gzip", "cannot be decompressed from gzip"),
        (gzip.compress(TEXT)[:-9], "gzip", "it broke off"),
        (gzip.compress(TEXT) + b"more", "gzip", "cannot be decompressed from gzip"),
        (b"\xff" * 9, "deflate", "cannot be decompressed from deflate"),
        (TEXT, "br", "the encoding 'br', accepted are gzip, deflate"),
        (TEXT, "gzip, gzip", "the encoding 'gzip, gzip'"),
        (TEXT, "x" * 10_000, "x…'"),
    ],
)
def test_what_cannot_be_decompressed_is_an_error(body: bytes, encoding: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        decompress(body, encoding, LIMIT)
    assert len(str(caught.value)) < 200

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What Census wrote, made harmless: without the API token, and such that all that reads it can take it."""

from __future__ import annotations

import base64
import functools
import html
import re
from typing import Any

MAX_DEPTH = 50
"""Levels of nesting that are kept of what Census responds."""

UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that a database or an encoding cannot hold, or that command a terminal."""

COMMAND = re.compile(r":(?=:)|##(?=\[)")
"""What begins a command in a log, such as Airflow's ``::group::``."""

MAX_EXCERPT = 300
"""Characters of an unexpected response that an error message quotes."""


def storable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """
    Replace what JSON can hold and a database, an XCom or a message between Airflow's processes cannot.

    Half a character and control characters become the replacement character, and what is nested deeper than
    :data:`MAX_DEPTH` an ellipsis; of numbers there are only those that
    :data:`~airflow_provider_census.api.responses.DECODER` makes.
    """
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, (dict, list)) and depth == 0:
        return "…"
    if isinstance(value, dict):
        return {storable(key): storable(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list):
        return [storable(each, depth - 1) for each in value]
    return value


def one_line(text: object, length: int = MAX_EXCERPT) -> str:
    """
    Make a text fit for a line of a log or a message: one line, printable, no command to what shows logs.

    :param length: characters that are kept at most.
    """
    given = str(text)[: 8 * length]
    line = " ".join("".join([char if char.isprintable() else " " for char in given]).split())
    return cut(COMMAND.sub(r"\g<0> ", line), length)


def cut(text: str, length: int = MAX_EXCERPT) -> str:
    """Cut a text at a length."""
    return text if len(text) <= length else text[:length] + "…"


def writable(text: str) -> str:
    """Replace halves of characters, which no encoding can write."""
    return text.encode("utf-8", "replace").decode()


def visible(value: Any) -> Any:
    """Escape in all texts what a terminal would obey: some of it comes from the records that were synced."""
    if isinstance(value, dict):
        return {visible(key): visible(each) for key, each in value.items()}
    if isinstance(value, list):
        return [visible(each) for each in value]
    if not isinstance(value, str):
        return value
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in value)


def redact(token: str, text: bytes) -> bytes:
    """Put stars where a text has the token: as it is, in base64, or as JSON, HTML and URLs write it."""
    if not token:
        return text
    for form in _forms_of(token):
        text = text.replace(form, b"***")
    if any(sign in text for sign in (b"\\", b"%", b"&")):  # else nothing in it can be written otherwise
        text = _escaped(token).sub(b"***", text)
    return text


@functools.lru_cache(maxsize=32)
def _forms_of(token: str) -> list[bytes]:
    """Give a token as it is, and what base64 has of it wherever it begins in what is encoded."""
    forms = [token.encode()]
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + token.encode() + bytes(3))
        own = encoded[4 if before else 0 : (before + len(token)) // 3 * 4]  # without what neighbours share
        if len(own) > 8:  # else it may be anything
            forms += {own, own.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms


@functools.lru_cache(maxsize=32)
def _escaped(token: str) -> re.Pattern[bytes]:
    r"""
    Make a pattern of the ways to write each character of a token.

    They begin with different characters, as long as the token has no ``\``, ``%`` or ``&``; so a text is read
    once, however much of the token it has.
    """
    return re.compile("".join(map(_forms, token)).encode())


def _forms(char: str) -> str:
    code = ord(char)

    def digits(number: str) -> str:
        return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in number)

    named = html.escape(char).removeprefix("&") if char in "&<>\"'" else ""
    entity = rf"&(?:#0*{code};|#[xX]0*{digits(f'{code:x}')};" + (f"|{named})" if named else ")")
    unicode = rf"\\(?:[uU]{digits(f'{code:04x}')}" + (rf"|{re.escape(char)})" if char in '/"\\' else ")")
    return f"(?:{re.escape(char)}|%{digits(f'{code:02x}')}|{entity}|{unicode})"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What becomes of texts that Census wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_census.api.cleaning import one_line, storable


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Loading data", "Loading data"),
        ("Größe: 5 €, 日本", "Größe: 5 €, 日本"),
        ("one\ntwo\r\n\tthree ", "one two three"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("::group::x", ": :group: :x"),
        ("##[group]x", "## [group]x"),
        ("a: b # c [d]", "a: b # c [d]"),
        (94, "94"),
        (None, "None"),
        ("x" * 301, "x" * 300 + "…"),
    ],
)
def test_a_text_is_one_line(text: object, line: str) -> None:
    assert one_line(text) == line


@given(st.text(), st.integers(1, 50))
def test_a_line_is_short_printable_and_no_command(text: str, length: int) -> None:
    line = one_line(text, length)
    assert len(line) <= length + 1
    assert line.isprintable()
    assert "::" not in line
    assert "##[" not in line


def test_data_keeps_its_lines_and_loses_what_commands_a_terminal() -> None:
    assert storable({"sql\x1b": ["select 1 -- one\n\tfrom x\r\n", "\x9b31m", 1, None]}) == {
        "sql\ufffd": ["select 1 -- one\n\tfrom x\r\n", "\ufffd31m", 1, None]
    }

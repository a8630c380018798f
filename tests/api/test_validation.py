# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each check takes an argument to, and that it refuses every other value by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest

from airflow_provider_census.api import validation

Check = Callable[[str, Any], Any]

TEMPLATE = "{{ ti.xcom_pull() }}"
TO_TEN = partial(validation.check_int, low=1, high=10)
FROM_ZERO = partial(validation.check_int, low=0)
ORDER = partial(validation.check_choice, allowed=("asc", "desc"))


def check_flag(argument: str, value: Any) -> None:
    validation.check_bool(**{argument: value})


TAKEN: list[tuple[Check, Any, Any]] = [
    *[
        (validation.check_id, value, str(value))
        for value in (52, "52", "052", "snowflake", "a/b c?", "é", 10**30)
    ],
    *[(validation.check_slug_or_id, value, str(value)) for value in (4, "4", "big query")],
    *[(validation.check_name, value, value) for value in ("user", " user", "a/b", "...", "ü", "{x}")],
    (validation.check_json_body, {"a": [1, None, {"b": "ü"}]}, {"a": [1, None, {"b": "ü"}]}),
    (validation.check_json_body, MappingProxyType({"a": 1}), {"a": 1}),
    *[(TO_TEN, value, value) for value in (1, 10)],
    *[(FROM_ZERO, value, value) for value in (0, 10**30)],
    *[(ORDER, value, value) for value in ("asc", "desc")],
    *[(check_flag, value, None) for value in (True, False)],
    *[(validation.to_bool, value, True) for value in (True, "true", "True", " TRUE\n")],
    *[(validation.to_bool, value, False) for value in (False, "false", "False")],
    (validation.to_seconds, 1, 1.0),
    (validation.to_seconds, 0.001, 0.001),
    (validation.to_seconds, timedelta(minutes=2), 120.0),
    (validation.to_seconds, validation.TEN_YEARS, validation.TEN_YEARS),
]

REFUSED: list[tuple[Check, Any]] = [
    *[(validation.check_id, value) for value in (None, "", " ", 0, -1, True, 1.5, b"5", [5], "0", "00")],
    *[
        (validation.check_id, value)
        for value in ("-1", "+1", " 5", "5\n", "\uff15", "²", ".", "..", "\ud800")
    ],
    *[(validation.check_id, value) for value in (TEMPLATE, "{% x %}")],
    *[(validation.check_slug_or_id, value) for value in (None, "", 0, True, 1.5, "-1", "..", TEMPLATE)],
    *[(validation.check_name, value) for value in (None, "", " ", 5, True, ".", "..", "\ud800", TEMPLATE)],
    *[(validation.check_json_body, value) for value in (None, "x", [("a", 1)])],
    (validation.check_json_body, {}),
    *[(validation.check_json_body, {"a": value}) for value in (Ellipsis, {1}, float("nan"), float("inf"))],
    *[(TO_TEN, value) for value in (0, 11, -1, True, 1.0, "5", None)],
    *[(FROM_ZERO, value) for value in (-1, False, 0.0)],
    *[(ORDER, value) for value in ("", "ASC", 1, None, ["asc"])],
    *[(check_flag, value) for value in (None, 0, 1, "true", TEMPLATE)],
    *[(validation.to_bool, value) for value in (None, 0, 1, "", "yes", "1", TEMPLATE)],
    *[(validation.to_seconds, value) for value in (None, 0, -1, True, "5", float("nan"), float("inf"), [5])],
    *[(validation.to_seconds, value) for value in (timedelta(0), timedelta(days=-1), timedelta(days=3651))],
]


def name_of(value: Any) -> str:
    function = value.func if isinstance(value, partial) else value
    return getattr(function, "__name__", ascii(value))


@pytest.mark.parametrize(("check", "value", "taken"), TAKEN, ids=name_of)
def test_what_can_be_used_is_taken(check: Check, value: Any, taken: Any) -> None:
    assert check("the_argument", value) == taken


@pytest.mark.parametrize(("check", "value"), REFUSED, ids=name_of)
def test_what_cannot_be_used_is_refused_by_name(check: Check, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^the_argument ") as refused:
        check("the_argument", value)
    assert repr(value) in str(refused.value) or "JSON" in str(refused.value)


@pytest.mark.parametrize("check", [validation.check_id, validation.check_slug_or_id, validation.check_name])
def test_a_template_that_nobody_rendered_is_called_that(check: Check) -> None:
    with pytest.raises(ValueError, match=r"^the_argument is the unrendered template '\{\{ x }}'"):
        check("the_argument", "{{ x }}")


def test_an_id_knows_what_it_was_passed_as() -> None:
    assert validation.check_id("sync_id", 52).argument == "sync_id"


def test_all_flags_of_a_call_are_checked() -> None:
    validation.check_bool(one=True, other=False)
    with pytest.raises(ValueError, match=r"^other must be True or False, not 'no'$"):
        validation.check_bool(one=True, other="no")


XCOM = Ellipsis
"""What stands for the result of another task."""


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        *[
            (value, True)
            for value in (None, True, 52, 1.5, "", "52", "snowflake", b"5", [52], (52,), {52}, {5: 2})
        ],
        *[(value, False) for value in (TEMPLATE, "{% x %}", "sync {", XCOM)],
    ],
    ids=ascii,
)
def test_what_a_dag_file_gives_itself(value: Any, literal: bool) -> None:
    assert validation.is_literal(value) == literal


@pytest.mark.parametrize(
    ("sync_id", "sync_label", "refused"),
    [
        (52, None, None),
        ("52", None, None),
        (TEMPLATE, None, None),
        (XCOM, None, None),
        (None, "Completes", None),
        (None, TEMPLATE, None),
        (None, XCOM, None),
        (None, None, "sync_id must be"),
        (0, None, "sync_id must be"),
        ([52], None, "sync_id must be"),
        (None, "", "sync_label must be"),
        (None, 52, "sync_label must be"),
        (52, "Completes", "pass sync_id or sync_label, not both: 52 and 'Completes'"),
        (52, "", "pass sync_id or sync_label, not both"),
        (XCOM, TEMPLATE, "pass sync_id or sync_label, not both"),
    ],
    ids=ascii,
)
def test_a_sync_is_named_by_an_id_or_a_label(sync_id: Any, sync_label: Any, refused: str | None) -> None:
    if refused is None:
        validation.check_sync(sync_id, sync_label)
    else:
        with pytest.raises(ValueError, match=f"^{refused}"):
            validation.check_sync(sync_id, sync_label)

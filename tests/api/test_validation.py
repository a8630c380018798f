# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What each check takes an argument to, and that it refuses every other value by name."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from airflow_provider_census.api import validation
from airflow_provider_census.api.request import Id

Check = Callable[[str, Any], Any]

TEMPLATE = "{{ ti.xcom_pull() }}"
XCOM = SimpleNamespace(resolve=id)  # a function whose name is the same in every process
"""What stands for the result of another task, which Airflow resolves."""
TO_TEN = partial(validation.check_int, low=1, high=10)
FROM_ZERO = partial(validation.check_int, low=0)
ORDER = partial(validation.check_choice, allowed=("asc", "desc"))


TAKEN: list[tuple[Check, Any, Any]] = [
    *[
        (validation.check_id, value, str(value))
        for value in (52, "52", "052", "snowflake", "a/b c?", "é", 10**30)
    ],
    *[(validation.check_slug_or_id, value, str(value)) for value in (4, "4", "big query")],
    *[(validation.check_name, value, value) for value in ("user", " user", "a/b", "...", "ü", "{x}")],
    (validation.check_id, "52.0", "52"),
    (validation.check_json_body, {"a": [1, None, {"b": "ü"}]}, {"a": [1, None, {"b": "ü"}]}),
    (validation.check_json_body, MappingProxyType({"a": 1}), {"a": 1}),
    *[(TO_TEN, value, value) for value in (1, 10)],
    *[(FROM_ZERO, value, value) for value in (0, 10**30)],
    *[(ORDER, value, value) for value in ("asc", "desc")],
    *[(validation.check_bool, value, None) for value in (True, False)],
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
    *[(validation.check_name, value) for value in (None, "", " ", 5.0, True, ".", "..", "\ud800", TEMPLATE)],
    *[(validation.check_json_body, value) for value in (None, "x", [("a", 1)])],
    (validation.check_json_body, {}),
    *[(validation.check_json_body, {"a": value}) for value in (Ellipsis, {1}, float("nan"), float("inf"))],
    *[(TO_TEN, value) for value in (0, 11, -1, True, 1.5, "5", None)],
    *[(FROM_ZERO, value) for value in (-1, False, 0.5)],
    *[(ORDER, value) for value in ("", "ASC", 1, None, ["asc"])],
    *[(validation.check_bool, value) for value in (None, 0, 1, "true", TEMPLATE)],
    *[(validation.to_bool, value) for value in (None, 0, 1, "", "yes", "1", TEMPLATE)],
    *[(validation.to_seconds, value) for value in (None, 0, -1, True, "5", float("nan"), float("inf"), [5])],
    *[(validation.to_seconds, value) for value in (timedelta(0), timedelta(days=-1), timedelta(days=3651))],
]


def name_of(value: Any) -> str:
    function = value.func if isinstance(value, partial) else "XCom" if value is XCOM else value
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


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        *[
            (value, True)
            for value in (
                None,
                True,
                52,
                1.5,
                "",
                "52",
                "snowflake",
                b"5",
                [52],
                (52,),
                {52},
                {5: 2},
                Path("52"),
            )
        ],
        *[(value, False) for value in (TEMPLATE, "{% x %}", "sync {", XCOM)],
    ],
    ids=name_of,
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
        (None, 52, None),
        (None, 52.0, "sync_label must be"),
        (object, None, "sync_id must be"),
        (52, "Completes", "pass sync_id or sync_label, not both: 52 and 'Completes'"),
        (52, "", "pass sync_id or sync_label, not both"),
        (XCOM, TEMPLATE, "pass sync_id or sync_label, not both"),
    ],
    ids=name_of,
)
def test_a_sync_is_named_by_an_id_or_a_label(sync_id: Any, sync_label: Any, refused: str | None) -> None:
    if refused is None:
        validation.check_sync(sync_id, sync_label)
    else:
        with pytest.raises(ValueError, match=f"^{refused}"):
            validation.check_sync(sync_id, sync_label)


class Whole:
    """A whole number as NumPy has them: registered as one, but no ``int``."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"int64({self.value})"


class Span(Whole):
    """A time span as NumPy has them: registered as a whole number, of which it is none."""

    __index__ = None  # type: ignore[assignment]


class Rounded:
    """A number as NumPy's ``float32``, which may have lost digits."""

    def __float__(self) -> float:
        return 52.0

    def __repr__(self) -> str:
        return "float32(52.0)"


class Flag:
    """A flag as NumPy's ``bool_``, which is no ``bool``."""

    def __repr__(self) -> str:
        return "True"


Integral.register(Whole)
Real.register(Rounded)


class Mere(enum.Enum):
    NUMBER, TEXT, WORD = 52, "52", "skip"


class Int(int, enum.Enum):
    NUMBER = 52


class IntEnum(enum.IntEnum):
    NUMBER = 52


class IntFlag(enum.IntFlag):
    NUMBER = 52


class Float(float, enum.Enum):
    NUMBER = 52.0


class Text(str, enum.Enum):
    NUMBER, WORD, FLAG, TEMPLATE = "52", "skip", "true", "{{ x }}"


class Str(str):
    """As Jinja's ``Markup`` and NumPy's ``str_``."""

    def __str__(self) -> str:
        return "another"


AS_NUMBER = {"id": "52", "count": 52, "seconds": 52.0}
AS_DIGITS = AS_NUMBER | {"name": "52"}
NEIGHBOURS: list[tuple[Any, dict[str, Any]]] = [
    # A value, and what it counts as for each argument; for any other argument it is refused.
    (52, AS_DIGITS),
    (Whole(52), AS_DIGITS),
    (Int.NUMBER, AS_DIGITS),
    (IntEnum.NUMBER, AS_DIGITS),
    (IntFlag.NUMBER, AS_DIGITS),
    (52.0, AS_NUMBER),
    (Float.NUMBER, AS_NUMBER),
    (Decimal(52), AS_NUMBER),
    (Decimal("52.00"), AS_NUMBER),
    (Fraction(104, 2), AS_NUMBER),
    (Rounded(), {"seconds": 52.0}),
    (Span(52), {}),
    (2.0**53, {}),
    (0.5, {"seconds": 0.5}),
    (Decimal("0.5"), {"seconds": 0.5}),
    (Decimal("1E+999999"), {}),
    (Fraction(10**400, 3), {}),
    (Decimal("NaN"), {}),
    (Decimal("sNaN"), {}),
    (Decimal("Infinity"), {}),
    (float("nan"), {}),
    (52j, {}),
    ("52", {"id": "52", "name": "52"}),
    (Text.NUMBER, {"id": "52", "name": "52"}),
    (Text.WORD, {"id": "skip", "name": "skip", "choice": "skip"}),
    (Text.FLAG, {"id": "true", "name": "true", "flag": True}),
    (Text.TEMPLATE, {}),
    (Str("skip"), {"id": "skip", "name": "skip", "choice": "skip"}),
    (Mere.NUMBER, {}),
    (Mere.TEXT, {}),
    (Mere.WORD, {}),
    (True, {"flag": True}),
    (Flag(), {"flag": True}),
    (timedelta(seconds=52), {"seconds": 52.0}),
    (b"52", {}),
    (bytearray(b"52"), {}),
    ([52], {}),
    ({"sync_id": 52}, {}),
    (object, {}),
]
if hasattr(enum, "StrEnum"):
    NEIGHBOURS.append((enum.StrEnum("StrEnum", {"NUMBER": "52"}).NUMBER, {"id": "52", "name": "52"}))

CHECKS: dict[str, Check] = {
    "id": validation.check_id,
    "name": validation.check_name,
    "count": FROM_ZERO,
    "seconds": validation.to_seconds,
    "flag": validation.to_bool,
    "choice": partial(validation.check_choice, allowed=("fail", "skip")),
}


@pytest.mark.parametrize("argument", CHECKS)
@pytest.mark.parametrize(("value", "counts"), NEIGHBOURS, ids=name_of)
def test_a_value_of_a_neighbouring_type_counts_where_it_is_plain(
    argument: str, value: Any, counts: dict[str, Any]
) -> None:
    check = CHECKS[argument]
    if argument in counts:
        taken = check(argument, value)
        assert taken == counts[argument]
        # Nothing of the other type goes on to where it would be written out: Id is our own.
        assert type(taken) in {str, int, float, bool, Id}
    else:
        with pytest.raises(ValueError, match=f"^{argument} "):
            check(argument, value)


class Task(SimpleNamespace):
    """Has arguments."""


ARGUMENTS: dict[str, Check] = {
    "timeout": validation.to_seconds,
    "count": validation.optional(FROM_ZERO),
    "flag": validation.to_bool,
}


def test_a_template_is_not_checked_before_it_is_rendered() -> None:
    task = Task(timeout=TEMPLATE, count=XCOM, flag="{% x %}")
    given = vars(task).copy()
    validation.check_literals(task, ARGUMENTS, {})
    assert vars(task) == given
    for argument, rendered in {"timeout": "2.5", "count": " 3 ", "flag": "False"}.items():
        setattr(task, argument, rendered)
    validation.take_arguments(task, ARGUMENTS, {})
    assert vars(task) == {"timeout": 2.5, "count": 3, "flag": False}
    task.timeout = "5e-05"  # as Python writes 0.00005
    validation.take_arguments(task, ARGUMENTS, {})
    assert task.timeout == 0.00005


@pytest.mark.parametrize(
    ("argument", "value"),
    [("timeout", "soon"), ("count", "1.5"), ("count", "None"), ("flag", "1"), ("timeout", "0")],
)
def test_what_a_template_makes_of_an_argument_is_checked(argument: str, value: str) -> None:
    task = Task(**{"timeout": 5, "count": None, "flag": True, argument: value})
    with pytest.raises(ValueError, match=f"^{argument} must be"):
        validation.take_arguments(task, ARGUMENTS, {})


def test_what_a_dag_file_gives_is_checked_and_kept() -> None:
    task = Task(timeout=Decimal(5), count=None, flag="True")
    given = vars(task).copy()
    validation.check_literals(task, ARGUMENTS, {})
    assert vars(task) == given
    task.timeout = "5"
    with pytest.raises(ValueError, match=r"^timeout must be"):
        validation.check_literals(task, ARGUMENTS, {})


def test_what_was_checked_is_checked_anew_only_if_another_value_is_there() -> None:
    asked: list[object] = []

    def check(argument: str, value: object) -> float:
        asked.append(value)
        return validation.to_seconds(argument, value)

    task = Task(timeout=timedelta(minutes=1), count=None, flag=True)
    checked = validation.check_literals(task, {"timeout": check}, {})
    validation.take_arguments(task, {"timeout": check}, checked)
    assert (task.timeout, asked) == (60.0, [timedelta(minutes=1)])
    task.timeout = -1  # by a cluster policy
    with pytest.raises(ValueError, match=r"^timeout must be"):
        validation.take_arguments(task, {"timeout": check}, checked)


def test_half_a_character_is_no_text() -> None:
    for check in (validation.check_text, validation.check_name, validation.check_id):
        with pytest.raises(ValueError, match="half a character"):
            check("name", "\ud83d")

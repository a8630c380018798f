# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The hook: methods made of operations, the connection behind them, and what its Test button says."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import socket
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_census.api import endpoints, types
from airflow_provider_census.exceptions import CensusConfigError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox

LIFTED = sorted(name for name, method in vars(CensusHook).items() if hasattr(method, "__signature__"))
TOKEN = "secret-token:abc"


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> CensusHook:
    conn = {"conn_type": "census", "password": TOKEN, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
    return CensusHook()


@pytest.mark.parametrize("name", LIFTED)
def test_a_lifted_method_looks_like_its_operation(name: str) -> None:
    twin = name.startswith("iter_")
    operation = getattr(endpoints, name.replace("iter_", "list_", 1) if twin else name)
    method = getattr(CensusHook, name)
    wanted, found = inspect.signature(operation), inspect.signature(method)
    this, *parameters = found.parameters.values()
    assert (this.name, this.kind) == ("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert parameters == list(wanted.parameters.values())
    given = found.return_annotation.replace("Iterator[", "list[", 1) if twin else found.return_annotation
    assert (f"Request[{given}]", twin) == (wanted.return_annotation, given != found.return_annotation)
    assert method.__annotations__ == {**operation.__annotations__, "return": found.return_annotation}
    assert method.__name__ == name
    assert method.__qualname__ == f"CensusHook.{name}"
    assert method.__doc__.strip()
    assert (
        (f":meth:`{operation.__name__}`" in method.__doc__) if twin else (method.__doc__ == operation.__doc__)
    )
    [gets] = typing.get_args(typing.get_type_hints(operation)["return"])
    names = {**vars(endpoints), "Iterator": Iterator}
    if twin:
        [item] = typing.get_args(gets)
        gets = Iterator[item]
    assert typing.get_type_hints(method, names)["return"] == gets
    assert list(inspect.signature(getattr(CensusHook(), name)).parameters) == list(wanted.parameters)


def test_a_method_made_by_hand_takes_what_its_operation_takes() -> None:
    wanted = inspect.signature(endpoints.trigger_sync).parameters
    found = inspect.signature(CensusHook.trigger_sync).parameters
    assert {name: found[name] for name in wanted} == dict(wanted)


def test_a_type_checker_sees_through_the_lift(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "from typing_extensions import assert_type\n"
        "from airflow_provider_census.api import endpoints\n"
        "from airflow_provider_census.api.types import Source, SyncRun\n"
        "from airflow_provider_census.hooks.census import CensusHook\n"
        "hook = CensusHook()\n"
        "assert_type(hook.get_source('slug'), Source)\n"
        "assert_type(hook.list_sync_runs(52, page=1), list[SyncRun])\n"
        "assert_type(hook.create_sync({'label': 'x', 'of another time': 1}), int)\n"
        "assert_type(hook.run(endpoints.get_sync_run(94)), SyncRun)\n"
        "assert_type(next(hook.iter_sources()), Source)\n"
        "async def later() -> None:\n"
        "    assert_type(await hook.arun(endpoints.list_sources()), list[Source])\n"
        "hook.get_source(1.5)\n"
        "hook.list_sync_runs(52, pages=1)\n"
        "hook.list_sync_runs(52, 'asc')\n"
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", snippet],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    complaints = re.findall(r"snippet\.py:(\d+): error: (.*) \[", checked.stdout)
    assert [line for line, _ in complaints] == ["13", "14", "15"], checked.stdout
    for (_, complaint), reason in zip(complaints, ("type", "pages", "positional"), strict=True):
        assert reason in complaint


@pytest.mark.parametrize("name", ["census_default", "elsewhere"])
def test_a_hook_reads_its_own_connection_once(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", census.connection_uri)
    hook = CensusHook(name)
    assert len(hook.list_sources()) == 2
    monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}")
    assert asyncio.run(hook.arun(endpoints.get_source(4)))["id"] == 4
    assert hook.list_destinations()


def test_nothing_that_the_hook_holds_shows_the_token(census: Sandbox) -> None:
    hook = CensusHook()
    hook.list_sources()
    shown = f"{hook!r} {vars(hook)!r} {hook.settings!r} {hook._transport!r} {vars(hook._transport)!r}"
    assert census.token not in shown


@pytest.fixture
def nobody() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_the_test_button_says_the_host_and_how_much_the_token_sees(census: Sandbox) -> None:
    assert CensusHook().test_connection() == (
        True,
        f"Connected to {census.url}: the API token sees 2 sources.",
    )


def test_the_test_button_says_that_the_token_was_rejected(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, sentence = connect(monkeypatch, host=census.url).test_connection()
    assert not works
    assert "HTTP 401: the token is missing or not the sandbox's; API v1 takes the API key" in sentence
    assert sentence.endswith("; workspaces in the EU region live on app-eu.getcensus.com.")
    assert ". " not in sentence, "the UI shows it as one sentence"
    assert TOKEN not in sentence


def test_the_test_button_tries_once(census: Sandbox, monkeypatch: pytest.MonkeyPatch, nobody: int) -> None:
    def never(seconds: float) -> None:
        raise AssertionError(f"paused for {seconds} s")

    monkeypatch.setattr("tenacity.nap.time.sleep", never)
    census.fail_next(5, status=429)
    assert not CensusHook().test_connection()[0]
    assert len(census.requests) == 1
    works, sentence = connect(monkeypatch, host=f"http://127.0.0.1:{nobody}").test_connection()
    assert not works
    assert "refused" in sentence


def test_the_test_button_says_that_the_host_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    works, sentence = connect(monkeypatch, host="census.invalid").test_connection()
    assert not works
    assert sentence.startswith("GET /sources to https://census.invalid failed: ")
    assert TOKEN not in sentence


def test_the_test_button_says_that_nobody_answered_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hook = connect(monkeypatch, host="127.0.0.1", port=port, schema="http", extra={"timeout": 0.2})
        works, sentence = hook.test_connection()
    assert (works, sentence) == (
        False,
        f"GET /sources to http://127.0.0.1:{port} failed: no answer within 0.2 s.",
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": ""}, "field 'password' is empty"),
        ({"host": "app.getcensus.com/x"}, "field 'host' must be a host"),
        ({"extra": {"timeout": "soon"}}, "field 'timeout'"),
    ],
)
def test_the_test_button_says_which_field_is_wrong(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], said: str
) -> None:
    works, sentence = connect(monkeypatch, **fields).test_connection()
    assert not works
    assert said in sentence
    assert "host app.getcensus.com" in sentence
    assert "\n" not in sentence


def test_the_test_button_says_that_there_is_no_connection() -> None:
    works, sentence = CensusHook("not_there").test_connection()
    assert not works
    assert "not_there" in sentence


def test_a_wrong_connection_is_the_same_error_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, password=None)
    with pytest.raises(CensusConfigError, match="'password'"):
        hook.list_sources()
    with pytest.raises(CensusConfigError, match="'password'"):
        asyncio.run(hook.arun(endpoints.list_sources()))


def test_documented_shapes_are_importable() -> None:
    assert typing.get_type_hints(types.NewSync)["mappings"] == list[types.Mapping]

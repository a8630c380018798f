# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The hook: the connection behind it, what its Test button says, finding, waiting."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import socket
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.sync_runs import outcome
from airflow_provider_census.exceptions import (
    CensusConfigError,
    CensusError,
    CensusLookupError,
    CensusNotFoundError,
    CensusTimeoutError,
)
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable


TOKEN = "secret-token:abc"
SOON = 0.03
"""Seconds between two polls."""

NEWER: dict[str, Any] = {
    "label": "Newer",
    "operation": "upsert",
    "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "mappings": [
        {"from": {"type": "column", "data": "EMAIL"}, "to": "external_id", "is_primary_identifier": True}
    ],
}
OLDER: dict[str, Any] = {
    "label": "Older",
    "operation": "mirror",
    "source_attributes": {"connection_slug": "bigquery", "type": "model", "model_name": "test_ads"},
    "destination_attributes": {"connection_slug": "google-ads", "object": "user_data"},
    "mappings": [{"from": "email", "to": "user_identifier", "is_primary_identifier": True}],
}


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *values: Any) -> None:
        self.lines.append(message % values)

    warning = debug = info


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What hooks log."""
    log = Log()
    monkeypatch.setattr(CensusHook, "log", log)
    return log


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> CensusHook:
    conn = {"conn_type": "census", "password": TOKEN, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
    return CensusHook()


@pytest.mark.parametrize("name", ["census_default", "elsewhere"])
def test_a_hook_reads_its_own_connection_once(
    census: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", census.connection_uri_v1)
    hook = CensusHook(name)
    assert len(hook.list_sources()) == 2
    monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}")
    assert asyncio.run(hook.arun(endpoints.get_source(4)))["id"] == 4
    assert hook.list_destinations()


def test_nothing_that_the_hook_holds_shows_the_token(census: Sandbox) -> None:
    hook = CensusHook()
    hook.list_sources()
    shown = f"{hook!r} {vars(hook)!r} {hook.settings!r} {hook._transport!r} {vars(hook._transport)!r}"  # noqa: SLF001 - everything that it keeps
    assert census.token not in shown
    pickled = pickle.dumps(hook)
    assert census.token.encode() not in pickled
    for copied in (pickle.loads(pickled), copy.copy(hook), copy.deepcopy(hook)):
        assert census.token not in repr(vars(copied))
        assert copied.list_sources()


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
    assert (
        "HTTP 401: the token is missing or not the sandbox's (GET /sources); API v1 takes the API key"
        in sentence
    )
    assert sentence.endswith(
        "; the region must be that of the host, app-eu.getcensus.com for the EU, else app.getcensus.com."
    )
    assert ". " not in sentence, "the UI shows it as one sentence"
    assert TOKEN not in sentence


def test_the_test_button_tries_once(census: Sandbox, monkeypatch: pytest.MonkeyPatch, nobody: int) -> None:
    def never(seconds: float) -> None:
        raise AssertionError(f"a delay of {seconds} s")

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
    assert sentence.startswith("Census (https://census.invalid, v1): ")
    assert TOKEN not in sentence


def test_the_test_button_says_that_nobody_responded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hook = connect(monkeypatch, host="127.0.0.1", port=port, schema="http", extra={"timeout": 0.2})
        works, sentence = hook.test_connection()
    assert (works, sentence) == (
        False,
        f"Census (http://127.0.0.1:{port}, v1): no response within 0.2 s (GET /sources).",
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
    assert sentence.startswith("The Airflow connection census_default cannot be used: ")
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


def test_the_latest_run_takes_one_request(census: Sandbox) -> None:
    hook = CensusHook()
    newest = hook.get_latest_sync_run(52)
    assert newest is not None
    assert newest["id"] == 94
    assert hook.get_latest_sync_run(53) is None
    assert len(census.requests) == 2
    with pytest.raises(CensusNotFoundError):
        hook.get_latest_sync_run(51)


def test_a_sync_is_found_by_its_label(census: Sandbox) -> None:
    hook = CensusHook()
    assert hook.find_sync("Completes")["id"] == 52
    assert hook.find_sync("Completes at once")["id"] == 58


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("completes", r"'Completes' \(sync 52\), 'Completes at once' \(sync 58\)"),
        ("Complete", r"'Completes' \(sync 52\)"),
        ("Rejected record", r"'Rejected records' \(sync 55\)"),
        ("Completes ", r"'Completes' \(sync 52\)"),
        ("xyz", "none"),
    ],
)
def test_a_label_that_no_sync_has_is_an_error_with_near_ones(census: Sandbox, label: str, said: str) -> None:
    with pytest.raises(
        CensusLookupError, match=rf"^No sync has the label '{label}'. Near matches: {said}"
    ) as none:
        CensusHook().find_sync(label)
    assert isinstance(none.value, CensusError)
    assert isinstance(none.value, ValueError)
    assert "among 7 syncs" in str(none.value)


def test_a_label_that_several_syncs_have_is_none_of_them(census: Sandbox) -> None:
    hook = CensusHook()
    hook.update_sync(57, {"label": "Completes"})
    with pytest.raises(
        CensusLookupError, match=r"^Several syncs have the label 'Completes': 52, 57. Name the one"
    ):
        hook.find_sync("Completes")


def test_syncs_without_a_label_are_not_in_the_way(census: Sandbox) -> None:
    hook = CensusHook()
    hook.update_sync(57, {"label": None})
    hook.update_sync(56, {"label": ""})
    assert hook.find_sync("Fails")["id"] == 53
    with pytest.raises(CensusLookupError, match="Near matches: none"):
        hook.find_sync("None of these")


@pytest.mark.parametrize("label", [None, "", " ", 5.2, True, "{{ params.label }}"])
def test_what_cannot_be_a_label_is_not_searched_for(census: Sandbox, label: Any) -> None:
    with pytest.raises(ValueError, match=r"^label "):
        CensusHook().find_sync(label)
    assert census.requests == []


@pytest.mark.parametrize(
    ("sync_id", "status", "canceled"),
    [
        (52, "completed", False),
        (53, "failed", False),
        (54, "skipped", False),
        (58, "completed", False),
    ],
)
def test_a_run_is_waited_for_however_it_ends(
    census: Sandbox, log: Log, sync_id: int, status: str, canceled: bool
) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(sync_id)
    run = hook.wait_for_sync_run(sync_run_id, poll_interval=SOON)
    assert (run["id"], run["status"], run["canceled"]) == (sync_run_id, status, canceled)
    assert log.lines[-1].startswith(f"{status}")
    assert f"sync {sync_id}, run {sync_run_id}" in log.lines[-1]


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_a_cancelled_run_has_ended(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(pace=0.02, cancelled_as=status) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri_v1)
        hook = CensusHook()
        sync_run_id = hook.trigger_sync(57)
        hook.cancel_sync_run(sync_run_id)
        for each in (str(sync_run_id), hook.trigger_sync(56)):
            run = hook.wait_for_sync_run(each, poll_interval=SOON)
            assert run["canceled"] is True
            assert outcome(run) == "canceled"


def test_the_log_has_the_progress_of_a_run(census: Sandbox, log: Log) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(57)
    with pytest.raises(CensusTimeoutError):
        hook.wait_for_sync_run(sync_run_id, poll_interval=SOON, timeout=5 * SOON)
    progress = [line for line in log.lines if line.endswith(f" · sync 57, run {sync_run_id}")]
    assert progress
    assert len(progress) == len(set(progress))


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_a_wait_for_a_run_ends_in_time(census: Sandbox, timeout: float) -> None:
    hook = CensusHook()
    sync_run_id = hook.trigger_sync(57)
    with pytest.raises(
        CensusTimeoutError, match=f"^Sync run {sync_run_id} has not ended after 0 s\\b"
    ) as over:
        hook.wait_for_sync_run(sync_run_id, timeout=timeout, poll_interval=60)
    assert isinstance(over.value, TimeoutError)
    assert census.cancels == []
    assert len([path for _, path in census.requests if path.endswith(f"/{sync_run_id}")]) == (
        2 if timeout else 1
    )


@pytest.mark.parametrize(
    "times",
    [{"poll_interval": timedelta(seconds=60)}, {"poll_interval": Decimal(60), "timeout": timedelta(0)}],
)
def test_the_times_of_a_wait_may_be_of_any_type_that_has_them(census: Sandbox, times: dict[str, Any]) -> None:
    hook = CensusHook()
    with pytest.raises(CensusTimeoutError):
        hook.wait_for_sync_run(hook.trigger_sync(57), **{"timeout": 0, **times})


@pytest.mark.parametrize("timeout", ["1", True, -1])
def test_what_is_no_time_is_refused_before_anything_is_sent(census: Sandbox, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be"):
        CensusHook().wait_for_sync_run(94, timeout=timeout)
    assert census.requests == []


def test_a_run_that_is_not_there_is_not_waited_for(census: Sandbox) -> None:
    with pytest.raises(CensusNotFoundError):
        CensusHook().wait_for_sync_run(1)
    assert len(census.requests) == 1


@pytest.mark.parametrize(
    ("refresh", "status", "args"),
    [
        ("refresh_source_tables", endpoints.get_refresh_source_tables_status, (4,)),
        ("refresh_model_columns", endpoints.get_refresh_model_columns_status, (4, 15)),
        ("refresh_table_columns", endpoints.get_refresh_table_columns_status, (4, 2)),
        ("refresh_destination_objects", endpoints.get_refresh_destination_objects_status, ("braze",)),
        (
            "refresh_destination_object_fields",
            endpoints.get_refresh_destination_object_fields_status,
            (15, "user"),
        ),
    ],
)
def test_a_refresh_is_waited_for(
    census: Sandbox, log: Log, refresh: str, status: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    hook = CensusHook()
    key = getattr(hook, refresh)(*args)
    hook.wait_for_refresh(status(*args, key), poll_interval=SOON, timeout=30)
    assert hook.run(status(*args, key)) == "completed"
    progress = [line for line in log.lines if line.startswith("The refresh of /")]
    assert progress[-1].endswith("_status: completed")
    # On a busy machine, the refresh may have ended before the first poll.
    assert all(line.endswith("_status: processing") for line in progress[:-1])


def test_a_refresh_that_takes_too_long(census: Sandbox) -> None:
    hook = CensusHook()
    status = endpoints.get_refresh_source_tables_status(4, hook.refresh_source_tables(4))
    with pytest.raises(
        CensusTimeoutError, match=r"^The refresh of /sources/4/refresh_tables_status has not ended"
    ):
        hook.wait_for_refresh(status, timeout=0)


def test_a_refresh_that_ends_otherwise(census: Sandbox) -> None:
    census.fail_next(status=200, body=b'{"status": "failed"}', method="GET")
    with pytest.raises(CensusError, match="GET /sources/4/refresh_tables_status asks for ended as 'failed'"):
        CensusHook().wait_for_refresh(endpoints.get_refresh_source_tables_status(4, 7))


def test_a_refresh_that_nobody_started(census: Sandbox) -> None:
    with pytest.raises(CensusNotFoundError):
        CensusHook().wait_for_refresh(endpoints.get_refresh_source_tables_status(4, 7))


def test_a_sync_is_paused_and_resumed(census: Sandbox) -> None:
    hook = CensusHook()
    assert hook.pause_sync(52)["paused"] is True
    assert hook.get_sync("52")["paused"] is True
    assert hook.resume_sync(52)["paused"] is False
    assert hook.get_sync(52)["paused"] is False


@pytest.mark.parametrize(("payload", "path"), [(OLDER, "/api/v1/syncs/create"), (NEWER, "/api/v1/syncs")])
def test_a_sync_of_either_shape_is_created(census: Sandbox, payload: dict[str, Any], path: str) -> None:
    hook = CensusHook()
    sync_id = hook.create_sync(payload)
    assert census.requests == [("POST", path)]
    assert hook.find_sync(payload["label"])["id"] == sync_id
    hook.delete_sync(sync_id)
    with pytest.raises(CensusLookupError):
        hook.find_sync(payload["label"])

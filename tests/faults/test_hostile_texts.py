# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a text of Census can do to who reads logs, messages and links: nothing."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from stand_in import Server, data, response

from airflow_provider_census.api import criteria, endpoints, sync_runs
from airflow_provider_census.api.criteria import SuccessCriteria
from airflow_provider_census.exceptions import CensusError
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = {
    "lines": "ok\n[2026-01-01T00:00:00] {x.py:1} INFO - all is well\r\nWARNING",
    "other lines": "ok\x0b\x0c\x1c\x85\u2028\u2029INFO",
    "ANSI": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b31m",
    "a group": "::group::hidden",
    "the end of a group": "x ::endgroup:: y",
    "many colons": ":::::group:::::",
    "a mask": "::add-mask::secret ***",
    "a group of another kind": "##[group]x ##[endgroup]",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "a link": "javascript:alert(1) [x](javascript:alert(1)) file:///etc/passwd",
    "the other direction": "a\u202egnp.exe\u2066\u200b",
    "NUL and half a character": "a\0b\ud83d",
    "much": "x" * 100_000,
    "much of nothing": " \n" * 100_000,
    "formats": "%s %d {0} {self} $HOME %n",
    "another host": "@evil.test/../../#?x=y&z",
}
COMMANDS = re.compile(r"::[\w-]+::|##\[")


def check(line: str) -> None:
    """Check that a text is one line that commands nothing."""
    assert line.isprintable()
    assert not COMMANDS.search(line)
    assert len(line) < 7_000


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a hook logs, as it was logged."""
    logged: list[str] = []
    log = logging.getLogger("texts")
    log.setLevel(logging.DEBUG)
    monkeypatch.setattr(log, "handle", lambda record: logged.append(record.getMessage()))
    monkeypatch.setattr(CensusHook, "log", log)
    return logged


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], CensusHook]:
    def connect(server: Server) -> CensusHook:
        conn = {
            "conn_type": "census",
            "host": server.url,
            "password": "token-of-tests",
            "extra": {"attempts": 1},
        }
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(conn))
        return CensusHook()

    return connect


texts = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


@texts
def test_a_run_that_is_waited_for(
    connect: Callable[[Server], CensusHook], lines: list[str], text: str
) -> None:
    odd = {"current_step": text, "sync_id": text, "records_processed": text, "error_code": text}
    ended = {"id": 94, **odd, "error_message": text, "error_detail": text + "!", "status": "failed"}
    with Server(
        data({"id": 94, **odd, "status": "working"}), data({"id": 94, **odd, "status": text}), data(ended)
    ) as server:
        hook = connect(server)
        run = hook.wait_for_sync_run(94, poll_interval=0.001)
    assert len(lines) >= 3
    for line in lines:
        check(line)
    url = sync_runs.browser_url(server.url, run)
    assert urlsplit(url)[:2] == ("http", urlsplit(server.url).netloc)
    for status in ("failed", "completed", "skipped", "cancelled"):
        evaluated = criteria.evaluate(
            {**run, "status": status}, SuccessCriteria(max_records_failed=0), server.url
        )
        check(evaluated.message)


@texts
@pytest.mark.parametrize("status", [200, 302, 400, 404, 429, 500])
def test_an_error(connect: Callable[[Server], CensusHook], text: str, status: int) -> None:
    bodies: list[Any] = [
        {"status": "error", "message": text},
        {"status": text, "error": {"nested": text}},
        {"data": {"id": text, "status": text}},
        {"data": {"id": 94, "status": 7, text: text}},
        {"message": text},
        text.encode("utf-8", "replace"),
    ]
    for body in bodies:
        location = {"Location": "http://evil.test/%1b::group::"} if status == 302 else {}
        with Server(response(body, status, **location)) as server, pytest.raises(CensusError) as caught:
            connect(server).get_sync_run(94)
        check(str(caught.value))
        check(str(getattr(caught.value, "message", "")))


@texts
def test_a_list_of_others(connect: Callable[[Server], CensusHook], caplog: Any, text: str) -> None:
    with Server(data([{"id": 1, "sync_id": text, "status": text}, {"id": 2, "sync_id": 52}])) as server:
        found = connect(server).run(endpoints.list_sync_runs(52, page=1))
    assert [run["id"] for run in found] == [2]
    for record in caplog.records:
        check(record.getMessage())


@texts
def test_a_label_that_is_not_found(connect: Callable[[Server], CensusHook], text: str) -> None:
    with Server(data([{"id": text, "label": text}, {"id": 2, "label": "a label"}])) as server:
        hook = connect(server)
        with pytest.raises(CensusError) as caught:
            hook.find_sync(re.sub(r"[^a-z]+", " ", text[:50]).strip() or "label")
    check(str(caught.value))


@texts
def test_a_refresh(connect: Callable[[Server], CensusHook], lines: list[str], text: str) -> None:
    with Server(data({"status": text})) as server:
        hook = connect(server)
        with pytest.raises(CensusError) as caught:
            hook.wait_for_refresh(endpoints.get_refresh_source_tables_status(4, "key"))
    for line in [*lines, str(caught.value)]:
        check(line)

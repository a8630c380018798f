# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox shows syncs and runs to a browser, where the links of the provider lead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import requests
from staging import Clock

from airflow_provider_census.sandbox import Sandbox, cancelled, completes, fails, never_ends, rejects, skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

NASTY = "<script>alert('x')</script>&\"\x00\ud83d"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    syncs = {
        1: completes(),
        2: fails("JSON_ARRAY_ERROR", NASTY),
        3: rejects(3, "No consent", NASTY, invalid=1),
        4: cancelled(),
        5: skipped(),
        6: never_ends(),
    }
    with Sandbox(clock=clock, syncs=syncs) as sandbox:
        yield sandbox


def text_of(url: str) -> str:
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    assert not re.search(r'(src|href)=(?!"/[^/])', answer.text.replace('"/"', '"/x"')), (
        "everything is of the sandbox itself"
    )
    return re.sub(r"<[^>]+>", " ", answer.text)


def page_of(sandbox: Sandbox, sync_id: int, sync_run_id: int) -> str:
    return f"{sandbox.url}/syncs/{sync_id}/history?sync_run_id={sync_run_id}"


@pytest.mark.parametrize(
    ("sync_id", "said"),
    [
        (1, ["completed", "1,000 in the source, 1,000 processed, 1,000 updated, 0 rejected, 0 invalid"]),
        (2, ["failed", "JSON_ARRAY_ERROR", "&lt;script&gt;"]),
        (3, ["completed", "2 rejected No consent", "1 rejected &lt;script&gt;", "1 invalid"]),
        (4, ["canceled", "500 processed"]),
        (5, ["skipped"]),
    ],
)
def test_the_page_of_a_run_says_how_it_ended(
    sandbox: Sandbox, clock: Clock, sync_id: int, said: list[str]
) -> None:
    sync_run_id = sandbox.start_run(sync_id, reason="Because & why")
    clock.now += 60

    text = text_of(page_of(sandbox, sync_id, sync_run_id))

    for part in [*said, f"Run {sync_run_id}", "Because &amp; why"]:
        assert part in text
    assert "Cancel" not in text


def test_a_run_that_goes_on_shows_how_far_it_is_and_reads_itself_again(
    sandbox: Sandbox, clock: Clock
) -> None:
    sync_run_id = sandbox.start_run(1)
    page = page_of(sandbox, 1, sync_run_id)
    assert "In the queue" in text_of(page)
    clock.now += 3

    text = requests.get(page, timeout=10).text

    assert '<progress value="500" max="1000">' in text
    assert 'http-equiv="refresh"' in text
    assert "Loading data into destination service" in text
    clock.now += 60
    assert 'http-equiv="refresh"' not in requests.get(page, timeout=10).text


def test_the_button_cancels_a_run(sandbox: Sandbox, clock: Clock) -> None:
    sync_run_id = sandbox.start_run(6)
    action = re.search(
        r'<form method="post" action="([^"]+)">',
        requests.get(page_of(sandbox, 6, sync_run_id), timeout=10).text,
    )
    assert action is not None

    answer = requests.post(f"{sandbox.url}{action[1]}", timeout=10)

    assert answer.url == page_of(sandbox, 6, sync_run_id)
    assert sandbox.cancels == [sync_run_id]
    clock.now += 60
    assert "canceled" in text_of(page_of(sandbox, 6, sync_run_id))


def test_the_page_of_another_site_cannot_press_it(sandbox: Sandbox) -> None:
    sync_run_id = sandbox.start_run(6)

    answer = requests.post(
        f"{sandbox.url}/sync_runs/{sync_run_id}/cancel",
        headers={"Sec-Fetch-Site": "cross-site"},
        timeout=10,
    )

    assert answer.status_code == 403
    assert sandbox.cancels == []


def test_all_syncs_are_listed_with_their_latest_run(sandbox: Sandbox) -> None:
    sandbox.add_sync(NASTY, completes())
    sandbox.start_run(1)

    text = text_of(sandbox.url)

    assert re.search(r"1\s+sync-1\s+\d+\s+queued", text)
    assert re.search(r"2\s+sync-2\s+never ran", text)
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;\x00?" in text


@pytest.mark.parametrize("path", ["/syncs/99", "/syncs/abc/history", "/nothing", "/sync_runs/1/cancel"])
def test_a_page_that_is_not_there_says_so(sandbox: Sandbox, path: str) -> None:
    answer = requests.get(f"{sandbox.url}{path}", timeout=10)

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_run_that_is_not_there_is_said_on_the_page_of_its_sync(sandbox: Sandbox) -> None:
    assert "no run &lt;b&gt;" in text_of(f"{sandbox.url}/syncs/1/history?sync_run_id=<b>")


def test_pages_take_no_token_and_meet_no_fault(sandbox: Sandbox) -> None:
    sandbox.fail_next(5)

    assert "Syncs" in text_of(f"{sandbox.url}/")
    assert sandbox.token not in text_of(f"{sandbox.url}/")

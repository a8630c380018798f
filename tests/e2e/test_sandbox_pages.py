# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a person sees behind the link to a sync run, when Census is the sandbox."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from airflow_provider_census.sandbox import Sandbox, fails, never_ends


def test_a_run_is_shown_and_cancelled(page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    with Sandbox(
        pace=0.1, syncs={90210: never_ends(), 7: fails("X", "<img src=x onerror=alert(1)>")}
    ) as census:
        sync_run_id = census.start_run(90210)
        page.goto(f"{census.url}/syncs/90210/history?sync_run_id={sync_run_id}")
        expect(
            page.get_by_role("heading", name=re.compile(f"Run {sync_run_id}: (queued|working)"))
        ).to_be_visible()
        expect(page.get_by_role("progressbar")).to_be_visible()
        page.get_by_role("button", name="Cancel this run").click()
        # The page reads itself again until the run is over.
        expect(page.get_by_role("heading", name=f"Run {sync_run_id}: canceled")).to_be_visible()
        assert census.cancels == [sync_run_id]

        census.finish_run(census.start_run(7), fails("X", "<img src=x onerror=alert(1)>"))
        page.get_by_role("link", name="All syncs").click()
        page.get_by_role("row", name="sync-7").get_by_role("link").last.click()
        expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_have_count(0)
    assert errors == []

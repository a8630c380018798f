# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A browser, and a real Airflow for it to look at, next to a local Census."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from airflow_provider_census.api.versions import DEFAULT_VERSION
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 40_000
"""Milliseconds that the page has for what a test expects of it; a busy machine needs more than a few."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def before_v1_ends() -> None:
    """A real Airflow has the day that it is, and so have the tests that look at it."""


# None of them is of the session: while Playwright runs, so does an event loop in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Chromium without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"NOT TESTED in a browser: none of {', '.join(BROWSERS)} is on PATH")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=found) as browser,
    ):
        yield browser


@pytest.fixture(scope="module")
def census() -> Iterator[Sandbox]:
    """Serve a local Census, where the pictures are taken on the port that it has by itself."""
    with Sandbox(port=8765 if "SCREENSHOTS" in os.environ else 0, pace=0.2) as sandbox:
        yield sandbox


@pytest.fixture
def rejection(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence that the hook has for a wrong token, in the version that the form begins with."""
    fields = {"conn_type": "census", "host": census.url, "password": "wrong-token"}
    extra = {"api_version": DEFAULT_VERSION}
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps({**fields, "extra": extra}))
    works, sentence = CensusHook("wrong").test_connection()
    assert not works
    assert sentence.startswith(f"Census ({census.url}, {DEFAULT_VERSION}): HTTP 401: ")
    assert sentence.endswith(".")
    assert ". " not in sentence
    return sentence


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[BrowserContext]:
    """What the windows share, such as a cache: a UI is loaded once."""
    with browser.new_context(
        viewport={"width": 1200, "height": 800},
        locale="en-US",
        timezone_id="UTC",
        color_scheme="light",
        reduced_motion="reduce",
    ) as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def page(windows: BrowserContext) -> Iterator[Page]:
    """Open a window with nothing in it."""
    page = windows.new_page()
    yield page
    page.evaluate("localStorage.clear()")  # how the UI was left: each test has it as it is at first
    page.close()


@pytest.fixture
def picture(page: Page) -> Callable[..., None]:
    """Take a picture of the window for the documentation, if there is a directory for it in SCREENSHOTS."""

    def take(name: str, height: int, width: int = 1200) -> None:
        if directory := os.environ.get("SCREENSHOTS"):
            page.mouse.move(0, 0)
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=Path(directory) / f"{name}.png", animations="disabled")

    return take

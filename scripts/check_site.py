# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The last step of ``make docs``: links lead somewhere, nothing is loaded from elsewhere, no page is too wide.

Links to other sites are not followed, for a build asks no network. Widths need Chromium.
"""

from __future__ import annotations

import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (390, 1400)
TOO_WIDE = """() => [...document.querySelectorAll("html, article .table-wrapper")]
    .filter(each => each.scrollWidth > each.clientWidth + 1)
    .map(each => each.textContent.trim().replace(/\\s+/g, " ").slice(0, 40))"""
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset")}


class Page(HTMLParser):
    """What a page links to, loads, and offers as targets."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        for name in given:
            is_loaded = tag != "link" or given.get("rel", "") in {"stylesheet", "icon", "preload"}
            if (tag, name) in LOADS and is_loaded:
                self.loads.append(given[name])


def too_wide(pages: list[Path]) -> list[str]:
    """Tell which pages, or tables in them, are wider than a phone or a screen."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("*** NOT CHECKED for width: there is no Chromium. ***", file=sys.stderr)
        return []
    faults = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=browser) as chromium:
        for width in WIDTHS:
            tab = chromium.new_page(viewport={"width": width, "height": 900})
            for path in pages:
                tab.goto(path.as_uri(), wait_until="domcontentloaded")
                faults += [f"{path.name}: wider than {width}: {what}" for what in tab.evaluate(TOO_WIDE)]
    return faults


def main() -> None:
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in site.rglob("*.html")}
    faults, links = [], 0
    for path, page in pages.items():
        faults += [f"{path.name}: loads {what}" for what in page.loads if urlsplit(what).netloc]
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            links += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                faults.append(f"{path.name}: {link} leads nowhere")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{path.name}: {link} leads to no heading")
    for style in site.rglob("*.css"):
        if "url(http" in style.read_text().replace("'", "").replace('"', ""):
            faults.append(f"{style.name}: loads from elsewhere")
    faults += too_wide(sorted(pages))
    if faults:
        sys.exit("\n".join(sorted(set(faults))))
    print(f"All {links} links of {len(pages)} pages lead somewhere, and nothing is loaded from elsewhere.")


if __name__ == "__main__":
    main()

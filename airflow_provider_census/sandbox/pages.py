# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The pages for a browser: where the links lead that the provider gives to a sync run.

Without a script and without a file of their own; a page reads itself again while a run is running.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, RedirectResponse, Response

from airflow_provider_census.sandbox.calls import Item, Refusal
from airflow_provider_census.sandbox.records import reasons

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_census.sandbox.workspace import Workspace

MOST_RUNS = 50  # on one page

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Cache-Control": "no-store",
}
LAYOUT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">{refresh}
<title>{title}</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; color: #222 }}
  body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
  header, .quiet {{ color: #666 }}
  a {{ color: #0b5cad }}
  table {{ border-collapse: collapse; width: 100% }}
  th, td {{ text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0 }}
  tr {{ border-bottom: 1px solid #ddd }}
  progress {{ width: 100%; height: 1rem }}
  .status {{ font-weight: 600; color: #0b5cad }}
  .completed {{ color: #17703b }} .failed {{ color: #b3261e }} .canceled, .skipped {{ color: #8a5a00 }}
</style>
<header>Census sandbox: local and made up; nothing reaches the real Census. <a href="/">All syncs</a></header>
<h1>{title}</h1>
{content}
</html>
"""


def answer(workspace: Workspace, request: Request, path: str) -> Response:
    """The page behind a path, or what its button does; :class:`Refusal` when there is none."""
    asked = (request.method, *path.strip("/").split("/"))
    match asked:
        case ("GET" | "HEAD", ""):
            return page("Syncs", sync_table(workspace))
        case ("GET" | "HEAD", "syncs", sync_id):
            return sync_page(workspace, sync_id, None)
        case ("GET" | "HEAD", "syncs", sync_id, "history"):
            return sync_page(workspace, sync_id, request.query_params.get("sync_run_id"))
        case ("POST", "sync_runs", sync_run_id, "cancel"):
            # Only from our own pages, not from those of others that are open in the same browser.
            if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
                raise Refusal(403, "a run is cancelled from its own page")
            run = workspace.runs.shown(sync_run_id)
            workspace.cancel(run["id"])
            return RedirectResponse(history(run), 303)
    return page("Not found", "<p>The API is below /api/v1 and /api/v2.", status_code=404)


def page(title: str, content: str, *, running: bool = False, status_code: int = 200) -> Response:
    """A whole page; ``content`` is HTML, ``title`` is not."""
    refresh = '\n<meta http-equiv="refresh" content="1">' if running else ""
    html = LAYOUT.format(title=escape(title), content=content, refresh=refresh)
    # What was set from Python may hold half a character.
    return HTMLResponse(html.encode(errors="replace"), status_code, HEADERS)


def sync_table(workspace: Workspace) -> str:
    """All syncs, each with its latest run."""
    latest = {run["sync_id"]: run for run in workspace.runs.oldest_first()}
    rows = [
        [
            escape(str(sync["id"])),
            f'<a href="/syncs/{sync["id"]}">{escape(name_of(sync))}</a>',
            link(latest[sync["id"]]) if sync["id"] in latest else '<span class="quiet">never ran</span>',
        ]
        for sync in workspace.items["syncs"]
    ]
    return table(["Sync", "Name", "Latest run"], rows)


def sync_page(workspace: Workspace, sync_id: str, sync_run_id: str | None) -> Response:
    """One sync: the run that is asked for, and all of its runs."""
    sync = workspace.find_sync(int(sync_id)) if re.fullmatch("[0-9]{1,19}", sync_id) else None
    if sync is None:
        return page("Not found", "<p>There is no such sync.", status_code=404)
    runs = [run for run in workspace.runs.oldest_first() if run["sync_id"] == sync["id"]][::-1]
    chosen = [run for run in runs if str(run["id"]) == sync_run_id]
    content = "".join(details(workspace, run) for run in chosen)
    if sync_run_id is not None and not chosen:
        content = f"<p>This sync has no run {escape(sync_run_id)}."
    content += "<h2>Runs</h2>" + table(
        ["Run", "Started", "Because", "Records"],
        [
            [link(run), escape(run["created_at"]), escape(run["sync_trigger_reason"]["ui_tag"]), counts(run)]
            for run in runs[:MOST_RUNS]
        ],
    )
    running = any(is_running(run) for run in runs[:MOST_RUNS])
    return page(f"Sync {sync['id']}: {name_of(sync)}", content, running=running)


def name_of(sync: Item) -> str:
    """What a sync is called: by its label, else as Census calls it."""
    return str(sync.get("label") or sync.get("resource_identifier"))


def details(workspace: Workspace, run: Item) -> str:
    """One run: how it stands, how far it is, what it counted, and why records were not synced."""
    content = f"<h2>Run {run['id']}: {status(run)}</h2>"
    if is_running(run):
        done, total = run["records_processed"] or 0, run["source_record_count"]
        value = f' value="{done}" max="{total}"' if total else ""
        content += f"<progress{value}></progress><p>{escape(run.get('current_step') or 'In the queue')}"
        if not run["canceled"]:
            action = f"/sync_runs/{run['id']}/cancel"
            content += f'<form method="post" action="{action}"><button>Cancel this run</button></form>'
    if run["error_message"]:
        content += f"<p><b>{escape(str(run['error_code']))}</b> {escape(run['error_message'])}"
    content += f"<p>{counts(run)}"
    if started := workspace.runs.started_here(run["id"]):
        why = Counter(reasons(started, workspace.clock()))
        rows = [[str(count), escape(state), escape(reason)] for (state, reason), count in why.most_common()]
        content += table(["Records", "Status", "Why they were not synced"], rows) if rows else ""
    return content


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table; cells are HTML."""
    head = "".join(f"<th>{name}" for name in heads)
    return (
        f"<table><tr>{head}"
        + "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows)
        + "</table>"
    )


def link(run: Item) -> str:
    """The id and status of a run, with a link to it."""
    return f'<a href="{escape(history(run))}">{run["id"]}</a> {status(run)}'


def history(run: Item) -> str:
    """Where a run is shown."""
    return f"/syncs/{run['sync_id']}/history?sync_run_id={run['id']}"


def status(run: Item) -> str:
    """How a run stands, in one word."""
    word = "canceled" if run["canceled"] else run["status"]
    return f'<span class="status {word}">{word}</span>'


def is_running(run: Item) -> bool:
    """Whether it is queued or working."""
    return run["status"] in ("queued", "working")


def counts(run: Item) -> str:
    """What a run has counted so far."""
    names: dict[str, Any] = {
        "in the source": run["source_record_count"],
        "processed": run["records_processed"],
        "updated": run["records_updated"],
        "rejected": run["records_failed"],
        "invalid": run["records_invalid"],
    }
    return ", ".join(f"{count:,} {name}" for name, count in names.items() if count is not None)

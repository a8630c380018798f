# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What it costs to go through ten thousand runs, page by page, in a process of its own.

Arguments: ``bare`` or ``provider``, and the address of a Census. Prints what was measured as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import requests

from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from collections.abc import Iterator


def bare(url: str) -> Iterator[dict[str, Any]]:
    """Read one page after the other over one connection, with nothing but requests."""
    with requests.Session() as session:
        number: int | None = 1
        while number is not None:
            body = session.get(f"{url}/api/v1/syncs/52/sync_runs?per_page=100&page={number}").json()
            yield from body["data"]
            number = body["pagination"]["next_page"]


def provider(url: str) -> Iterator[dict[str, Any]]:
    """Read them with the hook."""
    os.environ["AIRFLOW_CONN_CENSUS_DEFAULT"] = f"census://:secret-token@{url.removeprefix('http://')}/http"
    yield from CensusHook().iter_sync_runs(52)


def measure(runs: Iterator[dict[str, Any]], url: str) -> dict[str, float]:
    """Go through all runs, and watch what it takes."""
    next(runs)  # with it comes what is needed once
    cpu = time.process_time()
    count = 1 + sum(1 for _ in runs)
    cpu = time.process_time() - cpu
    return {"runs": count, "cpu": 1000 * cpu / (count / 100), **requests.get(f"{url}/counts").json()}


def peak(runs: Iterator[dict[str, Any]]) -> float:
    """Go through all runs, and tell how many KB of objects there were at most."""
    next(runs)
    tracemalloc.start()
    for _ in runs:
        pass
    return tracemalloc.get_traced_memory()[1] / 1024


if __name__ == "__main__":
    kind, url = sys.argv[1:]
    read = {"bare": bare, "provider": provider}[kind]
    requests.get(f"{url}/counts")
    result = measure(read(url), url)
    print(json.dumps({**result, "memory": peak(read(url))}))

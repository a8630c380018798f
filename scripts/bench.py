# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
What the provider costs, each figure beside that of a reference measured in the same run.

The Census is a process of its own, and so is each measurement. References and ours take turns, and the lowest
time of each counts, which was disturbed least, but the highest of other figures; of the imports, the median
ratio.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import bench_simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS = 1000
INTERVAL = 5.0
SECONDS = 10.0
"""Waits at once, seconds between their polls, and seconds for which they are watched."""

TIMES = frozenset({"cpu", "held"})
"""The figures that are times."""

TURNS = 3
IMPORTS = 5
"""How often each is measured."""

IMPORT = """
import time
start = time.process_time()
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
bare = time.process_time()
import airflow_provider_census.operators.census, airflow_provider_census.sensors.census
print(1000 * (bare - start), 1000 * (time.process_time() - start))
"""

SCRIPTS = Path(__file__).parent


@contextmanager
def census() -> Iterator[str]:
    """Serve a Census; its address."""
    command = [sys.executable, str(SCRIPTS / "bench_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.stdin.close()


def last_line(*command: str | Path | float) -> str:
    """Run Python; the last line that it prints."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()[-1]


def measure(script: str, *arguments: str | float) -> tuple[dict[str, float], dict[str, float]]:
    """
    Measure ours and the reference in turns.

    :returns: for each of them the lowest of the times, to which all else that a machine does only adds, and
        the highest of the other figures.
    """
    with census() as url:
        results: dict[str, list[dict[str, float]]] = {"bare": [], "provider": []}
        for _ in range(TURNS):
            for kind, measured in results.items():
                measured.append(json.loads(last_line(SCRIPTS / script, kind, url, *arguments)))
    bare, ours = (
        {key: (min if key in TIMES else max)(each[key] for each in all_) for key in all_[0]}
        for all_ in results.values()
    )
    return ours, bare


def row(figure: str, unit: str, ours: float, reference: float, limit: str) -> None:
    """Print a figure."""
    ratio = f"{ours / reference:.2f}" if reference else ""
    print(f"{figure:48} {ours:10.2f} {reference:10.2f} {ratio:>6}  {unit:6} {limit}", flush=True)


def main() -> None:
    """Measure everything."""
    began = time.monotonic()
    print(f"{'':48} {'ours':>10} {'reference':>10} {'ratio':>6}")
    ours, bare = measure("bench_waits.py", WAITS, INTERVAL, SECONDS)
    print(f"{WAITS} waits that poll every {INTERVAL:g} s; reference: a bare loop of aiohttp over one pool")
    row("  CPU of a poll", "ms", ours["cpu"], bare["cpu"], "ratio at most 1.6")
    row("  event loop held at the start, at worst", "ms", ours["held"], bare["held"], "ratio at most 1.5")
    row("  sockets", "", ours["sockets"], bare["sockets"], "at most 100")
    row("  memory of a wait", "KB", ours["memory"], bare["memory"], "under 16 KB")
    row("  sockets when all have ended", "", ours["left"], bare["left"], "none")

    print("Importing operators and sensors; reference: DAG, BaseOperator and BaseSensorOperator alone")
    times = [tuple(map(float, last_line("-c", IMPORT).split())) for _ in range(IMPORTS)]
    bare_time, with_ours = sorted(times, key=lambda each: each[1] / each[0])[IMPORTS // 2]
    row("  CPU", "ms", with_ours, bare_time, "ratio at most 1.03")

    ours, bare = measure("bench_pages.py")
    print("Going through 10,000 runs; reference: the same pages with nothing but requests")
    row("  requests", "", ours["requests"], bare["requests"], "one for 100 runs")
    row("  connections", "", ours["connections"] - 1, bare["connections"] - 1, "one")
    row("  CPU of a page", "ms", ours["cpu"], bare["cpu"], "")
    row("  memory at most", "KB", ours["memory"], bare["memory"], "a page or so")

    print("When to poll; reference: every 15 s. Simulated, so always the same")
    for name, (growing, fixed) in bench_simulation.compare(bench_simulation.MIXES).items():
        row(f"  {name}: polls of a run", "", growing.polls, fixed.polls, "fewer")
        row(f"  {name}: end noticed after, mean", "s", growing.delay, fixed.delay, "earlier")
    print(f"{time.monotonic() - began:.0f} s in all.")


if __name__ == "__main__":
    home = tempfile.mkdtemp(prefix="airflow-provider-census-")
    os.environ["AIRFLOW_HOME"] = home
    try:
        main()
    finally:
        shutil.rmtree(home, ignore_errors=True)

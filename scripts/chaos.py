# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
``make chaos-local``: what starts, runs or watches a sync is killed, and no sync is lost or run twice.

A real Airflow on one machine: scheduler, LocalExecutor, triggerers, API server, DAG processor. With
PostgreSQL's programs on this machine, the database is a PostgreSQL of our own, and two triggerers take over
from each other; without, it is SQLite, on which that part cannot run.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from chaos_airflow import Chaos, await_that, expect, kill, name_of, play
from real_airflow import say, wait_for
from stand_in import RESET, says

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

# What the DAGs start.
ON_WORKER, IN_TRIGGERER, TAKEN_OVER = range(101, 106), range(201, 206), range(401, 411)

# Of a request to start a sync; whether the run is started is part of the name.
STARTED_502 = replace(says(502, b"<html>Bad gateway</html>"), name="started, 502", executed=True)
STARTED_RESET = replace(RESET, name="started, reset", executed=True)
BUSY = replace(says(503, b'{"status": "error", "message": "busy"}', Retry_After="1"), name="not started, 503")

# Of any request, one after the other.
OUTAGE = (
    says(503),
    says(500, b"<html>Bad gateway</html>"),
    RESET,
    says(502, b"<html>Bad gateway</html>"),
    BUSY,
    says(200, b"<html>back soon</html>", Content_Type="text/html"),
    says(200),
)

OUTAGE_IN_ALL = 20
"""Seconds."""

NO_POSTGRESQL = """
*** SKIPPED: two triggerers. They need a database with row locks, and PostgreSQL is not installed here.
*** On Debian or Ubuntu:  apt-get update && apt-get install -y postgresql
"""


def main() -> int:
    chaos = OneMachine(Path(tempfile.mkdtemp(prefix="census-chaos-")))
    partly = "" if chaos.has_postgresql else " (Partly skipped.)"
    return play(chaos, chaos.play, f"no sync was lost, none was run twice.{partly}")


class OneMachine(Chaos):
    """An Airflow on the LocalExecutor."""

    def play(self) -> None:
        self.start()
        self.faults()
        if self.has_postgresql:
            second = self.launch_triggerer()
            self.by_hand()
            self.takeover(second)
        else:
            self.by_hand()
            print(NO_POSTGRESQL, file=sys.stderr, flush=True)
        self.check_that_nothing_came_late()

    def faults(self) -> None:
        """Ten syncs at once; then everything goes wrong."""
        syncs = [*ON_WORKER, *IN_TRIGGERER]
        # The first of each kind is killed while the response to its request is on its way.
        for of_kind in (ON_WORKER, IN_TRIGGERER):
            held = self.census.hold(of_kind[0])
            faults = [[held], [STARTED_502], [STARTED_RESET], [BUSY, BUSY, STARTED_502]]
            self.census.plans |= dict(zip(of_kind, faults, strict=False))
        say("Ten syncs at once, five waiting on a worker, five deferred; most requests to start one go wrong")
        self.run_dag("faults")
        killed = {ON_WORKER[0], IN_TRIGGERER[0]}
        await_that("Census to have started two syncs without a response", lambda: self.census.held == killed)
        for task_id in ("on_worker", "in_triggerer"):
            pid = self.task("faults", task_id, 0)["pid"]
            say(f"  kill -9 {pid}: {task_id}[0] has started its sync and does not know it yet")
            end_at_once(task_process(pid))
        self.census.release()
        self.await_all_waiting("faults", 10)
        self.await_polls(syncs, 2)

        pid = self.task("faults", "on_worker", 4)["pid"]
        child = task_process(pid)
        worker = child.parent()
        say(f"  kill -9 {worker.pid} {pid}: on_worker[4] and the worker it runs in, in mid-wait")
        end_at_once(worker, child)

        (old,) = self.triggerers
        say("  SIGTERM to the triggerer, and a new one")
        self.triggerers[old].terminate()
        await_that("the triggerer to end", lambda: self.triggerers[old].poll() is not None)
        del self.triggerers[old]
        new = self.await_triggerer(self.launch_triggerer())
        self.await_triggers_of("faults", {new})
        self.await_polls(IN_TRIGGERER, 2)

        say(f"  {OUTAGE_IN_ALL} s without Census: 500, 502, 503, resets, HTML, no body, refused connections")
        self.outage(syncs)
        self.await_polls(syncs, 2)
        self.end(syncs)
        tasks = self.await_end("faults")
        self.check("faults", syncs, {"on_worker": ON_WORKER, "in_triggerer": IN_TRIGGERER})
        retried = {name_of(task) for task in tasks if task["try_number"] > 1}
        to_be_retried = {"on_worker[0]", "on_worker[4]", "in_triggerer[0]"}
        expect(
            retried == to_be_retried,
            f"only what was killed should have been tried again, not {sorted(retried)}",
        )

    def outage(self, syncs: Sequence[int]) -> None:
        for run in self.runs(syncs):
            run.failures = 0
        parts = (self.census.outage(*OUTAGE), self.census.absence(), self.census.outage(*OUTAGE))
        for part in parts:
            with part:
                self.pause(OUTAGE_IN_ALL / len(parts))
        noticed_by = [run.sync_id for run in self.runs(syncs) if run.failures]
        say(f"  Census is back; {sum(run.failures for run in self.runs(syncs))} polls failed")
        expect(set(noticed_by) >= set(syncs) - {ON_WORKER[4]}, f"the outage was only noticed by {noticed_by}")

    def takeover(self, second: subprocess.Popen[bytes]) -> None:
        """Two triggerers; one is frozen until it has lost its triggers, then the other is killed."""
        self.await_triggerer(second)
        say(f"Ten deferred syncs, two triggerers, {' and '.join(map(str, self.triggerers))}")
        self.run_dag("takeover")
        self.await_all_waiting("takeover", 10)
        self.await_polls(TAKEN_OVER, 2)
        share = Counter(self.triggers_of("takeover"))
        (frozen, _), *_ = share.most_common()
        (other,) = set(self.triggerers) - {frozen}
        say(f"  freezing triggerer {frozen}, which has {share[frozen]} of them")
        kill(self.triggerers[frozen], signal.SIGSTOP)  # type: ignore[index]
        self.await_triggers_of("takeover", {other})
        self.await_polls(TAKEN_OVER, 2)
        say(f"  triggerer {other} has all of them; thawing {frozen}, which takes that for the work of a user")
        kill(self.triggerers[frozen], signal.SIGCONT)  # type: ignore[index]
        await_that(
            "the thawed triggerer to give up its triggers",
            lambda: self.count_in_trigger_logs("takeover", frozen, "invoking on_kill") >= share[frozen],  # type: ignore[arg-type]
        )
        wait_for("both triggerers", lambda: {frozen, other} <= set(self.jobs("TriggererJob")))
        say(f"  kill -9 triggerer {other}, and five runs end while nobody polls")
        kill(self.triggerers.pop(other), signal.SIGKILL)
        self.end(TAKEN_OVER[:5])
        self.await_triggers_of("takeover", {frozen})  # type: ignore[arg-type]
        self.await_polls(TAKEN_OVER[5:], 2)
        self.end(TAKEN_OVER)
        tasks = self.await_end("takeover")
        self.check("takeover", TAKEN_OVER, {"in_triggerer": TAKEN_OVER})
        retried = [name_of(task) for task in tasks if task["try_number"] > 1]
        expect(not retried, f"no task should have been tried again, not {retried}")


def task_process(pid: int) -> psutil.Process:
    process = psutil.Process(pid)
    title = " ".join(process.cmdline())
    expect(title.startswith("airflow worker"), f"{pid} is no task, but {title}")
    return process


def end_at_once(*processes: psutil.Process) -> None:
    for process in processes:
        process.kill()


if __name__ == "__main__":
    sys.exit(main())

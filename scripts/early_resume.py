# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
``make early-resume``: deferred tasks whose runs end at once, with utils/early_resume and without.

A real Airflow with its own heartbeats. Half of the runs end a moment after their first poll, which is on the
worker; the other half a moment after the deferral of a task that is guarded. Without the guard, Airflow 3.2
and 3.3 fail some of the tasks; with it, none.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from chaos_airflow import SETTINGS, Chaos, expect, show_logs
from demo import Stopped, forget, stop
from real_airflow import SIGNALS, ProgramError, say, wait_for

DAGS = Path(__file__).resolve().parent / "early_resume_dags"
DAG_ID = "early_resume"

# The first half of the guarded ends at the second poll; the other at the fifth, when a task has deferred.
UNGUARDED = range(1001, 1031)
ENDS_ON_WORKER, ENDS_IN_TRIGGERER = range(2001, 2051), range(2051, 2101)
GUARDED = range(ENDS_ON_WORKER.start, ENDS_IN_TRIGGERER.stop)

LIMIT = 900
"""Seconds for all tasks of one part."""


def main() -> int:
    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        unguarded = failed(UNGUARDED, {"UNGUARDED": "1"})
        say(f"Without the guard, {unguarded} of {len(UNGUARDED)} tasks were failed by Airflow.")
        guarded = failed(GUARDED, {})
        say(f"With the guard, {guarded} of {len(GUARDED)}.")
        expect(not guarded, "a task was failed by Airflow in spite of the guard")
        if not unguarded:
            say("This Airflow may not have the fault any more: see utils/early_resume.py of the package.")
    except ProgramError as error:
        say(f"FAILED: {error}")
        return 1
    except Stopped as stopped:
        return stopped.exit_code
    return 0


def failed(syncs: range, settings: dict[str, str]) -> int:
    """Run the DAG for these syncs, in an Airflow of its own; how many of its tasks failed."""
    home = Path(tempfile.mkdtemp(prefix="census-early-resume-"))
    usual = {name: value for name, value in SETTINGS.items() if "HEARTBEAT" not in name}
    more = {"FIRST": str(syncs.start), "LAST": str(syncs.stop - 1), **settings}
    part = Chaos(home, DAGS, usual | more)
    part.census.lengths = dict.fromkeys(syncs, 1) | dict.fromkeys(ENDS_IN_TRIGGERER, 4)
    try:
        with part.census, part.programs:
            part.start(DAG_ID)
            say(f"{len(syncs)} syncs at once")
            part.run_dag(DAG_ID)
            wait_for("the end of all tasks", lambda: part.has_ended(DAG_ID), LIMIT)
            states = Counter(task["state"] for task in part.tasks(DAG_ID))
            say(f"  {dict(states)}")
            expect(states.total() == len(syncs), "not all tasks ended")
            return states.total() - states["success"]
    except ProgramError:
        show_logs(part)
        raise
    finally:
        forget(home)


if __name__ == "__main__":
    sys.exit(main())

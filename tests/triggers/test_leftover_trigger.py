# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""A trigger that ``airflow dags test`` left in the database, in the hands of a real triggerer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.utils.session import create_session
from task_fixtures import *  # noqa: F403 - fixtures are found by their names here

from airflow_provider_census.operators.census import CensusTriggerSyncOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from task_helpers import Done

    from airflow_provider_census.sandbox import Sandbox

LIMIT = 90.0
"""Seconds within which a triggerer, on a busy machine, is to have come to anything."""


PATIENT = f"""
from airflow.__main__ import main
from airflow_provider_census.triggers import census
census.STATE_TIMEOUT = {LIMIT}
main()
"""
"""A command of Airflow that has time to tell the state of a task, also on a busy machine."""


@pytest.fixture
def triggerer(airflow_db: str, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Start a triggerer on the database of the tests; its log."""
    log = tmp_path / "triggerer.log"
    with contextlib.ExitStack() as stack:

        def start() -> Path:
            command = [sys.executable, "-c", PATIENT, "triggerer", "--skip-serve-logs"]
            output = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return log

        yield start


def until(happened: Callable[[], Any], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end, log.read_text()[-5000:]
        time.sleep(0.1)


def set_state(sync_run_id: int, state: str) -> None:
    """Give the task whose trigger waits for a run another state, as a user does."""
    with create_session() as session:
        for ti in session.query(TaskInstance).filter(TaskInstance.trigger_id.is_not(None)):
            trigger = session.get(Trigger, ti.trigger_id)
            if trigger is not None and trigger.kwargs.get("sync_run_id") == sync_run_id:
                ti.state = state


def forget_triggers() -> None:
    """Let the triggerer have nothing to do for other tests, which may have left triggers, too."""
    with create_session() as session:
        session.query(TaskInstance).filter(TaskInstance.trigger_id.is_not(None)).update({"trigger_id": None})
        session.query(Trigger).delete()


def trigger_rows(*sync_run_ids: int) -> int:
    """How many triggers wait for these runs; other tests may have left others."""
    with create_session() as session:
        waiting_for = [trigger.kwargs.get("sync_run_id") for trigger in session.query(Trigger)]
    return sum(waiting_for.count(sync_run_id) for sync_run_id in sync_run_ids)


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before 3.3 a trigger cannot tell, or nothing is left")
def test_a_leftover_trigger_cancels_nothing_and_a_user_does(
    run_task: Callable[..., Done],
    census: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    triggerer: Callable[[], Path],
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    forget_triggers()
    monkeypatch.setattr("airflow.sdk.definitions.dag._run_inline_trigger", interrupt)
    now = time.time()
    census.clock = lambda: now  # so that no run ends
    for sync_id in (52, 57):
        with pytest.raises(KeyboardInterrupt):
            run_task(CensusTriggerSyncOperator, sync_id=sync_id, wait_for_completion=True, deferrable=True)
    left, waited = (trigger.sync_run_id for trigger in census.triggers)
    set_state(waited, "deferred")
    census.requests.clear()
    log = triggerer()
    until(lambda: trigger_rows(left, waited) == 1, log)
    # By the second poll Airflow has surely said what the state was when the trigger began.
    until(lambda: sum(path.endswith(f"/{waited}") for _, path in census.requests) > 1, log)
    set_state(waited, "failed")
    until(lambda: census.cancels, log)
    assert census.cancels == [waited], f"{left} is nobody's"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""``airflow census trigger --wait``: the wait for a run in a shell, and its progress on standard error."""

from __future__ import annotations

import random
import time
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from airflow.cli.simple_table import AirflowConsole
from rich.text import Text

from airflow_provider_census import reporting
from airflow_provider_census.api import sync_runs, wording
from airflow_provider_census.api.cleaning import visible, writable
from airflow_provider_census.api.criteria import SuccessCriteria, evaluate
from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.api.waiters import SyncRunWaiter, wait
from airflow_provider_census.exceptions import CensusError

if TYPE_CHECKING:
    from rich.status import Status

    from airflow_provider_census.api.sync_runs import Run
    from airflow_provider_census.hooks.census import CensusHook


class Progress(AbstractContextManager["Progress"]):
    """The log of a wait: on a terminal, the last line of progress changes; elsewhere each one stays."""

    def __init__(self) -> None:
        self._console = AirflowConsole(stderr=True, markup=False, emoji=False, highlight=False)
        self._changing = ExitStack()
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        """Begin with the line that changes, if there is a terminal to show it."""
        if self._console.is_terminal:
            self._status = self._changing.enter_context(self._console.status(""))
        return self

    def __exit__(self, *raised: object) -> None:
        """Take that line away."""
        self._changing.close()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(_plain(line), soft_wrap=True)

    def show(self, line: str) -> None:
        """Change the line that changes."""
        if self._status is not None:
            self._status.update(Text(_plain(line)))

    def info(self, message: str, *values: Any) -> None:
        """Report progress, which the line that changes shows by itself."""
        if self._status is None:
            self.say(message % values)

    def warning(self, message: str, *values: Any) -> None:
        """Report trouble."""
        self.say(message % values)


def _plain(line: str) -> str:
    text: str = visible(writable(line))
    return text


def wait_for_run(hook: CensusHook, started: Run, url: str) -> dict[str, Any]:
    """
    Wait until a run has ended, however it has.

    :param started: the ids of the run and its sync.
    :param url: where it is shown in a browser.
    :returns: what became of it, as an asset event has it.
    :raises CensusError: if that cannot be found out; the message says that the run keeps running.
    """
    progress = Progress()
    waiter = SyncRunWaiter(started["id"], progress, time.time)

    def sleep(seconds: float) -> None:
        progress.show(f"{waiter.last_progress} · {wording.title(started, name)}")
        time.sleep(seconds)

    try:
        with progress:
            name = wording.sync_name(reporting.read_definition(hook, started["sync_id"], hook.log))
            waiter.name_of = lambda _: name
            progress.say(f"Started: {wording.title(started, name)}")
            progress.say(f"Open: {url}")
            run = hook.drive(wait(waiter, WaitOptions(), now=time.time, rng=random.Random()), sleep)
    except KeyboardInterrupt:
        cancel = f"airflow census cancel {started['id']} --conn-id {hook.census_conn_id}"
        progress.say(f"{waiter.abandoned} {url} To cancel it: {cancel}")
        raise
    except CensusError as error:
        raise CensusError(f"{error} {waiter.abandoned} {url}") from error
    run = run if run.get("sync_id") is not None else {**run, "sync_id": started["sync_id"]}
    message = evaluate(run, SuccessCriteria(), url, name).message
    return sync_runs.summary(run, url, name, message)

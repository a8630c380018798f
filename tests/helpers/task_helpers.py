# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What became of a task, and what to run its methods by hand with."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import airflow
import pytest

from airflow_provider_census.links.census import CensusSyncRunLink

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

PACE = 20.0
"""Runs of the sandbox take so many times their time; what a test does in between takes no time beside it."""

STEP = 2.0
"""Seconds of the sandbox that pass at every poll of runs: most runs have ended at the third."""

RESCHEDULED = pytest.param(
    {"mode": "reschedule"},
    marks=pytest.mark.skipif(
        airflow.__version__.startswith("3.0."), reason="its dag.test() fails to poke a second time"
    ),
)
"""For a sensor that has no retries."""


AtFirstSleep = Callable[[Callable[[], Any]], None]
"""The fixture ``at_first_sleep``."""

StateIs = Callable[[Any], None]
"""The fixture ``state_is``."""


def advance_clock_with_polls(sandbox: Sandbox) -> None:
    """Let time pass in the sandbox at every poll of runs, so that nobody has to wait for them."""
    sandbox.clock = lambda: time.time() + PACE * STEP * _gets(sandbox.requests, "/sync_runs")


def _gets(requests: list[tuple[str, str]], words: str) -> int:
    return sum(method == "GET" and words in path for method, path in requests)


def run_of(sandbox: Sandbox, sync_run_id: int) -> dict[str, Any]:
    """A run as it is now, without a request."""
    (run,) = [run for run in sandbox.runs if run["id"] == sync_run_id]
    return run


def triggered(census: Sandbox) -> list[int]:
    """The syncs that were started, in order."""
    return [trigger.sync_id for trigger in census.triggers]


def polls(census: Sandbox) -> int:
    """How often anybody polled a single run."""
    return _gets(census.requests, "/sync_runs/")


def every_argument_of(task: type[Any]) -> set[str]:
    """The names of what its constructor takes, without those that only Airflow knows."""
    parameters = inspect.signature(task.__init__).parameters.values()
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


@dataclass
class Done:
    """What became of a DAG run: end states, XComs, what was raised."""

    dag: Any
    run: Any
    raised: dict[str, list[BaseException]] = field(default_factory=dict)

    @property
    def instances(self) -> list[Any]:
        return sorted(self.run.get_task_instances(), key=lambda ti: (ti.task_id, ti.map_index))

    @property
    def ti(self) -> Any:
        (ti,) = self.instances
        return ti

    @property
    def state(self) -> str:
        return str(self.ti.state)

    @property
    def states(self) -> list[str]:
        return [str(ti.state) for ti in self.instances]

    @property
    def error(self) -> BaseException:
        """The last error that the task failed or was skipped with."""
        return self.raised[self.ti.task_id][-1]

    def xcom(self, key: str = "return_value", ti: Any = None) -> Any:
        ti = ti or self.ti
        return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)

    def link(self, ti: Any = None) -> str:
        """What the button on the task opens, found as the UI finds it: from the serialized DAG."""
        try:
            from airflow.serialization.serialized_objects import DagSerialization
        except ImportError:
            from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization  # type: ignore[assignment, attr-defined]

        ti = ti or self.ti
        operator = DagSerialization.from_dict(DagSerialization.to_dict(self.dag)).get_task(ti.task_id)
        found: str = operator.get_extra_links(ti, CensusSyncRunLink.name)  # type: ignore[assignment]
        return found


@dataclass
class Log:
    """Stands in for the log of a task: its lines, with their levels."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def info(self, message: str, *values: Any) -> None:
        self.lines.append(("info", message % values))

    def warning(self, message: str, *values: Any) -> None:
        self.lines.append(("warning", message % values))

    def error(self, message: str, *values: Any) -> None:
        self.lines.append(("error", message % values))

    def debug(self, message: str, *values: Any) -> None:
        """Not of interest."""

    def count(self, words: str) -> int:
        """How many lines hold these words."""
        return sum(words in line for _, line in self.lines)


class TaskInstance(SimpleNamespace):
    """What the tasks use of a task instance, for running their methods by hand."""

    def __init__(self, **fields: Any) -> None:
        known = {"task_id": "task", "dag_id": "dag", "run_id": "run", "map_index": -1}
        super().__init__(**known, xcoms={}, **{"try_number": 1, "max_tries": 0, **fields})

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)


class Store:
    """Airflow's task state store, in which a try leaves what the next one finds."""

    def __init__(self) -> None:
        self.stored: dict[str, str] = {}
        self.writes = 0
        self.fails_at: dict[int, BaseException] = {}

    def get(self, key: str) -> Any:
        return json.loads(self.stored[key]) if key in self.stored else None

    def set(self, key: str, value: Any) -> None:
        self.writes += 1
        if self.writes in self.fails_at:
            raise self.fails_at[self.writes]
        self.stored[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.stored.pop(key, None)


def context(ti: TaskInstance | None = None, **more: Any) -> Any:
    """A context for a method run by hand, without a task state store unless one is given."""
    begun = datetime.fromtimestamp(time.time(), timezone.utc)
    return {"ti": ti or TaskInstance(), "dag_run": SimpleNamespace(start_date=begun), **more}

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Asks Airflow what has become of a task instance: what tells a user's kill from a restart."""

from __future__ import annotations

from typing import Any

DEFERRED = "deferred"

USER_STATES = frozenset({"failed", "success", "skipped", "restarting", "removed", "none"})
"""What becomes of a running task by a user's hand. A worker that lost its heartbeats finds others, for the
scheduler has given its task to a retry."""


def task_state(ti: Any) -> str:
    """
    Ask for the present state of a task instance; blocks, so not for use on an event loop.

    :param ti: the task instance, as a worker or a trigger has it.
    :returns: the state; ``none`` if it has none, as after a clear, or does not exist any more.
    """
    if hasattr(ti, "current_state"):  # Airflow 2
        return str(ti.current_state() or "none")
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    (state,) = states.get(ti.run_id, {}).values() or (None,)
    return str(getattr(state, "value", state) or "none")

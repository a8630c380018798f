# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The operator's ``sync_label``: a sync by its name instead of its number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_census.exceptions import CensusLookupError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox


def operator(**arguments: Any) -> CensusTriggerSyncOperator:
    return CensusTriggerSyncOperator(task_id="sync", **arguments)


class TaskInstance:
    """As much of one as starting a sync takes."""

    try_number, max_tries, task_id, map_index = 1, 0, "sync", -1

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.mark.parametrize("label", ["Completes at once", "Completes"])
def test_the_one_sync_with_the_label_is_started(census: Sandbox, label: str) -> None:
    instance = TaskInstance()
    sync_run_id = operator(sync_label=label).execute({"ti": instance})  # type: ignore[typeddict-item]
    (trigger,) = census.triggers
    assert CensusHook().get_sync(trigger.sync_id)["label"] == label
    assert instance.pushed["sync_run_id"] == sync_run_id == trigger.sync_run_id


def test_a_label_is_a_template() -> None:
    assert "sync_label" in CensusTriggerSyncOperator.template_fields
    task = operator(sync_label="Completes {{ when }}")
    task.render_template_fields({"when": "at once"})  # type: ignore[typeddict-unknown-key]
    assert task.sync_label == "Completes at once"
    assert task.sync_id is None


@pytest.mark.parametrize(("sync_id", "sync_label"), [(52, "Completes"), ("{{ x }}", "{{ y }}"), (52, "")])
def test_a_sync_has_one_name(sync_id: Any, sync_label: str) -> None:
    with pytest.raises(ValueError, match=r"^pass sync_id or sync_label, not both: "):
        operator(sync_id=sync_id, sync_label=sync_label)


def test_a_sync_has_a_name() -> None:
    with pytest.raises(ValueError, match=r"^sync_id "):
        operator()


def test_near_labels_are_in_the_error(census: Sandbox) -> None:
    with pytest.raises(CensusLookupError, match=r"'Completes' \(sync 52\), 'Completes at once' \(sync 58\)"):
        operator(sync_label="completes").execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    assert census.triggers == []


def test_two_syncs_with_the_label_are_an_error(census: Sandbox) -> None:
    CensusHook().update_sync(57, {"label": "Completes"})
    with pytest.raises(CensusLookupError, match=r"'Completes': 52, 57"):
        operator(sync_label="Completes").execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    assert census.triggers == []


@pytest.mark.parametrize("label", ["", " ", 52.5, True, "{{ label }}"])
def test_what_cannot_be_a_label_is_not_searched_for(census: Sandbox, label: Any) -> None:
    with pytest.raises(ValueError, match=r"^sync_label "):
        operator(sync_label=label).execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    assert census.requests == []

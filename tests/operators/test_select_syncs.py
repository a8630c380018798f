# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Syncs that are selected by what they read, and started by a mapped task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from task_helpers import Log, context, every_argument_of, triggered

from airflow_provider_census.exceptions import CensusLookupError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.operators.select import CensusSelectSyncsOperator
from airflow_provider_census.sandbox import completes

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_census.sandbox import Sandbox


def select(**options: Any) -> CensusSelectSyncsOperator:
    return CensusSelectSyncsOperator(task_id="select", **options)


def test_what_is_selected_is_started(run_task: Callable[..., Any], census: Sandbox) -> None:
    def make() -> None:
        chosen = select(model="braze_*", label="R* l*", paused=False)
        CensusTriggerSyncOperator.partial(
            task_id="start",
            map_index_template="{{ ti.xcom_pull(task_ids='select', key='labels')[task.sync_id | string] }}",
        ).expand(sync_id=chosen.output)

    done = run_task(make)
    assert set(done.states) == {"success"}
    (mapped, _) = done.instances if done.instances[0].task_id == "start" else done.instances[::-1]
    assert triggered(census) == [57]
    assert getattr(mapped, "rendered_map_index", None) == "Runs long"


def test_none_is_an_error_that_says_what_was_wanted(census: Sandbox) -> None:
    with pytest.raises(CensusLookupError, match=r"No sync matches table='marts\.none'. .*allow_empty=True"):
        select(table="marts.none").execute(context())


def test_none_may_be_allowed_and_what_is_mapped_over_it_is_skipped(
    run_task: Callable[..., Any], census: Sandbox
) -> None:
    def make() -> None:
        chosen = select(label="no such*", allow_empty=True)
        CensusTriggerSyncOperator.partial(task_id="start").expand(sync_id=chosen.output)

    done = run_task(make)
    assert {ti.task_id: str(ti.state) for ti in done.instances} == {"select": "success", "start": "skipped"}
    assert triggered(census) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "a", "dataset": "b"}, "only one of table and dataset"),
        ({"source": 0}, "source must be"),
        ({"allow_empty": 1}, "allow_empty must be True or False, not 1"),
        ({"census_conn_id": ""}, "census_conn_id must be a non-empty string"),
    ],
)
def test_what_makes_no_sense_is_refused_when_the_dag_is_read(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        select(**options)


def test_whether_a_sync_is_paused_may_be_a_template(run_task: Callable[..., Any], census: Sandbox) -> None:
    CensusHook().pause_sync(57)
    paused, others = (
        run_task(CensusSelectSyncsOperator, paused=f"{{{{ {answer} }}}}").xcom() for answer in (True, False)
    )
    assert (paused, 57 in others, 52 in others) == ([57], False, True)


def test_a_template_is_checked_when_it_is_rendered(census: Sandbox) -> None:
    task = select(table="{{ params.table }}", model="x")
    task.table = "a"
    with pytest.raises(ValueError, match="only one of table and model"):
        task.execute(context())


def test_every_argument_is_an_attribute() -> None:
    arguments = every_argument_of(CensusSelectSyncsOperator) - {"label"} | {"sync_label"}
    assert {*vars(select())} >= arguments >= {*CensusSelectSyncsOperator.template_fields}


def test_a_label_is_one_line_of_the_log(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(CensusSelectSyncsOperator, "log", log)
    census.add_sync(77, completes(), label="Nightly\n::group::evil")
    select(label="Nightly*").execute(context())
    (line,) = (line for _, line in log.lines if "syncs match" in line)
    assert "Nightly" in line
    assert "\n" not in line
    assert "::group::" not in line


def test_a_label_that_another_task_gives_makes_that_one_come_first() -> None:
    with DAG("selects", schedule=None):
        before = BaseOperator(task_id="before")
        mapped = CensusSelectSyncsOperator.partial(task_id="select", label=before.output).expand(
            source=["a", "b"]
        )
    assert mapped.upstream_task_ids == {"before"}

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the asset events of a task say of its sync run, as Airflow has them in its database."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from task_helpers import Done, Log, context

from airflow_provider_census.assets.census import sync_asset
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import CensusTriggerSyncOperator
from airflow_provider_census.sensors.census import CensusSyncRunSensor
from airflow_provider_census.utils.asset_events import annotate

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

RunTask = Callable[..., Done]

COUNTS = {
    "source_record_count": 1000,
    "records_processed": 1000,
    "records_updated": 1000,
    "records_failed": 0,
    "records_invalid": 0,
}


def asset_events(done: Done) -> list[tuple[str, dict[str, Any]]]:
    """The events that the DAG run caused, as URI and extra."""
    from airflow.utils.session import create_session

    if AIRFLOW_V_3_0_PLUS:
        from airflow.models.asset import AssetEvent
    else:
        from airflow.models.dataset import DatasetEvent as AssetEvent  # type: ignore[no-redef]
    with create_session() as session:
        found = session.query(AssetEvent).filter(AssetEvent.source_dag_id == done.dag.dag_id)
        return [(event.uri, dict(event.extra)) for event in found.order_by(AssetEvent.id)]


def operator(**arguments: Any) -> None:
    CensusTriggerSyncOperator(task_id="task", wait_for_completion=True, **arguments)


def sensor(*, sync_id: int, **arguments: Any) -> None:
    CensusSyncRunSensor(task_id="task", sync_run_id=CensusHook().trigger_sync(sync_id), **arguments)


@pytest.mark.parametrize("make", [operator, sensor])
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_every_outlet_gets_the_run(
    run_task: RunTask, census: Sandbox, make: Callable[..., None], deferrable: bool
) -> None:
    foreign = Asset("x-table://warehouse/users")
    done = run_task(make, sync_id=52, deferrable=deferrable, outlets=[sync_asset(52), foreign])
    assert done.state == "success"
    [trigger] = census.triggers
    [(uri, extra), (other, same)] = sorted(asset_events(done))
    assert (uri, other) == ("census://app.getcensus.com/syncs/52", "x-table://warehouse/users")
    times = {key: extra.pop(key) for key in ("created_at", "completed_at")}
    assert all(times.values())
    message = extra["message"]
    assert message.endswith(
        f": 1000 updated, 0 rejected, 0 invalid · Completes → user (sync 52, run {trigger.sync_run_id})"
    )
    assert extra == {
        "message": message,
        "sync_name": "Completes → user",
        "sync_id": 52,
        "sync_run_id": trigger.sync_run_id,
        "outcome": "completed",
        "status": "completed",
        **COUNTS,
        "url": f"{census.url}/syncs/52/history?sync_run_id={trigger.sync_run_id}",
    }
    assert same == {**extra, **times}


@pytest.mark.parametrize(
    ("sync_id", "options", "state", "outcome"),
    [
        (53, {}, "failed", None),
        (54, {"on_skipped_run": "skip"}, "skipped", None),
        (54, {"on_skipped_run": "succeed"}, "success", "skipped"),
        (55, {"max_records_failed": 2}, "failed", None),
        (55, {}, "success", "completed"),
    ],
)
def test_only_a_success_is_announced(
    run_task: RunTask,
    census: Sandbox,
    sync_id: int,
    options: dict[str, Any],
    state: str,
    outcome: str | None,
) -> None:
    done = run_task(operator, sync_id=sync_id, outlets=[sync_asset(sync_id)], **options)
    assert done.state == state
    assert [extra["outcome"] for _, extra in asset_events(done)] == ([outcome] if outcome else [])


def test_each_mapped_task_reports_its_own_run(run_task: RunTask, census: Sandbox) -> None:
    def mapped() -> None:
        CensusTriggerSyncOperator.partial(
            task_id="task", wait_for_completion=True, outlets=[Asset("x-all://syncs")]
        ).expand(sync_id=[52, 55])

    done = run_task(mapped)
    assert done.states == ["success", "success"]
    found = {(extra["sync_id"], extra["records_failed"]) for _, extra in asset_events(done)}
    assert found == {(52, 0), (55, 3)}


def test_an_alias_is_left_to_whoever_adds_to_it(run_task: RunTask, census: Sandbox) -> None:
    def add(context: Any, result: Any) -> None:
        context["outlet_events"][alias].add(Asset("x-table://added"), extra={"by": "us"})

    alias = AssetAlias("some")
    done = run_task(operator, sync_id=52, outlets=[alias], post_execute=add)
    assert asset_events(done) == [("x-table://added", {"by": "us"})]


def test_what_somebody_else_adds_stays(run_task: RunTask, census: Sandbox) -> None:
    def add(context: Any) -> None:
        context["outlet_events"][asset].extra = {"outcome": "ours", "more": 1}

    asset = sync_asset(52)
    done = run_task(operator, sync_id=52, outlets=[asset], pre_execute=add)
    [(_, extra)] = asset_events(done)
    assert extra.items() >= {"outcome": "ours", "more": 1, "sync_id": 52}.items()


def test_an_event_that_cannot_be_annotated_does_no_harm(census: Sandbox) -> None:
    log = Log()
    known = context(outlet_events={})
    annotate(known, [sync_asset(52), AssetAlias("a"), "x-table://warehouse", 7], {"sync_id": 52}, log)
    assert [level for level, _ in log.lines] == ["warning"]
    annotate(context(), [sync_asset(52)], {"sync_id": 52}, log)
    assert log.count("will not say which sync run it stands for") == 2


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="references to assets came in Airflow 3")
def test_a_reference_is_annotated_as_the_asset_is(run_task: RunTask, census: Sandbox) -> None:
    asset = Asset(name="named", uri="x-table://named")

    def both() -> None:
        first = CensusTriggerSyncOperator(
            task_id="first", sync_id=52, wait_for_completion=True, outlets=[asset]
        )
        first >> CensusTriggerSyncOperator(
            task_id="then", sync_id=58, wait_for_completion=True, outlets=[Asset.ref(name="named")]
        )

    done = run_task(both)
    assert [(uri, extra["sync_id"]) for uri, extra in asset_events(done)] == [
        ("x-table://named", 52),
        ("x-table://named", 58),
    ]


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"outlets": [sync_asset(52)]}, 1),
        ({"outlets": [sync_asset(52)], "wait_for_completion": True}, 0),
        ({"outlets": []}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_a_task_that_does_not_wait_is_warned_of_its_outlets(options: dict[str, Any], warned: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CensusTriggerSyncOperator(task_id="task", sync_id=52, **options)
    found = [str(each.message) for each in caught if "outlets of task 'task'" in str(each.message)]
    assert len(found) == warned
    assert all("wait_for_completion=True" in each for each in found)


def test_the_token_is_in_no_event(run_task: RunTask, census: Sandbox) -> None:
    done = run_task(operator, sync_id=52, outlets=[sync_asset(52)])
    assert census.token not in json.dumps(asset_events(done))

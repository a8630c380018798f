# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What an import brings along: a DAG file is parsed often, and should be cheap."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

AUTHORING = """
try:
    from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
except ImportError:
    from airflow import DAG
    from airflow.models import BaseOperator
    from airflow.sensors.base import BaseSensorOperator
"""
HOOK = "from airflow.providers.common.compat.sdk import BaseHook"
EVENTS = "import airflow.triggers.base"
TASKS = "import airflow_provider_census.operators.census, airflow_provider_census.sensors.census"
HTTP = ("requests", "aiohttp", "httpx", "urllib3", "tenacity")
OURS = tuple(
    f"airflow_provider_census.{part}"
    for part in ("hooks", "triggers", "transports", "openlineage", "deprecated", "api.endpoints")
)
SOCKETS = tuple(
    f"airflow_provider_census.transports.{part}" for part in ("base", "requests", "aiohttp", "shared_client")
)
AIRFLOWS = ("airflow.triggers", "airflow.models.xcom", "airflow.sdk.execution_time.xcom")
HEAVY = (*HTTP, *OURS, *AIRFLOWS, "openlineage", "statsd")


SCRIPT = """
import os, sys
{first}
before = set(sys.modules)
for then in {then}:
    if not os.fork():
        exec(then)
        print(*set(sys.modules) - before, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@cache
def brought(first: str, *then: str) -> list[set[str]]:
    """Import in a fresh process; the modules that each later import, alone, adds to those of the first."""
    script = SCRIPT.format(first=first, then=then)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()[-len(then) :]]


CASES: list[tuple[str, str, tuple[str, ...]]] = [
    (AUTHORING, "import airflow_provider_census.operators.census", HEAVY),
    (AUTHORING, "import airflow_provider_census.sensors.census", HEAVY),
    (AUTHORING, "import airflow_provider_census.sensors.census_sync", HEAVY),
    (AUTHORING, TASKS, HEAVY),
    (HOOK, "import airflow_provider_census.hooks.census", (*HTTP, *SOCKETS)),
    (
        EVENTS,
        "import airflow_provider_census.triggers.events",
        (*HTTP, *SOCKETS, "airflow_provider_census.operators", "airflow_provider_census.sensors"),
    ),
    (
        AUTHORING,
        "import airflow_provider_census.assets.census",
        (*HEAVY, "airflow_provider_census.utils.asset_events"),
    ),
]


@pytest.mark.parametrize(("first", "then", "unwanted"), CASES)
def test_a_dag_file_brings_nothing_along_that_only_a_task_needs(
    first: str, then: str, unwanted: tuple[str, ...]
) -> None:
    alike = [each for earlier, each, _ in CASES if earlier == first]
    modules = brought(first, *alike)[alike.index(then)]
    assert set(then.removeprefix("import ").split(", ")) <= modules
    assert [
        module for module in modules if f"{module}.".startswith(tuple(f"{each}." for each in unwanted))
    ] == []


def test_the_core_needs_nothing_but_the_standard_library() -> None:
    (modules,) = brought(
        "import pkgutil, airflow_provider_census.api as api",
        "for each in pkgutil.iter_modules(api.__path__, api.__name__ + '.'): __import__(each.name)",
    )
    ours = {module for module in modules if module.startswith("airflow_provider_census")}
    assert {"airflow_provider_census.api.flow", "airflow_provider_census.api.endpoints"} <= ours
    assert {module for module in ours if ".api." not in module} == {"airflow_provider_census.exceptions"}
    others = {module.partition(".")[0] for module in modules - ours}
    assert others <= set(sys.stdlib_module_names)


def test_the_provider_info_is_read_without_importing_anything_but_the_core() -> None:
    (modules,) = brought(
        "", "from airflow_provider_census import get_provider_info as g; g.get_provider_info()"
    )
    ours = {module for module in modules if module.startswith("airflow_provider_census")}
    core = {module for module in ours if module.startswith("airflow_provider_census.api")}
    assert ours - core == {"airflow_provider_census", "airflow_provider_census.get_provider_info"}
    assert {module.partition(".")[0] for module in modules - ours} <= set(sys.stdlib_module_names)


def test_an_airflow_command_brings_nothing_along_but_the_description_of_ours() -> None:
    describe = "from airflow_provider_census import cli; assert cli.get_census_cli_commands()"
    (modules,) = brought("import airflow.cli.cli_config", describe)
    assert modules - {"airflow_provider_census"} == {"airflow_provider_census.cli"}


def test_both_modules_of_sensors_offer_the_same_sensor() -> None:
    from airflow_provider_census.sensors import census, census_sync

    assert census.CensusSyncSensor is census_sync.CensusSyncSensor
    with pytest.raises(AttributeError, match="no attribute 'CensusSyncSensors'"):
        census.CensusSyncSensors  # type: ignore[attr-defined]  # noqa: B018

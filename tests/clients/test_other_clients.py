# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote for Census take the sandbox for it, each in an environment of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provider_census.sandbox import Sandbox, cancelled, completes, fails, skipped
from airflow_provider_census.sandbox.__main__ import welcome

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parent.parent.parent
UV = Path(sys.executable).parent / "uv"
MINUTES = 60

SYNCS = {1: completes(20), 2: fails("RATE_LIMIT", "Too fast"), 3: cancelled(), 4: skipped()}

DAGSTER = """
from dagster_census import CensusResource

class Local(CensusResource):
    @property
    def api_base_url(self):
        return url + "/api/v1"

client = Local(api_key=token, request_max_retries=0)
listed = [[sync.id, sync.name] for sync in client.fetch_census_workspace_data().syncs]

def end(sync_id):
    done = client.trigger_sync_and_poll(sync_id, poll_interval=0.05)
    assert (done.source["type"], done.destination["type"]) == ("snowflake", "braze")
    return [done.sync_run["status"], done.sync_run["canceled"]]
"""
PREFECT = """
import asyncio
from prefect_census import CensusCredentials, CensusSync
from prefect_census.client import CensusClient

made = CensusClient.__init__

def make(self, *args, **kwargs):
    made(self, *args, **kwargs)
    self.client.base_url = url + "/api/v1"

CensusClient.__init__ = make

async def run(sync_id):
    credentials = CensusCredentials(api_key=token)
    started = await CensusSync(credentials=credentials, sync_id=sync_id, poll_frequency_seconds=1).trigger()
    await started.wait_for_completion()
    result = await started.fetch_result()
    return [result.run_data["status"], result.run_data["canceled"]]

listed = None

def end(sync_id):
    return asyncio.run(run(sync_id))
"""
VENDOR = """
import time
from airflow_provider_census import __file__ as ours
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sensors.census import CensusSensor

assert "site-packages" in ours
listed = list(CensusHook().test_connection())

def end(sync_id):
    sync_run_id = CensusHook().trigger_sync(sync_id)
    sensor = CensusSensor(task_id="sensor", sync_run_id=sync_run_id)
    for _ in range(200):
        if sensor.poke({}):
            break
        time.sleep(0.05)
    run = CensusHook().get_sync_run_info(sync_run_id)
    return [run["status"], run["canceled"]]
"""
DRIVER = """
import json, sys
url, token, sync_ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
{client}
ends = {{}}
for sync_id in sync_ids:
    try:
        ends[sync_id] = end(sync_id)
    except Exception as error:
        ends[sync_id] = [type(error).__name__, str(error)]
print(json.dumps([listed, ends]))
"""


class Client(NamedTuple):
    """What is installed, and how it is driven."""

    packages: tuple[str, ...]
    driver: str
    options: tuple[str, ...] = ()


CLIENTS = {
    "dagster-census 0.29.27": Client(("dagster-census==0.29.27",), DAGSTER),
    # With Prefect 3, it cannot be imported.
    "prefect-census 0.2.2": Client(("prefect-census==0.2.2", "prefect<3"), PREFECT),
    "airflow-provider-census 2.1.0": Client(
        ("airflow-provider-census==2.1.0", f"apache-airflow=={version('apache-airflow')}"),
        VENDOR,
        ("--constraint", str(ROOT / "constraints.txt")),
    ),
}


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """One of the clients, installed, and its Python."""
    name: str = request.param
    if not version("apache-airflow").startswith("3.3."):
        pytest.skip("they are driven once, beside the newest Airflow")
    home = tmp_path_factory.mktemp("client")
    python = home / "bin" / "python"
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", python, *CLIENTS[name].options]
    commands: list[list[str | Path]] = [
        [UV, "venv", "--quiet", "--python", sys.executable, home],
        [*install, *CLIENTS[name].packages],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10 * MINUTES, check=False)
        if done.returncode:
            pytest.skip(f"NOT TESTED with {name}: it cannot be installed here: {done.stderr.strip()[-500:]}")
    return name, python


@pytest.fixture(params=["completed", "cancelled"])
def census(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(pace=0.02, syncs=SYNCS, cancelled_as=request.param) as sandbox:
        yield sandbox


def drive(client: tuple[str, Path], census: Sandbox, home: Path, sync_ids: list[int]) -> tuple[Any, Any]:
    """What a client lists, and how it sees the runs of these syncs end."""
    name, python = client
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "PYTHON"))
    }
    environment |= {"AIRFLOW_HOME": str(home), "PREFECT_HOME": str(home), "DAGSTER_HOME": str(home)}
    environment |= {"DAGSTER_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    _, printed = (line for line in welcome(census, None).splitlines() if line.startswith("export "))
    key, _, value = shlex.split(printed)[1].partition("=")
    done = subprocess.run(
        [
            python,
            "-c",
            DRIVER.format(client=CLIENTS[name].driver),
            census.url,
            census.token,
            json.dumps(sync_ids),
        ],
        env=environment | {key: value},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=5 * MINUTES,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed, ends = json.loads(done.stdout.splitlines()[-1])
    return listed, ends


def test_a_client_starts_and_waits_and_sees_how_runs_end(
    client: tuple[str, Path], census: Sandbox, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name, cancelled_as = client[0], request.node.callspec.params["census"]
    # The vendor's waits for ever for a run with a status that it does not know.
    known = {"airflow-provider-census 2.1.0": [1, 2, 3] if cancelled_as == "completed" else [1, 2]}
    listed, ends = drive(client, census, tmp_path, known.get(name, [1, 2, 3, 4]))

    assert ends["1"] == ["completed", False]
    assert [trigger.sync_id for trigger in census.triggers] == [int(sync_id) for sync_id in ends]
    if name.startswith("dagster"):
        assert listed == [[1, "sync-1"], [2, "sync-2"], [3, "sync-3"], [4, "sync-4"]]
        assert ends["2"] == ["failed", False]
        assert ends["4"] == ["skipped", False]
        assert ends["3"] == ["completed", True] if cancelled_as == "completed" else "ValueError" in ends["3"]
    elif name.startswith("prefect"):
        assert ends["2"][0] == "CensusSyncRunFailed"
        assert ends["4"] == [
            "RuntimeError",
            f"Sync run with ID: {census.runs[3]['id']} ended with unexpected status skipped",
        ]
        assert (
            ends["3"] == ["completed", True]
            if cancelled_as == "completed"
            else "CensusSyncRunCancelled" in ends["3"]
        )
    else:
        assert listed[0] is True
        assert "failed with error: Too fast" in ends["2"][1]
        assert ends.get("3", ["completed", True]) == ["completed", True]

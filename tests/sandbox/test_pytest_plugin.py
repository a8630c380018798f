# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""pytest finds the fixture by itself, and it costs nothing until it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = "airflow_provider_census.sandbox.pytest_plugin"
ROOT = Path(__file__).parent.parent.parent

TESTS = """
import os, sys
import requests

def test_first(census_sandbox):
    assert os.environ["AIRFLOW_CONN_CENSUS_DEFAULT"] == census_sandbox.connection_uri
    token = {"Authorization": f"Bearer {census_sandbox.token}"}
    trigger = f"{census_sandbox.url}/api/v1/syncs/90210/trigger"
    assert requests.post(trigger, headers=token, timeout=10).status_code == 200
    assert [trigger.sync_id for trigger in census_sandbox.triggers] == [90210]

def test_second(census_sandbox):
    assert census_sandbox.triggers == []

def test_third():
    assert "AIRFLOW_CONN_CENSUS_DEFAULT" not in os.environ
"""


def run_pytest(folder: Path, tests: str, path: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(tests)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    environment |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([path, *filter(None, sys.path)]).lstrip(os.pathsep),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "--rootdir", folder, folder],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_each_test_has_a_sandbox_of_its_own_behind_the_connection(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, TESTS)

    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("heavy", ["airflow", "starlette", "uvicorn", "requests"])
def test_a_test_run_without_it_imports_nothing_of_it(heavy: str) -> None:
    code = f"import sys, {PLUGIN}; sys.exit({heavy!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_without_the_extra_it_says_in_one_sentence_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uvicorn.py").write_text("raise ModuleNotFoundError('gone', name='uvicorn')\n")

    done = run_pytest(tmp_path, "def test_it(census_sandbox): pass", str(hidden))

    assert "needs uvicorn: pip install 'airflow-provider-census[sandbox]'" in done.stdout
    assert "1 error" in done.stdout


def test_pytest_is_told_of_it() -> None:
    project = (ROOT / "pyproject.toml").read_text()

    assert f'[project.entry-points.pytest11]\ncensus_sandbox = "{PLUGIN}"\n' in project

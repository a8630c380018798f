# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox as a command."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from airflow_provider_census.sandbox.__main__ import main
from airflow_provider_census.sandbox.outcomes import OUTCOMES

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_census.sandbox import Sandbox

COMMAND = [sys.executable, "-m", "airflow_provider_census.sandbox"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_how_to_reach_it_and_ends_quietly(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = "".join(iter(process.stdout.readline, "Ctrl-C stops it.\n"))
        exported = re.findall(r"^export AIRFLOW_CONN_CENSUS_DEFAULT=(.+)$", said, re.MULTILINE)
        v2, v1 = (json.loads(*shlex.split(value)) for value in exported)
        token, url = v1["password"], v1["host"]
        answer = requests.get(f"{url}/api/v1/sources", auth=("bearer", token), timeout=10)
        process.send_signal(ending)
        rest, log = process.communicate(timeout=30)

    assert answer.status_code == 200
    assert f"Token: {token}" in said
    assert f"{url}/api/v1\n" in said
    assert v1["extra"] == {"api_version": "v1"}
    assert v2 == {
        "conn_type": "census",
        "host": url,
        "password": "sandbox-personal-access-token",
        "extra": {"api_version": "v2", "group_id": "wandering_aimlessly"},
    }
    for sync_id, behavior in OUTCOMES.items():
        assert f"{sync_id}  {behavior.summary}\n" in said
    assert (process.returncode, rest) == (0, "")
    assert [line.split(maxsplit=2)[2] for line in log.splitlines()] == ["GET /api/v1/sources 200"]


def test_the_command_says_in_one_line_that_the_port_is_in_use(sandbox: Sandbox) -> None:
    ended = subprocess.run(
        [*COMMAND, "--port", str(sandbox.port)], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"the Census sandbox cannot listen on 127.0.0.1 port {sandbox.port}")
    assert len(ended.stderr.splitlines()) == 1


def test_the_command_refuses_a_port_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "65536"])
    assert "--port: must be from 0 to 65535, not 65536" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_the_command_says_in_one_line_what_is_not_installed(tmp_path: Path, missing: str) -> None:
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('gone', name={missing!r})\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = subprocess.run(
        COMMAND,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        f"The Census sandbox needs {missing}: pip install 'airflow-provider-census[sandbox]'\n"
    )


def test_the_sandbox_needs_neither_airflow_nor_the_providers_own_api_code() -> None:
    program = (
        "import sys, airflow_provider_census.sandbox.server, airflow_provider_census.sandbox.__main__\n"
        "print([name for name in sys.modules if name == 'airflow' or name.startswith('airflow.')\n"
        "       or name.startswith('airflow_provider_census.') and '.sandbox' not in name])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert said.stdout == "[]\n"

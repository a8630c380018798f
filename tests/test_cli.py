# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""``airflow census …``, as a shell sees it: what is printed where, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import airflow
import pytest

from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.sandbox import Sandbox, cancelled, fails, runs_for, skipped

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 2),
    reason="Airflow takes commands of providers from 3.2 on",
)

SCRIPT = """
import gc, json, os, requests, signal, sys
from airflow.__main__ import main
from airflow.cli import cli_parser, simple_table
from airflow.sdk.execution_time import supervisor
from airflow_provider_census.hooks import census

cli_parser.get_parser()
gc.freeze()  # or each process would tidy it all up when it ends, which takes most of its time
for asked in sys.stdin:
    commands, environment, streams = json.loads(asked)
    codes = []
    for command, (out, err) in zip(commands, streams):
        child = os.fork()
        if not child:
            os.dup2(os.open(out, os.O_CREAT | os.O_WRONLY), 1)
            os.dup2(os.open(err, os.O_CREAT | os.O_WRONLY | os.O_NOCTTY), 2)
            os.environ.clear()
            os.environ.update(environment)
            # The shell that started the tests may have made them deaf to it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.argv = ["airflow", *command]
            sys.exit(main())
        with open(out + ".pid", "w") as file:
            file.write(str(child))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(codes), flush=True)
"""
"""Each command is a process of its own, but Airflow is imported once for all of them."""


@dataclass
class Said:
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def found(self) -> list[dict[str, Any]]:
        assert (self.code, self.err) == (0, "")
        rows: list[dict[str, Any]] = json.loads(self.out)
        return rows


Run = Callable[..., list[Said]]


class Forks:
    """An Airflow that has been imported and forks for each command."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def begin(self, commands: list[list[str]], environment: dict[str, str], errors: str = "") -> None:
        """Run some, one after the other; what is written to their standard error may go elsewhere."""
        for file in self._folder.iterdir():
            file.unlink()
        outs = [str(self._folder / str(number)) for number in range(len(commands))]
        streams = [(out, errors or f"{out}.err") for out in outs]
        assert self._process.stdin
        print(json.dumps([commands, os.environ | environment, streams]), file=self._process.stdin, flush=True)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.kill(int((self._folder / "0.pid").read_text()), signal.SIGINT)

    def end(self) -> list[Said]:
        """Wait for them."""
        assert self._process.stdout
        said = []
        for number, code in enumerate(json.loads(self._process.stdout.readline())):
            out, err = self._folder / str(number), self._folder / f"{number}.err"
            said.append(Said(out.read_text(), err.read_text() if err.exists() else "", code))
        return said


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A local Census in which a run goes on for as long as the commands take."""
    with Sandbox(strict=True) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", sandbox.connection_uri_v1)
        yield sandbox


@pytest.fixture(scope="module")
def airflow_process(airflow_db: str) -> Iterator[subprocess.Popen[str]]:
    """An Airflow that has been imported and forks for each command."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.fixture
def forks(airflow_process: subprocess.Popen[str], tmp_path: Path) -> Forks:
    folder = tmp_path / "said"
    folder.mkdir()
    return Forks(airflow_process, folder)


@pytest.fixture
def census_commands(forks: Forks) -> Run:
    """Run several commands, each given by its words."""

    def run(*commands: str, **environment: str) -> list[Said]:
        forks.begin([["census", *command.split()] for command in commands], environment)
        return forks.end()

    return run


def test_a_connection_is_checked(
    census: Sandbox, census_commands: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"conn_type": "census", "host": census.url}
    connections = {
        "old": {**fields, "password": census.token, "extra": {"api_version": "v1"}},
        "new": {**fields, "password": census.personal_access_token, "extra": {"api_version": "v2"}},
        "grouped": {
            **fields,
            "password": census.personal_access_token,
            "extra": {"api_version": "v2", "group_id": "mine"},
        },
        "wrong": {**fields, "password": "wrong-token", "extra": {"api_version": "v2"}},
    }
    environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(conn) for name, conn in connections.items()}
    commands = [f"check --conn-id {name} -o json" for name in connections]
    old, new, grouped, wrong = census_commands(*commands, **environment)
    [checked] = old.found
    needed = checked.pop("v2")
    assert checked == {
        "connection": "old",
        "host": census.url,
        "region": "not known of this host",
        "api_version": "v1",
        "syncs": str(len(CensusHook("census_default").list_syncs())),
        "token": "accepted",
    }
    assert needed.startswith("needs api_version v2, and a personal access token; v1 end")
    assert new.found[0]["v2"] == "in use; a group_id, only to create activations and the like"
    assert grouped.found[0]["v2"] == "in use"
    assert (wrong.out, wrong.code) == ("", 1)
    assert "HTTP 401" in wrong.err
    assert "personal access token" in wrong.err
    assert "secret-token" not in wrong.err


def test_the_four_commands(census: Sandbox, census_commands: Run) -> None:
    hook = CensusHook()
    going_on = hook.trigger_sync(57)
    runs, by_label, *others = (
        said.found
        for said in census_commands(
            "runs 52 -o json",
            "runs Fails -o json",
            "status 93 -o json",
            "trigger 52 -o json",
            "trigger 58 --force-full-sync -o json",
            f"cancel {going_on} -o json",
        )
    )
    assert [run["id"] for run in runs] == [str(run["id"]) for run in hook.list_sync_runs(52, order="desc")][
        -3:
    ]
    assert {run["status"] for run in runs} == {"completed", "failed"}
    assert runs[0]["records_updated"] == "1"
    assert [(run["started_by"], run["duration"]) for run in runs] == [
        ("Manual", "1 min 22 s"),
        ("Manual", "1 min 13 s"),
        ("Manual", "1 min 21 s"),
    ]
    assert [run["reason"].partition(":")[0] for run in runs] == ["", "JSON_ARRAY_ERROR", ""]
    assert by_label == []
    (status,), (started,), (full,), (cancelled,) = others
    run = hook.get_sync_run(93)
    assert status.keys() == {*run, "sync_name", "started_by", "duration", "reason", "url"}
    assert (status["id"], status["status"]) == ("93", "failed")
    assert status["error_message"] == run["error_message"]
    assert status["url"] == f"{census.url}/syncs/52/history?sync_run_id=93"
    assert [trigger.sync_id for trigger in census.triggers] == [57, 52, 58]
    for row, trigger in zip((started, full), census.triggers[1:], strict=True):
        assert row["sync_run_id"] == str(trigger.sync_run_id)
        assert row["url"] == (
            f"{census.url}/syncs/{trigger.sync_id}/history?sync_run_id={trigger.sync_run_id}"
        )
    assert not hook.get_sync_run(started["sync_run_id"])["full_sync"]
    assert hook.get_sync_run(full["sync_run_id"])["full_sync"]
    assert (cancelled["id"], cancelled["canceled"]) == (str(going_on), "True")
    assert census.cancels == [going_on]


def test_syncs_are_found_by_what_they_read(census: Sandbox, census_commands: Run) -> None:
    everything, long, other_table, wrong, two = census_commands(
        "syncs -o json",
        "syncs --label R*long --model braze_* --destination 15 -o json",
        "syncs --table no.such*",
        "syncs --source 0",
        "syncs --table a --dataset b",
    )
    assert [sync["id"] for sync in everything.found] == [
        str(sync["id"]) for sync in CensusHook().list_syncs()
    ]
    assert long.found == [
        {
            "id": "57",
            "label": "Runs long",
            "status": "Ready",
            "paused": "False",
            "schedule": "",
            "reads": "model braze_test",
            "writes": "15: user",
        }
    ]
    assert (other_table.out, other_table.code) == ("No data found\n", 0)
    assert (wrong.code, two.code) == (1, 1)
    assert wrong.err.startswith("source must be an id (a positive whole number) or a slug")
    assert "only one of table and dataset" in two.err


ENDS = {
    "completed": (runs_for(0), 0, "Completed in 0 s: 1000 updated, 0 rejected, 0 invalid"),
    "failed": (runs_for(0, fails("NO_ROOM", "Full")), 3, "Failed after 0 s: NO_ROOM: Full"),
    "canceled": (runs_for(0.01, cancelled()), 4, "Cancelled after 0 s"),
    "skipped": (skipped(), 5, "Skipped by Census, nothing was synced"),
}


def test_the_exit_code_of_a_wait_says_how_the_run_ended(census: Sandbox, census_commands: Run) -> None:
    for outcome, (does, _, _) in ENDS.items():
        census.add_sync(outcome, does)
    said = census_commands(*(f"trigger {outcome} --wait -o json" for outcome in ENDS))
    for each, trigger, (outcome, (_, code, words)) in zip(said, census.triggers, ENDS.items(), strict=True):
        url = f"{census.url}/syncs/{trigger.sync_id}/history?sync_run_id={trigger.sync_run_id}"
        title = f"{outcome} → user (sync {trigger.sync_id}, run {trigger.sync_run_id})"
        assert each.code == code
        assert each.err.startswith(f"Started: {title}\nOpen: {url}\n")
        (row,) = json.loads(each.out)
        assert (row["outcome"], row["sync_run_id"]) == (outcome, str(trigger.sync_run_id))
        assert row["url"] == url
        assert row["message"].startswith(words)


def test_a_wait_that_cannot_go_on_says_that_the_run_does(census: Sandbox, census_commands: Run) -> None:
    census.fail_next(1, status=404, method="GET", path="/api/v1/sync_runs/")
    (said,) = census_commands("trigger 57 --wait")
    assert (said.out, said.code) == ("", 1)
    last = said.err.splitlines()[-1]
    assert last.startswith("HTTP 404: ")
    assert " The run keeps running in Census. http://127.0.0.1:" in last
    assert census.cancels == []


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_ctrl_c_leaves_the_run_running_and_says_so(
    census: Sandbox, forks: Forks, tmp_path: Path, terminal: bool
) -> None:
    reader, writer = pty.openpty() if terminal else os.pipe()
    errors = os.ttyname(writer) if terminal else f"/proc/{os.getpid()}/fd/{writer}"
    words = ["census", "trigger", "57", "--wait"]
    forks.begin([words], {"TERM": "xterm", "COLUMNS": "300"}, errors)
    said = ""
    while "queued · Runs long → user (sync 57" not in said:
        said += os.read(reader, 65536).decode()
    forks.interrupt()
    (done,) = forks.end()
    os.close(writer)
    with suppress(OSError):  # as a terminal ends that nobody writes to any more
        while read := os.read(reader, 65536):
            said += read.decode()
    os.close(reader)
    (run,) = census.runs
    url = f"{census.url}/syncs/57/history?sync_run_id={run['id']}"
    assert (done.out, done.code) == ("", 130)
    assert (run["status"] in {"queued", "working"}, census.cancels) == (True, [])
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).splitlines()
    cancel = f"airflow census cancel {run['id']} --conn-id census_default"
    assert [line for line in lines if line][-1] == (
        f"The run keeps running in Census. {url} To cancel it: {cancel}"
    )
    # One line that changes begins with what turns; in a pipe each stays.
    assert any(line.startswith("queued · ") for line in lines) is not terminal


def test_the_formats_are_those_of_airflow(census: Sandbox, census_commands: Run) -> None:
    expected = {
        "runs 52": r"^id +\| status +\|.*\n=+\+.*\n94 +\| completed ",
        "status 93 -o table": r"^property_name +\| .*\n=+\+.*\nid +\| 93 ",
        "runs 52 -o plain": r"^ +id +status +.*\n +94 +completed ",
        "status 93 -o plain": r"^property_name +property_value *\nid +93\n",
        "runs 52 -o yaml": r"^- canceled: 'False'\n(  .*\n)+  id: '94'\n",
        "status 93 -o yaml": r"^- .*\n(  .*\n)+  id: '93'\n",
    }
    said = census_commands(*expected)
    for each, shape in zip(said, expected.values(), strict=True):
        assert re.search(shape, each.out), each.out
        assert (each.code, each.err) == (0, "")


def test_what_census_writes_is_printed_as_it_is(census: Sandbox, census_commands: Run) -> None:
    words = "[/b] :x: [red]hot[/red]"
    run = {"id": 7, "sync_id": 52, "status": "failed", "error_message": words}
    body = json.dumps({"status": "success", "data": run}).encode()
    census.fail_next(2, status=200, body=body, path="/api/v1/sync_runs/7")
    for each in census_commands("status 7", "status 7 -o json"):
        assert words in each.out


def test_a_run_that_does_not_say_its_sync_is_shown(census: Sandbox, census_commands: Run) -> None:
    body = {"status": "success", "data": {"id": 7, "status": "completed"}}
    census.fail_next(1, status=200, body=body, path="/api/v1/sync_runs/7")
    (shown,) = census_commands("status 7 -o json")
    assert (shown.code, shown.found[0]["status"]) == (0, "completed")


def test_a_run_that_was_waited_for_keeps_its_sync(census: Sandbox, census_commands: Run) -> None:
    body = {"status": "success", "data": {"status": "completed"}}
    census.fail_next(9, status=200, body=body, method="GET", path="/api/v1/sync_runs/")
    (waited,) = census_commands("trigger 52 --wait -o json")
    (row,) = json.loads(waited.out)
    assert (waited.code, str(row["sync_id"])) == (0, "52")


def test_what_is_no_list_of_runs_is_one_sentence(census: Sandbox, census_commands: Run) -> None:
    census.fail_next(
        1, status=200, body={"status": "success", "data": ["x"]}, path="/api/v1/syncs/52/sync_runs"
    )
    (failed,) = census_commands("runs 52")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("Census responded with what this command cannot show")


def test_what_a_terminal_would_obey_is_printed_escaped(census: Sandbox, census_commands: Run) -> None:
    words = "\x1b]0;title\x07 half \ud800 Zürich"
    run = {"id": 7, "sync_id": 52, "status": "failed", "error_message": words, "nested": [words]}
    body = json.dumps({"status": "success", "data": run}).encode()
    census.fail_next(4, status=200, body=body, path="/api/v1/sync_runs/7")
    refused = json.dumps({"status": "error", "message": "one\n\x1b[2Jtwo"}).encode()
    census.fail_next(1, status=422, body=refused, path="/api/v1/sync_runs/8")
    *formats, error = census_commands(
        *(f"status 7 -o {each}" for each in ("table", "plain", "yaml", "json")), "status 8"
    )
    for each in formats:
        assert (each.code, each.err) == (0, "")
        assert "half " in each.out  # YAML escapes what comes then
    for each in (*formats, error):
        assert all(char.isprintable() or char == "\n" for char in each.out + each.err)
    (row,) = formats[-1].found
    assert row["error_message"] == "\ufffd]0;title\ufffd half \ufffd Zürich"
    assert (error.code, error.out) == (1, "")
    assert error.err == "HTTP 422: one \ufffd[2Jtwo (GET /sync_runs/8).\n"


def test_a_cancelled_run_that_cannot_be_shown_was_cancelled(census: Sandbox, census_commands: Run) -> None:
    going_on = CensusHook().trigger_sync(57)
    census.fail_next(1, status=403, method="GET", path=f"/api/v1/sync_runs/{going_on}")
    (said,) = census_commands(f"cancel {going_on}")
    assert census.cancels == [going_on]
    assert said.code == 1
    assert said.err.startswith(f"Sync run {going_on} was cancelled, but cannot be shown: connection ")


def test_ctrl_c_ends_a_command_without_a_word(forks: Forks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        connection = json.dumps({"conn_type": "census", "host": host, "password": "secret-token:abc"})
        forks.begin([["census", "status", "94"]], {"AIRFLOW_CONN_CENSUS_DEFAULT": connection})
        caller, _ = silent.accept()
        with caller:
            caller.recv(1)
            forks.interrupt()
            assert forks.end() == [Said("", "", 130)]


def test_an_error_is_one_sentence_and_exit_code_1(census: Sandbox, census_commands: Run) -> None:
    fields = {"conn_type": "census", "host": census.url, "password": "not-the-token"}
    wrong = json.dumps({**fields, "extra": {"api_version": "v1"}})
    refused = json.dumps(
        {"conn_type": "census", "host": "http://census.internal", "password": "not-the-token"}
    )
    expected = {
        "status 404404": "HTTP 404: ",
        "cancel 404404": "HTTP 404: ",
        "status abc": "sync_run_id must be a positive whole number",
        "cancel 0": "sync_run_id must be a positive whole number",
        "runs 51": "HTTP 404: ",
        "trigger 51": "HTTP 404: ",
        "trigger completes": "No sync has the label 'completes'.",
        "runs 52 --conn-id nowhere": "The conn_id `nowhere` isn't defined",
        "trigger 52 --conn-id wrong": f"connection 'wrong' ({census.url}, v1): HTTP 401: ",
        "runs 52 --conn-id refused": "The Airflow connection refused cannot be used",
    }
    said = census_commands(*expected, AIRFLOW_CONN_WRONG=wrong, AIRFLOW_CONN_REFUSED=refused)
    for each, words in zip(said, expected.values(), strict=True):
        assert each.err.startswith(words)
        assert each.err.count("\n") == 1
        assert (each.code, each.out) == (1, "")
        assert "not-the-token" not in each.err
    assert census.triggers == []
    assert census.cancels == []


def test_the_connection_may_be_anywhere(forks: Forks, census_commands: Run, tmp_path: Path) -> None:
    with Sandbox(strict=True) as census:
        fields = {"conn_type": "census", "host": census.url, "password": census.token}
        fields["extra"] = {"api_version": "v1"}  # type: ignore[assignment]
        (tmp_path / "connections.json").write_text(json.dumps({"of_the_backend": fields}))
        forks.begin([["connections", "add", "of_the_cli", "--conn-uri", census.connection_uri_v1]], {})
        assert [added.code for added in forks.end()] == [0]
        said = census_commands(
            "status 94 -o json --conn-id of_the_cli",
            "status 94 -o json --conn-id of_the_backend",
            "status 94 -o json --conn-id of_the_environment",
            AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
            AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps(
                {"connections_file_path": str(tmp_path / "connections.json")}
            ),
            AIRFLOW_CONN_OF_THE_ENVIRONMENT=census.connection_uri_v1,
        )
    assert [row["id"] for each in said for row in each.found] == ["94"] * 3


def test_as_an_operator_types_it(census: Sandbox, airflow_db: str) -> None:
    command = [sys.executable, "-m", "airflow", "census", "status", "404404"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("HTTP 404: ")

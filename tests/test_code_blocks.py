# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The code blocks of the README and of docs do what they should; CONTRIBUTING.md says how each kind is checked.

Two comments, each on the line above a block and shown nowhere, make an exception of it:
``<!-- needs Airflow 3.3 -->`` and ``<!-- not run: why -->``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow
import pytest

from airflow_provider_census.api.polling import WaitOptions
from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sandbox.outcomes import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
AIRFLOW = tuple(int(number) for number in airflow.__version__.split(".")[:2])
FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>[^>]+) -->\n *)?"
    r"```(?P<language>[^\s`]*)[^`\n]*\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block: where it stands, what it is, and what the comment above says of it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str
    before: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_test(self) -> bool:
        return self.language == "python" and "def test_" in self.text

    @property
    def file(self) -> str:
        """The name of the file that the text before it puts it in, if that ends with one."""
        named = re.findall(r"`([\w/]+\.py)`", self.before.rstrip().rpartition("\n\n")[2])
        return named[-1] if named else f"tests/test_line_{self.line}.py"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        before = text[: found.start()]
        line = text[: found.start("text")].count("\n") + 1
        inner = textwrap.dedent(found["text"])
        yield Block(page, line, found["language"], inner, found["mark"] or "", before)


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def params(*languages: str, tests: bool = False) -> list[Any]:
    """The blocks in these languages, but those that this Airflow is too old for are skipped."""
    found = []
    for block in BLOCKS:
        if block.language not in languages or block.is_test != tests:
            continue
        needed = re.fullmatch(r"needs Airflow (\d+)\.(\d+)", block.mark)
        too_old = needed is not None and (int(needed[1]), int(needed[2])) > AIRFLOW
        marks = pytest.mark.skipif(too_old, reason=block.mark)
        found.append(pytest.param(block, id=str(block), marks=marks))
    return found


@pytest.fixture
def _connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Whatever a block may connect to, on this machine."""
    monkeypatch.setattr(WaitOptions, "interval", lambda *_, **__: 0.02)
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    with Sandbox(pace=0.02) as census, Sandbox(pace=0.02) as europe:
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", census.connection_uri_v1)
        monkeypatch.setenv("AIRFLOW_CONN_CENSUS_EU", europe.connection_uri_v1)
        yield


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_of_a_kind_that_is_checked(block: Block) -> None:
    ours = {"python", "sh", "json", "text", "mermaid"}
    assert block.language in ours | {"{eval-rst}", "{include}", "{literalinclude}", "{toctree}"}
    assert re.fullmatch(r"|needs Airflow \d\.\d+|not run: .+", block.mark)
    above = block.before.rstrip("\n").rpartition("\n")[2]
    assert block.mark or not re.fullmatch("<!--.*-->", above), "a comment must stand right above its block"


@pytest.mark.parametrize("block", params("python"))
@pytest.mark.usefixtures("_connections", "airflow_db")
def test_python_runs(block: Block, dagbag: Any, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    if block.mark.startswith("not run"):
        compile(block.text, str(block), "exec")
    elif re.search(r"\bDAG\(|^@dag", block.text, re.M):
        for dag in dags_of(block, dagbag, tmp_path):
            assert run_dag(dag).state == "success"
    else:
        exec(compile(block.text, str(block), "exec"), {"__name__": "block"})


def dags_of(block: Block, dagbag: Any, folder: Path) -> list[Any]:
    """Read the block as Airflow reads a DAG file."""
    (folder / "dags").mkdir()
    (folder / "dags" / "block.py").write_text(block.text)
    bag = dagbag.DagBag(str(folder / "dags"))
    assert not bag.import_errors
    assert bag.dags
    return list(bag.dags.values())


def test_hook_blocks_give_what_the_page_says(
    census: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WaitOptions, "interval", lambda *_, **__: 0.02)

    def run(holds: str) -> dict[str, Any]:
        (text,) = (block.text for block in BLOCKS if block.language == "python" and holds in block.text)
        names: dict[str, Any] = {}
        exec(text, names)
        return names

    assert run("def failures")["failures"].function(52) == [f"93: {OUTCOMES[53].error['error_message']}"]
    run('get_source("snowflake")')
    assert "\n404 there is no source 'snowflake'\n" in "\n" + capsys.readouterr().out
    run("wait_for_refresh(")
    assert re.search(r"^completed \d+$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.is_test}), ids=lambda p: p.name
)
def test_tests_pass(page: Path, airflow_db: str, tmp_path: Path) -> None:
    """The tests of a page, with its DAGs and the commands for them, in a project that has nothing else."""
    files = [block for block in BLOCKS if block.page == page and (block.is_test or "dags/" in block.file)]
    for block in files:
        (tmp_path / block.file).parent.mkdir(exist_ok=True)
        (tmp_path / block.file).write_text(block.text)
    (commands,) = (
        block.text for block in BLOCKS if block.language == "sh" and "-m pytest tests" in block.text
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{bare['PATH']}"
    tested = subprocess.run(
        ["bash", "-euc", commands],
        cwd=tmp_path,
        env=bare | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    expected = sum(block.text.count("\ndef test_") for block in files)
    assert f"{expected} passed" in tested.stdout


@pytest.mark.parametrize("block", params("sh"))
def test_shell_commands_are_there(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    if block.mark.startswith("not run"):
        return
    from airflow.cli.cli_parser import get_parser

    for words in commands(block.text):
        if words[0] == "airflow":
            try:
                get_parser().parse_args(words[1:])
            except SystemExit:
                pytest.fail(f"{' '.join(words)}\n{capsys.readouterr().err}")
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), words


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command, also of those in pipes and substitutions, from its name on."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if words:
                    yield words
                words = []
            elif words or "=" not in word:
                words.append(word)


@pytest.mark.parametrize("block", params("json"))
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)

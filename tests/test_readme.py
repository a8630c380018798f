# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the README and docs say is so: connections connect, links lead somewhere, tables match the code."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import plots
import pytest
from diagrams import diagram_name
from parameters import with_tables

from airflow_provider_census.api import endpoints
from airflow_provider_census.api.settings import DEFAULT_HOST
from airflow_provider_census.api.versions import VERSIONS, adapt
from airflow_provider_census.assets.census import watched_sync_asset
from airflow_provider_census.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.operators.census import IF_RUNNING, CensusTriggerSyncOperator
from airflow_provider_census.operators.select import CensusSelectSyncsOperator
from airflow_provider_census.sandbox.outcomes import OUTCOMES
from airflow_provider_census.sensors.census import CensusSyncRunSensor, CensusSyncSensor

if TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
README = "README.md"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
}


REFERENCE = {"hooks": "hook"}
"""The page of a folder, where it is called otherwise."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)


def block(page: str, language: str, holds: str) -> str:
    (only,) = (text for text in blocks(page, language) if holds in text)
    return only


def table(page: str, heading: str, head: str) -> list[list[str]]:
    """The cells below a table's head, in the section with this heading."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGES[page], flags=re.MULTILINE)[1]
    rows = re.search(rf"^\| {re.escape(head)} \|.*\n\|[ |-]+\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert rows, f"no table {head!r} below {heading!r}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def found(pattern: str, page: str) -> str:
    """What the one group of a pattern stands for on a page."""
    match = re.search(pattern, PAGES[page])
    assert match, f"{page} has nothing like {pattern}"
    return match[1]


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """What a link may lead to within a page, named as GitHub names its headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if "://" in link:
            continue
        there, _, anchor = link.partition("#")
        target = (ROOT / page).parent / there if there else ROOT / page
        assert target.exists(), link
        name = os.path.relpath(target, ROOT)
        assert not anchor or anchor in anchors(name), link


def test_every_page_is_in_the_table_of_contents() -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    listed = re.findall(r"^[\w/-]+$", "\n".join(blocks("docs/index.md", "{toctree}")), re.MULTILINE)
    assert sorted(listed) == sorted(pages | {"decisions/index", "reference/index"})
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", PAGES["docs/index.md"])) == pages
    reference = {path.stem for path in (ROOT / "docs" / "reference").glob("*.md")} - {"index"}
    named = block("docs/reference/index.md", "{toctree}", "operators").split()
    assert set(named) - {":hidden:"} == reference


def test_every_symptom_has_the_words_of_the_code() -> None:
    paths = (ROOT / "airflow_provider_census").rglob("*.py")
    words = {word for path in paths for word in re.findall(r"\w+", path.read_text())}
    sections = re.findall(r"^### (.*)\n\n(`.*)$", PAGES["docs/symptoms.md"], re.MULTILINE)
    assert len(sections) > 20
    for title, said in sections:
        ours = re.sub("Connection refused|Name or service not known", "", said)  # by the system
        assert {word for word in re.findall(r"[A-Za-z]{4,}", ours) if word != "message"} <= words, title


def test_every_decision_is_in_their_table() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"index"}
    index = PAGES["docs/decisions/index.md"]
    assert set(block("docs/decisions/index.md", "{toctree}", "flows").split()) - {":hidden:"} == pages
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == pages


@pytest.mark.parametrize("kind", ["assets", "hooks", "links", "operators", "sensors", "triggers"])
def test_every_class_is_in_the_reference(kind: str) -> None:
    package = import_module(f"airflow_provider_census.{kind}")
    for found in iter_modules(package.__path__, f"{package.__name__}."):
        module = import_module(found.name)
        for name, each in inspect.getmembers(module, inspect.isclass):
            if each.__module__ == found.name and name.startswith("Census"):
                assert f".. autoclass:: {name}\n" in PAGES[f"docs/reference/{REFERENCE.get(kind, kind)}.md"]


TABLES = [page for page, text in PAGES.items() if "<!-- parameters of" in text]


@pytest.mark.parametrize("page", TABLES)
def test_tables_of_parameters_are_made_of_the_docstrings(page: str) -> None:
    assert with_tables(PAGES[page], Path(page).name) == PAGES[page], "run scripts/parameters.py"


@pytest.mark.parametrize(
    ("page", "heading", "kind"),
    [
        ("docs/operators.md", "Parameters", CensusTriggerSyncOperator),
        ("docs/operators.md", "Selecting syncs", CensusSelectSyncsOperator),
        ("docs/sensors.md", "CensusSyncRunSensor", CensusSyncRunSensor),
        ("docs/sensors.md", "CensusSyncSensor", CensusSyncSensor),
        ("docs/triggers.md", "Event-driven scheduling", watched_sync_asset),
    ],
)
def test_every_parameter_has_a_row(page: str, heading: str, kind: Any) -> None:
    signature = inspect.signature(kind)
    named = {name.strip("`") for name, *_ in table(page, heading, "Parameter")}
    assert named == set(signature.parameters) - {"kwargs", "arguments"}


def test_every_diagram_and_plot_is_drawn() -> None:
    texts = [text for page in PAGES for text in blocks(page, "mermaid")]
    pictures = {path.stem for path in (ROOT / "docs/images/diagrams").glob("*.svg")}
    assert {diagram_name(text) for text in texts} == pictures, "run `make diagrams`"
    for name, svg in plots.drawings().items():
        assert (ROOT / f"docs/images/plots/{name}.svg").read_text() == svg, "run `make diagrams`"


def test_ineffective_options_are_those_that_warn() -> None:
    names = [name.strip("`") for name, *_ in table("docs/operators.md", "Parameters", "Parameter")]
    idle = names[names.index("deferrable") + 1 :]
    values: dict[str, Any] = dict.fromkeys(idle, 1) | {"on_skipped_run": "skip"}
    values |= {"cancel_on_timeout": True, "cancel_on_kill": False}
    with pytest.warns(UserWarning, match="will have no effect") as warned:
        CensusTriggerSyncOperator(task_id="sync", sync_id=52, **values)
    assert set(idle) <= set(re.findall(r"\w+", str(warned[0].message)))


def test_what_to_do_if_a_run_is_running_is_what_the_operator_takes() -> None:
    rows = table("docs/operators.md", "A sync that is already running", "`if_running`")
    assert tuple(ast.literal_eval(word.strip("`")) for word, _ in rows) == IF_RUNNING
    assert all(f'`"{word}"' in PAGES["docs/operators.md"] for word in IF_RUNNING)


def test_operations_are_those_of_the_hook() -> None:
    named = [
        name for _, methods in table("docs/hook.md", "The hook", "Of") for name in re.findall(r"\w+", methods)
    ]
    operations = [
        name
        for name, thing in vars(endpoints).items()
        if getattr(thing, "__module__", "") == endpoints.__name__
        and name[0] != "_"
        # No operation of its own, but one way to ask for `list_sync_runs`.
        and name != "newest_sync_runs"
    ]
    assert sorted(named) == sorted(operations)
    count = f"{len(operations) - 2} operations"  # two of the methods are one operation
    assert f"each of {count} of the API" in PAGES["docs/hook.md"]
    assert count in PAGES["README.md"]
    assert count in PAGES["CHANGELOG.md"]
    assert all(hasattr(CensusHook, name.replace("list_", "iter_")) for name in named if "list_" in name)


def path_template(name: str, version: str) -> str:
    """What an operation sends in a version, with the names of its arguments in the path."""
    function = getattr(endpoints, name)
    needed = [
        argument
        for argument, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    numbers = {str(9000 + number): argument for number, argument in enumerate(needed)}
    values = {argument: number for number, argument in numbers.items()}
    request = function(**{**values, **({"payload": {"activation_id": "x"}} if "payload" in needed else {})})
    path = adapt(request, version, "group").path
    parts = [f"{{{numbers[part]}}}" if part in numbers else part for part in path.split("/")]
    return f"`{request.method} {'/'.join(parts)}`"


def test_the_table_of_operations_is_what_is_sent() -> None:
    rows = table("docs/hook.md", "Every operation", "Method")
    named = {name.strip("`"): cells for name, *cells in rows}
    grouped = [
        name for _, methods in table("docs/hook.md", "The hook", "Of") for name in re.findall(r"\w+", methods)
    ]
    assert sorted(named) == sorted(grouped)
    assert len(rows) == len(named)
    for name, (v1, v2) in named.items():
        assert path_template(name, "v1") in v1.split(", "), name
        if v2 == "the same":
            assert path_template(name, "v2") == v1, name
        elif v2 != "not published":
            assert path_template(name, "v2") == v2, name
    assert "`POST /syncs/create`" in named["create_sync"][0]
    left_out = [what for what, _ in table("docs/hook.md", "Every operation", "Out of scope")]
    dropped = {path for version in VERSIONS.values() for path, new in version.renamed.items() if new is None}
    assert dropped
    assert all(any(f"`{path}`" in what for what in left_out) for path in dropped)


def test_methods_are_those_of_the_hook() -> None:
    rows = [method.strip("`") for method, _ in table("docs/hook.md", "The hook", "Method")]
    assert rows
    for row in rows:
        name, _, arguments = row.rstrip(")").partition("(")
        known = list(inspect.signature(getattr(CensusHook, name)).parameters)[1:]
        named = [argument for argument in arguments.split(", ") if argument not in {"", "*"}]
        assert named == known, name


def test_connection_fields_are_those_of_the_form() -> None:
    rows = dict(table("docs/connection.md", "Fields", "Field"))
    relabeled = UI_FIELD_BEHAVIOUR["relabeling"].values()
    assert list(rows) == [*relabeled, *(field["label"] for field in CONN_FIELDS.values())]
    assert f"`{DEFAULT_HOST}` (the default" in rows["Census host"]
    for field in CONN_FIELDS.values():
        if field["schema"]["default"] is not None:
            assert str(field["schema"]["default"]) in rows[field["label"]]
        assert all(f"`{choice}`" in rows[field["label"]] for choice in field["schema"].get("enum", []))


def test_syncs_are_those_of_the_sandbox() -> None:
    rows = {
        int(sync_id): summary
        for sync_id, summary in table("docs/testing.md", "The sandbox, a local Census", "Sync")
    }
    assert rows == {sync_id: behavior.summary for sync_id, behavior in OUTCOMES.items()}


def test_examples_are_those_in_the_folder() -> None:
    linked = set(re.findall(r"\(example_dags/(\w+\.py)\)", PAGES[README]))
    assert linked == {path.name for path in (ROOT / "example_dags").glob("*.py")}


def reaches(census: Sandbox, conn_id: str = "census_default") -> bool:
    return CensusHook(conn_id).test_connection() == (
        True,
        f"Connected to {census.url}: the API token sees 2 sources.",
    )


@pytest.mark.parametrize(
    "line",
    [line for text in blocks("docs/connection.md", "sh") for line in text.splitlines() if "_CONN_" in line],
)
def test_environment_connects(line: str, census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    variable, _, value = shlex.split(line)[1].partition("=")
    monkeypatch.setenv(variable, value.replace("…", "abc"))
    settings = CensusHook().settings
    assert settings.base_url == "https://app-eu.getcensus.com"
    assert (settings.token, settings.timeout, settings.api_version) == ("abc", 30, "v2")
    there = census.url if value.startswith("{") else census.url.removeprefix("http://")
    value = value.replace("…", census.personal_access_token).replace("app-eu.getcensus.com", there)
    # A URI has no room for the scheme of its host but the schema.
    monkeypatch.setenv(variable, value if value.startswith("{") else value.replace("?", "/http?"))
    assert reaches(census)


def test_file_of_the_secrets_backend_connects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    variables = re.findall(r"^export (AIRFLOW__SECRETS\w+)=(.*)$", PAGES["docs/connection.md"], re.MULTILINE)
    (backend, kwargs) = (shlex.split(value)[0] for _, value in variables)
    file = tmp_path / Path(json.loads(kwargs)["connections_file_path"]).name
    assert f"`{file.name}`" in PAGES["docs/connection.md"]
    file.write_text(block("docs/connection.md", "json", "census_eu").replace("…", "abc"))
    module, _, name = backend.rpartition(".")
    secrets = getattr(import_module(module), name)(connections_file_path=str(file))
    hosts = {"census_default": DEFAULT_HOST, "census_eu": "app-eu.getcensus.com"}
    for conn_id, host in hosts.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", secrets.get_connection(conn_id).as_json())
        settings = CensusHook(conn_id).settings
        assert (settings.base_url, settings.token, settings.api_version) == (f"https://{host}", "abc", "v2")


def test_the_environment_connects(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = json.loads(found("AIRFLOW_CONN_CENSUS_DEFAULT='([^']+)'", "README.md"))
    there = {"host": census.url, "password": census.personal_access_token}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields | there))
    assert reaches(census)
    assert CensusHook().settings.api_version == "v2"


def test_cli_connects(census: Sandbox, airflow_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.cli.cli_parser import get_parser
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    command = block("docs/connection.md", "sh", "connections add")
    command = command.replace('"$CENSUS_API_TOKEN"', census.personal_access_token)
    options = re.findall(r"`(--conn-[^`]+)`", PAGES["docs/connection.md"])
    assert [option.partition(" ")[0] for option in options] == ["--conn-host", "--conn-extra"]
    for more, host, timeout in (([], None, 60), (options, "app-eu.getcensus.com", 30)):
        words = shlex.split(" ".join([command, *more]))
        words[words.index("census_default")] = conn_id = f"census_of_cli_{timeout}"
        arguments = get_parser().parse_args(words[1:])
        arguments.func(arguments)
        with create_session() as session:
            made = session.query(Connection).filter_by(conn_id=conn_id).one()
            assert (made.conn_type, made.host) == ("census", host)
            made.host = census.url
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", made.as_json())
        assert reaches(census, conn_id)
        assert CensusHook(conn_id).settings.timeout == timeout


def test_moving_to_v2(census: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = json.loads(found(r'`({"api_version": [^`]+})`', "docs/v2.md"))
    fields = {"conn_type": "census", "host": census.url, "password": census.personal_access_token}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields | {"extra": extra}))
    assert reaches(census)
    of_v1 = {"password": census.token, "extra": {"api_version": "v1"}}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields | of_v1))
    assert reaches(census)
    assert not CensusHook(api_version="v2").test_connection()[0]


def test_what_needs_a_group_is_what_takes_one() -> None:
    [cell] = (
        cell for cell, _ in table("docs/v2.md", "Moving to API v2", "In v2") if "Fivetran group" in cell
    )
    assert set(re.findall(r"`(\w+)`", cell)) == {
        name
        for name, thing in vars(endpoints).items()
        if inspect.isfunction(thing) and name[0] != "_" and "group_id" in inspect.signature(thing).parameters
    }


def test_plain_http_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = json.loads(found(r'`({"allow_http": true})`', "docs/connection.md"))
    fields = {"conn_type": "census", "host": "http://census.internal", "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields))
    assert CensusHook().test_connection()[0] is False
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", json.dumps(fields | {"extra": extra}))
    assert CensusHook().settings.base_url == "http://census.internal"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What Airflow knows of the provider without importing it, and the form that it makes of that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import airflow
import jsonschema  # type: ignore[import-untyped]
import pytest

from airflow_provider_census.api.settings import DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT
from airflow_provider_census.api.versions import DEFAULT_VERSION, END_OF_V1, VERSIONS
from airflow_provider_census.get_provider_info import (
    CONN_FIELDS,
    REPOSITORY,
    UI_FIELD_BEHAVIOUR,
    get_provider_info,
)
from airflow_provider_census.hooks.census import CensusHook

AIRFLOW = tuple(map(int, airflow.__version__.split(".")[:2]))
LISTS_NO_FORM = pytest.mark.skipif(
    (3, 0) <= AIRFLOW < (3, 2), reason="Airflow 3.0 and 3.1 list it only with the FAB provider"
)
HOOK = "airflow_provider_census.hooks.census.CensusHook"
INFO = get_provider_info()


def test_it_is_what_the_schema_of_this_airflow_asks_for() -> None:
    [package] = airflow.__path__
    schema = json.loads((Path(package) / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_every_module_and_class_that_it_names_is_there() -> None:
    for kind in ("hooks", "operators", "sensors", "triggers"):
        [entry] = INFO[kind]
        assert entry["integration-name"] == INFO["integrations"][0]["integration-name"]
        for module in entry["python-modules"]:
            assert import_module(module).__name__ == module
    assert INFO["asset-uris"] == INFO["dataset-uris"]
    [uris] = INFO["asset-uris"]
    module, _, name = uris["handler"].rpartition(".")
    assert uris["schemes"] == [import_module(module).SCHEME]
    for kind in ("handler", "factory", "to_openlineage_converter"):
        module, _, name = uris[kind].rpartition(".")
        assert callable(getattr(import_module(module), name))
    for named in (*INFO["extra-links"], INFO["connection-types"][0]["hook-class-name"]):
        module, _, name = named.rpartition(".")
        assert isinstance(getattr(import_module(module), name), type)
    for named in INFO["cli"]:
        module, _, name = named.rpartition(".")
        assert callable(getattr(import_module(module), name))


def test_the_form_promises_what_the_connection_does() -> None:
    assert INFO["connection-types"][0]["connection-type"] == CensusHook.conn_type
    assert INFO["connection-types"][0]["hook-name"] == CensusHook.hook_name == "Census"
    defaults = {name: field["schema"]["default"] for name, field in CONN_FIELDS.items()}
    assert defaults == {
        "timeout": DEFAULT_TIMEOUT,
        "attempts": DEFAULT_ATTEMPTS,
        "api_version": DEFAULT_VERSION,
        "group_id": None,
        "max_requests_per_minute": None,
    }
    assert CONN_FIELDS["api_version"]["schema"]["enum"] == list(VERSIONS) == ["v1", "v2"]
    assert END_OF_V1 in CONN_FIELDS["api_version"]["description"]
    assert all(field["label"] and field["description"] for field in CONN_FIELDS.values())
    shows_port = airflow.__version__ in {"3.3.1", "3.3.2"}
    assert set(UI_FIELD_BEHAVIOUR["hidden-fields"]) == {"login", "schema"} | (
        set() if shows_port else {"port"}
    )
    assert ("port" in UI_FIELD_BEHAVIOUR["placeholders"]) == shows_port
    assert "app-eu.getcensus.com" in UI_FIELD_BEHAVIOUR["placeholders"]["host"]


def test_the_address_of_the_repository_is_the_same_everywhere() -> None:
    root = Path(__file__).parent.parent
    for name in ("pyproject.toml", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"):
        text = (root / name).read_text()
        for host, path in re.findall(
            r"https://(github\.com|raw\.githubusercontent\.com)/([\w.-]+/[\w.-]+)", text
        ):
            if path.endswith("/airflow-provider-census"):
                assert f"https://github.com/{path}" == REPOSITORY, (name, host)
    assert REPOSITORY in (root / "pyproject.toml").read_text()
    [integration] = INFO["integrations"]
    for address in (integration["logo"], *integration["how-to-guide"]):
        assert address.startswith(REPOSITORY)
        assert (root / address.partition("/main/")[2]).is_file(), address


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow 3.3 offers the examples of providers")
def test_airflow_offers_the_examples_of_a_wheel(tmp_path: Path) -> None:
    """The wheel has the folder inside of the package, as scripts/check_build.py sees; here it is a link."""
    root = Path(__file__).parent.parent
    package = tmp_path / "airflow_provider_census"
    package.mkdir()
    for each in (root / package.name).iterdir():
        (package / each.name).symlink_to(each)
    (package / "example_dags").symlink_to(root / "example_dags")
    script = """
from airflow.dag_processing.bundles.manager import DagBundlesManager

for bundle in DagBundlesManager().get_all_dag_bundles():
    print(bundle.name, bundle.path)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"AIRFLOW__CORE__LOAD_EXAMPLES": "true", "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    offered = dict(line.split(" ", 1) for line in done.stdout.splitlines() if "example-dags" in line)
    assert offered["airflow-provider-census-example-dags"] == str(package / "example_dags")


@cache
def listings() -> dict[str, str]:
    """Run every listing of ``airflow providers``; what each prints, with all warnings."""
    script = """
import contextlib, io, sys
from airflow.cli import cli_parser

parser = cli_parser.get_parser()
choices = lambda parser: next(action.choices for action in parser._actions if action.dest == "subcommand")
for command in choices(choices(parser)["providers"]):
    rest = ["airflow-provider-census", "--full", "--output", "json"] if command == "get" else []
    print("=====", command, flush=True)
    print("=====", command, file=sys.stderr, flush=True)
    args = parser.parse_args(["providers", command, *rest])
    try:
        args.func(args)
    except SystemExit as end:
        print("exit", end.code)
"""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script],
        env={**os.environ, "COLUMNS": "400", "AIRFLOW__CORE__LAZY_DISCOVER_PROVIDERS": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = {}
    for part in (done.stdout + "\n" + done.stderr).split("===== ")[1:]:
        command, _, text = part.partition("\n")
        said[command] = said.get(command, "") + text
    return said


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("list", "airflow-provider-census"),
        ("hooks", HOOK),
        pytest.param("behaviours", "census", marks=LISTS_NO_FORM),
        ("links", "airflow_provider_census.links.census.CensusSyncRunLink"),
        ("triggers", "airflow_provider_census.triggers.census"),
        ("get", '"airflow_provider_census.sensors.census"'),
        ("get", HOOK),
        pytest.param("widgets", "extra__census__timeout", marks=LISTS_NO_FORM),
    ],
)
def test_airflow_lists_it(airflow_db: str, command: str, shown: str) -> None:
    assert shown in listings()[command]


def test_no_listing_complains_of_it(airflow_db: str) -> None:
    assert len(listings()) > 10
    complaint = re.compile(r"WARN|ERROR|\[(warning|error)|Warning|Traceback|Exception|[Dd]eprecat|Could not")
    for said in listings().values():
        assert [
            line for line in said.splitlines() if "census" in line.lower() and complaint.search(line)
        ] == []


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="before 3.2, Airflow asks the hook for its form")
def test_airflow_never_asks_the_hook_for_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    def asked(*_: Any) -> Any:
        raise AssertionError("Airflow asked the hook for its form")

    monkeypatch.setattr(CensusHook, "get_ui_field_behaviour", asked)
    monkeypatch.setattr(CensusHook, "get_connection_form_widgets", asked)
    [form] = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "census"]
    assert form.hook_name == "Census"
    assert form.hook_class_name == HOOK
    assert set(form.extra_fields or {}) == set(CONN_FIELDS)
    for name, field in CONN_FIELDS.items():
        made = (form.extra_fields or {})[name]
        assert made["schema"]["title"] == field["label"]
        assert made["description"] == field["description"]
        assert made["value"] == field["schema"]["default"]
    standard = form.standard_fields
    assert standard is not None
    assert (standard.password.title, standard.host.title) == ("API token", "Census host")  # type: ignore[union-attr]
    assert standard.host.placeholder == UI_FIELD_BEHAVIOUR["placeholders"]["host"]  # type: ignore[union-attr]
    assert all(field.hidden for field in (standard.login, standard.url_schema))  # type: ignore[union-attr]
    assert standard.port.hidden == ("port" in UI_FIELD_BEHAVIOUR["hidden-fields"])  # type: ignore[union-attr]


@pytest.mark.skipif(
    AIRFLOW != (3, 1), reason="Airflow 3.1 makes the form of stand-ins for what the hook makes"
)
def test_airflow_3_1_makes_the_same_form() -> None:
    script = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

[form] = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "census"]
print(form.model_dump_json())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    form = json.loads(done.stdout.splitlines()[-1])
    assert set(form["extra_fields"]) == set(CONN_FIELDS)
    for name, field in CONN_FIELDS.items():
        made = form["extra_fields"][name]
        assert (made["value"], made["description"]) == (field["schema"]["default"], field["description"])
        for key, wanted in {**field["schema"], "title": field["label"]}.items():
            if key not in {"default", "minimum"}:
                assert made["schema"][key] == wanted, f"{name}: {key}"
    standard = form["standard_fields"]
    assert (standard["password"]["title"], standard["host"]["title"]) == ("API token", "Census host")
    assert all(standard[field]["hidden"] for field in ("login", "port", "url_schema"))


@pytest.mark.skipif(AIRFLOW >= (3,), reason="Airflow 2 makes the form of what the hook makes")
def test_airflow_2_makes_the_same_form() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    manager.initialize_providers_hooks()
    behaviour = manager.field_behaviours["census"]
    assert {name.replace("_", "-"): value for name, value in behaviour.items()} == UI_FIELD_BEHAVIOUR
    widgets = {
        name.removeprefix("extra__census__"): widget
        for name, widget in manager.connection_form_widgets.items()
        if widget.package_name == INFO["package-name"]
    }
    assert set(widgets) == set(CONN_FIELDS)
    for name, field in CONN_FIELDS.items():
        made = widgets[name].field
        assert made.args[0] == field["label"]
        assert made.kwargs["description"] == field["description"]
        assert made.kwargs["default"]() == field["schema"]["default"]
        wanted = {"integer": "IntegerField", "string": "StringField"}[field["schema"]["type"][0]]
        assert made.field_class.__name__ == wanted

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What a person sees of the provider in the UI of Airflow 3."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

if tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 2):
    pytest.skip("the UI was another one before Airflow 3.2", allow_module_level=True)

from real_airflow import Airflow, standalone, wait_for

from airflow_provider_census.api.versions import default_version
from airflow_provider_census.get_provider_info import (
    CONN_FIELDS,
    TEST_NEEDS_PORT,
    UI_FIELD_BEHAVIOUR,
)
from airflow_provider_census.sandbox import runs_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_census.sandbox import Sandbox

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"
RUN_LIMIT = 120_000
"""Milliseconds for a DAG run; the first one takes some seconds more, for Airflow's parts to warm up."""

DEFAULTS = {name: field["schema"]["default"] for name, field in CONN_FIELDS.items()}


@pytest.fixture(scope="module")
def airflow3(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Run an Airflow with the example DAGs."""
    home = tmp_path_factory.mktemp("airflow")
    warehouse = {"conn_type": "sqlite", "host": str(home / "warehouse.db")}
    settings = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # seconds; they do not change
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
    }
    with standalone(home, EXAMPLES, settings) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def census_default(airflow3: Airflow, census: Sandbox) -> None:
    """Make the connection ``census_default``, for API v2."""
    fields = {"conn_type": "census", "host": census.url, "password": census.personal_access_token}
    connection = {"connection_id": "census_default", **fields, "extra": json.dumps({"api_version": "v2"})}
    airflow3.send("POST", "/api/v2/connections", connection)


@pytest.fixture(scope="module", autouse=True)
def _runs(airflow3: Airflow, census_default: None) -> None:
    """Start what the tests will look at, for they have something else to look at first."""
    runs = {
        "log-success": ("census_deferrable", 52),
        "log": ("census_deferrable", 53),
        "log-rejected": ("census_deferrable", 55),
        "pipeline": ("census_after_load", 65),
    }
    for name, (dag_id, sync_id) in runs.items():
        dag = f"/api/v2/dags/{dag_id}"
        wait_for("the DAG", lambda dag=dag: airflow3.get(dag) is not None)  # type: ignore[misc]
        airflow3.send("PATCH", dag, {"is_paused": False})
        conf = {"sync_id": sync_id} if dag_id == "census_deferrable" else {}
        run = {"dag_run_id": name, "logical_date": None, "conf": conf}
        airflow3.send("POST", f"{dag}/dagRuns", run)


def wait_for_end(airflow: Airflow, run_id: str, dag_id: str = "census_deferrable") -> None:
    run = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
    wait_for("the end", lambda: airflow.get(run)["state"] in {"success", "failed"}, RUN_LIMIT / 1000)


def run_of(airflow: Airflow, run_id: str) -> int:
    """The id of the run in Census that a DAG run of ``census_deferrable`` started."""
    task = f"/api/v2/dags/census_deferrable/dagRuns/{run_id}/taskInstances/sync"
    return int(airflow.get(f"{task}/xcomEntries/sync_run_id")["value"])


def connection_form(page: Page, airflow: Airflow) -> Locator:
    page.goto(f"{airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    choose_type(form, "Census")
    return form


def choose_type(form: Locator, kind: str) -> None:
    form.get_by_label("Connection Type").click()
    form.page.get_by_role("option", name=kind, exact=True).click()


def fill(form: Locator, conn_id: str, host: str, token: str) -> None:
    form.get_by_label("Connection ID").fill(conn_id)
    form.get_by_label("Census host").fill(host)
    form.get_by_label("API token").fill(token)


def fill_port(form: Locator, port: int) -> None:
    """Fill in a field that the form of Census only shows where the *Test* button needs it."""
    is_hidden = airflow.__version__ not in TEST_NEEDS_PORT
    if is_hidden:
        choose_type(form, "Generic")
    form.get_by_label("Port").fill(str(port))
    if is_hidden:
        choose_type(form, "Census")


def open_extra_fields(form: Locator) -> None:
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    expect(form.get_by_text("Fivetran group")).to_be_visible()


def save(form: Locator) -> None:
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()
    expect(form.page.get_by_role("status").filter(has_text="Connection has been")).to_be_visible()


def press_test(page: Page, conn_id: str) -> Locator:
    """Press the button of a connection; what comes up."""
    row = page.get_by_role("row", name=re.compile(f"^{conn_id} "))
    row.get_by_role("button", name="Test Connection").click()
    return page.get_by_role("status").filter(has_text="Test Connection")


def trigger(page: Page, airflow: Airflow, run_id: str, sync_id: int) -> None:
    """Start a run of the DAG ``census_deferrable`` by its form."""
    page.goto(f"{airflow.url}/dags/census_deferrable")
    page.get_by_role("button", name="Trigger").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("Id of the Census sync to start.")).to_be_visible()
    form.get_by_label("sync_id").fill(str(sync_id))
    form.get_by_role("button", name="Advanced Options").click()
    form.get_by_label("Run ID").fill(run_id)
    form.get_by_role("button", name="Trigger").click()
    expect(page).to_have_url(re.compile(f"/runs/{run_id}$"))


def open_task(page: Page, airflow: Airflow, run_id: str) -> None:
    page.goto(f"{airflow.url}/dags/census_deferrable/runs/{run_id}")
    page.get_by_role("row").get_by_role("link", name="sync").click()


def is_green(label: Locator) -> bool:
    """Whether what is behind a label is green."""
    color = label.evaluate("""each => {
        while (getComputedStyle(each).backgroundColor === "rgba(0, 0, 0, 0)") each = each.parentElement;
        return getComputedStyle(each).backgroundColor;
    }""")
    red, green, blue = map(int, re.findall(r"[0-9]+", color)[:3])
    return green > 2 * max(red, blue)


def test_the_form_shows_our_fields_and_hides_the_rest(page: Page, airflow3: Airflow, picture: Any) -> None:
    form = connection_form(page, airflow3)
    fill(form, "census_default", "app.getcensus.com", "a personal access token")
    expect(form.get_by_label("API token")).to_have_attribute("type", "password")
    boxes = set(form.get_by_role("textbox").evaluate_all("all => all.map(each => each.name)"))
    assert boxes - {"port"} == {"connection_id", "description", "host", "password"}
    for field in ("login", "port", "schema"):
        is_shown = field not in UI_FIELD_BEHAVIOUR["hidden-fields"]
        expect(form.get_by_label(field.title())).to_have_count(int(is_shown))
    picture("connection-form", 800)
    open_extra_fields(form)
    for name, field in CONN_FIELDS.items():
        expect(form.get_by_text(field["label"], exact=True)).to_be_visible()
        expect(form.get_by_text(field["description"])).to_be_visible()
        shown = form.locator(f"[name=element_{name}]")
        expect(shown).to_have_value(str(DEFAULTS[name] or ""))
    picture("connection-extra-fields", 1020)


def test_a_form_left_as_it_is_makes_a_connection_that_works(
    page: Page, airflow3: Airflow, census: Sandbox, picture: Any
) -> None:
    form = connection_form(page, airflow3)
    fill_port(form, census.port)
    fill(form, "census", census.url, census.personal_access_token)
    save(form)
    saved = airflow3.get("/api/v2/connections/census")
    assert json.loads(saved["extra"]) == DEFAULTS
    assert (saved["login"], saved["schema"]) == (None, None)
    # The message of the form goes by itself, though not from under the mouse; the picture is without it.
    page.mouse.move(0, 0)
    expect(page.get_by_role("status")).to_have_count(0)
    shown = press_test(page, "census")
    expect(shown).to_contain_text("Test Connection Successful")
    expect(shown).to_contain_text(f"Connected to {census.url}: the API token sees 2 sources.")
    picture("connection-test", 560)


def test_emptied_fields_make_a_connection_that_works(page: Page, airflow3: Airflow, census: Sandbox) -> None:
    form = connection_form(page, airflow3)
    fill_port(form, census.port)
    tokens = {"v1": census.token, "v2": census.personal_access_token}
    fill(form, "census_emptied", census.url, tokens[default_version()])
    open_extra_fields(form)
    for label in ("Request timeout", "Attempts"):
        form.get_by_label(label).fill("")
    form.get_by_label("API version").press("Backspace")
    expect(form.locator("[name=element_api_version]")).to_have_value("")
    save(form)
    expect(press_test(page, "census_emptied")).to_contain_text("Test Connection Successful")


@pytest.mark.parametrize(
    ("extra", "version"), [(None, "v2"), ('{"api_version": null}', None), ('{"api_version": "v1"}', "v1")]
)
def test_the_version_of_a_connection_whose_description_is_edited(
    page: Page, airflow3: Airflow, census: Sandbox, extra: str | None, version: str | None
) -> None:
    """Airflow's form fills in what the extra does not have at all: docs/v2.md says so."""
    conn_id = f"census_of_{time.time_ns()}"
    old = {"connection_id": conn_id, "conn_type": "census", "host": census.url, "extra": extra}
    airflow3.send("POST", "/api/v2/connections", {**old, "password": census.token})
    page.goto(f"{airflow3.url}/connections")
    row = page.get_by_role("row", name=re.compile(f"^{conn_id} "))
    row.get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Description").fill("changed")
    save(form)
    saved = airflow3.get(f"/api/v2/connections/{conn_id}")
    assert saved["description"] == "changed"
    assert json.loads(saved["extra"])["api_version"] == version


def test_the_test_button_tells_of_a_wrong_token(
    page: Page, airflow3: Airflow, census: Sandbox, rejection: str
) -> None:
    form = connection_form(page, airflow3)
    fill_port(form, census.port)
    fill(form, "census_wrong", census.url, "wrong-token")
    save(form)
    shown = press_test(page, "census_wrong")
    expect(shown).to_have_text(re.compile(f"^Test Connection Failed{re.escape(rejection)}$"))
    assert "wrong-token" not in page.content()


def test_the_test_button_without_a_port(page: Page, airflow3: Airflow) -> None:
    # apache/airflow#73298: the UI sends no port as port 0, and the API takes that for another place.
    broken = airflow.__version__ in TEST_NEEDS_PORT
    page.goto(f"{airflow3.url}/connections")
    shown = press_test(page, "census_default")
    expect(shown).to_contain_text("Bad Request" if broken else "Test Connection Successful")


def test_the_graph_goes_green_and_the_link_leads_to_the_run(
    page: Page, airflow3: Airflow, census: Sandbox, picture: Any
) -> None:
    trigger(page, airflow3, "nightly", 52)
    page.get_by_role("button", name="Show Graph").click()
    graph = page.get_by_role("application")
    expect(graph.get_by_text("CensusTriggerSyncOperator")).to_be_visible()
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=RUN_LIMIT)
    page.reload()  # when the run has ended, the UI looks no more, and may have missed the end of its task
    expect(graph.get_by_text("success")).to_be_visible()
    assert is_green(graph.get_by_text("success"))
    picture("graph", 800, 1500)

    page.get_by_role("button", name="Show Grid").click()
    open_task(page, airflow3, "nightly")
    page.get_by_role("link", name="Details").click()
    link = page.get_by_role("link", name="Census sync run")
    address = f"{census.url}/syncs/52/history?sync_run_id={run_of(airflow3, 'nightly')}"
    expect(link).to_have_attribute("href", address)
    picture("link", 640)
    with page.expect_popup() as opened:
        link.click()
    expect(opened.value).to_have_url(address)


def test_a_sync_between_a_load_and_a_report(
    page: Page, airflow3: Airflow, census: Sandbox, picture: Any
) -> None:
    wait_for_end(airflow3, "pipeline", "census_after_load")
    page.goto(f"{airflow3.url}/dags/census_after_load/runs/pipeline")
    page.get_by_role("button", name="Show Graph").click()
    graph = page.get_by_role("application")
    expect(graph.get_by_text("success")).to_have_count(3)
    assert all(is_green(each) for each in graph.get_by_text("success").all())
    assert 65 in [trigger.sync_id for trigger in census.triggers]
    page.set_viewport_size({"width": 1400, "height": 640})
    page.get_by_role("button", name=re.compile("fit view", re.IGNORECASE)).click()
    picture("pipeline", 640, 1400)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("log-success", ["Completed in ", "1000 updated, 0 rejected, 0 invalid"]),
        (
            "log",
            [
                "JSON_ARRAY_ERROR: The array field being used does not",
                "/syncs/53/history?sync_run_id=",
                "What to do: A retry may help: it starts another run of the sync.",
            ],
        ),
        (
            "log-rejected",
            [
                "5 records rejected or invalid.",
                "995 updated, 3 rejected, 2 invalid",
                "INVALID_EMAIL: the e-mail address is not valid",
                "The primary identifier is null",
            ],
        ),
    ],
)
def test_the_log_is_read_without_scrolling_sideways(
    page: Page, airflow3: Airflow, census: Sandbox, picture: Any, name: str, lines: list[str]
) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    wait_for_end(airflow3, name)
    open_task(page, airflow3, name)
    for words in lines:
        line = page.get_by_text(words).first
        expect(line).to_be_visible()
        assert is_in_view(line, words), f"{words!r} is beyond the edge"
    if name == "log":
        error = page.get_by_text("CensusSyncRunFailed:")
        address = f"{census.url}/syncs/53/history?sync_run_id={run_of(airflow3, name)}"
        expect(error).to_contain_text(address)
        error.click(position={"x": 5, "y": 5})  # folds the traceback
    assert census.personal_access_token not in page.content()
    picture(name, 560, 1440)


def test_the_log_of_a_wait_tells_how_far_the_run_is(
    page: Page, airflow3: Airflow, census: Sandbox, picture: Any
) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    sync_id = census.add_sync(901, runs_for(500), label="Nightly contacts")
    trigger(page, airflow3, "log-wait", sync_id)
    expect(page.get_by_text("Deferred", exact=True).first).to_be_visible(timeout=RUN_LIMIT)
    open_task(page, airflow3, "log-wait")
    for words in ("Started: Nightly contacts → user", " %, ", " of 1000 records, for ", " left, "):
        line = page.get_by_text(words).last
        expect(line).to_be_visible(timeout=RUN_LIMIT)
        assert is_in_view(line, words), f"{words!r} is beyond the edge"
    picture("log-wait", 560, 1440)
    census.finish_run(census.runs[-1]["id"])
    expect(page.get_by_text("Completed in ").first).to_be_visible(timeout=RUN_LIMIT)


def is_in_view(line: Locator, words: str) -> bool:
    """Whether words of a line are all within the window, and within what scrolls in it."""
    return bool(
        line.evaluate(
            """(line, words) => {
                const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
                while (texts.nextNode()) {
                    const begin = texts.currentNode.data.indexOf(words);
                    if (begin < 0) continue;
                    const range = document.createRange();
                    range.setStart(texts.currentNode, begin);
                    range.setEnd(texts.currentNode, begin + words.length);
                    let edge = innerWidth;
                    for (let box = line; box; box = box.parentElement)
                        if (getComputedStyle(box).overflowX !== "visible")
                            edge = Math.min(edge, box.getBoundingClientRect().right);
                    return range.getBoundingClientRect().right <= edge;
                }
                return false;
            }""",
            words,
        )
    )

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The connection form in the UI of Airflow 2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import airflow
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

if not airflow.__version__.startswith("2."):
    pytest.skip("Airflow 3 has another UI", allow_module_level=True)

from real_airflow import LOOPBACK, Airflow, environment, free_ports, program, wait_for

from airflow_provider_census.api.versions import default_version
from airflow_provider_census.get_provider_info import CONN_FIELDS
from airflow_provider_census.hooks.census import CensusHook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_census.sandbox import Sandbox

DEFAULTS = {name: field["schema"]["default"] for name, field in CONN_FIELDS.items()}


@pytest.fixture(scope="module")
def airflow2(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Run an Airflow 2 without DAGs; its ``token`` is the password of the user admin."""
    home = tmp_path_factory.mktemp("airflow")
    port, *log_ports = free_ports(3)
    env = environment(port, home, home) | {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[0]),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[1]),
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": LOOPBACK,
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        "AIRFLOW__WEBSERVER__WORKERS": "1",
    }
    with program(["airflow", "standalone"], env, home / "airflow.log") as process:
        airflow = Airflow(f"http://{LOOPBACK}:{port}", process, home / "airflow.log")
        wait_for("the webserver", lambda: airflow.get("/health") is not None)
        airflow.token = (home / "standalone_admin_password.txt").read_text().strip()
        yield airflow


@pytest.fixture
def form(page: Page, airflow2: Airflow) -> Locator:
    """Log in, and open an empty form."""
    page.context.clear_cookies()  # with which the test before is still logged in
    page.goto(f"{airflow2.url}/connection/add")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(airflow2.token)
    page.get_by_role("button", name="Sign In").click()
    page.locator(".select2-selection").click()
    page.locator(".select2-results").get_by_text("Census", exact=True).click()
    return page.locator("#model_form")


def fill(form: Locator, conn_id: str, host: str, token: str) -> None:
    form.get_by_label("Connection Id").fill(conn_id)
    form.get_by_label("Census host").fill(host)
    form.get_by_label("API token").fill(token)


def test_the_form_shows_our_fields_and_hides_the_rest(form: Locator) -> None:
    expect(form.get_by_label("API token")).to_have_attribute("type", "password")
    for shown in ("Connection Id", "Description", "Census host"):
        expect(form.get_by_label(shown)).to_be_visible()
    for hidden in ("login", "port", "schema"):
        expect(form.locator(f"#{hidden}")).to_be_hidden()
    for name, field in CONN_FIELDS.items():
        expect(form.get_by_label(field["label"])).to_have_value(str(DEFAULTS[name] or ""))
        expect(form.get_by_text(field["description"])).to_be_visible()


def test_the_test_button(form: Locator, census: Sandbox, rejection: str) -> None:
    button = form.get_by_role("button", name="Test")
    fill(form, "census_default", census.url, census.personal_access_token)
    button.click()
    seen = form.page.get_by_text(f"Connected to {census.url}: the API token sees 2 sources.")
    expect(seen).to_be_visible()
    fill(form, "census_default", census.url, "wrong-token")
    button.click()
    expect(form.page.get_by_text(rejection, exact=True)).to_be_visible()
    expect(seen).to_be_hidden()
    assert "wrong-token" not in form.page.content()


@pytest.mark.parametrize(
    "emptied", [pytest.param(False, id="left as it is"), pytest.param(True, id="emptied")]
)
def test_the_form_makes_a_connection_that_works(
    form: Locator, airflow2: Airflow, census: Sandbox, monkeypatch: pytest.MonkeyPatch, emptied: bool
) -> None:
    conn_id = f"census_{emptied}".lower()
    version = default_version() if emptied else DEFAULTS["api_version"]
    token = {"v1": census.token, "v2": census.personal_access_token}[version]
    fill(form, conn_id, census.url, token)
    if emptied:
        for field in CONN_FIELDS.values():
            form.get_by_label(field["label"]).fill("")
    form.get_by_role("button", name="Save").click()
    expect(form.page.get_by_text("Added Row")).to_be_visible()
    saved = form.page.request.get(f"{airflow2.url}/api/v1/connections/{conn_id}").json()
    given = {name: value for name, value in json.loads(saved["extra"]).items() if value is not None}
    wanted = {name: value for name, value in DEFAULTS.items() if value is not None and not emptied}
    assert given == wanted
    monkeypatch.setenv(
        "AIRFLOW_CONN_SAVED",
        json.dumps(
            {"conn_type": "census", "host": saved["host"], "password": token, "extra": saved["extra"]}
        ),
    )
    assert CensusHook("saved").test_connection()[0]


def test_a_connection_that_names_no_version_names_none_when_it_is_saved_again(
    form: Locator, airflow2: Airflow, census: Sandbox
) -> None:
    conn_id = "census_of_old"
    connections = f"{airflow2.url}/api/v1/connections"
    old = {"connection_id": conn_id, "conn_type": "census", "host": census.url, "password": census.token}
    assert form.page.request.post(connections, data=old).ok
    form.page.goto(f"{airflow2.url}/connection/list/")
    form.page.locator("tr", has_text=conn_id).locator("a[href*='/edit/']").first.click()
    expect(form.get_by_label("API version")).to_have_value("")
    form.get_by_label("Description").fill("changed")
    form.get_by_role("button", name="Save").click()
    expect(form.page.get_by_text("Changed Row")).to_be_visible()
    saved = form.page.request.get(f"{connections}/{conn_id}").json()
    assert saved["description"] == "changed"
    assert not any(json.loads(saved["extra"] or "{}").values())

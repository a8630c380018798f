# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The sandbox over a real socket: what a test can see of it, and do to it."""

from __future__ import annotations

import socket
import threading
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from staging import NO_ERROR, START, call, run_of

from airflow_provider_census.sandbox import Sandbox, app


def test_every_answer_is_dated_and_names_the_sandbox(sandbox: Sandbox) -> None:
    answers = [call(sandbox, "GET", "/api/v1/sources"), call(sandbox, "GET", "/api/v1/nothing", headers={})]

    for answer in answers:
        assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None
        assert answer.headers["Server"] == "airflow-provider-census-sandbox"


def test_a_connection_uri_of_v1_leads_to_the_sandbox(sandbox: Sandbox) -> None:
    uri = urlsplit(sandbox.connection_uri_v1)

    assert unquote(uri.password or "") == sandbox.token
    assert f"{uri.path.strip('/')}://{uri.hostname}:{uri.port}" == sandbox.url
    assert dict(parse_qsl(uri.query)) == {"api_version": "v1"}, "what it names does not change with time"


def test_the_usual_connection_uri_leads_through_v2(sandbox: Sandbox) -> None:
    uri = urlsplit(sandbox.connection_uri)

    assert unquote(uri.password or "") == sandbox.personal_access_token
    assert f"{uri.path.strip('/')}://{uri.hostname}:{uri.port}" == sandbox.url
    assert dict(parse_qsl(uri.query)) == {"api_version": "v2", "group_id": "wandering_aimlessly"}


def test_it_tells_what_was_done_to_it(sandbox: Sandbox) -> None:
    first = call(sandbox, "POST", "/api/v1/syncs/57/trigger").json()["data"]["sync_run_id"]
    second = call(sandbox, "POST", "/api/v1/syncs/52/trigger?force_full_sync=true").json()["data"][
        "sync_run_id"
    ]
    call(sandbox, "POST", f"/api/v1/sync_runs/{first}/cancel")
    call(sandbox, "POST", "/api/v1/syncs/99/trigger")

    assert [(t.sync_id, t.sync_run_id, t.force_full_sync) for t in sandbox.triggers] == [
        (57, first, False),
        (52, second, True),
    ]
    assert sandbox.cancels == [first]
    assert sandbox.requests == [
        ("POST", "/api/v1/syncs/57/trigger"),
        ("POST", "/api/v1/syncs/52/trigger"),
        ("POST", f"/api/v1/sync_runs/{first}/cancel"),
        ("POST", "/api/v1/syncs/99/trigger"),
    ]


def test_a_planned_failure_is_in_census_form_and_has_no_other_effect(sandbox: Sandbox) -> None:
    sandbox.fail_next(2, headers={"Retry-After": "2"})

    answers = [call(sandbox, "POST", "/api/v1/syncs/58/trigger") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].json()["status"] == "error"
    assert answers[0].headers["Retry-After"] == "2"
    assert len(sandbox.triggers) == 1
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize(
    ("options", "method", "path", "status_code"),
    [
        ({"method": "POST"}, "GET", "/api/v1/syncs/52", 200),
        ({"method": "get"}, "GET", "/api/v1/syncs/52", 503),
        ({"path": "/api/v1/sync_runs"}, "GET", "/api/v1/syncs/52", 200),
        ({"path": "/api/v1/syncs"}, "GET", "/api/v1/syncs/52", 503),
        ({"path": "/api/v1/syncs", "method": "POST"}, "GET", "/api/v1/syncs/52", 200),
        ({"status": 429}, "GET", "/api/v1/syncs/52", 429),
    ],
)
def test_a_planned_failure_waits_for_the_call_it_is_meant_for(
    sandbox: Sandbox, options: dict[str, Any], method: str, path: str, status_code: int
) -> None:
    sandbox.fail_next(**options)

    assert call(sandbox, method, path).status_code == status_code


@pytest.mark.parametrize(
    ("body", "headers", "sent", "content_type"),
    [
        ({"status": 503}, None, b'{"status":503}', "application/json"),
        ("<h1>Bad</h1>", {"Content-Type": "text/html"}, b"<h1>Bad</h1>", "text/html"),
        ("out for lunch", None, b"out for lunch", "text/plain; charset=utf-8"),
        (b"\xff\xfe", None, b"\xff\xfe", "text/plain; charset=utf-8"),
        ("", None, b"", "text/plain; charset=utf-8"),
    ],
)
def test_a_planned_failure_can_say_anything(
    sandbox: Sandbox, body: Any, headers: dict[str, str] | None, sent: bytes, content_type: str
) -> None:
    sandbox.fail_next(body=body, headers=headers)
    answer = call(sandbox, "GET", "/api/v1/sources")

    assert (answer.content, answer.headers["Content-Type"]) == (sent, content_type)


@pytest.mark.parametrize("options", [{"times": 0}, {"path": "/syncs"}])
def test_a_failure_that_could_never_happen_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sandbox().fail_next(**options)


def test_failures_that_are_forgotten_do_not_happen(sandbox: Sandbox) -> None:
    sandbox.fail_next(9)
    assert call(sandbox, "GET", "/api/v1/sources").status_code == 503

    sandbox.stop_failing()

    assert call(sandbox, "GET", "/api/v1/sources").status_code == 200


def test_a_run_is_started_as_on_a_schedule(sandbox: Sandbox) -> None:
    sync_run_id = sandbox.start_run(57, full_sync=True)

    run = run_of(sandbox, sync_run_id)
    assert (run["sync_id"], run["status"], run["full_sync"]) == (57, "queued", True)
    assert run["sync_trigger_reason"]["ui_tag"] == "Schedule"
    assert sandbox.triggers == []


def test_a_run_of_a_sync_that_is_not_there_cannot_be_started(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="there is no sync 99"):
        sandbox.start_run(99)


@pytest.mark.parametrize(
    ("status", "counts", "ends"),
    [
        ("completed", {}, {"records_updated": 1000, "canceled": False, **NO_ERROR}),
        (
            "completed",
            {"records_failed": 30, "records_invalid": 20},
            {"records_updated": 950, "records_failed": 30, "records_invalid": 20},
        ),
        ("failed", {}, {"records_updated": None, "error_code": "JSON_ARRAY_ERROR", "completed_at": None}),
        ("skipped", {}, {"source_record_count": None, "completed_at": None, **NO_ERROR}),
        ("cancelled", {}, {"canceled": True, "records_processed": 500, "records_updated": 500}),
    ],
)
def test_a_run_is_finished_at_once_in_the_way_asked_for(
    sandbox: Sandbox, status: str, counts: dict[str, int], ends: dict[str, Any]
) -> None:
    sandbox.clock = lambda: START
    sync_run_id = sandbox.start_run(57)
    sandbox.clock = lambda: START + 901

    sandbox.finish_run(sync_run_id, status, **counts)

    run = run_of(sandbox, sync_run_id)
    assert run | ends == run
    assert (run["status"], run["updated_at"]) == (
        "completed" if status == "cancelled" else status,
        "2023-11-14T22:28:21.000Z",
    )
    assert run_of(sandbox, sandbox.start_run(57))["status"] == "queued", "the next one is not skipped"
    assert sandbox.cancels == []


def test_a_run_that_was_triggered_is_finished_as_well(sandbox: Sandbox) -> None:
    sync_run_id = call(sandbox, "POST", "/api/v1/syncs/53/trigger").json()["data"]["sync_run_id"]

    sandbox.finish_run(sync_run_id)

    run = run_of(sandbox, sync_run_id)
    assert (run["status"], run["error_code"]) == ("completed", None)


@pytest.mark.parametrize("of", ["ended", "documented", "none"])
def test_only_a_run_that_goes_on_can_be_finished(sandbox: Sandbox, of: str) -> None:
    sync_run_id = {"ended": sandbox.start_run(58), "documented": 94, "none": 1}[of]

    with pytest.raises(ValueError, match=f"no sync run {sync_run_id} is queued or working"):
        sandbox.finish_run(sync_run_id)


def test_a_run_cannot_end_in_a_way_that_there_is_not(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="status must be one of completed, failed, skipped, cancelled"):
        sandbox.finish_run(sandbox.start_run(57), "working")


def test_the_clock_may_be_given_and_may_go_by_the_requests() -> None:
    with Sandbox(clock=lambda: START + len(sandbox.requests)) as sandbox:
        sync_run_id = sandbox.start_run(52)

        seen = [run_of(sandbox, sync_run_id)["status"] for _ in range(6)]

    assert seen == [*["working"] * 4, *["completed"] * 2]


def test_it_remembers_the_last_requests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_REQUESTS", 2)
    with Sandbox() as sandbox:
        for number in (52, 53, 54):
            call(sandbox, "GET", f"/api/v1/syncs/{number}")
        assert sandbox.requests == [("GET", "/api/v1/syncs/53"), ("GET", "/api/v1/syncs/54")]


def test_a_token_that_was_rotated_is_the_only_one_let_in(sandbox: Sandbox) -> None:
    old = {"Authorization": f"Bearer {sandbox.token}"}
    sandbox.token = "secret-token:new"

    assert "secret-token%3Anew" in sandbox.connection_uri_v1
    assert call(sandbox, "GET", "/api/v1/sources").status_code == 200
    assert call(sandbox, "GET", "/api/v1/sources", headers=old).status_code == 401


def test_a_personal_access_token_that_was_rotated_is_the_only_one_let_in(sandbox: Sandbox) -> None:
    tokens = [sandbox.personal_access_token, "new"]
    sandbox.personal_access_token = "new"

    assert ":new@" in sandbox.connection_uri
    assert [
        call(sandbox, "GET", "/api/v2/sources", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in tokens
    ] == [401, 200]


def test_what_is_done_at_a_request_is_done_before_its_answer(sandbox: Sandbox) -> None:
    started: list[int] = []
    sandbox.on_request = lambda method, path: started.append(sandbox.start_run(52))

    runs = call(sandbox, "GET", "/api/v1/syncs/52/sync_runs").json()["data"]

    assert [runs[0]["id"]] == started
    assert sandbox.requests == [("GET", "/api/v1/syncs/52/sync_runs")]


def test_an_answer_can_be_held_back_and_others_are_not(sandbox: Sandbox) -> None:
    released = threading.Event()
    sandbox.on_request = lambda method, path: path.endswith("/52") and released.wait(30)
    try:
        with pytest.raises(requests.Timeout):
            requests.get(f"{sandbox.url}/api/v1/syncs/52", timeout=0.1)
        assert call(sandbox, "GET", "/api/v1/syncs/53").status_code == 200
    finally:
        released.set()


@pytest.mark.parametrize("pace", [0, -1.0, float("nan")])
def test_a_pace_that_is_not_above_0_is_refused(pace: float) -> None:
    with pytest.raises(ValueError, match="pace must be above 0"):
        Sandbox(pace=pace)


def test_callers_at_the_same_time_are_all_heard(sandbox: Sandbox) -> None:
    callers = [
        threading.Thread(target=call, args=(sandbox, "POST", "/api/v1/syncs/58/trigger")) for _ in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len({trigger.sync_run_id for trigger in sandbox.triggers}) == 20


def test_two_sandboxes_know_nothing_of_each_other(sandbox: Sandbox) -> None:
    with Sandbox(token="another") as other:
        assert call(other, "POST", "/api/v1/syncs/58/trigger").status_code == 200
        assert (
            call(sandbox, "GET", "/api/v1/syncs", headers={"Authorization": "Bearer another"}).status_code
            == 401
        )

        assert (len(other.triggers), sandbox.triggers) == (1, [])


def test_nothing_is_left_behind_when_the_block_raises() -> None:
    before = threading.active_count()
    session = requests.Session()  # stays open: an idle connection must not keep the server from ending

    def fail_inside() -> None:
        with Sandbox() as sandbox:
            url.append(sandbox.url)
            session.get(sandbox.url, timeout=10)
            raise RuntimeError("the test's own")

    url: list[str] = []
    with pytest.raises(RuntimeError, match="the test's own"):
        fail_inside()

    assert threading.active_count() == before
    with pytest.raises(requests.ConnectionError):
        requests.get(url[0], timeout=10)
    session.close()


def test_a_port_in_use_is_said_at_once(sandbox: Sandbox) -> None:
    expected = f"the Census sandbox cannot listen on 127.0.0.1 port {sandbox.port}"
    with pytest.raises(OSError, match=expected), Sandbox(port=sandbox.port):
        pass


def test_it_listens_on_ipv6_when_asked() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Sandbox(host="::1") as sandbox:
        assert sandbox.url == f"http://[::1]:{sandbox.port}"
        assert call(sandbox, "GET", "/api/v1/sources").status_code == 200

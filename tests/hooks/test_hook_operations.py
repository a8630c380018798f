# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Methods of the hook that are made of operations: what they look like, and going through lists."""

from __future__ import annotations

import asyncio
import gc
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests_mock as mock
from flow_helpers import Log

from airflow_provider_census.api import endpoints, types
from airflow_provider_census.exceptions import CensusApiError, CensusConnectionError, CensusTimeoutError
from airflow_provider_census.hooks.census import CensusHook
from airflow_provider_census.hooks.operations import Operations
from airflow_provider_census.transports.requests import RequestsTransport

if typing.TYPE_CHECKING:
    from airflow_provider_census.sandbox import Sandbox

LIFTED = sorted(name for name, method in vars(Operations).items() if hasattr(method, "__signature__"))


@pytest.mark.parametrize("name", LIFTED)
def test_a_lifted_method_looks_like_its_operation(name: str) -> None:
    twin = name.startswith("iter_")
    operation = getattr(endpoints, name.replace("iter_", "list_", 1) if twin else name)
    method = getattr(CensusHook, name)
    wanted, found = inspect.signature(operation), inspect.signature(method)
    this, *parameters = found.parameters.values()
    assert (this.name, this.kind) == ("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert parameters == list(wanted.parameters.values())
    given = found.return_annotation.replace("Iterator[", "list[", 1) if twin else found.return_annotation
    assert (f"Request[{given}]", twin) == (wanted.return_annotation, given != found.return_annotation)
    assert method.__annotations__ == {**operation.__annotations__, "return": found.return_annotation}
    assert method.__name__ == name
    assert method.__qualname__ == f"CensusHook.{name}"
    assert method.__doc__.strip()
    assert (
        (f":meth:`{operation.__name__}`" in method.__doc__) if twin else (method.__doc__ == operation.__doc__)
    )
    [gets] = typing.get_args(typing.get_type_hints(operation)["return"])
    names = {**vars(endpoints), "Iterator": Iterator}
    if twin:
        [item] = typing.get_args(gets)
        gets = Iterator[item]  # type: ignore[valid-type]
    assert typing.get_type_hints(method, names)["return"] == gets
    assert list(inspect.signature(getattr(CensusHook(), name)).parameters) == list(wanted.parameters)


@pytest.mark.parametrize("name", ["trigger_sync", "export_sync_run_records"])
def test_a_method_made_by_hand_takes_what_its_operation_takes(name: str) -> None:
    wanted = inspect.signature(getattr(endpoints, name)).parameters
    found = inspect.signature(getattr(CensusHook, name)).parameters
    assert {name: found[name] for name in wanted} == dict(wanted)


def test_documented_shapes_are_importable() -> None:
    assert typing.get_type_hints(types.NewSync)["mappings"] == list[types.Mapping]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], mock.Mocker]]:
    """Make a Census with so many pages of a hundred things, the last one short."""
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", "census://:secret-token%3At@census.test")
    api: mock.Mocker
    with mock.Mocker() as api:

        def serve(last: int) -> mock.Mocker:
            def page(request: Any, _: Any) -> dict[str, Any]:
                number = int(request.qs.get("page", ["1"])[0])
                first = 100 * (number - 1)
                following = number + 1 if number < last else None
                items = [{"id": first + each, "of_a_page": []} for each in range(1, 101 if following else 4)]
                return {"data": items, "pagination": {"page": number, "next_page": following}}

            api.get(mock.ANY, json=page)
            return api

        yield serve


def test_a_list_is_read_page_by_page(pages: Callable[[int], mock.Mocker]) -> None:
    api = pages(3)
    runs = CensusHook().iter_sync_runs(52, order="asc")
    assert api.call_count == 0
    seen = []
    for run in runs:
        seen.append(run["id"])
        assert api.call_count == (len(seen) - 1) // 100 + 1
    assert seen == list(range(1, 204))
    assert [sent.qs for sent in api.request_history] == [
        {"order": ["asc"], "per_page": ["100"]},
        {"order": ["asc"], "per_page": ["100"], "page": ["2"]},
        {"order": ["asc"], "per_page": ["100"], "page": ["3"]},
    ]


def test_who_stops_early_reads_no_further(pages: Callable[[int], mock.Mocker]) -> None:
    api = pages(1000)
    assert next(run["id"] for run in CensusHook().iter_sync_runs(52) if run["id"] % 150 == 0) == 150
    assert api.call_count == 2


def test_one_page_is_in_memory(pages: Callable[[int], mock.Mocker], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    send = RequestsTransport.send

    def counted(transport: RequestsTransport, request: Any) -> Any:
        gc.collect()
        kept.append(sum(type(each) is dict and "of_a_page" in each for each in gc.get_objects()))
        return send(transport, request)

    monkeypatch.setattr(RequestsTransport, "send", counted)
    pages(4)
    for run in CensusHook().iter_sync_runs(52):
        assert run
    assert len(kept) == 4
    assert max(kept) <= 1, (
        "when the next page is asked for, the caller has the last row, and nobody the others"
    )


def test_rows_belong_to_the_caller(pages: Callable[[int], mock.Mocker]) -> None:
    pages(3)
    runs = CensusHook().iter_sync_runs(52)
    assert [(run.pop("id"), run)[0] for run in runs] == list(range(1, 204))


def test_a_page_that_fails_fails_the_list_when_it_is_reached(census: Sandbox) -> None:
    hook = CensusHook()
    for _ in range(3):
        hook.trigger_sync(58)
    runs = hook.iter_sync_runs(58, per_page=2)
    before = [next(runs), next(runs)]
    census.fail_next(status=400, path="/api/v1/syncs/58/sync_runs")
    with pytest.raises(CensusApiError, match="HTTP 400"):
        next(runs)
    assert before == hook.list_sync_runs(58)[:2]


def test_one_page_that_was_asked_for_is_all(pages: Callable[[int], mock.Mocker]) -> None:
    api = pages(3)
    assert [run["id"] for run in CensusHook().iter_sync_runs(52, page=2)][::99] == [101, 200]
    assert api.call_count == 1


def test_what_is_no_request_is_refused(census: Sandbox) -> None:
    with pytest.raises(ValueError, match=r"request must be made by .*api\.endpoints, not 'api/v1/syncs'"):
        CensusHook().run("api/v1/syncs")  # type: ignore[arg-type]


TOO_EARLY: dict[str, Any] = {"status_code": 425, "json": {"status": "error", "message": "Not yet."}}
BUSY: dict[str, Any] = {"status_code": 503}
READY: dict[str, Any] = {"json": {"status": "success", "urls": ["https://files.test/1"]}}


def export(answers: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[str]:
    """Ask for an export of a Census that answers like this, one after the other."""
    monkeypatch.setenv("AIRFLOW_CONN_CENSUS_DEFAULT", "census://:secret-token%3At@census.test")
    with mock.Mocker() as api:
        api.get("https://census.test/api/v1/sync_runs/94/records_export", answers)
        try:
            return CensusHook().export_sync_run_records(94, poll_interval=0.01, **options)
        finally:
            assert api.call_count == len(answers) or "timeout" in options


def test_an_export_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(CensusHook, "log", log)
    assert export([TOO_EARLY] * 7 + [READY], monkeypatch) == ["https://files.test/1"]
    said = [line for _, line in log.lines if "API v1" not in line]
    assert said == ["The export /sync_runs/94/records_export is not ready yet."]


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_an_export_that_is_refused_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    refused = {"status_code": status, "json": {"status": "error", "message": "Gone."}}
    with pytest.raises(CensusApiError, match=rf"HTTP {status}: Gone"):
        export([TOO_EARLY, refused], monkeypatch)


def test_an_export_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CensusTimeoutError, match=r"The export /sync_runs/94/records_export has not ended"):
        export([TOO_EARLY], monkeypatch, timeout=0.05)


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
def test_an_error_does_not_show_whose_record_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    log = Log()
    monkeypatch.setattr(CensusHook, "log", log)
    monkeypatch.setenv(
        "AIRFLOW_CONN_CENSUS_DEFAULT", "census://:secret-token%3At@127.0.0.1:9/http?attempts=1"
    )
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "" if proxy else "*")
    hook = CensusHook()
    request = endpoints.list_sync_run_records(94, primary_identifier="ada.lovelace")
    for send in (hook.run, lambda request: asyncio.run(hook.arun(request))):
        with pytest.raises(CensusConnectionError) as failed:
            send(request)
        assert "/sync_runs/94/records" in str(failed.value)
        assert "ada" not in f"{failed.value!r} {log.lines}"

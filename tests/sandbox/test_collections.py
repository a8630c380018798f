# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What is created, changed, deleted and read again in the sandbox, through v1 and v2."""

from __future__ import annotations

from typing import Any

import pytest
from staging import START, Caller, Stage

GROUP = "wandering_aimlessly"
SYNC: dict[str, Any] = {
    "label": "New",
    "operation": "upsert",
    "source_attributes": {"connection_id": 4, "object": {"type": "model", "id": 15}},
    "destination_attributes": {"connection_id": 15, "object": "user"},
    "mappings": [
        {"from": {"type": "column", "data": "EMAIL"}, "to": "external_id", "is_primary_identifier": True}
    ],
}
NEW: dict[str, Any] = {"name": "New", "group_id": GROUP}
# One body for both roots: each finds its own object in it.
DESTINATION = {
    "service_connection": {"name": "New", "type": "braze", "credentials": {}},
    "activation": {"name": "New", "type": "braze", "credentials": {}, "group_id": GROUP},
}


# What is created, changed and deleted

KINDS = [
    ("/syncs", "/syncs", SYNC, "label", {"label": "Newer"}),
    ("/sources", "/sources", {"connection": {"label": "New"}}, "label", {"connection": {"label": "Newer"}}),
    ("/sources/10/models", "/sources/10/models", {"name": "New"}, "name", {"name": "Newer"}),
    (
        "/sources/10/filter_segments",
        "/sources/10/filter_segments",
        {"name": "New"},
        "name",
        {"name": "Newer"},
    ),
    (
        "/destinations",
        "/activations",
        DESTINATION,
        "name",
        {"service_connection": {"name": "Newer"}, "activation": {"name": "Newer"}},
    ),
    ("/datasets", "/datasets", NEW, "name", {"name": "Newer"}),
    ("/webhooks", "/webhooks", NEW, "name", {"name": "Newer"}),
]


@pytest.mark.parametrize(
    ("path", "path_in_v2", "new", "changing", "change"), KINDS, ids=[kind[0] for kind in KINDS]
)
def test_what_is_created_can_be_read_changed_and_deleted(
    either: Caller, path: str, path_in_v2: str, new: dict[str, Any], changing: str, change: dict[str, Any]
) -> None:
    path = path if either.version == "v1" else path_in_v2
    before = [item["id"] for item in either.data(path)]

    made = either.call("POST", path, json=new).json()["data"]
    one = f"{path}/{made.get('id', made.get('sync_id'))}"
    found = either.data(one)
    assert found[changing] == "New"
    assert found["created_at"] == found["updated_at"] == "2023-11-14T22:13:20.000Z"

    either.clock.now += 60
    answer = either.call("PATCH", one, json=change).json()
    assert answer == {
        "status": "updated",
        "data": {**found, changing: "Newer", "updated_at": "2023-11-14T22:14:20.000Z"},
    }
    assert either.data(one) == answer["data"]

    assert [item["id"] for item in either.data(path)] == [*before, found["id"]]
    assert either.call("DELETE", one).json() == {"status": "deleted"}
    assert [item["id"] for item in either.data(path)] == before
    for method in ("GET", "PATCH", "DELETE"):
        assert either.call(method, one).status_code == 404


def test_ids_are_not_used_again(census: Caller) -> None:
    first = census.call("POST", "/webhooks", json=NEW).json()["data"]["id"]
    census.call("DELETE", f"/webhooks/{first}")

    assert census.call("POST", "/webhooks", json=NEW).json()["data"]["id"] != first


def test_what_census_fills_in_itself_cannot_be_written(census: Caller) -> None:
    own = {"id": 1, "created_at": "never", "tables": "all", "models": "all", "filter_segments": "all"}
    made = census.call("POST", "/sources", json=own).json()["data"]

    assert made["id"] != 1
    assert census.call("PATCH", f"/sources/{made['id']}", json=own).json()["data"] == made


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/sources", {"connection": "mine"}),
        ("PATCH", "/destinations/15", {"service_connection": ["mine"]}),
    ],
)
def test_a_connection_is_an_object(census: Caller, method: str, path: str, body: dict[str, Any]) -> None:
    answer = census.call(method, path, json=body)

    assert answer.status_code == 422
    assert next(iter(body)) in answer.json()["message"]


def test_a_created_model_is_an_object_of_its_source(either: Caller) -> None:
    model = either.call("POST", "/sources/10/models", json={"name": "new", "query": "select 1"}).json()[
        "data"
    ]
    del model["columns"]

    assert either.data("/sources/10/objects") == [model]
    assert either.data("/sources/10")["data_sources"] == [model]
    assert either.data("/sources/10/models") == [model]


def test_what_belongs_to_one_source_is_not_found_in_another(either: Caller) -> None:
    for path in ("/models/15", "/tables/2", "/filter_segments/31"):
        assert either.call("GET", f"/sources/10{path}").status_code == 404


@pytest.mark.parametrize(("name", "ids"), [("New customers", [31]), ("Old customers", [])])
def test_filter_segments_are_found_by_name(either: Caller, name: str, ids: list[int]) -> None:
    assert [item["id"] for item in either.data("/sources/4/filter_segments", name=name)] == ids


def test_one_sandbox_changes_nothing_for_the_next(census: Caller, stage: Stage) -> None:
    census.call("DELETE", "/syncs/52")
    census.call("PATCH", "/sources/4/models/15", json={"query": "select 1"})

    fresh = stage.caller()
    assert fresh.data("/syncs/52")["label"] == "Completes"
    assert fresh.data("/sources/4/models/15")["query"] != "select 1"


def test_lists_come_newest_first_when_asked(either: Caller) -> None:
    assert [item["id"] for item in either.data("/sources", order="desc")] == [10, 4]


# Syncs


def test_syncs_and_runs_are_the_same_through_both_roots(census: Caller, v2: Caller) -> None:
    sync_id = census.call("POST", "/syncs", json=SYNC).json()["data"]["sync_id"]
    sync_run_id = v2.trigger(sync_id)

    for sync in (syncs := census.data("/syncs")):
        sync["destination_attributes"]["connection_id"] = "glimmering_donkey"
    assert v2.data("/syncs") == syncs
    assert census.run(sync_run_id, after=60)["status"] == "completed"
    assert v2.data(f"/sync_runs/{sync_run_id}") == census.data(f"/sync_runs/{sync_run_id}")
    assert v2.call("DELETE", f"/syncs/{sync_id}").status_code == 200
    assert census.call("POST", f"/syncs/{sync_id}/trigger").status_code == 404


@pytest.mark.parametrize(
    ("version", "connection", "status_code"),
    [
        ("v1", {"connection_id": 15}, 201),
        ("v1", {"connection_slug": "braze"}, 201),
        ("v1", {"connection_id": "glimmering_donkey"}, 422),
        ("v2", {"connection_id": "glimmering_donkey"}, 201),
        ("v2", {"connection_id": 15}, 201),
        ("v2", {"connection_id": "dozing_donkey"}, 422),
    ],
)
def test_a_sync_names_its_destination(
    census: Caller, version: str, connection: dict[str, Any], status_code: int
) -> None:
    body = {**SYNC, "destination_attributes": {**connection, "object": "user"}}

    assert census.through(version).call("POST", "/syncs", json=body).status_code == status_code


def test_a_sync_can_be_made_between_what_was_created(census: Caller) -> None:
    source = census.call("POST", "/sources", json={"name": "New"}).json()["data"]["id"]
    destination = census.call("POST", "/destinations", json=DESTINATION).json()["data"]["id"]
    body = {
        **SYNC,
        "source_attributes": {"connection_id": source, "object": {"type": "model", "id": 1}},
        "destination_attributes": {"connection_id": destination, "object": "user"},
    }

    assert census.call("POST", "/syncs", json=body).status_code == 201
    census.call("DELETE", f"/sources/{source}")
    assert census.call("POST", "/syncs", json=body).status_code == 422


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"operation": "replace"}, "operation must be one of"),
        ({"mappings": []}, "mappings is required"),
        ({"schedule_hour": 25}, "schedule_hour must be"),
        ({"destination_attributes": {"connection_id": 99, "object": "user"}}, "there is no connection 99"),
    ],
)
def test_a_change_that_is_wrong_changes_nothing(
    either: Caller, change: dict[str, Any], complaint: str
) -> None:
    before = either.data("/syncs/52")
    answer = either.call("PATCH", "/syncs/52", json={"label": "Changed", **change})

    assert (answer.status_code, answer.json()["status"]) == (422, "error")
    assert complaint in answer.json()["message"]
    assert either.data("/syncs/52") == before


# Groups and activations, which are v2's


@pytest.mark.parametrize(
    ("path", "path_in_v2"),
    [
        ("/sources/4", "/sources/4"),
        ("/destinations/15", "/activations/glimmering_donkey"),
        ("/webhooks/71", "/webhooks/71"),
    ],
)
def test_only_v2_says_which_group_things_belong_to(
    census: Caller, v2: Caller, path: str, path_in_v2: str
) -> None:
    for caller, one, group_id in [(census, path, None), (v2, path_in_v2, GROUP)]:
        items = [caller.data(one), *caller.data(one.rpartition("/")[0])]
        assert {item.get("group_id") for item in items} == {group_id}


@pytest.mark.parametrize(
    ("path", "path_in_v1", "body", "complaint"),
    [
        ("/webhooks", "/webhooks", {"name": "New"}, "group_id is required"),
        ("/webhooks", "/webhooks", {"name": "New", "group_id": ""}, "group_id is required"),
        ("/datasets", "/datasets", {"name": "New"}, "group_id is required"),
        (
            "/activation_connect_links",
            "/destination_connect_links",
            {"type": "braze"},
            "group_id is required",
        ),
        ("/activations", "/destinations", {"activation": {"name": "New"}}, "group_id is required"),
        ("/activations", "/destinations", {"name": "New", "group_id": GROUP}, "activation is required"),
        ("/activations", "/destinations", {"activation": "New"}, "activation must be an object"),
    ],
)
def test_only_v2_needs_a_group_to_create_things(
    census: Caller, v2: Caller, path: str, path_in_v1: str, body: dict[str, Any], complaint: str
) -> None:
    before = v2.data(path)
    answer = v2.call("POST", path, json=body)

    assert (answer.status_code, answer.json()["status"]) == (422, "error")
    assert complaint in answer.json()["message"]
    assert v2.data(path) == before
    assert census.call("POST", path_in_v1, json=body).status_code == 201


def test_the_group_that_is_sent_is_the_one_that_is_answered(v2: Caller) -> None:
    activation = {"activation": {"name": "New", "type": "braze", "group_id": "another_group"}}

    for path, body in {"/activations": activation, "/webhooks": {"group_id": "another_group"}}.items():
        made = v2.call("POST", path, json=body).json()["data"]
        assert v2.data(f"{path}/{made['id']}")["group_id"] == "another_group"


def test_an_activation_is_a_destination_with_an_id_of_its_own(census: Caller, v2: Caller) -> None:
    destinations, activations = census.data("/destinations"), v2.data("/activations")

    assert [item["name"] for item in activations] == [item["name"] for item in destinations]
    ids = [item["id"] for item in activations]
    assert ids == ["patient_heron", "crimson_walnut", "glimmering_donkey", "humming_lantern"]
    assert v2.data("/activations/glimmering_donkey")["objects"] == census.data("/destinations/15")["objects"]
    for unknown in ("15", "braze"):
        assert v2.call("GET", f"/activations/{unknown}").status_code == 404
    assert census.call("GET", "/destinations/glimmering_donkey").status_code == 404


def test_a_created_activation_is_a_destination_too(census: Caller, v2: Caller) -> None:
    made = v2.call("POST", "/activations", json=DESTINATION).json()["data"]
    destination = census.data("/destinations")[-1]

    assert isinstance(made["id"], str)
    assert v2.data(f"/activations/{made['id']}")["name"] == destination["name"] == "New"
    census.call("DELETE", f"/destinations/{destination['id']}")
    assert v2.call("GET", f"/activations/{made['id']}").status_code == 404


# Refreshes


@pytest.mark.parametrize(
    "path",
    [
        "/sources/4/refresh_tables",
        "/sources/4/models/18/refresh_columns",
        "/sources/4/tables/2/refresh_columns",
        "/destinations/15/refresh_objects",
        "/destinations/15/objects/event/refresh_fields",
    ],
)
@pytest.mark.parametrize("pace", [1.0, 0.1])
def test_a_refresh_takes_two_seconds(stage: Stage, path: str, pace: float) -> None:
    census = stage.caller(pace)
    key = census.call("POST", path).json()["refresh_key"]

    def status_after(seconds: float) -> Any:
        census.clock.now = START + seconds * pace
        return census.call("GET", f"{path}_status", params={"refresh_key": key}).json()

    assert [status_after(seconds) for seconds in (0, 1.9, 2.1, 60)] == [
        {"status": "processing"},
        {"status": "processing"},
        {"status": "completed"},
        {"status": "completed"},
    ]


def test_a_refresh_is_only_found_with_its_own_key(either: Caller) -> None:
    first = either.call("POST", "/sources/4/refresh_tables").json()["refresh_key"]
    second = either.call("POST", "/sources/4/refresh_tables").json()["refresh_key"]

    def status_code(path: str, **params: Any) -> int:
        return either.call("GET", path, params=params).status_code

    assert first != second
    assert status_code("/sources/4/refresh_tables_status", refresh_key=second) == 200
    assert status_code("/sources/10/refresh_tables_status", refresh_key=first) == 404
    assert status_code("/sources/4/models/15/refresh_columns_status", refresh_key=first) == 404
    assert status_code("/sources/4/refresh_tables_status", refresh_key=1) == 404
    assert status_code("/sources/4/refresh_tables_status") == 422
    assert either.call("POST", "/sources/99/refresh_tables").status_code == 404


# Connect links and connectors


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_revoked_link_says_so(census: Caller, version: str) -> None:
    caller = census.through(version)
    links = "/destination_connect_links" if version == "v1" else "/activation_connect_links"
    link = caller.call("POST", links, json={"type": "braze", "group_id": GROUP}).json()["data"]

    assert (link["type"], link["revoked"]) == ("braze", False)
    assert link["uri"] == f"https://census.example/connect/{link['id']}"
    assert link["expiration"] == "2023-11-15T22:13:20.000Z"
    caller.call("POST", f"{links}/{link['id']}/revoke")
    assert caller.data(f"{links}/{link['id']}")["revoked"] is True
    assert [item["revoked"] for item in caller.data(links)] == [False, True]
    assert caller.call("POST", f"{links}/99/revoke").status_code == 404


def test_a_connector_is_found_by_its_service_name(census: Caller, v2: Caller) -> None:
    names = [connector["service_name"] for connector in census.data("/connectors")]

    assert "google_sheets" in names
    for name in names:
        assert census.data(f"/connectors/{name}") == v2.data(f"/activation_types/{name}")
    assert census.call("GET", "/connectors/nobody").status_code == 404

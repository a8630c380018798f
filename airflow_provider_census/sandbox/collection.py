# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What can be done with things of which Census holds many of a kind: one set of operations for all kinds."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_census.sandbox import data
from airflow_provider_census.sandbox.calls import Call, Item, Refusal, created, page, success, without
from airflow_provider_census.sandbox.runs import timestamp
from airflow_provider_census.sandbox.sync_body import complaints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_census.sandbox.workspace import Workspace

LINK_LASTS = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Collection:
    """Things of one kind.

    :ivar noun: what one of them is called, among others as the variable part of a path.
    :ivar within: the kind of thing that each of them belongs to, if not to the workspace.
    :ivar keys: the properties by which a path may name one.
    :ivar details: the properties that lists leave to the single answers.
    :ivar filters: the properties by which the query may choose among them.
    :ivar own: the properties that a caller cannot set, as a new one has them.
    :ivar grouped: whether answers of API v2 say which group one belongs to.
    :ivar needs_group: whether creating one through API v2 takes a group.
    """

    noun: str
    within: Collection | None = None
    keys: tuple[str, ...] = ("id",)
    details: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    grouped: bool = False
    needs_group: bool = False

    # The operations

    def list_all(self, workspace: Workspace, call: Call) -> Response:
        """The page of them that the query asks for, without their details."""
        wanted = {name: call.query[name] for name in self.filters if name in call.query}
        shown = [
            self.show(item, call)
            for item in self.items(workspace, call)
            if all(item.get(name) == value for name, value in wanted.items())
        ]
        return page([without(item, *self.details) for item in shown], call)

    def get(self, workspace: Workspace, call: Call) -> Response:
        """The one that the path names, with its details."""
        return success(self.show(self.find(workspace, call), call))

    def create(self, workspace: Workspace, call: Call) -> Response:
        """Make one of what the body gives, and answer with it as HTTP 201."""
        return created(self.show(self.add(workspace, call, self.given(call)), call))

    def update(self, workspace: Workspace, call: Call) -> Response:
        """Change what the body gives, except for what a caller cannot set."""
        item = self.find(workspace, call)
        item.update(without(self.given(call), "id", "created_at", *self.own))
        item["updated_at"] = workspace.now()
        return JSONResponse({"status": "updated", "data": self.show(item, call)})

    def delete(self, workspace: Workspace, call: Call) -> Response:
        """Remove the one that the path names."""
        self.items(workspace, call).remove(self.find(workspace, call))
        return JSONResponse({"status": "deleted"})

    def refresh(self, workspace: Workspace, call: Call) -> Response:
        """Begin to read it again, and answer with the ``refresh_key`` to ask for its status."""
        return JSONResponse({"refresh_key": workspace.refresh(self.find(workspace, call))})

    def refresh_status(self, workspace: Workspace, call: Call) -> Response:
        """``processing`` or ``completed``; :class:`Refusal` for no key (422) or another's (404)."""
        item = self.find(workspace, call)
        key = call.query.get("refresh_key")
        if not key:
            raise Refusal(422, "refresh_key is required")
        refresh = workspace.refreshes.get(key)
        if refresh is None or refresh.of is not item:
            raise Refusal(404, f"there is no refresh {key!r} of this {self.noun}")
        return JSONResponse({"status": "processing" if workspace.clock() < refresh.ends_at else "completed"})

    # What they are made of

    def items(self, workspace: Workspace, call: Call) -> list[Item]:
        """The list itself that holds them: the workspace's, or that of what they are within."""
        holder = self.within.find(workspace, call) if self.within else workspace.items
        items: list[Item] = holder[f"{self.noun}s"]
        return items

    def find(self, workspace: Workspace, call: Call) -> Item:
        """The item that the path names."""
        name = call.path[self.noun]
        for item in self.items(workspace, call):
            if name in self.names(item, call):
                return item
        raise Refusal(404, f"there is no {self.noun.replace('_', ' ')} {name!r}")

    def names(self, item: Item, call: Call) -> list[str]:
        """What a path may call an item: the values of its ``keys``, as text."""
        return [str(item[key]) for key in self.keys if key in item]

    def show(self, item: Item, call: Call) -> Item:
        """A copy of an item as this version of the API shows it."""
        shown = without(item, "group_id")
        if call.v2 and self.grouped:
            shown["group_id"] = item.get("group_id") or data.GROUP_ID
        return shown

    def given(self, call: Call) -> Item:
        """The properties that the body gives."""
        return call.body

    def add(self, workspace: Workspace, call: Call, given: Item) -> Item:
        """Store a new item and return it; :class:`Refusal` (422) when it lacks the group that v2 needs."""
        group_id = given.get("group_id")
        if call.v2 and self.needs_group and not (group_id and isinstance(group_id, str)):
            raise Refusal(422, "group_id is required")
        now = workspace.now()
        item = {
            **given,
            **deepcopy(self.own),
            "id": workspace.new_id(),
            "created_at": now,
            "updated_at": now,
        }
        self.items(workspace, call).append(item)
        return item


class LocatedTables(Collection):
    """Tables that are named by catalog, schema and name in the query, as those are that have no id."""

    def find(self, workspace: Workspace, call: Call) -> Item:
        """The table that the query names."""
        names = ("table_catalog", "table_schema", "table_name")
        for item in self.items(workspace, call):
            if all(item[name] == call.query.get(name) for name in names):
                return item
        raise Refusal(404, f"there is no table {'.'.join(call.query.get(name, '') for name in names)!r}")

    def list_columns(self, workspace: Workspace, call: Call) -> Response:
        """The page of its columns that the query asks for."""
        return page(self.find(workspace, call)["columns"], call)


class Sources(Collection):
    """Sources, which show their tables and models in brief, as ``data_sources``."""

    def given(self, call: Call) -> Item:
        """What is inside of ``connection``, or the body if it has none."""
        return unwrapped(call.body, "connection")

    def show(self, item: Item, call: Call) -> Item:
        """A source with ``data_sources`` in place of its tables, models and filter segments."""
        shown = without(super().show(item, call), *self.own)
        return {**shown, "data_sources": data_sources(item)}


class Destinations(Collection):
    """Destinations, which are activations in API v2, with ids of their own."""

    def names(self, item: Item, call: Call) -> list[str]:
        """In v2 the activation's id alone, in v1 id and slug of the destination."""
        return [activation_id(item)] if call.v2 else super().names(item, call)

    def show(self, item: Item, call: Call) -> Item:
        """A destination, its objects without their fields; in v2 with the activation's id and no slug."""
        shown = super().show(item, call)
        shown["objects"] = [without(found, *OBJECTS.details) for found in item["objects"]]
        return {**without(shown, "slug"), "id": activation_id(item)} if call.v2 else shown

    def given(self, call: Call) -> Item:
        """What is inside of ``activation`` (v1: ``service_connection``), or the body if it has none."""
        return unwrapped(call.body, "activation" if call.v2 else "service_connection")

    def create(self, workspace: Workspace, call: Call) -> Response:
        """Make one, as any other; in v2, :class:`Refusal` (422) when the body has no ``activation``."""
        if call.v2 and "activation" not in call.body:
            raise Refusal(422, "activation is required")
        return super().create(workspace, call)


class Syncs(Collection):
    """Syncs, the same in both versions of the API, but for the id of the destination."""

    def find(self, workspace: Workspace, call: Call) -> Item:
        """The sync that the path names, which springs up unless the sandbox is strict."""
        name = call.path[self.noun]
        if not re.fullmatch("[1-9][0-9]{0,18}", name) or (sync := workspace.sync(int(name))) is None:
            raise Refusal(404, f"there is no sync {name!r}")
        return sync

    def delete(self, workspace: Workspace, call: Call) -> Response:
        """Remove one, as any other, for good."""
        workspace.deleted_syncs.add(self.find(workspace, call)["id"])
        return super().delete(workspace, call)

    def show(self, item: Item, call: Call) -> Item:
        """A sync; in v2 its ``connection_id`` of the destination is the activation's."""
        shown = super().show(item, call)
        written = shown["destination_attributes"]
        number = written.get("connection_id")
        if call.v2 and isinstance(number, int):
            shown["destination_attributes"] = {**written, "connection_id": activation_id({"id": number})}
        return shown

    def create(self, workspace: Workspace, call: Call) -> Response:
        """
        Make one, and answer with its ``sync_id`` alone; :class:`Refusal` (422) when the body is wrong.

        With ``validate_only``, nothing is made of a body that is right.
        """
        check_sync(workspace, call, new=True)
        if call.body.get("validate_only") is True:
            return JSONResponse({"status": "success", "data": {}})
        sync = self.add(workspace, call, {**data.SYNC_DEFAULTS, **call.body})
        sync["resource_identifier"] = f"sync-{sync['id']}"
        return created({"sync_id": sync["id"]})

    def update(self, workspace: Workspace, call: Call) -> Response:
        """Change one, as any other; :class:`Refusal` (422) when the body is wrong."""
        check_sync(workspace, call, new=False)
        return super().update(workspace, call)


class ConnectLinks(Collection):
    """Connect links, which are revoked rather than deleted."""

    def add(self, workspace: Workspace, call: Call, given: Item) -> Item:
        """Store a new link, which leads somewhere for a day."""
        link = super().add(workspace, call, given)
        link["uri"] = f"https://census.example/connect/{link['id']}"
        link["expiration"] = timestamp(workspace.clock() + LINK_LASTS)
        return link

    def revoke(self, workspace: Workspace, call: Call) -> Response:
        """Mark the link as revoked, and answer with it."""
        link = self.find(workspace, call)
        link["revoked"] = True
        return created(self.show(link, call))  # 201, as a client of the vendor's expects


SYNCS = Syncs("sync")
SOURCES = Sources(
    "source",
    keys=("id", "slug"),
    details=("data_sources",),
    own={"tables": [], "models": [], "filter_segments": []},
    grouped=True,
)
TABLES = Collection("table", within=SOURCES, details=("columns",))
LOCATED_TABLES = LocatedTables("table", within=SOURCES)
MODELS = Collection("model", within=SOURCES, details=("columns",), own={"type": "model", "columns": []})
FILTER_SEGMENTS = Collection("filter_segment", within=SOURCES, filters=("name",))
DESTINATIONS = Destinations(
    "destination",
    keys=("id", "slug"),
    details=("objects",),
    own={"objects": []},
    grouped=True,
    needs_group=True,
)
OBJECTS = Collection("object", within=DESTINATIONS, keys=("full_name",), details=("fields",))
CONNECTORS = Collection("connector", keys=("service_name",))
CONNECT_LINKS = ConnectLinks("destination_connect_link", own={"revoked": False}, needs_group=True)
DATASETS = Collection("dataset", filters=("type",), needs_group=True)
WEBHOOKS = Collection("webhook", grouped=True, needs_group=True)


def data_sources(source: Item) -> list[Item]:
    """The tables and models of a source, in brief."""
    return [without(item, "columns") for item in [*source["tables"], *source["models"]]]


def activation_id(destination: Item) -> str:
    """The id in v2 of a destination: a fixed one, or one made from its number in v1."""
    number = destination["id"]
    return data.ACTIVATION_IDS.get(number, f"created_activation_{number}")


def unwrapped(body: Item, name: str) -> Item:
    """What is inside the object ``name`` of a body, or the body if it has none."""
    inner = body.get(name, body)
    if not isinstance(inner, dict):
        raise Refusal(422, f"{name} must be an object")
    return inner


def check_sync(workspace: Workspace, call: Call, *, new: bool) -> None:
    """:class:`Refusal` (422), with every reason, when Census would not take the body of a sync."""
    destinations = workspace.items["destinations"]
    # A sync is the same through both roots; through v2 it may name its destination as v2 does.
    shown = [DESTINATIONS.show(destination, call) for destination in destinations]
    wrong = complaints(call.body, workspace.items["sources"], [*destinations, *shown], new=new)
    if message := "; ".join(wrong):
        raise Refusal(422, message)

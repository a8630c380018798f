# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The shapes that Census documents, under Census' own names.

A response may hold more than its shape says, and Census leaves out what it does not know: these types help
an editor, nothing is dropped or converted.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Operation = Literal["append", "insert", "mirror", "update", "upsert"]
ArrayOperation = Literal["merge", "overwrite"]
ConstantType = Literal["boolean", "datetime", "number", "text"]
ScheduleFrequency = Literal[
    "never", "continuous", "quarter_hourly", "hourly", "daily", "weekly", "expression"
]
ScheduleDay = Literal["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

RecordStatus = Literal["succeeded", "rejected", "invalid"]
RecordOperation = Literal["upsert", "delete"]


class Column(TypedDict):
    """A column of a model or a table."""

    name: str
    type: str


class Model(TypedDict, total=False):
    """A model (a saved query) of a source; ``columns`` only where one model is asked for."""

    type: Literal["model"]
    id: int
    name: str
    query: str
    created_at: str
    updated_at: str
    compiled_query: str | None
    columns: list[Column]


class Table(TypedDict, total=False):
    """A table of a source; ``columns`` only where one table is asked for."""

    type: Literal["table"]
    id: int
    table_catalog: str
    table_schema: str
    table_name: str
    columns: list[Column]


class Source(TypedDict, total=False):
    """
    A warehouse or database that Census reads; ``data_sources`` only where one source is asked for.

    Older responses have ``credentials``, newer ones ``connection_details``; only API v2 has ``group_id``.
    """

    id: int
    slug: str
    name: str
    type: str
    label: str | None
    created_at: str
    last_test_succeeded: bool | None
    last_tested_at: str | None
    last_test_results: list[dict[str, Any]] | None
    connection_details: dict[str, Any]
    credentials: dict[str, Any]
    read_only_connection: bool
    sync_engine: str
    group_id: str
    data_sources: list[Model | Table]


class Field(TypedDict, total=False):
    """A field of a destination object, with what Census can do with it."""

    label: str
    full_name: str
    polymorphic: bool
    createable: bool
    updateable: bool
    operations: list[str]
    array: bool
    preserve_values_supported: bool
    required_for_mapping: bool
    can_be_upsert_key: bool
    can_be_update_key: bool
    can_be_insert_key: bool
    can_be_reference_key: bool
    lookup_object: str | None


class DestinationObject(TypedDict, total=False):
    """A kind of record in a destination; ``fields`` only where one object is asked for."""

    label: str
    full_name: str
    allow_custom_fields: bool
    allow_case_sensitive_field_names: bool
    allow_case_sensitive_fields: bool
    supported_operations: list[str]
    fields: list[Field]


class ActivationConnection(TypedDict, total=False):
    """One of the two connections of an activation."""

    id: int
    name: str
    type: str
    created_at: str
    connection_details: dict[str, Any]
    last_test_succeeded: bool | None
    last_tested_at: str | None
    last_test_results: list[dict[str, Any]] | None


class Destination(TypedDict, total=False):
    """
    A tool that Census writes to; ``objects`` only where one destination is asked for.

    In API v2 it is an activation: its ``id`` is a word, and it has a ``group_id`` and two connections.
    """

    id: int | str
    slug: str
    name: str
    type: str
    created_at: str
    credentials: dict[str, Any]
    connection_details: dict[str, Any]
    last_test_succeeded: bool | None
    last_tested_at: str | None
    last_test_results: list[dict[str, Any]] | None
    sync_engine: str
    group_id: str
    source_connection: ActivationConnection
    destination_connection: ActivationConnection
    objects: list[DestinationObject]


class ConnectLink(TypedDict, total=False):
    """A link by which somebody else may connect a destination; who knows ``uri`` may use it."""

    id: int
    type: str
    uri: str
    redirect_uri: str | None
    expiration: str
    expired: bool
    revoked: bool
    created_at: str
    group_id: str


class Webhook(TypedDict, total=False):
    """An address that Census tells what becomes of syncs; ``secret`` only where it is created."""

    id: int
    name: str
    description: str | None
    endpoint: str
    events: list[str]
    secret: str
    created_at: str
    group_id: str


class Sync(TypedDict, total=False):
    """
    A sync. Its attributes and mappings are as the newer form of the API has them.

    ``status`` is ``ready``, ``up to date`` or ``failing``, in older responses with a capital.
    """

    id: int
    label: str | None
    resource_identifier: str
    operation: str
    paused: bool
    status: str
    schedule_frequency: str | None
    schedule_day: str | None
    schedule_hour: int | None
    schedule_minute: int | None
    cron_expression: str | None
    mode: dict[str, Any]
    triggers: dict[str, Any]
    field_behavior: str
    field_normalization: str | None
    mirror_strategy: str | None
    alert_attributes: list[dict[str, Any]]
    failed_run_notifications_enabled: bool
    failed_record_notifications_enabled: bool
    failed_record_notifications_threshold_percent: int
    created_at: str
    updated_at: str
    source_attributes: dict[str, Any]
    destination_attributes: dict[str, Any]
    mappings: list[dict[str, Any]]


class SyncTriggerReason(TypedDict, total=False):
    """Who or what started a run, in words for people: do not build logic on them."""

    ui_tag: str
    ui_detail: str


class SyncRun(TypedDict, total=False):
    """One execution of a sync. Times are ISO 8601 in UTC; counts are records, ``None`` where not known."""

    id: int
    sync_id: int
    source_record_count: int | None
    source_record_updates: int | None
    source_record_deletes: int | None
    source_record_invalids: int | None
    records_processed: int | None
    records_updated: int | None
    records_failed: int | None
    records_invalid: int | None
    created_at: str
    updated_at: str
    completed_at: str | None
    scheduled_execution_time: str | None
    error_code: str | None
    error_message: str | None
    error_detail: str | None
    status: str
    current_step: str | None
    canceled: bool
    full_sync: bool
    sync_trigger_reason: SyncTriggerReason | None


class TestSyncRun(TypedDict, total=False):
    """A run that tries a sync with one record, ``sample_record``, the personal data of a customer."""

    id: int
    created_at: str
    updated_at: str
    completed_at: str | None
    error_code: str | None
    error_message: str | None
    error_detail: str | None
    status: str
    sample_record: dict[str, Any]
    sample_record_failed: bool
    current_step: str | None


class SyncRunRecord(TypedDict, total=False):
    """
    What a run did with one record, which is the personal data of a customer.

    ``status`` is ``succeeded``, ``rejected`` by the destination, or of what was left out as invalid:
    ``invalid``, ``NULL`` (no identifier) or ``DUPLICATE``; ``status_message`` says why.
    """

    record_payload: dict[str, Any]
    identifier: str | None
    batch_started_at: str
    batch_completed_at: str
    operation: str
    status: str
    status_message: str | None


class Constant(TypedDict):
    """A constant that a mapping writes into every record."""

    value: Any
    type: ConstantType


class SourceAttributes(TypedDict, total=False):
    """Where a new sync reads: a model by name, or a table by name, schema and catalog."""

    connection_slug: str
    type: Literal["table", "model"]
    model_name: str
    table_name: str
    table_schema: str
    table_catalog: str


class DestinationAttributes(TypedDict, total=False):
    """Where a new sync writes; ``object`` is a ``full_name``."""

    connection_slug: str
    object: str
    lead_union_insert_to: str


Mapping = TypedDict(
    "Mapping",
    {
        "from": str | Constant,
        "to": str,
        "is_primary_identifier": bool,
        "generate_field": bool,
        "preserve_values": bool,
        "operation": ArrayOperation,
        "lookup_object": str,
        "lookup_field": str,
        "object": str,
    },
    total=False,
)
Mapping.__doc__ = "Which column or constant goes to which field."


class NewSync(TypedDict, total=False):
    """The body that creates a sync, as the API document has it."""

    label: str
    operation: Operation
    source_attributes: SourceAttributes
    destination_attributes: DestinationAttributes
    mappings: list[Mapping]
    schedule_frequency: ScheduleFrequency
    schedule_day: ScheduleDay
    schedule_hour: int
    schedule_minute: int
    paused: bool
    trigger_on_dbt_cloud_rebuild: bool
    failed_run_notifications_enabled: bool
    failed_record_notifications_enabled: bool

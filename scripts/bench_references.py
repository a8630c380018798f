# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The triggers of other providers, led to a stand-in of their API, whose addresses they do not let choose."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger
from fivetran_provider_async.hooks import FivetranHookAsync
from fivetran_provider_async.triggers import FivetranTrigger as Original

HERE = os.environ.get("BENCH_API", "")


def address(tenant: str, endpoint: str, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
    """Make the address of a request of dbt Cloud's hook."""
    return f"http://{HERE}/api/v2/accounts/{endpoint}", {}


DbtCloudHook.get_request_url_params = staticmethod(address)
FivetranHookAsync.api_protocol, FivetranHookAsync.api_host = "http", HERE


class DbtTrigger(DbtCloudRunJobTrigger):
    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "bench_references.DbtTrigger", super().serialize()[1]


class FivetranTrigger(Original):
    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "bench_references.FivetranTrigger", super().serialize()[1]

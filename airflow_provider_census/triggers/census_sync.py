# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Where ``CensusSyncTrigger`` was first documented."""

from __future__ import annotations

from airflow_provider_census.triggers.census import CensusSyncTrigger

__all__ = ["CensusSyncTrigger"]

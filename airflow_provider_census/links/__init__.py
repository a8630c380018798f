# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The button on a task that opens its sync run."""

from airflow_provider_census.links.census import CensusSyncRunLink

__all__ = ["CensusSyncRunLink"]

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The triggers that wait in the triggerer."""

from airflow_provider_census.utils.deprecation import old_names

__getattr__ = old_names(__name__, "CensusTrigger")

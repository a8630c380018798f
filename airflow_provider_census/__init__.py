# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Airflow provider for Census (Fivetran Activations)."""

__version__ = "3.0.0"

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the parts above ``api`` share, and what is theirs of Airflow: kills, metrics, XComs, asset events."""

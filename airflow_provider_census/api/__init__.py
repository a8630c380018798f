# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The Census API as pure functions and values: no socket, no sleep, no Airflow, no HTTP library."""

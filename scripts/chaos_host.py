# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What Airflow asks for the name of its host (``[core] hostname_callable``): each program has its own."""

from __future__ import annotations

import os


def name() -> str:
    return os.environ.get("CHAOS_HOST", "localhost")

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Imports on an event loop."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

IMPORTED: dict[str, Any] = {}
"""Modules by name."""


async def import_in_thread(module: str) -> Any:
    """Import a module in a thread, for the first time may take longer than an event loop may be held."""
    if module not in IMPORTED:
        IMPORTED[module] = await asyncio.to_thread(importlib.import_module, module)
    return IMPORTED[module]

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What belongs to an event loop, of which a process may have many."""

from __future__ import annotations

import asyncio
from typing import TypeVar
from weakref import WeakKeyDictionary

K = TypeVar("K")
V = TypeVar("V")

ByLoop = WeakKeyDictionary[asyncio.AbstractEventLoop, dict[K, V]]


def of_this_loop(kept: ByLoop[K, V]) -> dict[K, V]:
    """Give what is kept for the running loop; drop what loops have left that were closed amid their work."""
    for reference in kept.keyrefs():  # other threads may do the same
        loop = reference()
        if loop is not None and loop.is_closed():
            kept.pop(loop, None)
    return kept.setdefault(asyncio.get_running_loop(), {})

# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""An event loop on which an hour of sleep takes no time, with sockets that are real."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Selector(selectors.DefaultSelector):
    """
    Lets time pass when there is nothing else to do; what goes over loopback is there at once.

    :ivar now: the time, in seconds.
    :ivar threads: how many threads work for the loop; that takes no time.
    """

    now = 0.0
    threads = 0

    def select(self, timeout: float | None = None) -> Any:
        """Give what is ready."""
        if timeout is None or self.threads:
            return super().select(timeout)
        found = super().select(0)
        if not found:
            self.now += timeout
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Has a clock of its own, which begins at 0."""

    def __init__(self) -> None:
        self._clock = Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Give the time of this loop, in seconds."""
        return self._clock.now

    def run_in_executor(self, *args: Any) -> Any:  # type: ignore[override] # whatever it takes
        """Run something in a thread."""
        self._clock.threads += 1
        future = super().run_in_executor(*args)
        future.add_done_callback(lambda _: setattr(self._clock, "threads", self._clock.threads - 1))
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on such a loop."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

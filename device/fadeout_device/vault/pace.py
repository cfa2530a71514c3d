"""The pace of erasures on request: those that come soon after another are done together.

Root stores wear with every write; one write can take the keys of all who wait for it.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TOGETHER_S = 2.0
"""So long after one erasure the next one waits for others."""


class Pace:
    """Who comes first after a pause does not wait. The caller holds the lock."""

    def __init__(self, lock: threading.RLock, together_s: float) -> None:
        self._together_s = together_s
        self._erased_mono_s = -math.inf
        self._has_erased = threading.Condition(lock)

    def note(self) -> None:
        """Note that keys were erased: who waits looks whether theirs were among them."""
        self._erased_mono_s = time.monotonic()
        self._has_erased.notify_all()

    def is_turn(self, are_gone: Callable[[], bool]) -> bool:
        """Wait for the turn, letting the lock go; False: somebody else has erased them meanwhile."""
        while not are_gone():
            wait_s = self._erased_mono_s + self._together_s - time.monotonic()
            if wait_s <= 0:
                return True
            self._has_erased.wait(wait_s)
        return False

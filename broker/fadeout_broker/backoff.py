"""How long to wait before the next attempt: exponential, capped, with full jitter.

A power cut restarts a whole house at once; without jitter every device would
then ask the broker in step. Reads no clock; its randomness is handed in.

Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Counts failures in a row and says how long to wait after each.

    Args:
        random: gives numbers in [0, 1).
        unit_s: the longest wait after the first failure; it doubles with each further one.
        cap_s: no wait is longer.
    """

    def __init__(self, random: Callable[[], float], *, unit_s: float = 1.0, cap_s: float = 60.0) -> None:
        self._random = random
        self._unit_s = unit_s
        self.cap_s = cap_s
        self.failures = 0

    def next_s(self) -> float:
        """Count one failure and return how many seconds to wait."""
        # 2**30 is beyond any cap; the bound keeps the power from growing for ever.
        longest_s = min(self.cap_s, self._unit_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return longest_s * self._random()

    def reset(self) -> None:
        """Forget the failures: it works again."""
        self.failures = 0

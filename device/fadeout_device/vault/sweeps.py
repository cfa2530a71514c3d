"""When the last sweep was, how it ended, and when the next one is needed. Times are arguments.

What a sweep erases is `erasure.py`'s.
"""

from __future__ import annotations

from typing import Final

NONE_YET: Final = "none yet"
OK: Final = "ok"
_TRIED_AGAIN_S = 60.0
"""What failed is tried again soon, but not in a busy loop."""


class Sweeps:
    """The sweeps of one process, and the last one of the process before it."""

    def __init__(self, longest_s: int) -> None:
        self.longest_s = longest_s
        """The longest time between two sweeps."""
        self.count = 0
        """How many were begun in this process."""
        self.last_s: float | None = None
        """When the last one began; None: there was none."""
        self.outcome = NONE_YET
        """`ok`, `none yet`, or why the last erasing failed."""

    def take_over(self, last_s: float | None, outcome: str) -> None:
        """Go on with the last sweep of the process before this one."""
        self.last_s, self.outcome = last_s, outcome

    def begin(self, now_s: float) -> None:
        """Note that one begins."""
        self.last_s = now_s
        self.count += 1

    def end(self) -> None:
        """Note that all that was due is erased."""
        self.outcome = OK

    def fail(self, why: str) -> None:
        """Note that something could not be erased; `why` is not empty."""
        self.outcome = why

    def seconds_to_next(self, now_s: float, next_end_s: float | None) -> float:
        """Return the time until the next one is needed; not above zero when it is now.

        Args:
            now_s: proven time.
            next_end_s: the first end date of all that is held; None: nothing is.
        """
        last_s = now_s - self.longest_s if self.last_s is None else self.last_s
        if self.outcome != OK:
            return min(_TRIED_AGAIN_S, self.longest_s) - (now_s - last_s)
        until_end_s = self.longest_s if next_end_s is None else next_end_s - now_s
        return min(until_end_s, self.longest_s - (now_s - last_s))

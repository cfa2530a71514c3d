"""What time it is, as far as the vault believes it (P11).

Effective time never runs backwards: it is the latest of what the wall clock says,
of what was stored before, and of the stored time plus the time the machine has
been running since. So a clock that is set back, or starts in 1970 after a power
failure, delays no erasure. Where time comes from is an argument.

In a replay the audio's own time is the clock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(Protocol):
    """Effective time."""

    def now(self) -> float:
        """Return the time in Unix seconds, UTC; never less than before."""

    def raise_floor(self, at_s: float) -> None:
        """Never return less than this from now on."""


def boottime_s() -> float:
    """Return the seconds since the machine started, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """The wall clock, made monotone."""

    def __init__(
        self, wall_s: Callable[[], float] = time.time, running_s: Callable[[], float] = boottime_s
    ) -> None:
        self._wall_s = wall_s
        self._running_s = running_s
        self._floor_s = 0.0
        self._floor_set_at = running_s()

    def now(self) -> float:
        """Return the effective time."""
        running = self._running_s()
        self._floor_s = max(self._wall_s(), self._floor_s + (running - self._floor_set_at))
        self._floor_set_at = running
        return self._floor_s

    def raise_floor(self, at_s: float) -> None:
        """Never return less than this from now on; for the time that was stored before a restart."""
        self._floor_s = max(self.now(), at_s)


class ReplayClock:
    """The audio's time: moves when the ear says how far the audio has come."""

    def __init__(self, start_s: float) -> None:
        self._now_s = start_s

    def now(self) -> float:
        """Return the audio's time."""
        return self._now_s

    def raise_floor(self, at_s: float) -> None:
        """Move on to this time, unless it has passed."""
        self._now_s = max(self._now_s, at_s)

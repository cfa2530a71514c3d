"""What time it is, for whoever must forget on time although clocks are set.

Time does not go back: not when the clock is set, nor across restarts and reboots, as far
as the store remembers it. A clock set ahead makes events go early, which is the side on
which to err. Pure: clock readings are handed in.
"""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """What the machine's clocks say."""

    wall_s: float
    """Unix seconds; can be set to anything."""
    boot_s: float
    """Seconds since the machine started, sleep included; cannot be set."""
    boot: str
    """Which start of the machine that was."""


class Believed(NamedTuple):
    """A time that was believed, and the reading at which it was: all later times follow from it."""

    time_s: float
    boot_s: float
    boot: str


def believe(reading: Reading, before: Believed | None) -> Believed:
    """Say what time it is: what the clock says, but never less than has passed since `before`."""
    time_s = reading.wall_s
    if before is not None:
        is_same_boot = reading.boot == before.boot
        passed_s = max(0.0, reading.boot_s - before.boot_s) if is_same_boot else 0.0
        time_s = max(time_s, before.time_s + passed_s)
    return Believed(time_s, reading.boot_s, reading.boot)
